"""`capi-sidecar send-test NAME`: one event to Meta now, and its answer. The running daemon sends it."""

import argparse
import json
import sys
from typing import Any

from sidecar.cli.client import NotRunning, Refused, act
from sidecar.cli.exit import FOUND, OK, USAGE
from sidecar.cli.told import fields_told
from sidecar.core.advice import ANSWER
from sidecar.core.times import iso

#: Seconds that the request may take, through several proxies.
_PATIENCE = 180.0


def run(options: argparse.Namespace) -> int:
    if options.event:
        print(f"send-test: Meta counts {options.event} as a conversion of its own", file=sys.stderr)
    given = {"name": options.name, "event": options.event or "", "code": options.test_event_code or ""}
    try:
        sent = act(options, "send-test", given, _PATIENCE)
    except (NotRunning, Refused) as error:
        print(f"send-test: {error}", file=sys.stderr)
        return FOUND
    except ValueError as error:
        print(f"send-test: {error}", file=sys.stderr)
        return USAGE
    if options.json:
        print(json.dumps(sent))
    else:
        _print(sent)
    return OK if sent["kind"] == "accepted" else FOUND


def _print(sent: dict[str, Any]) -> None:
    way = f"proxy {sent['proxy']}" if sent["proxy"] else "no proxy"
    numbers = " ".join(
        f"{name} {sent[name]}" for name in ("http_status", "code", "subcode", "fbtrace_id") if sent[name]
    )
    meaning, then = ANSWER[sent["kind"]]
    when = f" of {iso(sent['clicked_at'])}" if sent["clicked_at"] else ""
    print(f"{sent['kind']}: {meaning}  ({numbers or 'no answer'}, {way}, {sent['took']:.3f} s)")
    if sent["words"]:
        print(f"  {sent['words']}")
    if then:
        print(f"  next: {then}")
    else:
        print(f"  next: look for it in Events Manager, pixel {sent['pixel_id']}, Test events")
    print(f"  made of the click {sent['subid']}{when}, test_event_code {sent['test_event_code']}")
    for line in fields_told(sent["event"], {}):
        print(f"  {line}")
