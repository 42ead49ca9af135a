"""The form of each field of an event: a table for each object, field -> what is wrong with a value.

A rule answers with words, empty when the value is well; no rule repeats the value, which may be personal.
Source: Meta, "Server Event Parameters", "Customer Information Parameters", "Custom Data Parameters".
"""

import hashlib
import ipaddress
import re
from collections.abc import Callable, Collection
from functools import lru_cache
from math import isfinite
from typing import Any

import pycountry

from sidecar.core import meta

Rule = Callable[[Any], str]

#: fbc as Meta's pixel writes it; the wider form below is taken too, with a warning.
EXACT_FBC = re.compile(r"fb\.[012]\.\d{13}\.[A-Za-z0-9_.-]+", re.ASCII)

_FBC = re.compile(r"fb\.\d\.\d{10,16}\..+", re.ASCII | re.DOTALL)
_FBP = re.compile(r"fb\.\d\.\d{10,16}\.\d+(\.[A-Za-z0-9_-]{2}|\.[A-Za-z0-9_-]{8})?", re.ASCII)
_URL = re.compile(r"https?://[^\s/?#]+[^\s]*", re.IGNORECASE)
_AMOUNT = re.compile(r"-?\d+(\.\d+)?", re.ASCII)

_NOTHING = hashlib.sha256(b"").hexdigest()
_CURRENCIES = frozenset(currency.alpha_3 for currency in pycountry.currencies)


def is_digest(value: str) -> bool:
    """Whether this is a plain SHA-256 in hex."""
    return len(value) == 64 and meta.HASH.fullmatch(value) is not None


def _text(value: Any) -> str:
    return "" if type(value) is str and value else "must be a non-empty string"


def _boolean(value: Any) -> str:
    return "" if type(value) is bool else "must be a boolean"


def _integer(value: Any) -> str:
    return "" if type(value) is int else "must be an integer"


def _number(value: Any) -> str:
    return "" if type(value) is int or (type(value) is float and isfinite(value)) else "must be a number"


def _amount(value: Any) -> str:
    return "" if not _number(value) or (type(value) is str and _AMOUNT.fullmatch(value)) else "must be a number"


def _object(value: Any) -> str:
    return "" if type(value) is dict else "must be an object"


def _filled(value: Any) -> str:
    return _object(value) or ("" if value else "must be non-empty")


def _array(value: Any) -> str:
    return "" if type(value) is list else "must be an array"


def _one_of(words: Collection[str]) -> Rule:
    told = f"must be one of the following values: {', '.join(sorted(words))}"
    return lambda value: "" if type(value) is str and value in words else told


def _matching(form: re.Pattern[str], told: str) -> Rule:
    return lambda value: "" if type(value) is str and form.fullmatch(value) else told


def _event_name(value: Any) -> str:
    return _text(value) or ("" if len(value) <= meta.EVENT_NAME_LENGTH else "must be at most 50 characters long")


def _source(value: Any) -> str:
    return "" if type(value) is str and (is_digest(value) or _URL.fullmatch(value)) else "must be a valid URL"


def _options(value: Any) -> str:
    return "" if value in ([], ["LDU"]) else 'must be ["LDU"] or empty'


def _hashed(value: Any) -> str:
    """A SHA-256 in hex or a list of them; that of the empty string is nobody's."""
    values = value if type(value) is list else [value]
    if not values:
        return "must be non-empty"
    for item in values:
        if type(item) is not str or not meta.HASH.fullmatch(item):
            return "must be hashed with SHA-256"
        if item.startswith(_NOTHING):
            return "must not be the hash of an empty value"
    return ""


def _identity(value: Any) -> str:
    """Documented as an integer, sent as a string by Meta's own SDK."""
    return "" if type(value) is int or (type(value) is str and value) else "must be a non-empty string"


def _address(value: Any) -> str:
    return "" if type(value) is str and _is_public(value) else "must be a public IP address"


@lru_cache(maxsize=65536)
def _is_public(value: str) -> bool:
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address):
        if address.scope_id is not None:
            return False
        address = address.ipv4_mapped or address
    return address.is_global and not address.is_multicast


def _currency(value: Any) -> str:
    return "" if type(value) is str and value in _CURRENCIES else "must be an ISO 4217 currency code"


def _identifiers(value: Any) -> str:
    well = type(value) is list and all(type(item) is int or (type(item) is str and item) for item in value)
    return "" if well else "must be an array of strings"


EVENT: dict[str, Rule] = {
    "event_name": _event_name,
    "event_time": _integer,
    "event_id": _text,
    "event_source_url": _source,
    "referrer_url": _matching(_URL, "must be a valid URL"),
    "action_source": _one_of(meta.ACTION_SOURCES),
    "user_data": _filled,
    "custom_data": _object,
    "opt_out": _boolean,
    "data_processing_options": _options,
    "data_processing_options_country": _integer,
    "data_processing_options_state": _integer,
}

REQUIRED = ("event_name", "event_time", "user_data", "action_source")

USER_DATA: dict[str, Rule] = {
    **dict.fromkeys(meta.HASHED_KEYS, _hashed),
    **dict.fromkeys(meta.PLAIN_KEYS, _text),
    "client_ip_address": _address,
    "fbc": _matching(_FBC, "must be of the form fb.1.<milliseconds>.<fbclid>"),
    "fbp": _matching(_FBP, "must be of the form fb.1.<milliseconds>.<random number>"),
    "lead_id": _identity,
    "fb_login_id": _identity,
}

#: The standard properties; any other key of custom_data is a custom property, and free.
CUSTOM_DATA: dict[str, Rule] = {
    "value": _number,
    "currency": _currency,
    "content_ids": _identifiers,
    "contents": _array,
    "content_type": _text,
    "content_name": _text,
    "content_category": _text,
    "order_id": _identity,
    "num_items": _amount,
    "search_string": _text,
    "predicted_ltv": _amount,
    "net_revenue": _amount,
    "delivery_category": _one_of(meta.DELIVERY_CATEGORIES),
}

CONTENT: dict[str, Rule] = {
    "id": _identity,
    "quantity": _amount,
    "item_price": _amount,
    "delivery_category": _one_of(meta.DELIVERY_CATEGORIES),
}
