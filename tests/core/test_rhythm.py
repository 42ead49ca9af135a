"""Silence on recorded-like series: working weeks, weekends, slow and bursty traffic. False alarms are counted."""

import math
import random
from collections.abc import Callable, Iterator

import pytest

from sidecar.core.rhythm import HOUR, Silence, hourly, rhythm_of, silence

#: A Monday, 00:00 UTC.
MONDAY = 1_793_577_600.0
DAY = 86400.0
WEEK = 7 * DAY

Rate = Callable[[float], float]


def office(at: float) -> float:
    """Thirty an hour in working hours, next to nothing at night, little on weekends."""
    hour, day = (at % DAY) / HOUR, int((at - MONDAY) // DAY) % 7
    busy = 30.0 if 8 <= hour < 20 else 0.3
    return busy * (0.1 if day >= 5 else 1.0)


def slow(_: float) -> float:
    """One every four hours."""
    return 0.25


def steady(_: float) -> float:
    """One every 20 minutes."""
    return 3.0


def poisson(rate: Rate, start: float, end: float, chance: random.Random) -> Iterator[float]:
    """Moments at which something comes, by thinning."""
    most, at = max(rate(start + hour * HOUR) for hour in range(168)), start
    while (at := at + chance.expovariate(most) * HOUR) < end:
        if chance.random() < rate(at) / most:
            yield at


def bursty(start: float, end: float, chance: random.Random) -> Iterator[float]:
    """A network that reports its sales some times a day, all at once."""
    for at in poisson(lambda _: 0.4, start, end, chance):
        yield from (at + number for number in range(chance.randrange(1, 60)))


Series = Callable[[float, float, random.Random], Iterator[float]]

SERIES: dict[str, Series] = {
    "working week": lambda start, end, chance: poisson(office, start, end, chance),
    "slow": lambda start, end, chance: poisson(slow, start, end, chance),
    "steady": lambda start, end, chance: poisson(steady, start, end, chance),
    "bursty": bursty,
}


def alarms(moments: list[float], start: float, end: float) -> list[tuple[float, Silence]]:
    """When it is called silent, looking every ten minutes, each silence once."""
    counts, found, last_at, index = hourly(()), [], start, 0
    rhythm, known_hour, told = None, -1, False
    at = start
    while at < end:
        while index < len(moments) and moments[index] <= at:
            last_at, told = moments[index], False
            counts[math.floor(last_at / HOUR)] += 1
            index += 1
        if (hour := math.floor(last_at / HOUR)) != known_hour:
            known_hour, rhythm = hour, rhythm_of(counts, math.floor(start / HOUR), hour)
        if not told and (quiet := silence(rhythm, counts, last_at, at)):
            found.append((at, quiet))
            told = True
        at += 600
    return found


@pytest.mark.parametrize("name", SERIES)
def test_ordinary_traffic_is_not_called_silent(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    false = [
        len(alarms(list(SERIES[name](MONDAY, MONDAY + 6 * WEEK, random.Random(seed))), MONDAY, MONDAY + 6 * WEEK))
        for seed in range(5)
    ]
    with capsys.disabled():
        print(f"\n{name}: {sum(false)} false alarms in {5 * 6} weeks")
    assert sum(false) <= 1


@pytest.mark.parametrize(
    ("name", "stops_at", "within"),
    [
        ("working week", 3 * WEEK + 10 * HOUR, 2 * HOUR),
        ("steady", 3 * WEEK + 10 * HOUR, 8 * HOUR),
        ("slow", 4 * WEEK, 5 * DAY),
        ("bursty", 4 * WEEK, 7 * DAY),
    ],
)
def test_what_stops_is_called_silent_within(name: str, stops_at: float, within: float) -> None:
    for seed in range(5):
        moments = list(SERIES[name](MONDAY, MONDAY + stops_at, random.Random(seed)))
        found = [at for at, _ in alarms(moments, MONDAY, MONDAY + stops_at + within) if at > MONDAY + stops_at]
        assert found, seed


def test_a_stop_in_the_evening_is_no_silence_before_the_morning() -> None:
    stop = MONDAY + 3 * WEEK + 21 * HOUR
    moments = list(poisson(office, MONDAY, stop, random.Random(1)))
    [(told_at, _)] = [each for each in alarms(moments, MONDAY, stop + DAY) if each[0] > stop]
    assert 8 * HOUR <= told_at % DAY <= 10 * HOUR


def test_a_new_integration_is_never_called_silent() -> None:
    moments = list(poisson(office, MONDAY + 8 * HOUR, MONDAY + 2 * DAY, random.Random(1)))
    assert alarms(moments, MONDAY + 8 * HOUR, MONDAY + 2.9 * DAY) == []


def test_the_first_weekend_is_no_silence() -> None:
    """Working days only, and never a Saturday before."""
    moments = list(poisson(office, MONDAY, MONDAY + 5 * DAY, random.Random(1)))
    assert alarms(moments, MONDAY, MONDAY + 7 * DAY) == []


def test_a_campaign_that_runs_out_over_days_is_not_called_silent() -> None:
    def fading(at: float) -> float:
        return 3.0 * min(1.0, max(0.2, 1 - (at - MONDAY - 3 * WEEK) / (3 * DAY)))

    moments = list(poisson(fading, MONDAY, MONDAY + 4 * WEEK, random.Random(1)))
    assert alarms(moments, MONDAY, MONDAY + 4 * WEEK) == []


def test_it_is_said_as_people_say_it() -> None:
    assert Silence(0, 1200).words(3 * HOUR) == "normally one every 20 min at this time, none for 3 h"
    assert Silence(0, 4 * HOUR).words(3 * DAY) == "normally one every 4 h at this time, none for 3 d"
