"""`capi-sidecar reconcile`: is anything lost? The journals (and the tracker's own log) against the store and Meta."""

import argparse
import json
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from sidecar.cli.client import NotRunning, Refused, act
from sidecar.cli.configuration import load_or_say
from sidecar.cli.exit import BAD_CONFIGURATION, FOUND, OK, USAGE
from sidecar.config.secrets import Resolve
from sidecar.core.configuration import Configuration
from sidecar.core.conversion import Conversion, accepts_key, read_conversion
from sidecar.core.line import BadLine, parse_line, read_postback
from sidecar.core.postback import Postback, key_of
from sidecar.core.reconcile import COLUMNS, NOBODY, Called, Hole, Recorded, Report, reconcile
from sidecar.core.times import iso, parse_since
from sidecar.journal.files import files_of
from sidecar.store.contract import StoreRefused
from sidecar.store.reading import read_positions, read_received
from sidecar.store.state import FILE

#: Seconds that an injection may take.
_PATIENCE = 600.0

#: Bytes of postbacks that go to the daemon at once.
_PART = 4 << 20

#: Seconds by which the tracker's moment of a conversion may be later than its postback's: Keitaro queues it.
_LATER = 600.0

#: Examples of a kind of hole that are shown.
_EXAMPLES = 3


@dataclass
class Found:
    """What the journals and the tracker have: postbacks by id, and conversions that no postback in the store has."""

    called: dict[str, Called]
    postbacks: dict[str, Postback]
    recorded: dict[str, dict[str, Any]]


def run(options: argparse.Namespace) -> int:
    since = parse_since(options.since, time.time())
    if since is None:
        return _usage(f"--since {options.since}: write a duration back from now such as 2d, Unix seconds or ISO 8601")
    configuration = load_or_say(options.config, resolve=Resolve.ALL)
    if configuration is None:
        return BAD_CONFIGURATION
    try:
        positions = read_positions(options.state / FILE)
        found = _journalled(options.journal, since, configuration, positions)
        received, by_subid = read_received(options.state / FILE, since - _LATER)
        received = {id: each for id, each in received.items() if each.received_at >= since}
    except (OSError, StoreRefused) as error:
        return _usage(f"{getattr(error, 'filename', None) or options.state}: "
                      f"{getattr(error, 'strerror', None) or error}; run it as the daemon's user")  # fmt: skip
    if configuration.tracker.admin_api:
        found.recorded = _only_recorded(configuration, since, [*chain(*by_subid.values()), *found.postbacks.values()])
    recorded = [Recorded(name, each["received_at"]) for name, each in found.recorded.items()]
    report = reconcile(found.called, received, recorded)
    if options.json:
        print(json.dumps(_as_json(report, since)))
    else:
        print("\n".join(_lines(report, since)))
    if options.inject and report.unexplained:
        return _inject(options, found, report.unexplained)
    return FOUND if report.unexplained else OK


def _journalled(
    journals: Sequence[str], since: float, configuration: Configuration, positions: dict[tuple[int, int], int]
) -> Found:
    """Every postback with our key in the journals, rotated ones included. Raises OSError."""
    found = Found({}, {}, {})
    for file in (file for journal in journals for file in files_of(Path(journal))):
        read_to, end = positions.get((file.device, file.inode), 0), 0
        with file.path.open("rb") as lines:
            for raw in lines:
                end += len(raw)
                if (postback := _postback(raw, configuration)) and postback.received_at >= since:
                    found.called.setdefault(postback.id, Called(postback.id, postback.received_at, end <= read_to))
                    found.postbacks[postback.id] = postback
    return found


def _postback(raw: bytes, configuration: Configuration) -> Postback | None:
    try:
        line = parse_line(raw)
    except BadLine:
        return None
    if line["event"] != "postback" or not accepts_key(configuration, key_of(line["uri"])):
        return None
    return read_postback(line)


def _only_recorded(
    configuration: Configuration, since: float, postbacks: Iterable[Postback]
) -> dict[str, dict[str, Any]]:
    """Conversions of the tracker's log, by subid, status and tid, that no postback of the store or a journal has."""
    from sidecar.cli.recorded import conversions_of_the_tracker

    known = {
        (conversion.subid, conversion.tid, conversion.status)
        for postback in postbacks
        if isinstance(conversion := read_conversion(postback, configuration, []), Conversion)
    }
    found = {}
    for each in conversions_of_the_tracker(configuration, since):
        if (each["subid"], each["tid"], each["status"]) not in known:
            found["_".join(filter(None, (each["subid"], each["status"], each["tid"])))] = each
    return found


def _inject(options: argparse.Namespace, found: Found, holes: Sequence[Hole]) -> int:
    """What was missed goes to the daemon with its own id and time, as the journal would have brought it."""
    names = {hole.name for hole in holes}
    postbacks = [
        {"id": each.id, "received_at": each.received_at, "method": each.method, "uri": each.uri, "type": each.type,
         "body": each.body.decode("utf-8", "surrogateescape")}
        for id, each in found.postbacks.items() if id in names
    ]  # fmt: skip
    conversions = [each for name, each in found.recorded.items() if name in names]
    done = Counter[str]()
    try:
        for kind, rows in (("postbacks", postbacks), ("conversions", conversions)):
            for part in _parts(rows):
                done.update(act(options, "inject", {kind: part}, _PATIENCE))
    except (NotRunning, Refused, ValueError) as error:
        print(f"reconcile: {error}", file=sys.stderr)
        return FOUND
    print(f"reconcile: {done['stored']} postbacks were injected, {done['known']} were there already", file=sys.stderr)
    left = len(names) - len(postbacks) - len(conversions)
    if left:
        print(f"reconcile: {left} holes cannot be injected; explain --id tells more", file=sys.stderr)
    return FOUND if left else OK


def _parts(rows: Sequence[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """As many as the daemon takes in one request."""
    part: list[dict[str, Any]] = []
    size = 0
    for row in rows:
        length = len(json.dumps(row))
        if part and size + length > _PART:
            yield part
            part, size = [], 0
        part.append(row)
        size += length
    if part:
        yield part


def _as_json(report: Report, since: float) -> dict[str, Any]:
    return {
        "since": since,
        "rows": [
            {"integration": integration, "day": day, **{name: counts[name] for name in COLUMNS}}
            for (integration, day), counts in sorted(report.rows.items())
        ],
        "holes": [asdict(hole) for hole in report.holes],
        "unexplained": len(report.unexplained),
    }


def _lines(report: Report, since: float) -> Iterator[str]:
    yield f"{'INTEGRATION':<24} {'DAY':<10} " + " ".join(f"{name.upper():>11}" for name in COLUMNS)
    for (integration, day), counts in sorted(report.rows.items()):
        yield f"{integration:<24} {day:<10} " + " ".join(f"{counts[name] or '.':>11}" for name in COLUMNS)
    kinds: defaultdict[tuple[str, str], list[Hole]] = defaultdict(list)
    for hole in report.holes:
        kinds[hole.integration, hole.what].append(hole)
    for (integration, what), mine in kinds.items():
        count = len(mine)
        whose = "" if integration == NOBODY else f" for {integration}"
        sign = "" if mine[0].explained else "UNEXPLAINED "
        shown = ", ".join(f"{hole.name} of {iso(hole.at)}" for hole in mine[:_EXAMPLES])
        yield f"{sign}{count} {what}{whose}: {shown}{', ...' if count > _EXAMPLES else ''}"
    unexplained = len(report.unexplained)
    yield f"since {iso(since)}: " + (f"{unexplained} holes that nobody explains" if unexplained else "nothing is lost")


def _usage(words: str) -> int:
    print(f"reconcile: {words}", file=sys.stderr)
    return USAGE
