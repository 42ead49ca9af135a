"""What tells who somebody is gives way to sample data; what decides stays."""

from dataclasses import replace
from typing import Any

import pytest

from sidecar.core.click import Click
from sidecar.core.configuration import Integration
from sidecar.core.decide import decide
from sidecar.core.sample import replaced
from tests.core.examples import CLICK, FBCLID, KEY, NOW, bare, configuration, integration, postback, sale, sent, sha

MADE_UP = "AbCD4fghIJK_mno-QRS9012345678"


def replaced_click(click: Click, *integrations: Integration) -> Click:
    """The click as it is replaced beside the example's postback."""
    _, told = replaced(postback(), click, configuration(*integrations))
    assert told is not None
    return told


def parameters(*integrations: Integration, **given: str) -> dict[str, Any]:
    """What becomes of a sale's further parameters."""
    told, _ = replaced(sale(**given), CLICK, configuration(*integrations))
    return {name: values[-1] for name, values in told.parameters.items() if name in given}


def test_a_customers_values_are_samples_by_their_user_data_key() -> None:
    uses = integration(customer={"em": ("email",), "ph": ("tel",), "madid": ("idfa",)})
    given = {"email": "me@gmail.com", "tel": "+44 20 7946 0958", "fn": "Jane", "ln": sha("doe"), "idfa": "ABC-1"}
    assert parameters(uses, **given) == {
        "email": "customer@example.com",
        "tel": "+15550100",
        "fn": "John",
        "ln": "Snow",
        "idfa": "00000000-0000-4000-8000-000000000000",
    }


def test_a_value_of_no_use_and_a_macro_stay_of_no_use() -> None:
    assert parameters(em="nobody", ph="{phone}", fn="") == {"em": "-"}


def test_a_country_stays_and_is_read_from_its_hash() -> None:
    assert parameters(country="US") == parameters(country=sha("us")) == {"country": "us"}
    assert replaced_click(CLICK).country == "US"


def test_an_identifier_keeps_its_length_and_its_kinds_of_characters() -> None:
    assert parameters(tid="Order-77_x", fbclid=FBCLID) == {"tid": "Abcde-67_j", "fbclid": MADE_UP}
    assert replaced_click(CLICK).fbclid == MADE_UP


def test_an_fbclid_and_that_of_its_cookie_stay_one() -> None:
    click = replaced_click(replace(CLICK, fbc=f"fb.1.1795010340500.{FBCLID}.AQ"))
    assert (click.fbc, click.fbp) == (f"fb.1.1795010340500.{MADE_UP}.EF", "fb.1.1795010000000.0123456789")


def test_what_never_was_an_fbclid_stays_none() -> None:
    assert replaced_click(replace(CLICK, fbclid="{fbclid}")).fbclid == "{fbclid}"


@pytest.mark.parametrize(
    ("address", "told"),
    [("9.9.9.9", "8.8.8.8"), ("2620:fe::fe", "2001:4860:4860::8888"), ("10.0.0.1", "10.0.0.1"), ("", "")],
)
def test_an_address_is_one_of_the_same_kind_that_an_event_carries(address: str, told: str) -> None:
    assert replaced_click(bare(ip=address)).ip == told


def test_of_a_referrer_only_the_site_stays() -> None:
    assert replaced_click(CLICK).referrer == "https://shop.example.com/"


def test_of_a_clicks_parameters_those_stay_that_the_configuration_reads() -> None:
    uses = integration(customer={"em": ("email",)}, fbclid_from=("fbclid", "sub1"), only={"plan": ("gold",)})
    click = replace(
        CLICK, parameters={"email": ("me@gmail.com",), "sub1": (FBCLID, FBCLID), "plan": ("Gold",), "x": ("y",)}
    )
    assert replaced_click(click, uses).parameters == {
        "email": ("customer@example.com",),
        "sub1": (MADE_UP, MADE_UP),
        "plan": ("Gold",),
    }


def test_what_a_condition_names_stays() -> None:
    uses = integration(only={"city": ("san francisco",), "region": ("Texas",)})
    click = replaced_click(CLICK, uses)
    assert (click.city, click.region) == ("San Francisco", "CA")


def test_what_no_decision_reads_is_dropped() -> None:
    told, _ = replaced(sale(cost="1", sub_id_3="x", mystery="y", offer_status="z"), CLICK, configuration())
    assert set(told.parameters) == {"subid", "payout"}


def test_a_parameter_that_the_configuration_names_stays() -> None:
    assert parameters(integration(only={"sub_id_3": ("x", "y")}), sub_id_3="z") == {"sub_id_3": "z"}


def test_a_body_is_moved_into_the_target() -> None:
    given = postback(f"/{KEY}/postback?subid=3sh8so4er3&payout=1", body=b'{"payout": 2}', type="application/json")
    told, _ = replaced(given, None, configuration())
    assert (told.method, told.uri, told.body) == ("GET", f"/{KEY}/postback?subid=0bc3ef6hi9&payout=2", b"")


def test_the_key_is_the_configurations_and_a_wrong_one_is_wrong() -> None:
    for key, told in ((KEY, KEY), ("other", "wrong-key")):
        assert replaced(postback(f"/{key}/postback"), None, configuration())[0].key == told
    unresolved = configuration(postback_keys=None)
    assert replaced(postback(), None, unresolved)[0].key == "key"


def test_the_same_is_decided() -> None:
    told, click = replaced(postback(), CLICK, configuration())
    decision = decide(told, click, configuration(), NOW)
    (planned,) = decision.events
    real, sample = sent(), planned.event.as_json()
    assert (sample["custom_data"], set(sample["user_data"])) == (real["custom_data"], set(real["user_data"]))
    kept = {key for key, value in sample["user_data"].items() if value == real["user_data"][key]}
    assert kept == {
        "client_user_agent",
        "country",
        "fn",
        "ln",
        "st",
        "client_ip_address",
    }  # the example's own are samples


@pytest.mark.parametrize(
    "query",
    [
        "ip=203.0.113.7:4711",
        "ip=203.0.113.7,198.51.100.9",
        "tid=john@example.org",
        "email_status=john.doe@example.org",
        "ua=Mozilla+john@example.org",
        "referrer=https://john:pw@shop.example/john@example.org/4915112345678",
    ],
)
def test_no_value_of_a_customer_comes_through_whatever_it_stands_in(query: str) -> None:
    told, _ = replaced(sale(**dict([query.split("=", 1)])), CLICK, configuration())
    for leaked in ("john", "203.0.113.7", "198.51.100.9", "4915112345678"):
        assert leaked not in told.uri
