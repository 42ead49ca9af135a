"""The queue as people see and steer it: which deliveries are meant, and what may be done to each."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from sidecar.core.delivery import Destination
from sidecar.core.life import DEAD, HELD
from sidecar.core.times import parse_duration

#: What can be done to deliveries.
VERBS = ("retry", "hold", "release", "delete")

#: States that a selection may name; `held` are the queued ones that may not be leased.
STATES = ("queued", "held", "leased", "delivered", "dead")

_NUMBER = re.compile(r"q(\d{1,18})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Entry:
    """A delivery as the queue shows it. `held` is what stands in its row; `has_body` is whether the event is kept."""

    seq: int
    integration: str
    pixel_id: str
    route: str
    event_name: str
    event_id: str
    subid: str
    state: str
    reason: str
    held: str
    due_at: float
    not_before: float
    deadline: float
    failures: int
    created_at: float
    ended_at: float | None
    has_body: bool

    @property
    def id(self) -> str:
        """Its queue number."""
        return f"q{self.seq}"

    @property
    def destination(self) -> Destination:
        return Destination(self.integration, self.pixel_id, self.route)


@dataclass(frozen=True, slots=True)
class Selection:
    """Which deliveries are meant: those of `ids` (queue numbers, event_ids, request ids or subids), else all, of them
    those that every filter takes. Ages are seconds since the delivery was made; `event` is a name or an event_id."""

    ids: tuple[str, ...] = ()
    integration: str = ""
    state: str = ""
    reason: str = ""
    least_age: float = 0.0
    most_age: float = float("inf")
    subid: str = ""
    event: str = ""

    @property
    def states(self) -> tuple[str, ...]:
        """States of rows to look at: the open ones where nothing else is asked for."""
        if self.state:
            return ("queued",) if self.state == "held" else (self.state,)
        if self.reason in DEAD:
            return ("dead",)
        return ("queued", "leased", "delivered", "dead") if self.ids or self.subid else ("queued", "leased")

    def names(self, entry: Entry) -> bool:
        """Whether an entry was asked for by its own number or event_id: a subid means whatever there is."""
        return entry.id in self.ids or entry.event_id in self.ids

    def takes(self, entry: Entry, held: str, now: float) -> bool:
        """Whether an entry is meant; `held` is why it may not be leased now (empty: it may)."""
        age = now - entry.created_at
        return (
            entry.state in self.states
            and (self.state != "held" or held != "")
            and self.integration in ("", entry.integration)
            and self.reason in ("", held or entry.reason)
            and self.subid in ("", entry.subid)
            and self.event in ("", entry.event_name, entry.event_id)
            and self.least_age <= age <= self.most_age
        )


def fault_of(selection: Selection) -> str:
    """What is wrong with a selection, and what would be right; empty when nothing is."""
    if selection.state not in ("", *STATES):
        return f'no state "{selection.state}"; known are {", ".join(STATES)}'
    if selection.reason not in ("", *HELD, *DEAD):
        return f'no reason "{selection.reason}"; known are {", ".join((*HELD, *DEAD))}'
    return ""


def selection_of(given: Mapping[str, Any]) -> Selection:
    """A selection from JSON, with the names of its fields; ValueError says what is wrong with it."""
    known = {field.name: field.default for field in fields(Selection)}
    if unknown := given.keys() - known.keys():
        raise ValueError(f"unknown: {', '.join(sorted(unknown))}; known are {', '.join(known)}")
    for name, value in given.items():
        if name != "ids" and type(value) not in ((int, float) if name.endswith("_age") else (str,)):
            raise ValueError(f"{name}: give a {'number' if name.endswith('_age') else 'text'}")
    ids = given.get("ids", [])
    if not isinstance(ids, list) or not all(isinstance(each, str) for each in ids):
        raise ValueError("ids: give a list of texts")
    selection = Selection(**{**given, "ids": tuple(ids)})
    if fault := fault_of(selection):
        raise ValueError(fault)
    return selection


def number_of(name: str) -> int | None:
    """The number of `q17`; None for any other name."""
    match = _NUMBER.fullmatch(name)
    return int(match[1]) if match else None


def parse_ages(text: str) -> tuple[float, float] | None:
    """Seconds at least and at most of `2h` (at least), `1h..2h` or `..10m`; None when it is none of these."""
    least, dots, most = text.partition("..")
    ages = (parse_duration(least) if least else 0.0, parse_duration(most) if most else float("inf"))
    if not text.strip(".") or ages[0] is None or ages[1] is None or ages[0] > ages[1] or (not dots and not least):
        return None
    return ages[0], ages[1]


def hindrance(verb: str, entry: Entry, held: str, now: float, named: bool) -> str:
    """Why a verb cannot be done to an entry, in words; empty when it can. `named` says that it was asked for by id."""
    if entry.state == "leased":
        return "on its way at this moment"
    return _HINDRANCES[verb](entry, held, now, named)


def _no_retry(entry: Entry, _: str, now: float, named: bool) -> str:
    """Never a second event with the same id to the same pixel unless asked by id."""
    if entry.deadline <= now:
        return "past its deadline: Meta takes no event that is older than 7 days"
    if not entry.has_body:
        return "its event is no longer kept (retention.body)"
    if entry.state == "delivered" and not named:
        return "delivered: name it by its id to send it again"
    if entry.reason in ("deleted", "rejected_meanwhile") and not named:
        return f"{entry.reason}: name it by its id to send it after all"
    return ""


#: What `release` does not lift, and what does.
_LIFTED_OTHERWISE = {
    "": "nothing holds it",
    "paused": "its integration is paused: capi-sidecar integrations resume NAME",
    "in_error": "its integration is in error: capi-sidecar check --secrets says why",
    "integration_gone": "its integration is gone: release --to NAME gives it another one with its pixel",
    "throttled": "Meta has asked for a pause, which nothing makes shorter",
}


def _only_queued(entry: Entry) -> str:
    return "" if entry.state == "queued" else f"it is {entry.state}"


_HINDRANCES: dict[str, Callable[[Entry, str, float, bool], str]] = {
    "retry": _no_retry,
    "hold": lambda entry, held, now, named: _only_queued(entry) or ("held by hand already" if entry.held else ""),
    "release": lambda entry, held, now, named: _only_queued(entry) or _LIFTED_OTHERWISE.get(held, ""),
    "delete": lambda entry, held, now, named: _only_queued(entry),
}
