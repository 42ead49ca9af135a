import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from sidecar.core.configuration import NOTHING, DataProcessing, Integration, Value
from tests.core.examples import (
    CLICK,
    FBC,
    KEY,
    NOW,
    PIXEL,
    SUBID,
    bare,
    configuration,
    decided,
    integration,
    postback,
    rule,
    sale,
    sent,
    sha,
)

DAY = 86400


def test_the_postback_of_keitaros_page_becomes_this_event_byte_for_byte() -> None:
    decision = decided()
    (planned,) = decision.events
    assert (decision.decision, decision.reason) == ("accepted", "sent")
    assert (planned.integration, planned.due_at, planned.held) == ("Summer", NOW, "")
    event = planned.event
    assert (event.pixel_id, event.name, event.id, event.time) == (PIXEL, "Purchase", "3sh8so4er3_sale", 1795010400)
    assert event.body == (
        b'{"event_name":"Purchase","event_time":1795010400,"event_id":"3sh8so4er3_sale",'
        # sha256sum of https://shop.example.com/offer?x=1
        b'"event_source_url":"e6c8cc84b025cc7bb9908f78c4bbdec3f3afaca0d1209dedc20d29f4747d4774",'
        b'"action_source":"website","user_data":{'
        b'"fbc":"fb.1.1795010340500.IwAR0abcDEF_ghi-JKL0123456789","fbp":"fb.1.1795010000000.1234567890",'
        b'"client_ip_address":"8.8.8.8","client_user_agent":"Mozilla/5.0 (iPhone)",'
        # sha256sum of example@gmail.com, 71234567890, john, snow, sanfrancisco, ca and us
        b'"em":["264e53d93759bde067fd01ef2698f98d1253c730d12f021116f02eebcfa9ace6"],'
        b'"ph":["d3531e1e772585599264ea5f1e975348be450df2830e4058a84ecae61def928b"],'
        b'"fn":["96d9632f363564cc3032521409cf22a852f2032eec099ed5967c0d000cec607a"],'
        b'"ln":["a746222f09d85605c52d4e636788d6ffdc274698b98b8c5f3244c06958683a69"],'
        b'"ct":["1a6bd4d9d79dc0a79b53795c70d3349fa9e38968a3fbefbfe8783efb1d2b6aac"],'
        b'"st":["6959097001d10501ac7d54c0bdb8db61420f658f2922cc26e46d536119a31126"],'
        b'"country":["79adb2a2fce5c6ba215fe5f27f532d4e7edbac4b6a5e09e1ef3a08084a904621"]},'
        b'"custom_data":{"value":2.61,"currency":"USD"}}'
    )


def test_the_deadline_is_an_hour_before_metas_seven_days() -> None:
    (planned,) = decided().events
    assert planned.event.deadline == 1795010400 + 7 * DAY - 3600


def test_an_event_time_is_never_in_the_future() -> None:
    (planned,) = decided(postback(received_at=NOW + 60)).events
    assert planned.event.time == int(NOW)


@pytest.mark.parametrize(
    ("payout", "value", "worth"),
    [
        ("2.61", Value(share=Decimal(1)), "2.61"),
        ("2.6150", Value(share=Decimal(1)), "2.62"),
        ("2.605", Value(share=Decimal(1)), "2.61"),
        ("1.005", Value(share=Decimal(1)), "1.01"),
        ("0.0049", Value(share=Decimal(1)), "0"),
        ("3.00", Value(share=Decimal(1)), "3"),
        ("2.61", Value(share=Decimal("0.5")), "1.31"),
        ("0.01", Value(share=Decimal("0.5")), "0.01"),
        ("0.03", Value(share=Decimal("0.5")), "0.02"),
        ("10", Value(share=Decimal("0.333")), "3.33"),
        ("10", Value(share=Decimal("1.2")), "12"),
        ("999999999999.994", Value(share=Decimal(1)), "999999999999.99"),
        ("2." + "9" * 60000, Value(share=Decimal(1)), "3"),
        ("2.61", Value(amount=Decimal("120.005")), "120.01"),
        ("2.61", Value(amount=Decimal(0)), "0"),
        ("bad", Value(amount=Decimal(7)), "7"),
    ],
)
def test_a_value_is_a_json_number_rounded_half_up_to_cents(payout: str, value: Value, worth: str) -> None:
    decision = decided(sale(payout=payout), configuration(rule("Lead", value=value)))
    assert b'"custom_data":{"value":%s,"currency":"USD"}' % worth.encode() in decision.events[0].event.body


@pytest.mark.parametrize("value", [NOTHING, Value(share=Decimal(1))])
def test_a_purchase_without_a_usable_payout_is_sent_with_zero_and_a_remark(value: Value) -> None:
    decision = decided(sale(payout="bad"), configuration(rule("Purchase", value=value)))
    assert decision.events[0].event.as_json()["custom_data"] == {"value": 0, "currency": "USD"}
    assert any("a Purchase must have a value, so it is sent with 0" in line for line in decision.trace)


@pytest.mark.parametrize("payout", ["bad", "", "{payout}"])
def test_any_other_event_without_a_usable_payout_has_no_value_and_no_currency(payout: str) -> None:
    assert "custom_data" not in sent(sale(payout=payout, currency="EUR"), configuration(rule("Lead")))


def test_a_rule_without_value_leaves_the_payout_out() -> None:
    assert "custom_data" not in sent(sale(), configuration(rule("Lead", value=NOTHING)))


@pytest.mark.parametrize(
    ("given", "currency", "remark"),
    [("", "GBP", False), ("eur", "EUR", False), ("{cur}", "GBP", False), ("EURO", "GBP", True), ("$", "GBP", True)],
)
def test_the_currency_is_the_postbacks_if_it_is_one_else_the_trackers(given: str, currency: str, remark: bool) -> None:
    decision = decided(sale(currency=given), configuration(currency="GBP"))
    assert decision.events[0].event.as_json()["custom_data"]["currency"] == currency
    assert any("not an ISO 4217 code" in line for line in decision.trace) is remark


def test_a_rules_currency_beats_the_postbacks() -> None:
    found = sent(postback(f"/{KEY}/postback?subid={SUBID}&status=vip&currency=GBP"))
    assert found["custom_data"] == {"value": 120, "currency": "EUR"}


@pytest.mark.parametrize(
    ("template", "parameters", "event_id"),
    [
        ("", {}, f"{SUBID}_sale"),
        ("", {"tid": "T-7"}, f"{SUBID}_sale_T-7"),
        ("", {"tid": "{tid}"}, f"{SUBID}_sale"),
        ("", {"status": "Billed"}, f"{SUBID}_sale"),
        ("{subid}_{status}_{tid}", {}, f"{SUBID}_sale_"),
        ("{subid}-{event}", {}, f"{SUBID}-Purchase"),
        ("{subid}:{campaign}:{host}", {}, f"{SUBID}:AbCd12:track.example.com"),
        ("{subid}/{ad}/{extra_param_1}", {"extra_param_1": "x"}, f"{SUBID}/77/x"),
        ("{subid}/{ad}", {"ad": "78"}, f"{SUBID}/78"),
        ("{subid}/{none}", {}, f"{SUBID}/"),
    ],
)
def test_an_event_id_is_made_of_what_the_conversion_was(
    template: str, parameters: dict[str, str], event_id: str
) -> None:
    config = configuration(integration(event_id=template), statuses={"sale": ("billed",)})
    assert sent(sale(**parameters), config)["event_id"] == event_id


@pytest.mark.parametrize(
    ("mode", "fields", "source"),
    [
        ("hashed", {}, sha("https://shop.example.com/offer?x=1")),
        ("hashed", {"referrer": ""}, sha("https://track.example.com/AbCd12")),
        ("hashed", {"referrer": "android-app://x/\u00e9"}, sha("android-app://x/\u00e9")),
        ("hashed", {"referrer": "", "url": ""}, None),
        ("plain", {}, "https://shop.example.com/offer"),
        ("plain", {"referrer": "https://a.example.com/b#c?d"}, "https://a.example.com/b"),
        ("plain", {"referrer": "android-app://x"}, "https://track.example.com/AbCd12"),
        ("plain", {"referrer": ""}, "https://track.example.com/AbCd12"),
        ("plain", {"referrer": "", "url": ""}, None),
        ("https://{host}/{campaign}?a={ad}", {}, "https://track.example.com/AbCd12?a=77"),
        ("https://x.example.com/{host}", {"url": "https://[broken"}, "https://x.example.com/"),
        ("https://x.example.com/{host}", {"url": "https://a\u2100b/"}, "https://x.example.com/"),
    ],
)
def test_an_event_source_url_is_hashed_plain_or_a_template(
    mode: str, fields: dict[str, Any], source: str | None
) -> None:
    found = sent(config=configuration(integration(event_source_url=mode)), click=replace(CLICK, **fields))
    assert found.get("event_source_url") == source


def test_data_processing_options_are_sent_as_declared() -> None:
    found = sent(config=configuration(integration(data_processing=DataProcessing(("LDU",), 1, 1000))))
    names = [name for name in found if name.startswith("data_processing")]
    assert {name: found[name] for name in names} == {
        "data_processing_options": ["LDU"],
        "data_processing_options_country": 1,
        "data_processing_options_state": 1000,
    }


def test_empty_data_processing_options_are_sent_with_their_zeros() -> None:
    found = sent(config=configuration(integration(data_processing=DataProcessing(()))))
    assert (found["data_processing_options"], found["data_processing_options_country"]) == ([], 0)


def test_what_stays_empty_in_custom_data_is_left_out_at_any_depth() -> None:
    own = {
        "content_ids": ["{product}", "x"],
        "contents": [{"id": "{product}"}, {"id": "1", "quantity": 0}],
        "a": ["{b}"],
    }
    found = sent(sale(), configuration(rule("Lead", value=NOTHING, custom_data=own)))
    assert found["custom_data"] == {"content_ids": ["x"], "contents": [{"id": "1", "quantity": 0}]}


def test_custom_data_is_filled_from_the_conversion_the_postback_and_the_click() -> None:
    own: dict[str, Any] = {
        "content_name": "{campaign}",
        "content_ids": ["{ad}", "{extra_param_1}"],
        "num_items": 2,
        "zero": 0,
        "no": False,
        "empty": "{none}",
        "nothing": None,
        "list": [],
    }
    found = sent(sale(extra_param_1="x"), configuration(rule("Lead", custom_data=own)))
    assert found["custom_data"] == {
        "value": 2.61,
        "currency": "USD",
        "content_name": "AbCd12",
        "content_ids": ["77", "x"],
        "num_items": 2,
        "zero": 0,
        "no": False,
    }


def user_data(given: dict[str, str], config: Integration | None = None, **click: Any) -> dict[str, Any]:
    fields = {"fbc": FBC, **click}
    found: dict[str, Any] = sent(sale(**given), configuration(config or integration()), bare(**fields))["user_data"]
    return found


def test_what_is_empty_is_left_out() -> None:
    assert user_data({"em": "", "fn": "{fn}", "ph": "   "}) == {"fbc": FBC}


@pytest.mark.parametrize(("key", "value"), [("em", "nobody"), ("ph", "call me"), ("country", "Atlantis"), ("db", "x")])
def test_a_bad_value_drops_its_key_with_a_remark_that_does_not_show_it(key: str, value: str) -> None:
    decision = decided(sale(**{key: value}), click=bare(fbc=FBC))
    assert decision.events[0].event.as_json()["user_data"] == {"fbc": FBC}
    (remark,) = [line for line in decision.trace if f"{key} is not of the form" in line]
    assert value not in remark


@pytest.mark.parametrize(
    ("names", "parameters", "found"),
    [
        (("em", "email"), {"em": "a@b.example", "email": "c@d.example"}, "a@b.example"),
        (("em", "email"), {"em": "", "email": "c@d.example"}, "c@d.example"),
        (("em", "email"), {"em": "{em}", "email": "c@d.example"}, "c@d.example"),
        (("email",), {"em": "a@b.example"}, None),
        (("em", "email"), {"em": "bad", "email": "c@d.example"}, None),
        ((), {"em": "a@b.example"}, None),
    ],
)
def test_a_customers_parameters_replace_the_default_and_the_first_non_empty_counts(
    names: tuple[str, ...], parameters: dict[str, str], found: str | None
) -> None:
    data = user_data(parameters, integration(customer={"em": names}))
    assert data.get("em") == (found and [sha(found)])


def test_a_named_customer_parameter_may_stand_in_the_click_and_a_default_one_may_not() -> None:
    parameters = {"email": ("a@b.example",), "ph": ("16505551212",)}
    data = user_data({}, integration(customer={"em": ("email",)}), parameters=parameters)
    assert data == {"fbc": FBC, "em": [sha("a@b.example")]}


def test_a_plain_key_is_sent_as_it_is_and_no_list() -> None:
    assert user_data({"lead": "L-1"}, integration(customer={"lead_id": ("lead",)}))["lead_id"] == "L-1"


def test_the_clicks_place_stands_in_and_the_postbacks_country_decides_the_state() -> None:
    place: dict[str, Any] = {"country": "US", "region": "Georgia", "city": "New York"}
    assert user_data({}, **place) == {
        "fbc": FBC,
        "country": [sha("us")],
        "st": [sha("ga")],
        "ct": [sha("newyork")],
    }
    assert user_data({"country": "Georgia"}, **place)["st"] == [sha("georgia")]


@pytest.mark.parametrize(("ip", "sent_ip"), [("10.0.0.1", None), ("nonsense", None), ("::ffff:8.8.8.8", "8.8.8.8")])
def test_only_a_public_address_is_sent(ip: str, sent_ip: str | None) -> None:
    assert user_data({}, ip=ip).get("client_ip_address") == sent_ip


def test_text_that_no_utf8_can_carry_does_no_harm() -> None:
    bad = "a\ud800b"
    click = bare(
        fbclid=bad, user_agent=bad, referrer=bad, city=bad, region=bad, country=bad, ip=bad, parameters={"uid": (bad,)}
    )
    config = configuration(integration(customer={"external_id": ("uid",)}))
    body = decided(sale(), config, click).events[0].event.body
    assert json.loads(body.decode())["user_data"]["client_user_agent"] == "a?b"
