"""The event that Meta will read, byte for byte.

Source: Meta, "Server Event Parameters" and "Custom Data Parameters"; the default set of fields is the one that
Keitaro's own integration sends.
"""

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Context, Decimal
from functools import cached_property, lru_cache
from typing import Any
from urllib.parse import urlsplit

import pycountry

from sidecar.core.click import Click, field_or_parameter
from sidecar.core.configuration import Integration, Rule
from sidecar.core.conversion import Conversion
from sidecar.core.customer import country_code, hashed, public_address
from sidecar.core.fbclid import Fbclid, find_fbp
from sidecar.core.meta import EVENT_NAME_LENGTH, HASHED_KEYS, OLDEST_EVENT, identifies
from sidecar.core.parameters import Parameters, first_real
from sidecar.core.template import fill

#: Seconds before Meta's limit at which an event is given up: an answer must still come in time.
DEADLINE_MARGIN = 3600

_CENT = Decimal("0.01")
_ARITHMETIC = Context(prec=80)


@dataclass(frozen=True)
class Event:
    """One event for one pixel; (pixel_id, name, id) identifies it, `body` is its JSON."""

    pixel_id: str
    name: str
    id: str
    time: int
    body: bytes

    @property
    def deadline(self) -> float:
        """Unix seconds after which Meta no longer takes it."""
        return self.time + OLDEST_EVENT - DEADLINE_MARGIN

    def as_json(self) -> dict[str, Any]:
        parsed: dict[str, Any] = json.loads(self.body)
        return parsed


@dataclass(frozen=True, slots=True)
class InvalidEvent:
    """Why Meta would refuse it."""

    words: str


@dataclass(frozen=True)
class Material:
    """All that an event is made of."""

    conversion: Conversion
    click: Click
    integration: Integration
    rule: Rule
    tracker_currency: str
    now: float

    @cached_property
    def time(self) -> int:
        """The arrival, never in the future."""
        return int(min(self.conversion.received_at, self.now))

    @cached_property
    def worth(self) -> tuple[Decimal | None, str | None]:
        """Value, rounded half up to cents, and the rule's currency, if it has one."""
        value = self.rule.value
        if value.amount is not None:
            return _rounded(value.amount), self.rule.currency
        if value.share is None or self.conversion.payout is None:
            return None, None
        return _rounded(_ARITHMETIC.multiply(self.conversion.payout, value.share)), None

    @cached_property
    def country(self) -> str:
        return customer_country(self.conversion.parameters, self.click, self.integration)

    @cached_property
    def year(self) -> int:
        return time.gmtime(self.conversion.received_at).tm_year

    def hashed(self, key: str, value: str) -> str:
        """The hash of a customer's value, in the country and in the year of this conversion."""
        return hashed(key, value, self.country, self.year)

    def text(self, template: str) -> str:
        """A template filled from the conversion, the postback and the click, in this order."""
        return str(fill(template, self.value_of))

    def value_of(self, name: str) -> str:
        if name in _OWN_NAMES:
            return _OWN_NAMES[name](self)
        return first_real(self.conversion.parameters, (name,)) or field_or_parameter(self.click, name)


_OWN_NAMES: dict[str, Callable[[Material], str]] = {
    "subid": lambda m: m.conversion.subid,
    "status": lambda m: m.conversion.status,
    "tid": lambda m: m.conversion.tid,
    "event": lambda m: m.rule.event,
    "campaign": lambda m: field_or_parameter(m.click, "campaign"),
    "host": lambda m: _host(m.click.url),
}

#: Names that a template may use beside those of parameters.
TEMPLATE_NAMES = frozenset(_OWN_NAMES)


def build_event(material: Material, fbclid: Fbclid, trace: list[str]) -> Event | InvalidEvent:
    """The event, or why there cannot be one; remarks on what was left out are added to the trace."""
    integration, rule = material.integration, material.rule
    pixel_id = material.text(integration.pixel_id)
    if integration.pixels and pixel_id not in integration.pixels:
        return InvalidEvent(f"the click's pixel {pixel_id[:40] or '(none)'} is not in the list pixels")
    if len(rule.event) > EVENT_NAME_LENGTH:
        return InvalidEvent(f"the event name is longer than {EVENT_NAME_LENGTH} characters")
    user_data = dict(_user_data(material, fbclid, trace))
    if not identifies(frozenset(user_data)):
        return InvalidEvent("nothing in user_data identifies the customer (Meta's 2804050)")
    event_id = _event_id(material)
    processing = integration.data_processing
    fields: dict[str, Any] = {
        "event_name": rule.event,
        "event_time": material.time,
        "event_id": event_id,
        "event_source_url": _source_url(material),
        "action_source": "website",
        "user_data": user_data,
        "custom_data": _custom_data(material, trace),
    }
    fields = {name: value for name, value in fields.items() if value or name == "event_time"}
    if processing:
        fields["data_processing_options"] = list(processing.options)
        fields["data_processing_options_country"] = processing.country
        fields["data_processing_options_state"] = processing.state
    body = json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
    return Event(pixel_id, rule.event, event_id, material.time, body)


def customer_country(parameters: Parameters, click: Click, integration: Integration) -> str:
    """The two-letter country that decides the form of states and post codes."""
    return country_code(_customer_value("country", parameters, click, integration)) or country_code(click.country)


def _event_id(material: Material) -> str:
    if material.integration.event_id:
        return material.text(material.integration.event_id)
    conversion = material.conversion
    return "_".join(part for part in (conversion.subid, conversion.status, conversion.tid) if part)


def _source_url(material: Material) -> str:
    mode, click = material.integration.event_source_url, material.click
    if mode not in ("hashed", "plain"):
        return material.text(mode)
    if mode == "hashed":
        source = click.referrer or click.url
        return hashlib.sha256(source.encode("utf-8", "replace")).hexdigest() if source else ""
    referrer = click.referrer.partition("#")[0].partition("?")[0]
    return referrer if referrer.startswith(("http://", "https://")) else click.url


def _user_data(material: Material, fbclid: Fbclid, trace: list[str]) -> Iterator[tuple[str, Any]]:
    click, integration = material.click, material.integration
    plain = {
        "fbc": fbclid.fbc,
        "fbp": find_fbp(click, integration),
        "client_ip_address": public_address(click.ip),
        "client_user_agent": click.user_agent,
    }
    if click.ip and not plain["client_ip_address"]:
        trace.append("remark: the click's address is not one of the public Internet and is left out")
    if not click.user_agent:
        trace.append("remark: the click has no user agent; Meta asks for one on website events")
    yield from ((key, value) for key, value in plain.items() if value)
    for key in integration.customer_names:
        value = _customer_value(key, material.conversion.parameters, click, integration)
        if not value:
            continue
        if key not in HASHED_KEYS:
            yield key, value
        elif digest := material.hashed(key, value):
            yield key, [digest]
        else:
            trace.append(f"remark: {key} is not of the form that Meta asks for and is left out")


def _customer_value(key: str, parameters: Parameters, click: Click, integration: Integration) -> str:
    """The raw value of a user_data key: the postback's, else the click's place.

    A parameter that the configuration names is looked for in the click too: a landing page's form may have put it
    there. Parameters of the default names are not: `st` or `ct` of a click URL is anything.
    """
    names = integration.customer_names[key]
    value = first_real(parameters, names)
    if not value and key in integration.customer:
        value = first_real(click.parameters, names)
    if not value and names and key in _PLACE:
        value = str(getattr(click, _PLACE[key]))
    return value


#: The fields of a click that say where the customer is.
_PLACE = {"country": "country", "st": "region", "ct": "city"}


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _custom_data(material: Material, trace: list[str]) -> Mapping[str, Any]:
    value, rule_currency = material.worth
    if value is None and material.rule.event == "Purchase":
        trace.append("remark: no usable payout; a Purchase must have a value, so it is sent with 0")
        value = Decimal(0)
    data: dict[str, Any] = {}
    if value is not None:
        data = {"value": _number(value), "currency": rule_currency or _currency(material, trace)}
    return {**data, **_without_gaps(fill(dict(material.rule.custom_data), material.value_of))}


def _without_gaps(value: Any) -> Any:
    """Without what is empty, at any depth: Meta refuses an empty content id."""
    if isinstance(value, dict):
        return {name: item for name, each in value.items() if (item := _without_gaps(each)) not in _GAPS}
    if isinstance(value, list):
        return [item for each in value if (item := _without_gaps(each)) not in _GAPS]
    return value


_GAPS: tuple[Any, ...] = ("", None, [], {})


def _currency(material: Material, trace: list[str]) -> str:
    given = material.conversion.currency
    if not given:
        return material.tracker_currency
    if is_currency(given):
        return given
    trace.append(f"remark: the postback's currency is not an ISO 4217 code; {material.tracker_currency} is taken")
    return material.tracker_currency


def is_currency(code: str) -> bool:
    """Whether this is an ISO 4217 code, in capitals."""
    return code in _currencies()


@lru_cache(maxsize=1)
def _currencies() -> frozenset[str]:
    return frozenset(currency.alpha_3 for currency in pycountry.currencies)


def _rounded(amount: Decimal) -> Decimal:
    return amount.quantize(_CENT, ROUND_HALF_UP, _ARITHMETIC)


def _number(amount: Decimal) -> int | float:
    return int(amount) if amount == amount.to_integral_value() else float(amount)
