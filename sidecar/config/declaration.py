"""What may stand in the YAML files, as shapes. The values that they become are in `sidecar.core.configuration`."""

import ipaddress
from decimal import Decimal
from typing import Any

from sidecar.config.shape import (
    MISSING,
    At,
    Key,
    Shape,
    choice,
    duration,
    flag,
    free,
    is_null,
    listed,
    mapped,
    or_null,
    percentage,
    record,
    text,
    whole,
)
from sidecar.core.configuration import DAY, NOTHING, PAYOUT, Rule, Value
from sidecar.core.event import is_currency
from sidecar.core.meta import DEDUPLICATION, EVENT_NAME_LENGTH, HASHED_KEYS
from sidecar.core.status import canonical

#: user_data keys that a parameter may fill.
CUSTOMER_KEYS = (*HASHED_KEYS, "lead_id", "fb_login_id", "subscription_id", "madid", "anon_id")

#: A delayed event must still be young enough for Meta's 7 days when it is sent.
LONGEST_DELAY = 6 * DAY

any_text = text(r"(?s).*", "a text")
a_name = text(r"(?s).*\S.*", "a text")
_worth = text(r"payout|none|.*%|\d{1,12}(\.\d{1,6})?", "payout, a percentage such as 50%, a number or none")
event_name = text(rf"(?s).{{1,{EVENT_NAME_LENGTH}}}", f"an event name of 1 to {EVENT_NAME_LENGTH} characters")


def currency(at: At) -> Any:
    code = text(r"[A-Za-z]{3}", "an ISO 4217 currency code such as USD")(at)
    if code is MISSING or is_currency(code.upper()):
        return code if code is MISSING else code.upper()
    return at.fail(f'"{code}" is not an ISO 4217 currency code such as USD')


def network(at: At) -> Any:
    written = any_text(at)
    try:
        return MISSING if written is MISSING else ipaddress.ip_network(written, strict=False)
    except ValueError:
        return at.fail("a network such as 172.16.0.0/12 is needed")


def worth(at: At) -> Any:
    """`payout`, a percentage, a number or `none`."""
    written = _worth(at)
    if written in ("payout", "none"):
        return PAYOUT if written == "payout" else NOTHING
    if written is not MISSING and written.endswith("%"):
        share = percentage(at)
        return share if share is MISSING else Value(share=share)
    return written if written is MISSING else Value(amount=Decimal(written))


_RULE = record(
    {
        "event": Key(event_name, required=True),
        "value": worth,
        "currency": currency,
        "delay": duration(LONGEST_DELAY),
        "skip_zero": flag,
        "custom_data": free,
    }
)


def rule(at: At) -> Any:
    """An event's name, the long form, or null for a status that is known and not sent."""
    if at.node.tag == "tag:yaml.org,2002:null":
        return None
    if not isinstance(at.node.value, list):
        name = event_name(at)
        return name if name is MISSING else Rule(name, place=at.place)
    given = _RULE(at)
    if given is MISSING or "event" not in given:
        return MISSING
    own = given.get("custom_data", {})
    if not isinstance(own, dict):
        return given.where("custom_data").fail("a mapping of names and values is needed")
    if taken := [name for name in ("value", "currency") if name in own]:
        given.where("custom_data").fail(f"{taken[0]} is the rule's own key; write it beside event")
    worth_is_known = "value" in given or "value" not in given.places
    if "currency" in given and worth_is_known and given.get("value", PAYOUT).amount is None:
        given.where("currency").fail("a currency is allowed only beside a numeric value; payouts are not converted")
    return Rule(**given, place=at.place)


def status(at: At) -> Any:
    name = a_name(at)
    return name if name is MISSING else canonical(name.strip())


#: Rules by Keitaro status.
rules = mapped(status, rule)


def mapping(at: At) -> Any:
    """The name of a file in mappings/, or rules on the spot."""
    return rules(at) if isinstance(at.node.value, list) else a_name(at)


def data_processing(at: At) -> Any:
    return record({"options": Key(listed(any_text), required=True), "country": whole(0, 1), "state": whole(0, 1013)})(
        at
    )


def subid_source(at: At) -> Any:
    return text(r"cookie|location:\S+", "cookie or location:NAME")(at)


def event_source_url(at: At) -> Any:
    return text(r"hashed|plain|https?://\S+", "hashed, plain or a URL with placeholders")(at)


def proxies(at: At) -> Any:
    """A list of proxies; None for a written null, which means direct. A value left blank means nothing: it is ()."""
    if is_null(at.node):
        return None if at.node.value else ()
    return listed(any_text)(at)


names = listed(a_name)

#: Keys of an integration that `defaults` may hold too.
_COMMON: dict[str, Key | Shape] = {
    "campaigns": or_null(listed(a_name)),
    "pixel_id": text(r"\d{1,20}|(\d|\{\w+\})+", "a pixel id: digits, or a placeholder such as {pixel}"),
    "pixels": listed(text(r"\d{1,20}", "a pixel id: digits")),
    "token": or_null(any_text),
    "proxy": proxies,
    "mapping": mapping,
    "paused": flag,
    "test_event_code": any_text,
    "api_version": text(r"v\d{1,3}\.\d{1,2}", "a version such as v26.0"),
    "event_source_url": event_source_url,
    "event_id": text(r".*\{subid\}.*", "a template with {subid}, such as {subid}_{status}"),
    "fbclid_from": names,
    "fbp_from": names,
    "fbc_from": names,
    "data_processing": or_null(data_processing),
    "only": mapped(a_name, listed(any_text)),
    "customer": mapped(choice(*CUSTOMER_KEYS), names),
}

integration = record({"name": Key(a_name, required=True), **_COMMON})
defaults = record(_COMMON)

tracker = record(
    {
        "postback_key": Key(listed(any_text), required=True),
        "currency": currency,
        "click_wait": duration(),
        "subid_from": listed(subid_source),
        "trusted": listed(network),
        "fbclid_from": names,
        "fbp_from": names,
        "fbc_from": names,
        "cdn": listed(network),
        "first_start": duration(DEDUPLICATION),
        "waiting_max": whole(1),
        "admin_api": or_null(
            record(
                {"url": Key(any_text, required=True), "key": Key(any_text, required=True), "proxy": or_null(any_text)}
            )
        ),
        "geoip": or_null(any_text),
        "statuses": mapped(status, listed(a_name)),
    }
)

main_file = record(
    {
        "tracker": Key(tracker, required=True),
        "defaults": defaults,
        "retention": record(
            {
                name: duration()
                for name in ("click", "click_without_fbclid", "postback", "raw", "body", "key", "attempt")
            }
        ),
        "graph": record({"connect": duration(least=0.1), "total": duration(least=1.0)}),
        "brake": record({"share": percentage, "least": whole()}),
        "canary": record({"every": duration()}),
        "integrations": listed(integration),
    }
)

further_file = record({"integrations": Key(listed(integration), required=True)})
