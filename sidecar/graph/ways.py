"""Which proxies are passed over, and for how long. Pure: time is an argument, in seconds of the monotonic clock."""

from collections.abc import Sequence
from dataclasses import dataclass

from sidecar.core.secret import Secret

#: Seconds for which a proxy is passed over after a fault; twice as long after each further one, up to the longest.
FIRST_REST = 30.0
LONGEST_REST = 300.0


@dataclass(frozen=True, slots=True)
class Rest:
    """A proxy is passed over until a moment. `step` is how long it rests this time; 0 for a doubt, which has no proof:
    a request went through it and no answer came."""

    until: float
    step: float


class Ways:
    """The memory of proxies, shared by all lanes: what one lane learns, the others need not."""

    def __init__(self) -> None:
        self._rests: dict[Secret, Rest] = {}

    def order(self, proxies: Sequence[Secret], now: float) -> list[tuple[int, Secret]]:
        """Proxies in the order in which they are asked, each with its place in the list from 1 on.

        First those that do not rest, as they are listed: one whose rest is over comes first again. Then those that
        rest, the soonest back first: nothing goes around a proxy, so when all rest each is still asked.
        """
        return sorted(enumerate(proxies, 1), key=lambda each: self._until(each[1], now))

    def fail(self, proxy: Secret, now: float) -> bool:
        """It could not be used; whether that is news. Requests that failed at the same time are one fault."""
        before = self._rests.get(proxy)
        if before and before.step and now < before.until:
            return False
        step = min(before.step * 2, LONGEST_REST) if before and before.step else FIRST_REST
        self._rests[proxy] = Rest(now + step, step)
        return not (before and before.step)

    def doubt(self, proxy: Secret, now: float) -> bool:
        """A request that went through it got no answer, which may be Meta's fault; whether it had a good name."""
        before = self._rests.get(proxy)
        if before is None or before.until <= now:
            self._rests[proxy] = Rest(now + FIRST_REST, before.step if before else 0.0)
        return before is None

    def well(self, proxy: Secret) -> bool:
        """An answer came through it; whether that is news."""
        return self._rests.pop(proxy, None) is not None

    def is_failing(self, proxy: Secret) -> bool:
        """Whether it failed, and nothing came through it since."""
        rest = self._rests.get(proxy)
        return rest is not None and rest.step > 0

    def _until(self, proxy: Secret, now: float) -> float:
        rest = self._rests.get(proxy)
        return rest.until if rest and now < rest.until else now
