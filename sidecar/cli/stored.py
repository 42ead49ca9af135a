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
from sidecar.core.times import iso
from sidecar.explain import story_as_json
from sidecar.store.contract import StoreRefused
from sidecar.store.reading import read_mode, read_stories
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
    complete = completer(configuration) if configuration else None
    shown = [story_as_json(story, mode, configuration, complete) for story in stories]
    for story in shown:
        if options.json:
            print(json.dumps(story))
        else:
            print("\n".join(_lines(story)))
    if not shown:
        print(f"explain: no postback has this request id, event_id or subid: {options.id}", file=sys.stderr)
    return OK if any(story["events"] for story in shown) else FOUND


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


_MODES = {"sandbox": "sandbox: our stand-in answered in Meta's place; nothing left this machine"}
