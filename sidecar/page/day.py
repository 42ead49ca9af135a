"""The last 24 hours of an integration, hour by hour, and as a plot."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

HOURS = 24

#: What is drawn, from the bottom up, and the deliveries' states that it counts.
KINDS = {"sent": ("delivered",), "waiting": ("queued", "leased"), "failed": ("dead",)}

_KIND_OF = {state: kind for kind, states in KINDS.items() for state in states}

#: Sizes of a plot in units of its own: an hour's step and its bar, and the whole height.
STEP, BAR, HEIGHT = 4, 3, 72

#: What is not nothing is at least so high.
_LEAST = 4


@dataclass(frozen=True)
class Day:
    """How many were sent, wait and failed in each of 24 whole hours since a moment."""

    since: float
    hours: tuple[Mapping[str, int], ...]

    @cached_property
    def sent(self) -> int:
        return self._total("sent")

    @cached_property
    def failed(self) -> int:
        return self._total("failed")

    @cached_property
    def most(self) -> int:
        """The most of one hour."""
        return max((sum(hour.values()) for hour in self.hours), default=0)

    @cached_property
    def paths(self) -> dict[str, str]:
        """The outline of the bars of each kind that occurs, one upon the other."""
        found: defaultdict[str, list[str]] = defaultdict(list)
        scale = (HEIGHT - len(KINDS) * _LEAST) / (self.most or 1)
        for index, hour in enumerate(self.hours):
            floor = HEIGHT
            for kind in KINDS:
                if many := hour.get(kind):
                    high = _LEAST + int(many * scale)
                    floor -= high
                    found[kind].append(f"M{index * STEP} {floor}h{BAR}v{high}h-{BAR}z")
        return {kind: "".join(bars) for kind, bars in found.items()}

    def _total(self, kind: str) -> int:
        return sum(hour.get(kind, 0) for hour in self.hours)


def days_of(rows: Iterable[tuple[str, int, str, int]], since: float) -> dict[str, Day]:
    """By integration, of rows (integration, hour, state, how many)."""
    counted: defaultdict[str, list[dict[str, int]]] = defaultdict(lambda: [{} for _ in range(HOURS)])
    for name, index, state, many in rows:
        # A clock that was set back: what lies ahead counts in the last hour.
        hour = counted[name][min(index, HOURS - 1)]
        kind = _KIND_OF[state]
        hour[kind] = hour.get(kind, 0) + many
    return {name: Day(since, tuple(hours)) for name, hours in counted.items()}


def empty(since: float) -> Day:
    """A day on which nothing happened."""
    return Day(since, ({},) * HOURS)
