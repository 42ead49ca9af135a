"""An integration's rhythm, and whether it has fallen silent.

The law is Poisson's, with two corrections. Of `expected` events in a span none come with probability exp(-expected):
silence is told when that is so unlikely that it happens by chance once in many months. What is expected depends on the
hour of the week, so a quiet night or weekend expects little; and traffic that comes in bursts, whose hourly counts
vary more than their mean, has to be silent as many times longer.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

HOUR = 3600.0

#: Hours of which the rhythm is made: four weeks.
KEPT = 28 * 24

#: A rhythm is known after so many hours and events; a newer integration is never called silent.
LEAST_HOURS = 168
LEAST_EVENTS = 40

#: False alarms of one integration in four weeks of steady traffic.
FALSE_ALARMS = 0.01

#: Hours before the last event by which a rhythm that grows slower is noticed.
RECENT = (48, 12)

_WEEK = 168

#: The variance of a mean over an hour, twice weighted, and the two beside it, as a share of a single hour's.
_OF_CHANCE = 6 / 16


@dataclass(frozen=True, slots=True)
class Silence:
    """Nothing since `since` (Unix seconds), where normally one came every `usual` seconds at such hours."""

    since: float
    usual: float

    def words(self, now: float) -> str:
        return f"normally one every {_span(self.usual)} at this time, none for {_span(now - self.since)}"


@dataclass(frozen=True)
class Rhythm:
    """Events an hour for each hour of the week; `spread` is how many times more the counts vary than chance alone
    would have it (1 or more)."""

    rates: tuple[float, ...]
    spread: float
    events: int

    def expected(self, start: float, end: float) -> float:
        """Events that normally come between two moments."""
        total, at = 0.0, start
        while at < end:
            following = min((math.floor(at / HOUR) + 1) * HOUR, end)
            total += self.rates[_hour_of_week(at)] * (following - at) / HOUR
            at = following
        return total


def rhythm_of(counts: Mapping[int, int], first: int, last: int) -> Rhythm | None:
    """The rhythm of hourly counts (by hours since 1970) from the first whole hour to before the last; None while it is
    not known."""
    first = max(first, last - KEPT)
    events = sum(count for hour, count in counts.items() if first <= hour < last)
    if last - first < LEAST_HOURS or events < LEAST_EVENTS:
        return None
    seen, sums = [0] * _WEEK, [0] * _WEEK
    for hour in range(first, last):
        seen[hour % _WEEK] += 1
        sums[hour % _WEEK] += counts.get(hour, 0)
    # An hour of the week that was never seen expects nothing: the first weekend is no silence.
    means = [total / times if times else 0.0 for total, times in zip(sums, seen, strict=True)]
    rates = [_smoothed(means, seen, hour) for hour in range(_WEEK)]
    return Rhythm(tuple(rates), _spread(counts, rates, first, last), events)


def silence(rhythm: Rhythm | None, counts: Mapping[int, int], last_at: float, now: float) -> Silence | None:
    """Whether nothing has come for longer than chance explains."""
    if rhythm is None or now <= last_at:
        return None
    expected = rhythm.expected(last_at, now) * _pace(rhythm, counts, last_at)
    if expected < rhythm.spread * math.log(max(rhythm.events, 1) / FALSE_ALARMS):
        return None
    return Silence(last_at, (now - last_at) / expected)


def _pace(rhythm: Rhythm, counts: Mapping[int, int], last_at: float) -> float:
    """How much of its usual traffic it had before the last event: a campaign that runs out grows slower first."""
    last = math.floor(last_at / HOUR)
    return min(1.0, *(_share(rhythm, counts, last - hours, last) for hours in RECENT))


def _share(rhythm: Rhythm, counts: Mapping[int, int], first: int, last: int) -> float:
    came = sum(counts.get(hour, 0) for hour in range(first, last))
    return (came + 1) / (rhythm.expected(first * HOUR, last * HOUR) + 1)


def _smoothed(means: list[float], seen: list[int], hour: int) -> float:
    """With the hours around it, as far as they were seen: one week says little of a single hour. But not much more than
    its own: the quiet hour before a busy morning expects little of it."""
    around = [(hour - 1) % _WEEK, hour, hour, (hour + 1) % _WEEK]
    known = [means[each] for each in around if seen[each]]
    if not seen[hour]:
        return 0.0
    rate = min(3 * means[hour] + 1 / seen[hour], sum(known) / len(known))
    # Less by what chance may have added: of one week much, of four little.
    return max(0.0, rate - math.sqrt(_OF_CHANCE * rate) / seen[hour])


def _spread(counts: Mapping[int, int], rates: list[float], first: int, last: int) -> float:
    """Variance beside mean, of counts around what was expected."""
    squares = sum((counts.get(hour, 0) - rates[hour % _WEEK]) ** 2 for hour in range(first, last))
    means = sum(rates[hour % _WEEK] for hour in range(first, last))
    return max(1.0, squares / means) if means else 1.0


def _hour_of_week(at: float) -> int:
    return math.floor(at / HOUR) % _WEEK


def _span(seconds: float) -> str:
    """As people say it, in the largest fitting unit."""
    for unit, length in (("d", 86400.0), ("h", HOUR), ("min", 60.0)):
        if seconds >= 1.5 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def hourly(moments: Iterable[float]) -> Counter[int]:
    """Counts by hours since 1970."""
    return Counter(math.floor(moment / HOUR) for moment in moments)
