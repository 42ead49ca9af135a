"""One postback: what became of it, or what would, and why. Of the customer only hashes are shown."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from shlex import quote
from typing import Any

from sidecar.core.advice import NEXT
from sidecar.core.configuration import Configuration
from sidecar.core.decide import Decision
from sidecar.core.origin import origins, unmatched
from sidecar.explain import Complete, field_rows, story_as_json
from sidecar.page.delivery import Held, delivery

#: Postbacks of one id that are shown.
MOST = 20

#: Integrations that did not match, as many as are shown.
_UNMATCHED = 10

_TONES = {"accepted": "good", "waiting": "warn", "rejected": "bad", "ignored": "off"}

_HASH = re.compile(r"[0-9a-f]{64}")

_VEIL = "(sent, and not shown here)"

#: A browser's identifiers: version, level and time of creation stay.
_IDENTIFIERS = ("user_data.fbc", "user_data.fbp")


def stories(
    id: str,
    found: Sequence[Mapping[str, Any]],
    mode: str,
    configuration: Configuration,
    complete: Complete,
    held: Held,
) -> dict[str, Any]:
    """What the template shows of the store's stories of an id, the newest first."""
    told = [_story(story, mode, configuration, complete, held) for story in reversed(found)]
    return {"id": id, "stories": told, "most": MOST, "command": f"capi-sidecar explain --id {quote(id)}"}


def decision(made: Decision, configuration: Configuration) -> dict[str, Any]:
    """What the template shows of a decision that nobody carries out."""
    missed = unmatched(made.click, configuration) if made.click and not made.events else ()
    return {
        "tone": _TONES[made.decision],
        "decision": made.decision,
        "reason": made.reason,
        "next": NEXT.get(made.reason, ""),
        "trace": [*made.trace, *(f"not {line}" for line in islice(missed, _UNMATCHED))],
        "subid": made.conversion.subid if made.conversion else "",
        "events": [
            {
                "integration": planned.integration,
                "pixel_id": planned.event.pixel_id,
                "event_name": planned.event.name,
                "event_id": planned.event.id,
                "held": planned.held,
                "fields": _fields(planned.event.as_json(), origins(made, planned, configuration)),
            }
            for planned in made.events
        ],
    }


def _story(
    story: Mapping[str, Any], mode: str, configuration: Configuration, complete: Complete, held: Held
) -> dict[str, Any]:
    told = story_as_json(story, mode, configuration, complete)
    events = [
        {"delivery": delivery(row, held), "fields": _fields(event["event"], event["origins"]) if event["event"] else []}
        for row, event in zip(story["deliveries"], told["events"], strict=True)
    ]
    tone = _TONES.get(told["decision"], "warn")
    return told | {"tone": tone, "subid": story["subid"], "events": events, "command": _command(told)}


def _command(told: Mapping[str, Any]) -> str:
    """How a postback that was not sent is decided anew, once what stopped it is mended."""
    if told["decision"] in ("ignored", "rejected") and told["reason"] not in ("duplicate", "same_pixel", "too_old"):
        return f"capi-sidecar replay --since 2d --reason {told['reason']} --dry-run"
    return ""


def _fields(event: Mapping[str, Any], known: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """Path, value and origin of each field."""
    return [(path, _veiled(path, value), origin) for path, value, origin in field_rows(event, known)]


def _veiled(path: str, value: str) -> str:
    """A value without what belongs to the customer: of user_data hashes alone, of a URL no parameters."""
    if path in _IDENTIFIERS:
        return ".".join([*value.split(".")[:3], "…"])
    if path.startswith("user_data."):
        return ", ".join(_hashes(value)) or _VEIL
    return re.split(r"[?#]", value)[0] if path == "event_source_url" else value


def _hashes(value: str) -> Iterator[str]:
    """The hashes of a list of them; none where anything else stands in it."""
    listed = json.loads(value) if value.startswith("[") else [value]
    if all(isinstance(each, str) and _HASH.fullmatch(each) for each in listed):
        yield from listed
