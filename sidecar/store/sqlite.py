"""The store in one SQLite file: WAL, an fsync for every commit, erased values overwritten."""

import asyncio
import contextlib
import json
import os
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, fields
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, TypeVar

from sidecar.core.click import Click, filled
from sidecar.core.delivery import Attempt, Delivery, Destination, Park, Settlement
from sidecar.core.postback import Postback
from sidecar.core.queue import VERBS, Entry
from sidecar.core.schedule import DELAYS, JITTER
from sidecar.core.status import WITHDRAWN
from sidecar.store.adding import Adding, add_postbacks, added_row
from sidecar.store.contract import (
    Backlog,
    Pending,
    Place,
    Reading,
    Ruled,
    Ruling,
    Stored,
    StoreRefused,
    StoreUnavailable,
)
from sidecar.store.reading import read_backlog, read_counts, read_deliveries, read_hours, read_stories
from sidecar.store.rows import (
    click_body,
    click_of,
    content_columns,
    postback_columns,
    postback_of,
)
from sidecar.store.state import FILE, RESERVE, connect, forget_copies, lock, prepare
from sidecar.store.statements import statements
from sidecar.store.writer import PATIENCE, Writer

_SQL = statements("queries.sql")

#: Rows that one step changes at most.
_PART = 2000

_ANY_NUMBER = 1 << 40

#: Seconds before its deadline from which on a delivery goes before all that is older.
CLOSE = 86400.0

_FORGETTABLE = ("bodies", "deliveries", "attempts", "postbacks", "clicks", "plain_clicks", "withdrawals")

Clock = Callable[[], float]

_Read = TypeVar("_Read")


class SqliteStore:
    """The contract's calls; see `sidecar.store.contract.Store`. The clock is the wall's, in Unix seconds."""

    def __init__(self, directory: Path, mode: str, clock: Clock) -> None:
        """Opens or creates the store of a state directory. Raises StoreRefused."""
        self._clock = clock
        self._closed = False
        #: The database, for those who only read it.
        self.path = directory / FILE
        self._lock = lock(directory)
        try:
            self.created_at = prepare(directory, mode, clock())
        except BaseException:
            os.close(self._lock)
            raise
        self._writer = Writer(partial(connect, self.path), directory / RESERVE)
        self._adding = Adding(self._writer)
        self._reader = ThreadPoolExecutor(1, "store-reader")

    @property
    def failing(self) -> str:
        """Why nothing can be added now; empty when all is well."""
        return self._writer.failing

    async def close(self) -> None:
        """Ends it once; a second call does nothing."""
        if self._closed:
            return
        self._closed = True
        await self._writer.close()
        self._reader.shutdown()
        os.close(self._lock)

    # ---- intake and journal

    async def add(self, postback: Postback) -> Stored:
        return await self._adding.add(postback, self._clock())

    async def first_read_at(self, journal: str) -> float:
        """When the journal was read for the first time: now, if it never was."""
        row = {"path": journal, "first_read_at": self._clock()}

        def step(connection: sqlite3.Connection) -> float:
            connection.execute(_SQL["add_journal"], row)
            return float(connection.execute(_SQL["journal"], {"path": journal}).fetchone()[0])

        result: float = await self._writer.do(step)
        return result

    async def places(self, journal: str) -> list[Place]:
        rows = await self._writer.do(partial(_all, "places", {"journal": journal}))
        return [Place(*row) for row in rows]

    async def add_reading(self, reading: Reading) -> Stored:
        now = self._clock()
        common = {"stored_at": now, "source": "journal"}
        rows = [added_row(postback, now, "journal") for postback in reading.postbacks]
        refused = [postback_columns(postback) | common | {"subid": subid} for postback, subid in reading.refused]

        def step(connection: sqlite3.Connection) -> Stored:
            _merge_clicks(connection, reading.clicks, now)
            stored = add_postbacks(connection, rows)
            early = connection.executemany(_SQL["add_refused_postback"], refused).rowcount
            connection.execute(_SQL["put_place"], {"journal": reading.journal, **asdict(reading.place)})
            return Stored(sum(each.new for each in stored) + early, sum(each.conflicting for each in stored))

        result: Stored = await self._writer.do(step, adds=True)
        return result

    async def drop_place(self, journal: str, place: Place) -> None:
        key = {"journal": journal, "device": place.device, "inode": place.inode}
        await self._writer.do(lambda connection: connection.execute(_SQL["drop_place"], key).rowcount)

    # ---- resolver

    async def pending(self, now: float, most: int) -> list[Pending]:
        rows = await self._writer.do(partial(_all, "pending", {"now": now, "most": most}))
        return [_pending(row) for row in rows]

    async def next_look(self) -> float | None:
        result: float | None = (await self._writer.do(partial(_all, "next_look", {})))[0][0]
        return result

    async def clicks(self, subids: Sequence[str]) -> dict[str, Click]:
        def step(connection: sqlite3.Connection) -> dict[str, str]:
            rows = {subid: _all("complete_click", {"subid": subid}, connection) for subid in subids}
            return {subid: found[0][0] for subid, found in rows.items() if found}

        return {subid: click_of(subid, body) for subid, body in (await self._writer.do(step)).items()}

    async def add_clicks(self, clicks: Sequence[tuple[Click, bool]]) -> None:
        """Clicks of another source than the journal, each with whether it has an fbclid."""
        now = self._clock()
        await self._writer.do(lambda connection: _merge_clicks(connection, clicks, now), adds=True)

    async def wake(self, subids: Sequence[str]) -> None:
        """What waits for these is looked at now."""
        await self._writer.do(partial(_many, "wake_waiting", [{"subid": subid} for subid in subids]))

    async def waiting(self) -> int:
        return int((await self._writer.do(partial(_all, "count_waiting", {})))[0][0])

    async def longest_waiting(self, most: int) -> list[Pending]:
        rows = await self._writer.do(partial(_all, "longest_waiting", {"most": most}))
        return [_pending(row) for row in rows]

    async def rule(self, rulings: Sequence[Ruling], configuration: str) -> Ruled:
        step = partial(_rule, rulings, configuration, self._clock())
        result: Ruled = await self._writer.do(step, adds=True)
        return result

    # ---- courier

    async def destinations(self) -> list[Destination]:
        return [Destination(*row[1:]) for row in await self._writer.do(partial(_all, "destinations", {}))]

    async def lease(self, destinations: Sequence[Destination], most: int) -> list[Delivery]:
        now = self._clock()

        def step(connection: sqlite3.Connection) -> list[Delivery]:
            leased: list[Delivery] = []
            for destination, seq in _known(connection, destinations):
                rows = _lease(connection, seq, now, most - len(leased)) if len(leased) < most else ()
                leased += [Delivery(row[0], destination, *row[1:]) for row in sorted(rows)]
            return leased

        result: list[Delivery] = await self._writer.do(step)
        return result

    async def next_due(self, destinations: Sequence[Destination]) -> float | None:
        now = self._clock()

        def step(connection: sqlite3.Connection) -> float | None:
            due = [
                connection.execute(_SQL["next_due"], {"destination": seq, "now": now}).fetchone()[0]
                for _, seq in _known(connection, destinations)
            ]
            return min((moment for moment in due if moment is not None), default=None)

        result: float | None = await self._writer.do(step)
        return result

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        now = self._clock()
        rows = [
            {"seq": each.seq, "state": each.state, "reason": each.reason, "due_at": each.due_at,
             "failures": each.failures, "held": each.held, "now": now}
            for each in settlements
        ]  # fmt: skip
        attempts = [(each.seq, *_columns(attempt)) for each in settlements for attempt in each.attempts]

        def step(connection: sqlite3.Connection) -> None:
            connection.executemany(_SQL["settle"], rows)
            connection.executemany(_SQL["add_attempt"], attempts)

        await self._writer.do(step)

    async def hasten(self, destinations: Sequence[Destination]) -> None:
        known = await self._writer.do(lambda connection: list(_known(connection, destinations)))
        for _, seq in known:
            await self._in_parts("hasten", {"destination": seq, "now": self._clock()})

    async def bury(self) -> int:
        return await self._in_parts("bury", {"now": self._clock()})

    async def pull_in(self) -> int:
        now = self._clock()
        total = await self._in_parts("pull_in_new", {"now": now})
        for failures, delay in enumerate(DELAYS, 1):
            most = failures if failures < len(DELAYS) else _ANY_NUMBER
            values = {"now": now, "least": failures, "largest": most, "step": delay * (1 + JITTER)}
            total += await self._in_parts("pull_in", values)
        return total

    async def parks(self) -> list[Park]:
        return [Park(*row) for row in await self._writer.do(partial(_all, "parks", {}))]

    async def keep_parks(self, parks: Sequence[Park], dropped: Sequence[str]) -> None:
        def step(connection: sqlite3.Connection) -> None:
            connection.executemany(_SQL["keep_park"], [asdict(park) for park in parks])
            connection.executemany(_SQL["drop_park"], [{"concern": concern} for concern in dropped])

        await self._writer.do(step)

    # ---- queue tools

    async def steer(self, verb: str, entries: Sequence[Entry], to: Destination | None = None) -> int:
        """Does a verb of `core.queue` to deliveries, where they still are what was seen; how many that were."""
        assert verb in VERBS
        now, changed = self._clock(), 0

        def step(part: Sequence[Entry], connection: sqlite3.Connection) -> int:
            values: dict[str, Any] = {"now": now}
            if to:
                values |= {"destination": _destination(connection, to), "pixel_id": to.pixel_id}
            statement = _SQL["redirect" if to else verb]
            rows = [values | {"seq": each.seq, "expected": each.state, "reason": each.reason} for each in part]
            return connection.executemany(statement, rows).rowcount

        for start in range(0, len(entries), _PART):
            changed += await self._writer.do(partial(step, entries[start : start + _PART]))
        return changed

    async def replay(self, ids: Sequence[str]) -> int:
        """Makes postbacks that are not sent undecided again; how many."""
        replayed = 0
        for start in range(0, len(ids), _PART):
            rows = [{"id": id} for id in ids[start : start + _PART]]
            replayed += await self._writer.do(partial(_many, "replay", rows))
        return replayed

    async def _in_parts(self, name: str, values: dict[str, Any]) -> int:
        """A statement with a bound, again and again until nothing is left to do: no one waits long behind it."""
        total = 0
        while changed := await self._writer.do(partial(_count, name, values | {"most": _PART})):
            total += changed
        return total

    # ---- retention

    async def raw(self, before: float, most: int) -> list[Pending]:
        rows = await self._writer.do(partial(_all, "raw_postbacks", {"before": before, "most": most}))
        return [_pending(row) for row in rows]

    async def scrub(self, postbacks: Sequence[Postback]) -> None:
        rows = [{"id": postback.id, **content_columns(postback)} for postback in postbacks]
        await self._writer.do(lambda connection: connection.executemany(_SQL["scrub"], rows).rowcount)

    async def forget(self, what: str, before: float, most: int) -> int:
        """Removes what is older than `before`: bodies, deliveries, attempts, postbacks, clicks or plain_clicks."""
        assert what in _FORGETTABLE
        values: dict[str, Any] = {"before": before, "most": most}
        if what.endswith("clicks"):
            values["has_fbclid"] = int(what == "clicks")
        result: int = await self._writer.do(partial(_count, f"forget_{what.removeprefix('plain_')}", values))
        return result

    async def tidy(self) -> None:
        """Gives freed pages back and empties the log, in which erased values would stay."""
        await self._writer.do(lambda connection: connection.execute("PRAGMA incremental_vacuum(2000)").fetchall())
        await asyncio.get_running_loop().run_in_executor(self._reader, _checkpoint, self.path)
        forget_copies(self.path, self._clock())

    # ---- facts

    async def fact(self, name: str) -> str:
        """The value of a fact; empty when there is none."""
        rows = await self._writer.do(partial(_all, "fact", {"name": name}))
        return str(rows[0][0]) if rows else ""

    async def keep_fact(self, name: str, value: str) -> None:
        await self._writer.do(partial(_count, "keep_fact", {"name": name, "value": value}), adds=True)

    # ---- people

    async def counts(self) -> dict[str, Any]:
        return await self._read(read_counts)

    async def backlog(self) -> Backlog:
        return await self._read(read_backlog)

    async def stories(self, name: str, most: int) -> list[dict[str, Any]]:
        return await self._read(lambda path: read_stories(path, name, most))

    async def hours(self, since: float) -> list[tuple[str, int, str, int]]:
        return await self._read(lambda path: read_hours(path, since))

    async def deliveries(self, integration: str, most: int) -> dict[str, list[dict[str, Any]]]:
        return await self._read(lambda path: read_deliveries(path, integration, most))

    async def _read(self, read: Callable[[Path], _Read]) -> _Read:
        """Beside the writer, which it does not hold up. Raises StoreUnavailable."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._reader, read, self.path)
        except StoreRefused as error:
            raise StoreUnavailable(str(error)) from None


def _checkpoint(path: Path) -> None:
    """Most of it while others write; only the rest makes them wait, and not for long. Raises StoreUnavailable."""
    try:
        with contextlib.closing(sqlite3.connect(path, timeout=PATIENCE / 1000, isolation_level=None)) as connection:
            for mode in ("PASSIVE", "TRUNCATE"):
                connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchall()
    except sqlite3.Error as error:
        raise StoreUnavailable(str(error)) from None


def _all(name: str, values: dict[str, Any], connection: sqlite3.Connection) -> list[Any]:
    return connection.execute(_SQL[name], values).fetchall()


def _many(name: str, rows: Sequence[dict[str, Any]], connection: sqlite3.Connection) -> int:
    return connection.executemany(_SQL[name], rows).rowcount


def _lease(connection: sqlite3.Connection, destination: int, now: float, most: int) -> list[Any]:
    """What is due, all of it where it fits. Else new and old in turn, half each; of the old what is close to its
    deadline first. A backlog neither waits for ever nor holds up what comes."""
    values = {"destination": destination, "now": now, "most": most, "close": CLOSE}
    if not connection.execute(_SQL["is_behind"], values).fetchone()[0]:
        return connection.execute(_SQL["lease"], values).fetchall()
    new = most // 2
    rows: list[Any] = []
    for name in ("lease_urgent", "lease_newest", "lease"):
        room = {"lease_urgent": most - new, "lease_newest": new, "lease": most - len(rows)}[name]
        rows += connection.execute(_SQL[name], values | {"most": room}).fetchall()
    return rows


def _count(name: str, values: dict[str, Any], connection: sqlite3.Connection) -> int:
    return connection.execute(_SQL[name], values).rowcount


def _pending(row: tuple[Any, ...]) -> Pending:
    return Pending(postback_of((row[0], row[1], *row[3:7])), row[2], row[7])


def _merge_clicks(connection: sqlite3.Connection, clicks: Iterable[tuple[Click, bool]], now: float) -> None:
    """The first line of a click stays; later ones and additions fill its gaps."""
    for click, has_fbclid in clicks:
        row = connection.execute(_SQL["click"], {"subid": click.subid}).fetchone()
        if row:
            known = click_of(click.subid, row[1])
            late = known.clicked_at is None and click.clicked_at is not None
            click = filled(click, known) if late else filled(known, click)
            if click == known:
                continue
        values = {"subid": click.subid, "clicked_at": click.clicked_at, "stored_at": now,
                  "has_fbclid": int(has_fbclid), "body": click_body(click)}  # fmt: skip
        connection.execute(_SQL["put_click"], values)
        if click.clicked_at is not None:
            connection.execute(_SQL["wake_waiting"], {"subid": click.subid})


def _rule(rulings: Sequence[Ruling], configuration: str, now: float, connection: sqlite3.Connection) -> Ruled:
    reasons: list[tuple[str, str]] = []
    woken: set[Destination] = set()
    for ruling in rulings:
        decision, reason, trace = ruling.decision.decision, ruling.decision.reason, ruling.decision.trace
        if reason == "sent":
            added = _add_deliveries(connection, ruling, configuration, now)
            woken |= added
            if not added:
                decision, reason = "ignored", "duplicate"
                trace = (*trace, "duplicate: this event already stands for this pixel")
        conversion = ruling.decision.conversion
        if conversion and conversion.status in WITHDRAWN:
            key = {"subid": conversion.subid, "tid": conversion.tid}
            values = {**key, "received_at": conversion.received_at, "now": now}
            connection.execute(_SQL["withdraw"], values)
            connection.execute(_SQL["add_withdrawal"], values)
        kept = ruling.kept or ruling.pending.postback
        values = {
            "id": ruling.pending.postback.id, "subid": ruling.subid, "now": now, "decision": decision, "reason": reason,
            "trace": json.dumps(trace, ensure_ascii=False), "configuration": configuration,
            "state": ruling.state, "expected": ruling.pending.state, "due_at": ruling.due_at,
            "raw": int(ruling.kept is None), "lacks_click": int(_lacks_click(ruling)), **content_columns(kept),
        }  # fmt: skip
        connection.execute(_SQL["wait" if ruling.state == "waiting" else "decide"], values)
        reasons.append((decision, reason))
    return Ruled(tuple(reasons), frozenset(woken))


def _lacks_click(ruling: Ruling) -> bool:
    click = ruling.decision.click
    return click is None or click.source == "postback"


def _add_deliveries(connection: sqlite3.Connection, ruling: Ruling, configuration: str, now: float) -> set[Destination]:
    conversion = ruling.decision.conversion
    assert conversion is not None
    added: set[Destination] = set()
    for planned in ruling.decision.events:
        event = planned.event
        destination = Destination(planned.integration, event.pixel_id, planned.route)
        values = {
            "event_id": event.id, "event_name": event.name, "pixel_id": event.pixel_id,
            "destination": _destination(connection, destination), "postback": ruling.pending.postback.id,
            "subid": conversion.subid, "tid": conversion.tid, "event_time": event.time, "deadline": event.deadline,
            "not_before": planned.due_at, "body": event.body, "configuration": configuration, "now": now,
        }  # fmt: skip
        if connection.execute(_SQL["add_delivery"], values).rowcount:
            added.add(destination)
            if planned.due_at > conversion.received_at:
                connection.execute(_SQL["withdraw_late"], values | {"received_at": conversion.received_at})
    return added


def _destination(connection: sqlite3.Connection, destination: Destination) -> int:
    values = {"integration": destination.integration, "pixel_id": destination.pixel_id, "route": destination.route}
    found = connection.execute(_SQL["find_destination"], values).fetchone()
    if found is None:
        connection.execute(_SQL["add_destination"], values)
        found = connection.execute(_SQL["find_destination"], values).fetchone()
    return int(found[0])


def _known(connection: sqlite3.Connection, destinations: Sequence[Destination]) -> Iterable[tuple[Destination, int]]:
    for destination in destinations:
        if found := connection.execute(_SQL["find_destination"], asdict(destination)).fetchone():
            yield destination, found[0]


@lru_cache(maxsize=16)
def _columns(attempt: Attempt) -> tuple[Any, ...]:
    """An attempt's columns; all events of a request share one."""
    return tuple(getattr(attempt, field.name) for field in fields(attempt))
