from dataclasses import replace

import pytest

from sidecar.core.delivery import Lane
from sidecar.core.judge import Verdict
from sidecar.core.secret import Secret
from sidecar.courier.parks import ASKING, Parks

LANE = Lane("1", Secret("token"), (Secret("http://a:1"),), "v26.0", "")
SISTER = replace(LANE, pixel_id="2")


def verdict(kind: str, seconds: float = 0.0) -> Verdict:
    return Verdict(kind, "meta", "words", seconds)


@pytest.mark.parametrize(
    ("kind", "other", "held"),
    [
        ("token", replace(LANE, pixel_id="2", proxies=()), True),
        ("token", replace(LANE, token=Secret("other")), False),
        ("permission", replace(LANE, proxies=()), True),
        ("permission", replace(LANE, pixel_id="2"), False),
        ("proxy", replace(LANE, pixel_id="2", token=Secret("other")), True),
        ("proxy", replace(LANE, proxies=()), False),
        ("throttled", replace(LANE, token=Secret("other"), proxies=()), True),
        ("throttled", replace(LANE, pixel_id="2"), False),
    ],
)
def test_a_fault_holds_every_lane_that_it_concerns(kind: str, other: Lane, held: bool) -> None:
    parks = Parks()
    parks.note(LANE, verdict(kind, 60), 0)
    assert (parks.of(other, 1) is not None) == held


def test_lanes_that_asked_at_the_same_moment_are_held_as_long_as_one() -> None:
    one, ten = Parks(), Parks()
    one.note(LANE, verdict("proxy"), 0)
    for number in range(10):
        ten.note(replace(LANE, pixel_id=str(number)), verdict("proxy"), number / 10)
    assert ten.of(LANE, 1) == one.of(LANE, 1)


def test_each_failed_probe_doubles_the_wait_up_to_six_hours() -> None:
    parks, now, waits = Parks(), 0.0, []
    for _ in range(8):
        parks.note(LANE, verdict("token"), now)
        park = parks.of(LANE, now)
        assert park is not None
        waits.append(park.until - now)
        now = park.until
    assert waits == [900, 1800, 3600, 7200, 14400, 21600, 21600, 21600]


def test_a_throttle_is_over_with_its_time_and_a_park_only_with_an_accepted_event() -> None:
    parks = Parks()
    parks.note(LANE, verdict("throttled", 60), 0)
    parks.note(SISTER, verdict("token"), 0)
    assert parks.of(replace(LANE, token=Secret("other")), 61) is None
    assert parks.of(SISTER, 1e6) is not None
    assert parks.lift(LANE, 1)
    assert parks.of(SISTER, 1) is None


def test_only_the_first_of_a_fault_is_told() -> None:
    parks = Parks()
    assert parks.note(LANE, verdict("token"), 0) is not None
    assert parks.note(SISTER, verdict("token"), 1) is None
    assert parks.note(LANE, verdict("accepted"), 1) is None


def test_what_an_earlier_run_left_holds_and_no_longer_than_its_step() -> None:
    first, second, later = Parks(), Parks(), Parks()
    first.note(LANE, verdict("token"), 100)
    [park] = first.changes().values()
    assert park is not None
    second.restore([park.shifted(-100)], 300)
    later.restore([park.shifted(10**6)], 300)
    assert [parks.of(LANE, 300).until for parks in (second, later)] == [900, 1200]  # type: ignore[union-attr]
    second.note(LANE, verdict("token"), 900)
    assert second.of(LANE, 900).step == 1800  # type: ignore[union-attr]


def test_what_was_due_long_ago_is_forgotten() -> None:
    parks, first = Parks(), Parks()
    first.note(LANE, verdict("token"), 0)
    parks.restore([each for each in first.changes().values() if each], 30 * 86400)
    assert parks.of(LANE, 30 * 86400) is None
    assert list(parks.changes().values()) == [None]


def test_a_change_is_told_once_and_names_no_token() -> None:
    parks = Parks()
    parks.note(LANE, verdict("token"), 0)
    [concern] = parks.changes()
    assert "token" not in concern
    assert parks.changes() == {}
    parks.lift(LANE, 1)
    assert parks.changes() == {concern: None}


def test_one_lane_asks_for_all_that_the_fault_concerns() -> None:
    parks = Parks()
    parks.note(LANE, verdict("token"), 0)
    parks.ask(LANE, 900)
    assert parks.of(SISTER, 900).until == 900 + ASKING  # type: ignore[union-attr]
    parks.note(LANE, verdict("token"), 901)
    assert parks.of(SISTER, 901).until == 901 + 1800  # type: ignore[union-attr]


def test_a_lane_that_had_nothing_to_ask_with_lets_the_others() -> None:
    parks = Parks()
    parks.note(LANE, verdict("token"), 0)
    parks.ask(LANE, 900)
    parks.ask_not(LANE, 900)
    assert parks.of(SISTER, 900).until == 900  # type: ignore[union-attr]


def test_a_request_that_began_before_a_throttle_does_not_end_it() -> None:
    parks = Parks()
    parks.note(LANE, verdict("throttled", 60), 10)
    assert not parks.lift(LANE, 9)
    assert parks.is_throttled(LANE, 69)
    assert parks.lift(LANE, 70)


@pytest.mark.parametrize(("second", "until"), [(verdict("throttled", 60), 3600), (verdict("blocked", 7200), 7210)])
def test_an_answer_that_was_on_its_way_makes_no_pause_shorter(second: Verdict, until: float) -> None:
    parks = Parks()
    parks.note(LANE, verdict("throttled", 3600), 0)
    parks.note(LANE, second, 10)
    assert parks.of(LANE, 10).until == until  # type: ignore[union-attr]


def test_a_throttle_does_not_replace_a_block() -> None:
    parks = Parks()
    parks.note(LANE, verdict("blocked", 3600), 0)
    parks.note(LANE, verdict("throttled", 60), 10)
    assert parks.of(LANE, 100).kind == "blocked"  # type: ignore[union-attr]
