"""Debian's Prometheus beside running daemons: each shipped alert fires under its fault, and none where all is well.

The shipped rules are loaded with every duration a sixtieth as long (`hastened`), so that their hour is a minute.
Thresholds stay as they are: an event that is too old is one whose postback came seven days ago.
"""

import asyncio
import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from tests.acceptance.ours import Daemon, StandIn
from tests.acceptance.parts import Nginx, Process, Tracker, wait_until
from tests.acceptance.prometheus import RULES, Prometheus
from tests.acceptance.road import Road
from tests.acceptance.road import yaml as road_yaml
from tests.examples import FBCLID, KEY
from tests.metrics.rules import alerts

WEEK = 7 * 86400

#: Which daemon has the fault that each alert is for.
FAULTS = {
    "CapiSidecarDown": "stopped",
    "CapiSidecarNotReady": "full",
    "CapiSidecarStoreFailing": "full",
    "CapiSidecarDiskLow": "full",
    "CapiSidecarEventLoopSlow": "starved",
    "CapiSidecarConfigurationRefused": "deserted",
    "CapiSidecarConfigurationBraked": "journal-only",
    "CapiSidecarIntegrationInError": "lanes",
    "CapiSidecarLaneParked": "lanes",
    "CapiSidecarMetaFailing": "lanes",
    "CapiSidecarProxyFailing": "lanes",
    "CapiSidecarQueueOld": "lanes",
    "CapiSidecarNearDeadline": "lanes",
    "CapiSidecarEventsLost": "lanes",
    "CapiSidecarEventsRefused": "lanes",
    "CapiSidecarEventsPutAside": "lanes",
    "CapiSidecarEventsHomeless": "lanes",
    "CapiSidecarCountMismatch": "lanes",
    "CapiSidecarJournalMissing": "deserted",
    "CapiSidecarJournalLag": "deserted",
    "CapiSidecarJournalFormat": "mirror-only",
    "CapiSidecarJournalSilent": "mirror-only",
    "CapiSidecarMirrorSilent": "journal-only",
    "CapiSidecarClicksMissing": "mirror-only",
    "CapiSidecarWrongKey": "mirror-only",
    "CapiSidecarAdminApiFailing": "journal-only",
    "CapiSidecarGeoipFailing": "journal-only",
    "CapiSidecarSilent": "deserted",
    "CapiSidecarCanaryLost": "mirror-only",
}

#: Integrations of the daemon whose lanes fail, each with a pixel of its own.
LANES = ("Token", "Transient", "Mismatch", "Refused", "Proxy", "Held", "Gone", "Error")


def pixel(name: str) -> str:
    return f"{1000000000000001 + LANES.index(name)}"


def lanes() -> str:
    """A campaign of its own name for each."""
    integrations: list[dict[str, Any]] = [
        {"name": name, "campaigns": [name], "pixel_id": pixel(name), "token": f"token-of-{name}",
         "mapping": {"sale": "Purchase"}}
        for name in LANES
    ]  # fmt: skip
    more: dict[str, dict[str, Any]] = {
        "Refused": {"mapping": {"sale": {"event": "Purchase", "custom_data": {"num_items": "many"}}}},
        "Proxy": {"proxy": "http://127.0.0.1:1"},
        "Held": {"paused": True},
        "Gone": {"paused": True},
        "Error": {"token": "${file:/nowhere/token}"},
    }
    named = [each | more.get(each["name"], {}) for each in integrations]
    return yaml.safe_dump({"tracker": {"postback_key": KEY}, "integrations": named})


def one(**more: Any) -> str:
    """One integration; `more` are the file's other keys."""
    summer = {"name": "Summer", "campaigns": ["AbCd12"], "pixel_id": "1234567890123456", "token": "token-of-summer",
              "mapping": {"sale": "Purchase"}}  # fmt: skip
    return yaml.safe_dump(
        {"tracker": {"postback_key": KEY, **more.pop("tracker", {})}, "integrations": [summer], **more}
    )


def target(campaign: str = "AbCd12", key: str = KEY, subid: str = "") -> str:
    """A postback that brings its own click, or, with no campaign, none."""
    carried = f"&campaign={campaign}&fbclid={FBCLID}&ip=8.8.8.8&ua=Mozilla" if campaign else ""
    return f"/{key}/postback?subid={subid or uuid.uuid4().hex[:16]}&status=sale&payout=2{carried}"


def send(daemon: Daemon, uri: str) -> int:
    """As Nginx's mirror does."""
    return requests.get(f"http://{daemon.intake}{uri}", timeout=30).status_code


def write(daemon: Daemon, uri: str, age: float = 0.0) -> None:
    """As Nginx's journal does."""
    line = {"v": "1", "event": "postback", "id": uuid.uuid4().hex, "time": f"{time.time() - age:.3f}", "uri": uri,
            "method": "GET"}  # fmt: skip
    with daemon.journal.open("a") as file:
        file.write(json.dumps(line) + "\n")


def delivered(daemon: Daemon) -> int:
    return int(daemon.status()["deliveries"].get("delivered", 0))


class House:
    """Everything that runs: a daemon that is well, with Nginx before it, and one for each kind of fault."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self.directory = directory
        self.stack = stack
        self.standin = self._directory(StandIn, "standin")
        self.standin.start()
        stack.callback(self.standin.stop)
        self.daemons = {name: self._daemon(name, text) for name, text in self._configurations().items()}
        tracker = self._directory(Tracker, "tracker").start()
        stack.callback(tracker.stop)
        self.nginx = Nginx(directory / "well", self.daemons["well"].intake, tracker.address)
        stack.callback(self.nginx.stop)
        self.prometheus = self._directory(
            Prometheus, "prometheus", {name: daemon.admin for name, daemon in self.daemons.items()}
        )
        stack.callback(self.prometheus.stop)

    def start(self) -> None:
        """All at once; then every fault, and traffic until the end."""
        self._mount()
        self._remember_weeks()
        parts: list[Process] = [self.nginx, *self.daemons.values()]

        async def begin() -> None:
            await asyncio.gather(*(part.start_beside() for part in parts))

        asyncio.run(begin())
        self.prometheus.start()
        # What a counter counts before it was read once is no growth.
        wait_until(
            lambda: len(self.prometheus.query("count_over_time(up[1m]) > 1")) == len(self.daemons), "all are read"
        )
        self._repeat(0.5, self._live)
        self._repeat(0.2, self._forget_the_journal)
        self._repeat(0.2, self._forget_the_mirror)
        self._repeat(0.1, self._starve)
        self.daemons["stopped"].stop()
        self._break_lanes()
        self._desert()
        self._fill()
        self._brake()

    def _configurations(self) -> dict[str, str | None]:
        canary = {"every": "5s", "url": "http://127.0.0.1:1", "test_event_code": "TEST1"}
        sources = {"admin_api": {"url": "http://127.0.0.1:1", "key": "k"}, "geoip": "places.mmdb"}
        return {
            "well": road_yaml(),
            "lanes": lanes(),
            "mirror-only": one(tracker={"click_wait": "1s"}, canary=canary),
            "journal-only": one(tracker=sources, brake={"share": "50%", "least": 2}),
            "deserted": one(),
            "full": one(),
            "starved": one(),
            "stopped": one(),
        }

    def _directory(self, kind: Callable[..., Any], name: str, *more: Any) -> Any:
        (self.directory / name).mkdir(exist_ok=True)
        return kind(self.directory / name, *more)

    def _daemon(self, name: str, text: str | None) -> Daemon:
        directory = self.directory / name
        (directory / "config").mkdir(parents=True)
        (directory / "config" / "places.mmdb").write_bytes(b"no database")
        journal = directory / "journal.ndjson"
        if name != "well":
            journal.touch()
        daemon = Daemon(directory, text, journal=journal, graph=self.standin.url)
        self.stack.callback(daemon.stop)
        return daemon

    def _mount(self) -> None:
        """A disk of some megabytes for the one that is to be full."""
        state = self.daemons["full"].state
        state.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40m,mode=0700", "tmpfs", str(state)], check=True)
        self.stack.callback(subprocess.run, ["umount", "-l", str(state)], check=True)

    def _remember_weeks(self) -> None:
        """A store that knows four weeks of steady traffic, of which the last was two days ago."""
        daemon = self.daemons["deserted"]
        daemon.start()
        daemon.stop()
        last = time.time() - 2 * 86400
        rows = [(f"e{hour}", last - 3600 * hour, last - 3600 * hour) for hour in range(24 * 26)]
        with contextlib.closing(sqlite3.connect(daemon.state / "store.sqlite3")) as connection:
            connection.execute("INSERT INTO destination VALUES (1, 'Summer', '1234567890123456', '')")
            connection.executemany(
                "INSERT INTO delivery (event_id, event_name, pixel_id, destination, postback, subid, tid, event_time, "
                "deadline, not_before, body, configuration, state, due_at, created_at, ended_at) "
                "VALUES (?, 'Purchase', '1', 1, 'p', 's', '', 1, 1, 0, X'00', 'c', 'delivered', 0, ?, ?)",
                rows,
            )
            connection.commit()

    def _repeat(self, pause: float, act: Callable[[], None]) -> None:
        """Beside the tests, until the end."""
        over = threading.Event()

        def run() -> None:
            while not over.wait(pause):
                with contextlib.suppress(requests.ConnectionError):
                    act()

        thread = threading.Thread(target=run)
        thread.start()
        self.stack.callback(thread.join)
        self.stack.callback(over.set)

    def _live(self) -> None:
        """What an affiliate's day is made of: a click, its conversion, another one that nobody wants sent."""
        road = Road(self.nginx, self.daemons["well"], self.standin)
        subid = uuid.uuid4().hex[:13]
        road.click(subid)
        road.postback(f"/{KEY}/postback?subid={subid}&status=lead")
        road.postback(f"/{KEY}/postback?subid={subid}&status=rejected")

    def _forget_the_journal(self) -> None:
        """Postbacks of clicks that nobody saw, and more of another tracker."""
        daemon = self.daemons["mirror-only"]
        if not daemon.journal.stat().st_size:
            write(daemon, target())
            with daemon.journal.open("a") as file:
                file.write("no line of ours\n")
        send(daemon, target(campaign=""))
        for _ in range(3):
            send(daemon, target(key="another"))

    def _forget_the_mirror(self) -> None:
        daemon = self.daemons["journal-only"]
        if not daemon.journal.stat().st_size:
            send(daemon, target())
        write(daemon, target())

    def _starve(self) -> None:
        """It is stopped for most of the time."""
        pid = self.daemons["starved"].pid
        os.kill(pid, signal.SIGSTOP)
        time.sleep(0.9)
        os.kill(pid, signal.SIGCONT)

    def _break_lanes(self) -> None:
        daemon = self.daemons["lanes"]
        modes = {"Token": "token", "Transient": "transient", "Mismatch": "partial"}
        orders = [{"mode": mode, "pixel_id": pixel(name)} for name, mode in modes.items()]
        requests.put(f"{self.standin.url}/_fail", json=orders, timeout=30).raise_for_status()
        for name in LANES:
            send(daemon, target(name))
        # Too old for Meta in half a minute; the first start sets it aside, and people ask for it.
        write(daemon, target("Token"), WEEK - 3600 - 30)
        wait_until(lambda: "before_first_start" in str(daemon.status()["postbacks"]), "the old one is read")
        assert daemon.command_line("replay", "--since", "8d", "--reason", "before_first_start").returncode == 0
        wait_until(lambda: daemon.command_line("queue", "hold", "--integration", "Held").returncode == 0, "it is held")
        text = yaml.safe_load(lanes())
        text["integrations"] = [each for each in text["integrations"] if each["name"] != "Gone"]
        daemon.configure(yaml.safe_dump(text))

    def _desert(self) -> None:
        """A journal that is deleted, and a file with a mistake."""
        daemon = self.daemons["deserted"]
        write(daemon, target())
        wait_until(lambda: delivered(daemon) > 24 * 26, "the journal was read")
        daemon.journal.unlink()
        daemon.configure("tracker: [")

    def _fill(self) -> None:
        daemon = self.daemons["full"]
        with (daemon.state / "filler").open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))
        wait_until(lambda: send(daemon, target()) == 503, "the store cannot take it")

    def _brake(self) -> None:
        daemon = self.daemons["journal-only"]
        wait_until(lambda: delivered(daemon) > 5, "there are recent postbacks")
        text = (daemon.config / "integrations.yaml").read_text()
        daemon.configure(text.replace("AbCd12", "Another1"))


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with ExitStack() as stack:
        house = House(tmp_path_factory.mktemp("house"), stack)
        house.start()
        yield house


def test_every_shipped_alert_has_a_fault() -> None:
    assert set(FAULTS) == {alert["alert"] for alert in alerts(RULES)}


@pytest.mark.parametrize("name", FAULTS)
def test_an_alert_fires_under_the_fault_that_it_is_for(house: House, name: str) -> None:
    fault = FAULTS[name]
    log = house.daemons[fault].log[-2000:]
    wait_until(lambda: name in house.prometheus.fired(fault), f"{name} fires for {fault}\n{log}", 90)


def test_an_alert_that_fires_says_what_is_wrong_and_what_to_type(house: House) -> None:
    for alert in house.prometheus.firing():
        assert "<no value>" not in str(alert) and "error expanding" not in str(alert), alert
        assert alert["annotations"]["summary"] and alert["annotations"]["command"], alert


def test_none_fires_in_a_healthy_hour(house: House) -> None:
    def seen() -> float:
        return float(house.prometheus.query('count_over_time(up{instance="well"}[5m])')[0]["value"][1])

    wait_until(lambda: seen() >= 60, "Prometheus has looked for a minute", 90)
    assert house.prometheus.fired("well") == set()
    [taken] = house.prometheus.query('sum(capi_sidecar_deliveries_ended_total{instance="well",end="delivered"})')
    assert float(taken["value"][1]) >= 60
    [repeated] = house.prometheus.query('sum(capi_sidecar_journal_lines_total{instance="well",kind="postback"})')
    assert float(repeated["value"][1]) >= 120
