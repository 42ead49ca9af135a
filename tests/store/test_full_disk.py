"""A full disk, for real: a file system of a few megabytes."""

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
