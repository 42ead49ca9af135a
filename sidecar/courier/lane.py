"""The courier of one lane: leases what is due, sends it, settles each event by Meta's answer."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace

from sidecar import log
from sidecar.core.delivery import Attempt, Delivery, Destination, Lane, Settlement
from sidecar.core.judge import Verdict, judge
from sidecar.core.meta import EVENTS_PER_REQUEST
from sidecar.core.schedule import delay
from sidecar.courier.outcome import outcome
from sidecar.courier.parks import Park, Parks
from sidecar.graph import Graph
from sidecar.store.contract import Store, StoreUnavailable

#: Bytes of events in one request at most.
LARGEST_REQUEST = 4 << 20

#: Seconds between two tries of a lane that fails transiently, at most: one event is sent to see whether it is well.
LONGEST_GAP = 60.0

#: Seconds between two looks when nothing is known to be due.
_IDLE = 60.0


class LaneCourier:
    """Sends one request at a time: at once when idle, with more events the more have come meanwhile."""

    def __init__(
        self,
        lane: Lane,
        store: Store,
        graph: Graph,
        parks: Parks,
        clock: Callable[[], float],
        chance: Callable[[], float],
        counts: Counter[str],
        asks: bool,
    ) -> None:
        self.lane = lane
        self.destinations: tuple[Destination, ...] = ()
        self._store = store
        self._graph = graph
        self._parks = parks
        self._clock = clock
        self._chance = chance
        self._counts = counts
        self._woken = asyncio.Event()
        #: A lane that an edit of the configuration made asks first, whatever its pixel or proxy was blamed for before.
        self._asks = asks
        self._transient = 0
        #: Why Meta is asked only now and then, with one event; None while it answers.
        self.failing: Park | None = None

    def wake(self) -> None:
        """Something may be due."""
        self._woken.set()

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
        now = self._clock()
        park = self._parks.of(self.lane, now)
        if park and not self._asks and park.until > now:
            return min(park.until - now, _IDLE)
        if self.failing and self.failing.until > now:
            return min(self.failing.until - now, _IDLE)
        probes = self._asks or self.failing is not None or (park is not None and park.probes)
        leased = await self._store.lease(self.destinations, 1 if probes else EVENTS_PER_REQUEST)
        if not leased:
            due_at = await self._store.next_due(self.destinations)
            return _IDLE if due_at is None else min(max(due_at - self._clock(), 0.01), _IDLE)
        self._asks = False
        await self._deliver(leased)
        return 0.0

    async def _deliver(self, leased: Sequence[Delivery]) -> None:
        """Sends batch after batch; what is left when the lane stops working goes back to the queue."""
        tries: defaultdict[int, list[Attempt]] = defaultdict(list)
        batches: list[tuple[Sequence[Delivery], bool]] = [(batch, False) for batch in reversed(_by_bytes(leased))]
        while batches:
            batch, halved = batches.pop()
            verdict, attempt = await self._send(batch)
            result = outcome(batch, verdict, attempt, halved, self._clock(), self._chance())
            if result.again:
                for each in batch:
                    tries[each.seq].append(attempt)
                batches += [(part, halved or verdict.kind == "mismatch") for part in reversed(result.again)]
                continue
            await self._settle(_with_tries(result.settlements, tries))
            await self._learn(verdict, len(batch))
            if verdict.kind not in ("accepted", "refused", "unknown"):
                rest = [each for waiting, _ in batches for each in waiting]
                now = self._clock()
                back = [Settlement(each.seq, "queued", due_at=now, failures=each.failures) for each in rest]
                await self._settle(_with_tries(back, tries))
                return

    async def _send(self, batch: Sequence[Delivery]) -> tuple[Verdict, Attempt]:
        at = self._clock()
        sent = await self._graph.send(self.lane, [each.body for each in batch])
        verdict = judge(sent.answer, len(batch), self._clock())
        # Meta repeats a malformed token in its error.
        verdict = replace(verdict, words=verdict.words.replace(self.lane.token.reveal() or "***", "***"))
        self._counts["requests"] += 1
        self._counts[f"verdict {verdict.kind}"] += 1
        attempt = Attempt(
            at, sent.took, sent.proxy, verdict.kind, verdict.whose, verdict.words,
            verdict.http_status, verdict.code, verdict.subcode, verdict.fbtrace_id,
        )  # fmt: skip
        return verdict, attempt

    async def _settle(self, settlements: Sequence[Settlement]) -> None:
        """A verdict must not be lost: while the disk cannot take it, it is tried again."""
        while settlements:
            try:
                await self._store.settle(settlements)
                break
            except StoreUnavailable:
                await asyncio.sleep(1.0)
        for each in settlements:
            self._counts[each.state if each.state != "queued" else "requeued"] += 1

    async def _learn(self, verdict: Verdict, sent: int) -> None:
        """What a verdict says of the lane as a whole."""
        now = self._clock()
        if verdict.kind == "accepted":
            if self._parks.lift(self.lane):
                log.info("lane.resumed", pixel_id=self.lane.pixel_id)
            if self.failing:
                log.info("lane.well", pixel_id=self.lane.pixel_id, failed=self._transient)
                self._transient, self.failing = 0, None
                await self._store.hasten(self.destinations)
        elif verdict.kind in ("transient", "mismatch"):
            if verdict.kind == "mismatch" or not self.failing:
                log.warning("lane.failing", pixel_id=self.lane.pixel_id, whose=verdict.whose, why=verdict.words)
            self._transient += 1
            gap = min(delay(self._transient, self._chance()), LONGEST_GAP)
            since = self.failing.since if self.failing else now
            self.failing = Park("failing", verdict.kind, verdict.words, since, now + gap, gap)
        elif verdict.kind in ("refused", "unknown"):
            log.error(f"event.{verdict.kind}", pixel_id=self.lane.pixel_id, code=verdict.code, subcode=verdict.subcode,
                      events=sent, next="explain --id EVENT_ID")  # fmt: skip
        elif park := self._parks.note(self.lane, verdict, now):
            names = ", ".join(sorted({each.integration for each in self.destinations}))
            log.error(f"lane.{park.state}", pixel_id=self.lane.pixel_id, integration=names, why=park.kind,
                      code=verdict.code, subcode=verdict.subcode, words=park.words,
                      seconds=round(park.until - now))  # fmt: skip


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
