"""The store's contract; a second back end would have to pass the same tests."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from sidecar.core.click import Click
from sidecar.core.configuration import Configuration
from sidecar.core.decide import decide
from sidecar.core.delivery import Attempt, Destination, Settlement
from sidecar.core.postback import Postback
from sidecar.core.privacy import scrubbed
from sidecar.store.contract import Pending, Place, Reading, Ruled, Ruling, StoreRefused
from sidecar.store.sqlite import SqliteStore
from tests.examples import KEY, NOW, PIXEL, SUBID, TARGET, Clock, click, configuration, postback

PLACE = Place(1, 2, b"\x01head", 100)
DESTINATION = Destination("Summer", PIXEL, "")
ATTEMPT = Attempt(NOW, 0.1, 0, "accepted", "", http_status=200, fbtrace_id="T")


@pytest.fixture
def config(tmp_path: Path) -> Configuration:
    return configuration(tmp_path / "config")


async def decided(store: SqliteStore, config: Configuration, *postbacks: Postback, known: Click | None = None) -> Ruled:
    """Adds postbacks and decides what is pending, as the resolver would."""
    for each in postbacks:
        await store.add(each)
    rulings = []
    for pending in await store.pending(NOW, 100):
        decision = decide(pending.postback, known or click(), config, NOW)
        kept = scrubbed(pending.postback, decision.click, config)
        rulings.append(Ruling(pending, "decided", decision, SUBID, kept))
    return await store.rule(rulings, config.version)


def waiting(pending: Pending, config: Configuration, due_at: float) -> Ruling:
    return Ruling(pending, "waiting", decide(pending.postback, None, config, NOW), SUBID, due_at=due_at)


async def test_a_postback_is_pending_as_it_came(store: SqliteStore) -> None:
    came = postback(1, "/k/postback?a=\udcff", body=b"\xff{", type="application/json", method="POST")
    assert (await store.add(came)).new == 1
    assert [(each.postback, each.state) for each in await store.pending(NOW, 10)] == [(came, "undecided")]


async def test_the_first_copy_of_an_id_stays_and_another_content_is_counted(store: SqliteStore) -> None:
    await store.add(postback(1))
    same, other = await store.add(postback(1)), await store.add(postback(1, TARGET + "&x=1"))
    assert (same.new, same.conflicting, other.new, other.conflicting) == (0, 0, 0, 1)
    assert [each.postback.uri for each in await store.pending(NOW, 10)] == [TARGET]


async def test_a_copy_without_the_body_that_nginx_did_not_keep_is_no_conflict(store: SqliteStore) -> None:
    await store.add(postback(1, body=b"a=1"))
    assert (await store.add(postback(1))).conflicting == 0
    assert (await store.add(postback(1, body=b"a=2"))).conflicting == 1


async def test_two_copies_in_the_same_moment_are_one_postback(store: SqliteStore) -> None:
    results = await asyncio.gather(*(store.add(postback(1)) for _ in range(50)))
    assert sum(each.new for each in results) == 1
    assert len(await store.pending(NOW, 100)) == 1


async def test_hundreds_at_once_are_all_there(store: SqliteStore) -> None:
    await asyncio.gather(*(store.add(postback(number)) for number in range(1, 700)))
    assert len(await store.pending(NOW, 1000)) == 699


async def test_an_accepted_postback_becomes_a_delivery(store: SqliteStore, config: Configuration) -> None:
    ruled = await decided(store, config, postback(1))
    assert ruled == Ruled((("accepted", "sent"),), frozenset({DESTINATION}))
    assert await store.pending(NOW, 10) == []
    [delivery] = await store.lease([DESTINATION], 10)
    assert (delivery.event_id, delivery.event_name, delivery.destination) == (f"{SUBID}_sale", "Purchase", DESTINATION)


async def test_the_same_conversion_again_is_a_duplicate(store: SqliteStore, config: Configuration) -> None:
    assert (await decided(store, config, postback(1))).reasons == (("accepted", "sent"),)
    assert await decided(store, config, postback(2)) == Ruled((("ignored", "duplicate"),), frozenset())
    assert len(await store.lease([DESTINATION], 10)) == 1


async def test_a_decided_postback_is_not_decided_again(store: SqliteStore, config: Configuration) -> None:
    await store.add(postback(1))
    [pending] = await store.pending(NOW, 10)
    ruling = Ruling(pending, "decided", decide(pending.postback, click(), config, NOW), SUBID)
    await store.rule([ruling], config.version)
    await store.rule([waiting(pending, config, NOW)], config.version)
    assert await store.pending(NOW + 1e9, 10) == []


async def test_a_waiting_postback_is_due_when_its_click_comes(store: SqliteStore, config: Configuration) -> None:
    await store.add(postback(1))
    [pending] = await store.pending(NOW, 10)
    await store.rule([waiting(pending, config, NOW + 900)], config.version)
    assert await store.pending(NOW, 10) == []
    assert await store.next_look() == NOW + 900
    await store.add_reading(Reading("j", PLACE, [(click(), True)]))
    assert [each.state for each in await store.pending(NOW, 10)] == ["waiting"]
    assert (await store.clicks([SUBID, "nobody"]))[SUBID] == click()


async def test_a_click_that_came_during_the_decision_is_not_missed(store: SqliteStore, config: Configuration) -> None:
    await store.add(postback(1))
    [pending] = await store.pending(NOW, 10)
    await store.add_reading(Reading("j", PLACE, [(click(), True)]))
    await store.rule([waiting(pending, config, NOW + 900)], config.version)
    assert len(await store.pending(NOW, 10)) == 1


async def test_an_addition_to_an_unseen_click_is_no_click_yet(store: SqliteStore, config: Configuration) -> None:
    await store.add(postback(1))
    [pending] = await store.pending(NOW, 10)
    await store.rule([waiting(pending, config, NOW + 900)], config.version)
    addition = Click(SUBID, parameters={"sub_id_10": ("fb.1.1.2",)}, source="journal")
    await store.add_reading(Reading("j", PLACE, [(addition, False)]))
    assert await store.pending(NOW, 10) == []
    await store.add_reading(Reading("j", PLACE, [(click(), True)]))
    known = (await store.clicks([SUBID]))[SUBID]
    assert known.parameters == {"fbclid": click().parameters["fbclid"], "sub_id_10": ("fb.1.1.2",)}
    assert known.clicked_at == NOW - 60


async def test_a_second_line_fills_gaps_and_changes_nothing(store: SqliteStore) -> None:
    await store.add_reading(Reading("j", PLACE, [(click(ip=""), True)]))
    later = click(clicked_at=NOW, campaign=("Other",), ip="9.9.9.9", user_agent="Other")
    await store.add_reading(Reading("j", PLACE, [(later, True)]))
    assert (await store.clicks([SUBID]))[SUBID] == click(ip="9.9.9.9")


async def test_rows_and_place_of_a_journal_come_together(store: SqliteStore) -> None:
    early = postback(2, received_at=NOW - 1e6)
    stored = await store.add_reading(Reading("j", PLACE, [(click(), True)], [postback(1)], [(early, SUBID)]))
    assert (stored.new, stored.conflicting) == (2, 0)
    assert await store.places("j") == [PLACE]
    assert await store.places("other") == []
    [pending] = await store.pending(NOW, 10)
    assert pending.postback == postback(1)
    assert [(each["decision"], each["reason"]) for each in await store.stories(early.id, 10)] == [
        ("rejected", "before_first_start")
    ]


async def test_the_first_reading_of_a_journal_is_remembered(store: SqliteStore, clock: Clock) -> None:
    assert await store.first_read_at("j") == NOW
    clock.move(100)
    assert await store.first_read_at("j") == NOW


async def test_a_lease_is_given_once(store: SqliteStore, config: Configuration) -> None:
    await decided(store, config, postback(1))
    assert len(await store.lease([DESTINATION], 10)) == 1
    assert await store.lease([DESTINATION], 10) == []


async def test_a_settled_delivery_never_moves_again(store: SqliteStore, config: Configuration) -> None:
    await decided(store, config, postback(1))
    [delivery] = await store.lease([DESTINATION], 10)
    await store.settle([Settlement(delivery.seq, "delivered", attempts=(ATTEMPT,))])
    await store.settle([Settlement(delivery.seq, "dead", "refused")])
    [story] = await store.stories(SUBID, 10)
    [event] = story["deliveries"]
    assert (event["state"], event["reason"]) == ("delivered", "")
    assert [(each["verdict"], each["fbtrace_id"]) for each in event["attempts"]] == [("accepted", "T")]


async def test_what_was_leased_at_a_crash_is_queued_at_the_next_start(
    open_store: Callable[[], SqliteStore], config: Configuration
) -> None:
    first = open_store()
    await decided(first, config, postback(1))
    [before] = await first.lease([DESTINATION], 10)
    await first.close()
    [after] = await open_store().lease([DESTINATION], 10)
    assert after == before


async def test_a_failed_delivery_is_due_later_and_at_once_when_its_lane_is_well(
    store: SqliteStore, config: Configuration
) -> None:
    await decided(store, config, postback(1))
    [delivery] = await store.lease([DESTINATION], 10)
    await store.settle([Settlement(delivery.seq, "queued", due_at=NOW + 5, failures=1)])
    assert await store.lease([DESTINATION], 10) == []
    assert await store.next_due([DESTINATION]) == NOW + 5
    await store.hasten([DESTINATION])
    assert [each.failures for each in await store.lease([DESTINATION], 10)] == [1]


async def test_what_is_held_by_hand_is_not_leased(store: SqliteStore, config: Configuration) -> None:
    await decided(store, config, postback(1))
    [delivery] = await store.lease([DESTINATION], 10)
    await store.settle([Settlement(delivery.seq, "queued", held="by_hand")])
    assert await store.lease([DESTINATION], 10) == []
    assert (await store.counts())["deliveries"][0]["held"] == "by_hand"


async def test_past_its_deadline_a_delivery_is_dead_and_never_leased(
    store: SqliteStore, config: Configuration, clock: Clock
) -> None:
    await decided(store, config, postback(1))
    clock.move(7 * 86400)
    assert await store.lease([DESTINATION], 10) == []
    assert await store.bury() == 1
    [row] = (await store.counts())["deliveries"]
    assert (row["state"], row["reason"]) == ("dead", "deadline")


async def test_a_delayed_event_is_due_later_and_dead_when_it_is_rejected_meanwhile(
    store: SqliteStore, config: Configuration, clock: Clock
) -> None:
    await decided(store, config, postback(1, f"/{KEY}/postback?subid={SUBID}&status=slow"))
    assert await store.lease([DESTINATION], 10) == []
    assert await store.next_due([DESTINATION]) == NOW + 3600
    await decided(store, config, postback(2, f"/{KEY}/postback?subid={SUBID}&status=rejected", NOW + 60))
    clock.move(7200)
    assert await store.lease([DESTINATION], 10) == []
    [row] = (await store.counts())["deliveries"]
    assert (row["state"], row["reason"]) == ("dead", "rejected_meanwhile")


async def test_a_delayed_event_that_is_decided_after_its_rejection_is_dead_too(
    store: SqliteStore, config: Configuration
) -> None:
    await decided(store, config, postback(2, f"/{KEY}/postback?subid={SUBID}&status=rejected", NOW + 60))
    await decided(store, config, postback(1, f"/{KEY}/postback?subid={SUBID}&status=slow"))
    [row] = (await store.counts())["deliveries"]
    assert (row["state"], row["reason"]) == ("dead", "rejected_meanwhile")


async def test_a_rejection_from_before_or_after_the_delay_changes_nothing(
    store: SqliteStore, config: Configuration
) -> None:
    for number, received_at in ((2, NOW - 1), (3, NOW + 3601)):
        await decided(store, config, postback(number, f"/{KEY}/postback?subid={SUBID}&status=rejected", received_at))
    await decided(store, config, postback(1, f"/{KEY}/postback?subid={SUBID}&status=slow"))
    assert [row["state"] for row in (await store.counts())["deliveries"]] == ["queued"]


async def test_an_event_without_delay_survives_a_later_rejection(store: SqliteStore, config: Configuration) -> None:
    await decided(store, config, postback(1))
    await decided(store, config, postback(2, f"/{KEY}/postback?subid={SUBID}&status=rejected", NOW + 60))
    assert len(await store.lease([DESTINATION], 10)) == 1


async def test_after_a_step_of_the_clock_nothing_waits_longer_than_its_step(
    store: SqliteStore, config: Configuration, clock: Clock
) -> None:
    await decided(store, config, postback(1))
    [delivery] = await store.lease([DESTINATION], 10)
    await store.settle([Settlement(delivery.seq, "queued", due_at=NOW + 5, failures=1)])
    clock.move(-3600)
    assert await store.pull_in() == 1
    assert await store.next_due([DESTINATION]) == pytest.approx(NOW - 3600 + 6)


async def test_stories_are_found_by_request_id_subid_and_event_id(store: SqliteStore, config: Configuration) -> None:
    await decided(store, config, postback(1))
    for name in (postback(1).id, SUBID, f"{SUBID}_sale"):
        [story] = await store.stories(name, 10)
        assert (story["id"], len(story["deliveries"])) == (postback(1).id, 1)
    assert await store.stories("nobody", 10) == []


async def test_old_rows_go_and_open_ones_stay(store: SqliteStore, config: Configuration, clock: Clock) -> None:
    await decided(store, config, postback(1), postback(2, f"/{KEY}/postback?subid={SUBID}&status=deposit"))
    sent, _ = await store.lease([DESTINATION], 10)
    await store.settle([Settlement(sent.seq, "delivered", attempts=(ATTEMPT,))])
    await store.add_reading(Reading("j", PLACE, [(click(), True), (click("plain00001", parameters={}), False)]))
    clock.move(100)
    forgotten = {what: await store.forget(what, NOW + 50, 100) for what in ("bodies", "deliveries", "attempts")}
    assert forgotten == {"bodies": 1, "deliveries": 1, "attempts": 1}
    assert [await store.forget("plain_clicks", NOW + 50, 100), await store.forget("clicks", NOW + 50, 100)] == [1, 1]
    assert await store.forget("postbacks", NOW + 50, 100) == 2
    assert [row["state"] for row in (await store.counts())["deliveries"]] == ["leased"]


async def test_a_second_daemon_is_refused_and_told_who_is_there(
    store: SqliteStore, tmp_path: Path, clock: Clock
) -> None:
    with pytest.raises(StoreRefused, match=r"in use by another capi-sidecar \(pid \d+\)"):
        SqliteStore(tmp_path / "state", "sandbox", clock)


async def test_another_mode_is_refused_with_both_names(
    open_store: Callable[[], SqliteStore], tmp_path: Path, clock: Clock
) -> None:
    await open_store().close()
    with pytest.raises(StoreRefused, match="is of mode sandbox, and this run is live"):
        SqliteStore(tmp_path / "state", "live", clock)


async def test_every_file_is_the_owners_alone(store: SqliteStore, tmp_path: Path) -> None:
    await store.add(postback(1))
    state = tmp_path / "state"
    assert state.stat().st_mode & 0o777 == 0o700
    assert {path.name: oct(path.stat().st_mode & 0o777) for path in state.iterdir()} == {
        path.name: "0o600" for path in state.iterdir()
    }


async def test_the_file_is_made_so_that_nothing_is_lost_and_nothing_lingers(store: SqliteStore, tmp_path: Path) -> None:
    from sidecar.store.state import connect

    connection = connect(tmp_path / "state" / "store.sqlite3")
    names = ("journal_mode", "synchronous", "secure_delete", "auto_vacuum")
    assert [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in names] == ["wal", 2, 1, 2]
    connection.close()


async def test_the_hours_count_what_ended_at_its_end_and_what_is_open_at_its_making(
    store: SqliteStore, config: Configuration, clock: Clock
) -> None:
    await decided(store, config, postback(1))
    since = NOW - 3600
    assert await store.hours(since) == [("Summer", 1, "queued", 1)]
    await store.lease([DESTINATION], 10)
    assert await store.hours(since) == [("Summer", 1, "leased", 1)]
    clock.move(2 * 3600)
    await store.settle([Settlement(1, "delivered", attempts=(ATTEMPT,))])
    assert await store.hours(since) == [("Summer", 3, "delivered", 1)]
    assert await store.hours(NOW + 3 * 3600) == []


async def test_the_hours_count_what_has_lost_its_body_too(
    store: SqliteStore, config: Configuration, clock: Clock
) -> None:
    await decided(store, config, postback(1))
    await store.lease([DESTINATION], 10)
    await store.settle([Settlement(1, "delivered", attempts=(ATTEMPT,))])
    assert await store.forget("bodies", NOW + 1, 10) == 1
    assert await store.hours(NOW) == [("Summer", 0, "delivered", 1)]


async def test_the_deliveries_of_an_integration_are_the_newest_those_that_wait_and_those_that_are_dead(
    store: SqliteStore, config: Configuration
) -> None:
    targets = [f"/{KEY}/postback?subid={SUBID}&status=sale&payout=1&tid={number}" for number in range(3)]
    await decided(store, config, *(postback(number, target) for number, target in enumerate(targets)))
    leased = await store.lease([DESTINATION], 2)
    await store.settle([Settlement(leased[0].seq, "dead", "refused", attempts=(ATTEMPT,)),
                        Settlement(leased[1].seq, "delivered", attempts=(ATTEMPT,))])  # fmt: skip
    found = await store.deliveries("Summer", 10)
    assert [row["seq"] for row in found["newest"]] == [3, 2, 1]
    assert [row["seq"] for row in found["dead"]] == [leased[0].seq]
    assert [row["state"] for row in found["waiting"]] == ["queued"]
    assert [each["verdict"] for each in found["dead"][0]["attempts"]] == ["accepted"]
    assert await store.deliveries("Winter", 10) == {"newest": [], "waiting": [], "dead": []}
