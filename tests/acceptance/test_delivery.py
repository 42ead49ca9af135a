"""Nothing lost and nothing twice while tokens expire, Meta fails and the daemon is killed. Long, on real processes."""

import http.client
import json
import random
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path
from typing import Any, Self

import requests

from tests.acceptance.ours import Daemon, StandIn
from tests.acceptance.parts import wait_until
from tests.acceptance.road import TOKEN, yaml
from tests.examples import KEY, PIXEL

Start = Callable[..., Daemon]

#: Seconds for which things go wrong in each of the two long tests.
LONG = 60

#: Seconds until a queue must be empty once all is well: a lane that fails is asked at least once a minute.
DRAINED = 180.0

OTHER = '  - {name: Other, campaigns: [Other1], pixel_id: "2", token: t-other-1, mapping: {sale: Purchase}}\n'


def target_of(number: int) -> str:
    """A postback with a conversion of its own that brings its click along, so that it is decided at once."""
    return f"/{KEY}/postback?subid=traffic{number:06d}&tid={number}&payout=1&campaign=AbCd12&fbclid=IwAR{number}"


def event_id_of(number: int) -> str:
    return f"traffic{number:06d}_sale_{number}"


class Traffic:
    """Postbacks at a steady rate over kept connections, `most` of them or until it is stopped.

    What is not answered with 200, because the daemon is being killed, is sent again with the same request id, as it
    would stand in Nginx's journal. `acknowledged` are the numbers that were answered with 200.
    """

    WORKERS = 4

    def __init__(
        self, daemon: Daemon, rate: float, most: int | None = None, target: Callable[[int], str] = target_of
    ) -> None:
        self._intake = daemon.intake
        self._rate = rate
        self._target = target
        self._numbers = iter(count() if most is None else range(most))
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(self.WORKERS)]
        self._begun: list[int] = []
        self.acknowledged: list[int] = []

    def start(self) -> Self:
        self._began_at = time.monotonic()
        for thread in self._threads:
            thread.start()
        return self

    def stop(self) -> list[int]:
        """Begins no more; the numbers of all, each of which is answered."""
        self._stopped.set()
        return self.finish()

    def finish(self) -> list[int]:
        """The numbers of all once each is answered."""
        for thread in self._threads:
            thread.join(120)
        assert sorted(self.acknowledged) == self._begun, "a postback was never answered with 200"
        return self._begun

    def _work(self) -> None:
        connection = http.client.HTTPConnection(self._intake, timeout=10)
        for number in self._taken():
            time.sleep(max(0.0, self._began_at + number / self._rate - time.monotonic()))
            while not self._send(connection, number):
                time.sleep(0.05)
            self.acknowledged.append(number)
        connection.close()

    def _taken(self) -> Iterator[int]:
        while not self._stopped.is_set():
            with self._lock:
                number = next(self._numbers, None)
                if number is None:
                    return
                self._begun.append(number)
            yield number

    def _send(self, connection: http.client.HTTPConnection, number: int) -> bool:
        try:
            connection.request("GET", self._target(number), headers={"X-Request-Id": f"{number:032x}"})
            answer = connection.getresponse()
            answer.read()
            return answer.status == 200
        except (OSError, http.client.HTTPException):
            connection.close()
            return False


def fail(standin: StandIn, orders: list[dict[str, Any]]) -> None:
    """Several orders at once."""
    requests.put(f"{standin.url}/_fail", json=orders, timeout=30).raise_for_status()


def bad_weather(chance: random.Random, most: float) -> list[dict[str, Any]]:
    """Each way in which Meta fails, for a share of the requests of at most this; now and then one of them for all."""
    orders: list[dict[str, Any]] = [
        {"mode": "transient"},
        {"mode": "html"},
        {"mode": "throttle", "seconds": 1},
        {"mode": "slow", "seconds": 0.3},
        {"mode": "reset"},
    ]
    chance.shuffle(orders)
    for order in orders:
        order["share"] = round(chance.uniform(0, most), 4)
    if chance.random() < 0.2:
        orders[0]["share"] = 1
    return orders


@contextmanager
def store_of(daemon: Daemon, mode: str = "ro") -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(f"file:{daemon.state}/store.sqlite3?mode={mode}", uri=True, timeout=30)) as store:
        yield store


def rows(daemon: Daemon, sql: str) -> list[tuple[Any, ...]]:
    with store_of(daemon) as store:
        return store.execute(sql).fetchall()


def wait_for_delivered(daemon: Daemon, number: int) -> None:
    """Until each of so many acknowledged postbacks, which are on disk, is a delivery settled by Meta's word."""
    assert rows(daemon, "SELECT count(*) FROM postback") == [(number,)]

    def states() -> dict[str, int]:
        return dict(rows(daemon, "SELECT state, count(*) FROM delivery GROUP BY state"))

    wait_until(lambda: states() == {"delivered": number}, f"{number} are delivered", DRAINED)


def assert_each_once_as_it_came(daemon: Daemon, standin: StandIn, numbers: list[int]) -> None:
    """Each acknowledged postback is one row and, at Meta, one event with one identity, at the time of its arrival."""
    received = rows(daemon, "SELECT id, received_at FROM postback")
    assert sorted(id for id, _ in received) == [f"{number:032x}" for number in sorted(numbers)]
    arrivals = {event_id_of(int(id, 16)): int(received_at) for id, received_at in received}
    accepted = [(event["event_id"], event["event_time"]) for event in standin.events()]
    assert sorted(accepted) == sorted(arrivals.items())


def accepted_and_not_heard(daemon: Daemon, standin: StandIn) -> int:
    """Requests that Meta took and whose answer the daemon never read: each answer has a trace id of its own."""
    listing = standin.listing()
    heard = rows(daemon, "SELECT count(DISTINCT fbtrace_id) FROM attempt WHERE verdict = 'accepted'")[0][0]
    return int(listing["requests"] - listing["refused"] - heard)


def test_a_token_that_expires_under_traffic_costs_two_requests_and_no_event(
    start_daemon: Start, standin: StandIn, tmp_path: Path
) -> None:
    text = yaml() + OTHER
    place = f"integrations.yaml:{text.splitlines().index(f'    token: {TOKEN}') + 1}"
    (tmp_path / "journal.ndjson").touch()  # a journal that is missing would be a problem too
    daemon = start_daemon(text, graph=standin.url)
    traffic = Traffic(daemon, rate=250, most=5000).start()
    wait_until(lambda: len(traffic.acknowledged) >= 1000, "a fifth is sent", 60)
    standin.fail(mode="token", token=TOKEN)

    def problems() -> list[str]:
        return [line for line in daemon.command_line("status").stdout.splitlines() if line.startswith("PROBLEM")]

    def assert_parked() -> None:
        [problem] = problems()
        assert problem.startswith(f"PROBLEM token: pixel {PIXEL}, Summer ({place}): ")
        assert daemon.command_line("status").returncode == 1

    wait_until(problems, "the lane is parked")
    assert_parked()
    for _ in range(2):
        daemon.kill()
        daemon.start()
        assert_parked()
    daemon.configure(text.replace("name: Other", "name: Another"))
    wait_until(lambda: "configuration.loaded" in daemon.log, "an edit of something else is in force")
    assert_parked()
    assert 1 <= standin.listing()["refused"] <= 2
    assert rows(daemon, "SELECT max(failures) FROM delivery WHERE state = 'queued'") == [(0,)]
    daemon.configure(text.replace(TOKEN, "EAAmended-token"))
    numbers = traffic.finish()
    wait_for_delivered(daemon, 5000)
    assert_each_once_as_it_came(daemon, standin, numbers)
    assert 1 <= standin.listing()["refused"] <= 2
    verdicts = rows(daemon, "SELECT DISTINCT verdict FROM attempt ORDER BY verdict")
    assert verdicts == [("accepted",), ("token",)]
    lives = daemon.log.split("daemon.started")[1:]
    assert [life.count("lane.parked") for life in lives] == [1, 0, 0]
    assert f"at={place} " in lives[0]
    assert TOKEN not in daemon.log
    assert (problems(), daemon.command_line("status").returncode) == ([], 0)


def test_bad_weather_at_meta_loses_nothing_and_costs_few_requests(start_daemon: Start, standin: StandIn) -> None:
    chance = random.Random(1)
    lost_answer = {"mode": "reset_after", "share": 0.1, "count": 1}
    daemon = start_daemon(yaml(), graph=standin.url)
    traffic = Traffic(daemon, rate=100).start()
    turns = LONG // 3
    for _ in range(turns):
        fail(standin, [lost_answer, *bad_weather(chance, most=0.02)])
        time.sleep(3)
    standin.fail(mode="none")
    numbers = traffic.stop()
    wait_for_delivered(daemon, len(numbers))
    assert_each_once_as_it_came(daemon, standin, numbers)
    listing = standin.listing()
    assert listing["requests"] / len(numbers) <= 1.5
    assert listing["refused"] > 0
    assert 0 < accepted_and_not_heard(daemon, standin) <= turns


def test_a_daemon_that_is_killed_again_and_again_repeats_only_what_was_on_its_way(
    start_daemon: Start, standin: StandIn
) -> None:
    chance = random.Random(2)
    unhurried = {"mode": "slow", "seconds": 0.1}
    daemon = start_daemon(yaml(), graph=standin.url)
    traffic = Traffic(daemon, rate=80).start()
    on_its_way: Counter[str] = Counter()
    kills = 0
    ends_at = time.monotonic() + LONG
    while time.monotonic() < ends_at:
        fail(standin, [*bad_weather(chance, most=0.06), unhurried])
        time.sleep(2)
        daemon.kill()
        kills += 1
        on_its_way.update(id for (id,) in rows(daemon, "SELECT event_id FROM delivery WHERE state = 'leased'"))
        daemon.start()
    standin.fail(mode="none")
    numbers = traffic.stop()
    wait_for_delivered(daemon, len(numbers))
    assert_each_once_as_it_came(daemon, standin, numbers)
    # One request at a time is on its way, and what it carries is leased: no other is repeated, and none more often.
    assert accepted_and_not_heard(daemon, standin) <= kills
    repeats = {event["event_id"]: event["repeats"] for event in standin.events() if event["repeats"]}
    assert repeats
    assert {id: times for id, times in repeats.items() if times > on_its_way[id]} == {}
    # Nor does a delivery travel again once it is known that Meta has it.
    taken = rows(daemon, "SELECT count(*), count(DISTINCT delivery) FROM attempt WHERE verdict = 'accepted'")
    assert taken == [(len(numbers), len(numbers))]


#: Meta takes only values of its own there; a postback without the parameter has no such key.
DELIVERY = yaml().replace("sale: Purchase", 'sale: {event: Purchase, custom_data: {delivery_category: "{delivery}"}}')
PAUSED = DELIVERY.replace("    mapping:", "    paused: true\n    mapping:")
BAD = 500


def queue_a_thousand(daemon: Daemon, target: Callable[[int], str] = target_of) -> None:
    """A thousand events that wait for their integration, which is paused."""
    Traffic(daemon, rate=1000, most=1000, target=target).start().finish()
    wait_until(lambda: daemon.status()["deliveries"] == {"queued": 1000}, "a thousand are queued")


def assert_only_the_bad_one_is_refused(daemon: Daemon, standin: StandIn) -> None:
    """One event asks whether the resumed lane is well; 999 travel in a request, in which the bad one is found."""
    shown = {"delivered": 999, "dead": 1, "dead (refused)": 1}
    wait_until(lambda: daemon.status()["deliveries"] == shown, "999 are delivered", 60)
    assert standin.listing()["requests"] <= 1 + 21
    assert rows(daemon, "SELECT event_id FROM delivery WHERE state = 'dead'") == [(event_id_of(BAD),)]
    assert {event["event_id"] for event in standin.events()} == {event_id_of(n) for n in range(1000) if n != BAD}
    assert sum(event["repeats"] for event in standin.events()) == 0


def test_one_bad_event_that_meta_names_among_a_thousand_costs_few_requests(
    start_daemon: Start, standin: StandIn
) -> None:
    daemon = start_daemon(PAUSED, graph=standin.url)
    queue_a_thousand(daemon, lambda number: target_of(number) + ("&delivery=by_owl" if number == BAD else ""))
    daemon.configure(DELIVERY)
    assert_only_the_bad_one_is_refused(daemon, standin)
    explained = daemon.command_line("explain", "--id", event_id_of(BAD))
    assert "['custom_data']['delivery_category'] must be one of" in explained.stdout


def test_one_bad_event_that_meta_does_not_name_among_a_thousand_is_found_by_halves(
    start_daemon: Start, standin: StandIn
) -> None:
    """No event of ours is refused without its place; this one is made eight days older where it waits, on disk."""
    daemon = start_daemon(PAUSED, graph=standin.url)
    queue_a_thousand(daemon)
    daemon.stop()
    with store_of(daemon, "rw") as store, store:
        [(body,)] = store.execute("SELECT body FROM delivery WHERE event_id = ?", [event_id_of(BAD)])
        event = json.loads(body)
        event["event_time"] -= 8 * 86400
        older = json.dumps(event).encode()
        store.execute("UPDATE delivery SET body = ? WHERE event_id = ?", [older, event_id_of(BAD)])
    daemon.configure(DELIVERY)
    daemon.start()
    assert_only_the_bad_one_is_refused(daemon, standin)
    assert "Too Old" in daemon.command_line("explain", "--id", event_id_of(BAD)).stdout
