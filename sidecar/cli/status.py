"""`capi-sidecar status`: is it well? Exit 1 when something is wrong or nobody answers."""

import argparse
import json
import sys
from collections.abc import Iterator
from typing import Any

from sidecar.cli.client import NotRunning, ask
from sidecar.cli.exit import FOUND, OK, USAGE
from sidecar.core.advice import ANSWER
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
    """What is wrong, each with where and what to do."""
    yield from status["problems"]
    if error := status["configuration"]["error"]:
        yield f"configuration refused, the last good one runs: {error}; capi-sidecar check tells all"
    for each in status["integrations"]:
        if each["status"].startswith("error"):
            yield f"integration {each['name']} ({each['at']}): {each['status'].removeprefix('error: ')}"
        elif each["status"] == "gone" and each["waiting"]:
            yield f"integration {each['name']} is gone, and {each['waiting']} events still wait for it"
        if "by_hand" in each["held"]:
            yield f"integration {each['name']}: events were put aside after answers that nobody knows"
    if (api := status["admin_api"]) and api["trouble"]:
        yield f"admin_api: {api['trouble']}; what the store knows does not wait for it"
    for each in status["silence"]:
        if each["silent"]:
            yield f"silent: {each['integration']}, {each['what']}: {each['words']}; does the network still call?"
    for flight in status["canary"]:
        if not flight["ok"]:
            yield f"canary {flight['integration']}: lost at {flight['legs'][-1]['leg']}: {flight['legs'][-1]['words']}"
    yield from (_lane(lane) for lane in status["lanes"] if lane["state"] != "active")
    for journal in status["journals"]:
        if journal["missing"] and status["mode"] != "sandbox":
            yield f"journal {journal['path']}: there is no such file; does Nginx write it, and is --journal right?"
        if bad := sum(count for name, count in journal.items() if name.startswith("bad: ")):
            yield f"journal {journal['path']}: {bad} lines are none of capi-sidecar's log_format, version 1"
    if _wrong_keys(status) and not status["postbacks"]:
        yield "intake: every postback had another key than tracker.postback_key"


def _lane(lane: dict[str, Any]) -> str:
    meaning, then = ANSWER.get(lane["why"], (lane["why"], ""))
    words = f" ({lane['words']})" if lane["words"] else ""
    again = f"; tried again at {iso(lane['until'])}" if lane["until"] else ""
    names = ", ".join(lane["integrations"])
    return f"{lane['why']}: pixel {lane['pixel_id']}, {names} ({lane['at']}): {meaning}{words}; {then}{again}"


def _wrong_keys(status: dict[str, Any]) -> int:
    journals = sum(journal.get("wrong_key", 0) for journal in status["journals"])
    return int(status["intake"].get("wrong_key", 0) + journals)


def _print(status: dict[str, Any], problems: list[str]) -> None:
    configuration = status["configuration"]
    postbacks = sum(row["count"] for row in status["postbacks"])
    print(f"capi-sidecar {status['version']}, mode {status['mode']}, since {iso(status['started_at'])}")
    print(f"configuration {configuration['hash']} {configuration['commit'][:12]} of {iso(configuration['loaded_at'])}")
    print(f"clicks {status['clicks']}, postbacks {postbacks}, {_listed(status['deliveries']) or 'no deliveries'}")
    for journal in status["journals"]:
        last = iso(journal["last_line_at"]) if journal["last_line_at"] else "none since the start"
        print(f"journal {journal['path']}: {journal.get('lines', 0)} lines, last {last}")
    if wrong := _wrong_keys(status):
        print(f"  {wrong:>8}  with another key, not stored")
    for row in status["postbacks"]:
        print(f"  {row['count']:>8}  {row['state']} {row['decision']} {row['reason']}".rstrip())
    width = max((len(each["name"]) for each in status["integrations"]), default=0)
    for each in status["integrations"]:
        held = f" (held: {', '.join(each['held'])})" if each["held"] else ""
        numbers = f"sent {each['sent']}, waiting {each['waiting']}{held}, failed {each['failed']}"
        print(f"{each['name']:<{width}}  {each['status']:<8}  {numbers}")
    for problem in problems:
        print(f"PROBLEM {problem}")


def _listed(numbers: dict[str, int]) -> str:
    return ", ".join(f"{name} {number}" for name, number in sorted(numbers.items()))
