"""The state directory: whose it is, of which mode, and that only one daemon uses it."""

import fcntl
import os
import sqlite3
from pathlib import Path

from sidecar.store.contract import StoreRefused
from sidecar.store.statements import statements, text

#: Version of schema.sql.
SCHEMA = "1"

FILE = "store.sqlite3"

#: The last configuration that came into force, as text.
ACCEPTED = "accepted"

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


def prepare(path: Path, mode: str, now: float) -> float:
    """Creates the tables where there are none; refuses another mode or a newer schema. When the store was created."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    try:
        connection = connect(path)
    except sqlite3.DatabaseError as error:
        raise StoreRefused(f"{path}: cannot be opened: {error}; restore it or move it away") from None
    with connection:
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchone():
            connection.executescript(text("schema.sql"))
            first = {"schema": SCHEMA, "mode": mode, "created_at": str(now)}
            connection.executemany("INSERT INTO meta (name, value) VALUES (?, ?)", first.items())
            connection.commit()
        meta = facts(connection)
        connection.execute(statements("queries.sql")["release_leases"])
        connection.commit()
    connection.close()
    if meta["schema"] != SCHEMA:
        raise StoreRefused(
            f"{path}: written by another version of capi-sidecar "
            f"(schema {meta['schema']}, here {SCHEMA}); use that version, or another --state"
        )
    if meta["mode"] != mode:
        raise StoreRefused(
            f"{path.parent}: this state directory is of mode {meta['mode']}, and this run is {mode}; "
            "give another --state, so that nothing is delivered to the wrong place"
        )
    return float(meta["created_at"])


def connect(path: Path) -> sqlite3.Connection:
    """A connection that writes: every commit is on disk, every erased value is overwritten."""
    connection = sqlite3.connect(path, BUSY, isolation_level=None, check_same_thread=False, cached_statements=256)
    for pragma in _PRAGMAS:
        connection.execute(f"PRAGMA {pragma}").fetchall()
    return connection


def facts(connection: sqlite3.Connection) -> dict[str, str]:
    """What the store says of itself: schema, mode, created_at."""
    return dict(connection.execute("SELECT name, value FROM meta").fetchall())
