"""`capi-sidecar explain --id`: what became of a stored postback. Reads the store; needs no daemon."""

import argparse
import json
import sys
from collections.abc import Iterator
from typing import Any

from sidecar.cli.clicks import completer
from sidecar.cli.exit import FOUND, OK, USAGE
from sidecar.cli.told import attempt_told, fields_told
from sidecar.config.load import load
from sidecar.config.secrets import Resolve
from sidecar.core.advice import NEXT
from sidecar.core.configuration import Configuration
from sidecar.core.decide import Decision, decide
from sidecar.core.origin import origins
from sidecar.core.times import iso
from sidecar.store.contract import StoreRefused
from sidecar.store.reading import read_mode, read_stories
from sidecar.store.rows import postback_of
from sidecar.store.state import FILE

#: Postbacks of one subid that are shown.
_MOST = 100


def explain_stored(options: argparse.Namespace) -> int:
    """Tells each story that the id means; exit 0 when some event was or is to be sent."""
    try:
        mode = read_mode(options.state)
        stories = read_stories(options.state / FILE, options.id, _MOST) if mode else []
    except (OSError, StoreRefused) as error:
        print(f"explain: {options.state}: {getattr(error, 'strerror', None) or error}", file=sys.stderr)
        return USAGE
    if mode is None:
        print(f"explain: no store in {options.state}; --state names the daemon's directory", file=sys.stderr)
        return USAGE
    configuration = load(options.config, resolve=Resolve.NOTHING).configuration
    shown = [_as_json(story, mode, configuration) for story in stories]
    for story in shown:
        if options.json:
            print(json.dumps(story))
        else:
            print("\n".join(_lines(story)))
    if not shown:
        print(f"explain: no postback has this request id, event_id or subid: {options.id}", file=sys.stderr)
    return OK if any(story["events"] for story in shown) else FOUND


def _as_json(story: dict[str, Any], mode: str, configuration: Configuration | None) -> dict[str, Any]:
    decision = _decided_again(story, configuration)
    return {
        "id": story["id"],
        "mode": mode,
        "received_at": story["received_at"],
        "source": story["source"],
        "state": story["state"],
        "decision": story["decision"],
        "reason": story["reason"],
        "next": _next(story),
        "configuration": story["configuration"],
        "trace": story["trace"],
        "events": [_event(delivery, decision, configuration) for delivery in story["deliveries"]],
    }


def _decided_again(story: dict[str, Any], configuration: Configuration | None) -> Decision | None:
    """What today's files make of it, which tells where each field came from; None where they cannot be read."""
    if configuration is None:
        return None
    columns = (story[name] for name in ("id", "received_at", "method", "uri", "type", "body"))
    postback = postback_of(tuple(columns))
    click = completer(configuration)(postback, story["click"])
    return decide(postback, click, configuration, story["received_at"])


def _event(delivery: dict[str, Any], decision: Decision | None, configuration: Configuration | None) -> dict[str, Any]:
    body = delivery["body"]
    # The same bytes again: then today's rules are those that made them.
    same = next((each for each in decision.events if each.event.body == body), None) if decision else None
    return {
        "integration": delivery["integration"],
        "pixel_id": delivery["pixel_id"],
        "event_name": delivery["event_name"],
        "event_id": delivery["event_id"],
        "event": json.loads(body) if body else None,
        "origins": origins(decision, same, configuration) if decision and same and configuration else {},
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
    if story["next"]:
        yield f"  next: {story['next']}"
    for line in story["trace"]:
        yield f"  {line}"
    for event in story["events"]:
        held = f", held: {event['held']}" if event["held"] else ""
        reason = f" ({event['reason']})" if event["reason"] else ""
        name = f"{event['event_name']} {event['event_id']} for pixel {event['pixel_id']}"
        yield f"  {name}: {event['state']}{reason}{held}"
        for attempt in event["attempts"]:
            yield f"    {attempt_told(attempt)}"
        if event["event"]:
            yield from (f"    {line}" for line in fields_told(event["event"], event["origins"]))


def _next(story: dict[str, Any]) -> str:
    """What to do about it; nothing where all is well."""
    if story["reason"] != "sent":
        return NEXT.get(story["reason"], "")
    held = [delivery for delivery in story["deliveries"] if delivery["state"] == "queued"]
    return _QUEUED if held else ""


_QUEUED = "the event waits for its turn; capi-sidecar status says whether something holds its integration"

_MODES = {"sandbox": "sandbox: our stand-in answered in Meta's place; nothing left this machine"}
