"""What is not needed any more goes: customers' data first, then rows, in small steps that delay nothing."""

import asyncio
import time
from collections.abc import Callable

from sidecar import log
from sidecar.core.configuration import Configuration, Retention
from sidecar.core.meta import OLDEST_EVENT
from sidecar.core.privacy import scrubbed
from sidecar.pace import Pace
from sidecar.store.contract import Store, StoreUnavailable

#: Seconds between two rounds.
INTERVAL = 60.0

#: Rows of one step.
STEP = 500

#: Seconds by which the wall clock may drift from the monotonic one before it counts as stepped.
_STEPPED = 5.0


class Janitor:
    """Runs a round at a time: expired deliveries, personal data, old rows, free pages, and a clock that was set."""

    def __init__(self, store: Store, configuration: Callable[[], Configuration], clock: Callable[[], float]) -> None:
        self._store = store
        self._configuration = configuration
        self._clock = clock
        self._offset = clock() - time.monotonic()
        #: Deliveries that were lost since the start: their deadline passed.
        self.buried = 0

    async def run(self) -> None:
        """Cleans until it is cancelled."""
        while True:
            try:
                await self.round()
            except StoreUnavailable as error:
                log.error("store.unavailable", why=str(error))
            await asyncio.sleep(INTERVAL)

    async def round(self) -> None:
        """One round, complete."""
        await self._follow_clock()
        if buried := await self._store.bury():
            log.error("delivery.dead", why="deadline", events=buried)
            self.buried += buried
        now, retention = self._clock(), self._configuration().retention
        await self._scrub(now - retention.raw)
        for what, seconds in _kept(retention).items():
            while await self._store.forget(what, now - seconds, STEP):
                await asyncio.sleep(0.01)
        await self._store.tidy()

    async def _scrub(self, before: float) -> None:
        """Postbacks that were kept whole for a decision that did not come."""
        while raw := await self._store.raw(before, STEP):
            configuration, pace, kept = self._configuration(), Pace(), []
            for each in raw:
                kept.append(scrubbed(each.postback, None, configuration))
                await pace.breathe()
            await self._store.scrub(kept)

    async def _follow_clock(self) -> None:
        offset = self._clock() - time.monotonic()
        if abs(offset - self._offset) > _STEPPED:
            log.warning("clock.stepped", seconds=round(offset - self._offset))
            await self._store.pull_in()
        self._offset = offset


def _kept(retention: Retention) -> dict[str, float]:
    """Seconds for which each kind of row is kept."""
    return {
        "bodies": retention.body,
        "deliveries": retention.key,
        "attempts": retention.attempt,
        "postbacks": retention.postback,
        "clicks": retention.click,
        "plain_clicks": retention.click_without_fbclid,
        "withdrawals": OLDEST_EVENT,
    }
