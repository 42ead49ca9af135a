"""Couriers against the strict stand-in, with a real store and a clock that the test moves."""

import json
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sidecar.core.configuration import Configuration
from sidecar.core.decide import decide
from sidecar.core.delivery import Destination, Lane
from sidecar.core.judge import Fault
from sidecar.core.queue import Selection
from sidecar.courier.couriers import Couriers
from sidecar.graph import Sent
from sidecar.graph.sandbox import SandboxGraph
from sidecar.sandbox.standin import StandIn
from sidecar.store.contract import Ruling, StoreUnavailable
from sidecar.store.reading import read_queue
from sidecar.store.sqlite import SqliteStore
from sidecar.tap import Tap
from tests.examples import KEY, NOW, SUBID, YAML, Clock, click, configuration, postback

SECOND = """
  - name: Winter
    campaigns: [Winter1]
    pixel_id: "2222222222222222"
    token: token-of-winter
    mapping: {sale: Purchase}
"""


class Recorded(SandboxGraph):
    """The stand-in, with the bytes of every request."""

    def __init__(self, standin: StandIn) -> None:
        super().__init__(standin)
        self.requests: list[tuple[str, tuple[bytes, ...]]] = []

    async def send(self, lane: Lane, events: Sequence[bytes]) -> Sent:
        self.requests.append((lane.pixel_id, tuple(events)))
        return await super().send(lane, events)

    @property
    def sizes(self) -> list[int]:
        return [len(events) for _, events in self.requests]


class Road:
    """Store, couriers and stand-in; the lanes are stepped by hand, so that nothing depends on real time."""

    def __init__(self, store: SqliteStore, config: Configuration, clock: Clock) -> None:
        self.store = store
        self.config = config
        self.clock = clock
        self.standin = StandIn(clock)
        self._number = 0
        self.play(Recorded(self.standin))

    def play(self, graph: "Recorded") -> None:
        """Who answers in Meta's place, from a new start of the couriers on."""
        self.graph = graph
        self.couriers = Couriers(self.store, graph, self.config, self.clock, self.clock, lambda: 0.5, Tap())

    async def add(
        self, count: int, campaign: str = "AbCd12", spoil: Callable[[dict[str, Any]], Any] | None = None
    ) -> None:
        """Queues events; `spoil` changes the last one into something that Meta refuses."""
        known = click(campaign=(campaign,))
        for _ in range(count):
            self._number += 1
            target = f"/{KEY}/postback?subid={SUBID}&status=sale&payout=2&tid={self._number}"
            await self.store.add(postback(self._number, target, self.clock.now))
        pending = await self.store.pending(self.clock.now, count)
        rulings = [
            Ruling(each, "decided", decide(each.postback, known, self.config, self.clock.now), SUBID)
            for each in pending
        ]
        if spoil:
            rulings[-1] = spoiled(rulings[-1], spoil)
        ruled = await self.store.rule(rulings, "c")
        self.couriers.wake(ruled.destinations)

    async def step(self) -> None:
        """Every lane sends what it may send now, until none has anything."""
        for courier in list(self.couriers._couriers.values()):
            while await courier.step() == 0.0:
                pass

    async def states(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for row in (await self.store.counts())["deliveries"]:
            name = " ".join(filter(None, (row["state"], row["reason"], row["held"])))
            found[name] = found.get(name, 0) + row["count"]
        return found

    def configure(self, text: str, directory: Path) -> None:
        self.config = configuration(directory, text)
        self.couriers.configure(self.config)


def spoiled(ruling: Ruling, spoil: Callable[[dict[str, Any]], Any]) -> Ruling:
    [planned] = ruling.decision.events
    fields = planned.event.as_json()
    spoil(fields)
    event = replace(planned.event, body=json.dumps(fields).encode())
    return replace(ruling, decision=replace(ruling.decision, events=(replace(planned, event=event),)))


def too_old(fields: dict[str, Any]) -> None:
    fields["event_time"] -= 8 * 86400


def unknown_key(fields: dict[str, Any]) -> None:
    fields["user_data"]["value"] = "1"


def event_id(body: bytes) -> str:
    return str(json.loads(body)["event_id"])


def number_of(body: bytes) -> int:
    return int(event_id(body).rpartition("_")[2])


@pytest.fixture
async def road(store: SqliteStore, tmp_path: Path, clock: Clock) -> AsyncIterator[Road]:
    road = Road(store, configuration(tmp_path / "config", YAML + SECOND), clock)
    yield road
    await road.couriers.stop(0)


@pytest.fixture(autouse=True)
def stepped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lanes do not run by themselves here."""
    from sidecar.courier.lane import LaneCourier

    async def idle(_: LaneCourier) -> None:
        return None

    monkeypatch.setattr(LaneCourier, "run", idle)


async def test_a_thousand_events_travel_in_one_request(road: Road) -> None:
    await road.add(1500)
    await road.step()
    assert road.graph.sizes == [1000, 500]
    assert await road.states() == {"delivered": 1500}


async def test_a_request_never_mixes_lanes(road: Road) -> None:
    await road.add(3)
    await road.add(2, "Winter1")
    await road.step()
    assert sorted((pixel, len(events)) for pixel, events in road.graph.requests) == [
        ("1234567890123456", 3),
        ("2222222222222222", 2),
    ]


@pytest.mark.parametrize(("spoil", "most"), [(too_old, 21), (unknown_key, 3)])
async def test_one_bad_event_among_a_thousand_is_found_and_the_others_delivered(
    road: Road, spoil: Callable[[dict[str, Any]], Any], most: int
) -> None:
    await road.add(1000, spoil=spoil)
    await road.step()
    assert await road.states() == {"delivered": 999, "dead refused": 1}
    assert len(road.graph.requests) <= most
    listed = road.standin.listing()["events"]
    assert (len(listed), sum(each["repeats"] for each in listed)) == (999, 0)
    [story] = [each for each in await road.store.stories(SUBID, 2000) if each["deliveries"][0]["state"] == "dead"]
    assert story["deliveries"][0]["attempts"][-1]["code"] == 100


async def test_a_transient_fault_is_retried_by_the_schedule_with_the_same_bytes(road: Road, clock: Clock) -> None:
    road.standin.fail({"mode": "transient", "count": 2})
    await road.add(1)
    await road.step()
    clock.move(4.9)
    await road.step()
    assert road.graph.sizes == [1]
    clock.move(0.2)
    await road.step()
    clock.move(29)
    await road.step()
    assert road.graph.sizes == [1, 1]
    clock.move(2)
    await road.step()
    assert await road.states() == {"delivered": 1}
    assert len({events for _, events in road.graph.requests}) == 1


async def test_while_meta_fails_one_event_asks_and_then_all_go(road: Road, clock: Clock) -> None:
    road.standin.fail({"mode": "html", "count": 3})
    await road.add(500)
    for _ in range(4):
        await road.step()
        clock.move(61)
    await road.step()
    assert await road.states() == {"delivered": 500}
    assert road.graph.sizes == [500, 1, 1, 1, 250, 249]


async def test_a_token_fault_parks_its_lane_and_charges_no_event(road: Road, clock: Clock) -> None:
    road.standin.fail({"mode": "token", "token": "token-of-summer"})
    await road.add(100)
    await road.add(1, "Winter1")
    await road.step()
    clock.move(600)
    await road.add(5)
    await road.step()
    assert [size for pixel, size in zip((p for p, _ in road.graph.requests), road.graph.sizes, strict=True)
            if pixel.startswith("123")] == [100]  # fmt: skip
    assert await road.states() == {"queued": 105, "delivered": 1}
    [park] = [lane for lane in road.couriers.status() if lane["state"] != "active"]
    assert (park["state"], park["why"], park["integrations"]) == ("parked", "token", ["Summer"])
    deliveries = [each for story in await road.store.stories(SUBID, 200) for each in story["deliveries"]]
    assert {each["failures"] for each in deliveries} == {0}


async def test_a_parked_lane_probes_by_itself_with_one_event_ever_more_rarely(road: Road, clock: Clock) -> None:
    road.standin.fail({"mode": "permission", "count": 3})
    await road.add(100)
    await road.step()
    for wait in (899, 2, 1798, 4):
        clock.move(wait)
        await road.step()
    assert road.graph.sizes == [100, 1, 1]
    clock.move(3600)
    await road.step()
    assert road.graph.sizes == [100, 1, 1, 1, 99]
    assert await road.states() == {"delivered": 100}


async def test_a_mended_token_resumes_at_once_and_asks_with_one_event(road: Road, tmp_path: Path) -> None:
    road.standin.fail({"mode": "token", "token": "token-of-summer"})
    await road.add(100)
    await road.step()
    road.configure((YAML + SECOND).replace("token-of-summer", "token-mended"), tmp_path / "mended")
    await road.step()
    assert road.graph.sizes == [100, 1, 99]
    assert await road.states() == {"delivered": 100}


async def test_an_unrelated_edit_releases_nothing(road: Road, tmp_path: Path) -> None:
    road.standin.fail({"mode": "token", "token": "token-of-summer"})
    await road.add(100)
    await road.step()
    road.configure((YAML + SECOND).replace("name: Winter", "name: Autumn"), tmp_path / "other")
    await road.step()
    assert road.graph.sizes == [100]


async def test_a_park_outlives_a_restart_and_a_mended_token_ends_it(
    road: Road, store: SqliteStore, tmp_path: Path
) -> None:
    road.standin.fail({"mode": "token", "token": "token-of-summer"})
    await road.add(100)
    await road.step()
    for _ in range(5):
        second = Road(store, road.config, road.clock)
        await second.couriers.start()
        await second.step()
        assert second.graph.sizes == []
    third = Road(store, configuration(tmp_path / "third", YAML.replace("token-of-summer", "token-mended")), road.clock)
    await third.couriers.start()
    await third.step()
    assert third.graph.sizes == [100]
    assert await store.parks() != []


async def test_after_a_restart_too_all_go_when_meta_answers_again(road: Road, store: SqliteStore, clock: Clock) -> None:
    road.standin.fail({"mode": "transient", "count": 3})
    await road.add(1)
    for _ in range(3):
        await road.step()
        clock.move(61)
    second = Road(store, road.config, clock)
    second._number = 1
    await second.couriers.start()
    await second.add(1)
    await second.step()
    assert await second.states() == {"delivered": 2}


async def test_a_released_lane_asks_at_once_with_one_event_and_a_throttled_one_does_not(road: Road) -> None:
    summer = Destination("Summer", "1234567890123456", "")
    road.standin.fail({"mode": "token", "count": 1})
    await road.add(10)
    await road.step()
    road.couriers.ask([summer])
    await road.step()
    assert road.graph.sizes == [10, 1, 9]
    road.standin.fail({"mode": "throttle", "seconds": 120, "count": 1})
    await road.add(10)
    await road.step()
    road.couriers.ask([summer])
    await road.step()
    assert road.graph.sizes == [10, 1, 9, 10]


async def test_an_edit_does_not_shorten_a_pause_that_meta_asked_for(road: Road, tmp_path: Path, clock: Clock) -> None:
    road.standin.fail({"mode": "throttle", "seconds": 120, "count": 1})
    await road.add(10)
    await road.step()
    road.configure((YAML + SECOND).replace("token-of-summer", "token-mended"), tmp_path / "mended")
    clock.move(119)
    await road.step()
    assert road.graph.sizes == [10]
    clock.move(2)
    await road.step()
    assert await road.states() == {"delivered": 10}


async def test_lanes_of_one_token_ask_one_request_when_their_park_is_due(
    road: Road, tmp_path: Path, clock: Clock
) -> None:
    road.configure((YAML + SECOND).replace("token-of-winter", "token-of-summer"), tmp_path / "shared")
    road.standin.fail({"mode": "token"})
    await road.add(5)
    await road.add(5, "Winter1")
    await road.step()
    clock.move(901)
    await road.step()
    assert sorted(road.graph.sizes) == [1, 5]


async def test_the_log_says_once_who_is_parked_and_where_the_token_stands(
    road: Road, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    road.standin.fail({"mode": "token", "token": "token-of-summer"})
    await road.add(5)
    for _ in range(3):
        await road.step()
        clock.move(7200)
    [record] = [each for each in caplog.records if each.message == "lane.parked"]
    keys = record.keys  # type: ignore[attr-defined]
    assert keys["at"] == "integrations.yaml:7"
    assert "new token" in keys["next"]


async def test_a_retry_of_all_sends_nothing_again_that_was_delivered_meanwhile(road: Road) -> None:
    await road.add(3)
    seen = list(read_queue(road.store.path, Selection()))
    await road.step()
    assert await road.store.steer("retry", seen) == 0
    assert await road.states() == {"delivered": 3}


async def test_what_meta_took_is_settled_before_anything_else_is_done(
    road: Road, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(_: Any) -> None:
        raise StoreUnavailable("the disk is full")

    monkeypatch.setattr(road.store, "hasten", full)
    await road.add(3)
    await road.step()
    assert await road.states() == {"delivered": 3}
    assert road.graph.sizes == [3]


async def test_new_events_and_old_ones_go_in_turn_after_an_outage(road: Road, clock: Clock) -> None:
    road.standin.fail({"mode": "token", "count": 1})
    await road.add(3000)
    await road.step()
    clock.move(901)
    await road.add(700)
    await road.step()
    newest = [event_id(events[-1]) for _, events in road.graph.requests[2:4]]
    assert newest == [f"{SUBID}_sale_3700", f"{SUBID}_sale_3200"]
    assert [sum(number_of(event) > 3000 for event in events) for _, events in road.graph.requests[2:4]] == [500, 200]
    assert await road.states() == {"delivered": 3700}


async def test_of_the_old_ones_those_close_to_their_deadline_go_first(road: Road, clock: Clock) -> None:
    summer = Destination("Summer", "1234567890123456", "")
    await road.add(1)
    clock.move(6.5 * 86400)
    await road.add(500)
    clock.move(10)
    [oldest] = read_queue(road.store.path, Selection(("q1",)))
    await road.store.steer("retry", [oldest])  # due neither first nor last
    clock.move(10)
    await road.add(500)
    leased = await road.store.lease([summer], 100)
    assert [number_of(each.body) for each in leased] == [1, *range(2, 51), *range(952, 1002)]


async def test_past_its_deadline_nothing_is_sent(road: Road, clock: Clock) -> None:
    road.standin.fail({"mode": "token", "count": 1})
    await road.add(10)
    await road.step()
    clock.move(7 * 86400)
    await road.step()
    assert await road.store.bury() == 10
    assert await road.states() == {"dead deadline": 10}
    assert road.graph.sizes == [10]


async def test_a_throttle_holds_every_lane_of_the_pixel_as_long_as_meta_says(road: Road, clock: Clock) -> None:
    road.standin.fail({"mode": "throttle", "seconds": 120, "count": 1})
    await road.add(10)
    await road.step()
    clock.move(119)
    await road.step()
    assert road.graph.sizes == [10]
    clock.move(2)
    await road.step()
    assert road.graph.sizes == [10, 10]
    assert await road.states() == {"delivered": 10}


async def test_a_policy_block_holds_for_an_hour(road: Road, clock: Clock) -> None:
    road.standin.fail({"mode": "policy", "count": 1})
    await road.add(10)
    await road.step()
    clock.move(3590)
    await road.step()
    assert road.graph.sizes == [10]
    clock.move(20)
    await road.step()
    assert await road.states() == {"delivered": 10}


async def test_a_count_that_does_not_match_settles_nothing_and_is_sent_again_in_halves(
    road: Road, clock: Clock
) -> None:
    road.standin.fail({"mode": "partial", "count": 1})
    await road.add(10)
    await road.step()
    assert road.graph.sizes == [10, 5, 5]
    assert await road.states() == {"delivered": 10}
    listed = road.standin.listing()["events"]
    assert (len(listed), sum(each["repeats"] for each in listed)) == (10, 9)


async def test_a_lone_event_answered_with_nothing_is_tried_later(road: Road, clock: Clock) -> None:
    road.standin.fail({"mode": "partial", "count": 1})
    await road.add(1)
    await road.step()
    assert await road.states() == {"queued": 1}
    clock.move(6)
    await road.step()
    assert await road.states() == {"delivered": 1}


async def test_an_answer_that_nobody_knows_is_put_aside_after_a_few_tries(road: Road, clock: Clock) -> None:
    road.standin.fail({"mode": "unknown"})
    await road.add(1)
    for _ in range(10):
        await road.step()
        clock.move(4000)
    assert await road.states() == {"queued by_hand": 1}
    assert road.graph.sizes == [1] * 5


async def test_a_paused_integration_sends_nothing_and_all_when_it_is_resumed(road: Road, tmp_path: Path) -> None:
    text = YAML + SECOND
    road.configure(text.replace("campaigns: [AbCd12]", "campaigns: [AbCd12]\n    paused: true"), tmp_path / "paused")
    await road.add(10)
    await road.step()
    assert road.graph.requests == []
    assert road.couriers.held(Destination("Summer", "1234567890123456", "")) == "paused"
    road.configure(text, tmp_path / "resumed")
    await road.step()
    assert await road.states() == {"delivered": 10}


async def test_when_an_integration_is_gone_another_with_its_pixel_and_proxies_sends(road: Road, tmp_path: Path) -> None:
    await road.add(1)
    road.configure("tracker: {postback_key: k}\n", tmp_path / "empty")
    await road.step()
    assert road.couriers.held(Destination("Summer", "1234567890123456", "")) == "integration_gone"
    road.configure(YAML.replace("name: Summer", "name: Renamed"), tmp_path / "renamed")
    await road.step()
    assert await road.states() == {"delivered": 1}


async def test_it_moves_to_no_other_pixel_and_around_no_proxy(road: Road, tmp_path: Path) -> None:
    await road.add(1)
    renamed = YAML.replace("name: Summer", "name: Renamed")
    road.configure(renamed.replace("1234567890123456", "9999999999999999"), tmp_path / "pixel")
    await road.step()
    road.configure(renamed.replace("token:", 'proxy: "http://127.0.0.1:1"\n    token:'), tmp_path / "proxy")
    await road.step()
    assert road.graph.requests == []


async def test_what_an_earlier_run_left_is_taken_up(road: Road, store: SqliteStore, clock: Clock) -> None:
    await road.add(3)
    second = Road(store, road.config, clock)
    await second.couriers.start()
    await second.step()
    assert second.graph.sizes == [3]


class TooSlow(Recorded):
    """A way on which more than some events take too long."""

    most = 100

    async def send(self, lane: Lane, events: Sequence[bytes]) -> Sent:
        if len(events) > self.most:
            self.requests.append((lane.pixel_id, tuple(events)))
            return Sent(Fault("meta", "no answer in time"), 0, 30.0)
        return await super().send(lane, events)


async def test_what_is_too_large_for_the_way_is_sent_in_smaller_requests(road: Road, clock: Clock) -> None:
    road.play(TooSlow(road.standin))
    await road.add(600)
    for _ in range(40):
        await road.step()
        clock.move(61)
    assert await road.states() == {"delivered": 600}


class StopsMidway(Recorded):
    """Refuses a batch, then fails: the lane stops while the rest of the batch still waits for its turn."""

    async def send(self, lane: Lane, events: Sequence[bytes]) -> Sent:
        self.standin.fail({"mode": "transient"} if self.requests else {"mode": "none"})
        return await super().send(lane, events)


async def test_what_goes_back_to_the_queue_keeps_the_tries_that_it_had(road: Road) -> None:
    road.play(StopsMidway(road.standin))
    await road.add(4, spoil=too_old)
    await road.step()
    stories = await road.store.stories(SUBID, 10)
    tries = [[each["verdict"] for each in story["deliveries"][0]["attempts"]] for story in stories]
    assert tries == [["refused", "transient"], ["refused", "transient"], ["refused"], ["refused"]]


class Broken(Recorded):
    """A defect of ours, whatever it is."""

    async def send(self, lane: Lane, events: Sequence[bytes]) -> Sent:
        raise KeyError("a defect")


async def test_a_defect_leaves_no_delivery_leased(road: Road) -> None:
    road.play(Broken(road.standin))
    await road.add(3)
    with pytest.raises(KeyError):
        await road.step()
    assert await road.states() == {"queued": 3}


async def test_an_unknown_answer_to_many_is_charged_to_none(road: Road, clock: Clock) -> None:
    road.standin.fail({"mode": "unknown", "count": 4})
    await road.add(100)
    for _ in range(8):
        await road.step()
        clock.move(61)
    assert await road.states() == {"delivered": 100}
    assert road.graph.sizes[:2] == [100, 1]


async def test_a_clock_that_is_set_back_holds_up_no_lane(road: Road, store: SqliteStore, clock: Clock) -> None:
    monotonic = Clock(1000.0)
    road.couriers = Couriers(store, road.graph, road.config, clock, monotonic, lambda: 0.5, Tap())
    road.standin.fail({"mode": "transient", "count": 1})
    await road.add(1)
    await road.step()
    clock.move(-86400)
    monotonic.move(61)
    await store.pull_in()
    clock.move(6)
    await road.step()
    assert road.graph.sizes == [1, 1]


async def test_after_the_deadline_nothing_is_sent(road: Road, clock: Clock) -> None:
    await road.add(1)
    clock.move(7 * 86400 - 3600)
    await road.step()
    assert road.graph.requests == []
    assert clock.now > NOW
