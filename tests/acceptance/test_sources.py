"""Ten thousand postbacks whose clicks come from everywhere, late or never: each ends exactly where it should."""

import asyncio
import json
import random
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import requests

from sidecar.core.reconcile import COLUMNS
from tests.acceptance.keitaro import KEY as API_KEY
from tests.acceptance.keitaro import AdminApiStandIn
from tests.acceptance.ours import Daemon, StandIn
from tests.acceptance.parts import Nginx, PartFailed, Process, Squid, free_address, wait_until
from tests.acceptance.road import AGENT, CDN, Road, yaml
from tests.examples import KEY, PIXEL

#: How many postbacks get their click from where.
COUNTS = {"store": 4000, "tracker": 1500, "network": 1500, "late": 1500, "never": 1500}
TOTAL = 10_000
AT_ONCE = COUNTS["store"] + COUNTS["tracker"] + COUNTS["network"]
SENT = AT_ONCE + COUNTS["late"]

#: Postbacks that are deleted from the store, as many of each kind.
LOST_OF_EACH = 10
LOST = LOST_OF_EACH * len(COUNTS)

#: Conversions that the tracker's own log has, as many of each kind whose click it knows.
LOGGED_OF_EACH = 100

#: Subids in one question to the Admin API.
BATCH = 200

#: Connections at a time.
CONNECTIONS = 16

#: Seconds for a state that thousands of postbacks must reach.
PATIENCE = 240.0

WAIT = 15 * 60
LATE = 5 * 60


class MovedClock:
    """The wall clock of one process, ahead of the machine's by as much as a file says; monotonic time is the
    machine's. It takes a second until a move is seen."""

    def __init__(self, directory: Path) -> None:
        self._file = directory / "clock"
        self.ahead = 0
        self.move(0)

    def shown_to(self, process: Process) -> None:
        """From its start; what starts it keeps the machine's own."""
        found = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
        if not found:
            raise PartFailed("libfaketime is not installed: apt-get install faketime (or run tests/install-parts.sh)")
        environment = {
            "LD_PRELOAD": str(found[0]),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_FORCE_MONOTONIC_FIX": "0",  # else every wait of a thread costs many times as much
            "NO_FAKE_STAT": "1",
        }
        process.command = ["env", *(f"{name}={value}" for name, value in environment.items()), *process.command]

    def move(self, seconds: int) -> None:
        self.ahead += seconds
        fresh = self._file.with_suffix(".new")
        fresh.write_text(f"+{self.ahead}s\n")
        fresh.rename(self._file)


@dataclass
class Traffic:
    """The road with every source of clicks; it knows what it has sent."""

    road: Road
    api: AdminApiStandIn
    squid: Squid
    clock: MovedClock

    @property
    def daemon(self) -> Daemon:
        return self.road.daemon

    def status(self) -> dict[str, Any]:
        """What `status --json` prints, asked for as it asks."""
        status: dict[str, Any] = requests.get(f"http://{self.daemon.admin}/api/status", timeout=60).json()
        return status

    def click(self, kind: str) -> None:
        """The clicks of a kind, through Nginx."""
        self._get([f"/AbCd12?fbclid={fbclid(kind, n)}&_test_subid={name}" for n, name in subids(kind)], 302)

    def call(self) -> None:
        """Every postback once, all kinds mixed. What the network gives back of a click stands in some whose click
        is known better."""
        targets = []
        for kind in COUNTS:
            for number, name in subids(kind):
                told = f"&campaign=AbCd12&fbclid={fbclid('network', number)}" if kind in CARRYING else ""
                targets.append(f"/{KEY}/postback?subid={name}&status=sale&payout=2.5{told}")
        random.Random(8).shuffle(targets)
        self._get(targets, 200)

    def move_clock(self, seconds: int) -> None:
        """Until the daemon has read its journal to the end at the new time."""
        before = self.clock.ahead
        self.clock.move(seconds)
        least = time.time() + (before + self.clock.ahead) / 2
        wait_until(lambda: self.status()["journals"][0]["read_to_end_at"] > least, "the clock is moved")

    def pass_by(self) -> None:
        """A visitor who did not come from Facebook: whoever sleeps looks up."""
        self._get(["/AbCd12"], 302)

    def outcomes(self) -> Counter[tuple[str, str, str]]:
        rows = self.status()["postbacks"]
        return Counter({(row["state"], row["decision"], row["reason"]): row["count"] for row in rows})

    def wait_for(self, delivered: int, expected: dict[tuple[str, str, str], int]) -> None:
        def is_there() -> bool:
            deliveries = self.status()["deliveries"]
            return (deliveries, self.outcomes()) == ({"delivered": delivered}, Counter(expected))

        try:
            wait_until(is_there, f"{delivered} delivered, {expected}", PATIENCE)
        except PartFailed as failed:
            status = self.status()
            raise PartFailed(f"{failed}\n{self.outcomes()} {status['deliveries']} {status['admin_api']}") from None

    def reconciled(self, *options: str) -> tuple[int, dict[str, Any], str]:
        """Exit status, report and remarks of `reconcile`."""
        done = self.daemon.command_line("reconcile", "--since", "1d", "--json", *options)
        return done.returncode, json.loads(done.stdout), done.stderr

    def accounted(self) -> tuple[dict[str, int], dict[str, int]]:
        """What a clean `reconcile` counts, over all days and integrations, and why the rest was not sent."""
        code, report, _ = self.reconciled()
        assert (code, report["unexplained"]) == (0, 0)
        sums = {name: sum(row[name] for row in report["rows"]) for name in COLUMNS}
        return {name: count for name, count in sums.items() if count}, Counter(each["what"] for each in report["holes"])

    def _get(self, targets: list[str], status: int) -> None:
        answers = asyncio.run(_get_all(self.road.nginx.url, iter(targets)))
        assert answers == Counter({status: len(targets)})


#: Kinds whose postback says a campaign and an fbclid.
CARRYING = ("store", "tracker", "network")


def subids(kind: str) -> Iterator[tuple[int, str]]:
    return ((number, f"{kind}{number:05d}") for number in range(COUNTS[kind]))


def fbclid(source: str, number: int) -> str:
    """It names the source that told it."""
    return f"IwAR0-told-by-{source}-{number:05d}"


async def _get_all(base: str, targets: Iterator[str]) -> Counter[int]:
    """Each once, over a few connections that are kept; how often each status was answered."""
    answers: Counter[int] = Counter()
    connector = aiohttp.TCPConnector(limit=CONNECTIONS)
    headers = {"User-Agent": AGENT, **CDN}
    async with aiohttp.ClientSession(connector=connector, headers=headers, cookie_jar=aiohttp.DummyCookieJar()) as http:

        async def send() -> None:
            for target in targets:
                async with http.get(base + target, allow_redirects=False) as answer:
                    answers[answer.status] += 1

        await asyncio.gather(*(send() for _ in range(CONNECTIONS)))
    return answers


def known_to_the_tracker() -> dict[str, Any]:
    """The clicks of which no journal tells; of those that the store knows too it has another fbclid. Its log of
    conversions has some of every kind."""
    now = time.time()
    slots = {"external_id": {"name": "fbclid", "placeholder": "{fbclid}"}}
    clicks = [
        {"sub_id": name, "campaign_id": 7, "campaign": "Summer", "external_id": fbclid("tracker", number),
         "datetime": now - 600, "ip": "8.8.8.8", "user_agent": "Mozilla/5.0"}
        for kind in ("store", "tracker") for number, name in subids(kind)
    ]  # fmt: skip
    conversions = [
        {"sub_id": name, "status": "sale", "tid": "", "revenue": 2.5, "postback_datetime": now, "conversion_id": name}
        for kind in COUNTS if kind != "never" for number, name in subids(kind) if number < LOGGED_OF_EACH
    ]  # fmt: skip
    campaigns = [{"id": 7, "alias": "AbCd12", "name": "Summer", "parameters": slots}]
    return {"clicks": clicks, "conversions": conversions, "campaigns": campaigns}


@pytest.fixture
def traffic(
    tmp_path: Path,
    running: ExitStack,
    start_squid: Callable[[], Squid],
    start_nginx: Callable[[str], Nginx],
    standin: StandIn,
) -> Traffic:
    api = running.enter_context(AdminApiStandIn(tmp_path))
    api.set(**known_to_the_tracker())
    squid, clock, intake = start_squid(), MovedClock(tmp_path), free_address()
    text = yaml(squid.url, click_wait=f"{WAIT}s", admin_api=f'{{url: "{api.url}", key: "{API_KEY}"}}')
    daemon = Daemon(tmp_path, text, journal=tmp_path / "journal.ndjson", graph=standin.url, intake=intake)
    clock.shown_to(daemon)
    return Traffic(Road(start_nginx(intake), running.enter_context(daemon), standin), api, squid, clock)


ACCEPTED, WAITING = ("decided", "accepted", "sent"), ("waiting", "waiting", "no_click")
EXPIRED, DUPLICATE = ("expired", "rejected", "click_expired"), ("decided", "ignored", "duplicate")


def test_ten_thousand_postbacks_of_mixed_sources_end_exactly_where_they_should(traffic: Traffic) -> None:
    assert sum(COUNTS.values()) == TOTAL
    traffic.click("store")
    wait_until(lambda: traffic.status()["clicks"] == COUNTS["store"], "the store has its clicks", PATIENCE)
    traffic.call()
    traffic.wait_for(AT_ONCE, {ACCEPTED: AT_ONCE, WAITING: TOTAL - AT_ONCE})

    traffic.move_clock(LATE)
    traffic.click("late")
    traffic.wait_for(SENT, {ACCEPTED: SENT, WAITING: COUNTS["never"]})

    traffic.move_clock(WAIT)
    traffic.pass_by()
    traffic.wait_for(SENT, {ACCEPTED: SENT, EXPIRED: COUNTS["never"]})

    listing = traffic.road.standin.listing()
    each_once_with_the_fbclid_of_its_source(listing)
    nothing_went_around_the_proxy(traffic, listing)
    the_tracker_was_asked_in_batches_and_only_for_what_the_store_did_not_know(traffic)
    assert traffic.accounted() == (sums(sent=SENT), {"rejected (click_expired)": COUNTS["never"]})

    lost = lose(traffic.daemon)
    code, report, _ = traffic.reconciled()
    assert (code, report["unexplained"]) == (1, LOST)
    assert sorted(hole["name"] for hole in report["holes"] if not hole["explained"]) == lost
    code, _, remarks = traffic.reconciled("--inject")
    assert (code, f"{LOST} postbacks were injected, 0 were there already" in remarks) == (0, True)
    back = LOST - LOST_OF_EACH  # the others wait once more for a click that never comes
    still = {ACCEPTED: SENT - back, DUPLICATE: back}
    traffic.wait_for(SENT, {**still, EXPIRED: COUNTS["never"] - LOST_OF_EACH, WAITING: LOST_OF_EACH})
    traffic.move_clock(WAIT)
    traffic.pass_by()
    traffic.wait_for(SENT, {**still, EXPIRED: COUNTS["never"]})
    why = {"rejected (click_expired)": COUNTS["never"], "ignored (duplicate)": back}
    assert traffic.accounted() == (sums(sent=SENT - back), why)
    assert traffic.road.standin.listing() == listing


def sums(sent: int) -> dict[str, int]:
    """Everything that was called was received, and sent but for what is not to be."""
    delivered = dict.fromkeys(("accepted", "events", "delivered"), sent)
    return {"called": TOTAL, "received": TOTAL, **delivered, "not_sent": TOTAL - sent}


def each_once_with_the_fbclid_of_its_source(listing: dict[str, Any]) -> None:
    found = {each["event_id"]: each["event"]["user_data"]["fbc"].split(".", 3)[3] for each in listing["events"]}
    assert found == {f"{name}_sale": fbclid(kind, n) for kind in COUNTS if kind != "never" for n, name in subids(kind)}
    assert (len(listing["events"]), sum(each["repeats"] for each in listing["events"])) == (SENT, 0)
    assert {(each["pixel_id"], each["event_name"]) for each in listing["events"]} == {(PIXEL, "Purchase")}


def nothing_went_around_the_proxy(traffic: Traffic, listing: dict[str, Any]) -> None:
    """Whatever came to Meta, the proxy has let through, for the user who had to say the password."""
    passed = traffic.squid.requests()
    assert len(passed) == listing["requests"] > 0
    url = f"{traffic.road.standin.url}/v26.0/{PIXEL}/events"
    assert set(passed) == {("POST", url, 200, "proxy")}


def the_tracker_was_asked_in_batches_and_only_for_what_the_store_did_not_know(traffic: Traffic) -> None:
    """Once each, and once more after its wait for whoever had no click by then."""
    questions = [each["body"]["filters"][0] for each in traffic.api.requests() if each["path"] == "clicks/log"]
    asked = [set(each["expression"] if each["operator"] == "IN_LIST" else [each["expression"]]) for each in questions]
    assert set().union(*asked) == {name for kind in COUNTS if kind != "store" for _, name in subids(kind)}
    assert len(questions) == traffic.api.counts()["clicks/log"]
    assert len(questions) <= 3 * (TOTAL - COUNTS["store"] + COUNTS["never"]) / BATCH
    assert max(map(len, asked)) <= BATCH


def lose(daemon: Daemon) -> list[str]:
    """Postbacks of every kind are deleted while the daemon stands still; their ids."""
    names = [name for kind in COUNTS for number, name in subids(kind) if number < LOST_OF_EACH]
    daemon.stop()
    with closing(sqlite3.connect(daemon.state / "store.sqlite3")) as store:
        marks = ",".join("?" * len(names))
        rows = store.execute(f"DELETE FROM postback WHERE subid IN ({marks}) RETURNING id", names).fetchall()
        store.commit()
    daemon.start()
    return sorted(id for (id,) in rows)
