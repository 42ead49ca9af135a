"""One integration: how it stands, what it sends where, and what became of its deliveries."""

from collections.abc import Iterator, Mapping, Sequence
from shlex import quote
from typing import Any

from sidecar.config.shape import duration_of
from sidecar.core.configuration import Integration, Rule
from sidecar.core.problem import problems
from sidecar.core.shown import host_of, worth_of
from sidecar.page.day import Day, empty
from sidecar.page.delivery import Held, delivery
from sidecar.page.standing import standings


def integration(
    name: str,
    declared: Integration | None,
    status: Mapping[str, Any],
    day: Day | None,
    deliveries: Mapping[str, Sequence[Mapping[str, Any]]],
    held: Held,
) -> dict[str, Any]:
    """What the template shows; `declared` is None for one that is gone."""
    counted: Mapping[str, Any] = next((each for each in status["integrations"] if each["name"] == name), {})
    standing = standings(status).get(name)
    return {
        "name": name,
        "declared": declared,
        "standing": standing,
        "problems": [each for each in problems(status) if name in each.integrations],
        "waiting": counted.get("waiting", 0),
        "day": day or empty(0.0),
        "proxies": [host_of(proxy) for proxy in declared.proxies] if declared else [],
        "only": [f"{key} in {', '.join(values)}" for key, values in declared.only.items()] if declared else [],
        "rules": list(_rules(declared)) if declared else [],
        "newest": [delivery(row, held) for row in deliveries["newest"]],
        "held": [delivery(row, held) for row in deliveries["waiting"]],
        "dead": [delivery(row, held) for row in deliveries["dead"]],
        "commands": list(_commands(name, declared)),
    }


def _rules(declared: Integration) -> Iterator[dict[str, Any]]:
    for status, rule in declared.mapping.rules.items():
        yield {
            "status": status,
            "event": rule.event if rule else "",
            "more": ", ".join(_more(rule)) if rule else "known, and not sent",
            "at": rule.place if rule else declared.mapping.place,
        }


def _more(rule: Rule) -> Iterator[str]:
    yield f"value {worth_of(rule.value)}"
    if rule.currency:
        yield f"currency {rule.currency}"
    if rule.delay:
        yield f"delay {duration_of(rule.delay)}"
    if rule.skip_zero:
        yield "skip_zero"
    yield from (f"{name}: {value}" for name, value in rule.custom_data.items())


def _commands(name: str, declared: Integration | None) -> Iterator[tuple[str, str]]:
    """What can be done about it, and what to type."""
    quoted = quote(name)
    if declared is None:
        yield (
            "give its events to another one with the same pixel",
            (f"capi-sidecar queue release --integration {quoted} --to NAME"),
        )
        return
    yield "all keys, each with its place", f"capi-sidecar integrations show {quoted}"
    if declared.paused:
        yield "send again", f"capi-sidecar integrations resume {quoted}"
    else:
        yield "send nothing for now; what comes is kept", f"capi-sidecar integrations pause {quoted}"
    yield "give a status an event", f"capi-sidecar integrations map {quoted} STATUS EVENT"
    yield "send one event of no value", f"capi-sidecar send-test {quoted} --test-event-code TEST12345"
    yield "what waits", f"capi-sidecar queue list --integration {quoted}"
