from sidecar.core.admin_api import Trouble
from sidecar.keitaro.breaker import Breaker

BUSY = Trouble("busy", "the tracker fails", "wait")
PAUSE = Trouble("busy", "the tracker asks for a pause", "wait", 1200.0)
KEY = Trouble("key", "the tracker refuses the key", "mend it")


def test_a_breaker_is_closed_until_a_fault() -> None:
    breaker = Breaker()
    assert (breaker.wait(0.0), breaker.trouble, breaker.well()) == (0.0, None, False)


def test_it_rests_longer_after_each_fault_and_forgets_that_when_it_is_well() -> None:
    breaker, now, rests = Breaker(), 0.0, []
    for _ in range(8):
        breaker.fail(BUSY, now)
        rests.append(breaker.wait(now))
        now += rests[-1]
        assert breaker.wait(now) == 0.0
    assert rests == [5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 300.0, 300.0]
    assert breaker.well()
    breaker.fail(BUSY, now)
    assert breaker.wait(now) == 5.0


def test_what_the_tracker_says_of_the_time_holds_in_full_but_never_less_than_the_first_rest() -> None:
    breaker = Breaker()
    breaker.fail(PAUSE, 0.0)
    assert breaker.wait(0.0) == 1200.0
    breaker.fail(Trouble("busy", "x", "y", 0.0), 1200.0)
    assert breaker.wait(1200.0) == 5.0


def test_what_people_must_mend_rests_a_quarter_of_an_hour() -> None:
    breaker = Breaker()
    breaker.fail(KEY, 100.0)
    assert breaker.wait(100.0) == 900.0


def test_only_another_reason_is_news() -> None:
    breaker = Breaker()
    assert [breaker.fail(each, 0.0) for each in (BUSY, BUSY, KEY, KEY, BUSY)] == [True, False, True, False, True]
    assert (breaker.well(), breaker.well()) == (True, False)
