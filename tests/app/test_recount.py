"""Counts that take longer than anybody wants to wait."""

import asyncio

import pytest

from sidecar.app import recount
from sidecar.app.recount import LASTS, TOO_OLD, Recount
from sidecar.store.contract import StoreUnavailable
from tests.examples import Clock


class Slow:
    """Counts how often it was counted; takes seconds of the clock, and waits for `go`."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        self.clock = clock
        self.seconds = seconds
        self.counts = 0
        self.fails = False
        self.go = asyncio.Event()
        self.go.set()

    async def __call__(self) -> int:
        await self.go.wait()
        self.clock.move(self.seconds)
        if self.fails:
            raise StoreUnavailable("the disk is gone")
        self.counts += 1
        return self.counts


async def test_a_count_is_good_for_ten_times_as_long_as_it_took(clock: Clock) -> None:
    slow = Slow(clock, 2.0)
    counted = Recount(slow, clock)
    assert await counted.latest() == (1, 0.0)
    clock.move(2.0 * LASTS - 1)
    assert await counted.latest() == (1, 2.0 * LASTS - 1)
    clock.move(1)
    assert await counted.latest() == (2, 0.0)


async def test_nobody_waits_for_long_and_all_share_one_count(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recount, "PATIENCE", 0.05)
    slow = Slow(clock, 0.0)
    counted = Recount(slow, clock)
    slow.go.clear()
    assert await asyncio.gather(*(counted.latest() for _ in range(5))) == [None] * 5
    slow.go.set()
    assert await counted.latest() == (1, 0.0)
    slow.go.clear()
    assert await counted.latest() == (1, 0.0)  # the one before, while the next is under way
    await counted.close()


async def test_an_old_count_is_shown_only_for_a_while(clock: Clock) -> None:
    slow = Slow(clock, 0.0)
    counted = Recount(slow, clock)
    await counted.latest()
    slow.fails = True
    clock.move(TOO_OLD)
    assert await counted.latest() == (1, TOO_OLD)
    clock.move(1)
    assert await counted.latest() is None
    slow.fails = False
    assert await counted.latest() == (2, 0.0)
