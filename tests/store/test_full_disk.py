"""A full disk, for real: a file system of a few megabytes."""

import sqlite3
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from sidecar.core.delivery import Destination, Settlement
from sidecar.store import writer
from sidecar.store.contract import StoreUnavailable
from sidecar.store.sqlite import SqliteStore
from tests.examples import NOW, PIXEL, Clock, configuration, postback
from tests.store.test_store import decided

DESTINATION = Destination("Summer", PIXEL, "")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    directory = tmp_path / "disk"
    directory.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m,mode=0700", "tmpfs", str(directory)], check=True)
    yield directory
    subprocess.run(["umount", "-l", str(directory)], check=True)


@pytest.fixture
async def full(small_disk: Path, clock: Clock) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(small_disk / "state", "sandbox", clock)
    yield store
    await store.close()


async def test_on_a_full_disk_postbacks_are_refused_and_deliveries_still_settle(
    full: SqliteStore, small_disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "_RETRY", 0.0)
    config = configuration(tmp_path / "config")
    await decided(full, config, postback(1))
    [delivery] = await full.lease([DESTINATION], 10)
    with (small_disk / "filler").open("wb") as filler, pytest.raises(OSError, match="No space"):
        while True:
            filler.write(bytes(65536))
            filler.flush()
    number = 1
    with pytest.raises(StoreUnavailable):
        while number < 10_000:
            number += 1
            await full.add(postback(number))
    assert full.failing
    await full.settle([Settlement(delivery.seq, "delivered")])
    [row] = (await full.counts())["deliveries"]
    assert row["state"] == "delivered"
    (small_disk / "filler").unlink()
    assert (await full.add(postback(number))).new == 1
    assert full.failing == ""
    assert len(await full.pending(NOW, 20_000)) == number - 1


async def test_a_disk_whose_every_call_fails_refuses_and_recovers(
    full: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "_RETRY", 0.0)
    failing = [True]

    def fails(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    def step(_: sqlite3.Connection) -> int:
        if not failing[0]:
            return 1
        error = sqlite3.OperationalError("attempt to write a readonly database")
        error.sqlite_errorcode = sqlite3.SQLITE_READONLY
        raise error

    with monkeypatch.context() as broken:
        broken.setattr(Path, "unlink", fails)
        broken.setattr(writer.os, "posix_fallocate", fails)
        for _ in range(3):
            with pytest.raises(StoreUnavailable):
                await full._writer.do(step, adds=True)
        assert full.failing
    failing[0] = False
    assert await full._writer.do(step, adds=True) == 1
    assert full.failing == ""


async def test_a_start_on_a_full_disk_gives_up_the_reserve_and_delivers_what_is_queued(
    small_disk: Path, clock: Clock, tmp_path: Path
) -> None:
    store = SqliteStore(small_disk / "state", "sandbox", clock)
    await decided(store, configuration(tmp_path / "config"), postback(1))
    await store.close()
    with (small_disk / "filler").open("wb", buffering=0) as filler, pytest.raises(OSError, match="No space"):
        while True:
            filler.write(bytes(4096))
    store = SqliteStore(small_disk / "state", "sandbox", clock)
    [delivery] = await store.lease([DESTINATION], 10)
    await store.settle([Settlement(delivery.seq, "delivered")])
    assert [row["state"] for row in (await store.counts())["deliveries"]] == ["delivered"]
    await store.close()
