from sidecar.keitaro.rate import Rate


def asked(rate: Rate, moments: list[float]) -> list[float]:
    """When each of the questions that are wanted at these moments may go."""
    return [now + rate.take(now) for now in moments]


def test_a_burst_goes_at_once_and_the_rest_at_the_rate() -> None:
    assert asked(Rate(2.0, 2), [0.0] * 5) == [0.0, 0.0, 0.5, 1.0, 1.5]


def test_what_was_not_used_makes_no_larger_burst() -> None:
    rate = Rate(2.0, 2)
    asked(rate, [0.0] * 2)
    assert asked(rate, [100.0] * 4) == [100.0, 100.0, 100.5, 101.0]


def test_questions_that_come_slowly_wait_for_nothing() -> None:
    assert asked(Rate(2.0, 1), [0.0, 0.5, 1.0, 2.0]) == [0.0, 0.5, 1.0, 2.0]
