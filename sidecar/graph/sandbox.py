"""The stand-in for Meta inside the daemon: the same bytes, the same judgement, and no proxy."""

import asyncio
import time
from collections.abc import Sequence

from sidecar.core.delivery import Lane
from sidecar.core.judge import Fault
from sidecar.graph import Sent
from sidecar.graph.request import answer_of, body_of
from sidecar.sandbox.standin import StandIn


class SandboxGraph:
    """Nothing leaves this process."""

    def __init__(self, standin: StandIn) -> None:
        self.standin = standin

    async def send(self, lane: Lane, events: Sequence[bytes]) -> Sent:
        started = time.monotonic()
        reply = self.standin.receive(lane.api_version, lane.pixel_id, body_of(lane, events))
        if reply.seconds:
            await asyncio.sleep(reply.seconds)
        answer = Fault("meta", "the connection broke") if reply.reset else None
        return Sent(answer or answer_of(reply.status, reply.headers, reply.body), 0, time.monotonic() - started)

    async def close(self) -> None:
        """Nothing is open."""
