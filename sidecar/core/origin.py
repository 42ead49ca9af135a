"""Where every field of an event came from, in words; never with a customer's value."""

from collections.abc import Iterator, Sequence

from sidecar.core.click import Click, field_or_parameter
from sidecar.core.configuration import PAYOUT, Configuration, Integration
from sidecar.core.conversion import Conversion
from sidecar.core.decide import Decision, Planned
from sidecar.core.meta import HASHED_KEYS
from sidecar.core.parameters import first_real
from sidecar.core.template import placeholders


def origins(decision: Decision, planned: Planned, configuration: Configuration) -> dict[str, str]:
    """By the field's path in the event, such as `user_data.em`."""
    conversion, click = decision.conversion, decision.click
    integration = configuration.by_name.get(planned.integration)
    if conversion is None or click is None or integration is None:
        return {}
    event = planned.event.as_json()
    found = dict(_top(conversion, click, integration))
    found |= dict(_user_data(conversion, click, integration))
    found |= dict(_custom_data(conversion, integration, event.get("custom_data", {})))
    paths = [name for name in event if name not in ("user_data", "custom_data")]
    paths += [f"{part}.{name}" for part in ("user_data", "custom_data") for name in event.get(part, {})]
    return {path: found.get(path, "the configuration") for path in paths}


def unmatched(click: Click, configuration: Configuration) -> Iterator[str]:
    """Why each integration that did not match did not."""
    names = ", ".join(click.campaign) or "(none)"
    matching = {each.name for each in configuration.of_campaign(click.campaign)}
    for each in configuration.integrations:
        if each.name not in matching:
            theirs = ", ".join(each.campaigns) or "none at all"
            yield f"{each.name} ({each.place}): its campaigns are {theirs}; the click's is {names}"


def _top(conversion: Conversion, click: Click, integration: Integration) -> Iterator[tuple[str, str]]:
    rule = integration.mapping.rules[conversion.status]
    yield "event_name", f"mapping {integration.mapping.name}, {rule.place if rule else ''}"
    yield "event_time", "the postback's arrival"
    yield "event_id", f"template {integration.event_id}" if integration.event_id else "subid, status and tid"
    yield "action_source", "always website"
    source = "the click's referrer" if click.referrer else "the click's own address"
    mode = integration.event_source_url
    yield "event_source_url", f"{source}, {mode}" if mode in ("hashed", "plain") else f"template {mode}"


def _user_data(conversion: Conversion, click: Click, integration: Integration) -> Iterator[tuple[str, str]]:
    yield "user_data.fbc", _fbc(click, integration)
    yield "user_data.fbp", "the browser's _fbp" if click.fbp else _parameter(click, integration.fbp_from)
    yield "user_data.client_ip_address", f"the click's address, from {click.source}"
    yield "user_data.client_user_agent", f"the click's user agent, from {click.source}"
    for key, names in integration.customer_names.items():
        how = ", hashed" if key in HASHED_KEYS else ""
        if name := next((each for each in names if first_real(conversion.parameters, (each,))), ""):
            yield f"user_data.{key}", f"the postback's parameter {name}{how}"
        elif key in integration.customer and (name := _first(click, names)):
            yield f"user_data.{key}", f"the click's parameter {name}{how}"
        else:
            yield f"user_data.{key}", f"the click's place{how}"


def _custom_data(
    conversion: Conversion, integration: Integration, data: dict[str, object]
) -> Iterator[tuple[str, str]]:
    rule = integration.mapping.rules[conversion.status]
    if rule is None:
        return
    if rule.value.amount is not None:
        yield "custom_data.value", f"fixed by the rule, {rule.place}"
    elif conversion.payout is None or rule.value.share is None:
        yield "custom_data.value", "0: a Purchase must have a value, and there is none"
    else:
        share = "" if rule.value == PAYOUT else f" x {rule.value.share:%} by the rule, {rule.place}"
        yield "custom_data.value", f"the postback's payout {conversion.payout}{share}"
    given = conversion.currency and data.get("currency") == conversion.currency
    yield "custom_data.currency", "the rule" if rule.currency else "the postback" if given else "tracker.currency"
    for name, template in rule.custom_data.items():
        used = ", ".join(sorted(placeholders(template)))
        yield f"custom_data.{name}", f"the rule, {rule.place}" + (f", from {used}" if used else "")


def _fbc(click: Click, integration: Integration) -> str:
    fbclid = "fbclid" if click.fbclid else _first(click, integration.fbclid_from)
    cookie = bool(click.fbc or _first(click, integration.fbc_from))
    if cookie and fbclid:
        return f"the newer of the browser's _fbc and the click's parameter {fbclid}"
    return "the browser's _fbc" if cookie else f"the click's parameter {fbclid or 'fbclid'}, with the click's time"


def _parameter(click: Click, names: Sequence[str]) -> str:
    return f"the click's parameter {_first(click, names)}"


def _first(click: Click, names: Sequence[str]) -> str:
    return next((name for name in names if field_or_parameter(click, name)), "")
