"""Undecided postbacks, with their clicks, become decisions and deliveries."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence

from sidecar import log
from sidecar.core.click import Click, is_subid
from sidecar.core.configuration import Configuration
from sidecar.core.decide import Decision, decide, expire
from sidecar.core.delivery import Destination
from sidecar.core.parameters import first_real
from sidecar.core.privacy import scrubbed
from sidecar.pace import Pace
from sidecar.store.contract import Pending, Ruling, Store, StoreUnavailable
from sidecar.tap import Tap

#: Postbacks that are decided in one step.
BATCH = 256

#: Seconds for which postbacks gather before they are decided together: one commit for all of them.
GATHER = 0.01

#: Seconds after the end of the wait in which the journal is read once more: a click may have come at the last moment.
GRACE = 1.0

#: Seconds after which an overdue postback is looked at again, when no journal could be read to its end since.
AGAIN = 30.0

#: Seconds between two looks when nothing is known to be due.
_IDLE = 60.0

_DEFECT = "a defect of capi-sidecar: {}; please report it, upgrade, then replay this postback"


class Resolver:
    """Remembers nothing that a restart needs: what is due stands in the store.

    `read_to_end_at` tells since when every journal has been read to its end; `decided` takes the destinations that
    got something to send.
    """

    def __init__(
        self,
        store: Store,
        configuration: Callable[[], Configuration],
        clock: Callable[[], float],
        read_to_end_at: Callable[[], float],
        decided: Callable[[frozenset[Destination]], None],
        tap: Tap,
    ) -> None:
        self._store = store
        self._configuration = configuration
        self._clock = clock
        self._read_to_end_at = read_to_end_at
        self._decided = decided
        self._tap = tap
        self._woken = asyncio.Event()
        self.counts: Counter[tuple[str, str]] = Counter()

    def wake(self) -> None:
        """Something may be due."""
        self._woken.set()

    async def run(self) -> None:
        """Decides what is due until it is cancelled."""
        while True:
            self._woken.clear()
            try:
                pause = 0.0 if await self.step() else await self._pause()
            except StoreUnavailable:
                pause = 1.0
            if pause:
                try:
                    async with asyncio.timeout(pause):
                        await self._woken.wait()
                        await asyncio.sleep(GATHER)
                except TimeoutError:
                    pass

    async def step(self) -> int:
        """Decides one batch; how many postbacks it had."""
        configuration = self._configuration()
        # Before the clicks are asked for: whatever was read until then is among them.
        read_to_end_at = self._read_to_end_at()
        pending = await self._store.pending(self._clock(), BATCH)
        if not pending:
            return 0
        subids = [_subid(each) for each in pending]
        clicks = await self._store.clicks(sorted({subid for subid in subids if subid}))
        rulings = []
        pace = Pace()
        for each, subid in zip(pending, subids, strict=True):
            rulings.append(self._ruling(each, subid, clicks.get(subid), configuration, read_to_end_at))
            await pace.breathe()
        await self._keep(rulings, configuration)
        return len(pending)

    async def _pause(self) -> float:
        due_at = await self._store.next_look()
        return _IDLE if due_at is None else min(max(due_at - self._clock(), 0.01), _IDLE)

    async def _keep(self, rulings: Sequence[Ruling], configuration: Configuration) -> None:
        ruled = await self._store.rule(rulings, configuration.version)
        self.counts.update(ruled.reasons)
        if self._tap.is_open:
            for ruling, (decision, reason) in zip(rulings, ruled.reasons, strict=True):
                self._tap.tell(
                    "postback", self._clock(), id=ruling.pending.postback.id, subid=ruling.subid, decision=decision,
                    reason=reason,
                )  # fmt: skip
        if ruled.destinations:
            self._decided(ruled.destinations)

    def _ruling(
        self,
        pending: Pending,
        subid: str,
        click: Click | None,
        configuration: Configuration,
        read_to_end_at: float,
    ) -> Ruling:
        now = self._clock()
        decision = _decide(pending, click, configuration, now)
        if decision.decision != "waiting":
            keeps = decision.decision in ("accepted", "ignored")
            kept = scrubbed(pending.postback, decision.click, configuration) if keeps else None
            return Ruling(pending, "decided", decision, subid, kept)
        ends_at = pending.stored_at + configuration.tracker.click_wait
        if pending.state == "undecided" or now < ends_at:
            return Ruling(pending, "waiting", decision, subid, due_at=ends_at + GRACE)
        if read_to_end_at <= ends_at:
            return Ruling(pending, "waiting", decision, subid, due_at=now + AGAIN)
        return Ruling(pending, "expired", expire(decision), subid)


def _subid(pending: Pending) -> str:
    subid = first_real(pending.postback.parameters, ("subid", "sub_id"))
    return subid if is_subid(subid) else ""


def _decide(pending: Pending, click: Click | None, configuration: Configuration, now: float) -> Decision:
    """A defect in one decision must not stop the others; what stands in the postback is not logged."""
    try:
        return decide(pending.postback, click, configuration, now)
    except Exception as error:
        log.error("decision.failed", id=pending.postback.id, error=type(error).__name__)
        return Decision("rejected", "invalid_event", (_DEFECT.format(type(error).__name__),))
