import hashlib
import json
from collections.abc import Callable
from typing import Any

import pytest

from sidecar.core.judge import Answer, judge
from sidecar.sandbox.reply import GraphError
from sidecar.sandbox.rules import check, check_path, decode, warnings

NOW = 1_795_000_000.0
DIGEST = hashlib.sha256(b"somebody").hexdigest()
NOTHING = hashlib.sha256(b"").hexdigest()
PLACE = "$['data'][0]"

Event = dict[str, Any]


def event(**changes: Any) -> Event:
    """A valid Purchase; a change to None takes the field away."""
    whole = {
        "event_name": "Purchase",
        "event_time": int(NOW) - 60,
        "event_id": "sub1_sale_1",
        "event_source_url": "https://shop.example/offer?a=1",
        "action_source": "website",
        "user_data": {
            "em": [DIGEST],
            "external_id": DIGEST,
            "client_ip_address": "93.184.216.34",
            "client_user_agent": "Mozilla/5.0",
            "fbc": "fb.1.1794999000123.IwAR0_abc-DEF.x",
            "fbp": "fb.1.1794999000123.1098115397",
        },
        "custom_data": {"value": 12.5, "currency": "USD", "anything": {"of": ["its", "own"]}},
        **changes,
    }
    return {name: value for name, value in whole.items() if value is not None}


def user(**changes: Any) -> Event:
    data = {**event()["user_data"], **changes}
    return event(user_data={name: value for name, value in data.items() if value is not None})


def bought(**changes: Any) -> Event:
    data = {**event()["custom_data"], **changes}
    return event(custom_data={name: value for name, value in data.items() if value is not None})


def request(*events: Any, **changes: Any) -> Event:
    return {"data": list(events) or [event()], "access_token": "EAAtoken", **changes}


def place_in(error: GraphError) -> str:
    return error.message if "$" in error.message else ""


@pytest.mark.parametrize(
    "valid",
    [
        event(),
        event(event_name="L" * 50, custom_data=None),
        event(event_time=int(NOW) - 7 * 86400),
        event(event_time=int(NOW) + 30),
        event(event_source_url=DIGEST),
        event(event_source_url=None),
        event(event_id=None),
        event(opt_out=True, referrer_url="http://ads.example"),
        event(data_processing_options=[]),
        event(data_processing_options=["LDU"], data_processing_options_country=0, data_processing_options_state=0),
        event(data_processing_options=["LDU"], data_processing_options_country=1, data_processing_options_state=1013),
        user(em=f"{DIGEST}.Ab", ph=[DIGEST, f"{DIGEST}.AbCd_-12"]),
        user(client_ip_address="2606:2800:220:1:248:1893:25c8:1946"),
        user(fbc="fb.1.1794999000.short time"),
        user(fbp="fb.1.1794999000123.1098115397.Bg"),
        user(lead_id=123456789012345),
        event(user_data={"fbc": "fb.1.1794999000123.IwAR0"}),
        event(user_data={"fn": [DIGEST], "ln": [DIGEST]}),
        bought(value=0),
        bought(contents=[{"id": "a", "quantity": 1, "item_price": 2.5, "delivery_category": "in_store"}]),
        event(event_name="Lead", custom_data={}),
    ],
)
def test_a_valid_event_is_taken(valid: Event) -> None:
    assert check(request(valid), NOW) is None


FORM = [
    ("an event", PLACE),
    (event(event_name=None), f"{PLACE}['event_name']"),
    (event(event_name=""), f"{PLACE}['event_name']"),
    (event(event_name=7), f"{PLACE}['event_name']"),
    (event(event_name="L" * 51), f"{PLACE}['event_name']"),
    (event(event_time=None), f"{PLACE}['event_time']"),
    (event(event_time=NOW - 0.5), f"{PLACE}['event_time']"),
    (event(event_time="1795000000"), f"{PLACE}['event_time']"),
    (event(event_time=True), f"{PLACE}['event_time']"),
    (event(action_source=None), f"{PLACE}['action_source']"),
    (event(action_source="web"), f"{PLACE}['action_source']"),
    (event(action_source=["website"]), f"{PLACE}['action_source']"),
    (event(event_id=""), f"{PLACE}['event_id']"),
    (event(event_id=5), f"{PLACE}['event_id']"),
    (event(event_source_url="shop.example"), f"{PLACE}['event_source_url']"),
    (event(event_source_url=""), f"{PLACE}['event_source_url']"),
    (event(event_source_url=DIGEST[1:]), f"{PLACE}['event_source_url']"),
    (event(opt_out="true"), f"{PLACE}['opt_out']"),
    (event(value=5), f'"value" on param "{PLACE}"'),
    (event(data_processing_options=["CCPA"]), f"{PLACE}['data_processing_options']"),
    (event(data_processing_options=["LDU"]), f"{PLACE}['data_processing_options_state']"),
    (
        event(data_processing_options=["LDU"], data_processing_options_country=1, data_processing_options_state=5),
        f"{PLACE}['data_processing_options_state']",
    ),
    (event(user_data=None), f"{PLACE}['user_data']"),
    (event(user_data={}), f"{PLACE}['user_data']"),
    (event(user_data=[]), f"{PLACE}['user_data']"),
    (user(value=5), f'"value" on param "{PLACE}[\'user_data\']"'),
    (user(em=[]), f"{PLACE}['user_data']['em']"),
    (user(em=["john@example.com"]), f"{PLACE}['user_data']['em']"),
    (user(em=[DIGEST.upper()]), f"{PLACE}['user_data']['em']"),
    (user(em=[f"{DIGEST}.Abc"]), f"{PLACE}['user_data']['em']"),
    (user(em={"hash": DIGEST}), f"{PLACE}['user_data']['em']"),
    (user(ph=[DIGEST, NOTHING]), f"{PLACE}['user_data']['ph']"),
    (user(ph=f"{NOTHING}.Ab"), f"{PLACE}['user_data']['ph']"),
    (user(external_id="customer 7"), f"{PLACE}['user_data']['external_id']"),
    (user(client_user_agent=["Mozilla"]), f"{PLACE}['user_data']['client_user_agent']"),
    (user(client_user_agent=""), f"{PLACE}['user_data']['client_user_agent']"),
    (user(client_ip_address="10.1.2.3"), f"{PLACE}['user_data']['client_ip_address']"),
    (user(client_ip_address="::ffff:192.168.0.1"), f"{PLACE}['user_data']['client_ip_address']"),
    (user(client_ip_address="224.0.0.1"), f"{PLACE}['user_data']['client_ip_address']"),
    (user(client_ip_address="fe80::1%eth0"), f"{PLACE}['user_data']['client_ip_address']"),
    (user(client_ip_address="-"), f"{PLACE}['user_data']['client_ip_address']"),
    (user(fbc="IwAR0abc"), f"{PLACE}['user_data']['fbc']"),
    (user(fbc="fb.1.1794999000123."), f"{PLACE}['user_data']['fbc']"),
    (user(fbp="fb.1.1794999000123.abc"), f"{PLACE}['user_data']['fbp']"),
    (event(custom_data=[]), f"{PLACE}['custom_data']"),
    (bought(value="12.50"), f"{PLACE}['custom_data']['value']"),
    (bought(value=True), f"{PLACE}['custom_data']['value']"),
    (bought(currency="usd"), f"{PLACE}['custom_data']['currency']"),
    (bought(currency="XYZ"), f"{PLACE}['custom_data']['currency']"),
    (bought(content_ids="a"), f"{PLACE}['custom_data']['content_ids']"),
    (bought(contents={"id": "a"}), f"{PLACE}['custom_data']['contents']"),
    (bought(contents=["a"]), f"{PLACE}['custom_data']['contents'][0]"),
    (bought(contents=[{"id": "a"}, {"name": "b"}]), f"\"name\" on param \"{PLACE}['custom_data']['contents'][1]\""),
]


@pytest.mark.parametrize(("broken", "place"), FORM)
def test_an_error_of_form_is_100_and_names_the_place(broken: Any, place: str) -> None:
    error = check(request(broken), NOW)
    assert error is not None
    assert (error.code, error.subcode, error.status) == (100, None, 400)
    assert place in place_in(error)


@pytest.mark.parametrize(
    ("broken", "subcode"),
    [
        (event(event_time=int(NOW) - 7 * 86400 - 1), 2804003),
        (event(event_time=int(NOW * 1000)), None),
        (event(event_time=int(NOW) + 3600), None),
        (bought(value=None), 2804009),
        (event(custom_data=None), 2804009),
        (bought(currency=None), 2804010),
        (event(user_data={"client_user_agent": "Mozilla"}), 2804050),
        (event(user_data={"ct": [DIGEST], "country": [DIGEST], "ge": [DIGEST]}), 2804050),
        (event(user_data={"db": [DIGEST], "client_user_agent": "Mozilla"}), 2804050),
        (event(user_data={"fn": [DIGEST], "ge": [DIGEST]}), 2804050),
    ],
)
def test_an_error_of_meaning_has_its_subcode_and_names_no_place(broken: Event, subcode: int | None) -> None:
    error = check(request(broken), NOW)
    assert error is not None
    assert (error.code, error.subcode) == (100, subcode)
    assert error.title
    assert "$" not in error.message + error.title + error.text


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        ([], 100),
        ({"data": [event()]}, 190),
        (request(access_token=""), 190),
        (request(access_token=5), 190),
        ({"access_token": "EAAtoken"}, 100),
        (request(data=None), 100),
        (request(data=[]), 100),
        (request(data={"0": event()}), 100),
        (request(*[event()] * 1001), 100),
        (request(events=[]), 100),
        (request(test_event_code=""), 100),
        (request(partner_agent="a" * 23), 100),
        (request(partner_agent="1.0-2"), 100),
    ],
)
def test_a_bad_request_is_refused(payload: Any, code: int) -> None:
    error = check(payload, NOW)
    assert error is not None
    assert error.code == code


def test_a_thousand_events_and_every_known_key_are_taken() -> None:
    whole = request(*[event()] * 1000, partner_agent="capi-sidecar", test_event_code="TEST1", upload_tag="x")
    assert check(whole, NOW) is None


def test_one_invalid_event_refuses_the_whole_request() -> None:
    error = check(request(event(), event(), user(value=1)), NOW)
    assert error is not None
    assert "$['data'][2]['user_data']" in error.message


def test_form_is_judged_before_meaning() -> None:
    error = check(request(event(event_time=1), user(value=1)), NOW)
    assert error is not None
    assert "$['data'][1]['user_data']" in error.message


def test_an_error_repeats_no_value() -> None:
    error = check(request(user(em=["john@example.com"])), NOW)
    assert error is not None
    assert "john" not in json.dumps(error.as_json("A"))


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b'{"a": NaN}', b'{"a": 1e999}', b'{"a": 1, "a": 2}', b'{"a": {"b": 1, "b": 1}}', b"\xff{}",
     b"[" * 100_000],
)  # fmt: skip
def test_a_body_that_is_no_plain_json_is_100(body: bytes) -> None:
    error = decode(body)
    assert isinstance(error, GraphError)
    assert error.code == 100


@pytest.mark.parametrize(
    ("version", "pixel_id", "code"),
    [("v26.0", "1234567890123456", None), ("26.0", "123", 2500), ("v26", "123", 2500), ("v26.0", "me", 803),
     ("v26.0", "١٢٣", 803)],
)  # fmt: skip
def test_a_path_names_a_version_and_a_dataset(version: str, pixel_id: str, code: int | None) -> None:
    error = check_path(version, pixel_id)
    assert (error.code if error else None) == code


def test_what_meta_asks_for_but_does_not_insist_on_is_a_warning() -> None:
    events = [
        event(),
        event(event_source_url=None),
        event(event_source_url=DIGEST),
        event(event_id=None),
        user(client_user_agent=None),
        user(fbc="fb.1.1794999000.IwAR0"),
    ]
    words = warnings(events)
    assert warnings([event()]) == []
    assert len(words) == 5
    assert all(line.startswith("1 of 6 events: ") for line in words)


@pytest.mark.parametrize("judged", [lambda: user(value=1), lambda: event(event_time=1)])
def test_the_sender_reads_a_refusal_as_a_refusal(judged: Callable[[], Event]) -> None:
    error = check(request(judged()), NOW)
    assert error is not None
    verdict = judge(Answer(error.status, {}, error.as_json("Atrace")), 1, NOW)
    assert (verdict.kind, verdict.fbtrace_id) == ("refused", "Atrace")
