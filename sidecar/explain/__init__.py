"""What became of a stored postback, shaped alike for the command line and for the pages."""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from sidecar.core.advice import NEXT
from sidecar.core.click import Click
from sidecar.core.configuration import Configuration
from sidecar.core.decide import Decision, decide
from sidecar.core.origin import origins
from sidecar.core.postback import Postback
from sidecar.store.rows import postback_of

#: The click to decide by, of a postback and of what the store knows.
Complete = Callable[[Postback, Click | None], Click | None]

_QUEUED = "the event waits for its turn; capi-sidecar status says whether something holds its integration"


def story_as_json(
    story: Mapping[str, Any], mode: str, configuration: Configuration | None, complete: Complete | None
) -> dict[str, Any]:
    """A story of the store with where each field of its events came from, as far as today's configuration tells."""
    decision = _decided_again(story, configuration, complete) if configuration and complete else None
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


def field_rows(event: Mapping[str, Any], origins: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """Path, value and origin (empty where nobody knows) of every field of an event."""
    rows = [(name, value) for name, value in event.items() if name not in ("user_data", "custom_data")]
    for part in ("user_data", "custom_data"):
        rows += [(f"{part}.{name}", value) for name, value in event.get(part, {}).items()]
    for path, value in rows:
        shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        yield path, shown, origins.get(path, "")


def _decided_again(story: Mapping[str, Any], configuration: Configuration, complete: Complete) -> Decision:
    """What today's files make of it, which tells where each field came from."""
    columns = (story[name] for name in ("id", "received_at", "method", "uri", "type", "body"))
    postback = postback_of(tuple(columns))
    return decide(postback, complete(postback, story["click"]), configuration, story["received_at"])


def _event(
    delivery: Mapping[str, Any], decision: Decision | None, configuration: Configuration | None
) -> dict[str, Any]:
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


def _next(story: Mapping[str, Any]) -> str:
    """What to do about it; nothing where all is well."""
    if story["reason"] != "sent":
        return NEXT.get(story["reason"], "")
    held = [delivery for delivery in story["deliveries"] if delivery["state"] == "queued"]
    return _QUEUED if held else ""
