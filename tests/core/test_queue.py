from dataclasses import replace

import pytest

from sidecar.core.queue import Entry, Selection, hindrance, number_of, parse_ages, selection_of
from tests.examples import NOW, PIXEL, SUBID

ENTRY = Entry(
    17, "Summer", PIXEL, "", "Purchase", f"{SUBID}_sale", SUBID, "queued", "", "", NOW, NOW, NOW + 86400, 0,
    NOW - 3600, None, True,
)  # fmt: skip


@pytest.mark.parametrize(
    ("text", "ages"),
    [
        ("2h", (7200, float("inf"))),
        ("1h..2h", (3600, 7200)),
        ("..10m", (0, 600)),
        ("1d..", (86400, float("inf"))),
        ("..", None),
        ("", None),
        ("2h..1h", None),
        ("soon", None),
        ("-1h", None),
        ("1h..2h..3h", None),
    ],
)
def test_ages_are_written_as_a_range(text: str, ages: tuple[float, float] | None) -> None:
    assert parse_ages(text) == ages


@pytest.mark.parametrize(
    ("name", "number"), [("q17", 17), ("17", None), ("q", None), ("q1x", None), ("q" + "9" * 19, None)]
)
def test_a_queue_number_is_told_from_every_other_name(name: str, number: int | None) -> None:
    assert number_of(name) == number


@pytest.mark.parametrize(
    ("selection", "held", "takes"),
    [
        (Selection(), "", True),
        (Selection(integration="Summer"), "", True),
        (Selection(integration="Winter"), "", False),
        (Selection(state="queued"), "parked", True),
        (Selection(state="held"), "parked", True),
        (Selection(state="held"), "", False),
        (Selection(state="dead"), "", False),
        (Selection(reason="parked"), "parked", True),
        (Selection(reason="parked"), "paused", False),
        (Selection(least_age=3600), "", True),
        (Selection(least_age=3601), "", False),
        (Selection(most_age=3599), "", False),
        (Selection(event="Purchase"), "", True),
        (Selection(event=f"{SUBID}_sale"), "", True),
        (Selection(event="Lead"), "", False),
        (Selection(subid="other"), "", False),
    ],
)
def test_a_selection_takes_what_every_filter_takes(selection: Selection, held: str, takes: bool) -> None:
    assert selection.takes(ENTRY, held, NOW) == takes


def test_a_dead_reason_means_dead_ones_and_an_id_means_any_state() -> None:
    assert Selection(reason="deadline").states == ("dead",)
    assert set(Selection(ids=("q1",)).states) == {"queued", "leased", "delivered", "dead"}
    assert "delivered" not in Selection(integration="Summer").states


@pytest.mark.parametrize(
    ("verb", "state", "reason", "held", "named", "words"),
    [
        ("retry", "queued", "", "", False, ""),
        ("retry", "dead", "refused", "", False, ""),
        ("retry", "dead", "deleted", "", False, "deleted: name it by its id"),
        ("retry", "dead", "deleted", "", True, ""),
        ("retry", "delivered", "", "", False, "delivered: name it by its id"),
        ("retry", "delivered", "", "", True, ""),
        ("retry", "leased", "", "", True, "on its way"),
        ("hold", "queued", "", "", False, ""),
        ("hold", "queued", "", "by_hand", False, "held by hand already"),
        ("hold", "dead", "", "", False, "it is dead"),
        ("release", "queued", "", "by_hand", False, ""),
        ("release", "queued", "", "parked", False, ""),
        ("release", "queued", "", "", False, "nothing holds it"),
        ("release", "queued", "", "throttled", False, "which nothing makes shorter"),
        ("release", "queued", "", "integration_gone", False, "release --to NAME"),
        ("delete", "queued", "", "paused", False, ""),
        ("delete", "delivered", "", "", True, "it is delivered"),
        ("delete", "leased", "", "", True, "on its way"),
    ],
)
def test_what_a_verb_cannot_do_is_said(verb: str, state: str, reason: str, held: str, named: bool, words: str) -> None:
    entry = replace(ENTRY, state=state, reason=reason, held=held if held == "by_hand" else "")
    found = hindrance(verb, entry, held, NOW, named)
    assert words in found and bool(words) == bool(found)


def test_what_is_too_old_or_no_longer_kept_is_not_tried_again() -> None:
    assert "7 days" in hindrance("retry", replace(ENTRY, deadline=NOW), "", NOW, True)
    assert "no longer kept" in hindrance("retry", replace(ENTRY, has_body=False), "", NOW, True)


@pytest.mark.parametrize(
    "given", [{"id": "q1"}, {"ids": "q1"}, {"ids": [1]}, {"state": "sent"}, {"least_age": "1h"}, {"subid": 1}]
)
def test_json_that_is_no_selection_is_refused(given: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        selection_of(given)


def test_json_becomes_a_selection() -> None:
    assert selection_of({"ids": ["q1"], "least_age": 60}) == Selection(("q1",), least_age=60)
