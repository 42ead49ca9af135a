import json
import time
from typing import Any

import pytest

from sidecar.core.judge import Answer, judge
from sidecar.sandbox.reply import Reply
from sidecar.sandbox.standin import StandIn

NOW = 1_795_000_000.0
PIXEL = "1234567890123456"
DIGEST = "62a14e44f765419d10fea99367361a727c12365e2520f32218d505ed9aa0f62f"


def event(number: int = 0, **changes: Any) -> dict[str, Any]:
    return {
        "event_name": "Purchase",
        "event_time": int(NOW) - 60,
        "event_id": f"sub{number}_sale_1",
        "event_source_url": "https://shop.example/offer?a=1",
        "action_source": "website",
        "user_data": {
            "em": [DIGEST],
            "country": [DIGEST],
            "client_ip_address": f"93.184.{number % 256}.{number // 256 % 256}",
            "client_user_agent": "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X)",
            "fbc": f"fb.1.1794999000123.IwAR0abcdefghijklmnopqrstuvwxyz{number}",
            "fbp": "fb.1.1794999000123.1098115397",
        },
        "custom_data": {"value": 12.5, "currency": "USD"},
        **changes,
    }


def body(*events: dict[str, Any], token: str = "EAAtoken") -> bytes:
    return json.dumps({"data": list(events) or [event()], "access_token": token}).encode()


def stand_in(**settings: Any) -> StandIn:
    return StandIn(lambda: NOW, **settings)


def send(standin: StandIn, *events: dict[str, Any], pixel_id: str = PIXEL, token: str = "EAAtoken") -> Reply:
    return standin.receive("v26.0", pixel_id, body(*events, token=token))


def verdict(reply: Reply, sent: int = 1) -> str:
    headers = {name.lower(): value for name, value in reply.headers.items()}
    parsed = json.loads(reply.body) if reply.body.startswith(b"{") else None
    return judge(Answer(reply.status, headers, parsed), sent, NOW).kind


def test_what_is_taken_is_told_and_listed() -> None:
    standin = stand_in()
    reply = send(standin, event(1), event(2))
    answer = json.loads(reply.body)
    assert (reply.status, answer["events_received"], answer["messages"]) == (200, 2, [])
    assert answer["fbtrace_id"].startswith("A") and len(answer["fbtrace_id"]) == 23
    listing = standin.listing()
    assert (listing["requests"], listing["refused"]) == (1, 0)
    assert listing["events"][0] == {
        "pixel_id": PIXEL,
        "event_name": "Purchase",
        "event_id": "sub1_sale_1",
        "event_time": int(NOW) - 60,
        "repeats": 0,
        "event": event(1),
    }


def test_a_repeat_is_counted_beside_the_event() -> None:
    standin = stand_in()
    send(standin, event(1), event(2))
    send(standin, event(1))
    send(standin, event(1), pixel_id="99")
    assert [listed["repeats"] for listed in standin.listing()["events"]] == [1, 0, 0]


def test_events_without_an_id_are_never_repeats() -> None:
    standin = stand_in()
    nameless = {name: value for name, value in event().items() if name != "event_id"}
    send(standin, nameless, nameless)
    assert [listed["event_id"] for listed in standin.listing()["events"]] == ["", ""]


def test_a_refused_request_leaves_nothing_behind() -> None:
    standin = stand_in()
    assert verdict(send(standin, event(1), event(2, event_time=5))) == "refused"
    assert standin.listing() == {"events": [], "requests": 1, "refused": 1, "reads": 0}


def test_no_two_answers_have_the_same_trace() -> None:
    standin = stand_in()
    before = send(standin).body
    standin.forget()
    assert send(standin).body != before


def test_the_oldest_event_is_forgotten_first() -> None:
    standin = stand_in(keep=2)
    send(standin, event(1), event(1), event(2), event(3))
    assert [listed["event_id"] for listed in standin.listing()["events"]] == ["sub2_sale_1", "sub3_sale_1"]
    send(standin, event(1))
    assert standin.listing()["events"][-1]["repeats"] == 0


def test_no_token_is_kept() -> None:
    standin = stand_in()
    standin.fail({"mode": "token", "token": "EAAcanary"})
    send(standin, token="EAAcanary")
    standin.fail({"mode": "none"})
    send(standin, token="EAAcanary")
    standin.fail({"mode": "token", "token": "EAAcanary"})
    assert "EAAcanary" not in repr(vars(standin)) + repr(standin._failures._orders) + json.dumps(standin.listing())


def test_a_lone_surrogate_is_no_fault_of_the_stand_in() -> None:
    standin = stand_in()
    text = body(event(custom_data={"value": 1, "currency": "USD", "note": "\ud800"}))
    assert standin.receive("v26.0", PIXEL, text).status == 200
    assert json.dumps(standin.listing())


@pytest.mark.parametrize(
    ("mode", "status", "code", "subcode", "kind"),
    [
        ("token", 400, 190, 463, "token"),
        ("permission", 403, 200, None, "permission"),
        ("invisible", 400, 100, 33, "permission"),
        ("throttle", 400, 80004, None, "throttled"),
        ("policy", 400, 368, None, "blocked"),
        ("transient", 500, 2, None, "transient"),
        ("unknown", 400, 999999, None, "unknown"),
    ],
)
def test_a_failure_has_metas_numbers(mode: str, status: int, code: int, subcode: int | None, kind: str) -> None:
    standin = stand_in()
    standin.fail({"mode": mode})
    reply = send(standin)
    error = json.loads(reply.body)["error"]
    assert (reply.status, error["code"], error.get("error_subcode")) == (status, code, subcode)
    assert verdict(reply) == kind
    assert standin.listing() == {"events": [], "requests": 1, "refused": 1, "reads": 0}


def test_html_is_no_json() -> None:
    standin = stand_in()
    standin.fail({"mode": "html"})
    reply = send(standin)
    assert reply.status == 502 and reply.body.startswith(b"<!DOCTYPE html>")
    assert verdict(reply) == "transient"


def test_a_throttle_says_how_long_in_either_way() -> None:
    standin = stand_in()
    standin.fail({"mode": "throttle"})
    usage = json.loads(send(standin).headers["X-Business-Use-Case-Usage"])
    assert next(iter(usage.values()))[0]["estimated_time_to_regain_access"] == 1
    standin.fail({"mode": "throttle", "seconds": 1.5})
    reply = send(standin)
    assert (reply.status, reply.headers["Retry-After"], reply.seconds) == (429, "2", 0.0)


def test_slow_takes_the_events_and_answers_late() -> None:
    standin = stand_in()
    standin.fail({"mode": "slow", "seconds": 7})
    reply = send(standin)
    assert (reply.status, reply.seconds, reply.reset) == (200, 7, False)
    assert len(standin.listing()["events"]) == 1


@pytest.mark.parametrize(("mode", "kept"), [("reset", 0), ("reset_after", 1)])
def test_a_reset_comes_before_or_after_the_events_are_taken(mode: str, kept: int) -> None:
    standin = stand_in()
    standin.fail({"mode": mode})
    assert send(standin).reset
    assert len(standin.listing()["events"]) == kept


def test_partial_leaves_out_the_last_events() -> None:
    standin = stand_in()
    standin.fail([{"mode": "partial", "count": 1}, {"mode": "partial", "events": 5}])
    reply = send(standin, event(1), event(2))
    assert json.loads(reply.body)["events_received"] == 1
    assert verdict(reply, 2) == "mismatch"
    assert [listed["event_id"] for listed in standin.listing()["events"]] == ["sub1_sale_1"]
    assert json.loads(send(standin, event(3)).body)["events_received"] == 0


def test_after_count_requests_it_is_well_again() -> None:
    standin = stand_in()
    standin.fail({"mode": "transient", "count": 2})
    assert [send(standin).status for _ in range(4)] == [500, 500, 200, 200]


def test_a_share_is_spread_evenly() -> None:
    standin = stand_in()
    standin.fail({"mode": "transient", "share": 0.25})
    statuses = [send(standin).status for _ in range(40)]
    assert statuses == [200, 200, 200, 500] * 10


def test_an_order_concerns_its_pixel_and_its_token_only() -> None:
    standin = stand_in()
    standin.fail([{"mode": "permission", "pixel_id": "99"}, {"mode": "token", "token": "EAAother"}])
    assert send(standin).status == 200
    assert send(standin, pixel_id="99", token="EAAother").status == 403
    assert send(standin, token="EAAother").status == 400


def test_none_makes_it_well_again() -> None:
    standin = stand_in()
    standin.fail({"mode": "transient"})
    standin.fail({"mode": "none"})
    assert send(standin).status == 200


@pytest.mark.parametrize(
    ("order", "words"),
    [
        ("transient", "order[0]: must be an object"),
        ({}, "order[0].mode: is missing"),
        ({"mode": "tokn"}, 'did you mean "token"?'),
        ({"mode": "token", "cuont": 1}, "order[0].cuont: unknown key"),
        ({"mode": "token", "count": 0}, "order[0].count: must be a whole number from 1"),
        ({"mode": "token", "share": 2}, "order[0].share: must be a number from 0 to 1"),
        ({"mode": "token", "pixel_id": 99}, "order[0].pixel_id: must be a string of digits"),
        ([{"mode": "slow"}, {"mode": "slow", "seconds": -1}], "order[1].seconds: must be a number from 0"),
    ],
)
def test_a_bad_order_is_refused_with_words_and_changes_nothing(order: Any, words: str) -> None:
    standin = stand_in()
    standin.fail({"mode": "transient"})
    with pytest.raises(ValueError) as caught:
        standin.fail(order)
    assert words in str(caught.value)
    assert send(standin).status == 500


def test_a_thousand_events_are_judged_quickly() -> None:
    standin = stand_in()
    whole = body(*(event(number) for number in range(1000)))
    standin.receive("v26.0", PIXEL, whole)
    took = []
    for _ in range(5):
        standin.forget()
        before = time.perf_counter()
        standin.receive("v26.0", PIXEL, whole)
        took.append(time.perf_counter() - before)
    assert min(took) < 5  # far more than it needs; what is quadratic takes longer still


def read(standin: StandIn, pixel_id: str = PIXEL, token: str = "EAAtoken") -> tuple[int, Any]:
    reply = standin.read("v26.0", pixel_id, token)
    return reply.status, json.loads(reply.body) if reply.body.startswith(b"{") else None


def test_a_pixel_is_read_and_counted_apart() -> None:
    standin = stand_in()
    assert read(standin) == (200, {"id": PIXEL, "name": f"Pixel {PIXEL}"})
    assert standin.listing() == {"events": [], "requests": 0, "refused": 0, "reads": 1}
    standin.forget()
    assert standin.listing()["reads"] == 0


@pytest.mark.parametrize(("pixel_id", "token", "code"), [(PIXEL, "", 104), ("me", "EAAtoken", 803)])
def test_a_read_without_a_token_or_of_no_pixel_is_an_error(pixel_id: str, token: str, code: int) -> None:
    assert read(stand_in(), pixel_id, token)[1]["error"]["code"] == code


def test_a_token_may_send_and_not_read() -> None:
    """And an order that concerns reading only stands in no other's way."""
    standin = stand_in()
    standin.fail([{"mode": "unreadable", "count": 2}, {"mode": "partial"}, {"mode": "token", "token": "EAAother"}])
    assert json.loads(send(standin).body)["events_received"] == 0
    error = read(standin)[1]["error"]
    assert (error["code"], error["message"]) == (100, "(#100) Missing Permission")
    assert verdict(standin.read("v26.0", PIXEL, "EAAtoken")) == "refused"
    assert (read(standin)[0], read(standin, token="EAAother")[1]["error"]["code"]) == (200, 190)


@pytest.mark.parametrize(
    ("mode", "kind"),
    [("token", "token"), ("permission", "permission"), ("throttle", "throttled"), ("html", "transient")],
)
def test_reading_fails_as_sending_does(mode: str, kind: str) -> None:
    standin = stand_in()
    standin.fail({"mode": mode})
    assert verdict(standin.read("v26.0", PIXEL, "EAAtoken")) == kind


@pytest.mark.parametrize("mode", ["reset", "reset_after"])
def test_a_read_may_be_slow_or_dropped(mode: str) -> None:
    standin = stand_in()
    standin.fail({"mode": "slow", "seconds": 7})
    assert standin.read("v26.0", PIXEL, "EAAtoken").seconds == 7
    standin.fail({"mode": mode})
    assert standin.read("v26.0", PIXEL, "EAAtoken").reset
