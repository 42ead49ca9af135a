"""What becomes of a postback: the one function that the daemon, `explain` and the tests all call."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from sidecar.core.click import Click, carried_click, field_or_parameter, filled, stands_alone
from sidecar.core.configuration import Configuration, Integration, Rule
from sidecar.core.conversion import Conversion, NoConversion, read_conversion
from sidecar.core.event import Event, InvalidEvent, Material, build_event
from sidecar.core.fbclid import find_fbclid
from sidecar.core.parameters import first_real
from sidecar.core.postback import Postback
from sidecar.core.status import CANARY

#: With several integrations the first of these that occurs is the postback's decision.
PRECEDENCE = ("accepted", "waiting", "rejected", "ignored")

_ENTRIES_SHOWN = 10


@dataclass(frozen=True)
class Planned:
    """An event to be delivered: through which integration, not before when, and why it is held (or empty)."""

    integration: str
    event: Event
    due_at: float
    route: str
    held: str = ""


@dataclass(frozen=True)
class Decision:
    """`decision` and `reason` are those of the contract's table; `trace` tells in words how it came to them."""

    decision: str
    reason: str
    trace: tuple[str, ...]
    events: tuple[Planned, ...] = ()
    conversion: Conversion | None = None
    click: Click | None = None


@dataclass(frozen=True)
class Outcome:
    """What one integration makes of the conversion."""

    integration: Integration
    decision: str
    reason: str
    words: str
    planned: Planned | None = None


def decide(postback: Postback, click: Click | None, configuration: Configuration, now: float) -> Decision:
    """The contract's order: key, subid, status, click, integration, mapping, `only`, fbclid, age.

    `click` is what the store or the Admin API knows; what the postback itself carries is added here.
    """
    trace: list[str] = []
    conversion = read_conversion(postback, configuration, trace)
    if isinstance(conversion, NoConversion):
        return Decision(conversion.decision, conversion.reason, (*trace, conversion.words))
    carried = carried_click(postback, conversion.subid)
    known = known_click(click, carried)
    if known is None:
        trace.append("click: none seen for this subid yet")
        return Decision("waiting", "no_click", tuple(trace), conversion=conversion)
    trace.append(f"click: from {known.source}, campaign {', '.join(known.campaign) or '(none)'}")
    integrations = configuration.of_campaign(known.campaign)
    if not integrations:
        reason, words = _no_integration(configuration)
        trace.append(words)
        return Decision("ignored", reason, tuple(trace), (), conversion, known)
    outcomes = [_outcome(conversion, known, carried, each, configuration, now, trace) for each in integrations]
    outcomes = list(_one_each(outcomes))
    trace.extend(f"{each.integration.name}: {each.words}" for each in outcomes)
    first = min(outcomes, key=lambda each: PRECEDENCE.index(each.decision))
    events = tuple(each.planned for each in outcomes if each.planned)
    return Decision(first.decision, first.reason, tuple(trace), events, conversion, known)


_NEVER_CAME = "none came within click_wait; the click's line never reached the journal, or the subid is not ours"


def expire(waiting: Decision, words: str = _NEVER_CAME) -> Decision:
    """A waiting decision whose click did not come."""
    return replace(waiting, decision="rejected", reason="click_expired", trace=(*waiting.trace, f"click: {words}"))


def waiting(decision: Decision, words: str) -> Decision:
    """A decision that may come out otherwise when a source answers that has not answered yet."""
    trace = (*decision.trace, f"waiting: {words}")
    return replace(decision, decision="waiting", reason="no_click", trace=trace, events=())


def known_click(click: Click | None, carried: Click | None) -> Click | None:
    """The click of a store with its gaps filled by what the postback carries; else the carried one, if it is enough."""
    if click is not None:
        return filled(click, carried) if carried else click
    return carried if carried and stands_alone(carried) else None


def _no_integration(configuration: Configuration) -> tuple[str, str]:
    bare = [each.name for each in configuration.integrations if not each.campaigns]
    if bare:
        names = ", ".join(bare[:_ENTRIES_SHOWN])
        return (
            "integration_without_campaign",
            f"integration: none has this campaign, and these have none at all: {names}",
        )
    entries = ", ".join(list(configuration.by_campaign)[:_ENTRIES_SHOWN]) or "(none)"
    return "campaign_without_integration", f"integration: none has this campaign; campaigns known here: {entries}"


def _outcome(
    conversion: Conversion,
    click: Click,
    carried: Click | None,
    integration: Integration,
    configuration: Configuration,
    now: float,
    trace: list[str],
) -> Outcome:
    status, mapping = conversion.status, integration.mapping
    if status == CANARY:
        words = "a canary's own postback: it has come all the way, and is never a conversion"
        return Outcome(integration, "ignored", "status_null", words)
    if status not in mapping.rules:
        words = f"mapping {mapping.name} ({mapping.place}) has no line for {status}"
        return Outcome(integration, "ignored", "status_unmapped", words)
    rule = mapping.rules[status]
    if rule is None:
        return Outcome(integration, "ignored", "status_null", f"mapping {mapping.name} says not to send {status}")
    material = Material(conversion, click, integration, rule, configuration.tracker.currency, now)
    if rule.skip_zero and not material.worth[0]:
        return Outcome(integration, "ignored", "skip_zero", f"{rule.place}: skip_zero, and the value is zero or absent")
    if failed := _unmet(material, configuration.customer_keys):
        return Outcome(integration, "ignored", "only", f"only: {failed} does not hold")
    fbclid = find_fbclid(click, integration, conversion.received_at)
    if fbclid.reason and carried and carried.fbclid:
        fbclid = find_fbclid(replace(click, fbclid=carried.fbclid), integration, conversion.received_at)
    trace.extend(f"remark: {integration.name}: {remark}" for remark in fbclid.remarks)
    if fbclid.reason:
        return Outcome(integration, "rejected", fbclid.reason, _FBCLID_WORDS[fbclid.reason])
    remarks: list[str] = []
    event = build_event(material, fbclid, remarks)
    trace.extend(remark.replace("remark: ", f"remark: {integration.name}: ", 1) for remark in remarks)
    if isinstance(event, InvalidEvent):
        return Outcome(integration, "rejected", "invalid_event", event.words)
    if now > event.deadline:
        return Outcome(integration, "rejected", "too_old", "older than the 7 days that Meta accepts")
    return Outcome(
        integration, "accepted", "sent", _sent(event, rule, status), _planned(event, rule, integration, conversion)
    )


_FBCLID_WORDS = {
    "no_fbclid": "the click has no fbclid; was the ad's link opened from Facebook, with the campaign's own template?",
    "literal_fbclid": "the fbclid is an unreplaced macro; remove fbclid={fbclid} from the ad's URL parameters",
}


def _sent(event: Event, rule: Rule, status: str) -> str:
    return f"{status} is {event.name} ({rule.place}), pixel {event.pixel_id}, event_id {event.id}"


def _planned(event: Event, rule: Rule, integration: Integration, conversion: Conversion) -> Planned:
    held = "paused" if integration.paused else "in_error" if integration.error else ""
    return Planned(integration.name, event, conversion.received_at + rule.delay, integration.route, held)


def _unmet(material: Material, keys: Mapping[str, str]) -> str:
    """The first condition that does not hold; empty when all do. The postback's value comes before the click's."""
    for name, allowed in material.integration.only.items():
        value = first_real(material.conversion.parameters, (name,)) or field_or_parameter(material.click, name)
        if not (_among(value, allowed) or (name in keys and _hash_among(keys[name], value, allowed, material))):
            return f"{name} in [{', '.join(allowed)}]"
    return ""


def _among(value: str, allowed: tuple[str, ...]) -> bool:
    return value.casefold() in {each.casefold() for each in allowed}


def _hash_among(key: str, value: str, allowed: tuple[str, ...], material: Material) -> bool:
    """A customer's values are compared by their hashes too: of a stored postback nothing else is left."""
    digest = material.hashed(key, value)
    return bool(digest) and any(digest == material.hashed(key, each) for each in allowed)


def _one_each(outcomes: list[Outcome]) -> Iterator[Outcome]:
    """One event at most for each (pixel, name, id): the first that can send, else the first."""
    chosen: dict[tuple[str, str, str], Outcome] = {}
    for each in outcomes:
        if each.planned:
            other = chosen.setdefault(_identity(each.planned), each)
            if other.planned and other.planned.held and not each.planned.held:
                chosen[_identity(each.planned)] = each
    for each in outcomes:
        if each.planned and (other := chosen[_identity(each.planned)]) is not each:
            words = f"{other.integration.name} sends this event to the same pixel"
            yield Outcome(each.integration, "ignored", "same_pixel", words)
        else:
            yield each


def _identity(planned: Planned) -> tuple[str, str, str]:
    return planned.event.pixel_id, planned.event.name, planned.event.id
