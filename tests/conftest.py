"""What tests of several parts share: a real store in a directory of its own, and a clock that they move."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from sidecar.store.sqlite import SqliteStore
from tests.examples import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def open_store(tmp_path: Path, clock: Clock) -> AsyncIterator[Callable[[], SqliteStore]]:
    """Opens the store of the test's state directory; what is open at the end is closed."""
    opened: list[SqliteStore] = []

    def open_it() -> SqliteStore:
        opened.append(SqliteStore(tmp_path / "state", "sandbox", clock))
        return opened[-1]

    yield open_it
    for store in opened:
        await store.close()


@pytest.fixture
async def store(open_store: Callable[[], SqliteStore]) -> SqliteStore:
    return open_store()
