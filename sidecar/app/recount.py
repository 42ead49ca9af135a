"""A count that takes a while, for many who ask."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from sidecar.store.contract import StoreUnavailable

#: How many times as long as it took to count a count is good.
LASTS = 10

#: Seconds that anybody waits for a count; then the one before is the answer.
PATIENCE = 1.0

#: Seconds after which that is no answer any more: the store could not be read since.
TOO_OLD = 600.0

_Count = TypeVar("_Count")


class Recount(Generic[_Count]):
    """Whoever asks while a count is under way, or soon after, gets the same; and nobody waits for long."""

    def __init__(self, count: Callable[[], Awaitable[_Count]], monotonic: Callable[[], float] = time.monotonic) -> None:
        self._count = count
        self._monotonic = monotonic
        self._counting: asyncio.Task[None] | None = None
        self._good_until = 0.0
        self._last: tuple[_Count, float] | None = None

    async def latest(self) -> tuple[_Count, float] | None:
        """The last count, and the seconds since; None when there is none that is not too old."""
        if self._counting is None and self._monotonic() >= self._good_until:
            self._counting = asyncio.create_task(self._count_now())
        if self._counting:
            await asyncio.wait({self._counting}, timeout=PATIENCE)
        if self._last is None:
            return None
        count, at = self._last
        age = self._monotonic() - at
        return (count, age) if age <= TOO_OLD else None

    async def close(self) -> None:
        """Counts no more."""
        if self._counting:
            self._counting.cancel()
            await asyncio.gather(self._counting, return_exceptions=True)

    async def _count_now(self) -> None:
        began = self._monotonic()
        try:
            with contextlib.suppress(StoreUnavailable):
                self._last = await self._count(), self._monotonic()
        finally:
            ended = self._monotonic()
            self._good_until = ended + LASTS * (ended - began)
            self._counting = None
