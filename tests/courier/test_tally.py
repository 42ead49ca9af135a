"""What is counted of deliveries that were tried."""

from sidecar.core.delivery import Attempt, Delivery, Destination, Settlement
from sidecar.core.judge import Verdict
from sidecar.courier.tally import Tally
from tests.examples import NOW, PIXEL

ATTEMPT = Attempt(NOW + 5, 0.25, 0, "accepted", "")


def delivery(seq: int = 1, integration: str = "Summer") -> Delivery:
    return Delivery(seq, Destination(integration, PIXEL, ""), "Lead", f"e{seq}", "s", b"{}", NOW + 600000, 0, NOW)


def test_a_request_is_an_attempt_of_each_of_its_events() -> None:
    tally = Tally()
    tally.tried([delivery(1), delivery(2), delivery(3, "Winter")], Verdict("token", "token"))
    tally.tried([delivery(1)], Verdict("accepted", ""))
    assert tally.attempts == {
        ("Summer", "token", "token"): 2, ("Winter", "token", "token"): 1, ("Summer", "accepted", ""): 1,
    }  # fmt: skip


def test_the_delay_is_from_when_it_could_be_sent_until_the_answer() -> None:
    tally = Tally()
    tally.settled(delivery(), Settlement(1, "delivered", attempts=(ATTEMPT,)))
    assert (tally.delay.sum, tally.ended) == (5.25, {("Summer", "delivered"): 1})


def test_what_is_queued_again_has_not_ended_and_what_is_refused_has_no_delay() -> None:
    tally = Tally()
    tally.settled(delivery(), Settlement(1, "queued", attempts=(ATTEMPT,)))
    assert tally.ended == {}
    tally.settled(delivery(), Settlement(1, "dead", "refused", attempts=(ATTEMPT,)))
    assert (tally.ended, sum(tally.delay.counts)) == ({("Summer", "refused"): 1}, 0)


def test_a_clock_that_was_set_back_makes_no_negative_delay() -> None:
    tally = Tally()
    tally.settled(delivery(), Settlement(1, "delivered", attempts=(Attempt(NOW - 99, 0.1, 0, "accepted", ""),)))
    assert tally.delay.sum == 0.0


def test_what_is_gone_is_forgotten() -> None:
    tally = Tally()
    for integration in ("Summer", "Winter"):
        tally.tried([delivery(1, integration)], Verdict("accepted", ""))
        tally.settled(delivery(1, integration), Settlement(1, "delivered", attempts=(ATTEMPT,)))
    tally.forget({"Summer"})
    assert list(tally.attempts) == [("Winter", "accepted", "")]
    assert list(tally.ended) == [("Winter", "delivered")]
