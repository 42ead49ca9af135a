"""`capi-sidecar integrations list` and `show`: the integrations as their files declare them, without any secret."""

import argparse
import json
import sys
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from sidecar.cli.client import NotRunning, ask
from sidecar.cli.configuration import load_or_say
from sidecar.cli.exit import BAD_CONFIGURATION, FOUND, OK, USAGE
from sidecar.config.edit.source import Declared, Sources, sources
from sidecar.config.load import yaml_files
from sidecar.config.secrets import Resolve
from sidecar.config.shape import duration_of, pairs, suggestion
from sidecar.core.configuration import Integration, Rule
from sidecar.core.shown import SECRET, host_of, way_of, worth_of
from sidecar.core.status import canonical

#: Columns of a terminal that a list should fit in, and what a column is shortened to at most.
_WIDTH = 100
_LEAST = 10

_DIRECT = "direct"

_NUMBERS = ("sent", "waiting", "failed")

_COUNTED = ("SENT", "WAITING", "FAILED")
_HEADS = ("NAME", "CAMPAIGNS", "PIXEL", "PROXY", "MAPPING", *_COUNTED, "STATUS")

#: The columns that are shortened, first those whose rest is missed least: campaigns, proxy, mapping.
_SHORTENED = (1, 3, 4)


def list_all(options: argparse.Namespace) -> int:
    configuration = load_or_say(options.config, resolve=Resolve.NOTHING)
    if configuration is None:
        return BAD_CONFIGURATION
    try:
        running = {each["name"]: each for each in ask(options.admin, "/api/status")["integrations"]}
    except NotRunning as error:
        print(f"integrations: {error} What was sent, waits and failed is not known.", file=sys.stderr)
        running = {}
    except ValueError as error:
        print(f"integrations: {error}", file=sys.stderr)
        return USAGE
    part = (options.search or "").casefold()
    rows = [_row(each, running.get(each.name, {})) for each in configuration.integrations]
    rows = [row for row in rows if part in row["name"].casefold()]
    if options.json:
        print(json.dumps(rows))
    elif rows:
        _print_table(rows)
    else:
        print("integrations: none has this in its name" if part else "integrations: there are none", file=sys.stderr)
    return OK


def show(options: argparse.Namespace) -> int:
    configuration = load_or_say(options.config, resolve=Resolve.NOTHING)
    if configuration is None:
        return BAD_CONFIGURATION
    if options.name not in configuration.by_name:
        near = suggestion(options.name, configuration.by_name)
        print(f'integrations: no integration "{options.name}"; {near}', file=sys.stderr)
        return FOUND
    read = sources({name: (options.config / name).read_bytes() for name in yaml_files(options.config)})
    shown = _shown(configuration.by_name[options.name], read)
    if options.json:
        print(json.dumps(shown))
    else:
        _print_integration(shown)
    return OK


def _row(integration: Integration, running: Mapping[str, Any]) -> dict[str, Any]:
    """An integration of the list; what the daemon alone knows, such as an unreadable secret, is its word."""
    state = _state(integration)
    said = str(running.get("status", ""))
    return {
        "name": integration.name,
        "status": said if state == "active" and said.startswith("error") else state,
        "held": [reason for reason in running.get("held", ()) if reason not in ("paused", "in_error")],
        "campaigns": list(integration.campaigns),
        "pixel_id": integration.pixel_id,
        "proxy": [host_of(proxy) for proxy in integration.proxies],
        "mapping": integration.mapping.name,
        **{name: running.get(name) for name in _NUMBERS},
        "at": integration.place,
    }


def _state(integration: Integration) -> str:
    return f"error: {integration.error}" if integration.error else "paused" if integration.paused else "active"


def _print_table(rows: Sequence[Mapping[str, Any]]) -> None:
    """Columns, some of them shortened until all fit; the status, which may be an error in words, is the last."""
    table = [_HEADS, *(_cells(row) for row in rows)]
    widths = [max(_width(line[column]) for line in table) for column in range(len(_HEADS) - 1)]
    for column in _SHORTENED:
        excess = sum(widths) + 2 * len(widths) + len(_HEADS[-1]) - _WIDTH
        widths[column] = min(widths[column], max(_LEAST, widths[column] - max(excess, 0)))
    for line in table:
        cells = [
            _fitted(cell, width, head in _COUNTED) for cell, width, head in zip(line, widths, _HEADS, strict=False)
        ]
        print("  ".join([*cells, line[-1]]))


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    numbers = ["-" if row[name] is None else str(row[name]) for name in _NUMBERS]
    campaigns, proxies = ", ".join(row["campaigns"]) or "-", ", ".join(row["proxy"]) or _DIRECT
    status = f"{row['status']}, {', '.join(row['held'])}" if row["held"] else row["status"]
    return (row["name"], campaigns, row["pixel_id"], proxies, row["mapping"], *numbers, status)


def _fitted(cell: str, width: int, is_number: bool) -> str:
    """A cell of exactly this width; numbers stand at its right."""
    if _width(cell) > width:
        while _width(cell) > width - 1:
            cell = cell[:-1]
        cell += "…"
    blanks = " " * (width - _width(cell))
    return blanks + cell if is_number else cell + blanks


def _width(text: str) -> int:
    """Columns that a text takes on a terminal."""
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in text)
    return len(text) + wide - sum(unicodedata.category(character) in ("Mn", "Me", "Cf") for character in text)


#: Every key of an integration but its name, and what is in force for it.
_KEYS: dict[str, Callable[[Integration], Any]] = {
    "campaigns": lambda each: each.campaigns,
    "pixel_id": lambda each: each.pixel_id,
    "pixels": lambda each: each.pixels,
    "token": lambda each: SECRET if each.token else None,
    "proxy": lambda each: [way_of(proxy) for proxy in each.proxies] or _DIRECT,
    "mapping": lambda each: each.mapping.name,
    "paused": lambda each: each.paused,
    "test_event_code": lambda each: each.test_event_code or None,
    "api_version": lambda each: each.api_version,
    "event_source_url": lambda each: each.event_source_url,
    "event_id": lambda each: each.event_id or "{subid}_{status}, with _{tid} where there is a tid",
    "fbclid_from": lambda each: each.fbclid_from,
    "fbp_from": lambda each: each.fbp_from,
    "fbc_from": lambda each: each.fbc_from,
    "data_processing": lambda each: asdict(each.data_processing) if each.data_processing else None,
    "only": lambda each: each.only,
    "customer": lambda each: each.customer_names,
}


def _shown(integration: Integration, read: Sources) -> dict[str, Any]:
    declared = read.integrations[integration.name]
    keys = {name: {"value": value(integration), "from": _origin(read, declared, name)} for name, value in _KEYS.items()}
    return {
        "name": integration.name,
        "at": integration.place,
        "status": _state(integration),
        "keys": keys,
        "mapping": {
            "name": integration.mapping.name,
            "at": integration.mapping.place,
            "rules": _rules(integration, read, declared),
        },
    }


def _origin(read: Sources, declared: Declared, name: str) -> str:
    """Where it is said what is in force for a key; `default` where nobody says anything."""
    said = read.in_force(declared, name)
    if said is None:
        return "default"
    return f"{said.key.place} ({said.level})" if said.level else said.key.place


def _rules(integration: Integration, read: Sources, declared: Declared) -> list[dict[str, Any]]:
    at = read.rules_of(declared)
    found = []
    for key, _ in pairs(at) if at else ():
        status = canonical(str(key.value).strip())
        place = f"{declared.at.file if at is None else at.file}:{key.start_mark.line + 1}"
        found.append({"status": status, "at": place, **_rule(integration.mapping.rules.get(status))})
    return found


def _rule(rule: Rule | None) -> dict[str, Any]:
    if rule is None:
        return {"event": None}
    return {
        "event": rule.event,
        "value": worth_of(rule.value),
        "currency": rule.currency,
        "delay": duration_of(rule.delay),
        "skip_zero": rule.skip_zero,
        "custom_data": dict(rule.custom_data),
    }


def _print_integration(shown: Mapping[str, Any]) -> None:
    print(f"{shown['name']}  {shown['status']}  {shown['at']}")
    _print_aligned([(name, _text(name, key["value"]), key["from"]) for name, key in shown["keys"].items()])
    mapping = shown["mapping"]
    print(f"mapping {mapping['name']}  {mapping['at']}")
    _print_aligned([(rule["status"], _rule_text(rule), rule["at"]) for rule in mapping["rules"]])


def _print_aligned(rows: Sequence[tuple[str, str, str]]) -> None:
    """Rows of three; a long value in the middle moves only its own line."""
    first = max((_width(row[0]) for row in rows), default=0)
    second = max((_width(row[1]) for row in rows if _width(row[1]) <= _WIDTH // 2), default=0)
    for name, value, origin in rows:
        print(f"  {_fitted(name, first, False)}  {value}{' ' * (second - _width(value))}  {origin}")


def _text(name: str, value: Any) -> str:
    if name == "customer":
        renamed = [f"{key} <- {', '.join(names) or 'nothing'}" for key, names in value.items() if names != (key,)]
        return "; ".join([*renamed, f"{', '.join(key for key in value if value[key] == (key,))} by their own names"])
    if isinstance(value, Mapping):
        return "; ".join(f"{key}: {_text('', each)}" for key, each in value.items()) or "-"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "-"
    return "-" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _rule_text(rule: Mapping[str, Any]) -> str:
    if rule["event"] is None:
        return "null (known, not sent)"
    extra = {name: each for name, each in rule.items() if name not in ("status", "at", "event") and each}
    if extra["delay"] == "0s":
        del extra["delay"]
    return ", ".join([rule["event"], *(f"{name} {_text(name, each)}" for name, each in extra.items())])
