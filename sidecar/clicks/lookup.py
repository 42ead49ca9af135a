"""Asks the Admin API for clicks that no journal has shown, and for campaigns that nobody knows yet.

Nothing waits here: who wants to know says so, and is woken by the answer. What a restart forgets is asked again.
"""

import asyncio
import json
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from sidecar.core.campaign import Campaign, Campaigns
from sidecar.core.click import Click
from sidecar.keitaro import Answered, Unanswered
from sidecar.store.contract import Store, StoreUnavailable
from sidecar.store.rows import CAMPAIGNS

#: Subids that are asked for in one request.
BATCH = 200

#: Seconds for which subids gather before they are asked for together.
GATHER = 0.1

#: Seconds after which the campaigns are read again; and the least between two reads, when an unknown one turns up.
REFRESH = 600.0
LEAST_REFRESH = 30.0

#: Subids that the Admin API does not know, as many as are remembered.
REMEMBERED = 100_000


class Source(Protocol):
    """The Admin API of one tracker."""

    @property
    def is_answering(self) -> bool:
        """Whether a call may be answered now."""

    @property
    def trouble(self) -> str:
        """Why it does not answer, and what to do; empty when it does."""

    async def clicks(self, subids: Sequence[str]) -> Answered:
        """The clicks of these subids, as far as the tracker knows them. Raises Unanswered."""

    async def campaigns(self) -> tuple[Campaign, ...]:
        """All campaigns. Raises Unanswered."""

    async def close(self) -> None:
        """Ends the connections."""


class Lookup:
    """`source` is None where no Admin API is configured. `woken` is called when postbacks that waited may be decided;
    `is_kept_long` tells whether a click has an fbclid."""

    def __init__(
        self,
        store: Store,
        source: Source | None,
        clock: Callable[[], float],
        woken: Callable[[], None],
        is_kept_long: Callable[[Click], bool],
    ) -> None:
        self._store = store
        self._source = source
        self._clock = clock
        self._woken = woken
        self._is_kept_long = is_kept_long
        self._wanted: OrderedDict[str, bool] = OrderedDict()
        self._unknown: OrderedDict[str, float] = OrderedDict()
        #: Names of campaigns for which the next reading is to look, and those for which it was done, and when.
        self._sought_now: set[str] = set()
        self._sought: dict[str, float] = {}
        self._something = asyncio.Event()
        self._changed = asyncio.Event()
        self._campaigns_wanted = True
        self._campaigns_not_before = 0.0
        self.campaigns = Campaigns()
        self.campaigns_at = 0.0
        self.counts: Counter[str] = Counter()

    @property
    def exists(self) -> bool:
        """Whether there is an Admin API to ask."""
        return self._source is not None

    @property
    def is_answering(self) -> bool:
        return self._source is not None and self._source.is_answering

    @property
    def trouble(self) -> str:
        return self._source.trouble if self._source else ""

    def status(self) -> dict[str, Any] | None:
        """For `status`: whether it answers, why not, and what it has told; None where there is none."""
        if self._source is None:
            return None
        return {
            "answering": self.is_answering,
            "trouble": self.trouble,
            "campaigns_at": self.campaigns_at or None,
            "wanted": len(self._wanted),
            "asked": self.counts["asked"],
            "found": self.counts["found"],
        }

    def configure(self, source: Source | None) -> None:
        """Another Admin API from now on; what another one did not know, this one may."""
        self._source = source
        self._unknown.clear()
        self.campaigns_at = self._campaigns_not_before = 0.0
        self._changed.set()
        self._something.set()

    def want(self, subid: str, wakes: bool) -> None:
        """Asks for a subid; `wakes` says that somebody waits for the answer itself, not only for the click."""
        if self._source is not None:
            self._wanted[subid] = wakes or self._wanted.get(subid, False)
            if len(self._wanted) > REMEMBERED:
                self._wanted.popitem(last=False)  # it is wanted again when its postback is looked at again
            self._something.set()

    def want_campaigns(self, click: Click) -> None:
        """A campaign turned up that nobody knows."""
        self._sought_now.update(click.campaign)
        self._campaigns_wanted = True
        self._something.set()

    def may_learn(self, click: Click) -> bool:
        """Whether reading the campaigns anew may tell a click's: it is not known, and was not looked for lately."""
        return not self.campaigns.of(click) and not self._sought.keys() & set(click.campaign)

    def unknown_since(self, subid: str) -> float | None:
        """When the Admin API last said that it does not know a subid (Unix seconds); None if it did not."""
        return self._unknown.get(subid)

    async def start(self) -> None:
        """The campaigns that an earlier run knew."""
        if kept := await self._store.fact(CAMPAIGNS):
            self.campaigns = Campaigns(tuple(Campaign.from_json(each) for each in json.loads(kept)))

    async def run(self) -> None:
        """Asks until it is cancelled."""
        while True:
            self._something.clear()
            try:
                await self.step()
            except Unanswered as fault:
                self._changed.clear()
                await _until(self._changed, max(fault.retry_after, GATHER))
            except StoreUnavailable:
                await asyncio.sleep(1.0)
            else:
                if not self._wanted:
                    await _until(self._something, self._next_refresh())
            await asyncio.sleep(GATHER)

    async def step(self) -> None:
        """The campaigns, where they are wanted, and one batch of clicks. Raises Unanswered."""
        if self._source is None:
            self._wanted.clear()
            return
        await self._read_campaigns(self._source)
        await self._ask(self._source)

    def _next_refresh(self) -> float:
        """Seconds until the campaigns are to be read."""
        due_at = self._campaigns_not_before if self._campaigns_wanted else self.campaigns_at + REFRESH
        return max(due_at - self._clock(), GATHER)

    async def _read_campaigns(self, source: Source) -> None:
        """A key that may not read them may still read clicks: these do not wait for it."""
        now = self._clock()
        if now < self.campaigns_at:
            self.campaigns_at = self._campaigns_not_before = 0.0  # the clock was set back
        self._sought = {name: at for name, at in self._sought.items() if 0 <= now - at < REFRESH}
        is_due = self._campaigns_wanted or not 0 <= now - self.campaigns_at < REFRESH
        if not is_due or now < self._campaigns_not_before:
            return
        try:
            campaigns = await source.campaigns()
        except Unanswered as fault:
            self._campaigns_not_before = now + max(fault.retry_after, LEAST_REFRESH)
            return
        await self._store.keep_fact(CAMPAIGNS, await asyncio.to_thread(_as_text, campaigns))
        self.campaigns = Campaigns(campaigns)
        self._sought |= dict.fromkeys(self._sought_now, now)
        self._sought_now.clear()
        self.campaigns_at = now
        self._campaigns_not_before = now + LEAST_REFRESH
        self._campaigns_wanted = False
        self._woken()

    async def _ask(self, source: Source) -> None:
        batch = dict(self._wanted.popitem(last=False) for _ in range(min(BATCH, len(self._wanted))))
        try:
            for subid in await self._store.clicks(list(batch)):
                del batch[subid]  # a journal has brought it meanwhile
            answered = await source.clicks(list(batch)) if batch else Answered({}, frozenset())
            found = [(click, self._is_kept_long(click)) for click in answered.clicks.values()]
            await self._store.add_clicks(found)
        except (Unanswered, StoreUnavailable):
            for subid, wakes in batch.items():
                self._wanted.setdefault(subid, wakes)
            raise
        now = self._clock()
        # A row without its time is no click that anything can be decided by.
        for subid in answered.asked - {subid for subid, click in answered.clicks.items() if click.clicked_at}:
            self._unknown[subid] = now
            self._unknown.move_to_end(subid)
        while len(self._unknown) > REMEMBERED:
            self._unknown.popitem(last=False)
        self.counts["asked"] += len(answered.asked)
        self.counts["found"] += len(answered.clicks)
        if batch:
            await self._store.wake([subid for subid, wakes in batch.items() if wakes])
            self._woken()


def _as_text(campaigns: Sequence[Campaign]) -> str:
    return json.dumps([each.as_json() for each in campaigns])


async def _until(event: asyncio.Event, seconds: float) -> None:
    """Until the event, at most so many seconds."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass
