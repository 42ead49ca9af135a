"""`capi-sidecar status`: is it well? Exit 1 when something is wrong or nobody answers."""

import argparse
import json
import sys
from typing import Any

from sidecar.cli.client import NotRunning, ask
from sidecar.cli.exit import FOUND, OK, USAGE
from sidecar.core.problem import problems, wrong_keys
from sidecar.core.times import iso


def run(options: argparse.Namespace) -> int:
    try:
        status = ask(options.admin, "/api/status")
    except NotRunning as error:
        print(f"status: {error}", file=sys.stderr)
        return FOUND
    except ValueError as error:
        print(f"status: {error}", file=sys.stderr)
        return USAGE
    found = [problem.line for problem in problems(status)]
    if options.json:
        print(json.dumps(status | {"problems": found}))
    else:
        _print(status, found)
    return FOUND if found else OK


def _print(status: dict[str, Any], found: list[str]) -> None:
    configuration = status["configuration"]
    postbacks = sum(row["count"] for row in status["postbacks"])
    print(f"capi-sidecar {status['version']}, mode {status['mode']}, since {iso(status['started_at'])}")
    print(f"configuration {configuration['hash']} {configuration['commit'][:12]} of {iso(configuration['loaded_at'])}")
    print(f"clicks {status['clicks']}, postbacks {postbacks}, {_listed(status['deliveries']) or 'no deliveries'}")
    for journal in status["journals"]:
        last = iso(journal["last_line_at"]) if journal["last_line_at"] else "none since the start"
        print(f"journal {journal['path']}: {journal.get('lines', 0)} lines, last {last}")
    if wrong := wrong_keys(status):
        print(f"  {wrong:>8}  with another key, not stored")
    for row in status["postbacks"]:
        print(f"  {row['count']:>8}  {row['state']} {row['decision']} {row['reason']}".rstrip())
    width = max((len(each["name"]) for each in status["integrations"]), default=0)
    for each in status["integrations"]:
        held = f" (held: {', '.join(each['held'])})" if each["held"] else ""
        numbers = f"sent {each['sent']}, waiting {each['waiting']}{held}, failed {each['failed']}"
        print(f"{each['name']:<{width}}  {each['status']:<8}  {numbers}")
    for problem in found:
        print(f"PROBLEM {problem}")


def _listed(numbers: dict[str, int]) -> str:
    return ", ".join(f"{name} {number}" for name, number in sorted(numbers.items()))
