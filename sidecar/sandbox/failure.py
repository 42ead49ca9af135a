"""How the stand-in is told to fail, and what it then answers.

An order is `{"mode": ..., "count"?, "share"?, "pixel_id"?, "token"?, "seconds"?, "events"?}`; of several the first
that concerns a request is carried out. Reading a pixel fails as sending does; `unreadable` concerns reading only, and
`partial` sending only.
"""

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from sidecar.sandbox.reply import GraphError, Reply

#: Seconds that `slow` takes when the order names none.
SLOW = 5.0

#: Minutes that `throttle` announces when the order names no seconds.
REGAIN = 1

#: Answered in Meta's words, without a look at the events. Texts are localised, so not all are English.
ERRORS: dict[str, GraphError] = {
    "token": GraphError("Error validating access token: Session has expired", 190, 463),
    "permission": GraphError("(#200) Provide valid app ID", 200, status=403),
    "invisible": GraphError(
        "Unsupported post request. Object does not exist, cannot be loaded due to missing permissions, "
        "or does not support this operation", 100, 33, type="GraphMethodException",
    ),
    "unreadable": GraphError("(#100) Missing Permission"),
    "policy": GraphError("The action attempted has been deemed abusive or is otherwise disallowed", 368),
    "transient": GraphError(
        "Dienst vorübergehend nicht verfügbar", 2, status=500, is_transient=True,
        title="Vorübergehend nicht verfügbar", text="Bitte versuche es später noch einmal.",
    ),
    "unknown": GraphError("Ein unerwarteter Fehler ist aufgetreten", 999999),
}  # fmt: skip

#: Modes that do not concern the other kind of request. A token made in Events Manager may send and not read.
READS_ONLY = frozenset({"unreadable"})
EVENTS_ONLY = frozenset({"partial"})

_TOO_MANY = GraphError("(#80004) There have been too many calls to this ad-account. Wait a bit and try again.", 80004)
_HTML = b"<!DOCTYPE html><html><head><title>Error</title></head><body>Sorry, something went wrong.</body></html>"


@dataclass(frozen=True, slots=True)
class Order:
    """One kind of failure and whom it concerns; of the token only its digest is kept.

    `count` requests fail, all of them when None; of those concerned a `share` fails. `seconds` is the wait before any
    answer, but for `throttle` the Retry-After. `events` is how many of the last events `partial` leaves out.
    """

    mode: str
    count: int | None = None
    share: float = 1.0
    pixel_id: str = ""
    token: bytes = b""
    seconds: float | None = None
    events: int = 1

    def concerns(self, pixel_id: str, token: Any) -> bool:
        return self.pixel_id in ("", pixel_id) and (not self.token or self.token == _digest(token))

    @property
    def wait(self) -> float:
        """Seconds before the answer."""
        if self.mode == "throttle":
            return 0.0
        return (SLOW if self.mode == "slow" else 0.0) if self.seconds is None else self.seconds


class Failures:
    """The orders in force, with how often each was met and carried out."""

    def __init__(self, orders: Sequence[Order] = ()) -> None:
        self._orders = orders
        self._met = [0] * len(orders)
        self._done = [0] * len(orders)

    def draw(self, pixel_id: str, token: Any, besides: frozenset[str] = frozenset()) -> Order | None:
        """The order to carry out on the next request, if any; none of the modes `besides`."""
        for index, order in enumerate(self._orders):
            if order.mode not in besides and order.concerns(pixel_id, token) and self._is_due(index, order):
                return order
        return None

    def _is_due(self, index: int, order: Order) -> bool:
        """Spreads a share evenly, without chance: of 0.25 it is every fourth request."""
        if order.count is not None and self._done[index] >= order.count:
            return False
        before = math.floor(self._met[index] * order.share)
        self._met[index] += 1
        due = math.floor(self._met[index] * order.share) > before
        self._done[index] += due
        return due


def read_orders(given: Any) -> tuple[Order, ...]:
    """The orders of an object or of a list of them; ValueError tells all that is wrong, each with its place."""
    listed = given if isinstance(given, list | tuple) else [given]
    mistakes = [f"order[{index}]{words}" for index, order in enumerate(listed) for words in _mistakes(order)]
    if mistakes:
        raise ValueError("; ".join(mistakes))
    return tuple(_order(order) for order in listed if order["mode"] != "none")


def answer_instead(order: Order, trace: str) -> Reply | None:
    """The answer of a mode that does not look at the events; None for one that does."""
    if order.mode in ERRORS:
        return ERRORS[order.mode].reply(trace)
    other = _OTHER.get(order.mode)
    return other(order, trace) if other else None


def _throttle(order: Order, trace: str) -> Reply:
    """Source: Meta, "Rate Limits": the estimate is in minutes."""
    if order.seconds is not None:
        error = GraphError(_TOO_MANY.message, _TOO_MANY.code, status=429)
        return error.reply(trace, {"Retry-After": str(math.ceil(order.seconds))})
    usage = {
        "type": "ads_management",
        "call_count": 100,
        "total_cputime": 25,
        "total_time": 25,
        "estimated_time_to_regain_access": REGAIN,
    }
    return _TOO_MANY.reply(trace, {"X-Business-Use-Case-Usage": json.dumps({"1234567890": [usage]})})


_OTHER: dict[str, Callable[[Order, str], Reply]] = {
    "throttle": _throttle,
    "html": lambda order, trace: Reply(502, {"Content-Type": "text/html; charset=utf-8"}, _HTML),
    "reset": lambda order, trace: Reply(502, reset=True),
}

MODES = (*ERRORS, *_OTHER, "slow", "reset_after", "partial", "none")


def _mistakes(order: Any) -> list[str]:
    if not isinstance(order, Mapping):
        return [': must be an object such as {"mode": "transient", "count": 3}']
    found = [f".{name}: unknown key; known are {', '.join(_KEYS)}" for name in order if name not in _KEYS]
    found += [f".{name}: {_KEYS[name][1]}" for name in order if name in _KEYS and not _KEYS[name][0](order[name])]
    return found + ([] if "mode" in order else [f".mode: is missing; one of {', '.join(MODES)}"]) + _guess(order)


def _guess(order: Mapping[str, Any]) -> list[str]:
    mode = order.get("mode")
    near = get_close_matches(mode, MODES, 1) if isinstance(mode, str) and mode not in MODES else []
    return [f'.mode: did you mean "{near[0]}"?'] if near else []


def _order(order: Mapping[str, Any]) -> Order:
    given = {name: value for name, value in order.items() if value is not None}
    if "token" in given:
        given["token"] = _digest(given["token"])
    return Order(**given)


def _digest(token: Any) -> bytes:
    return hashlib.sha256(str(token).encode("utf-8", "replace")).digest()


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 1


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


_KEYS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "mode": (lambda value: value in MODES, f"must be one of {', '.join(MODES)}"),
    "count": (lambda value: value is None or _is_count(value), "must be a whole number from 1"),
    "share": (lambda value: _is_number(value) and 0 <= value <= 1, "must be a number from 0 to 1"),
    "pixel_id": (lambda value: isinstance(value, str) and value.isdecimal(), "must be a string of digits"),
    "token": (lambda value: isinstance(value, str) and value != "", "must be a non-empty string"),
    "seconds": (lambda value: value is None or (_is_number(value) and value >= 0), "must be a number from 0"),
    "events": (_is_count, "must be a whole number from 1"),
}
