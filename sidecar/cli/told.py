"""A decision as people and programs read it."""

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from sidecar.core.advice import ANSWER, NEXT
from sidecar.core.configuration import Configuration
from sidecar.core.decide import Decision
from sidecar.core.origin import origins, unmatched
from sidecar.core.times import iso
from sidecar.explain import field_rows

#: Integrations that did not match, as many as are shown.
_UNMATCHED_SHOWN = 10


def as_json(decision: Decision) -> dict[str, Any]:
    """A decision in the contract's form."""
    events = []
    for planned in decision.events:
        entry = {
            "integration": planned.integration,
            "pixel_id": planned.event.pixel_id,
            "event": planned.event.as_json(),
        }
        events.append(entry | ({"held": planned.held} if planned.held else {}))
    return {
        "decision": decision.decision,
        "reason": decision.reason,
        "trace": list(decision.trace),
        "events": events,
    }


def told(decision: Decision, configuration: Configuration) -> Iterator[str]:
    """A decision for people: the verdict, what to do, how it came about, and each field with its origin."""
    yield f"{decision.decision}: {decision.reason}"
    if decision.reason in NEXT:
        yield f"  next: {NEXT[decision.reason]}"
    yield from (f"  {line}" for line in decision.trace)
    if decision.click and not decision.events:
        yield from (f"  not {line}" for line in islice(unmatched(decision.click, configuration), _UNMATCHED_SHOWN))
    for planned in decision.events:
        held = f", held: {planned.held}" if planned.held else ""
        yield f"  event for pixel {planned.event.pixel_id} through {planned.integration}{held}:"
        fields = fields_told(planned.event.as_json(), origins(decision, planned, configuration))
        yield from (f"    {line}" for line in fields)


def fields_told(event: Mapping[str, Any], origins: Mapping[str, str]) -> Iterator[str]:
    """Every field of an event, one a line, and where it came from."""
    for path, value, origin in field_rows(event, origins):
        yield f"{path} = {value}" + (f"   <- {origin}" if origin else "")


def attempt_told(attempt: Mapping[str, Any]) -> str:
    """One try of a delivery: when, which way, what was answered, what that means and what to do."""
    way = f"proxy {attempt['proxy']}" if attempt["proxy"] else "direct"
    numbers = " ".join(
        f"{name} {attempt[name]}" for name in ("http_status", "code", "subcode", "fbtrace_id") if attempt[name]
    )
    words = f": {attempt['words']}" if attempt["words"] else ""
    meaning, then = ANSWER.get(attempt["verdict"], ("", ""))
    when = f"attempt {attempt['number']}, {iso(attempt['at'])} {way}, {attempt['took']:.3f} s"
    told = f"{when}, {attempt['verdict']} {numbers}{words}; {meaning}"
    return f"{told}; next: {then}" if then else told
