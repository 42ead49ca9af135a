"""From stored postbacks to decisions, with a real store and a clock that the test moves."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sidecar.clicks.lookup import Source
from sidecar.core.configuration import Configuration
from sidecar.core.delivery import Destination
from sidecar.resolver import Resolver
from sidecar.store.contract import Place, Reading
from sidecar.store.sqlite import SqliteStore
from sidecar.tap import Tap
from tests.examples import (
    KEY,
    NOW,
    PIXEL,
    SUBID,
    TARGET,
    YAML,
    Clock,
    click,
    completed_by,
    configuration,
    lookup_of,
    postback,
)

PLACE = Place(1, 2, b"\x01head", 100)


class Tried:
    """A resolver with what it told others."""

    def __init__(self, store: SqliteStore, config: Configuration, clock: Clock, source: Source | None = None) -> None:
        self.store = store
        self.config = config
        self.read_to_end_at = 0.0
        self.destinations: set[Destination] = set()
        self.lookup = lookup_of(store, clock, source)
        self.resolver = Resolver(
            store, self.lookup, completed_by(self.lookup), lambda: self.config, clock, lambda: self.read_to_end_at,
            self.destinations.update, Tap(),
        )  # fmt: skip

    async def settle(self) -> None:
        while await self.resolver.step():
            pass

    async def knows(self, *clicks: Any) -> None:
        await self.store.add_reading(Reading("j", PLACE, [(each, True) for each in clicks]))

    async def reasons(self, name: str = SUBID) -> list[tuple[str, str, str]]:
        stories = await self.store.stories(name, 100)
        return [(story["state"], story["decision"], story["reason"]) for story in stories]


@pytest.fixture
def config(tmp_path: Path) -> Configuration:
    return configuration(tmp_path / "config")


@pytest.fixture
def tried(store: SqliteStore, config: Configuration, clock: Clock) -> Tried:
    return Tried(store, config, clock)


async def test_a_postback_with_a_known_click_is_accepted(tried: Tried) -> None:
    await tried.knows(click())
    await tried.store.add(postback(1))
    await tried.settle()
    assert await tried.reasons() == [("decided", "accepted", "sent")]
    assert tried.destinations == {Destination("Summer", PIXEL, "")}


async def test_a_postback_waits_and_is_accepted_as_soon_as_its_click_comes(tried: Tried) -> None:
    await tried.store.add(postback(1))
    await tried.settle()
    assert await tried.reasons() == [("waiting", "waiting", "no_click")]
    await tried.knows(click())
    await tried.settle()
    assert await tried.reasons() == [("decided", "accepted", "sent")]


async def test_it_expires_when_the_wait_is_over_and_the_journal_was_read_since(tried: Tried, clock: Clock) -> None:
    await tried.store.add(postback(1))
    await tried.settle()
    clock.move(901)
    tried.read_to_end_at = NOW + 899
    await tried.settle()
    assert await tried.reasons() == [("waiting", "waiting", "no_click")]
    tried.read_to_end_at = NOW + 901
    clock.move(30)
    await tried.settle()
    assert await tried.reasons() == [("expired", "rejected", "click_expired")]


async def test_a_click_that_comes_at_the_last_moment_counts(tried: Tried, clock: Clock) -> None:
    await tried.store.add(postback(1))
    await tried.settle()
    clock.move(2000)
    tried.read_to_end_at = NOW + 2000
    await tried.knows(click())
    await tried.settle()
    assert await tried.reasons() == [("decided", "accepted", "sent")]


async def test_a_click_that_is_read_during_the_decision_is_not_missed(
    tried: Tried, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    await tried.store.add(postback(1))
    await tried.settle()
    clock.move(2000)
    tried.read_to_end_at = NOW + 10
    ask = tried.store.clicks

    async def late(subids: Any) -> Any:
        found = await ask(subids)
        await tried.knows(click())
        tried.read_to_end_at = clock.now
        return found

    monkeypatch.setattr(tried.store, "clicks", late)
    await tried.resolver.step()
    monkeypatch.undo()
    await tried.settle()
    assert await tried.reasons() == [("decided", "accepted", "sent")]


async def test_a_postback_older_than_seven_days_is_too_old(tried: Tried, clock: Clock) -> None:
    await tried.store.add(postback(1))
    clock.move(7 * 86400)
    await tried.knows(click())
    await tried.settle()
    assert await tried.reasons() == [("decided", "rejected", "too_old")]


async def test_a_deposit_and_a_sale_of_one_click_are_two_events(tried: Tried) -> None:
    await tried.knows(click())
    for number, status in enumerate(["deposit", "sale", "sale"], 1):
        await tried.store.add(postback(number, f"/{KEY}/postback?subid={SUBID}&status={status}&payout=5"))
    await tried.settle()
    assert [reason for *_, reason in await tried.reasons()] == ["sent", "sent", "duplicate"]
    counts = await tried.store.counts()
    assert [(row["state"], row["count"]) for row in counts["deliveries"]] == [("queued", 2)]


async def test_of_a_decided_postback_no_customer_value_stays(tried: Tried, tmp_path: Path) -> None:
    canaries = ["example@gmail.com", "example%40gmail.com", "71234567890", "=John", "=Snow", "unknown-value"]
    await tried.knows(click())
    await tried.store.add(postback(1, TARGET + "&mystery=unknown-value"))
    await tried.settle()
    assert await tried.reasons() == [("decided", "accepted", "sent")]
    await tried.store.tidy()
    await tried.store.close()
    for path in (tmp_path / "state").iterdir():
        content = path.read_bytes()
        assert [canary for canary in canaries if canary.encode() in content] == [], path.name


async def test_a_waiting_postback_is_kept_whole(tried: Tried) -> None:
    await tried.store.add(postback(1))
    await tried.settle()
    [story] = await tried.store.stories(SUBID, 10)
    assert b"example@gmail.com" in story["uri"]


async def test_a_decision_carries_the_configuration(tried: Tried) -> None:
    await tried.knows(click())
    await tried.store.add(postback(1))
    await tried.settle()
    [story] = await tried.store.stories(SUBID, 10)
    assert story["configuration"] == tried.config.version != ""
    assert story["deliveries"][0]["configuration"] == tried.config.version


async def test_a_defect_stops_one_postback_and_no_other(
    tried: Tried, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from sidecar import resolver
    from sidecar.core.decide import decide

    def defective(given: Any, *others: Any) -> Any:
        if "bad" in given.uri:
            raise KeyError("example@gmail.com")
        return decide(given, *others)

    monkeypatch.setattr(resolver, "decide", defective)
    await tried.knows(click())
    await tried.store.add(postback(1, TARGET + "&tid=bad"))
    await tried.store.add(postback(2))
    await tried.settle()
    assert sorted(reason for *_, reason in await tried.reasons()) == ["invalid_event", "sent"]
    assert "example@gmail.com" not in caplog.text


async def test_another_configuration_decides_from_its_moment_on(tried: Tried, tmp_path: Path) -> None:
    await tried.knows(click())
    await tried.store.add(postback(1))
    await tried.settle()
    tried.config = configuration(tmp_path / "other", YAML.replace("sale: Purchase", "sale: null"))
    await tried.store.add(postback(2, TARGET + "&tid=2"))
    await tried.settle()
    assert [reason for *_, reason in await tried.reasons()] == ["sent", "status_null"]


async def test_hundreds_are_decided_in_their_order(tried: Tried, clock: Callable[[], float]) -> None:
    await tried.knows(click())
    for number in range(1, 601):
        await tried.store.add(postback(number, f"{TARGET}&tid={number}"))
    await tried.settle()
    leased = await tried.store.lease(sorted(tried.destinations, key=str), 1000)
    assert [each.event_id for each in leased] == [f"{SUBID}_sale_{number}" for number in range(1, 601)]
