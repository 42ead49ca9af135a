"""The state directory: whose it is, of which mode, and that only one daemon uses it."""

import contextlib
import fcntl
import os
import sqlite3
from pathlib import Path

from sidecar import log
from sidecar.store.contract import StoreRefused
from sidecar.store.statements import statements, text

#: Version of schema.sql.
SCHEMA = "2"

FILE = "store.sqlite3"

#: Bytes that are kept aside for a full disk.
RESERVE = "reserve"

#: The last configuration that came into force, as text.
ACCEPTED = "accepted"

#: Seconds for which the copy from before a migration is kept.
COPY_KEPT = 7 * 86400.0

#: Seconds that a step waits for another process that reads or copies the file.
BUSY = 10.0

_PRAGMAS = (
    "auto_vacuum = INCREMENTAL",
    "journal_mode = WAL",
    "synchronous = FULL",
    "secure_delete = ON",
    "temp_store = MEMORY",
    "cache_size = -8000",
    "wal_autocheckpoint = 4000",
)


def lock(directory: Path) -> int:
    """One daemon a state directory; the lock dies with its process."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise StoreRefused(f"{directory}: cannot be used as state directory: {error.strerror}") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(descriptor, 64).decode("ascii", "replace").strip()
        os.close(descriptor)
        raise StoreRefused(f"{directory}: in use by another capi-sidecar (pid {holder}); stop it first") from None
    os.truncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor


def prepare(directory: Path, mode: str, now: float) -> float:
    """Creates the tables where there are none; refuses another mode or a newer schema. When the store was created.

    On a full disk the reserve is given up first: what is queued can still be delivered.
    """
    path = directory / FILE
    for give_up_reserve in (True, False):
        try:
            found = _open(path, mode, now)
            break
        except (sqlite3.Error, OSError) as error:
            if not give_up_reserve:
                raise StoreRefused(f"{path}: {_why(error)}") from None
            with contextlib.suppress(OSError):
                (directory / RESERVE).unlink(missing_ok=True)
    if found["schema"] != SCHEMA:
        raise StoreRefused(
            f"{path}: written by another version of capi-sidecar (schema {found['schema']}, here {SCHEMA}); "
            "use that version, or another --state"
        )
    if found["mode"] != mode:
        raise StoreRefused(
            f"{directory}: this state directory is of mode {found['mode']}, and this run is {mode}; "
            "give another --state, so that nothing is delivered to the wrong place"
        )
    return float(found["created_at"])


def _open(path: Path, mode: str, now: float) -> dict[str, str]:
    """The store's facts; nobody holds a lease any more. A first start is done whole or not at all."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    with contextlib.closing(connect(path)) as connection:
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchone():
            first = {"schema": SCHEMA, "mode": mode, "created_at": str(now)}
            connection.executescript(f"BEGIN IMMEDIATE;{text('schema.sql')}")
            connection.executemany("INSERT INTO meta (name, value) VALUES (?, ?)", first.items())
            connection.execute("COMMIT")
        _migrate(connection, path)
        if facts(connection)["schema"] == SCHEMA:
            connection.execute(statements("queries.sql")["release_leases"])
        return facts(connection)


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    """An older schema becomes this one, step by step, after a copy beside it; one that nobody knows stays."""
    steps = statements("migrations.sql")
    while (found := facts(connection)["schema"]) in steps:
        copy = path.with_name(f"{path.name}.schema-{found}")
        copy.unlink(missing_ok=True)
        os.close(os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        connection.execute("VACUUM INTO ?", (str(copy),))
        log.info("store.migrating", schema=found, copy=copy.name)
        following = f"UPDATE meta SET value = '{int(found) + 1}' WHERE name = 'schema'"
        connection.executescript(f"BEGIN IMMEDIATE;{steps[found]};{following};COMMIT;")


def forget_copies(path: Path, now: float) -> None:
    """Copies from before a migration hold what is erased in the store: they stay no longer than a raw postback."""
    for copy in path.parent.glob(f"{path.name}.schema-*"):
        if copy.stat().st_mtime < now - COPY_KEPT:
            copy.unlink(missing_ok=True)


def _why(error: Exception) -> str:
    if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
        return f"is no store ({error}); restore it from a copy"
    words = error.strerror if isinstance(error, OSError) else error
    return f"cannot be opened ({words}); is the disk full or failing? make room: queue and places stand in this file"


def connect(path: Path) -> sqlite3.Connection:
    """A connection that writes: every commit is on disk, every erased value is overwritten."""
    connection = sqlite3.connect(path, BUSY, isolation_level=None, check_same_thread=False, cached_statements=256)
    for pragma in _PRAGMAS:
        connection.execute(f"PRAGMA {pragma}").fetchall()
    return connection


def facts(connection: sqlite3.Connection) -> dict[str, str]:
    """What the store says of itself: schema, mode, created_at."""
    return dict(connection.execute("SELECT name, value FROM meta").fetchall())
