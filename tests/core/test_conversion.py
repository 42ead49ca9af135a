from decimal import Decimal

import pytest

from sidecar.core.conversion import Conversion, NoConversion, accepts_key, read_conversion
from sidecar.core.secret import Secret
from tests.core.examples import KEY, NOW, SUBID, configuration, postback


def read(query: str, path: str = f"/{KEY}/postback") -> tuple[Conversion | NoConversion, list[str]]:
    trace: list[str] = []
    return read_conversion(postback(f"{path}?{query}"), configuration(), trace), trace


def conversion(query: str) -> Conversion:
    found, _ = read(f"subid={SUBID}&{query}")
    assert isinstance(found, Conversion)
    return found


@pytest.mark.parametrize(
    ("query", "path", "decision", "reason"),
    [
        (f"subid={SUBID}", "/2a76c2b/postback", "rejected", "wrong_key"),
        (f"subid={SUBID}", f"/{KEY}/other", "rejected", "wrong_key"),
        ("", f"/{KEY}/postback", "rejected", "no_subid"),
        ("subid=&sub_id=", f"/{KEY}/postback", "rejected", "no_subid"),
        ("subid={subacc4}", f"/{KEY}/postback", "rejected", "no_subid"),
        ("subid=abc", f"/{KEY}/postback", "rejected", "bad_subid"),
        (f"subid={SUBID}%20x", f"/{KEY}/postback", "rejected", "bad_subid"),
        (f"subid={SUBID}&status={{status}}", f"/{KEY}/postback", "rejected", "status_macro"),
        (f"subid={SUBID}&status=hold&ignore_status=Hold", f"/{KEY}/postback", "ignored", "ignore_status"),
        ("subid=abc&status={status}", "/wrong/postback", "rejected", "wrong_key"),
        ("subid=abc&status={status}", f"/{KEY}/postback", "rejected", "bad_subid"),
    ],
)
def test_key_subid_and_status_are_tested_in_this_order(query: str, path: str, decision: str, reason: str) -> None:
    found, _ = read(query, path)
    assert isinstance(found, NoConversion)
    assert (found.decision, found.reason) == (decision, reason)


@pytest.mark.parametrize(
    ("query", "subid"),
    [
        ("subid=first11&sub_id=second2", "first11"),
        ("sub_id=second2&subid=first11", "first11"),
        ("sub_id=second2", "second2"),
        ("subid=&sub_id=second2", "second2"),
        ("subid={subid}&sub_id=second2", "second2"),
        ("subid=first11&subid=last111", "last111"),
        ("subid=%20first11%20", "first11"),
        ("subid=FiRsT11", "FiRsT11"),
    ],
)
def test_subid_beats_sub_id_and_nothing_of_it_is_changed(query: str, subid: str) -> None:
    found, _ = read(query)
    assert isinstance(found, Conversion)
    assert found.subid == subid


@pytest.mark.parametrize(
    ("query", "payout"),
    [
        ("payout=2.61", Decimal("2.61")),
        ("revenue=3&profit=4&value=5", Decimal(3)),
        ("profit=4&value=5", Decimal(4)),
        ("value=5", Decimal(5)),
        ("payout=&revenue=3", Decimal(3)),
        ("payout={payout}&revenue=3", Decimal(3)),
        ("payout=+2.61+", Decimal("2.61")),
        ("payout=0", Decimal(0)),
        ("payout=007", Decimal(7)),
        ("payout=999999999999.99", Decimal("999999999999.99")),
        ("payout=2." + "1" * 9000, Decimal("2." + "1" * 38)),
        ("", None),
        ("payout=1234567890123", None),
        ("payout=-1", None),
        ("payout=%2B1", None),
        ("payout=1,50", None),
        ("payout=.5", None),
        ("payout=5.", None),
        ("payout=1e3", None),
        ("payout=$5", None),
        ("payout=NaN", None),
        ("payout=%D9%A3", None),
        ("payout=bad&revenue=3", None),
    ],
)
def test_the_first_payout_that_is_not_empty_counts(query: str, payout: Decimal | None) -> None:
    assert conversion(query).payout == payout


@pytest.mark.parametrize(
    ("query", "remark"),
    [
        ("payout=1,50", "remark: the payout is no amount such as 2.61 and is not used"),
        ("payout={payout}", "remark: the payout is an unreplaced macro and is not used"),
    ],
)
def test_an_unusable_payout_is_remarked_upon_and_not_shown(query: str, remark: str) -> None:
    _, trace = read(f"subid={SUBID}&{query}")
    assert remark in trace
    assert "1,50" not in "".join(trace)


@pytest.mark.parametrize("query", ["payout=2.61", "payout={payout}&revenue=2", ""])
def test_a_usable_or_absent_payout_is_not_remarked_upon(query: str) -> None:
    _, trace = read(f"subid={SUBID}&{query}")
    assert not [line for line in trace if line.startswith("remark")]


def test_the_rest_of_a_conversion_is_read_too() -> None:
    found = conversion("status=Approved&sale_status=approved&tid=+T-7+&currency=eur")
    assert (found.status, found.tid, found.currency, found.received_at) == ("sale", "T-7", "EUR", NOW)


def test_a_macro_in_tid_and_currency_is_a_missing_value() -> None:
    found = conversion("tid={tid}&currency={currency}")
    assert (found.tid, found.currency) == ("", "")


@pytest.mark.parametrize(
    ("keys", "key", "accepted"),
    [
        ((Secret("old1234"), Secret(KEY)), KEY, True),
        ((Secret(KEY),), KEY.upper(), False),
        ((Secret(KEY),), "", False),
        ((Secret(KEY),), None, False),
        ((Secret(KEY),), "\udcff\ud800", False),
        ((), KEY, False),
        (None, "anything", True),
        (None, None, False),
    ],
)
def test_any_key_of_the_list_is_accepted_and_without_a_list_every_one(
    keys: tuple[Secret, ...] | None, key: str | None, accepted: bool
) -> None:
    assert accepts_key(configuration(postback_keys=keys), key) is accepted


def test_the_key_stands_in_no_word_of_the_trace() -> None:
    found, trace = read("subid=abc", f"/{KEY}x/postback")
    assert isinstance(found, NoConversion)
    assert KEY not in "".join([*trace, found.words])
