"""What another configuration would change: in itself, and for postbacks that were decided before."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any

from sidecar.core.click import Click
from sidecar.core.configuration import Configuration, Rule, Tracker, Value
from sidecar.core.decide import Decision, decide
from sidecar.core.meta import HASHED_KEYS
from sidecar.core.postback import Postback
from sidecar.core.privacy import is_kept
from sidecar.core.secret import Secret

#: Examples of each effect that are kept.
EXAMPLES = 3

#: What keeps only what Keitaro itself knows.
_EMPTY = Configuration(Tracker())

#: Fields that say where something stands, or follow from others.
_DERIVED = frozenset({"place", "token_place", "proxy_place", "route", "error"})


@dataclass(frozen=True, slots=True)
class Change:
    """One difference: `what` is `added`, `removed` or `altered`; `name` an integration or a part of the file."""

    what: str
    name: str
    field: str = ""
    old: str = ""
    new: str = ""


@dataclass(frozen=True, slots=True)
class Seen:
    """A stored postback with its click."""

    postback: Postback
    click: Click | None


@dataclass
class Effects:
    """What becomes of postbacks under another configuration, in numbers and examples.

    `kinds` counts `same`, `no longer sent`, `newly sent`, `sent otherwise` and `same (not sent)`; `sent` and
    `stopped` count by integration those that the running one sends, and those of them that would stop.
    """

    kinds: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)
    sent: Counter[str] = field(default_factory=Counter)
    stopped: Counter[str] = field(default_factory=Counter)


def changes(old: Configuration, new: Configuration) -> list[Change]:
    """Integrations added, removed and altered field by field, and what changed besides; secrets only as changed."""
    found = [Change("removed", name) for name in old.by_name if name not in new.by_name]
    for name, integration in new.by_name.items():
        if name not in old.by_name:
            found.append(Change("added", name))
        else:
            found += _altered(name, old.by_name[name], integration)
    for part in ("tracker", "retention", "graph", "brake", "canary"):
        found += _altered(part, getattr(old, part), getattr(new, part))
    orders = [[name for name in each.by_name if name in old.by_name and name in new.by_name] for each in (old, new)]
    if orders[0] != orders[1]:
        found.append(Change("altered", "order", "", ", ".join(orders[0]), ", ".join(orders[1])))
    return found


def effects(old: Configuration, new: Configuration, seen: Iterable[Seen]) -> Effects:
    """Each postback decided by both, as of its arrival and with any key: neither age nor a rotated key plays a part."""
    old, new = _keyless(old), _keyless(new)
    found = Effects()
    for each in seen:
        before, after = (_decided(each, configuration) for configuration in (old, new))
        kind = _kind(before, after)
        found.kinds[kind] += 1
        examples = found.examples.setdefault(kind, [])
        if kind not in ("same", "same (not sent)") and len(examples) < EXAMPLES:
            examples.append(
                f"{before.conversion.subid if before.conversion else '-'}: {_told(before)} -> {_told(after)}"
            )
        kept = {planned.integration for planned in after.events}
        for planned in before.events:
            found.sent[planned.integration] += 1
            # The same event through another integration to the same pixel is still sent.
            still = planned.integration in kept or any(
                other.event.pixel_id == planned.event.pixel_id for other in after.events
            )
            found.stopped[planned.integration] += not still
    return found


def missing_parameters(old: Configuration, new: Configuration) -> list[str]:
    """Parameters that only the new one reads: stored postbacks have lost them when they were decided."""
    return sorted(name for name in new.parameters - old.parameters if not is_kept(name, old))


def absent_parameters(configuration: Configuration, scrubbed: Sequence[Postback]) -> list[str]:
    """Parameters that only the configuration names and none of these scrubbed postbacks has: not sent, or dropped when
    it was decided."""
    named = {name for name in configuration.parameters - set(HASHED_KEYS) if not is_kept(name, _EMPTY)}
    for postback in scrubbed:
        named -= postback.parameters.keys()
    return sorted(named) if scrubbed else []


def braked(found: Effects, configuration: Configuration, scale: float) -> list[str]:
    """Why a change is too large; nothing when it is not. `scale` is how many postbacks each seen one stands for."""
    brake = configuration.brake
    totals = {"of all": (found.sent.total(), found.stopped.total())}
    totals |= {f"of {name}": (count, found.stopped[name]) for name, count in found.sent.items()}
    return [
        f"{stopped / sent:.0%} {whose}: {stopped * scale:.0f} of {sent * scale:.0f} would stop being sent"
        for whose, (sent, stopped) in totals.items()
        if sent * scale >= brake.least and stopped > brake.share * sent
    ]


def _altered(name: str, old: Any, new: Any) -> list[Change]:
    found = []
    for each in fields(old):
        before, after = getattr(old, each.name), getattr(new, each.name)
        if each.name not in _DERIVED and _comparable(before) != _comparable(after):
            found.append(Change("altered", name, each.name, _shown(before), _shown(after)))
    return found


def _comparable(value: Any) -> Any:
    """Without the places at which rules stand."""
    if isinstance(value, Rule):
        return tuple(getattr(value, each.name) for each in fields(value) if each.name != "place")
    if hasattr(value, "rules"):
        return {status: _comparable(rule) for status, rule in value.rules.items()}
    return value


def _shown(value: Any) -> str:
    if _has_secret(value):
        return "(secret)"
    if hasattr(value, "rules"):
        rules = (f"{status}: {_rule(rule)}" for status, rule in value.rules.items())
        return f"{value.name} {{{', '.join(rules)}}}"
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "-"
    return str(value) if value not in ("", None) else "-"


def _rule(rule: Rule | None) -> str:
    """The event, and what else is said where something is."""
    if rule is None:
        return "null"
    plain = Rule(rule.event)
    said = [(each.name, getattr(rule, each.name)) for each in fields(rule) if each.name not in ("event", "place")]
    further = [f"{name}={_worth(value)}" for name, value in said if value != getattr(plain, name)]
    return f"{rule.event} ({', '.join(further)})" if further else rule.event


def _worth(value: Any) -> str:
    if isinstance(value, Value):
        return f"{value.share:%}" if value.share is not None else str(value.amount or "none")
    return str(value)


def _has_secret(value: Any) -> bool:
    parts = value if isinstance(value, tuple) else vars(value).values() if is_dataclass(value) else (value,)
    return any(isinstance(part, Secret) for part in parts)


def _keyless(configuration: Configuration) -> Configuration:
    return replace(configuration, tracker=replace(configuration.tracker, postback_keys=None))


def _decided(seen: Seen, configuration: Configuration) -> Decision:
    return decide(seen.postback, seen.click, configuration, seen.postback.received_at)


def _kind(before: Decision, after: Decision) -> str:
    if not before.events:
        return "newly sent" if after.events else "same (not sent)"
    if not after.events:
        return "no longer sent"
    return "same" if _essence(before) == _essence(after) else "sent otherwise"


def _essence(decision: Decision) -> Sequence[tuple[str, bytes, str]]:
    return sorted((planned.event.pixel_id, planned.event.body, planned.integration) for planned in decision.events)


def _told(decision: Decision) -> str:
    if not decision.events:
        return decision.reason
    return " + ".join(
        f"{planned.event.name} {_value(planned.event.as_json())}by {planned.integration}" for planned in decision.events
    )


def _value(event: dict[str, Any]) -> str:
    data = event.get("custom_data", {})
    return f"{data['value']} {data.get('currency', '')} " if "value" in data else ""
