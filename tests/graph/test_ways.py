"""Which proxy is asked first: the memory of those that failed."""

from sidecar.core.secret import Secret
from sidecar.graph.ways import FIRST_REST, LONGEST_REST, Ways

FIRST, SPARE, THIRD = LIST = tuple(Secret(f"http://proxy-{number}:3128") for number in (1, 2, 3))


def places(ways: Ways, now: float) -> list[int]:
    return [place for place, _ in ways.order(LIST, now)]


def test_proxies_are_asked_in_the_order_of_the_list() -> None:
    assert places(Ways(), 0) == [1, 2, 3]


def test_one_that_failed_is_passed_over_until_its_time_is_over() -> None:
    ways = Ways()
    ways.fail(FIRST, 0)
    assert places(ways, FIRST_REST - 1) == [2, 3, 1]
    assert places(ways, FIRST_REST) == [1, 2, 3]


def test_when_all_rest_each_is_asked_the_soonest_back_first() -> None:
    ways = Ways()
    for now, proxy in enumerate((THIRD, FIRST, SPARE)):
        ways.fail(proxy, now)
    assert places(ways, 3) == [3, 1, 2]


def test_each_further_fault_doubles_the_rest_up_to_the_longest() -> None:
    ways, now, rests = Ways(), 0.0, []
    for _ in range(6):
        ways.fail(FIRST, now)
        rest = next(seconds for seconds in range(1, 1000) if places(ways, now + seconds)[0] == 1)
        rests.append(rest)
        now += rest
    assert rests == [30, 60, 120, 240, LONGEST_REST, LONGEST_REST]


def test_requests_that_fail_at_the_same_time_are_one_fault() -> None:
    ways = Ways()
    assert [ways.fail(FIRST, now) for now in (0, 1, 2)] == [True, False, False]
    assert places(ways, FIRST_REST) == [1, 2, 3]


def test_a_fault_is_news_once_and_its_end_is_news_once() -> None:
    ways = Ways()
    assert [ways.fail(FIRST, now) for now in (0, FIRST_REST, 1000)] == [True, False, False]
    assert [ways.well(FIRST), ways.well(FIRST), ways.well(SPARE)] == [True, False, False]
    assert ways.fail(FIRST, 2000)
    assert places(ways, 2000 + FIRST_REST) == [1, 2, 3]


def test_a_doubted_proxy_rests_but_its_rest_does_not_grow() -> None:
    ways = Ways()
    assert [ways.doubt(FIRST, now) for now in (0, 1, FIRST_REST)] == [True, False, False]
    assert places(ways, 2 * FIRST_REST - 1) == [2, 3, 1]
    assert places(ways, 2 * FIRST_REST) == [1, 2, 3]


def test_a_doubt_takes_nothing_from_a_fault() -> None:
    ways = Ways()
    ways.fail(FIRST, 0)
    ways.fail(FIRST, FIRST_REST)
    ways.doubt(FIRST, FIRST_REST + 1)
    assert places(ways, 3 * FIRST_REST - 1) == [2, 3, 1]
    ways.doubt(FIRST, 3 * FIRST_REST)
    ways.fail(FIRST, 4 * FIRST_REST)
    assert places(ways, 8 * FIRST_REST - 1) == [2, 3, 1]


def test_lanes_share_what_one_of_them_learned() -> None:
    ways = Ways()
    ways.fail(Secret(FIRST.reveal()), 0)
    assert [place for place, _ in ways.order((FIRST, THIRD), 1)] == [2, 1]
