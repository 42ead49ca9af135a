import random
import time
from dataclasses import replace
from typing import Any

import pytest

from sidecar.core.click import Click, click_from_json
from sidecar.core.configuration import Configuration
from sidecar.core.decide import PRECEDENCE, decide, expire
from sidecar.core.postback import Postback
from tests.core.examples import (
    CLICK,
    FBCLID,
    KEY,
    MAPPING,
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
)

DAY = 86400
LITERAL = replace(CLICK, fbclid="{fbclid}")
NO_FBCLID = replace(CLICK, fbclid="")

CASES: list[tuple[str, str, dict[str, Any]]] = [
    ("accepted", "sent", {}),
    ("waiting", "no_click", {"click": None}),
    ("ignored", "ignore_status", {"given": sale(status="test", ignore_status="test")}),
    ("ignored", "status_null", {"given": sale(status="rejected")}),
    ("ignored", "status_unmapped", {"given": sale(status="trash")}),
    ("ignored", "campaign_without_integration", {"click": replace(CLICK, campaign=("Other",))}),
    (
        "ignored",
        "integration_without_campaign",
        {
            "click": replace(CLICK, campaign=("Other",)),
            "config": configuration(integration(), integration("Bare", campaigns=(), error="no campaigns")),
        },
    ),
    ("ignored", "only", {"config": configuration(integration(only={"country": ("CA",)}))}),
    ("ignored", "skip_zero", {"given": sale(status="deposit", payout="0")}),
    ("rejected", "wrong_key", {"given": postback(f"/wrong/postback?subid={SUBID}")}),
    ("rejected", "no_subid", {"given": postback(f"/{KEY}/postback")}),
    ("rejected", "bad_subid", {"given": postback(f"/{KEY}/postback?subid=a.b.c.d")}),
    ("rejected", "status_macro", {"given": sale(status="{status}")}),
    ("rejected", "no_fbclid", {"click": NO_FBCLID}),
    ("rejected", "literal_fbclid", {"click": LITERAL}),
    ("rejected", "too_old", {"now": NOW + 7 * DAY}),
    ("rejected", "invalid_event", {"config": configuration(integration(pixel_id="{pixel}", pixels=(PIXEL,)))}),
]


@pytest.mark.parametrize(("decision", "reason", "case"), CASES, ids=[reason for _, reason, _ in CASES])
def test_every_reason_comes_of_its_case(decision: str, reason: str, case: dict[str, Any]) -> None:
    found = decided(**case)
    assert (found.decision, found.reason) == (decision, reason)
    assert bool(found.events) is (decision == "accepted")
    assert found.trace


def test_a_waiting_postback_whose_click_does_not_come_is_rejected() -> None:
    waiting = decided(click=None)
    expired = expire(waiting)
    assert (expired.decision, expired.reason) == ("rejected", "click_expired")
    assert expired.trace[:-1] == waiting.trace
    assert expired.conversion == waiting.conversion


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"given": postback("/wrong/postback?subid=a&status={s}"), "click": None}, "wrong_key"),
        ({"given": postback(f"/{KEY}/postback?subid=a&status={{s}}"), "click": None}, "bad_subid"),
        ({"given": sale(status="{s}"), "click": None}, "status_macro"),
        ({"given": sale(status="trash"), "click": None}, "no_click"),
        ({"given": sale(status="trash"), "click": replace(LITERAL, campaign=("Oh",))}, "campaign_without_integration"),
        ({"given": sale(status="trash"), "click": LITERAL}, "status_unmapped"),
        ({"click": LITERAL}, "only"),
        ({"click": replace(LITERAL, country="CA"), "now": NOW + 8 * DAY}, "literal_fbclid"),
        ({"click": replace(CLICK, country="CA"), "now": NOW + 8 * DAY}, "too_old"),
        ({"click": replace(CLICK, country="CA")}, "sent"),
    ],
)
def test_the_tests_stand_in_the_contracts_order(change: dict[str, Any], reason: str) -> None:
    assert decided(**{"config": configuration(integration(only={"country": ("CA",)})), **change}).reason == reason


def test_a_decision_carries_its_conversion_and_its_click() -> None:
    found = decided()
    assert found.conversion
    assert (found.conversion.subid, found.conversion.status, found.click) == (SUBID, "sale", CLICK)


def test_the_trace_tells_each_test_in_turn() -> None:
    assert decided().trace == (
        "key: accepted",
        f"subid: {SUBID}",
        "status: sale (as given)",
        "click: from store, campaign AbCd12",
        f"Summer: sale is Purchase (mappings/shop.yaml:4), pixel {PIXEL}, event_id {SUBID}_sale",
    )


@pytest.mark.parametrize(
    ("campaign", "entries", "matches"),
    [
        (("AbCd12",), ("AbCd12",), True),
        (("abcd12",), ("AbCd12",), False),
        (("42",), ("42",), True),
        (("AbCd12", "42", "Summer sale"), ("Summer sale",), True),
        (("Shop.Example.COM",), ("shop.example.com",), True),
        (("shop.example.com",), ("SHOP.example.com",), True),
        (("other.example.com",), ("shop.example.com",), False),
        ((), ("AbCd12",), False),
    ],
)
def test_a_campaign_is_matched_by_any_of_its_names_and_only_hosts_without_case(
    campaign: tuple[str, ...], entries: tuple[str, ...], matches: bool
) -> None:
    found = decided(config=configuration(integration(campaigns=entries)), click=replace(CLICK, campaign=campaign))
    assert found.reason == ("sent" if matches else "campaign_without_integration")


def test_an_integration_that_matches_by_two_names_sends_once() -> None:
    both = replace(CLICK, campaign=("AbCd12", "shop.example.com"))
    assert [each.integration for each in decided(click=both).events] == ["Summer"]


# Several integrations.

REJECTS = integration("Rejects", pixel_id="1", fbclid_from=(), customer={})
IGNORES = integration("Ignores", pixel_id="2", only={"country": ("CA",)})
UNMAPPED = integration("Unmapped", pixel_id="3", mapping=replace(MAPPING, rules={}))
SENDS = integration("Sends", pixel_id="4", fbclid_from=("sub1",))


@pytest.mark.parametrize(
    ("names", "decision", "reason"),
    [
        ("Ignores Rejects Sends", "accepted", "sent"),
        ("Ignores Rejects", "rejected", "no_fbclid"),
        ("Ignores Unmapped", "ignored", "only"),
        ("Unmapped Ignores", "ignored", "status_unmapped"),
        ("Rejects", "rejected", "no_fbclid"),
    ],
)
def test_accepted_beats_rejected_beats_ignored_and_the_first_of_them_gives_the_reason(
    names: str, decision: str, reason: str
) -> None:
    known = {each.name: each for each in (REJECTS, IGNORES, UNMAPPED, SENDS)}
    config = configuration(*(known[name] for name in names.split()))
    found = decided(config=config, click=replace(NO_FBCLID, parameters={"sub1": (FBCLID,)}))
    assert (found.decision, found.reason) == (decision, reason)
    assert [each.integration for each in found.events] == (["Sends"] if decision == "accepted" else [])
    for name in names.split():
        assert any(line.startswith(f"{name}: ") for line in found.trace)


def test_waiting_stands_between_accepted_and_rejected() -> None:
    assert PRECEDENCE == ("accepted", "waiting", "rejected", "ignored")


def test_two_pixels_get_an_event_each_in_file_order() -> None:
    config = configuration(integration("B", pixel_id="2"), integration("A", pixel_id="1"))
    events = decided(config=config).events
    assert [(each.integration, each.event.pixel_id) for each in events] == [("B", "2"), ("A", "1")]


@pytest.mark.parametrize(
    ("states", "chosen", "held"),
    [
        ([{}, {}], "I0", ""),
        ([{"paused": True}, {}], "I1", ""),
        ([{"error": "no token"}, {}, {}], "I1", ""),
        ([{"paused": True}, {"error": "no token"}], "I0", "paused"),
        ([{"error": "no token"}, {"paused": True}], "I0", "in_error"),
        ([{"error": "no token"}, {"paused": True}, {}], "I2", ""),
    ],
)
def test_one_event_goes_to_a_pixel_and_it_is_that_of_the_first_that_can_send(
    states: list[dict[str, Any]], chosen: str, held: str
) -> None:
    found = decided(config=configuration(*(integration(f"I{n}", **state) for n, state in enumerate(states))))
    assert [(each.integration, each.held) for each in found.events] == [(chosen, held)]
    assert (found.decision, found.reason) == ("accepted", "sent")
    others = [f"I{n}" for n in range(len(states)) if f"I{n}" != chosen]
    for name in others:
        assert f"{name}: {chosen} sends this event to the same pixel" in found.trace


def test_another_event_name_or_id_at_the_same_pixel_is_another_event() -> None:
    lead = replace(rule("Lead"), name="Lead")
    other_id = integration("Other", event_id="{subid}")
    found = decided(config=configuration(integration(), lead, other_id))
    assert [each.integration for each in found.events] == ["Summer", "Lead", "Other"]


def test_an_integration_that_is_held_alone_still_accepts() -> None:
    (planned,) = decided(config=configuration(integration(paused=True, route="r"))).events
    assert (planned.held, planned.route) == ("paused", "r")


# Conditions.


@pytest.mark.parametrize(
    ("only", "parameters", "holds"),
    [
        ({"country": ("US", "CA")}, {}, True),
        ({"country": ("us",)}, {}, True),
        ({"country": ("CA",)}, {}, False),
        ({"country": ("CA",)}, {"country": "ca"}, True),
        ({"country": ("US",)}, {"country": "ca"}, False),
        ({"country": ("US",)}, {"country": "{country}"}, True),
        ({"country": ("US",)}, {"country": "United States"}, True),
        ({"ad": ("77",)}, {}, True),
        ({"ad": ("77",)}, {"ad": "78"}, False),
        ({"ad": ("77",), "country": ("CA",)}, {}, False),
        ({"ad": ("77",), "country": ("US",)}, {}, True),
        ({"campaign": ("abcd12",)}, {}, True),
        ({"none": ("",)}, {}, True),
        ({"none": ("x",)}, {}, False),
        ({"em": ("A@B.example",)}, {"em": "a@b.example"}, True),
        ({"st": ("Georgia",)}, {"st": "georgia", "country": "Georgia"}, True),
    ],
)
def test_all_conditions_must_hold_for_the_postbacks_value_else_the_clicks(
    only: dict[str, tuple[str, ...]], parameters: dict[str, str], holds: bool
) -> None:
    found = decided(sale(**parameters), configuration(integration(only=only)))
    assert found.reason == ("sent" if holds else "only")


@pytest.mark.parametrize("payout", ["0", "0.00", "0.004", "", "bad", "{payout}"])
def test_skip_zero_ignores_an_absent_an_unusable_and_a_zero_result(payout: str) -> None:
    assert decided(sale(status="deposit", payout=payout)).reason == "skip_zero"


def test_a_result_of_a_cent_is_not_skipped() -> None:
    assert decided(sale(status="deposit", payout="0.01")).reason == "sent"


def test_a_delay_moves_the_sending_and_not_the_events_time() -> None:
    (planned,) = decided(sale(status="dep"), now=NOW + 5).events
    assert (planned.due_at, planned.event.time) == (NOW + 1800, int(NOW))


@pytest.mark.parametrize(
    ("parameters", "click_pixel", "pixel"),
    [
        ({}, "111", "111"),
        ({"pixel": "222"}, "111", "222"),
        ({}, "333", None),
        ({}, "", None),
        ({}, "{pixel}", None),
        ({"pixel": "{pixel}"}, "111", "111"),
    ],
)
def test_a_pixel_of_the_click_counts_only_if_it_is_allowed(
    parameters: dict[str, str], click_pixel: str, pixel: str | None
) -> None:
    config = configuration(integration(pixel_id="{pixel}", pixels=("111", "222")))
    found = decided(sale(**parameters), config, replace(CLICK, parameters={"pixel": (click_pixel,)}))
    assert [each.event.pixel_id for each in found.events] == ([pixel] if pixel else [])
    assert found.reason == ("sent" if pixel else "invalid_event")


@pytest.mark.parametrize(
    "only_these",
    [
        {"country": "US", "city": "Paris", "user_agent": "x"},
        {"user_agent": "x"},
        {},
    ],
)
def test_an_event_that_identifies_nobody_is_invalid(only_these: dict[str, str]) -> None:
    old = bare(clicked_at=NOW - 91 * DAY, fbclid=FBCLID, **only_these)
    assert decided(sale(), click=old).reason == "invalid_event"


def test_an_old_click_is_sent_without_fbc() -> None:
    found = decided(click=replace(CLICK, clicked_at=NOW - 91 * DAY))
    assert "fbc" not in found.events[0].event.as_json()["user_data"]
    assert "remark: Summer: fbc is older than 90 days and left out" in found.trace


@pytest.mark.parametrize(("age", "reason"), [(7 * DAY - 3601, "sent"), (7 * DAY - 3599, "too_old")])
def test_an_event_is_too_old_an_hour_before_meta_says_so(age: float, reason: str) -> None:
    assert decided(now=int(NOW) + age).reason == reason


def test_an_event_name_of_more_than_fifty_characters_is_invalid() -> None:
    assert decided(config=configuration(rule("x" * 51))).reason == "invalid_event"


# The click that a postback carries.


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({"campaign": "AbCd12", "fbclid": FBCLID}, "sent"),
        ({"campaign": "AbCd12", "fbc": f"fb.1.1795010340500.{FBCLID}"}, "sent"),
        ({"campaign": "AbCd12"}, "no_click"),
        ({"fbclid": FBCLID}, "no_click"),
        ({"campaign": "{campaign}", "fbclid": FBCLID}, "no_click"),
        ({"campaign": "Other", "fbclid": FBCLID}, "campaign_without_integration"),
    ],
)
def test_a_postback_makes_a_click_of_its_own_only_with_an_fbclid_and_a_campaign(
    parameters: dict[str, str], reason: str
) -> None:
    assert decided(sale(**parameters), click=None).reason == reason


def test_a_carried_click_only_fills_the_gaps_of_a_known_one() -> None:
    given = sale(campaign="Other", fbclid="IwAR9", clicked_at="5", ip="9.9.9.9", ua="other", fbp="fb.1.1795010000000.9")
    found = decided(given, click=replace(CLICK, ip="", fbp=""))
    user_data = found.events[0].event.as_json()["user_data"]
    assert user_data["fbc"] == f"fb.1.1795010340500.{FBCLID}"
    assert (user_data["client_ip_address"], user_data["fbp"]) == ("9.9.9.9", "fb.1.1795010000000.9")
    assert user_data["client_user_agent"] == CLICK.user_agent


@pytest.mark.parametrize("click", [NO_FBCLID, LITERAL, replace(NO_FBCLID, parameters={"fbclid": ("{fbclid}",)})])
def test_a_carried_fbclid_fills_the_gap_of_a_click_that_has_none(click: Click) -> None:
    found = decided(sale(fbclid=FBCLID), click=click)
    assert found.events[0].event.as_json()["user_data"]["fbc"] == f"fb.1.1795010340500.{FBCLID}"


def test_a_postback_cannot_move_a_click_to_another_campaign() -> None:
    found = decided(sale(campaign="AbCd12", fbclid=FBCLID), click=replace(CLICK, campaign=()))
    assert found.reason == "campaign_without_integration"


# Junk.


def _junk(chance: random.Random) -> tuple[Postback, Click | None, Configuration]:
    alphabet = '&=%+?#/{}[]."\\:, ab01\x00\n\u00e9\u0663\ud800\udcff\U0001f600'

    def text() -> str:
        return "".join(chance.choices(alphabet, k=chance.randrange(20)))

    names = ["status", "payout", "tid", "em", "ph", "db", "zp", "st", "country", "currency", "fbclid", "fbc", "ip",
             "ua", "clicked_at", "campaign", "pixel", "sale_status", "ignore", text()]  # fmt: skip
    query = "&".join(f"{chance.choice(names)}={text()}" for _ in range(12))
    fields = ["fbclid", "fbp", "fbc", "ip", "user_agent", "referrer", "country", "region", "city", "url"]
    written: dict[str, Any] = {name: chance.choice([text(), "https://" + text()]) for name in chance.sample(fields, 5)}
    written |= {"campaign": ["AbCd12", text()], "clicked_at": chance.choice([None, 0.0, NOW, 1e11])}
    written |= {"parameters": {chance.choice(names): [text(), text()] for _ in range(3)}}
    click = click_from_json(written, text())
    config = configuration(
        integration(
            pixel_id=chance.choice([PIXEL, "{pixel}"]),
            event_source_url=chance.choice(["hashed", "plain", "https://{host}/{campaign}/{ip}"]),
            only=chance.choice([{}, {"country": ("US",), "st": ("x",)}]),
            customer=chance.choice([{}, {"external_id": ("uid", "ip"), "em": ("em", "ph"), "lead_id": ("tid",)}]),
        ),
        integration("Second", pixel_id="2", fbclid_from=("fbclid", "sub1", "em")),
    )
    given = postback(f"/{KEY}/postback?subid={SUBID}&{query}", chance.choice([NOW, 0.0, 1e11]))
    return given, chance.choice([click, None]), config


def test_no_junk_raises() -> None:
    chance = random.Random(3)
    accepted = 0
    for _ in range(3000):
        found = decide(*_junk(chance), NOW)
        "".join(found.trace).encode()
        for planned in found.events:
            planned.event.as_json()
            accepted += 1
    assert accepted > 100


@pytest.mark.parametrize(
    "query",
    [
        "&".join(f"{name}={'x.@' * 3000}" for name in ("em", "ph", "fn", "db", "zp", "country", "tid")),
        "&".join(f"{n}_status=sale" for n in range(5000)),
        "sale_status=" + "a," * 32000,
        "payout=" + "9" * 65000,
        "payout=1." + "9" * 65000,
        "em=" + "a@" + "." * 60000,
        "status=" + "{" * 60000,
        "fbc=fb.1.1795010340500." + "x" * 60000,
        "%zz=&" * 13000,
    ],
)
def test_sixty_four_kilobytes_of_junk_are_decided_at_once(query: str) -> None:
    given = postback(f"/{KEY}/postback?subid={SUBID}&{query}")
    started = time.process_time()
    decided(given)
    assert time.process_time() - started < 5  # far more than it needs; what is quadratic takes longer still
