"""What an answer of the Graph API means for the sender: by its numbers, never by its words."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sidecar.core import meta
from sidecar.core.parameters import clean
from sidecar.core.secret import NO_SECRET, Secret
from sidecar.core.times import parse_retry_after

#: Seconds for which a pixel is held when a throttle does not say how long.
THROTTLE = 60.0

#: Seconds for which a pixel is held after a policy block.
POLICY_HOLD = 3600.0

_EVENT_PATH = re.compile(r"\$\['data'\]\[(\d{1,6})\]")
_WORDS_SHOWN = 300
_NO_CODE = 1 << 53


@dataclass(frozen=True)
class Answer:
    """An HTTP answer: status, headers by lower-case name, and the JSON object of its body (None: it has none)."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Fault:
    """No answer came: `whose` is `meta` or `proxy`, `words` say what to look at."""

    whose: str
    words: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do with the request's events, and whose fault it is.

    `kind` is one of `accepted`, `mismatch` (send again in halves), `transient` (try later), `throttled` and `blocked`
    (hold the pixel for `seconds`), `token`, `permission` and `proxy` (park), `refused` (split until the bad event
    stands alone, then dead), `unknown` (a few tries, then put aside). `bad_event` is the index that Meta named.
    """

    kind: str
    whose: str
    words: str = ""
    seconds: float = 0.0
    bad_event: int | None = None
    http_status: int | None = None
    code: int | None = None
    subcode: int | None = None
    fbtrace_id: str = ""


def judge(answer: Answer | Fault, sent: int, now: float, token: Secret = NO_SECRET) -> Verdict:
    """The verdict on a request of `sent` events. Source: Meta, "Handling Errors"; see `meta` for the codes.

    Meta repeats a malformed token in its error: the words never hold it.
    """
    if isinstance(answer, Fault):
        return Verdict("proxy" if answer.whose == "proxy" else "transient", answer.whose, answer.words)
    if answer.status == 407:
        return Verdict("proxy", "proxy", "proxy login: user or password is wrong", http_status=407)
    error = answer.body.get("error") if answer.body is not None else None
    if isinstance(error, Mapping):
        return _judge_error(answer, error, sent, now, token)
    if answer.status == 429:
        return Verdict("throttled", "meta", "HTTP 429", _regain(answer, now), http_status=429)
    if answer.body is None or not 200 <= answer.status < 300:
        return Verdict("transient", "meta", f"HTTP {answer.status} without Meta's JSON", http_status=answer.status)
    received = answer.body.get("events_received")
    trace = _text(answer.body.get("fbtrace_id"))
    if received == sent and not isinstance(received, bool):
        return Verdict("accepted", "", http_status=answer.status, fbtrace_id=trace)
    words = f"events_received is {str(received)[:20]}, sent were {sent}"
    return Verdict("mismatch", "meta", words, http_status=answer.status, fbtrace_id=trace)


def _judge_error(answer: Answer, error: Mapping[str, Any], sent: int, now: float, token: Secret) -> Verdict:
    code, subcode = _number(error.get("code")), _number(error.get("error_subcode"))
    kind, whose = _kind(answer.status, code, subcode, error.get("is_transient") is True)
    seconds = {"throttled": _regain(answer, now), "blocked": max(POLICY_HOLD, _regain(answer, now))}.get(kind, 0.0)
    told = [str(error[name]) for name in ("message", "error_user_title", "error_user_msg") if error.get(name)]
    words = clean(" / ".join(dict.fromkeys(told)))
    path = _EVENT_PATH.search(" ".join(told)) if kind == "refused" else None
    index = int(path[1]) if path else sent
    return Verdict(
        kind,
        whose,
        (words.replace(token.reveal(), "***") if token else words)[:_WORDS_SHOWN],
        seconds,
        index if index < sent else None,
        answer.status,
        code,
        subcode,
        _text(error.get("fbtrace_id")),
    )


def _kind(status: int, code: int | None, subcode: int | None, is_transient: bool) -> tuple[str, str]:
    """The rows of Meta's table from the most to the least particular."""
    if code in meta.POLICY_CODES or subcode in meta.POLICY_CODES:
        return "blocked", "meta"
    if code in meta.THROTTLE_CODES or status == 429:
        return "throttled", "meta"
    if code in meta.TOKEN_CODES:
        return "token", "token"
    if code in meta.PERMISSION_CODES or (code, subcode) == (meta.INVALID_PARAMETER, meta.INVISIBLE_OBJECT):
        return "permission", "permission"
    if is_transient or code in meta.TRANSIENT_CODES or (code is not None and code < 0):
        return "transient", "meta"
    if code == meta.INVALID_PARAMETER:
        return "refused", "event"
    return ("transient", "meta") if status >= 500 else ("unknown", "meta")


def _regain(answer: Answer, now: float) -> float:
    """Seconds until Meta takes requests again: Retry-After, else the business usage header, else a minute. No time, or
    one that has passed, says nothing: to ask again at once would be the very thing that Meta complains of."""
    told = parse_retry_after(answer.headers.get("retry-after", ""), now)
    if told is None or told <= 0:
        told = _estimated(answer.headers.get("x-business-use-case-usage", "")) or THROTTLE
    return min(told, meta.OLDEST_EVENT)


def _estimated(usage: str) -> float:
    """Seconds of the largest `estimated_time_to_regain_access`, which is in minutes."""
    try:
        entries = [entry for listed in json.loads(usage).values() for entry in listed]
        minutes = max(float(entry.get("estimated_time_to_regain_access", 0)) for entry in entries)
    except (ValueError, AttributeError, TypeError, OverflowError, RecursionError):
        return 0.0
    return 60.0 * minutes if minutes > 0 else 0.0


def _number(value: Any) -> int | None:
    """A code; none of Meta's is too large for a database."""
    return value if isinstance(value, int) and not isinstance(value, bool) and abs(value) < _NO_CODE else None


def _text(value: Any) -> str:
    return clean(str(value or ""))[:64]
