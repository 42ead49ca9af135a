"""Which lanes may not send now, and why: faults that are nobody's event's."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from sidecar.core.delivery import Lane, Park
from sidecar.core.judge import Verdict
from sidecar.core.meta import OLDEST_EVENT

#: Seconds until a parked lane probes by itself: some faults are mended at Meta, with the token unchanged. A proxy that
#: restarts is back at once, and asking it costs nobody anything.
FIRST_PROBE = {"token": 900.0, "permission": 900.0, "proxy": 30.0}
LONGEST_PROBE = {"token": 6 * 3600.0, "permission": 6 * 3600.0, "proxy": 300.0}

#: Seconds for which the one that asks keeps the others from asking too: longer than any request takes.
ASKING = 60.0

#: What a fault concerns: every lane with the same values is held.
_CONCERNS: dict[str, Callable[[Lane], Sequence[str]]] = {
    "token": lambda lane: ("token", lane.token.reveal()),
    "permission": lambda lane: ("permission", lane.pixel_id, lane.token.reveal()),
    "proxy": lambda lane: ("proxy", *(proxy.reveal() for proxy in lane.proxies)),
    "throttled": lambda lane: ("pixel", lane.pixel_id),
    "blocked": lambda lane: ("pixel", lane.pixel_id),
}


class Parks:
    """What is parked, by what the fault concerns. Moments are those of one monotonic clock."""

    def __init__(self) -> None:
        self._parks: dict[str, Park] = {}
        self._asked: set[str] = set()
        self._changed: set[str] = set()

    def restore(self, parks: Iterable[Park], now: float) -> None:
        """What an earlier run left, on this clock: never held longer than the step says, whatever clock was set.

        One that was due long ago holds nothing: whatever waited for it is past its deadline.
        """
        for park in parks:
            if park.until < now - OLDEST_EVENT:
                self._changed.add(park.concern)
            else:
                until = min(park.until, now + park.step)
                self._parks[park.concern] = replace(park, since=min(park.since, now), until=until)

    def changes(self) -> dict[str, Park | None]:
        """What is to be remembered (None: forgotten) since the last call."""
        changed, self._changed = self._changed, set()
        return {concern: self._parks.get(concern) for concern in changed}

    def of(self, lane: Lane, now: float) -> Park | None:
        """What holds a lane the longest. A throttle is over with its time; a park when an event was taken."""
        holding = (park for park in self._of(lane) if park.probes or park.until > now)
        return max(holding, key=lambda park: park.until, default=None)

    def is_throttled(self, lane: Lane, now: float) -> bool:
        """Whether Meta has asked for a pause that is not over: no edit makes it shorter."""
        return any(park.until > now and not park.probes for park in self._of(lane))

    def ask(self, lane: Lane, now: float) -> None:
        """This lane sends one event to see whether it is well again; meanwhile no sister asks the same."""
        for park in self._of(lane):
            if park.probes and park.until <= now:
                self._parks[park.concern] = replace(park, until=now + ASKING)
                self._asked.add(park.concern)

    def ask_not(self, lane: Lane, now: float) -> None:
        """It had nothing to ask with: others may."""
        for park in self._of(lane):
            if park.concern in self._asked:
                self._asked.discard(park.concern)
                self._parks[park.concern] = replace(park, until=now)

    def note(self, lane: Lane, verdict: Verdict, now: float) -> Park | None:
        """Parks what a verdict blames, twice as long as the last time; the park if it is a new one.

        Several lanes may have asked at the same moment: their verdicts are one.
        """
        if verdict.kind not in _CONCERNS:
            return None
        concern = _named(_CONCERNS[verdict.kind](lane))
        before = self._parks.get(concern)
        asked = concern in self._asked
        if before and before.kind == verdict.kind and now < before.until and not verdict.seconds and not asked:
            return None
        park = _park(concern, verdict, before, now)
        if before and before.until > park.until and "throttled" in (before.kind, park.kind) and not asked:
            return None  # an answer that was on its way says less than what holds already
        self._asked.discard(concern)
        self._changed.add(concern)
        self._parks[concern] = park
        return park if before is None else None

    def lift(self, lane: Lane, began: float) -> bool:
        """Meta took a request of this lane that began then: no older fault holds it any more. Whether one did."""
        lifted = [park for park in self._of(lane) if park.concern in self._asked or park.until - park.step <= began]
        for park in lifted:
            del self._parks[park.concern]
            self._asked.discard(park.concern)
            self._changed.add(park.concern)
        return bool(lifted)

    def _of(self, lane: Lane) -> list[Park]:
        if not self._parks:
            return []
        concerns = {_named(concern(lane)) for concern in _CONCERNS.values()}
        return [self._parks[concern] for concern in concerns if concern in self._parks]


def _named(parts: Sequence[str]) -> str:
    """A name of a fault's subject that can be kept: it tells no token and no login."""
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogateescape")).hexdigest()


def _park(concern: str, verdict: Verdict, before: Park | None, now: float) -> Park:
    since = before.since if before else now
    state = "throttled" if verdict.kind == "throttled" else "parked"
    step = verdict.seconds if verdict.kind in ("throttled", "blocked") else _next_step(verdict.kind, before)
    return Park(concern, state, verdict.kind, verdict.words, since, now + step, step)


def _next_step(kind: str, before: Park | None) -> float:
    return min(before.step * 2, LONGEST_PROBE[kind]) if before else FIRST_PROBE[kind]
