"""`capi-sidecar explain --id`: what became of a stored postback. Reads the store; needs no daemon."""

import argparse
import json
import sys
from collections.abc import Iterator
from typing import Any

from sidecar.cli.exit import FOUND, OK, USAGE
from sidecar.core.times import iso
from sidecar.store.reading import read_mode, read_stories
from sidecar.store.state import FILE

#: Postbacks of one subid that are shown.
_MOST = 100


def explain_stored(options: argparse.Namespace) -> int:
    """Tells each story that the id means; exit 0 when some event was or is to be sent."""
    try:
        mode = read_mode(options.state)
        stories = read_stories(options.state / FILE, options.id, _MOST) if mode else []
    except OSError as error:
        print(f"explain: {options.state}: {error.strerror}", file=sys.stderr)
        return USAGE
    if mode is None:
        print(f"explain: no store in {options.state}; --state names the daemon's directory", file=sys.stderr)
        return USAGE
    shown = [_as_json(story, mode) for story in stories]
    for story in shown:
        if options.json:
            print(json.dumps(story))
        else:
            print("\n".join(_lines(story)))
    if not shown:
        print(f"explain: no postback has this request id, event_id or subid: {options.id}", file=sys.stderr)
    return OK if any(story["events"] for story in shown) else FOUND


def _as_json(story: dict[str, Any], mode: str) -> dict[str, Any]:
    return {
        "id": story["id"],
        "mode": mode,
        "received_at": story["received_at"],
        "source": story["source"],
        "state": story["state"],
        "decision": story["decision"],
        "reason": story["reason"],
        "configuration": story["configuration"],
        "trace": story["trace"],
        "events": [_event(delivery) for delivery in story["deliveries"]],
    }


def _event(delivery: dict[str, Any]) -> dict[str, Any]:
    body = delivery["body"]
    return {
        "integration": delivery["integration"],
        "pixel_id": delivery["pixel_id"],
        "event_name": delivery["event_name"],
        "event_id": delivery["event_id"],
        "event": json.loads(body) if body else None,
        "state": delivery["state"],
        "reason": delivery["reason"],
        "held": delivery["held"],
        "due_at": delivery["due_at"],
        "attempts": delivery["attempts"],
    }


def _lines(story: dict[str, Any]) -> Iterator[str]:
    verdict = f"{story['decision']}: {story['reason']}" if story["decision"] else "not decided yet"
    yield f"{verdict}  (postback {story['id']}, {iso(story['received_at'])}, by {story['source']}, {story['state']})"
    if story["mode"] != "live":
        yield f"  {_MODES.get(story['mode'], story['mode'])}"
    for line in story["trace"]:
        yield f"  {line}"
    for event in story["events"]:
        held = f", held: {event['held']}" if event["held"] else ""
        reason = f" ({event['reason']})" if event["reason"] else ""
        name = f"{event['event_name']} {event['event_id']} for pixel {event['pixel_id']}"
        yield f"  {name}: {event['state']}{reason}{held}"
        for attempt in event["attempts"]:
            yield f"    {_attempt(attempt)}"
        if event["event"]:
            for line in json.dumps(event["event"], indent=2, ensure_ascii=False).splitlines():
                yield f"    {line}"


_MODES = {"sandbox": "sandbox: our stand-in answered in Meta's place; nothing left this machine"}


def _attempt(attempt: dict[str, Any]) -> str:
    way = f"proxy {attempt['proxy']}" if attempt["proxy"] else "direct"
    numbers = " ".join(
        f"{name} {attempt[name]}" for name in ("http_status", "code", "subcode", "fbtrace_id") if attempt[name]
    )
    words = f": {attempt['words']}" if attempt["words"] else ""
    return f"{iso(attempt['at'])} {way}, {attempt['took']:.3f} s, {attempt['verdict']} {numbers}{words}"
