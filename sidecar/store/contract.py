"""What the rest of the program may ask of the store, whatever database keeps it.

Every call is one step: done whole and on disk when it returns, or not at all. The contract is small and set-based, so
that one suite of tests can hold every back end to it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sidecar.core.click import Click
from sidecar.core.decide import Decision
from sidecar.core.delivery import Delivery, Destination, Park, Settlement
from sidecar.core.postback import Postback
from sidecar.core.queue import Entry


class StoreUnavailable(Exception):
    """The store cannot write now (a full or failing disk); nothing was changed, and trying again is right."""


class StoreRefused(Exception):
    """The state directory cannot be used; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Place:
    """How far a journal's file was read. `head` are the first bytes, by which a reused inode is told apart."""

    device: int
    inode: int
    head: bytes
    position: int


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read of a journal in one step: its rows and its new place belong together."""

    journal: str
    place: Place
    clicks: Sequence[tuple[Click, bool]] = ()
    postbacks: Sequence[Postback] = ()
    #: Postbacks from before the first start, with their subids.
    refused: Sequence[tuple[Postback, str]] = ()


@dataclass(frozen=True, slots=True)
class Stored:
    """How many of the given rows were new, and how many ids came again with other content."""

    new: int = 0
    conflicting: int = 0


@dataclass(frozen=True, slots=True)
class Pending:
    """A postback that wants a decision, and since when (Unix seconds) it has been here."""

    postback: Postback
    stored_at: float
    state: str


@dataclass(frozen=True, slots=True)
class Ruling:
    """What the resolver makes of a pending postback.

    `state` is `decided`, `waiting` (then to look at again at `due_at`) or `expired`; `kept` is the postback as it is
    to stay, None where it stays as it is.
    """

    pending: Pending
    state: str
    decision: Decision
    subid: str
    kept: Postback | None = None
    due_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Ruled:
    """What came of the rulings: (decision, reason) of each, and the destinations that got something to send."""

    reasons: tuple[tuple[str, str], ...]
    destinations: frozenset[Destination]


@dataclass(frozen=True, slots=True)
class OpenDeliveries:
    """How many deliveries of a destination are queued or leased; since when the oldest could have been sent, and when
    the first of them will be too old for Meta. `held` is what stands in their rows."""

    destination: Destination
    state: str
    held: str
    count: int
    not_before: float
    deadline: float


@dataclass(frozen=True, slots=True)
class Backlog:
    """What is not at its end: postbacks without a decision by state, and deliveries."""

    postbacks: Mapping[str, int]
    deliveries: Sequence[OpenDeliveries]


class Store(Protocol):
    """See the module. Times are Unix seconds; `most` bounds a step."""

    # intake and journal
    async def add(self, postback: Postback) -> Stored: ...
    async def first_read_at(self, journal: str) -> float: ...
    async def places(self, journal: str) -> list[Place]: ...
    async def add_reading(self, reading: Reading) -> Stored: ...
    async def drop_place(self, journal: str, place: Place) -> None: ...

    # resolver
    async def pending(self, now: float, most: int) -> list[Pending]: ...
    async def next_look(self) -> float | None: ...
    async def clicks(self, subids: Sequence[str]) -> dict[str, Click]: ...
    async def add_clicks(self, clicks: Sequence[tuple[Click, bool]]) -> None: ...
    async def wake(self, subids: Sequence[str]) -> None: ...
    async def waiting(self) -> int: ...
    async def longest_waiting(self, most: int) -> list[Pending]: ...
    async def rule(self, rulings: Sequence[Ruling], configuration: str) -> Ruled: ...

    # courier
    async def destinations(self) -> list[Destination]: ...
    async def lease(self, destinations: Sequence[Destination], most: int) -> list[Delivery]: ...
    async def next_due(self, destinations: Sequence[Destination]) -> float | None: ...
    async def settle(self, settlements: Sequence[Settlement]) -> None: ...
    async def hasten(self, destinations: Sequence[Destination]) -> None: ...
    async def bury(self) -> int: ...
    async def pull_in(self) -> int: ...
    async def parks(self) -> list[Park]: ...
    async def keep_parks(self, parks: Sequence[Park], dropped: Sequence[str]) -> None: ...

    # queue tools
    async def steer(self, verb: str, entries: Sequence[Entry], to: Destination | None = None) -> int: ...
    async def replay(self, ids: Sequence[str]) -> int: ...

    # retention
    async def raw(self, before: float, most: int) -> list[Pending]: ...
    async def scrub(self, postbacks: Sequence[Postback]) -> None: ...
    async def forget(self, what: str, before: float, most: int) -> int: ...
    async def tidy(self) -> None: ...

    # facts that outlive a restart, by name
    async def fact(self, name: str) -> str: ...
    async def keep_fact(self, name: str, value: str) -> None: ...

    # people
    async def counts(self) -> dict[str, Any]: ...
    async def backlog(self) -> Backlog: ...
    async def stories(self, name: str, most: int) -> list[dict[str, Any]]: ...
    async def hours(self, since: float) -> list[tuple[str, int, str, int]]: ...
    async def deliveries(self, integration: str, most: int) -> dict[str, list[dict[str, Any]]]: ...
    async def close(self) -> None: ...
