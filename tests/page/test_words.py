"""What the pages say: of spans, of a day, of how an integration stands, of a delivery."""

import pytest

from sidecar.core.problem import problems
from sidecar.page.day import HEIGHT, days_of
from sidecar.page.delivery import delivery
from sidecar.page.html import ago, path_of
from sidecar.page.standing import standings
from tests.examples import NOW
from tests.page.examples import SINCE, counted, lane, row, status, tried


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "now"), (12, "12 s ago"), (59, "59 s ago"), (60, "1 min ago"), (3600, "60 min ago"), (7200, "2 h ago"),
     (86400, "24 h ago"), (172800, "2 d ago"), (-300, "in 5 min")],
)  # fmt: skip
def test_a_moment_is_told_in_the_largest_unit_that_fits(seconds: float, words: str) -> None:
    assert ago(NOW - seconds, NOW) == words


def test_a_name_with_anything_in_it_has_an_address() -> None:
    assert path_of("integrations", "a/b?c d<é>") == "/integrations/a%2Fb%3Fc%20d%3C%C3%A9%3E"


def test_a_day_counts_each_hour_by_what_became_of_its_events() -> None:
    days = days_of([("Summer", 0, "delivered", 4), ("Summer", 23, "queued", 2), ("Summer", 23, "leased", 1),
                    ("Summer", 23, "dead", 1)], NOW)  # fmt: skip
    day = days["Summer"]
    assert (day.sent, day.failed, day.most) == (4, 1, 4)
    assert day.hours[23] == {"waiting": 3, "failed": 1}
    assert set(day.paths) == {"sent", "waiting", "failed"}


def test_what_lies_ahead_of_a_clock_that_was_set_back_counts_in_the_last_hour() -> None:
    assert days_of([("Summer", 30, "delivered", 4)], NOW)["Summer"].hours[23] == {"sent": 4}


def test_a_plot_stays_in_its_frame_and_shows_a_single_failure_among_thousands() -> None:
    day = days_of([("Summer", 5, "delivered", 9999), ("Summer", 5, "queued", 1), ("Summer", 5, "dead", 1)], 0)["Summer"]
    tops = {kind: int(path.split()[1].partition("h")[0]) for kind, path in day.paths.items()}
    assert 0 <= tops["failed"] < tops["waiting"] < tops["sent"] < HEIGHT


@pytest.mark.parametrize(
    ("given", "tone", "word"),
    [
        (status(), "good", "active"),
        (status(integrations=[counted(status="paused")]), "off", "paused"),
        (status(integrations=[counted(status="error: no campaign")]), "bad", "error"),
        (status(integrations=[counted(status="gone", waiting=2)]), "bad", "gone"),
        (status(integrations=[counted(status="gone")]), "off", "gone"),
        (status(integrations=[counted(held=["by_hand"])]), "warn", "put aside"),
        (status(lanes=[lane()]), "bad", "parked"),
        (status(lanes=[lane(state="failing", why="transient")]), "warn", "failing"),
        (status(lanes=[lane(state="failing", why="transient"), lane()]), "bad", "parked"),
        (status(silence=[{"integration": "Summer", "what": "sale", "silent": True, "words": "none for 3 h",
                          "last_at": SINCE}]), "warn", "silent"),
    ],
)  # fmt: skip
def test_an_integration_stands_as_the_worst_that_is_known_of_it(given: dict, tone: str, word: str) -> None:
    standing = standings(given)["Summer"]
    assert (standing.tone, standing.word) == (tone, word)


def test_a_problem_says_since_when_and_what_to_type_and_its_line_is_that_of_the_command() -> None:
    [problem] = problems(status(lanes=[lane(integrations=["Summer's"])]))
    assert (problem.since, problem.until, problem.integrations) == (SINCE, NOW + 300, ("Summer's",))
    assert "capi-sidecar queue release --integration 'Summer'\"'\"'s'" in problem.commands
    assert problem.line.startswith("token: pixel 1234567890123456, Summer's (integrations.yaml:7): ")
    assert problem.line.endswith("; tried again at 2026-11-25T00:05:00Z")


def test_a_delivery_that_is_held_says_what_holds_it() -> None:
    shown = delivery(row(state="queued"), lambda destination: "parked")
    assert (shown.tone, shown.state) == ("warn", "held (parked)")
    by_hand = delivery(row(state="queued", held="by_hand"), lambda destination: "parked")
    assert (by_hand.state, by_hand.command) == ("held (by_hand)", "capi-sidecar queue release q7")


def test_every_attempt_is_told_with_what_meta_answered() -> None:
    refused = tried(verdict="refused", words="(#100) bad", http_status=400, code=100, proxy=2)
    shown = delivery(row(state="dead", reason="refused", attempts=[refused, tried(number=2)]), lambda destination: "")
    first, second = shown.tries
    assert (first.way, first.answer, first.numbers) == (
        "proxy 2", "(#100) bad", "http_status 400 code 100 fbtrace_id T"
    )  # fmt: skip
    assert (first.tone, second.tone, shown.words) == ("bad", "good", "Meta does not take this event")
