"""What may stand in the YAML files, as shapes. The values that they become are in `sidecar.core.configuration`."""

import ipaddress
from decimal import Decimal
from typing import Any

from sidecar.config.shape import (
    MISSING,
    At,
    Definitions,
    Key,
    Schema,
    Shape,
    choice,
    duration,
    duration_of,
    flag,
    free,
    is_null,
    listed,
    mapped,
    named,
    or_null,
    percentage,
    record,
    text,
    whole,
)
from sidecar.core.configuration import (
    DAY,
    NOTHING,
    PAYOUT,
    Brake,
    Canary,
    DataProcessing,
    Graph,
    Integration,
    Retention,
    Rule,
    Tracker,
    Value,
)
from sidecar.core.event import is_currency
from sidecar.core.meta import DEDUPLICATION, EVENT_NAME_LENGTH, HASHED_KEYS, STANDARD_EVENTS
from sidecar.core.status import KNOWN, canonical

#: user_data keys that a parameter may fill.
CUSTOMER_KEYS = (*HASHED_KEYS, "lead_id", "fb_login_id", "subscription_id", "madid", "anon_id")

#: A delayed event must still be young enough for Meta's 7 days when it is sent.
LONGEST_DELAY = 6 * DAY

_ANY = r"[\s\S]*"
_NOT_BLANK = r"[\s\S]*\S[\s\S]*"

any_text = text(_ANY, "a text")
a_name = text(_NOT_BLANK, "a text")
names = named("names", listed(a_name))
secret = text(_ANY, "a text", ["${file:secrets/NAME}", "${env:NAME}"])
proxy = text(_ANY, "a text", ["http://user:${file:secrets/proxy-password}@10.0.0.5:3128", "socks5h://10.0.0.6:1080"])
pixel_id = text("[0-9]{1,20}", "a pixel id: digits")
event_name = named(
    "event",
    text(
        rf"[\s\S]{{1,{EVENT_NAME_LENGTH}}}",
        f"an event name of 1 to {EVENT_NAME_LENGTH} characters",
        sorted(STANDARD_EVENTS),
    ),
)


_code = text("[A-Za-z]{3}", "an ISO 4217 currency code such as USD", ["USD", "EUR"])


def _read_currency(at: At) -> Any:
    code = _code(at)
    if code is MISSING or is_currency(code.upper()):
        return code if code is MISSING else code.upper()
    return at.fail(f'"{code}" is not an ISO 4217 currency code such as USD')


currency = Shape(_read_currency, _code.schema)

_network = text(
    r"([0-9]{1,3}\.){3}[0-9]{1,3}(/\S*)?|[^\s/]*:[^\s/]*(/\S*)?",
    "a network such as 172.16.0.0/12",
    ["172.16.0.0/12", "2400:cb00::/32"],
)


def _read_network(at: At) -> Any:
    written = any_text(at)
    try:
        return MISSING if written is MISSING else ipaddress.ip_network(written, strict=False)
    except ValueError:
        return at.fail("a network such as 172.16.0.0/12 is needed")


network = Shape(_read_network, _network.schema)

_worth = text(r"payout|none|.*%|[0-9]{1,12}(\.[0-9]{1,6})?", "payout, a percentage such as 50%, a number or none")
_worth_but_shares = text(r"payout|none|[0-9]{1,12}(\.[0-9]{1,6})?", "no share", ["payout", "none"])


def _read_worth(at: At) -> Any:
    written = _worth(at)
    if written in ("payout", "none"):
        return PAYOUT if written == "payout" else NOTHING
    if written is not MISSING and written.endswith("%"):
        share = percentage(at)
        return share if share is MISSING else Value(share=share)
    return written if written is MISSING else Value(amount=Decimal(written))


def _worth_schema(definitions: Definitions) -> Schema:
    return {"anyOf": [_worth_but_shares.schema(definitions), percentage.schema(definitions)]}


#: `payout`, a percentage, a number or `none`.
worth = Shape(_read_worth, _worth_schema)

#: Keys of a rule that custom_data may not hold.
_OWN_KEYS = ("value", "currency")


def _read_custom_data(at: At) -> Any:
    own = free(at)
    if not isinstance(own, dict):
        return at.fail("a mapping of names and values is needed")
    if taken := [name for name in _OWN_KEYS if name in own]:
        return at.fail(f"{taken[0]} is the rule's own key; write it beside event")
    return own


custom_data = Shape(
    _read_custom_data, lambda _: {"type": "object", "propertyNames": {"not": {"enum": list(_OWN_KEYS)}}}
)

_RULE = record(
    {
        "event": Key(
            event_name, "The Facebook event: a standard one, or any name of 1 to 50 characters.", required=True
        ),
        "value": Key(worth, "What it is worth: payout, a percentage of it, a fixed number, or none.", "payout"),
        "currency": Key(currency, "Currency of a fixed value (ISO 4217); payouts are not converted."),
        "delay": Key(
            duration(LONGEST_DELAY),
            f"Sent no earlier than this after the postback, at most {duration_of(LONGEST_DELAY)}; event_time stays.",
            duration_of(Rule.delay),
        ),
        "skip_zero": Key(flag, "Send nothing when the value is absent, unusable or zero.", Rule.skip_zero),
        "custom_data": Key(custom_data, "Free properties; {name} takes a parameter of the postback or the click."),
    }
)


def _read_rule(at: At) -> Any:
    if is_null(at.node):
        return None
    if not isinstance(at.node.value, list):
        name = event_name(at)
        return name if name is MISSING else Rule(name, place=at.place)
    given = _RULE(at)
    if given is MISSING or "event" not in given:
        return MISSING
    worth_is_known = "value" in given or "value" not in given.places
    if "currency" in given and worth_is_known and given.get("value", PAYOUT).amount is None:
        given.where("currency").fail("a currency is allowed only beside a numeric value; payouts are not converted")
    return Rule(**given, place=at.place)


def _rule_schema(definitions: Definitions) -> Schema:
    return {"anyOf": [event_name.schema(definitions), _RULE.schema(definitions), {"type": "null"}]}


#: An event's name, the long form, or null for a status that is known and not sent.
rule = named("rule", Shape(_read_rule, _rule_schema))

_status_name = text(_NOT_BLANK, "a text", KNOWN)


def _read_status(at: At) -> Any:
    name = _status_name(at)
    return name if name is MISSING else canonical(name.strip())


status = Shape(_read_status, _status_name.schema)

#: Rules by Keitaro status.
rules = named("rules", mapped(status, rule))

#: The name of a file in mappings/, or rules on the spot.
mapping = Shape(
    lambda at: rules(at) if isinstance(at.node.value, list) else a_name(at),
    lambda definitions: {"anyOf": [a_name.schema(definitions), rules.schema(definitions)]},
)

data_processing = record(
    {
        "options": Key(listed(text(_ANY, "a text", ["LDU"])), "LDU is Limited Data Use.", required=True),
        "country": Key(whole(0, 1), "1 is the USA; 0 lets Meta locate by address.", DataProcessing.country),
        "state": Key(whole(0, 1013), "1000 to 1013: a state of the USA; 0 lets Meta locate.", DataProcessing.state),
    }
)

subid_source = text(r"cookie|location:\S+", "cookie or location:NAME", ["cookie", "location:NAME"])
event_source_url = text(
    r"hashed|plain|https?://\S+",
    "hashed, plain or a URL with placeholders",
    ["hashed", "plain", "https://{host}/{campaign}"],
)


def _read_proxies(at: At) -> Any:
    """A list of proxies; None for a written null, which means direct. A value left blank means nothing: it is ()."""
    if is_null(at.node):
        return None if at.node.value else ()
    return listed(proxy)(at)


proxies = Shape(_read_proxies, or_null(listed(proxy)).schema)

#: Click parameters, of the tracker and of an integration.
_CLICK_PARAMETERS = {
    "fbclid_from": Key(names, "Click parameters that may hold the fbclid.", Integration.fbclid_from),
    "fbp_from": Key(names, "Click parameters that may hold the fbp.", Integration.fbp_from),
    "fbc_from": Key(names, "Click parameters that may hold the fbc.", Integration.fbc_from),
}

#: Keys of an integration that `defaults` may hold too.
_COMMON = {
    "campaigns": Key(
        or_null(listed(text(_NOT_BLANK, "a text", ["AbCd12", "shop.example.com"]))),
        "Keitaro campaigns by alias or domain; by id or name too with tracker.admin_api.",
    ),
    "pixel_id": Key(
        text(
            r"[0-9]{1,20}|([0-9]|\{[A-Za-z0-9_]+\})+",
            "a pixel id: digits, or a placeholder such as {pixel}",
            ["1234567890123456", "{pixel}"],
        ),
        "The pixel's id, or a placeholder such as {pixel} with pixels as the list of allowed ones.",
    ),
    "pixels": Key(listed(pixel_id), "Pixel ids that a placeholder in pixel_id may become."),
    "token": Key(
        or_null(secret), "Access token of the Conversions API: ${file:PATH} or ${env:NAME}, never the token itself."
    ),
    "proxy": Key(proxies, "Proxies, tried in order; null is direct, even where defaults name some."),
    "mapping": Key(mapping, "Name of a file in mappings/, or rules (status: event) on the spot."),
    "paused": Key(flag, "Accept and hold, send nothing.", Integration.paused),
    "test_event_code": Key(any_text, "Code of Events Manager's test; Meta counts such events like all others."),
    "api_version": Key(
        text(r"v[0-9]{1,3}\.[0-9]{1,2}", "a version such as v26.0", [Integration.api_version]),
        "Version of the Graph API.",
        Integration.api_version,
    ),
    "event_source_url": Key(
        event_source_url,
        "hashed as Keitaro sends it, plain as Meta documents it, or a URL with placeholders.",
        Integration.event_source_url,
    ),
    "event_id": Key(
        text(r".*\{subid\}.*", "a template with {subid}, such as {subid}_{status}", ["{subid}_{status}"]),
        "Template of event_id; by default {subid}_{status}, with _{tid} where there is a tid.",
    ),
    **_CLICK_PARAMETERS,
    "data_processing": Key(or_null(data_processing), "Meta's data processing options, such as Limited Data Use."),
    "only": Key(
        mapped(text(_NOT_BLANK, "a text", ["country"]), listed(any_text)),
        "Conditions: parameter and allowed values, of the postback, else of the click; all must hold.",
    ),
    "customer": Key(
        mapped(choice(*CUSTOMER_KEYS), names),
        "user_data key and the parameters that fill it, the first non-empty one; [] turns a key off.",
    ),
}

integration = named("integration", record({"name": Key(a_name, "Its unique name.", required=True), **_COMMON}))
defaults = record(_COMMON)

admin_api = record(
    {
        "url": Key(text(_ANY, "a text", ["https://tracker.example.com"]), "Address of the tracker.", required=True),
        "key": Key(secret, "Key of the Admin API: ${file:PATH} or ${env:NAME}.", required=True),
        "proxy": Key(or_null(proxy), "Proxy on the way to it; null is direct."),
    }
)

tracker = record(
    {
        "postback_key": Key(
            listed(text(_ANY, "a text", ["2a76c2a", "${file:secrets/postback-key}"])),
            "The part before /postback in the tracker's postback URL; several while it is rotated.",
            required=True,
        ),
        "currency": Key(currency, "Currency of payouts whose postback names none (ISO 4217).", Tracker.currency),
        "click_wait": Key(
            duration(LONGEST_DELAY),
            "How long a postback waits for its click to appear.",
            duration_of(Tracker.click_wait),
        ),
        "subid_from": Key(
            listed(subid_source),
            "Where a journal line has the subid: cookie, or location:NAME, a parameter of the redirect's URL.",
            Tracker.subid_from,
        ),
        "trusted": Key(listed(network), "Networks whose X-Request-Id counts, such as a container's bridge."),
        **_CLICK_PARAMETERS,
        "cdn": Key(listed(network), "Networks of a CDN whose CF-Connecting-IP and country count."),
        "first_start": Key(
            duration(DEDUPLICATION),
            "How old a journalled postback may be at the very first start, "
            f"at most {DEDUPLICATION // 3600}h: Keitaro's own integration may have sent it.",
            duration_of(Tracker.first_start),
        ),
        "waiting_max": Key(whole(1), "Postbacks that may wait for their click at once.", Tracker.waiting_max),
        "admin_api": Key(or_null(admin_api), "Keitaro's Admin API, asked for clicks that no journal has shown."),
        "geoip": Key(or_null(text(_ANY, "a text", ["GeoLite2-City.mmdb"])), "GeoIP database of countries and cities."),
        "statuses": Key(
            mapped(status, listed(a_name)), "A network's own words for a status, beyond the lists in the postback URL."
        ),
    }
)

retention = record(
    {
        "click": Key(duration(), "Clicks with an fbclid.", duration_of(Retention.click)),
        "click_without_fbclid": Key(duration(), "Other clicks.", duration_of(Retention.click_without_fbclid)),
        "postback": Key(duration(), "Postbacks with their decision.", duration_of(Retention.postback)),
        "raw": Key(duration(), "Customer data of postbacks that were not sent.", duration_of(Retention.raw)),
        "body": Key(duration(), "Events after their end, byte for byte.", duration_of(Retention.body)),
        "key": Key(duration(), "Identity and verdict of deliveries.", duration_of(Retention.key)),
        "attempt": Key(duration(), "Attempts with Meta's answer.", duration_of(Retention.attempt)),
    }
)

graph = record(
    {
        "connect": Key(duration(least=0.1), "Longest time to connect.", duration_of(Graph.connect)),
        "total": Key(duration(least=1.0), "Longest time of a whole request.", duration_of(Graph.total)),
    }
)

brake = record(
    {
        "share": Key(percentage, "Of recent postbacks; a reload that stops more is refused.", f"{Brake.share:.0%}"),
        "least": Key(whole(), "Recent postbacks that it takes to judge a reload.", Brake.least),
    }
)

canary = record(
    {
        "every": Key(duration(), "How often each integration is tried; 0s is never.", duration_of(Canary.every)),
        "url": Key(
            or_null(text(_ANY, "a text", ["https://tracker.example.com"])), "The tracker, as visitors reach it."
        ),
        "test_event_code": Key(
            or_null(text(_ANY, "a text", ["TEST12345"])),
            "Of Events Manager, Test events, where an integration has none of its own; without one nothing is sent.",
        ),
    }
)

main_file = record(
    {
        "tracker": Key(tracker, "The Keitaro tracker beside which this stands.", required=True),
        "defaults": Key(defaults, "Any key of an integration, for all that do not have their own."),
        "retention": Key(retention, "How long each kind of row is kept."),
        "graph": Key(graph, "Time-outs of a request to the Graph API."),
        "brake": Key(brake, "When a changed configuration is refused because it would stop too much."),
        "canary": Key(canary, "A click, a postback and a test event now and then, to see that the whole road is open."),
        "integrations": Key(listed(integration), "Which campaigns report to which pixel, and how."),
    }
)

further_file = record({"integrations": Key(listed(integration), "Further integrations.", required=True)})
