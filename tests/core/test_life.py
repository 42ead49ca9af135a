import pytest

from sidecar.core.life import DELIVERY, HELD, POSTBACK


@pytest.mark.parametrize("life", [POSTBACK, DELIVERY])
def test_every_step_leads_to_a_state_that_has_a_line_of_its_own(life: dict[str, frozenset[str]]) -> None:
    assert set().union(*life.values()) <= set(life)


@pytest.mark.parametrize("state", ["delivered", "dead"])
def test_a_delivery_that_ended_comes_back_only_to_the_queue(state: str) -> None:
    assert DELIVERY[state] == {"queued"}


def test_a_delivery_is_delivered_only_from_a_lease() -> None:
    assert [state for state, after in DELIVERY.items() if "delivered" in after] == ["leased"]


def test_a_postback_becomes_undecided_again_only_from_an_end() -> None:
    assert {state for state, after in POSTBACK.items() if "undecided" in after} == {"decided", "expired"}


def test_only_a_waiting_postback_expires() -> None:
    assert [state for state, after in POSTBACK.items() if "expired" in after] == ["waiting"]


def test_a_hold_has_one_name() -> None:
    assert len(set(HELD)) == len(HELD)
