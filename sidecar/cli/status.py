"""`capi-sidecar status`: is it well? Exit 1 when something is wrong or nobody answers."""

import argparse
import json
import sys
from collections.abc import Iterator
from typing import Any

from sidecar.cli.client import NotRunning, ask
from sidecar.cli.exit import FOUND, OK, USAGE
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
    problems = list(_problems(status))
    if options.json:
        print(json.dumps(status | {"problems": problems}))
    else:
        _print(status, problems)
    return FOUND if problems else OK


def _problems(status: dict[str, Any]) -> Iterator[str]:
    yield from status["problems"]
    if error := status["configuration"]["error"]:
        yield f"configuration refused, the last good one runs: {error}"
    for each in status["integrations"]:
        if each["status"].startswith("error"):
            yield f"integration {each['name']} ({each['at']}): {each['status'].removeprefix('error: ')}"
        elif each["status"] == "gone" and each["waiting"]:
            yield f"integration {each['name']} is gone, and {each['waiting']} events still wait for it"
    for lane in status["lanes"]:
        if lane["state"] != "active":
            words = f": {lane['words']}" if lane["words"] else ""
            yield f"pixel {lane['pixel_id']} ({', '.join(lane['integrations'])}): {lane['why']}{words}"


def _print(status: dict[str, Any], problems: list[str]) -> None:
    configuration = status["configuration"]
    postbacks = sum(row["count"] for row in status["postbacks"])
    print(f"capi-sidecar {status['version']}, mode {status['mode']}, since {iso(status['started_at'])}")
    print(f"configuration {configuration['hash']} {configuration['commit'][:12]} of {iso(configuration['loaded_at'])}")
    print(f"clicks {status['clicks']}, postbacks {postbacks}, {_listed(status['deliveries']) or 'no deliveries'}")
    for journal in status["journals"]:
        last = iso(journal["last_line_at"]) if journal["last_line_at"] else "none since the start"
        print(f"journal {journal['path']}: {journal.get('lines', 0)} lines, last {last}")
    for row in status["postbacks"]:
        print(f"  {row['count']:>8}  {row['state']} {row['decision']} {row['reason']}".rstrip())
    width = max((len(each["name"]) for each in status["integrations"]), default=0)
    for each in status["integrations"]:
        held = f" (held: {', '.join(each['held'])})" if each["held"] else ""
        numbers = f"sent {each['sent']}, waiting {each['waiting']}{held}, failed {each['failed']}"
        print(f"{each['name']:<{width}}  {each['status']:<8}  {numbers}")
    for problem in problems:
        print(f"PROBLEM {problem}", file=sys.stderr)


def _listed(numbers: dict[str, int]) -> str:
    return ", ".join(f"{name} {number}" for name, number in sorted(numbers.items()))
