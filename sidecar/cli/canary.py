"""`capi-sidecar canary NAME`: a click and a postback through Nginx, and a test event to Meta, each leg timed."""

import argparse
import json
import sys

from sidecar.cli.client import NotRunning, Refused, act
from sidecar.cli.exit import FOUND, OK, USAGE

#: Seconds that a flight may take: each leg has its own limit.
_PATIENCE = 240.0

#: What each leg is.
_LEGS = {
    "click": "a click at the tracker, through Nginx",
    "journal": "its line, from Nginx's journal to the store",
    "postback": "a postback to the tracker, through Nginx",
    "decision": "its copy, by mirror or journal, to a decision",
    "meta": "a test event, through the proxy to Meta",
}


def run(options: argparse.Namespace) -> int:
    given = {"name": options.name, "url": options.url or "", "code": options.test_event_code or ""}
    try:
        flight = act(options, "canary", given, _PATIENCE)
    except (NotRunning, Refused) as error:
        print(f"canary: {error}", file=sys.stderr)
        return FOUND
    except ValueError as error:
        print(f"canary: {error}", file=sys.stderr)
        return USAGE
    if options.json:
        print(json.dumps(flight))
    else:
        for leg in flight["legs"]:
            verdict = "ok" if leg["ok"] else f"FAILED: {leg['words']}"
            print(f"{leg['leg']:<9} {leg['seconds']:>7.3f} s  {_LEGS[leg['leg']]}: {verdict}")
        print(f"canary: {'well' if flight['ok'] else 'lost'}, click {flight['subid'] or '(none)'}")
    return OK if flight["ok"] else FOUND
