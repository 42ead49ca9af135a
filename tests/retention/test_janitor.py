from pathlib import Path

import pytest

from sidecar.core.configuration import Configuration
from sidecar.retention import Janitor
from sidecar.store.sqlite import SqliteStore
from tests.examples import NOW, SUBID, TARGET, Clock, configuration, postback
from tests.resolver.test_resolver import Tried

DAY = 86400


@pytest.fixture
def config(tmp_path: Path) -> Configuration:
    return configuration(tmp_path / "config")


@pytest.fixture
def tried(store: SqliteStore, config: Configuration, clock: Clock) -> Tried:
    return Tried(store, config, clock)


async def test_a_postback_that_was_not_sent_keeps_its_customers_data_for_seven_days(
    tried: Tried, config: Configuration, clock: Clock, tmp_path: Path
) -> None:
    janitor = Janitor(tried.store, lambda: config, clock)
    await tried.store.add(postback(1))
    await tried.settle()
    clock.move(7 * DAY - 1)
    await janitor.round()
    [story] = await tried.store.stories(SUBID, 10)
    assert story["uri"].decode() == TARGET
    clock.move(2)
    await janitor.round()
    await tried.store.close()
    for path in (tmp_path / "state").iterdir():
        assert b"example@gmail.com" not in path.read_bytes(), path.name


async def test_a_scrubbed_postback_can_still_be_decided(tried: Tried, config: Configuration, clock: Clock) -> None:
    await tried.store.add(postback(1))
    await tried.settle()
    [before] = await tried.store.raw(NOW + 1, 10)
    clock.move(7 * DAY + 1)
    await Janitor(tried.store, lambda: config, clock).round()
    assert await tried.store.raw(clock.now, 10) == []
    [story] = await tried.store.stories(SUBID, 10)
    assert (story["state"], before.state) == ("waiting", "waiting")
    assert b"subid=3sh8so4er3" in story["uri"]
    assert b"em=264e53d93759bde067fd01ef2698f98d1253c730d12f021116f02eebcfa9ace6" in story["uri"]


async def test_what_is_past_its_retention_goes(tried: Tried, config: Configuration, clock: Clock) -> None:
    await tried.store.add(postback(1, TARGET.replace("sale", "nothing")))
    await tried.settle()
    clock.move(31 * DAY)
    tried.read_to_end_at = clock.now
    await tried.settle()
    assert await tried.reasons() == [("expired", "rejected", "click_expired")]
    await Janitor(tried.store, lambda: config, clock).round()
    assert await tried.reasons() == []


async def test_a_step_of_the_clock_is_noticed(
    tried: Tried, config: Configuration, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    janitor = Janitor(tried.store, lambda: config, clock)
    await janitor.round()
    assert "clock.stepped" not in caplog.text
    clock.move(-3600)
    await janitor.round()
    assert "clock.stepped" in caplog.text
