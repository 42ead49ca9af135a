import json
from dataclasses import replace
from typing import Any

import pytest

from sidecar.core.campaign import Campaign, Campaigns, Slot, campaigns_of
from sidecar.core.click import Click
from sidecar.core.fbclid import find_fbclid
from tests.core.examples import CLICKED_AT, FBCLID, NOW, SUBID, integration

ANOTHER = "IwAR9zyxWVU_tsr-QPO9876543210"
PARAMETERS = {
    "keyword": {"name": "keyword", "placeholder": "{keyword}", "alias": ""},
    "external_id": {"name": "fbclid", "placeholder": "{fbclid}", "alias": None},
    "sub_id_10": {"name": "fbp", "placeholder": "", "alias": ""},
}
ROW = {"id": 7, "alias": "AbCd12", "name": "Summer", "state": "active", "parameters": PARAMETERS}

APP = Campaign("7", "AbCd12", "Summer", {"sub_id_3": Slot("sub1", "{fbclid}"), "sub_id_10": Slot("cookie", "{_fbp}")})
NAMESAKES = Campaigns([APP, Campaign("8", "Xy", "Autumn"), Campaign("9", "Zz", "Summer")])


def visit(*campaign: str, **fields: Any) -> Click:
    parameters = {name: (value,) for name, value in fields.pop("parameters", {}).items()}
    return Click(SUBID, campaign or ("AbCd12",), CLICKED_AT, parameters=parameters, **fields)


@pytest.mark.parametrize(
    "written", [PARAMETERS, json.dumps(PARAMETERS), json.dumps(json.dumps(PARAMETERS))], ids=["object", "once", "twice"]
)
@pytest.mark.parametrize("wrap", [lambda rows: rows, lambda rows: {"rows": rows}, lambda rows: {"data": rows}])
def test_a_campaign_is_read_however_its_parameters_are_encoded(written: Any, wrap: Any) -> None:
    [campaign] = campaigns_of(wrap([{**ROW, "parameters": written}]))
    assert (campaign.id, campaign.alias, campaign.name, campaign.remark) == ("7", "AbCd12", "Summer", "")
    assert campaign.slots["external_id"] == Slot("fbclid", "{fbclid}", "")


@pytest.mark.parametrize("empty", [None, "", [], {}, "[]", "{}", "null", '""'])
def test_a_campaign_without_parameters_has_no_slots_and_no_remark(empty: Any) -> None:
    [campaign] = campaigns_of([{**ROW, "parameters": empty}])
    assert (campaign.slots, campaign.remark) == ({}, "")


@pytest.mark.parametrize("rubbish", ["{", "a:1:{}", 5, True, ["x"], '"x"', "[1]", "9" * 5000, "[" * 100_000])
def test_rubbish_as_parameters_is_a_remark_and_loses_no_campaign(rubbish: Any) -> None:
    [campaign] = campaigns_of([{**ROW, "parameters": rubbish}])
    assert (campaign.names, campaign.slots) == (("AbCd12", "7", "Summer"), {})
    assert campaign.remark == "the parameters of campaign AbCd12 cannot be read"
    assert Campaigns([campaign]).remarks(visit()) == (campaign.remark,)


def test_a_slot_that_is_no_object_is_left_out() -> None:
    [campaign] = campaigns_of([{**ROW, "parameters": {"sub_id_1": "x", "sub_id_2": {"name": 5}, "sub_id_3": None}}])
    assert campaign.slots == {"sub_id_2": Slot("5")}


@pytest.mark.parametrize("body", [None, "x", 5, {}, {"rows": None}, {"rows": {}}, {"error": "x"}])
def test_an_answer_that_is_no_list_is_a_fault_in_words(body: Any) -> None:
    with pytest.raises(ValueError, match="the answer holds no list of rows"):
        campaigns_of(body)


def test_rows_without_any_name_are_no_campaigns() -> None:
    assert campaigns_of([{}, {"id": None, "name": ""}, "x", {"id": 3}]) == (Campaign("3", "", ""),)


def test_a_campaign_comes_back_from_plain_json_as_it_was() -> None:
    assert Campaign.from_json(json.loads(json.dumps(APP.as_json()))) == APP


@pytest.mark.parametrize(
    ("given", "names"),
    [
        (("AbCd12",), ("AbCd12", "7", "Summer")),
        (("7",), ("7", "AbCd12", "Summer")),
        (("Autumn",), ("Autumn", "Xy", "8")),
        (("abcd12",), ("abcd12",)),
        (("nobody", "Xy"), ("nobody", "Xy", "8", "Autumn")),
        ((), ()),
    ],
)
def test_a_click_gets_every_name_of_its_campaign_after_its_own(given: tuple[str, ...], names: tuple[str, ...]) -> None:
    assert NAMESAKES.named(Click(SUBID, given)).campaign == names


def test_a_name_that_two_campaigns_bear_names_both() -> None:
    assert NAMESAKES.named(visit("Summer")).campaign == ("Summer", "AbCd12", "7", "Zz", "9")


def test_a_click_that_has_all_its_names_is_not_given_those_of_a_namesake() -> None:
    once = NAMESAKES.named(visit())
    assert NAMESAKES.named(once) == once


def test_an_alias_comes_before_an_id_and_an_id_before_a_name() -> None:
    campaigns = Campaigns([Campaign("1", "a", "2"), Campaign("2", "b", "x"), Campaign("3", "2", "y")])
    assert campaigns.named(visit("2")).campaign == ("2", "3", "y")
    assert Campaigns([Campaign("1", "a", "2"), Campaign("2", "b", "x")]).named(visit("2")).campaign == ("2", "b", "x")


def test_a_domain_finds_no_campaign_even_where_one_is_called_like_it() -> None:
    campaigns = Campaigns([Campaign("1", "a", "Shop.example.com")])
    at_domain = visit("shop.example.com", url="https://shop.example.com/")
    assert campaigns.named(at_domain) == at_domain
    assert campaigns.named(visit("Shop.example.com")).campaign == ("Shop.example.com", "a", "1")


@pytest.mark.parametrize("name", ["sub1", "sub_id_3"])
def test_the_slot_that_the_campaign_declares_holds_the_fbclid(name: str) -> None:
    click = NAMESAKES.named(visit(parameters={name: FBCLID}))
    assert click.fbclid == FBCLID
    assert find_fbclid(click, integration(), NOW).reason == ""


@pytest.mark.parametrize("own", [{"fbclid": ANOTHER}, {"parameters": {"fbclid": ANOTHER}}])
def test_a_real_fbclid_of_the_click_wins(own: dict[str, Any]) -> None:
    parameters = {"sub1": FBCLID, **own.get("parameters", {})}
    click = visit(parameters=parameters, fbclid=own.get("fbclid", ""))
    assert NAMESAKES.named(click).fbclid == click.fbclid


def test_a_literal_fbclid_does_not_win_over_the_slots() -> None:
    click = NAMESAKES.named(visit(parameters={"fbclid": "{fbclid}", "sub1": FBCLID}))
    assert find_fbclid(click, integration(), NOW).fbc.endswith(FBCLID)


@pytest.mark.parametrize(
    ("value", "remark"),
    [
        ("short", "the value of sub1 does not look like an fbclid and is not used"),
        ("with blanks in a long text", "the value of sub1 does not look like an fbclid and is not used"),
        ("{fbclid}", "a macro stands in sub1, where the campaign expects the fbclid"),
    ],
)
def test_a_slot_that_holds_no_fbclid_is_a_remark(value: str, remark: str) -> None:
    click = visit(parameters={"sub1": value})
    assert NAMESAKES.named(click).fbclid == ""
    assert NAMESAKES.remarks(click) == (remark,)
    assert NAMESAKES.remarks(visit(parameters={"sub1": value, "fbclid": ANOTHER})) == ()


def test_fbp_comes_from_its_slot_and_never_over_the_clicks_own() -> None:
    assert NAMESAKES.named(visit(parameters={"sub_id_10": "fb.1.1795010000000.1"})).fbp == "fb.1.1795010000000.1"
    assert NAMESAKES.named(visit(parameters={"cookie": "{_fbp}"})).fbp == ""
    assert NAMESAKES.named(visit(parameters={"cookie": "fb.1.2.3"}, fbp="fb.1.1.1")).fbp == "fb.1.1.1"


@pytest.mark.parametrize(
    "slot", [Slot("fbc"), Slot("_fbc"), Slot("x", "{fbc}"), Slot("x", "{_fbc}"), Slot("x", "", "fbc")]
)
def test_a_slot_is_known_by_name_placeholder_or_alias(slot: Slot) -> None:
    campaigns = Campaigns([Campaign("1", "AbCd12", "", {"sub_id_11": slot})])
    assert campaigns.named(visit(parameters={"sub_id_11": "fb.1.1.x"})).fbc == "fb.1.1.x"


def test_nothing_else_of_a_click_changes() -> None:
    click = visit(parameters={"sub1": FBCLID}, ip="8.8.8.8", source="journal")
    assert NAMESAKES.named(click) == replace(click, campaign=("AbCd12", "7", "Summer"), fbclid=FBCLID)
    assert NAMESAKES.named(visit("unknown")) == visit("unknown")
