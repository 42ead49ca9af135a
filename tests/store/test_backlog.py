"""What is not at its end, counted in a real store."""

from pathlib import Path

from sidecar.core.configuration import Configuration
from sidecar.core.decide import decide
from sidecar.core.delivery import Attempt, Destination, Settlement
from sidecar.core.queue import Selection
from sidecar.store.contract import OpenDeliveries, Ruling
from sidecar.store.reading import read_queue
from sidecar.store.sqlite import SqliteStore
from tests.examples import KEY, NOW, PIXEL, SUBID, Clock, click, configuration, postback

DEADLINE = NOW + 7 * 86400 - 3600


async def decided(store: SqliteStore, config: Configuration, count: int, status: str = "sale") -> list[Destination]:
    """Postbacks with a delivery each."""
    before = sum(each.count for each in (await store.backlog()).deliveries)
    for number in range(before, before + count):
        target = f"/{KEY}/postback?subid={SUBID}&status={status}&payout=2&tid={number}"
        await store.add(postback(number + 1, target))
    pending = await store.pending(NOW, 100)
    rulings = [Ruling(each, "decided", decide(each.postback, click(), config, NOW), SUBID) for each in pending]
    return sorted((await store.rule(rulings, config.version)).destinations, key=str)


async def test_an_empty_store_has_none(store: SqliteStore) -> None:
    backlog = await store.backlog()
    assert (backlog.postbacks, backlog.deliveries) == ({}, [])


async def test_only_what_is_open_is_counted(store: SqliteStore, tmp_path: Path, clock: Clock) -> None:
    [summer] = await decided(store, configuration(tmp_path / "config"), 3)
    first, *_ = await store.lease([summer], 2)
    await store.settle([Settlement(first.seq, "delivered", attempts=(Attempt(NOW, 0.1, 0, "accepted", ""),))])
    await store.add(postback(99))
    backlog = await store.backlog()
    assert backlog.postbacks == {"undecided": 1}
    assert backlog.deliveries == [
        OpenDeliveries(summer, "queued", "", 1, NOW, DEADLINE), OpenDeliveries(summer, "leased", "", 1, NOW, DEADLINE),
    ]  # fmt: skip


async def test_a_delivery_knows_since_when_it_could_be_sent(store: SqliteStore, tmp_path: Path, clock: Clock) -> None:
    await decided(store, configuration(tmp_path / "config"), 1, "slow")
    assert [each.not_before for each in (await store.backlog()).deliveries] == [NOW + 3600]
    clock.move(3600)
    [leased] = await store.lease([Destination("Summer", PIXEL, "")], 10)
    assert leased.not_before == NOW + 3600


async def test_what_is_held_by_hand_stands_apart(store: SqliteStore, tmp_path: Path) -> None:
    await decided(store, configuration(tmp_path / "config"), 2)
    await store.steer("hold", list(read_queue(store.path, Selection(("q1",)))))
    assert sorted((each.held, each.count) for each in (await store.backlog()).deliveries) == [("", 1), ("by_hand", 1)]
