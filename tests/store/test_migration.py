"""A store of an older version is taken over in place, after a copy."""

import contextlib
import os
import sqlite3
from pathlib import Path

import pytest

from sidecar.store.contract import StoreRefused
from sidecar.store.sqlite import SqliteStore
from sidecar.store.state import FILE, SCHEMA
from sidecar.store.statements import statements
from tests.examples import NOW, Clock, postback

OLDEST = Path(__file__).with_name("schema-1.sql").read_text()


def old_store(directory: Path, schema: str = "1") -> Path:
    """A state directory as the first version left it, with one leased delivery."""
    directory.mkdir(mode=0o700)
    path = directory / FILE
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(OLDEST)
        facts = {"schema": schema, "mode": "live", "created_at": str(NOW)}
        connection.executemany("INSERT INTO meta VALUES (?, ?)", facts.items())
        connection.execute("INSERT INTO destination VALUES (1, 'Summer', '1', '')")
        connection.execute(
            "INSERT INTO delivery (event_id, event_name, pixel_id, destination, postback, subid, tid, event_time, "
            "deadline, not_before, body, configuration, state, due_at, created_at) "
            "VALUES ('e', 'Lead', '1', 1, 'p', 's', '', 1, ?, 0, X'00', 'c', 'leased', 0, 0)", (NOW + 1000,)
        )  # fmt: skip
        connection.commit()
    return path


def state(path: Path) -> tuple[str, str]:
    """The schema's version, and the delivery's state."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        row = connection.execute("SELECT m.value, d.state FROM meta m, delivery d WHERE m.name = 'schema'").fetchone()
    return row[0], row[1]


def layout(path: Path) -> set[tuple[str, str]]:
    """Every table and index as SQLite describes it, whatever the spacing."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL")
        return {(name, " ".join(sql.split())) for name, sql in rows}


async def test_an_old_store_becomes_what_a_new_one_is_and_keeps_its_rows(tmp_path: Path, clock: Clock) -> None:
    path = old_store(tmp_path / "old")
    store = SqliteStore(tmp_path / "old", "live", clock)
    [destination] = await store.destinations()
    assert [each.event_id for each in await store.lease([destination], 10)] == ["e"]
    await store.add(postback())
    await store.close()
    await SqliteStore(tmp_path / "new", "live", clock).close()
    assert layout(path) == layout(tmp_path / "new" / FILE)


async def test_a_copy_of_the_old_one_stays_beside_it(tmp_path: Path, clock: Clock) -> None:
    path = old_store(tmp_path / "old")
    await SqliteStore(tmp_path / "old", "live", clock).close()
    copy = path.with_name(f"{FILE}.schema-1")
    assert copy.stat().st_mode & 0o777 == 0o600
    assert state(copy) == ("1", "leased")


async def test_the_copy_goes_when_raw_postbacks_go(tmp_path: Path, clock: Clock) -> None:
    path = old_store(tmp_path / "old")
    store = SqliteStore(tmp_path / "old", "live", clock)
    copy = path.with_name(f"{FILE}.schema-1")
    os.utime(copy, (NOW, NOW))
    for day in (6.9, 7.1):
        clock.now = NOW + day * 86400
        await store.tidy()
        assert copy.exists() == (day < 7)
    await store.close()


async def test_a_newer_store_is_refused_and_left_alone(tmp_path: Path, clock: Clock) -> None:
    path = old_store(tmp_path / "newer", schema="999")
    with pytest.raises(StoreRefused, match=r"another version of capi-sidecar \(schema 999, here"):
        SqliteStore(tmp_path / "newer", "live", clock)
    assert state(path) == ("999", "leased")


def test_there_is_a_step_from_every_older_schema() -> None:
    assert sorted(map(int, statements("migrations.sql"))) == list(range(1, int(SCHEMA)))
