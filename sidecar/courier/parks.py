"""Which lanes may not send now, and why: faults that are nobody's event's."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass

from sidecar.core.delivery import Lane
from sidecar.core.judge import Verdict

#: Seconds until a parked lane probes by itself: some faults are mended at Meta, with the token unchanged. A proxy that
#: restarts is back at once, and asking it costs nobody anything.
FIRST_PROBE = {"token": 900.0, "permission": 900.0, "proxy": 30.0}
LONGEST_PROBE = 6 * 3600.0

#: What a fault concerns: every lane with the same value is held.
_CONCERNS: dict[str, Callable[[Lane], Hashable]] = {
    "token": lambda lane: ("token", lane.token),
    "permission": lambda lane: ("permission", lane.pixel_id, lane.token),
    "proxy": lambda lane: ("proxy", lane.proxies),
    "throttled": lambda lane: ("pixel", lane.pixel_id),
    "blocked": lambda lane: ("pixel", lane.pixel_id),
}


@dataclass(frozen=True, slots=True)
class Park:
    """Held as `state` (`parked`, `throttled` or, between two tries, `failing`) since and until a moment of the
    monotonic clock, with the fault's kind and words; `step` is how many seconds it is held this time."""

    state: str
    kind: str
    words: str
    since: float
    until: float
    step: float

    @property
    def probes(self) -> bool:
        """Whether one event is sent first when the time is over."""
        return self.state == "parked"


class Parks:
    """What is parked, by what the fault concerns."""

    def __init__(self) -> None:
        self._parks: dict[Hashable, Park] = {}

    def of(self, lane: Lane, now: float) -> Park | None:
        """What holds a lane the longest. A throttle is over with its time; a park when an event was taken."""
        found = [park for concern in _CONCERNS.values() if (park := self._parks.get(concern(lane)))]
        return max(
            (park for park in found if park.probes or park.until > now), key=lambda park: park.until, default=None
        )

    def note(self, lane: Lane, verdict: Verdict, now: float) -> Park | None:
        """Parks what a verdict blames, twice as long as the last time; the park if it is a new one.

        Several lanes may have asked at the same moment: their verdicts are one.
        """
        if verdict.kind not in _CONCERNS:
            return None
        concern = _CONCERNS[verdict.kind](lane)
        before = self._parks.get(concern)
        if before and before.kind == verdict.kind and now < before.until and not verdict.seconds:
            return None
        self._parks[concern] = park = _park(verdict, before, now)
        return park if before is None else None

    def lift(self, lane: Lane) -> bool:
        """Meta took an event of this lane: nothing holds it any more. Whether something did."""
        lifted = [self._parks.pop(concern(lane), None) for concern in _CONCERNS.values()]
        return any(lifted)


def _park(verdict: Verdict, before: Park | None, now: float) -> Park:
    since = before.since if before else now
    if verdict.kind == "throttled":
        return Park("throttled", verdict.kind, verdict.words, since, now + verdict.seconds, 0.0)
    if verdict.kind == "blocked":
        return Park("parked", verdict.kind, verdict.words, since, now + verdict.seconds, verdict.seconds)
    step = min(before.step * 2, LONGEST_PROBE) if before and before.step else FIRST_PROBE[verdict.kind]
    return Park("parked", verdict.kind, verdict.words, since, now + step, step)
