"""Whether Meta would take a request, and with which error it would not.

Errors of form name the place (`$['data'][0]['user_data']`); errors of meaning name none, so that a sender has to
split. Form is judged for the whole request first. One invalid event refuses it all.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sidecar.core import meta
from sidecar.sandbox import fields
from sidecar.sandbox.fields import Rule
from sidecar.sandbox.reply import GraphError

__all__ = ["GraphError", "check", "check_path", "decode", "warnings"]

#: Seconds by which an event may be ahead of this clock. Meta publishes no figure.
AHEAD = 60

_VERSION = re.compile(r"v\d{1,3}\.\d", re.ASCII)
_PIXEL_ID = re.compile(r"\d{1,20}", re.ASCII)
_NAME_SHOWN = 60

_Event = Mapping[str, Any]


def check_path(version: str, pixel_id: str) -> GraphError | None:
    """The error of `POST /{version}/{pixel_id}/events` for a path that names no dataset."""
    if not _VERSION.fullmatch(version):
        return GraphError("Unknown path components: the path must begin with a version, as /v26.0 does", 2500)
    if not _PIXEL_ID.fullmatch(pixel_id):
        return GraphError("(#803) Some of the aliases you requested do not exist", 803, status=404)
    return None


def decode(body: bytes) -> Any | GraphError:
    """The JSON value of a body; an error for what is no JSON, and for an object that has a key twice."""
    try:
        return json.loads(
            body.decode(), object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite_float
        )
    except (ValueError, RecursionError):
        return GraphError("(#100) The body must be one JSON object in UTF-8, without repeated keys")


def check(payload: Any, now: float) -> GraphError | None:
    """Judges a decoded body `{"data": [...], "access_token": ...}`; None means that every event is taken."""
    if type(payload) is not dict:
        return _malformed("$", "must be an object")
    token = payload.get("access_token")
    if type(token) is not str or not token:
        return GraphError("Invalid OAuth access token - Cannot parse access token", 190, status=401)
    return _check_request(payload) or _first(payload["data"], _check_form) or _check_meaning(payload["data"], now)


def warnings(events: Sequence[_Event]) -> list[str]:
    """What Meta asks for but does not insist on: one line for each thing, with the number of events."""
    counts = [(words, sum(map(lacks, events))) for words, lacks in _WARNINGS]
    return [f"{count} of {len(events)} events: {words}" for words, count in counts if count]


def _check_request(payload: Mapping[str, Any]) -> GraphError | None:
    if error := _check_fields(payload, _REQUEST, "$"):
        return error
    if "data" not in payload:
        return GraphError("(#100) The parameter data is required")
    if len(payload["data"]) > meta.EVENTS_PER_REQUEST:
        return GraphError(f"(#100) Param data must have at most {meta.EVENTS_PER_REQUEST} elements")
    return None


def _first(events: Sequence[Any], judge: Callable[[Any, str], GraphError | None]) -> GraphError | None:
    for index, event in enumerate(events):
        if error := judge(event, f"$['data'][{index}]"):
            return error
    return None


def _check_form(event: Any, place: str) -> GraphError | None:
    if type(event) is not dict:
        return _malformed(place, "must be an object")
    for name in fields.REQUIRED:
        if name not in event:
            return GraphError(f"(#100) The parameter {place}['{name}'] is required")
    return (
        _check_fields(event, fields.EVENT, place)
        or _check_fields(event["user_data"], fields.USER_DATA, f"{place}['user_data']")
        or _check_custom_data(event.get("custom_data"), f"{place}['custom_data']")
        or _check_processing(event, place)
    )


def _check_fields(given: Mapping[str, Any], rules: Mapping[str, Rule], place: str) -> GraphError | None:
    for name, value in given.items():
        rule = rules.get(name)
        if rule is None:
            return GraphError(f'(#100) Unexpected key "{name[:_NAME_SHOWN]}" on param "{place}"')
        if words := rule(value):
            return _malformed(f"{place}['{name}']", words)
    return None


def _check_custom_data(data: Mapping[str, Any] | None, place: str) -> GraphError | None:
    if not data:
        return None
    for name, value in data.items():
        rule = fields.CUSTOM_DATA.get(name)
        if rule is not None and (words := rule(value)):
            return _malformed(f"{place}['{name}']", words)
    for index, item in enumerate(data.get("contents", ())):
        if error := _check_content(item, f"{place}['contents'][{index}]"):
            return error
    return None


def _check_content(item: Any, place: str) -> GraphError | None:
    if type(item) is not dict:
        return _malformed(place, "must be an object")
    return _check_fields(item, fields.CONTENT, place)


def _check_processing(event: _Event, place: str) -> GraphError | None:
    """Limited Data Use needs a country and a state. Source: Meta, "Data Processing Options"."""
    if not event.get("data_processing_options"):
        return None
    where = event.get("data_processing_options_country"), event.get("data_processing_options_state")
    if where in meta.LIMITED_DATA_USE_PLACES:
        return None
    return _malformed(f"{place}['data_processing_options_state']", "and country must be 0, 0 or 1, 1000 to 1013")


def _check_meaning(events: Sequence[_Event], now: float) -> GraphError | None:
    oldest, newest = now - meta.OLDEST_EVENT, now + AHEAD
    for event in events:
        if event["event_time"] < oldest:
            return _TOO_OLD
        if event["event_time"] > newest:
            return _IN_THE_FUTURE
        if not meta.identifies(event["user_data"].keys()):
            return _TOO_LITTLE
        if event["event_name"] == "Purchase":
            data = event.get("custom_data") or {}
            if "value" not in data:
                return _NO_VALUE
            if "currency" not in data:
                return _NO_CURRENCY
    return None


def _malformed(place: str, words: str) -> GraphError:
    return GraphError(f"(#100) Param {place} {words}")


def _meaningless(subcode: int | None, title: str, text: str) -> GraphError:
    return GraphError("Invalid parameter", subcode=subcode, title=title, text=text)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("an object has a key twice")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _finite_float(digits: str) -> float:
    number = float(digits)
    if number in (float("inf"), float("-inf")):
        raise ValueError("a number is too large")
    return number


def _data(value: Any) -> str:
    if type(value) is not list:
        return "must be an array"
    return "" if value else "must be non-empty"


def _string(value: Any) -> str:
    return "" if type(value) is str and value else "must be a non-empty string"


def _partner_agent(value: Any) -> str:
    if type(value) is not str or len(value) > meta.PARTNER_AGENT_LENGTH:
        return "must be a string of under 23 characters"
    return "" if sum(map(str.isalpha, value)) >= 2 else "must have at least two letters"


_REQUEST: dict[str, Rule] = {
    **dict.fromkeys(meta.REQUEST_KEYS, _string),
    "data": _data,
    "partner_agent": _partner_agent,
}

_TOO_OLD = _meaningless(
    meta.EVENT_TOO_OLD,
    "Event Timestamp Too Old",
    "The timestamp for this event is too far in the past. Events must be sent within 7 days of when they happened.",
)
_IN_THE_FUTURE = _meaningless(
    None, "Event Timestamp In The Future", "The timestamp for this event is in the future. Send the time it happened."
)
_TOO_LITTLE = _meaningless(
    meta.TOO_LITTLE_USER_DATA_SUBCODE,
    "You haven't added sufficient customer information parameter data for this event",
    "This event has no customer information parameters, or only a combination that is too broad to match anybody.",
)
_NO_VALUE = _meaningless(
    meta.PURCHASE_WITHOUT_VALUE, "Missing Value For Purchase Event", "A Purchase must have the parameter value."
)
_NO_CURRENCY = _meaningless(
    meta.PURCHASE_WITHOUT_CURRENCY,
    "Missing Currency For Purchase Event",
    "A Purchase must have the parameter currency.",
)

_WARNINGS: tuple[tuple[str, Callable[[_Event], bool]], ...] = (
    (
        "event_source_url is missing; website events should have it",
        lambda event: event["action_source"] == "website" and "event_source_url" not in event,
    ),
    (
        "event_source_url is a hash, not a URL",
        lambda event: fields.is_digest(event.get("event_source_url", "")),
    ),
    (
        "client_user_agent is missing; website events should have it",
        lambda event: event["action_source"] == "website" and "client_user_agent" not in event["user_data"],
    ),
    (
        "event_id is missing; a repeat of the event would count twice",
        lambda event: "event_id" not in event,
    ),
    (
        "fbc is not of the form fb.1.<milliseconds, 13 digits>.<fbclid>",
        lambda event: "fbc" in event["user_data"] and not fields.EXACT_FBC.fullmatch(event["user_data"]["fbc"]),
    ),
)
