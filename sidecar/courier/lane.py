"""The courier of one lane: leases what is due, sends it, settles each event by Meta's answer."""

import asyncio
import contextlib
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from sidecar import log
from sidecar.core.advice import ANSWER
from sidecar.core.delivery import Attempt, Delivery, Destination, Lane, Park, Settlement
from sidecar.core.judge import Verdict, judge
from sidecar.core.meta import EVENTS_PER_REQUEST
from sidecar.core.schedule import delay
from sidecar.courier.outcome import outcome
from sidecar.courier.parks import Parks
from sidecar.courier.tally import Tally
from sidecar.graph import Graph
from sidecar.store.contract import Store, StoreUnavailable
from sidecar.tap import Tap

#: Bytes of events in one request at most.
LARGEST_REQUEST = 4 << 20

#: Seconds between two tries of a lane that fails transiently, at most: one event is sent to see whether it is well.
LONGEST_GAP = 60.0

#: Seconds between two looks when nothing is known to be due.
_IDLE = 60.0


@dataclass(frozen=True)
class Office:
    """What all couriers share. `clock` is the wall's, `chance` lies in [0, 1); `lifted` is called when a park is over,
    and `place` says where the sysadmin mends a kind of fault of some destinations."""

    store: Store
    graph: Graph
    parks: Parks
    tap: Tap
    clock: Callable[[], float]
    monotonic: Callable[[], float]
    chance: Callable[[], float]
    counts: Counter[str]
    tally: Tally
    lifted: Callable[[], None]
    place: Callable[[str, Sequence[Destination]], str]


class LaneCourier:
    """Sends one request at a time: at once when idle, with more events the more have come meanwhile."""

    def __init__(self, lane: Lane, office: Office, asks: bool) -> None:
        self.lane = lane
        self.destinations: tuple[Destination, ...] = ()
        self._office = office
        self._store = office.store
        self._parks = office.parks
        self._clock = office.clock
        self._monotonic = office.monotonic
        self._largest = EVENTS_PER_REQUEST
        self._woken = asyncio.Event()
        #: A lane that an edit of the configuration made asks first, whatever its pixel or proxy was blamed for before.
        self._asks = asks
        self._transient = 0
        #: Whether what waits for its next try was told that Meta answers; an earlier run may have failed too.
        self._hastened = False
        #: Why Meta is asked only now and then, with one event; None while it answers.
        self.failing: Park | None = None

    def wake(self) -> None:
        """Something may be due."""
        self._woken.set()

    def ask(self) -> None:
        """One event asks now, whatever held the lane but a throttle."""
        self._asks = True
        if self.failing:
            self.failing = replace(self.failing, until=self._monotonic())
        self.wake()

    async def run(self) -> None:
        """Delivers until the lane has no destinations any more."""
        while self.destinations:
            self._woken.clear()
            try:
                pause = await self.step()
            except StoreUnavailable:
                pause = 1.0
            if pause > 0:
                try:
                    async with asyncio.timeout(pause):
                        await self._woken.wait()
                except TimeoutError:
                    pass

    async def step(self) -> float:
        """Sends what is due; seconds until the next look."""
        now = self._monotonic()
        if pause := self._held_for(now):
            return min(pause, _IDLE)
        park = self._parks.of(self.lane, now)
        probes = self._asks or self.failing is not None or (park is not None and park.probes)
        self._parks.ask(self.lane, now)
        # In turn: the first of several destinations must not always come first.
        self.destinations = (*self.destinations[1:], *self.destinations[:1])
        leased = await self._store.lease(self.destinations, 1 if probes else self._largest)
        if not leased:
            self._parks.ask_not(self.lane, now)
            due_at = await self._store.next_due(self.destinations)
            return _IDLE if due_at is None else min(max(due_at - self._clock(), 0.01), _IDLE)
        asked, self._asks = self._asks, False
        await self._deliver(leased)
        if asked and self.is_well:
            log.info("lane.well", pixel_id=self.lane.pixel_id, integration=self._names,
                     after="a change of its integration")  # fmt: skip
        return 0.0

    def _held_for(self, now: float) -> float:
        """Seconds for which nothing may be sent; 0 when something may."""
        park = self._parks.of(self.lane, now)
        untils = [self.failing.until] if self.failing else []
        if park and (not self._asks or self._parks.is_throttled(self.lane, now)):
            untils.append(park.until)
        return max(0.0, max(untils, default=now) - now)

    @property
    def is_well(self) -> bool:
        """Whether nothing holds it."""
        return self.failing is None and self._parks.of(self.lane, self._monotonic()) is None

    async def _deliver(self, leased: Sequence[Delivery]) -> None:
        """Sends batch after batch; what is left when the lane stops working, or breaks, goes back to the queue."""
        open_ones = {each.seq: each for each in leased}
        tries: defaultdict[int, list[Attempt]] = defaultdict(list)
        try:
            await self._send_all(leased, open_ones, tries)
        finally:
            now = self._clock()
            back = [Settlement(each.seq, "queued", due_at=now, failures=each.failures) for each in open_ones.values()]
            await self._settle(_with_tries(back, tries), {})

    async def _send_all(
        self, leased: Sequence[Delivery], open_ones: dict[int, Delivery], tries: defaultdict[int, list[Attempt]]
    ) -> None:
        batches: list[tuple[Sequence[Delivery], bool]] = [(batch, False) for batch in reversed(_by_bytes(leased))]
        while batches:
            batch, halved = batches.pop()
            began = self._monotonic()
            verdict, attempt = await self._send(batch)
            result = outcome(batch, verdict, attempt, halved, self._clock(), self._office.chance())
            if result.again:
                for each in batch:
                    tries[each.seq].append(attempt)
                batches += [(part, halved or verdict.kind == "mismatch") for part in reversed(result.again)]
                continue
            # First what holds the lane: should the daemon die now, it does not ask again when it starts. Else first
            # what Meta took: should it die now, it does not send it again.
            holds = verdict.kind not in ("accepted", "refused")
            if holds:
                await self._learn(verdict, len(batch), began)
            await self._settle(_with_tries(result.settlements, tries), open_ones)
            if not holds:
                await self._learn(verdict, len(batch), began)
            if holds:
                return

    async def _send(self, batch: Sequence[Delivery]) -> tuple[Verdict, Attempt]:
        at = self._clock()
        sent = await self._office.graph.send(self.lane, [each.body for each in batch])
        verdict = judge(sent.answer, len(batch), self._clock(), self.lane.token)
        self._office.counts["requests"] += 1
        self._office.counts[f"verdict {verdict.kind}"] += 1
        self._office.tally.tried(batch, verdict)
        attempt = Attempt(
            at, sent.took, sent.proxy, verdict.kind, verdict.whose, verdict.words,
            verdict.http_status, verdict.code, verdict.subcode, verdict.fbtrace_id,
        )  # fmt: skip
        return verdict, attempt

    async def _settle(self, settlements: Sequence[Settlement], open_ones: dict[int, Delivery]) -> None:
        """A verdict must not be lost: while the disk cannot take it, it is tried again."""
        while settlements:
            try:
                await self._store.settle(settlements)
                break
            except StoreUnavailable:
                await asyncio.sleep(1.0)
        for each in settlements:
            delivery = open_ones.pop(each.seq, None)
            self._office.counts[each.state if each.state != "queued" else "requeued"] += 1
            if delivery:
                self._office.tally.settled(delivery, each)
                if self._office.tap.is_open:
                    self._tell(delivery, each)

    def _tell(self, delivery: Delivery, settlement: Settlement) -> None:
        last = settlement.attempts[-1]
        self._office.tap.tell(
            "delivery", self._clock(), state=settlement.state, reason=settlement.reason, verdict=last.verdict,
            integration=delivery.destination.integration, pixel_id=delivery.destination.pixel_id,
            event_name=delivery.event_name, event_id=delivery.event_id, subid=delivery.subid, took=last.took,
            http_status=last.http_status, code=last.code, subcode=last.subcode,
        )  # fmt: skip

    async def _learn(self, verdict: Verdict, sent: int, began: float) -> None:
        """What a verdict says of the lane as a whole. Who refuses an event has accepted the token and the pixel."""
        now = self._monotonic()
        if verdict.kind == "refused":
            log.error("event.refused", pixel_id=self.lane.pixel_id, integration=self._names, code=verdict.code,
                      subcode=verdict.subcode, next="capi-sidecar explain --id tells which and why")  # fmt: skip
        if verdict.kind in ("accepted", "refused"):
            if verdict.kind == "accepted" and sent >= self._largest:
                self._largest = min(self._largest * 2, EVENTS_PER_REQUEST)
            await self._resume(began)
        elif verdict.kind in ("transient", "mismatch", "unknown"):
            # What is too large for the way is tried with less.
            if sent > 1:
                self._largest = sent // 2
            self._fail(verdict, now)
        else:
            if park := self._parks.note(self.lane, verdict, now):
                self._say_held(park, verdict, now)
            await self._remember()

    @property
    def _names(self) -> list[str]:
        """Whose events go this way."""
        return sorted({each.integration for each in self.destinations})

    def _say_held(self, park: Park, verdict: Verdict, now: float) -> None:
        """Once for a fault: where it is mended, and what with."""
        meaning, then = ANSWER[park.kind]
        log.error(f"lane.{park.state}", pixel_id=self.lane.pixel_id, integration=self._names, why=park.kind,
                  at=self._office.place(park.kind, self.destinations), code=verdict.code, subcode=verdict.subcode,
                  words=park.words, means=meaning, next=then, seconds=round(park.until - now))  # fmt: skip

    async def _resume(self, began: float) -> None:
        """Meta took something: nothing holds this lane, or its sisters, any more."""
        if self._parks.lift(self.lane, began):
            log.info("lane.well", pixel_id=self.lane.pixel_id, integration=self._names)
            await self._remember()
            self._office.lifted()
        if self.failing:
            log.info("lane.well", pixel_id=self.lane.pixel_id, integration=self._names, failed=self._transient)
            self._transient, self.failing = 0, None
            self._hastened = False
        if not self._hastened:
            with contextlib.suppress(StoreUnavailable):  # then with the next answer
                await self._store.hasten(self.destinations)
                self._hastened = True

    async def _remember(self) -> None:
        """What holds lanes holds them after a restart too. Where the disk cannot take it, one request more is made."""
        with contextlib.suppress(StoreUnavailable):
            await remember(self._store, self._parks, self._clock() - self._monotonic())

    def _fail(self, verdict: Verdict, now: float) -> None:
        """Meta is asked only now and then, with one event, until it takes one."""
        if verdict.kind != "transient" or not self.failing:
            report = log.error if verdict.kind == "unknown" else log.warning
            report("lane.failing", pixel_id=self.lane.pixel_id, integration=self._names, whose=verdict.whose,
                   why=verdict.words, code=verdict.code, subcode=verdict.subcode)  # fmt: skip
        self._transient += 1
        gap = min(delay(self._transient, self._office.chance()), LONGEST_GAP)
        since = self.failing.since if self.failing else now
        self.failing = Park("", "failing", verdict.kind, verdict.words, since, now + gap, gap)


async def remember(store: Store, parks: Parks, offset: float) -> None:
    """Keeps what has changed; `offset` is how far the wall clock is ahead of the monotonic one."""
    if changed := parks.changes():
        kept = [park.shifted(offset) for park in changed.values() if park]
        await store.keep_parks(kept, [concern for concern, park in changed.items() if park is None])


def _by_bytes(leased: Sequence[Delivery]) -> list[Sequence[Delivery]]:
    """Batches of at most LARGEST_REQUEST bytes."""
    batches: list[list[Delivery]] = [[]]
    size = 0
    for each in leased:
        if batches[-1] and size + len(each.body) > LARGEST_REQUEST:
            batches.append([])
            size = 0
        batches[-1].append(each)
        size += len(each.body)
    return list(batches)


def _with_tries(settlements: Sequence[Settlement], tries: dict[int, list[Attempt]]) -> list[Settlement]:
    """Each settlement with the tries that came before its last one."""
    return [
        replace(each, attempts=(*tries[each.seq], *each.attempts)) if each.seq in tries else each
        for each in settlements
    ]
