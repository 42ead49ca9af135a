"""Keitaro's conversion statuses, and how a network's words become them.

Source: Keitaro's documentation, "Postback" and "Conversion types".
"""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from sidecar.core.parameters import Parameters, is_macro, last

KNOWN = ("lead", "sale", "rejected", "rebill", "trash", "registration", "deposit")
ALIASES = {"reg": "registration", "dep": "deposit"}

#: What an absent or empty status means.
DEFAULT = "sale"

#: A delayed delivery is given up when one of these arrives before it is sent.
WITHDRAWN = frozenset({"rejected", "trash"})

#: The status of a canary's own postback: known to nobody else, and never sent.
CANARY = "capi_canary"

_COMMA = re.compile(r",|%2[Cc]")


@dataclass(frozen=True, slots=True)
class Status:
    """Keitaro's normalised status, and how it came about."""

    name: str
    how: str


@dataclass(frozen=True, slots=True)
class NoStatus:
    """Why a postback has no status: `status_macro` or `ignore_status`."""

    reason: str
    how: str


def normalise(
    parameters: Parameters, statuses: Mapping[str, Collection[str]], custom: Collection[str]
) -> Status | NoStatus:
    """Keitaro's order: ignore list, the URL's own `<type>_status` lists, the configuration's, known types, as it is.

    `statuses` are the configuration's lists by type; `custom` are the custom statuses that a mapping names: only
    those and the known ones can own a `<type>_status` list, so that a network's `order_status` changes nothing.
    """
    raw = last(parameters, "status")
    if not raw:
        return Status(DEFAULT, f"none given, so {DEFAULT}")
    if is_macro(raw):
        return NoStatus("status_macro", f"an unreplaced macro {raw[:60]}; mend the network's postback URL")
    folded = raw.casefold()
    if folded in _ignored(parameters):
        return NoStatus("ignore_status", f"{raw[:60]} stands in the URL's ignore_status")
    for name, parameter in _types_in(parameters, custom):
        if folded in _items(last(parameters, parameter)):
            return Status(name, f"{raw[:60]} by the URL's {parameter}")
    for name, aliases in statuses.items():
        if any(folded == alias.casefold() for alias in aliases):
            return Status(canonical(name), f"{raw[:60]} by tracker.statuses.{name}")
    name = canonical(raw)
    return Status(name, "as given" if name == raw else f"{raw[:60]}, which is {name}")


def canonical(name: str) -> str:
    """A known type or alias in Keitaro's spelling; a custom status unchanged."""
    folded = ALIASES.get(name.casefold(), name.casefold())
    return folded if folded in KNOWN else name


def _ignored(parameters: Parameters) -> set[str]:
    return _items(last(parameters, "ignore_status")) | _items(last(parameters, "ignore"))


def _types_in(parameters: Parameters, custom: Collection[str]) -> Iterator[tuple[str, str]]:
    for parameter in parameters:
        if parameter.endswith("_status") and parameter != "ignore_status":
            name = canonical(parameter.removesuffix("_status"))
            if name in KNOWN or name in custom:
                yield name, parameter


def _items(text: str) -> set[str]:
    return {item.strip().casefold() for item in _COMMA.split(text) if item.strip()} if text else set()
