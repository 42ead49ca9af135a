"""Postbacks that arrive together are one statement: a thread that gives up the interpreter once for each row would
wait for the event loop at every one of them.
"""

import asyncio
import contextlib
import sqlite3
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

from sidecar.core.postback import Postback
from sidecar.store.contract import Stored
from sidecar.store.rows import conflicts, fingerprint
from sidecar.store.statements import statements
from sidecar.store.writer import Writer

_SQL = statements("queries.sql")

#: Rows of one statement: powers of two, so that a few prepared statements serve every number.
_SIZES = (64, 32, 16, 8, 4, 2, 1)

Row = tuple[Any, ...]

Waiting = deque[tuple[Row, "asyncio.Future[Stored]"]]


class Adding:
    """Collects postbacks until the writer takes them, all that are there at once."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._waiting: Waiting = deque()
        self._queued = False

    def add(self, postback: Postback, stored_at: float) -> "asyncio.Future[Stored]":
        """Whether the postback was new, once it is on disk. Raises StoreUnavailable."""
        future: asyncio.Future[Stored] = asyncio.get_running_loop().create_future()
        self._waiting.append((added_row(postback, stored_at, "mirror"), future))
        if not self._queued:
            self._queued = True
            step = _Step(self._waiting)
            self._writer.do(step, adds=True, begins=self._begins).add_done_callback(step.answer)
        return future

    def _begins(self) -> None:
        """The step takes what waits now; who comes later needs another one."""
        self._queued = False


class _Step:
    """Adds what waits. Tried a second time, it adds the same rows again."""

    def __init__(self, waiting: Waiting) -> None:
        self._waiting = waiting
        self._taken: list[tuple[Row, asyncio.Future[Stored]]] = []

    def __call__(self, connection: sqlite3.Connection) -> list[Stored]:
        self._take()
        return add_postbacks(connection, [row for row, _ in self._taken])

    def answer(self, done: "asyncio.Future[list[Stored]]") -> None:
        """Tells everyone whose row was taken."""
        error = done.exception()
        if error is not None and not self._taken:
            self._take()
        results: Sequence[Any] = [error] * len(self._taken) if error else done.result()
        for (_, future), result in zip(self._taken, results, strict=True):
            if future.done():
                continue
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(result)

    def _take(self) -> None:
        with contextlib.suppress(IndexError):
            while True:
                self._taken.append(self._waiting.popleft())


def add_postbacks(connection: sqlite3.Connection, rows: Sequence[Row]) -> list[Stored]:
    """What became of each row: new, there already, or there with other content."""
    fresh: set[str] = set()
    for part in _parts(rows):
        statement = _SQL["add_postbacks"].replace("(:row)", ", ".join([_ROW] * len(part)))
        values = list(chain.from_iterable(part))
        fresh |= {id for (id,) in connection.execute(statement, values).fetchall()}
    return [_stored(connection, row, fresh) for row in rows]


def added_row(postback: Postback, stored_at: float, source: str) -> Row:
    """The columns of `add_postbacks`, in its order."""
    uri = postback.uri.encode("utf-8", "surrogateescape")
    return (
        postback.id, postback.received_at, stored_at, source,
        postback.method, uri, postback.type, postback.body, fingerprint(postback),
    )  # fmt: skip


_ROW = "(?, ?, ?, ?, ?, ?, ?, ?, ?, 'undecided', 0)"


_NEW = Stored(new=1)


def _parts(rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    start = 0
    while start < len(rows):
        size = next(size for size in _SIZES if size <= len(rows) - start)
        yield rows[start : start + size]
        start += size


def _stored(connection: sqlite3.Connection, row: Row, fresh: set[str]) -> Stored:
    id, given = row[0], row[-1]
    if id in fresh:
        fresh.discard(id)  # the same id again in this very group is a repeat
        return _NEW
    first = connection.execute(_SQL["fingerprint"], {"id": id}).fetchone()[0]
    return Stored(conflicting=int(conflicts(first, given)))
