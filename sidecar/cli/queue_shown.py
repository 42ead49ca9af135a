"""`capi-sidecar queue list`, `show` and `shape`: what stands in the queue. Reads the store; needs no daemon."""

import argparse
import json
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from typing import Any

from sidecar.cli.client import NotRunning, ask
from sidecar.cli.exit import FOUND, OK
from sidecar.cli.told import attempt_told, fields_told
from sidecar.config.load import load
from sidecar.config.secrets import Resolve
from sidecar.core.advice import HELD
from sidecar.core.delivery import Held, lane_of
from sidecar.core.queue import Entry, Selection
from sidecar.core.times import iso
from sidecar.store.reading import read_delivery, read_queue
from sidecar.store.state import FILE

HeldOf = Callable[[Entry], str]

#: Upper ends of the columns of `shape`, in seconds; Meta takes nothing that is older than the last.
_AGES = {"5m": 300, "15m": 900, "1h": 3600, "3h": 10800, "12h": 43200, "1d": 86400, "2d": 172800, "4d": 345600,
         "7d": 604800}  # fmt: skip

_LINE = "{id:<10} {state:<24} {age:>6} {tries:>5}  {event:<22} {integration:<24} {event_id}"


def list_all(options: argparse.Namespace, selection: Selection) -> int:
    """One delivery a line, the oldest first."""
    count = 0
    for entry, held in _selected(options, selection):
        if options.json:
            print("[" if count == 0 else ",", json.dumps(row(entry, held)))
        else:
            if count == 0:
                print(_LINE.format(id="ID", state="STATE", age="AGE", tries="TRIES", event="EVENT",
                                   integration="INTEGRATION", event_id="EVENT_ID"))  # fmt: skip
            print(_line(entry, held))
        count += 1
    if options.json:
        print("]" if count else "[]")
    else:
        print(f"queue: {count or 'no'} deliveries", file=sys.stderr)
    return OK


def show(options: argparse.Namespace, selection: Selection) -> int:
    """All that is known of each."""
    shown = []
    for entry, held in _selected(options, selection):
        found = read_delivery(options.state / FILE, entry.seq)
        if found is None:
            continue  # it was purged at this moment
        body = found["body"]
        further = {name: found[name] for name in ("postback", "tid", "configuration", "attempts")}
        shown.append(row(entry, held) | further | {"event": json.loads(body) if body else None})
    if options.json:
        print(json.dumps(shown))
    else:
        print("\n".join(line for each in shown for line in _shown(each)))
    if not shown:
        print("queue: there is no such delivery", file=sys.stderr)
    return OK if shown else FOUND


def shape(options: argparse.Namespace, selection: Selection) -> int:
    """How many deliveries of each integration are how old, and what holds them."""
    now = time.time()
    ages: defaultdict[str, Counter[str]] = defaultdict(Counter)
    held_by: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for entry, held in _selected(options, selection):
        ages[entry.integration][_column(now - entry.created_at)] += 1
        held_by[entry.integration].update([held] if held else [])
    rows = [
        {"integration": name, "total": ages[name].total(), "ages": {age: ages[name][age] for age in _AGES},
         "held": dict(held_by[name])}
        for name in sorted(ages, key=lambda name: -ages[name].total())
    ]  # fmt: skip
    if options.json:
        print(json.dumps(rows))
    else:
        _print_shape(rows)
    return OK


def row(entry: Entry, held: str) -> dict[str, Any]:
    """An entry for machines."""
    fields = asdict(entry)
    del fields["seq"], fields["route"], fields["has_body"]
    return {"id": entry.id, **fields, "held": held}


def _selected(options: argparse.Namespace, selection: Selection) -> Iterator[tuple[Entry, str]]:
    now, held_of = time.time(), holder(options)
    for entry in read_queue(options.state / FILE, selection):
        held = held_of(entry)
        if selection.takes(entry, held, now):
            yield entry, held


def holder(options: argparse.Namespace) -> HeldOf:
    """Tells why an entry may not be leased: by its row, by the configuration, and by the running daemon's lanes."""
    configuration = load(options.config, resolve=Resolve.NOTHING).configuration
    lanes: dict[tuple[str, str], str] = {}
    faulty: set[str] = set()
    try:
        status = ask(options.admin, "/api/status")
    except (NotRunning, ValueError) as error:
        print(f"queue: {error} Whether a fault parks something is not known.", file=sys.stderr)
    else:
        for lane in status["lanes"]:
            held = lane["state"] if lane["state"] in ("parked", "throttled") else ""
            lanes |= {(lane["pixel_id"], name): held for name in lane["integrations"]}
        faulty = {each["name"] for each in status["integrations"] if each["status"].startswith("error")}

    def held_of(entry: Entry) -> str:
        if entry.state != "queued":
            return ""
        lane = lane_of(entry.destination, configuration) if configuration else None
        by_configuration = lane.reason if isinstance(lane, Held) else ""
        by_daemon = "in_error" if entry.integration in faulty else lanes.get((entry.pixel_id, entry.integration), "")
        return entry.held or by_configuration or by_daemon

    return held_of


def _line(entry: Entry, held: str) -> str:
    return _LINE.format(
        id=entry.id, state=_state(entry.state, entry.reason, held), age=_age(time.time() - entry.created_at),
        tries=entry.failures, event=entry.event_name, integration=entry.integration, event_id=entry.event_id,
    )  # fmt: skip


def _state(state: str, reason: str, held: str) -> str:
    if held:
        return f"held ({held})"
    return f"{state} ({reason})" if reason else state


def _age(seconds: float) -> str:
    """The largest unit that fits."""
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f}{unit}"
    return f"{max(seconds, 0):.0f}s"


def _shown(each: dict[str, Any]) -> Iterator[str]:
    state = _state(each["state"], each["reason"], each["held"])
    yield f"{each['id']}  {each['event_name']} {each['event_id']}  {state}"
    if each["held"]:
        yield f"  held: {HELD[each['held']]}"
    yield f"  integration {each['integration']}, pixel {each['pixel_id']}, subid {each['subid']}"
    yield f"  postback {each['postback']}, decided by configuration {each['configuration']}"
    yield f"  made {iso(each['created_at'])}, due {iso(each['due_at'])}, given up at {iso(each['deadline'])}"
    if each["ended_at"]:
        yield f"  ended {iso(each['ended_at'])}"
    yield f"  {each['failures']} tries were charged to it" if each["failures"] else "  no try was charged to it"
    yield from (f"  {attempt_told(attempt)}" for attempt in each["attempts"])
    if each["event"]:
        yield from (f"  {line}" for line in fields_told(each["event"], {}))
    else:
        yield "  its event is no longer kept (retention.body)"


def _column(age: float) -> str:
    return next((name for name, end in _AGES.items() if age < end), "7d")


def _print_shape(rows: Iterable[dict[str, Any]]) -> None:
    print(f"{'INTEGRATION':<24} {'ALL':>7} " + " ".join(f"{'<' + age:>7}" for age in _AGES) + "  HELD")
    for each in rows:
        held = ", ".join(f"{reason} {count}" for reason, count in sorted(each["held"].items()))
        numbers = " ".join(f"{count or '.':>7}" for count in each["ages"].values())
        print(f"{each['integration']:<24} {each['total']:>7} {numbers}  {held}".rstrip())
