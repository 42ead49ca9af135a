import random
from datetime import UTC, datetime
from typing import Any

import pytest

from sidecar.core.times import iso, parse_duration, parse_time


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("15m", 900), ("2h", 7200), ("1d", 86400), ("0s", 0), (" 1.5h ", 5400)]
)
def test_a_duration_is_a_number_and_a_unit(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "90", "s", "-1s", "1w", "1h30m", "1 h", "\u0663s"])
def test_anything_else_is_no_duration(text: str) -> None:
    assert parse_duration(text) is None


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (1795010400, 1795010400.0),
        ("1795010400.75", 1795010400.75),
        (" 1795010400 ", 1795010400.0),
        (1795010400750, 1795010400.75),
        ("1795010400750", 1795010400.75),
        (100_000_000_000, 100_000_000_000.0),
        (0, 0.0),
        ("2026-11-18T14:00:00Z", 1795010400.0),
        ("2026-11-18T14:00:00", 1795010400.0),
        ("2026-11-18 16:00:00+02:00", 1795010400.0),
        ("2026-11-18T14:00:00.750+00:00", 1795010400.75),
    ],
)
def test_a_moment_is_seconds_or_milliseconds_or_iso_8601(value: Any, seconds: float) -> None:
    assert parse_time(value) == seconds


@pytest.mark.parametrize(
    "value",
    [None, "", "yesterday", "1e9", "-5", -5, True, [], {}, float("nan"), float("inf"), 10**400, "9" * 400, 1e300],
)
def test_what_is_no_moment_of_this_age_is_none(value: Any) -> None:
    assert parse_time(value) is None


def test_every_moment_that_is_read_can_be_written() -> None:
    chance = random.Random(1)
    texts = ["0001-01-01", "9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59", "99999999999999", "1e12"]
    texts += ["".join(chance.choices("0123456789-:TZ+. W\u0663", k=chance.randrange(30))) for _ in range(3000)]
    for text in texts:
        moment = parse_time(text)
        assert moment is None or datetime.fromtimestamp(moment, UTC), text


def test_a_moment_for_people_is_utc_to_the_second() -> None:
    assert iso(1795010400.75) == "2026-11-18T14:00:00Z"
