from dataclasses import replace
from typing import Any

import pytest

from sidecar.core.click import Click, carried_click, click_from_json, field_or_parameter, filled, is_subid, stands_alone
from tests.core.examples import CLICK, FBCLID, NOW, SUBID, bare, postback


@pytest.mark.parametrize("text", ["3sh8so4er3", "abcdef", "A_b-C9", "a" * 64])
def test_a_subid_is_six_to_sixty_four_letters_digits_dashes_and_underscores(text: str) -> None:
    assert is_subid(text)


@pytest.mark.parametrize("text", ["", "abcde", "a" * 65, "abc def", "abcdef\n", "abc.def", "\u0663" * 6, "\u00e9" * 6])
def test_anything_else_is_no_subid(text: str) -> None:
    assert not is_subid(text)


OTHER = Click(
    subid=SUBID,
    campaign=("Other",),
    clicked_at=NOW + 99,
    fbclid="IwAR9otherotherotherother",
    fbp="fb.1.1.9",
    fbc="fb.1.1795010340500.IwAR9",
    ip="9.9.9.9",
    user_agent="other",
    referrer="https://other.example.com/",
    country="DE",
    region="Hessen",
    city="Frankfurt",
    url="https://other.example.com/x",
    parameters={"ad": ("78",), "sub_id_5": ("five",)},
    source="admin_api",
)


def test_a_second_source_fills_only_gaps() -> None:
    assert filled(CLICK, OTHER) == replace(CLICK, fbc=OTHER.fbc, parameters={"ad": ("77",), "sub_id_5": ("five",)})


@pytest.mark.parametrize("name", ["fbp", "fbc", "ip", "user_agent", "referrer", "country", "region", "city", "url"])
def test_a_second_source_fills_a_field_that_the_first_left_empty(name: str) -> None:
    empty: dict[str, Any] = {name: ""}
    assert getattr(filled(replace(CLICK, **empty), OTHER), name) == getattr(OTHER, name)


def test_a_second_source_never_sets_the_clicks_time_its_fbclid_or_its_campaign() -> None:
    click = filled(Click(subid=SUBID), OTHER)
    assert (click.clicked_at, click.fbclid, click.campaign, click.source) == (None, "", (), "given")


def test_a_click_without_gaps_stays_the_same_value() -> None:
    full = replace(CLICK, fbc="fb.1.1795010340500.x")
    assert filled(full, replace(OTHER, parameters={})) is full


def test_a_postback_carries_a_click_under_the_clicks_own_names() -> None:
    carried = carried_click(
        postback(
            f"/k/postback?subid={SUBID}&campaign=AbCd12&fbclid=IwAR1&fbp=p&fbc=c&clicked_at=1795010340500"
            "&ip=8.8.8.8&ua=Agent&referrer=https://a.example.com/&country=us&region=r&city=c"
        ),
        SUBID,
    )
    assert carried == Click(
        subid=SUBID,
        campaign=("AbCd12",),
        clicked_at=1795010340.5,
        fbclid="IwAR1",
        fbp="p",
        fbc="c",
        ip="8.8.8.8",
        user_agent="Agent",
        referrer="https://a.example.com/",
        country="us",
        region="r",
        city="c",
        source="postback",
    )


def test_among_repeated_fbclids_of_a_postback_the_last_that_is_no_macro_counts() -> None:
    carried = carried_click(postback("/k/postback?fbclid=IwAR1&fbclid=IwAR2&fbclid={fbclid}"), SUBID)
    assert carried
    assert carried.fbclid == "IwAR2"


@pytest.mark.parametrize("query", ["", "subid=3sh8so4er3&em=a@b.example", "ip={ip}&ua={ua}&fbclid={fbclid}"])
def test_a_postback_without_such_names_carries_no_click(query: str) -> None:
    assert carried_click(postback(f"/k/postback?{query}"), SUBID) is None


@pytest.mark.parametrize(
    ("fields", "alone"),
    [
        ({"campaign": ("a",), "fbclid": "f"}, True),
        ({"campaign": ("a",), "fbc": "f"}, True),
        ({"campaign": ("a",)}, False),
        ({"fbclid": "f", "fbc": "f", "ip": "8.8.8.8"}, False),
    ],
)
def test_a_carried_click_stands_alone_with_a_campaign_and_an_fbclid_or_fbc(fields: dict[str, Any], alone: bool) -> None:
    assert stands_alone(Click(subid=SUBID, **fields)) is alone


@pytest.mark.parametrize(
    ("campaign", "names"),
    [("AbCd12", ("AbCd12",)), (42, ("42",)), (["AbCd12", 42], ("AbCd12", "42")), (None, ()), ("", ()), ([], ())],
)
def test_a_campaign_in_json_is_a_text_a_number_or_a_list(campaign: Any, names: tuple[str, ...]) -> None:
    assert click_from_json({"campaign": campaign}, SUBID).campaign == names


def test_a_click_in_json_has_the_fields_of_a_click() -> None:
    click = click_from_json(
        {"clicked_at": "2026-11-18T14:00:00Z", "ua": "Agent", "parameters": {"sub1": FBCLID, "n": [1, "2"]}}, SUBID
    )
    assert click == Click(
        subid=SUBID, clicked_at=1795010400.0, user_agent="Agent", parameters={"sub1": (FBCLID,), "n": ("1", "2")}
    )


def test_a_click_in_json_may_name_its_own_subid() -> None:
    assert click_from_json({"subid": "another1"}, SUBID).subid == "another1"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"ipp": "x"}, "click: unknown field 'ipp'"),
        ({"source": "store"}, "click: unknown field 'source'"),
        ({"ip": ["8.8.8.8"]}, "click.ip: give a text"),
        ({"fbclid": True}, "click.fbclid: give a text"),
        ({"clicked_at": "yesterday"}, "click.clicked_at: give Unix seconds"),
        ({"clicked_at": True}, "click.clicked_at: give Unix seconds"),
        ({"clicked_at": 1e300}, "click.clicked_at: give Unix seconds"),
        ({"parameters": ["a"]}, "click.parameters: give an object"),
    ],
)
def test_a_click_in_json_that_cannot_be_read_says_where(value: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message.replace(".", r"\.")):
        click_from_json(value, SUBID)


@pytest.mark.parametrize(
    ("click", "name", "value"),
    [
        (CLICK, "country", "US"),
        (CLICK, "campaign", "AbCd12"),
        (CLICK, "ad", "77"),
        (CLICK, "clicked_at", ""),
        (CLICK, "source", ""),
        (bare(ip="{ip}", parameters={"ip": ("8.8.8.8",)}), "ip", "8.8.8.8"),
        (bare(campaign=(), parameters={"campaign": ("p",)}), "campaign", "p"),
        (bare(), "nothing", ""),
    ],
)
def test_a_name_means_the_clicks_field_else_its_parameter(click: Click, name: str, value: str) -> None:
    assert field_or_parameter(click, name) == value
