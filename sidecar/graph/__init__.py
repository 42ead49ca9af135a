"""The Graph API: how a request is written, sent through a proxy, and how its answer is read."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from sidecar.core.delivery import Lane
from sidecar.core.judge import Answer, Fault


@dataclass(frozen=True, slots=True)
class Sent:
    """What came of a request: the answer, or that there was none; through which proxy (its place in the lane's list
    from 1 on, 0 for none); and the seconds that it took."""

    answer: Answer | Fault
    proxy: int
    took: float


class Graph(Protocol):
    """Whoever plays Meta: Meta itself over HTTP, or the sandbox."""

    async def send(self, lane: Lane, events: Sequence[bytes]) -> Sent:
        """One request with these events' bytes."""

    async def close(self) -> None:
        """Ends the connections."""
