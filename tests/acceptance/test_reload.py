"""Changing the configuration under traffic, as sysadmins do: edits, branches, links, a brake."""

import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests

from tests.acceptance.ours import Daemon
from tests.acceptance.parts import wait_until
from tests.acceptance.road import Road, yaml
from tests.examples import KEY

Start = Callable[..., Daemon]

INTEGRATIONS = 500
RATE = 200


def git(root: Path, *arguments: str) -> None:
    who = ["-c", "user.name=x", "-c", "user.email=x@example.com"]
    subprocess.run(["git", "-C", str(root), *who, *arguments], check=True, capture_output=True)


def write(config: Path, event: str) -> None:
    """500 integrations, a file for each buyer, that all report the same event."""
    (config / "integrations.d").mkdir(parents=True, exist_ok=True)
    (config / "integrations.yaml").write_text(f"tracker: {{postback_key: {KEY}}}\nbrake: {{least: 1000000}}\n")
    for buyer in range(50):
        rows = "".join(
            f'  - {{name: "i{number}", campaigns: [c{number}], pixel_id: "{number}", token: token-{number}, '
            f"mapping: {{sale: {event}}}}}\n"
            for number in range(buyer, INTEGRATIONS, 50)
        )
        (config / "integrations.d" / f"buyer{buyer}.yaml").write_text("integrations:\n" + rows)


class Traffic(threading.Thread):
    """Postbacks that bring their own click, at a steady rate, until it is stopped."""

    def __init__(self, daemon: Daemon) -> None:
        super().__init__()
        self.daemon_under_load = daemon
        self.sent = 0
        self.failed: list[int] = []
        self._stopped = threading.Event()

    def run(self) -> None:
        client = requests.Session()
        begin = time.monotonic()
        while not self._stopped.is_set():
            number = self.sent
            click = f"campaign=c{number % INTEGRATIONS}&fbclid=IwAR{number}"
            target = f"/{KEY}/postback?subid=traffic{number:06d}&payout=1&{click}"
            status = client.get(f"http://{self.daemon_under_load.intake}{target}", timeout=30).status_code
            if status != 200:
                self.failed.append(status)
            self.sent += 1
            time.sleep(max(0.0, begin + self.sent / RATE - time.monotonic()))

    def stop(self) -> None:
        self._stopped.set()
        self.join()


def events_by_configuration(daemon: Daemon) -> dict[str, set[str]]:
    """Which events each configuration made."""
    with sqlite3.connect(f"file:{daemon.state}/store.sqlite3?mode=ro", uri=True) as store:
        found: dict[str, set[str]] = {}
        for version, event in store.execute("SELECT DISTINCT configuration, event_name FROM delivery"):
            found.setdefault(version, set()).add(event)
    return found


def test_edits_branches_and_links_under_traffic_lose_and_mix_nothing(tmp_path: Path, start_daemon: Start) -> None:
    repository = tmp_path / "repository"
    for event in ("Lead", "Subscribe"):
        write(repository / "config", event)
        if event == "Lead":
            git(tmp_path, "init", "-q", str(repository))
        git(repository, "add", "-A")
        git(repository, "commit", "-q", "-m", event)
        git(repository, "tag", event)
    write(tmp_path / "release" / "config", "Contact")
    (tmp_path / "live").symlink_to(repository)
    config = tmp_path / "live" / "config"
    daemon = start_daemon(None, graph=None, config=config)
    traffic = Traffic(daemon)
    traffic.start()
    one = repository / "config" / "integrations.d" / "buyer7.yaml"

    def runs(commit: str) -> Callable[[], bool]:
        return lambda: commit in daemon.status()["configuration"]["commit"] and not error()

    def error() -> str:
        return str(daemon.status()["configuration"]["error"])

    first, second = (
        subprocess.run(["git", "-C", str(repository), "rev-parse", tag], capture_output=True, text=True).stdout.strip()
        for tag in ("Lead", "Subscribe")
    )
    git(repository, "checkout", "-q", "Lead")
    wait_until(runs(first), "the other branch is in force")
    one.write_text(one.read_text().replace("mapping:", "maping:"))
    wait_until(lambda: "buyer7.yaml" in error(), "the broken file is refused")
    git(repository, "checkout", "-q", "--", ".")
    wait_until(lambda: not error(), "the repaired file is taken")
    git(repository, "checkout", "-q", "Subscribe")
    wait_until(runs(second), "the first branch is in force again")
    (tmp_path / "next").symlink_to("release")
    (tmp_path / "next").rename(tmp_path / "live")
    wait_until(lambda: daemon.status()["configuration"]["commit"] == "", "the release is in force")
    time.sleep(1)
    traffic.stop()

    def delivered() -> int:
        return int(daemon.status()["deliveries"].get("delivered", 0))

    wait_until(lambda: delivered() == traffic.sent, f"all {traffic.sent} are delivered, each once", 120)
    assert traffic.failed == []
    assert daemon.status()["intake"]["stored"] == traffic.sent
    made = events_by_configuration(daemon)
    assert {event for events in made.values() for event in events} == {"Lead", "Subscribe", "Contact"}
    assert [version for version, events in made.items() if len(events) > 1] == []


def test_a_change_that_stops_most_postbacks_is_braked_until_it_is_accepted(start_road: Callable[[str], Road]) -> None:
    road = start_road(yaml())
    daemon = road.daemon
    road.click()
    for number in range(250):
        road.postback(f"/{KEY}/postback?subid=3sh8so4er3&payout=1&tid={number}")
    road.wait_for_events(250)
    wait_until(lambda: daemon.status()["deliveries"] == {"delivered": 250}, "all are settled")
    daemon.configure(yaml().replace("sale: Purchase", "sale: null"))
    wait_until(lambda: "brake" in daemon.status()["configuration"]["error"], "the brake holds")
    verdict = daemon.command_line("reload")
    assert (verdict.returncode, verdict.stdout.splitlines()[0].partition(":")[0]) == (1, "braked")
    assert "100% of Summer: 250 of 250 would stop being sent" in verdict.stdout
    plan = daemon.command_line("plan")
    assert plan.returncode == 1
    assert "no longer sent" in plan.stdout
    assert "Purchase 1 USD by Summer -> status_null" in plan.stdout
    road.postback(f"/{KEY}/postback?subid=3sh8so4er3&payout=1&tid=more")
    road.wait_for_events(251)
    daemon.restart()
    wait_until(lambda: daemon.log.count("configuration.braked") >= 2, "it is said at the start")
    road.postback(f"/{KEY}/postback?subid=3sh8so4er3&payout=1&tid=after")
    road.wait_for_events(252)
    daemon.stop()
    daemon.configure(yaml().replace("sale: Purchase", "sale: null") + "# edited while nothing ran\n")
    daemon.start()
    wait_until(lambda: daemon.log.count("configuration.braked") >= 4, "what was edited meanwhile is weighed too")
    assert daemon.command_line("reload", "--accept").returncode == 0
    road.postback(f"/{KEY}/postback?subid=3sh8so4er3&payout=1&tid=last")
    wait_until(lambda: road.reasons("3sh8so4er3")[-1] == "status_null", "it is not sent")
    assert daemon.command_line("status").returncode == 0


def test_what_is_said_by_name_is_not_braked(start_road: Callable[[str], Road]) -> None:
    road = start_road(yaml())
    daemon = road.daemon
    road.click()
    for number in range(220):
        road.postback(f"/{KEY}/postback?subid=3sh8so4er3&payout=1&tid={number}")
    road.wait_for_events(220)

    def status_of() -> dict[str, Any]:
        found: dict[str, Any] = daemon.status()["integrations"][0]
        return found

    assert daemon.command_line("integrations", "pause", "Summer").returncode == 0
    wait_until(lambda: status_of()["status"] == "paused", "it is paused")
    assert daemon.command_line("integrations", "resume", "Summer").returncode == 0
    wait_until(lambda: status_of()["status"] == "active", "it is resumed")
    assert daemon.command_line("integrations", "map", "Summer", "sale", "null").returncode == 0
    road.postback(f"/{KEY}/postback?subid=3sh8so4er3&payout=1&tid=last")
    wait_until(lambda: "status_null" in {row["reason"] for row in daemon.status()["postbacks"]}, "it is not sent")
    assert daemon.status()["configuration"]["error"] == ""


def test_plan_compares_with_a_revision_and_is_tricked_by_no_option(tmp_path: Path, start_daemon: Start) -> None:
    repository = tmp_path / "repository"
    for event in ("Lead", "Subscribe"):
        write(repository / "config", event)
        if event == "Lead":
            git(tmp_path, "init", "-q", str(repository))
            (repository / "config" / "elsewhere").symlink_to("/etc/passwd")
        git(repository, "add", "-A")
        git(repository, "commit", "-q", "-m", event)
        git(repository, "tag", event)
    daemon = start_daemon(None, graph=None, config=repository / "config")
    plan = daemon.command_line("plan", "--against", "Lead")
    assert plan.returncode == 0
    assert plan.stdout.count("~ i") == INTEGRATIONS
    victim = tmp_path / "victim"
    victim.write_text("whole")
    for revision in (f"--output={victim}", "nowhere", ""):
        done = daemon.command_line("plan", f"--against={revision or 'HEAD:x'}")
        assert (done.returncode, "Traceback" in done.stderr) == (2, False)
    assert victim.read_text() == "whole"
