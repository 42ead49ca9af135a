"""`capi-sidecar queue`: looks at the deliveries and steers them; the running daemon does the steering."""

import argparse
import json
import sys
from dataclasses import fields
from typing import Any

from sidecar.cli.client import NotRunning, Refused, act
from sidecar.cli.exit import FOUND, OK, USAGE
from sidecar.cli.queue_shown import list_all, shape, show
from sidecar.core.queue import Selection, fault_of, parse_ages
from sidecar.store.contract import StoreRefused
from sidecar.store.state import FILE

#: Stands for every delivery, so that nobody means all by leaving something out.
ALL = "ALL"

#: Seconds that steering may take: a queue can be long.
_PATIENCE = 600.0

_LOOKS = {"list": list_all, "show": show, "shape": shape}

_DONE = {"retry": "to be sent again now", "hold": "held", "release": "released", "delete": "deleted"}


class _Unclear(Exception):
    """What is meant cannot be told; the text says what to write."""


def run(options: argparse.Namespace) -> int:
    try:
        selection = _selection(options)
        if options.verb in _LOOKS:
            return _look(options, selection)
        return _steer(options, selection)
    except _Unclear as error:
        print(f"queue: {error}", file=sys.stderr)
        return USAGE


def _selection(options: argparse.Namespace) -> Selection:
    ids = [name for name in options.ids if name != ALL]
    if "-" in ids:
        ids = [name for name in ids if name != "-"] + sys.stdin.read().split()
        if not ids:
            raise _Unclear("no ids came on standard input")
    ages = parse_ages(options.age) if options.age else (0.0, float("inf"))
    if ages is None:
        raise _Unclear(f"--age {options.age}: write 2h (at least), 1h..2h or ..10m")
    given = {name: getattr(options, name) or "" for name in ("integration", "reason", "subid", "event")}
    state = getattr(options, "in") or ""  # --state is the directory of the store
    selection = Selection(tuple(ids), state=state, least_age=ages[0], most_age=ages[1], **given)
    if fault := fault_of(selection):
        raise _Unclear(fault)
    if options.verb not in ("list", "shape") and selection == Selection() and ALL not in options.ids:
        raise _Unclear(f"say which: ids, - for ids on standard input, a filter such as --integration, or {ALL}")
    if ALL in options.ids and ids:
        raise _Unclear(f"either ids or {ALL}")
    return selection


def _look(options: argparse.Namespace, selection: Selection) -> int:
    if not (options.state / FILE).exists():
        raise _Unclear(f"no store in {options.state}; --state names the daemon's directory")
    try:
        return _LOOKS[options.verb](options, selection)
    except (OSError, StoreRefused) as error:
        raise _Unclear(f"{options.state}: {getattr(error, 'strerror', None) or error}") from None


def _steer(options: argparse.Namespace, selection: Selection) -> int:
    """Does it, or with --dry-run says what would be done. What is destroyed is first only shown."""
    dry_run = options.dry_run or (options.verb == "delete" and not options.yes)
    given = _as_json(selection) | {"dry_run": dry_run, "to": getattr(options, "to", None) or ""}
    try:
        done = act(options, f"queue/{options.verb}", given, _PATIENCE)
    except (NotRunning, Refused) as error:
        print(f"queue: {error}", file=sys.stderr)
        return FOUND
    except ValueError as error:
        raise _Unclear(str(error)) from None
    if options.json:
        print(json.dumps(done))
    else:
        _print(options, done)
    if dry_run and not options.dry_run:
        print("queue: nothing was done; add --yes to delete them for good", file=sys.stderr)
        return FOUND
    return OK if done["changed"] or options.dry_run else FOUND


def _as_json(selection: Selection) -> dict[str, Any]:
    """Its fields, but for those that are as they are by default."""
    given = {field.name: getattr(selection, field.name) for field in fields(selection)}
    changed = {field.name for field in fields(selection) if given[field.name] != field.default}
    return {name: list(value) if name == "ids" else value for name, value in given.items() if name in changed}


def _print(options: argparse.Namespace, done: dict[str, Any]) -> None:
    would = "would be " if done["dry_run"] else ""
    what = "delivery" if done["changed"] == 1 else "deliveries"
    print(f"{done['changed']} {what} {would}{_DONE[options.verb]}")
    for name, count in sorted(done["integrations"].items()):
        print(f"  {count:>8}  {name}")
    for words, count in sorted(done["left"].items()):
        print(f"  {count:>8}  left alone: {words}")
