from sidecar.core.schedule import delay


def test_the_first_retry_comes_after_five_seconds_give_or_take_a_fifth() -> None:
    assert (delay(1, 0.0), delay(1, 0.5)) == (4.0, 5.0)


def test_past_the_table_the_last_delay_repeats() -> None:
    assert delay(9, 0.5) == delay(5000, 0.5) == 21600.0
