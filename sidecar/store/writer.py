"""One thread that writes, many steps a commit: an fsync is shared by all that wait for it."""

import asyncio
import contextlib
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sidecar import log
from sidecar.store.contract import StoreUnavailable

#: Steps in one transaction at most, so that no one waits long behind the others.
_GROUP = 512

#: Bytes kept aside on disk: when it is full, couriers still settle in them.
RESERVE = 16 << 20

#: Seconds between two looks whether a full disk has room again.
_RETRY = 1.0

#: Milliseconds for which a checkpoint waits for readers; while it waits nobody can write.
PATIENCE = 100

Step = Callable[[sqlite3.Connection], Any]


@dataclass(frozen=True, slots=True)
class _Item:
    step: Step
    adds: bool
    begins: Callable[[], None] | None
    future: asyncio.Future[Any]


Results = list[tuple[asyncio.Future[Any], Any]]


class Writer:
    """Runs steps in the order in which they came, each group in one transaction.

    A step that fails takes no other with it: its group is rolled back and each step is then tried alone. When the
    disk is full the reserve is given up and steps that add rows are refused until there is room for it again.
    """

    def __init__(self, connect: Callable[[], sqlite3.Connection], reserve: Path) -> None:
        self._connect = connect
        self._reserve = reserve
        self._loop = asyncio.get_running_loop()
        self._queue: queue.SimpleQueue[_Item | None] = queue.SimpleQueue()
        self._last_look = 0.0
        #: Why rows cannot be added now; empty when they can.
        self.failing = ""
        self._connection = connect()
        try:
            self._set_reserve()
        except OSError as error:
            self.failing = f"the disk cannot take it: {error.strerror}"
            log.error("store.failing", why=error.strerror, means="postbacks wait in Nginx's journal; make room")
        self._thread = threading.Thread(target=self._work, name="store", daemon=True)
        self._thread.start()

    def do(self, step: Step, *, adds: bool = False, begins: Callable[[], None] | None = None) -> "asyncio.Future[Any]":
        """The result of a step, once it is on disk; `begins` is called as its turn comes. Raises StoreUnavailable."""
        future: asyncio.Future[Any] = self._loop.create_future()
        self._queue.put(_Item(step, adds, begins, future))
        return future

    async def close(self) -> None:
        """Waits for all steps, then closes the database with an empty log."""
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join)

    def _work(self) -> None:
        while group := self._next_group():
            try:
                results = self._run(group)
            except Exception as error:  # a thread that ended would leave everyone waiting for ever
                log.error("store.broken", error=type(error).__name__)
                results = [(item.future, StoreUnavailable(type(error).__name__)) for item in group]
            with contextlib.suppress(RuntimeError):  # the loop is gone: nobody waits any more
                self._loop.call_soon_threadsafe(_deliver, results)
        with contextlib.suppress(sqlite3.Error):
            self._connection.execute(
                f"PRAGMA busy_timeout = {PATIENCE}"
            )  # a reader elsewhere must not hold up the stop
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._connection.close()

    def _next_group(self) -> list[_Item]:
        """The steps that wait, at least one; empty when there will be no more."""
        group = []
        item = self._queue.get()
        while item is not None:
            group.append(item)
            if len(group) == _GROUP:
                return group
            try:
                item = self._queue.get_nowait()
            except queue.Empty:
                return group
        if group:
            self._queue.put(None)
        return group

    def _run(self, group: list[_Item]) -> Results:
        self._recover()
        for item in group:
            if item.begins:
                item.begins()
        refused: Results = [
            (item.future, StoreUnavailable(self.failing)) for item in group if item.adds and self.failing
        ]
        group = [item for item in group if not (item.adds and self.failing)]
        try:
            return refused + self._transact(group)
        except Exception as error:
            self._note(error)
            if len(group) == 1:
                return [*refused, (group[0].future, _outward(error))]
        return refused + [result for item in group for result in self._run([item])]

    def _transact(self, group: list[_Item]) -> Results:
        if not group:
            return []
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            results = [(item.future, item.step(connection)) for item in group]
            connection.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
            raise
        return results

    def _note(self, error: Exception) -> None:
        code = getattr(error, "sqlite_errorcode", None)
        if isinstance(error, sqlite3.Error) and code is not None and code & 0xFF in _FAILING:
            if not self.failing:
                log.error("store.failing", why=str(error), means="postbacks wait in Nginx's journal; make room")
            self.failing = f"the disk cannot take it: {error}"
            self._last_look = time.monotonic()
            self._give_up_reserve()
            if code & 0xFF != sqlite3.SQLITE_FULL:
                with contextlib.suppress(sqlite3.Error):
                    self._reconnect()

    def _recover(self) -> None:
        """Adds rows again as soon as the reserve can be set aside anew."""
        if self.failing and time.monotonic() - self._last_look >= _RETRY:
            self._last_look = time.monotonic()
            try:
                self._set_reserve()
                self._reconnect()
            except (OSError, sqlite3.Error):
                self._give_up_reserve()
            else:
                self.failing = ""
                log.info("store.well")

    def _reconnect(self) -> None:
        fresh = self._connect()
        with contextlib.suppress(sqlite3.Error):
            self._connection.close()
        self._connection = fresh

    def _give_up_reserve(self) -> None:
        with contextlib.suppress(OSError):  # on a disk that was remounted read-only
            self._reserve.unlink(missing_ok=True)

    def _set_reserve(self) -> None:
        descriptor = os.open(self._reserve, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, RESERVE)
        finally:
            os.close(descriptor)


#: The primary result codes of SQLite that blame the disk.
_FAILING = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY})


def _outward(error: Exception) -> Exception:
    return StoreUnavailable(str(error)) if isinstance(error, sqlite3.OperationalError) else error


def _deliver(results: Results) -> None:
    for future, result in results:
        if future.done():  # whoever asked was cancelled
            continue
        if isinstance(result, Exception):
            future.set_exception(result)
        else:
            future.set_result(result)
