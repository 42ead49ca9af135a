"""`capi-sidecar tap`: what happens now, a line for each decided postback and each tried delivery."""

import argparse
import json
import sys
from collections.abc import Callable
from typing import Any

from sidecar.cli.client import NotRunning, follow
from sidecar.cli.exit import FOUND, OK, USAGE
from sidecar.core.times import iso


def run(options: argparse.Namespace) -> int:
    wanted = {name: value for name in ("integration", "subid") if (value := getattr(options, name))}
    try:
        for fact in follow(options, "/api/tap"):
            if fact["what"] == "missed" or all(fact.get(name) == value for name, value in wanted.items()):
                print(json.dumps(fact) if options.json else _told(fact), flush=True)
    except NotRunning as error:
        print(f"tap: {error}", file=sys.stderr)
        return FOUND
    except ValueError as error:
        print(f"tap: {error}", file=sys.stderr)
        return USAGE
    print("tap: the daemon has ended", file=sys.stderr)
    return OK


def _told(fact: dict[str, Any]) -> str:
    return f"{iso(fact['at'])} {_TOLD[fact['what']](fact)}"


def _postback(fact: dict[str, Any]) -> str:
    return f"postback  {fact['decision']} {fact['reason']}  subid {fact['subid'] or '-'}  {fact['id']}"


def _delivery(fact: dict[str, Any]) -> str:
    numbers = " ".join(f"{name} {fact[name]}" for name in ("http_status", "code", "subcode") if fact[name])
    reason = f" ({fact['reason']})" if fact["reason"] else ""
    event = f"{fact['event_name']} {fact['event_id']}  {fact['integration']}"
    return f"delivery  {fact['state']}{reason}  {event}  {fact['verdict']} {numbers} in {fact['took']:.3f} s"


_TOLD: dict[str, Callable[[dict[str, Any]], str]] = {
    "postback": _postback,
    "delivery": _delivery,
    "missed": lambda fact: f"{fact['count']} were too many to be shown",
}
