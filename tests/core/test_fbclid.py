from dataclasses import replace
from typing import Any

import pytest

from sidecar.core.click import Click
from sidecar.core.fbclid import Fbclid, find_fbclid, find_fbp, has_fbclid
from tests.core.examples import CLICKED_AT, FBC, FBCLID, NOW, bare, integration

DAY = 86400
ANOTHER = "IwAR9zyxWVU_tsr-QPO9876543210"

APP = integration(fbclid_from=("fbclid", "sub1"), fbc_from=("fbc", "sub_id_11"), fbp_from=("fbp", "sub_id_10"))


def found(click: Click, received_at: float = NOW) -> Fbclid:
    return find_fbclid(click, APP, received_at)


@pytest.mark.parametrize("fields", [{"fbclid": FBCLID}, {"parameters": {"fbclid": (FBCLID,)}}])
def test_fbc_is_made_of_the_clicks_time_in_milliseconds_and_the_fbclid_unchanged(fields: dict[str, Any]) -> None:
    assert found(bare(**fields)) == Fbclid(FBC)


@pytest.mark.parametrize(
    ("values", "remark"),
    [(("{fbclid}", FBCLID), True), ((FBCLID, "{fbclid}"), True), ((ANOTHER, FBCLID), False)],
)
def test_among_repeated_fbclids_the_last_that_is_no_macro_counts(values: tuple[str, ...], remark: bool) -> None:
    fbclid = found(bare(parameters={"fbclid": values}))
    assert fbclid.fbc == FBC
    assert any("a macro stands in fbclid" in each for each in fbclid.remarks) is remark


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({}, "no_fbclid"),
        ({"parameters": {"fbclid": ("",)}}, "no_fbclid"),
        ({"parameters": {"sub1": ("short",)}}, "no_fbclid"),
        ({"fbc": "fb.1.abc.def"}, "no_fbclid"),
        ({"fbclid": "{fbclid}"}, "literal_fbclid"),
        ({"fbc": "{fbc}"}, "literal_fbclid"),
        ({"parameters": {"fbclid": ("{fbclid}",)}}, "literal_fbclid"),
        ({"parameters": {"fbclid": ("{{fbclid}}",), "sub1": ("short",)}}, "literal_fbclid"),
    ],
)
def test_a_click_without_an_fbclid_says_whether_a_macro_stood_there(fields: dict[str, Any], reason: str) -> None:
    assert found(bare(**fields)).reason == reason


def test_a_parameter_of_another_name_counts_when_it_looks_like_an_fbclid() -> None:
    assert found(bare(parameters={"sub1": (FBCLID,)})).fbc == FBC


@pytest.mark.parametrize("value", ["short", "x" * 19, "a value with blanks in it", "x" * 30 + "%"])
def test_a_parameter_of_another_name_that_does_not_is_a_remark(value: str) -> None:
    assert found(bare(parameters={"sub1": (value,)})).remarks == (
        "the value of sub1 does not look like an fbclid and is not used",
    )


def test_the_names_are_tried_in_order() -> None:
    assert found(bare(parameters={"sub1": (ANOTHER,), "fbclid": (FBCLID,)})).fbc == FBC
    assert found(bare(parameters={"sub1": (FBCLID,), "fbclid": ("{fbclid}",)})).fbc == FBC


@pytest.mark.parametrize(("length", "suspect"), [(254, False), (255, True), (256, False)])
def test_an_fbclid_of_exactly_255_characters_is_suspect(length: int, suspect: bool) -> None:
    fbclid = found(bare(fbclid="x" * length))
    assert fbclid.fbc.endswith("x" * length)
    assert any("exactly 255 characters" in remark for remark in fbclid.remarks) is suspect


@pytest.mark.parametrize("suffix", ["", ".Ab", ".AbCd_-12"])
def test_the_cookie_of_the_same_fbclid_wins_with_its_own_time(suffix: str) -> None:
    cookie = f"fb.1.1795010000000.{FBCLID}{suffix}"
    assert found(bare(fbclid=FBCLID, fbc=cookie)) == Fbclid(cookie)


def test_a_cookie_alone_counts_as_an_fbclid() -> None:
    assert found(bare(fbc=FBC)) == Fbclid(FBC)
    assert found(bare(parameters={"sub_id_11": (FBC,)})) == Fbclid(FBC)


@pytest.mark.parametrize(
    ("made_at", "wins"), [(CLICKED_AT - 1, "url"), (CLICKED_AT, "url"), (CLICKED_AT + 1, "cookie")]
)
def test_of_two_different_fbclids_the_newer_wins(made_at: float, wins: str) -> None:
    cookie = f"fb.1.{round(made_at * 1000)}.{ANOTHER}"
    assert found(bare(fbclid=FBCLID, fbc=cookie)).fbc == {"url": FBC, "cookie": cookie}[wins]


def test_a_cookie_wins_over_an_fbclid_of_which_nobody_knows_the_time() -> None:
    cookie = f"fb.1.1795010000000.{ANOTHER}"
    assert found(replace(bare(fbclid=FBCLID, fbc=cookie), clicked_at=None)).fbc == cookie


def test_a_broken_cookie_is_a_remark_and_the_fbclid_counts() -> None:
    fbclid = found(bare(fbclid=FBCLID, fbc="fb.1.x"))
    assert fbclid.fbc == FBC
    assert "is not of the form fb.1.<milliseconds>.<fbclid>" in fbclid.remarks[0]


def test_a_cookies_digits_are_ascii() -> None:
    assert found(bare(fbc="fb.1." + "\u0661" * 13 + ".abc")).reason == "no_fbclid"


def test_an_unknown_click_time_is_remarked_upon_and_the_postbacks_stands_in() -> None:
    fbclid = found(replace(bare(fbclid=FBCLID), clicked_at=None))
    assert fbclid == Fbclid(
        f"fb.1.{round(NOW * 1000)}.{FBCLID}", "", ("the click's time is not known; fbc carries the postback's",)
    )


@pytest.mark.parametrize(("age", "kept"), [(90 * DAY, True), (90 * DAY + 1, False)])
@pytest.mark.parametrize("cookie", [False, True])
def test_an_fbc_older_than_ninety_days_is_left_out(age: float, kept: bool, cookie: bool) -> None:
    fbclid = found(bare(fbc=FBC) if cookie else bare(fbclid=FBCLID), CLICKED_AT + age)
    assert fbclid.reason == ""
    assert (fbclid.fbc == FBC) is kept
    assert ("fbc is older than 90 days and left out" in fbclid.remarks) is not kept


@pytest.mark.parametrize(
    ("fields", "fbp"),
    [
        ({"fbp": "fb.1.1795010000000.123"}, "fb.1.1795010000000.123"),
        ({"fbp": "fb.1.1795010000000.123.Ab"}, "fb.1.1795010000000.123.Ab"),
        ({"fbp": "no", "parameters": {"sub_id_10": ("fb.2.1795010000000.5",)}}, "fb.2.1795010000000.5"),
        ({"fbp": "{fbp}"}, ""),
        ({"fbp": "fb.1.1795010000000." + "\u0661" * 5}, ""),
        ({}, ""),
    ],
)
def test_fbp_is_the_browsers_cookie_or_nothing(fields: dict[str, Any], fbp: str) -> None:
    assert find_fbp(bare(**fields), APP) == fbp


@pytest.mark.parametrize(
    ("fields", "has"),
    [
        ({"fbclid": FBCLID}, True),
        ({"fbc": FBC}, True),
        ({"parameters": {"sub1": ("{sub1}", FBCLID)}}, True),
        ({"parameters": {"sub1": ("{sub1}",), "other": (FBCLID,)}}, False),
        ({"fbclid": "{fbclid}"}, False),
    ],
)
def test_a_click_with_an_fbclid_under_any_of_the_names_is_kept_for_long(fields: dict[str, Any], has: bool) -> None:
    assert has_fbclid(bare(**fields), ("fbclid", "sub1")) is has
