"""Keitaro's Admin API as a source: paced, in batches, with a memory of its columns and a breaker of its own."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Any, TypeVar

from sidecar import log
from sidecar.core.admin_api import (
    CAMPAIGNS,
    CLICKS,
    CONVERSIONS,
    PAGE,
    SUBIDS_PER_REQUEST,
    TrackerConversion,
    Trouble,
    click_of_row,
    clicks_query,
    conversion_of_row,
    conversions_query,
    meaning,
    probing,
    unreadable,
)
from sidecar.core.campaign import Campaign, Campaigns, campaigns_of
from sidecar.core.click import Click
from sidecar.core.meta import OLDEST_FBC
from sidecar.core.rows import Row, rows_of, total_of
from sidecar.core.secret import Secret
from sidecar.keitaro import Answered, Unanswered
from sidecar.keitaro.breaker import Breaker
from sidecar.keitaro.columns import of_clicks, of_conversions
from sidecar.keitaro.http import Http, Reply
from sidecar.keitaro.rate import Rate

#: Questions in a second, and at once. No limit of Keitaro's is known; this one strains no tracker.
PER_SECOND = 2.0
BURST = 2

#: Seconds: a click that is older serves no event, and clocks differ.
_OLDEST_CLICK = OLDEST_FBC
_AHEAD = 86400.0

_Read = TypeVar("_Read")

#: The body of a question for these columns, from this row on.
_Query = Callable[[Sequence[str], int], dict[str, Any]]


class AdminApi:
    """The Admin API of the tracker at `url`, asked one question after another.

    `clock` gives Unix seconds, `monotonic` the seconds in which rests and pauses are measured. Every method raises
    Unanswered when there is no answer; while the breaker rests, at once and without asking.
    """

    def __init__(
        self,
        url: str,
        key: Secret,
        proxy: Secret | None,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        connect: float = 5.0,
        total: float = 30.0,
    ) -> None:
        self._http = Http(url, key, proxy, connect, total)
        self._clock = clock
        self._monotonic = monotonic
        self._sleep = sleep
        self._turn = asyncio.Lock()
        self._rate = Rate(PER_SECOND, BURST)
        #: Of each path its own: a key may read one log and not another.
        self._breakers = {path: Breaker() for path in (CLICKS, CONVERSIONS, CAMPAIGNS)}
        self._columns = {CLICKS: of_clicks(), CONVERSIONS: of_conversions()}
        self._campaigns = Campaigns()

    @property
    def is_answering(self) -> bool:
        """Whether the last question for clicks was answered; true before the first."""
        return self._breakers[CLICKS].trouble is None

    @property
    def trouble(self) -> str:
        """Why it does not answer, and what to do; empty when it does."""
        return next((each.trouble.words for each in self._breakers.values() if each.trouble), "")

    async def clicks(self, subids: Sequence[str]) -> Answered:
        """The clicks of any number of subids, as far as the tracker knows them."""
        asked = tuple(dict.fromkeys(subids))
        found: dict[str, Click] = {}
        for start in range(0, len(asked), SUBIDS_PER_REQUEST):
            await self._find(asked[start : start + SUBIDS_PER_REQUEST], found)
        return Answered(found, frozenset(asked))

    async def campaigns(self) -> tuple[Campaign, ...]:
        """All campaigns; clicks are read by them from now on."""
        reply = await self._ask("GET", CAMPAIGNS)
        # A long list is read in a thread: no request waits behind it.
        campaigns = await asyncio.to_thread(self._read, CAMPAIGNS, reply, campaigns_of)
        self._campaigns = Campaigns(campaigns)
        return campaigns

    async def conversions(self, since: float, until: float) -> AsyncIterator[TrackerConversion]:
        """The tracker's conversions between two moments (Unix seconds), the oldest first; one may come twice."""
        async with aclosing(
            self._pages(CONVERSIONS, lambda columns, offset: conversions_query(since, until, columns, PAGE, offset))
        ) as pages:
            async for rows in pages:
                for row in rows:
                    if conversion := conversion_of_row(row):
                        yield conversion

    async def close(self) -> None:
        """Ends the connections."""
        await self._http.close()

    async def _find(self, subids: Sequence[str], found: dict[str, Click]) -> None:
        """One batch; of several rows for a subid the newest counts."""
        since, until = self._clock() - _OLDEST_CLICK, self._clock() + _AHEAD
        missing = set(subids)
        async with aclosing(
            self._pages(CLICKS, lambda columns, offset: clicks_query(subids, columns, since, until, offset))
        ) as pages:
            async for rows in pages:
                clicks = [click for row in rows if (click := click_of_row(row, self._campaigns))]
                new = {click.subid: click for click in reversed(clicks) if click.subid in missing}
                found.update(new)
                missing -= new.keys()
                if not (new and missing):
                    break

    async def _pages(self, path: str, query: _Query) -> AsyncGenerator[tuple[Row, ...], None]:
        """Pages of a log, to the last one. A tracker may give fewer rows than it was asked for: only its total or an
        empty page is an end."""
        offset, before = 0, tuple[Row, ...]()
        while True:
            rows, total = await self._page(path, query, offset)
            if not rows:
                return
            if rows == before:
                if len(rows) >= PAGE:
                    raise Unanswered("the tracker gives the same page twice; ask for a shorter time", 0.0)
                return
            yield rows
            offset, before = offset + len(rows), rows
            if total is not None and total <= offset and len(rows) < PAGE:
                return

    async def _page(self, path: str, query: _Query, offset: int) -> tuple[tuple[Row, ...], int | None]:
        """The rows from this one on, of the columns that the tracker knows, and how many there are in all."""
        columns = self._columns[path].known(self._monotonic())
        reply = await self._ask("POST", path, query(columns, offset))
        if reply.status == 400:
            reply = await self._degraded(path, columns, lambda fewer: query(fewer, offset), reply.text)
        return self._read(path, reply, lambda body: (rows_of(body), total_of(body)))

    async def _degraded(
        self, path: str, asked: tuple[str, ...], query: Callable[[Sequence[str]], dict[str, Any]], refusal: str
    ) -> Reply:
        """The answer for the columns that the tracker knows, after it refused those that were asked for."""
        columns = self._columns[path]
        search = probing(asked, columns.least, refusal)
        tried = next(search)
        while True:
            reply = await self._ask("POST", path, query(tried))
            try:
                tried = search.send(reply.text if reply.status == 400 else None)
            except StopIteration as end:
                unknown: frozenset[str] | None = end.value
                break
        if unknown is None:
            return reply
        if columns.refuse(unknown, asked, self._monotonic()):
            log.warning("admin_api.columns", tracker=self._http.host, log=path, unknown=", ".join(sorted(unknown)))
        known = columns.known(self._monotonic())
        return reply if set(known) == set(tried) else await self._ask("POST", path, query(known))

    async def _ask(self, method: str, path: str, body: Any = None) -> Reply:
        """An answer, or a 400, which may be about a column; whatever else it is raises."""
        async with self._turn:
            breaker = self._breakers[path]
            if breaker.trouble and (wait := breaker.wait(self._monotonic())):
                raise Unanswered(breaker.trouble.words, wait)
            if pause := self._rate.take(self._monotonic()):
                await self._sleep(pause)
            reply = await self._http.ask(method, path, body)
            if isinstance(reply, Trouble):
                raise self._failed(path, reply)
            trouble = meaning(reply.status, reply.headers, self._clock())
            if trouble and reply.status != 400:
                raise self._failed(path, trouble)
            return reply

    def _read(self, path: str, reply: Reply, reader: Callable[[Any], _Read]) -> _Read:
        """What an answer holds, which ends any trouble; the reader raises ValueError for what was not asked for."""
        if trouble := meaning(reply.status, reply.headers, self._clock()):
            raise self._failed(path, trouble)
        try:
            read = reader(reply.json)
        except ValueError:
            raise self._failed(path, unreadable()) from None
        if self._breakers[path].well():
            log.info("admin_api.well", tracker=self._http.host, path=path)
        return read

    def _failed(self, path: str, trouble: Trouble) -> Unanswered:
        breaker, now = self._breakers[path], self._monotonic()
        if breaker.fail(trouble, now):
            tell = log.error if trouble.is_lasting else log.warning
            tell("admin_api.failing", tracker=self._http.host, path=path, why=trouble.why, next=trouble.next)
        return Unanswered(trouble.words, breaker.wait(now))
