"""What is read of the daemon for one answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sidecar.metrics.histogram import Histogram

#: Values of one label at most.
MOST = 2000

#: Stands for integrations that are gone, and for those after the first MOST. No integration's name has brackets first
#: by habit; one that had would be added up with them.
OTHERS = "(others)"


@dataclass(frozen=True, slots=True)
class Queued:
    """Deliveries of an integration that are not at their end. `state` is `ready`, `leased` or why they are held; the
    oldest could be sent for `age` seconds, and the first of them is too old for Meta in `left` seconds."""

    integration: str
    state: str
    count: int
    age: float
    left: float


@dataclass(frozen=True, slots=True)
class Counted:
    """What the store counted at a moment (Unix seconds): postbacks without a decision by state, and the queue."""

    counted_at: float
    postbacks: Mapping[str, int]
    queue: Sequence[Queued]


@dataclass(frozen=True, slots=True)
class Disk:
    """Bytes of the store's files by name, and those that are free beside them."""

    files: Mapping[str, int]
    free: int


@dataclass(frozen=True)
class Snapshot:
    """The daemon at one moment, in the words of its parts' own status. None where a part is not there, or cannot be
    read or counted."""

    version: str
    mode: str
    is_ready: bool
    configuration: Mapping[str, Any]
    #: By name in file order: active, paused or error.
    integrations: Mapping[str, str]
    intake: Mapping[str, int]
    journals: Sequence[Mapping[str, Any]]
    #: How many postbacks got which (decision, reason).
    decided: Mapping[tuple[str, str], int]
    counted: Counted | None
    requests: Mapping[str, int]
    #: How many events were tried with which (integration, verdict, whose).
    attempts: Mapping[tuple[str, str, str], int]
    #: How many deliveries came to which (integration, end).
    ended: Mapping[tuple[str, str], int]
    expired: int
    delay: Histogram
    lanes: Sequence[Mapping[str, Any]]
    proxies: Mapping[str, bool]
    admin_api: Mapping[str, Any] | None
    geoip: str | None
    store_failing: bool
    disk: Disk | None
    loop_delay: Histogram
    silence: Sequence[Mapping[str, Any]]
    canary: Sequence[Mapping[str, Any]]

    @cached_property
    def _named(self) -> frozenset[str]:
        return frozenset(list(self.integrations)[:MOST])

    def name(self, integration: str) -> str:
        """The integration as a label's value."""
        return integration if integration in self._named else OTHERS
