from decimal import Decimal
from email.utils import formatdate
from typing import Any

import pytest

from sidecar.core.admin_api import (
    COLUMNS,
    LEAST,
    TrackerConversion,
    click_of_row,
    clicks_query,
    conversion_of_row,
    conversions_query,
    meaning,
    probing,
    unknown_column,
)
from sidecar.core.campaign import Campaign, Campaigns, Slot
from sidecar.core.click import Click
from sidecar.core.rows import rows_of, total_of
from tests.core.examples import FBCLID, NOW, SUBID

CAMPAIGNS = Campaigns(
    [
        Campaign("7", "AbCd12", "Summer", {"sub_id_3": Slot("sub1", "{fbclid}"), "sub_id_2": Slot("buyer")}),
        Campaign("8", "Stock", "Winter", {"external_id": Slot("fbclid", "{fbclid}")}),
    ]
)
ROW = {
    "sub_id": SUBID,
    "datetime": "2026-11-18 13:59:00",
    "campaign_id": 7,
    "campaign": "Summer",
    "ip": "8.8.8.8",
    "user_agent": "Mozilla/5.0",
    "country_code": "US",
    "country": "United States",
    "region": "California",
    "city": "San Francisco",
    "referrer": "https://l.facebook.com/",
    "sub_id_2": "anna",
    "sub_id_3": FBCLID,
    "sub_id_4": "",
    "keyword": None,
}


def test_a_batch_of_clicks_is_asked_for_as_the_description_says() -> None:
    assert clicks_query(["a1b2c3", "d4e5f6"], ["sub_id", "datetime"], 1795010400.75, 1795096800) == {
        "range": {"from": "2026-11-18 14:00:00", "to": "2026-11-19 14:00:00", "timezone": "UTC"},
        "columns": ["sub_id", "datetime"],
        "filters": [{"name": "sub_id", "operator": "IN_LIST", "expression": ["a1b2c3", "d4e5f6"]}],
        "sort": [{"name": "datetime", "order": "DESC"}],
        "limit": 1000,
        "offset": 0,
    }


def test_conversions_are_asked_for_page_by_page_and_the_oldest_first() -> None:
    query = conversions_query(1795010400, 1795096800, ["sub_id"], limit=50, offset=100)
    assert (query["filters"], query["limit"], query["offset"]) == ([], 50, 100)
    assert query["sort"] == [{"name": "postback_datetime", "order": "ASC"}]


@pytest.mark.parametrize("body", [[{"a": 1}, "x"], {"rows": [{"a": 1}], "total": 1}, {"data": [{"a": 1}]}])
def test_rows_come_bare_or_wrapped(body: Any) -> None:
    assert rows_of(body) == ({"a": 1},)


@pytest.mark.parametrize(
    ("body", "total"), [({"total": 5}, 5), ({"total": "5"}, None), ({"total": True}, None), ([], None)]
)
def test_a_total_is_a_number(body: Any, total: int | None) -> None:
    assert total_of(body) == total


def test_a_row_becomes_a_click_with_its_campaigns_names_and_parameters() -> None:
    assert click_of_row(ROW, CAMPAIGNS) == Click(
        subid=SUBID,
        campaign=("AbCd12", "7", "Summer"),
        clicked_at=1795010340.0,
        fbclid=FBCLID,
        ip="8.8.8.8",
        user_agent="Mozilla/5.0",
        referrer="https://l.facebook.com/",
        country="US",
        region="California",
        city="San Francisco",
        parameters={"buyer": ("anna",), "sub1": (FBCLID,), "sub_id_2": ("anna",), "sub_id_3": (FBCLID,)},
        source="admin_api",
    )


def test_a_campaign_that_was_renamed_keeps_the_rows_name_too() -> None:
    click = click_of_row({**ROW, "campaign": "Spring"}, CAMPAIGNS)
    assert click and click.campaign == ("AbCd12", "7", "Summer", "Spring")


def test_the_campaign_is_found_by_its_id_alone() -> None:
    alias_is_an_id = Campaigns([Campaign("1", "7", "x"), Campaign("7", "AbCd12", "Summer")])
    click = click_of_row(ROW, alias_is_an_id)
    assert click and click.campaign == ("AbCd12", "7", "Summer")


def test_external_id_holds_the_fbclid_where_the_campaign_says_so() -> None:
    click = click_of_row({**ROW, "campaign_id": "8", "external_id": FBCLID}, CAMPAIGNS)
    assert click and (click.fbclid, click.parameters["fbclid"]) == (FBCLID, (FBCLID,))


def test_external_id_is_no_fbclid_where_the_campaign_has_another_slot_for_it() -> None:
    click = click_of_row({**ROW, "sub_id_3": "", "external_id": FBCLID}, CAMPAIGNS)
    assert click and click.fbclid == ""


@pytest.mark.parametrize(("value", "fbclid"), [(FBCLID, FBCLID), ("short", ""), ("", ""), (12345, "")])
def test_of_an_unknown_campaign_external_id_is_taken_if_it_looks_like_an_fbclid(value: Any, fbclid: str) -> None:
    click = click_of_row({**ROW, "external_id": value}, Campaigns())
    assert click and (click.campaign, click.fbclid) == (("7", "Summer"), fbclid)


def test_the_country_is_its_code_if_there_is_one() -> None:
    click = click_of_row({**ROW, "country_code": None}, CAMPAIGNS)
    assert click and click.country == "United States"


@pytest.mark.parametrize("subid", ["", None, "a", "{subid}", "x y z 1 2", [], True])
def test_a_row_whose_sub_id_is_no_subid_is_no_click(subid: Any) -> None:
    assert click_of_row({**ROW, "sub_id": subid}, CAMPAIGNS) is None
    assert conversion_of_row({"sub_id": subid}) is None


@pytest.mark.parametrize("moment", ["", None, "0000-00-00 00:00:00", "yesterday"])
def test_a_click_may_have_no_time(moment: Any) -> None:
    click = click_of_row({**ROW, "datetime": moment}, CAMPAIGNS)
    assert click and click.clicked_at is None


def test_a_conversion_is_read_in_keitaros_words() -> None:
    row = {"sub_id": SUBID, "tid": 55, "status": "Sale", "original_status": "approved", "revenue": 2.61,
           "postback_datetime": "2026-11-18 14:00:00", "conversion_id": 901}  # fmt: skip
    assert conversion_of_row(row) == TrackerConversion(
        SUBID, "55", "sale", "approved", Decimal("2.61"), 1795010400.0, "901"
    )


@pytest.mark.parametrize(
    ("revenue", "money"), [("0", Decimal(0)), ("", None), ("NaN", None), ("x", None), (None, None)]
)
def test_revenue_is_money_or_nothing(revenue: Any, money: Decimal | None) -> None:
    conversion = conversion_of_row({"sub_id": SUBID, "status": "vip", "revenue": revenue})
    assert conversion and (conversion.revenue, conversion.status) == (money, "vip")


@pytest.mark.parametrize(
    ("status", "kind", "words"),
    [
        (401, "key", "the tracker refuses the key (HTTP 401); put a valid Admin API key into tracker.admin_api.key"),
        (402, "edition", "the tracker's edition has no Admin API (HTTP 402); change to an edition that has one, or "
                         "remove tracker.admin_api"),
        (403, "rights", "the key has not the right to read this (HTTP 403); let its user read campaigns, clicks and "
                        "conversions, and this machine reach the Admin API"),
        (404, "host", "no Admin API is at this address (HTTP 404); write the tracker's own host into "
                      "tracker.admin_api.url, without a path"),
        (302, "host", "the address leads elsewhere, and the key is not carried there (HTTP 302); write the address "
                      "that it leads to into tracker.admin_api.url"),
        (400, "request", "the tracker refuses the request, even for the fewest columns (HTTP 400); does its version "
                         "know clicks/log and IN_LIST? clicks still come from the journal"),
        (429, "busy", "the tracker asks for a pause (HTTP 429); wait: it is asked again by itself"),
        (503, "busy", "the tracker fails (HTTP 503); wait: it is asked again by itself"),
    ],
)  # fmt: skip
def test_each_refusal_says_why_and_what_to_do(status: int, kind: str, words: str) -> None:
    trouble = meaning(status, {}, NOW)
    assert trouble and (trouble.kind, trouble.words) == (kind, words)
    assert trouble.is_lasting is (kind in ("key", "edition", "rights", "host"))


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503])
@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30", 30.0), (formatdate(int(NOW) + 90, usegmt=True), 90 - NOW % 1), ("-5", None), ("soon", None), ("", None),
     (formatdate(int(NOW) - 90, usegmt=True), 0.0), ("9" * 400, 86400.0)],
)  # fmt: skip
def test_retry_after_is_a_number_or_a_date(status: int, text: str, seconds: float | None) -> None:
    trouble = meaning(status, {"retry-after": text}, NOW)
    assert trouble and trouble.seconds == seconds


@pytest.mark.parametrize(
    ("text", "column"),
    [
        ('{"error": "Unknown column \\"sub_id_16\\""}', "sub_id_16"),
        ("sub_id_1, sub_id_16 unknown", None),
        ("Validation failed", None),
        ("xsub_id_16", None),
        ("sub_id_160", None),
        ("", None),
    ],
)
def test_a_column_counts_as_named_when_it_is_the_only_one(text: str, column: str | None) -> None:
    assert unknown_column(text, ["sub_id_1", "sub_id_16"]) == column


def probed(unknown: set[str], text: str | None = None) -> tuple[frozenset[str] | None, int]:
    """What probing finds at a tracker that does not know these, and how many questions it takes; `text` is what the
    tracker says, by default the first unknown column."""

    def refusal(columns: tuple[str, ...]) -> str | None:
        missing = [name for name in columns if name in unknown]
        return (f"no column {missing[0]}" if text is None else text) if missing else None

    search, asked = probing(COLUMNS, LEAST, refusal(COLUMNS) or ""), 1
    tried = next(search)
    while True:
        try:
            tried, asked = search.send(refusal(tried)), asked + 1
        except StopIteration as end:
            return end.value, asked


@pytest.mark.parametrize("unknown", [{"sub_id_16"}, {"ip", "extra_param_3"}])
def test_columns_that_are_named_cost_one_question_each(unknown: set[str]) -> None:
    assert probed(unknown) == (unknown, len(unknown))


@pytest.mark.parametrize(
    ("unknown", "questions"),
    [
        ({"sub_id_16"}, 15),
        ({f"sub_id_{number}" for number in range(16, 31)}, 34),
        ({f"extra_param_{number}" for number in range(1, 11)}, 24),
        ({"country_code", "creative_id"}, 17),
        (set(COLUMNS) - set(LEAST), 110),
    ],
)
def test_columns_that_are_not_named_are_found_by_halving(unknown: set[str], questions: int) -> None:
    found, asked = probed(unknown, "Validation failed")
    assert found == unknown
    assert asked <= questions


def test_an_ordinary_word_that_is_a_column_too_misleads_nobody() -> None:
    assert probed({"sub_id_16"}, "the source is not available")[0] == {"sub_id_16"}


@pytest.mark.parametrize("text", ["Validation failed", None])
def test_when_even_the_least_is_refused_it_is_not_about_columns(text: str | None) -> None:
    assert probed({"campaign_id"}, text)[0] is None
