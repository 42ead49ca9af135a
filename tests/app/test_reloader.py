"""How another configuration comes into force, with a real child and real files."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from sidecar.app import reload
from sidecar.app.accepted import Accepted
from sidecar.app.reload import Reloader
from sidecar.config import watch
from sidecar.config.load import load
from sidecar.config.secrets import Resolve
from sidecar.store.sqlite import SqliteStore
from tests.examples import YAML, Clock, configuration


@pytest.fixture
async def reloader(
    store: SqliteStore, tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Reloader]:
    monkeypatch.setattr(watch, "SETTLE", 0.05)
    directory = tmp_path / "config"
    configuration(directory)
    loaded = load(directory, resolve=Resolve.ALL)
    accepted = Accepted(tmp_path / "state")
    yield Reloader(directory, Resolve.ALL, loaded, accepted, store.path, clock, lambda _: None)


async def until(reached: Any) -> None:
    async with asyncio.timeout(30):
        while not reached():
            await asyncio.sleep(0.02)


async def test_files_that_did_not_come_to_rest_are_taken_once_they_do(
    reloader: Reloader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "config" / "integrations.yaml"
    child, left = reload.in_child, list(range(8))

    async def meanwhile(task: Any) -> Any:
        read = await child(task)
        if left:
            path.write_text(YAML.replace("sale: Purchase", f"sale: Event{left.pop()}"))
        return read

    monkeypatch.setattr(reload, "in_child", meanwhile)
    following = asyncio.create_task(reloader.run())
    await until(lambda: "do not come to rest" in reloader.error)
    await until(lambda: not left and not reloader.error)
    rule = reloader.configuration.integrations[0].mapping.rules["sale"]
    assert rule and rule.event == "Event0"
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)


async def test_a_defect_in_the_one_that_takes_over_is_tried_again(
    reloader: Reloader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reload, "SLOW", 0.1)
    failures = [KeyError("a defect")] * 2

    def changed(_: Any) -> None:
        if failures:
            raise failures.pop()

    reloader._changed = changed
    (tmp_path / "config" / "integrations.yaml").write_text(YAML.replace("sale: Purchase", "sale: Subscribe"))
    following = asyncio.create_task(reloader.run())
    await until(lambda: not failures and not reloader.error)
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    rule = reloader.configuration.integrations[0].mapping.rules["sale"]
    assert rule and rule.event == "Subscribe"
