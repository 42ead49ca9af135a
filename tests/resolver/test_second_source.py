"""The Admin API as the second source of clicks: the resolver beside a stand-in of the API, stepped by hand."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import pytest

from sidecar.core.campaign import Campaign
from sidecar.core.secret import Secret
from sidecar.keitaro import Answered, Unanswered
from sidecar.keitaro.admin_api import AdminApi
from sidecar.resolver import AGAIN
from sidecar.store.sqlite import SqliteStore
from tests.acceptance.keitaro import KEY as API_KEY
from tests.acceptance.keitaro import AdminApiStandIn
from tests.examples import FBCLID, KEY, NOW, SUBID, TARGET, YAML, Clock, click, configuration, postback
from tests.resolver.test_resolver import Tried

SUMMER = {
    "id": 7,
    "alias": "AbCd12",
    "name": "Summer",
    "parameters": {"external_id": {"name": "fbclid", "placeholder": "{fbclid}"}},
}
ROW = {"sub_id": SUBID, "campaign_id": 7, "campaign": "Summer", "external_id": "IwAR0_from_the_admin_api",
       "datetime": NOW - 60, "ip": "8.8.8.8", "user_agent": "Mozilla/5.0", "country_code": "US"}  # fmt: skip
CARRIED = f"{TARGET}&campaign=AbCd12&fbclid={FBCLID}"
DAY = 86400.0


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AdminApiStandIn]:
    with AdminApiStandIn(tmp_path_factory.mktemp("admin-api")) as standin:
        yield standin


@pytest.fixture
def standin(started: AdminApiStandIn) -> AdminApiStandIn:
    started.fail(mode="none")
    started.set(clicks=[], conversions=[], campaigns=[SUMMER])
    started.forget()
    return started


@pytest.fixture
async def api(standin: AdminApiStandIn, clock: Clock) -> AsyncIterator[AdminApi]:
    async def no_sleep(_: float) -> None:
        return None

    api = AdminApi(standin.url, Secret(API_KEY), None, clock, clock, no_sleep)
    yield api
    await api.close()


@pytest.fixture
def tried(store: SqliteStore, tmp_path: Path, clock: Clock, api: AdminApi) -> Tried:
    return Tried(store, configuration(tmp_path / "config"), clock, api)


async def ask(tried: Tried) -> None:
    """What the lookup asks by itself, then what the resolver makes of the answers."""
    await tried.lookup.step()
    await tried.settle()


async def test_a_click_that_no_journal_has_shown_is_found_and_decided(tried: Tried, standin: AdminApiStandIn) -> None:
    standin.set(clicks=[ROW])
    await tried.store.add(postback(1))
    await tried.settle()
    assert await tried.reasons() == [("waiting", "waiting", "no_click")]
    await ask(tried)
    assert await tried.reasons() == [("decided", "accepted", "sent")]
    [story] = await tried.store.stories(SUBID, 1)
    assert b"IwAR0_from_the_admin_api" in story["deliveries"][0]["body"]


async def test_what_the_store_knows_is_asked_of_nobody(tried: Tried, standin: AdminApiStandIn) -> None:
    await tried.knows(click())
    await tried.store.add(postback(1))
    await tried.settle()
    await ask(tried)
    assert await tried.reasons() == [("decided", "accepted", "sent")]
    assert "clicks/log" not in standin.counts()


async def test_it_expires_only_when_the_admin_api_has_said_so_after_the_wait(
    tried: Tried, standin: AdminApiStandIn, clock: Clock
) -> None:
    await tried.store.add(postback(1))
    await tried.settle()
    await ask(tried)  # does not know it yet
    clock.move(902)
    tried.read_to_end_at = clock.now
    await tried.settle()
    assert (await tried.reasons())[0][0] == "waiting"
    standin.set(clicks=[ROW])
    await ask(tried)
    assert await tried.reasons() == [("decided", "accepted", "sent")]


async def test_what_nobody_knows_expires(tried: Tried, standin: AdminApiStandIn, clock: Clock) -> None:
    await tried.store.add(postback(1))
    await tried.settle()
    await ask(tried)
    clock.move(902)
    tried.read_to_end_at = clock.now
    await tried.settle()
    await ask(tried)
    assert await tried.reasons() == [("expired", "rejected", "click_expired")]
    assert standin.counts()["clicks/log"] == 2


async def test_while_it_does_not_answer_nothing_expires_before_its_deadline(
    tried: Tried, standin: AdminApiStandIn, clock: Clock
) -> None:
    standin.fail(mode="status", status=503)
    await tried.store.add(postback(1))
    await tried.settle()
    for _ in range(7):
        with pytest.raises(Unanswered):
            await ask(tried)
        clock.move(DAY - 700)
        tried.read_to_end_at = clock.now
        await tried.settle()
        assert (await tried.reasons())[0][0] == "waiting"
    clock.move(3700)
    await tried.settle()
    assert await tried.reasons() == [("expired", "rejected", "click_expired")]


async def test_a_carried_click_gives_way_to_the_trackers_own(tried: Tried, standin: AdminApiStandIn) -> None:
    standin.set(clicks=[ROW])
    await tried.store.add(postback(1, CARRIED))
    await tried.settle()
    assert (await tried.reasons())[0][0] == "waiting"
    await ask(tried)
    [story] = await tried.store.stories(SUBID, 1)
    assert story["reason"] == "sent"
    assert b"IwAR0_from_the_admin_api" in story["deliveries"][0]["body"]


async def test_a_carried_click_that_the_tracker_does_not_know_is_decided_at_once(
    tried: Tried, standin: AdminApiStandIn
) -> None:
    await tried.store.add(postback(1, CARRIED))
    await tried.settle()
    await ask(tried)
    assert await tried.reasons() == [("decided", "accepted", "sent")]
    [story] = await tried.store.stories(SUBID, 1)
    assert FBCLID.encode() in story["deliveries"][0]["body"]


async def test_a_carried_click_waits_for_no_admin_api_that_is_dead(
    tried: Tried, standin: AdminApiStandIn, clock: Clock
) -> None:
    standin.fail(mode="status", status=503)
    await tried.store.add(postback(1, CARRIED))
    await tried.settle()
    with pytest.raises(Unanswered):
        await ask(tried)
    clock.move(AGAIN)
    await tried.store.add(postback(2, CARRIED.replace(SUBID, "othersubid")))
    await tried.settle()
    assert await tried.reasons() + await tried.reasons("othersubid") == [("decided", "accepted", "sent")] * 2


@pytest.mark.parametrize("name", ["7", "Summer"])
async def test_an_integration_can_name_a_campaign_by_id_or_name(
    store: SqliteStore, tmp_path: Path, clock: Clock, api: AdminApi, name: str
) -> None:
    tried = Tried(store, configuration(tmp_path / name, YAML.replace("[AbCd12]", f'["{name}"]')), clock, api)
    await tried.knows(click())
    await tried.store.add(postback(1))
    await tried.settle()  # nobody knows this campaign yet: it is not ignored
    assert (await tried.reasons())[0][0] == "waiting"
    await ask(tried)
    clock.move(AGAIN)
    await tried.settle()
    assert await tried.reasons() == [("decided", "accepted", "sent")]


async def test_a_campaign_that_the_tracker_does_not_know_either_is_ignored_after_one_look(
    tried: Tried, clock: Clock
) -> None:
    await tried.knows(click(campaign=("Foreign",)))
    await tried.store.add(postback(1))
    await tried.settle()
    clock.move(1)
    await ask(tried)
    clock.move(AGAIN)
    await tried.settle()
    assert await tried.reasons() == [("decided", "ignored", "campaign_without_integration")]


async def test_the_campaigns_are_known_after_a_restart_without_an_answer(
    tried: Tried, standin: AdminApiStandIn, tmp_path: Path, clock: Clock, api: AdminApi
) -> None:
    await tried.lookup.step()
    standin.fail(mode="status", status=503)
    by_id = configuration(tmp_path / "by_id", YAML.replace("[AbCd12]", "[7]"))
    restarted = Tried(tried.store, by_id, clock, api)
    await restarted.lookup.start()
    await restarted.knows(click())
    await restarted.store.add(postback(1))
    await restarted.settle()
    assert await restarted.reasons() == [("decided", "accepted", "sent")]


async def test_the_parameter_that_holds_the_fbclid_is_read_from_the_campaign(
    tried: Tried, standin: AdminApiStandIn
) -> None:
    standin.set(campaigns=[SUMMER | {"parameters": {"sub_id_3": {"name": "sub1", "placeholder": "{fbclid}"}}}])
    await tried.lookup.step()
    await tried.knows(click(parameters={"sub1": ("IwAR0_passed_through_an_app",)}))
    await tried.store.add(postback(1))
    await tried.settle()
    [story] = await tried.store.stories(SUBID, 1)
    assert story["reason"] == "sent"
    assert b"IwAR0_passed_through_an_app" in story["deliveries"][0]["body"]


async def test_a_thousand_unknown_subids_are_five_requests(tried: Tried, standin: AdminApiStandIn) -> None:
    for number in range(1000):
        await tried.store.add(postback(number, f"/{KEY}/postback?subid=subid{number:05d}&status=sale"))
    await tried.settle()
    for _ in range(8):
        await tried.lookup.step()
    assert standin.counts()["clicks/log"] == 5


async def test_a_key_that_may_not_read_campaigns_still_reads_clicks(tried: Tried, standin: AdminApiStandIn) -> None:
    standin.fail(mode="status", status=403, path="campaigns")
    standin.set(clicks=[ROW])
    await tried.store.add(postback(1))
    await tried.settle()
    await ask(tried)
    assert (await tried.reasons())[0][2] == "sent" or (await tried.reasons())[0][0] == "waiting"
    assert tried.lookup.counts["found"] == 1


async def test_an_admin_api_without_campaigns_holds_up_nothing_for_long(
    tried: Tried, standin: AdminApiStandIn, clock: Clock
) -> None:
    standin.fail(mode="status", status=402, path="campaigns")
    await tried.knows(click(campaign=("Foreign",)))
    await tried.store.add(postback(1))
    await tried.settle()
    await ask(tried)
    clock.move(901)
    await tried.settle()
    assert await tried.reasons() == [("decided", "ignored", "campaign_without_integration")]


class Timeless:
    """A tracker that writes moments in a way of its own: its rows are clicks without a time."""

    is_answering, trouble = True, ""

    def __init__(self) -> None:
        self.asked = 0

    async def clicks(self, subids: Sequence[str]) -> Answered:
        self.asked += 1
        return Answered({subid: click(subid, clicked_at=None) for subid in subids}, frozenset(subids))

    async def campaigns(self) -> tuple[Campaign, ...]:
        return ()

    async def close(self) -> None:
        return None


async def test_a_row_without_its_time_is_no_click(store: SqliteStore, tmp_path: Path, clock: Clock) -> None:
    tracker = Timeless()
    tried = Tried(store, configuration(tmp_path / "config"), clock, tracker)
    await tried.store.add(postback(1, CARRIED))
    await tried.settle()
    for _ in range(3):
        await ask(tried)
    assert await tried.reasons() == [("decided", "accepted", "sent")]
    assert tracker.asked == 1


async def test_while_only_the_journal_is_missing_the_admin_api_is_not_asked_again(
    tried: Tried, standin: AdminApiStandIn, clock: Clock
) -> None:
    await tried.store.add(postback(1))
    await tried.settle()
    clock.move(902)
    for _ in range(10):
        await tried.settle()
        await ask(tried)
    assert standin.counts()["clicks/log"] == 1
    assert (await tried.reasons())[0][0] == "waiting"


async def test_what_a_journal_has_brought_meanwhile_is_not_asked_for(tried: Tried, standin: AdminApiStandIn) -> None:
    await tried.store.add(postback(1))
    await tried.settle()
    await tried.knows(click())
    await ask(tried)
    assert "clicks/log" not in standin.counts()


async def test_a_clock_that_was_set_back_does_not_stop_the_reading_of_campaigns(
    tried: Tried, standin: AdminApiStandIn, clock: Clock
) -> None:
    await tried.lookup.step()
    clock.move(-20 * 3600)
    await tried.lookup.step()
    assert standin.counts()["campaigns"] == 2


async def test_an_admin_api_that_is_taken_away_in_the_middle_of_a_question_breaks_nothing(
    tried: Tried, standin: AdminApiStandIn, api: AdminApi
) -> None:
    standin.fail(mode="slow", seconds=1)
    asking = asyncio.create_task(api.clicks([SUBID]))
    await asyncio.sleep(0.3)
    await api.close()
    with pytest.raises(Unanswered):
        await asking
    with pytest.raises(Unanswered):
        await api.clicks([SUBID])


async def test_more_than_waiting_max_expire_the_oldest_first(store: SqliteStore, tmp_path: Path, clock: Clock) -> None:
    tried = Tried(store, configuration(tmp_path / "few", waiting_max=10), clock)
    for number in range(25):
        await store.add(postback(number, f"/{KEY}/postback?subid=subid{number:05d}&status=sale"))
        clock.move(1)
    await tried.settle()
    await tried.resolver.relieve()
    states = [(await tried.reasons(f"subid{number:05d}"))[0] for number in range(25)]
    assert states == [("expired", "rejected", "click_expired")] * 15 + [("waiting", "waiting", "no_click")] * 10
    [story] = await store.stories("subid00001", 1)
    assert "waiting_max (10)" in story["trace"][-1]


async def test_those_that_the_admin_api_may_know_do_not_expire(
    store: SqliteStore, tmp_path: Path, clock: Clock, api: AdminApi, standin: AdminApiStandIn
) -> None:
    tried = Tried(store, configuration(tmp_path / "few", waiting_max=1), clock, api)
    for number in range(5):
        await store.add(postback(number, f"/{KEY}/postback?subid=subid{number:05d}&status=sale"))
    await tried.settle()
    await tried.resolver.relieve()
    assert await store.waiting() == 5
    await tried.lookup.step()
    clock.move(11)
    await tried.resolver.relieve()
    assert await store.waiting() == 1
