import json
import random
import time
from email.utils import formatdate
from typing import Any

import pytest

from sidecar.core.judge import Answer, Fault, Verdict, judge
from sidecar.core.secret import Secret
from tests.core.examples import NOW

DAY = 86400


def verdict(
    code: Any = None, subcode: Any = None, status: int = 400, headers: dict[str, str] | None = None, **error: Any
) -> Verdict:
    body = {"error": {"code": code, "error_subcode": subcode, "fbtrace_id": "T", **error}}
    return judge(Answer(status, headers or {}, body), 3, NOW)


def test_an_answer_that_counts_all_events_is_accepted() -> None:
    answer = Answer(200, {}, {"events_received": 3, "messages": [], "fbtrace_id": "T"})
    assert judge(answer, 3, NOW) == Verdict("accepted", "", http_status=200, fbtrace_id="T")


@pytest.mark.parametrize("received", [0, 2, 4, None, "3", True, [], {}])
def test_any_other_count_is_a_mismatch(received: Any) -> None:
    found = judge(Answer(200, {}, {"events_received": received}), 3, NOW)
    assert (found.kind, found.whose) == ("mismatch", "meta")


def test_true_is_no_count_of_one() -> None:
    assert judge(Answer(200, {}, {"events_received": True}), 1, NOW).kind == "mismatch"


@pytest.mark.parametrize(
    ("answer", "kind", "whose"),
    [
        (Fault("meta", "timeout"), "transient", "meta"),
        (Fault("proxy", "refused"), "proxy", "proxy"),
        (Answer(407), "proxy", "proxy"),
        (Answer(407, {}, {"error": {"code": 190}}), "proxy", "proxy"),
        (Answer(429), "throttled", "meta"),
        (Answer(500), "transient", "meta"),
        (Answer(502, {}, {"events_received": 3}), "transient", "meta"),
        (Answer(200), "transient", "meta"),
        (Answer(302), "transient", "meta"),
        (Answer(400), "transient", "meta"),
        (Answer(400, {}, {"error": "text"}), "transient", "meta"),
    ],
)
def test_an_answer_without_metas_words_is_judged_by_its_status(answer: Answer | Fault, kind: str, whose: str) -> None:
    found = judge(answer, 3, NOW)
    assert (found.kind, found.whose) == (kind, whose)


@pytest.mark.parametrize(
    ("code", "subcode", "status", "kind"),
    [
        *((code, None, 400, "transient") for code in (1, 2, 341, 5000, 21009, -1, -3)),
        *((code, None, 400, "throttled") for code in (4, 17, 32, 613, 80000, 80004, 80014)),
        *((code, None, 400, "blocked") for code in (368, 1404078, 2859015)),
        (100, 1404078, 400, "blocked"),
        *((code, None, 401, "token") for code in (190, 102, 104)),
        (190, 463, 400, "token"),
        *((code, None, 403, "permission") for code in (3, 10, 200, 299, 294, 803)),
        (100, 33, 400, "permission"),
        *((100, 2804000 + n, 400, "refused") for n in (1, 3, 7, 8, 9, 10, 16, 17, 19, 36, 43, 48, 50, 63, 66, 72, 132)),
        (100, None, 400, "refused"),
        (100, 99, 500, "refused"),
        (190, None, 500, "token"),
        (80015, None, 400, "unknown"),
        (79999, None, 400, "unknown"),
        (300, None, 400, "unknown"),
        (None, None, 404, "unknown"),
        ("190", None, 400, "unknown"),
        (True, None, 400, "unknown"),
        (12, None, 503, "transient"),
        (12, None, 429, "throttled"),
    ],
)
def test_an_error_is_judged_by_its_numbers(code: Any, subcode: Any, status: int, kind: str) -> None:
    assert verdict(code, subcode, status).kind == kind


@pytest.mark.parametrize(("code", "kind"), [(100, "transient"), (12, "transient"), (190, "token"), (4, "throttled")])
def test_a_fault_that_meta_calls_transient_is_one_unless_its_code_says_more(code: int, kind: str) -> None:
    assert verdict(code, is_transient=True).kind == kind


@pytest.mark.parametrize("transient", [1, "true", None])
def test_only_true_is_transient(transient: Any) -> None:
    assert verdict(100, is_transient=transient).kind == "refused"


def test_a_verdict_carries_metas_numbers_and_words_once_each() -> None:
    found = verdict(100, 2804003, message="Invalid", error_user_title="Too old", error_user_msg="Too old")
    assert found == Verdict("refused", "event", "Invalid / Too old", 0.0, None, 400, 100, 2804003, "T")


def test_long_words_are_cut() -> None:
    assert len(verdict(100, message="x" * 100_000, fbtrace_id="y" * 1000).words) == 300


@pytest.mark.parametrize(
    ("message", "bad_event"),
    [
        ("$['data'][2]['user_data'] is missing", 2),
        ("$['data'][0]", 0),
        ("$['data'][3]", None),
        ("$['data'][-1]", None),
        ("$['data'][" + "1" * 5000 + "]", None),
        ("(#100) Invalid parameter", None),
    ],
)
def test_the_event_that_meta_names_is_told_apart_when_it_was_sent(message: str, bad_event: int | None) -> None:
    assert verdict(100, message=message).bad_event == bad_event
    assert verdict(100, message="Invalid", error_user_msg=message).bad_event == bad_event


def test_an_event_is_named_only_by_a_refusal() -> None:
    assert verdict(190, message="$['data'][0]").bad_event is None


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, 60),
        ({"retry-after": "120"}, 120),
        ({"retry-after": " 120 "}, 120),
        ({"retry-after": "9" * 400}, 7 * DAY),
        ({"retry-after": formatdate(NOW + 90, usegmt=True)}, 89.25),
        ({"retry-after": "Fri, 31 Dec 9999 23:59:59 GMT"}, 7 * DAY),
        ({"retry-after": formatdate(NOW - 90, usegmt=True)}, 60),
        ({"retry-after": "0"}, 60),
        ({"retry-after": "soon"}, 60),
        ({"x-business-use-case-usage": json.dumps({"1": [{"estimated_time_to_regain_access": 5}]})}, 300),
        ({"x-business-use-case-usage": json.dumps({"1": [{"type": "x"}], "2": [{}]})}, 60),
        ({"x-business-use-case-usage": '{"1": [{"estimated_time_to_regain_access": 1e999}]}'}, 7 * DAY),
        ({"x-business-use-case-usage": '{"1": [{"estimated_time_to_regain_access": NaN}]}'}, 60),
        ({"x-business-use-case-usage": '{"1": [{"estimated_time_to_regain_access": -5}]}'}, 60),
        ({"x-business-use-case-usage": '{"1": [{"estimated_time_to_regain_access": %s}]}' % ("9" * 400)}, 60),
        ({"x-business-use-case-usage": "[" * 100_000}, 60),
        ({"x-business-use-case-usage": "[]"}, 60),
        ({"x-business-use-case-usage": '{"1": [5]}'}, 60),
        ({"x-business-use-case-usage": "no json"}, 60),
        ({"retry-after": "5", "x-business-use-case-usage": '{"1": [{"estimated_time_to_regain_access": 5}]}'}, 5),
    ],
)
def test_a_throttle_holds_for_as_long_as_meta_says_else_a_minute(headers: dict[str, str], seconds: float) -> None:
    assert verdict(4, headers=headers).seconds == seconds
    assert judge(Answer(429, headers), 3, NOW).seconds == seconds


@pytest.mark.parametrize(("headers", "seconds"), [({}, 3600), ({"retry-after": "7200"}, 7200)])
def test_a_policy_block_holds_for_an_hour_or_more(headers: dict[str, str], seconds: float) -> None:
    assert verdict(368, headers=headers).seconds == seconds


def test_no_answer_raises() -> None:
    chance = random.Random(5)
    values: list[Any] = [None, True, 0, -1, 4, 100, 190, 1e999, "x", "$['data'][7]", [], [1], {}, {"a": 1}, 10**30]
    names = ("error", "events_received", "fbtrace_id", "code", "error_subcode", "is_transient", "message")
    headers = ("", "1", "Mon", "Mon, 99 Foo 0000 99:99:99", "\u0663", "\u00b2", "{}", "[]", '{"a":[{}]}', '{"a":1}')
    for _ in range(5000):
        inner = {name: chance.choice(values) for name in chance.sample(names, 4)}
        body = {name: chance.choice([*values, inner]) for name in chance.sample(names, 3)}
        sent_headers = {
            name: chance.choice(headers) + chance.choice(["", "".join(chance.choices("0123456789 :,-+GMTJan", k=20))])
            for name in ("retry-after", "x-business-use-case-usage")
        }
        found = judge(Answer(chance.choice([0, 200, 400, 429, 500]), sent_headers, body), 3, NOW)
        assert 0 <= found.seconds <= 7 * DAY


def test_sixty_four_kilobytes_of_words_are_judged_at_once() -> None:
    started = time.process_time()
    verdict(100, message="$['data'][" * 6554)
    verdict(4, headers={"retry-after": "Mon, " * 13107})
    assert time.process_time() - started < 5  # far more than it needs; what is quadratic takes longer still


def test_the_words_never_hold_the_token_even_where_they_are_cut() -> None:
    token = Secret("EAA" + "x" * 200)
    message = "m" * 250 + token.reveal()
    verdict = judge(Answer(400, {}, {"error": {"code": 190, "message": message}}), 1, 0.0, token)
    assert "xxx" not in verdict.words
    assert verdict.words.endswith("***")


def test_what_no_database_takes_is_left_out() -> None:
    error = {"code": 10**30, "message": "a\ud800b", "fbtrace_id": "\udfff"}
    verdict = judge(Answer(400, {}, {"error": error}), 1, 0.0)
    assert (verdict.code, verdict.words, verdict.fbtrace_id) == (None, "a\ufffdb", "\ufffd")
