"""From deliveries in a real store to who is silent, with a clock that the test moves."""

import contextlib
import re
import sqlite3
from pathlib import Path

import pytest

from sidecar.core.configuration import Configuration
from sidecar.silence import Watch
from sidecar.store.sqlite import SqliteStore
from tests.examples import NOW, YAML, Clock, configuration

WEEKS = 4 * 7 * 86400


def deliver(store: SqliteStore, first: float, last: float, every: float, taken: bool = True) -> None:
    """Deliveries of Summer at a steady pace, taken by Meta a second later or not at all."""
    with contextlib.closing(sqlite3.connect(store.path)) as connection:
        connection.execute("INSERT OR IGNORE INTO destination VALUES (1, 'Summer', '1234567890123456', '')")
        start = connection.execute("SELECT count(*) FROM delivery").fetchone()[0]
        moments = [first + number * every for number in range(int((last - first) // every))]
        connection.executemany(
            "INSERT INTO delivery (event_id, event_name, pixel_id, destination, postback, subid, tid, event_time, "
            "deadline, not_before, body, configuration, state, due_at, created_at, ended_at) "
            "VALUES (?, 'Lead', '1', 1, 'p', 's', '', 1, 1, 0, X'00', 'c', ?, 0, ?, ?)",
            [(f"e{start + number}", "delivered" if taken else "queued", at, at + 1 if taken else None)
             for number, at in enumerate(moments)],
        )  # fmt: skip
        connection.commit()


@pytest.fixture
def config(tmp_path: Path) -> Configuration:
    return configuration(tmp_path / "config")


async def test_who_stops_is_told_once_and_heard_again(
    store: SqliteStore, config: Configuration, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "capi-sidecar")
    deliver(store, NOW - WEEKS, NOW, 1200)
    watch = Watch(store.path, lambda: config, clock)
    await watch.look()
    assert [each["silent"] for each in watch.status()] == [False, False]
    for _ in range(12):
        clock.move(1800)
        await watch.look()
    assert [(each["what"], each["silent"]) for each in watch.status()] == [("events", True), ("postbacks", True)]
    assert re.fullmatch(r"normally one every 2\d min at this time, none for 6 h", watch.status()[0]["words"])
    deliver(store, clock.now - 60, clock.now, 30)
    await watch.look()
    assert [each["silent"] for each in watch.status()] == [False, False]
    told = [record.message for record in caplog.records]
    assert (told.count("integration.silent"), told.count("integration.heard")) == (2, 2)


async def test_events_that_meta_does_not_take_are_silence_of_their_own(
    store: SqliteStore, config: Configuration, clock: Clock
) -> None:
    deliver(store, NOW - WEEKS, NOW, 1200)
    deliver(store, NOW, NOW + 6 * 3600, 1200, taken=False)
    clock.move(6 * 3600)
    watch = Watch(store.path, lambda: config, clock)
    await watch.look()
    assert [(each["what"], each["silent"]) for each in watch.status()] == [("events", True), ("postbacks", False)]


async def test_a_paused_integration_is_silent_by_the_sysadmins_own_word(
    store: SqliteStore, tmp_path: Path, clock: Clock
) -> None:
    paused = configuration(tmp_path / "paused", YAML.replace("campaigns:", "paused: true\n    campaigns:"))
    deliver(store, NOW - WEEKS, NOW, 1200)
    clock.move(86400)
    watch = Watch(store.path, lambda: paused, clock)
    await watch.look()
    assert watch.silent == {}
