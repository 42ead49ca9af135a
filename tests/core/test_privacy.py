import random
from dataclasses import replace
from typing import Any
from urllib.parse import unquote_plus, urlencode

import pytest

from sidecar.core.click import Click
from sidecar.core.configuration import Configuration
from sidecar.core.decide import Decision, decide
from sidecar.core.postback import Postback
from sidecar.core.privacy import scrubbed
from tests.core.examples import CLICK, KEY, MAPPING, NOW, SUBID, configuration, integration, postback, sale, sha

CANARIES = {
    "em": "canary.bird@gmail.com",
    "ph": "+1 650 555 12 12",
    "fn": "Canaryna",
    "ln": "Birdova",
    "db": "1987-06-05",
    "zp": "94035-1234",
    "ct": "Canaryville",
    "external_id": "User-canary-7",
}


def both(given: Postback, config: Configuration, click: Click | None = CLICK) -> tuple[Decision, Decision, Postback]:
    """The decision, the one on what is kept, and what is kept."""
    first = decide(given, click, config, NOW)
    kept = scrubbed(given, first.click, config)
    return first, decide(kept, click, config, NOW + 3600), kept


def same(given: Postback, config: Configuration, click: Click | None = CLICK) -> None:
    first, second, kept = both(given, config, click)
    assert (second.decision, second.reason) == (first.decision, first.reason)
    assert [each.event for each in second.events] == [each.event for each in first.events]
    assert scrubbed(kept, first.click, config).uri == kept.uri


def test_what_is_kept_gives_the_same_bytes_and_no_customers_value_stands_in_it() -> None:
    given = sale(**CANARIES)
    first, second, kept = both(given, configuration())
    assert first.events
    assert second.events == first.events
    text = unquote_plus(kept.uri) + repr(kept)
    for value in CANARIES.values():
        assert value not in text
        assert value.replace(" ", "") not in text
    assert sha("canary.bird@gmail.com") in kept.uri


@pytest.mark.parametrize("type", ["application/json", "application/x-www-form-urlencoded"])
def test_a_bodys_values_move_to_the_target_as_hashes(type: str) -> None:
    body = b'{"em": "canary.bird@gmail.com"}' if "json" in type else b"em=canary.bird%40gmail.com"
    given = postback(f"/{KEY}/postback?subid={SUBID}&em=query@gmail.com", body=body, type=type)
    first, second, kept = both(given, configuration())
    assert second.events == first.events
    assert (kept.body, kept.type) == (b"", "")
    assert kept.uri == f"/{KEY}/postback?subid={SUBID}&em={sha('canary.bird@gmail.com')}"


def test_the_trace_shows_no_customers_value_and_no_key() -> None:
    for status in ("sale", "deposit", "trash", "rejected", "{status}"):
        for change in ({}, {"only": {"em": ("other@gmail.com",)}}, {"customer": {"em": ("ph", "em")}}):
            for click in (CLICK, None, replace(CLICK, fbclid="", ip="10.0.0.1")):
                config = configuration(integration(**change))
                trace = "\n".join(decide(sale(status=status, **CANARIES), click, config, NOW).trace)
                for value in (*CANARIES.values(), KEY):
                    assert value not in trace


def test_parameters_that_nobody_knows_are_dropped() -> None:
    given = sale(
        tid="7",
        sub_id_3="s",
        extra_param_10="e",
        sale_status="x",
        email_status="canary",
        unknown="canary",
        note="canary",
    )
    assert scrubbed(given, CLICK, configuration()).parameters == {
        "subid": (SUBID,),
        "payout": ("2.61",),
        "tid": ("7",),
        "sub_id_3": ("s",),
        "extra_param_10": ("e",),
        "sale_status": ("x",),
    }


def test_a_parameter_that_the_configuration_reads_is_kept() -> None:
    config = configuration(integration(only={"note": ("a",)}, event_id="{subid}_{order}"))
    assert {"note", "order"} <= set(scrubbed(sale(note="a", order="b"), CLICK, config).parameters)


def test_a_parameter_that_the_configuration_names_for_a_customer_is_hashed() -> None:
    config = configuration(integration(customer={"em": ("email", "sub_id_4"), "external_id": ("from",)}))
    kept = scrubbed(sale(email="A@b.example", sub_id_4="C@d.example", **{"from": "canary"}), CLICK, config).parameters
    assert kept["email"] == (sha("a@b.example"),)
    assert kept["sub_id_4"] == (sha("c@d.example"),)
    assert kept["from"] == (sha("canary"),)


def test_a_customers_default_name_is_hashed_even_where_it_is_turned_off() -> None:
    config = configuration(integration(customer={"em": ()}))
    assert scrubbed(sale(em="A@b.example"), CLICK, config).parameters["em"] == (sha("a@b.example"),)


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        CANARIES,
        {"em": "no address"},
        {"em": "no address", "email": "good@b.example"},
        {"em": "", "email": "good@b.example"},
        {"em": "{em}", "email": "good@b.example"},
        {"em": "   "},
        {"em": sha("a@b.example")},
        {"em": sha("a@b.example") + ".Ab"},
        {"st": "--"},
        {"ct": "!!!", "country": "Atlantis"},
        {"st": "Georgia", "country": "Georgia"},
        {"country": "Georgia"},
        {"country": "us"},
        {"country": "United States", "zp": "94035-1234"},
        {"geo": "Georgia", "country": "us", "st": "Georgia"},
        {"db": "2026-12-31"},
        {"db": "2027-01-01"},
        {"uid": "User-7"},
        {"lead": "L-7"},
        {"tid": "T-7"},
        {"tid": "a b&c=d%{", "currency": "eur"},
        {"fbclid": "IwAR1", "ip": "9.9.9.9", "region": "r", "city": "c", "ua": "a"},
        {"status": "Confirmed", "sale_status": "confirmed,approved"},
        {"status": "test", "ignore_status": "test"},
        {"payout": "{payout}", "revenue": "7.005"},
    ],
)
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"customer": {"em": ("em", "email"), "external_id": ("uid",), "country": ("geo",), "lead_id": ("lead",)}},
        {"customer": {"external_id": ("subid",), "country": ()}},
        {"customer": {"external_id": ("tid",)}},
        {"only": {"country": ("US",)}},
        {"only": {"country": ("Georgia",), "st": ("GEORGIA",)}},
        {"only": {"em": ("Good@b.example", "canary.bird@gmail.com")}},
    ],
)
def test_a_replay_decides_the_same(parameters: dict[str, str], changes: dict[str, Any]) -> None:
    config = configuration(integration(**changes))
    for click in (CLICK, replace(CLICK, country="", fbclid="", region="Georgia"), replace(CLICK, country="DE")):
        same(sale(**parameters), config, click)


def test_a_replay_decides_the_same_of_a_click_that_the_postback_carries() -> None:
    given = sale(campaign="AbCd12", fbclid="IwAR1", country="Georgia", region="Georgia", ip="8.8.8.8", em="A@b.example")
    same(given, configuration(), None)


def test_a_replay_in_another_year_gives_the_same_bytes() -> None:
    end_of_year = 1798761599.5  # 2026-12-31T23:59:59.5Z
    given = replace(sale(db="2027-01-01", em="a@b.example"), received_at=end_of_year)
    first = decide(given, CLICK, configuration(), end_of_year + 1)
    kept = scrubbed(given, first.click, configuration())
    assert decide(kept, CLICK, configuration(), end_of_year + 1).events == first.events


def test_a_replay_of_anything_decides_the_same() -> None:
    chance = random.Random(13)
    names = ["em", "email", "ph", "fn", "db", "ge", "ct", "st", "zp", "country", "external_id", "tid", "status"]
    values = ["", " ", "-", "a", "{x}", "US", "de", "Georgia", "a@b.example", "+71234567890", "1.2.1990", "female",
              "12345-6789", "\u00e9\u0663", sha("x"), "%", "&=+", "\U0001f600"]  # fmt: skip
    config = configuration(
        integration(customer={"em": ("em", "email")}, only={"country": ("US", "Georgia", "")}),
        integration("All", pixel_id="2", customer={"em": ("em", "email")}, mapping=replace(MAPPING, name="other")),
    )
    for _ in range(2000):
        pairs = [("subid", SUBID)] + [(chance.choice(names), chance.choice(values)) for _ in range(8)]
        click = replace(CLICK, country=chance.choice(["", "US", "de", "XK"]), region=chance.choice(["", "Georgia"]))
        same(postback(f"/{KEY}/postback?{urlencode(pairs)}"), config, click)
