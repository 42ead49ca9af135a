"""Undecided postbacks, with their clicks, become decisions and deliveries."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

from sidecar import log
from sidecar.clicks import Completed
from sidecar.clicks.lookup import Lookup
from sidecar.core.click import Click, is_subid
from sidecar.core.configuration import Configuration
from sidecar.core.decide import Decision, decide, expire, waiting
from sidecar.core.delivery import Destination
from sidecar.core.event import DEADLINE_MARGIN
from sidecar.core.meta import OLDEST_EVENT
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

#: Seconds between two looks whether too many postbacks wait.
_COUNTED = 10.0

#: Postbacks that expire in one step when too many wait.
_RELIEVED = 1000

_DEFECT = "a defect of capi-sidecar: {}; please report it, upgrade, then replay this postback"


class Resolver:
    """Remembers nothing that a restart needs: what is due stands in the store.

    `read_to_end_at` tells since when every journal has been read to its end; `decided` takes the destinations that
    got something to send.
    """

    def __init__(
        self,
        store: Store,
        lookup: Lookup,
        completed: Completed,
        configuration: Callable[[], Configuration],
        clock: Callable[[], float],
        read_to_end_at: Callable[[], float],
        decided: Callable[[frozenset[Destination]], None],
        tap: Tap,
    ) -> None:
        self._store = store
        self._lookup = lookup
        self._completed = completed
        self._configuration = configuration
        self._clock = clock
        self._read_to_end_at = read_to_end_at
        self._decided = decided
        self._tap = tap
        self._woken = asyncio.Event()
        self._counted_at = 0.0
        self.counts: Counter[tuple[str, str]] = Counter()

    def wake(self) -> None:
        """Something may be due."""
        self._woken.set()

    async def run(self) -> None:
        """Decides what is due until it is cancelled."""
        while True:
            self._woken.clear()
            try:
                await self.relieve()
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
        self._ask_for(rulings, configuration)
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
        decision = self._decide(pending, subid, click, configuration, now)
        if self._is_open(pending, decision, subid, now):
            decision = waiting(decision, "the Admin API is asked")
        if decision.decision != "waiting":
            keeps = decision.decision in ("accepted", "ignored")
            kept = scrubbed(pending.postback, decision.click, configuration) if keeps else None
            return Ruling(pending, "decided", decision, subid, kept)
        ends_at = pending.stored_at + configuration.tracker.click_wait
        if decision.click is not None:
            return Ruling(pending, "waiting", decision, subid, due_at=now + AGAIN)
        if pending.state == "undecided" or now < ends_at:
            return Ruling(pending, "waiting", decision, subid, due_at=ends_at + GRACE)
        if read_to_end_at <= ends_at or not self._has_answered(subid, ends_at, pending, now):
            return Ruling(pending, "waiting", decision, subid, due_at=now + AGAIN)
        return Ruling(pending, "expired", expire(decision), subid)

    def _is_open(self, pending: Pending, decision: Decision, subid: str, now: float) -> bool:
        """Whether the Admin API may know better: a click that only the postback carries, while it answers; a campaign
        that nobody knows, until the campaigns were read since, at most as long as a click is waited for."""
        if not self._lookup.exists or decision.click is None:
            return False
        if decision.click.source == "postback":
            is_asked = self._lookup.is_answering and self._lookup.unknown_since(subid) is None
            return is_asked and now < _deadline(pending)
        may_learn = decision.reason in _NO_INTEGRATION and self._lookup.may_learn(decision.click)
        patience = self._configuration().tracker.click_wait
        return may_learn and self._lookup.campaigns_at <= pending.stored_at and now < pending.stored_at + patience

    def _has_answered(self, subid: str, since: float, pending: Pending, now: float) -> bool:
        """Whether the Admin API, if there is one, said after a moment that it does not know a subid."""
        unknown_since = self._lookup.unknown_since(subid)
        answered = unknown_since is not None and unknown_since >= since
        return not self._lookup.exists or answered or now >= _deadline(pending)

    def _ask_for(self, rulings: Sequence[Ruling], configuration: Configuration) -> None:
        """Once the postbacks stand as waiting, so that no answer comes too early for them."""
        for ruling in rulings:
            if ruling.state != "waiting" or not self._lookup.exists:
                continue
            click = ruling.decision.click
            if click is not None and click.source != "postback":
                self._lookup.want_campaigns(click)
            else:
                ends_at = ruling.pending.stored_at + configuration.tracker.click_wait
                is_over, unknown_since = self._clock() >= ends_at, self._lookup.unknown_since(ruling.subid)
                if unknown_since is None or (is_over and unknown_since < ends_at):
                    self._lookup.want(ruling.subid, wakes=click is not None or is_over)

    async def relieve(self) -> None:
        """More than waiting_max postbacks cost more than the oldest of them are worth: these expire, but for those of
        which the Admin API has still to say whether it knows them. Expired ones can be replayed."""
        if self._clock() - self._counted_at < _COUNTED:
            return
        self._counted_at = self._clock()
        configuration = self._configuration()
        most = configuration.tracker.waiting_max
        while (excess := await self._store.waiting() - most) > 0:
            oldest = await self._store.longest_waiting(min(excess, _RELIEVED))
            clicks = await self._store.clicks([_subid(each) for each in oldest])
            clickless = [each for each in oldest if _subid(each) not in clicks]
            rulings = [ruling for each in clickless if (ruling := self._relieved(each, configuration))]
            if not rulings:
                return
            await self._keep(rulings, configuration)
            log.error("postbacks.expired", more_than=most, expired=len(rulings),
                      next="do clicks reach the journal? then capi-sidecar replay --reason click_expired")  # fmt: skip

    def _relieved(self, pending: Pending, configuration: Configuration) -> Ruling | None:
        subid = _subid(pending)
        decision = self._decide(pending, subid, None, configuration, self._clock())
        may_be_known = self._lookup.is_answering and self._lookup.unknown_since(subid) is None
        if decision.decision != "waiting" or may_be_known:
            return None
        words = f"more than waiting_max ({configuration.tracker.waiting_max}) wait; the oldest expire"
        return Ruling(pending, "expired", expire(decision, words), subid)

    def _decide(
        self, pending: Pending, subid: str, click: Click | None, configuration: Configuration, now: float
    ) -> Decision:
        """A defect in one decision must not stop the others; what stands in the postback is not logged."""
        try:
            completed = self._completed(pending.postback, subid, click)
            return self._remarked(decide(pending.postback, completed, configuration, now))
        except Exception as error:
            log.error("decision.failed", id=pending.postback.id, error=type(error).__name__)
            return Decision("rejected", "invalid_event", (_DEFECT.format(type(error).__name__),))

    def _remarked(self, decision: Decision) -> Decision:
        """A click without an fbclid, with what the campaign's own parameters have to do with it."""
        if decision.click is None or decision.reason not in _NO_FBCLID:
            return decision
        remarks = (f"remark: {words}" for words in self._lookup.campaigns.remarks(decision.click))
        return replace(decision, trace=(*decision.trace, *remarks))


#: Reasons that the campaign's parameters may explain.
_NO_FBCLID = ("no_fbclid", "literal_fbclid")

#: Reasons that another name of the campaign may change.
_NO_INTEGRATION = ("campaign_without_integration", "integration_without_campaign")


def _deadline(pending: Pending) -> float:
    """When an event of this postback would be too old for Meta."""
    return pending.postback.received_at + OLDEST_EVENT - DEADLINE_MARGIN


def _subid(pending: Pending) -> str:
    subid = first_real(pending.postback.parameters, ("subid", "sub_id"))
    return subid if is_subid(subid) else ""
