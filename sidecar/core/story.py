"""A story: a click, a postback, and what should come of them. Stories are the tests of a configuration."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sidecar.core.click import Click
from sidecar.core.configuration import Configuration
from sidecar.core.customer import hashed
from sidecar.core.decide import Decision, Planned, decide
from sidecar.core.event import customer_country
from sidecar.core.meta import HASHED_KEYS
from sidecar.core.postback import Postback

#: Every reason for which a story's postback is not sent, with its decision. The others of the contract need time or a
#: store: a story is decided at the moment at which it arrives, and there is nothing before it.
NOT_SENT = {
    "no_click": "waiting",
    "ignore_status": "ignored",
    "status_null": "ignored",
    "status_unmapped": "ignored",
    "campaign_without_integration": "ignored",
    "integration_without_campaign": "ignored",
    "only": "ignored",
    "skip_zero": "ignored",
    "wrong_key": "rejected",
    "no_subid": "rejected",
    "bad_subid": "rejected",
    "status_macro": "rejected",
    "no_fbclid": "rejected",
    "literal_fbclid": "rejected",
    "invalid_event": "rejected",
}

#: What an expectation calls by a shorter name than the event does.
SHORT = {"event": "event_name", "value": "custom_data.value", "currency": "custom_data.currency"}

#: An event that is expected: short names and dotted paths with their values; None for what must be absent.
Wanted = Mapping[str, Any]


@dataclass(frozen=True)
class NotSent:
    """Nothing goes out, for this reason."""

    reason: str
    decision: str


@dataclass(frozen=True)
class Story:
    """`place` is FILE:LINE. Of several events each stands for one: through its integration, else in file order."""

    name: str
    place: str
    postback: Postback
    click: Click | None
    expected: NotSent | Sequence[Wanted]


@dataclass(frozen=True)
class Told:
    """A story as it came out: what was expected and what was got, as lines that differ where they do."""

    story: Story
    decision: Decision
    expected: tuple[str, ...]
    got: tuple[str, ...]

    @property
    def is_true(self) -> bool:
        return self.expected == self.got


def tell(story: Story, configuration: Configuration) -> Told:
    """Decides the story at the moment of its postback's arrival."""
    decision = decide(story.postback, story.click, configuration, story.postback.received_at)
    verdict = f"{decision.decision}: {decision.reason}"
    if isinstance(story.expected, NotSent):
        return Told(story, decision, (f"{story.expected.decision}: {story.expected.reason}",), (verdict,))
    expected, got = [], [] if decision.events else [verdict]
    pairs = list(_paired(story.expected, decision.events))
    for wanted, planned in pairs:
        one, other = _compared(wanted, planned, decision, configuration)
        expected += _item(one) if len(pairs) > 1 else one
        got += _item(other) if len(pairs) > 1 else other
    return Told(story, decision, tuple(expected), tuple(got))


def _item(lines: Sequence[str]) -> list[str]:
    """Lines as one of a list, as YAML shows it."""
    return [("  " if index else "- ") + line for index, line in enumerate(lines)]


def _paired(expected: Sequence[Wanted], events: Sequence[Planned]) -> Iterator[tuple[Wanted | None, Planned | None]]:
    """Each expectation with its event: that of the integration it names, else the next; then what nobody expected."""
    named = {wanted["integration"] for wanted in expected if "integration" in wanted}
    by_name = {planned.integration: planned for planned in events if planned.integration in named}
    others = [planned for planned in events if planned.integration not in named]
    for wanted in expected:
        name = wanted.get("integration")
        yield wanted, by_name.pop(name, None) if name else others.pop(0) if others else None
    for planned in (*by_name.values(), *others):
        yield None, planned


def _compared(
    wanted: Wanted | None, planned: Planned | None, decision: Decision, configuration: Configuration
) -> tuple[list[str], list[str]]:
    if planned is None:
        return [_line(name, value) for name, value in (wanted or {}).items()], []
    event = planned.event.as_json() | {"pixel_id": planned.event.pixel_id, "integration": planned.integration}
    if wanted is None:
        return [], [_line(name, _at(event, SHORT.get(name, name))) for name in ("event", "integration", "pixel_id")]
    expected, got = [], []
    for name, value in wanted.items():
        found = _at(event, SHORT.get(name, name))
        meant = _hashes(name, value, planned, decision, configuration)
        texts = [] if meant == value else [str(each) for each in _list(value) if str(each) not in meant]
        expected.append(_line(name, meant) + (f"  # {', '.join(texts)}" if texts else ""))
        got.append(expected[-1] if _same(meant, found) else _line(name, found))
    return expected, got


def _at(found: Any, path: str) -> Any:
    """What stands at a dotted path; None where there is nothing. A number is a place in a list."""
    head, _, rest = path.partition(".")
    if isinstance(found, Mapping) and path in found:
        return found[path]
    if isinstance(found, Mapping):
        return _at(found.get(head), rest) if rest else None
    if isinstance(found, list) and head.isdecimal() and int(head) < len(found):
        return _at(found[int(head)], rest) if rest else found[int(head)]
    return None


def _hashes(name: str, value: Any, planned: Planned, decision: Decision, configuration: Configuration) -> Any:
    """The expected value; of a hashed user_data key its hashes by the rules of the event, as a list."""
    part, _, key = name.partition(".")
    conversion, click = decision.conversion, decision.click
    if value is None or part != "user_data" or key not in HASHED_KEYS or conversion is None or click is None:
        return value
    country = customer_country(conversion.parameters, click, configuration.by_name[planned.integration])
    year = time.gmtime(conversion.received_at).tm_year
    return [hashed(key, str(each), country, year) or each for each in _list(value)]


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _same(expected: Any, found: Any) -> bool:
    """Whether JSON means the same; 1 is no true."""
    return bool(expected == found) and isinstance(expected, bool) == isinstance(found, bool)


def _line(name: str, value: Any) -> str:
    return f"{name}: {json.dumps(value, ensure_ascii=False)}"
