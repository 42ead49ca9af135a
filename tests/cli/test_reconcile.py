"""`reconcile` finds what is missing, says why the rest was not sent, and brings back what was missed."""

import json
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from sidecar.core.reconcile import Called, Received, Recorded, Sent, reconcile
from tests.acceptance.keitaro import KEY as API_KEY
from tests.acceptance.keitaro import AdminApiStandIn
from tests.acceptance.ours import Daemon, StandIn
from tests.acceptance.parts import wait_until
from tests.examples import FBCLID, KEY, NOW

YAML = """
tracker:
  postback_key: 2a76c2a
  click_wait: 1h
  {admin_api}
integrations:
  - name: Summer
    campaigns: [AbCd12]
    pixel_id: "1234567890123456"
    token: token-of-summer
    mapping: {{sale: Purchase, lead: null}}
"""


def line(number: int, status: str = "sale", campaign: str = "AbCd12", subid: str = "", key: str = KEY) -> str:
    subid = subid or f"subid{number:05d}"
    uri = f"/{key}/postback?subid={subid}&status={status}&payout=2"
    if campaign:
        uri += f"&campaign={campaign}&fbclid={FBCLID}"
    return json.dumps({"v": "1", "event": "postback", "id": f"{number:032x}", "time": f"{time.time():.3f}", "uri": uri})


Start = Callable[..., Daemon]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    with ExitStack() as stack:
        standin = stack.enter_context(StandIn(tmp_path))

        def start_it(admin_api: str = "", before: str = "") -> Daemon:
            journal = tmp_path / "journal.ndjson"
            journal.write_text(before)
            daemon = Daemon(tmp_path, YAML.format(admin_api=admin_api), journal=journal, graph=standin.url)
            return stack.enter_context(daemon)

        yield start_it


def write(daemon: Daemon, *lines: str) -> None:
    with daemon.journal.open("a") as file:
        file.writelines(each + "\n" for each in lines)


def reconciled(daemon: Daemon, *options: str) -> tuple[int, dict[str, Any]]:
    done = daemon.command_line("reconcile", "--since", "1d", "--json", *options)
    return done.returncode, json.loads(done.stdout)


def settled(daemon: Daemon, postbacks: int, delivered: int) -> None:
    def is_settled() -> bool:
        status = daemon.status()
        decided = sum(row["count"] for row in status["postbacks"] if row["state"] != "undecided")
        return (decided, status["deliveries"].get("delivered", 0)) == (postbacks, delivered)

    wait_until(is_settled, "all is decided and delivered", 60)


def test_all_that_was_called_is_accounted_for(start: Start) -> None:
    daemon = start()
    write(daemon, *(line(number) for number in range(1, 101)))
    write(daemon, line(101, status="lead"), line(102, campaign="Foreign"), line(103, campaign=""))
    write(daemon, line(104, key="other"))
    settled(daemon, 103, 100)
    code, report = reconciled(daemon)
    assert (code, report["unexplained"]) == (0, 0)
    total = {name: sum(row[name] for row in report["rows"]) for name in ("called", "received", "delivered", "not_sent")}
    assert total == {"called": 103, "received": 103, "delivered": 100, "not_sent": 3}
    assert {hole["what"] for hole in report["holes"]} == {
        "ignored (status_null)", "ignored (campaign_without_integration)", "waits for its click"
    }  # fmt: skip
    assert "nothing is lost" in daemon.command_line("reconcile", "--since", "1d").stdout


def test_fifty_lost_rows_are_found_and_brought_back_without_a_second_event(start: Start) -> None:
    daemon = start()
    write(daemon, *(line(number) for number in range(1, 201)))
    settled(daemon, 200, 200)
    daemon.stop()
    with closing(sqlite3.connect(daemon.state / "store.sqlite3")) as connection:
        lost = [f"{number:032x}" for number in range(1, 201, 4)]
        connection.executemany("DELETE FROM postback WHERE id = ?", [(id,) for id in lost])
        connection.executemany("DELETE FROM delivery WHERE postback = ?", [(id,) for id in lost[:25]])
        connection.commit()
    daemon.start()
    code, report = reconciled(daemon)
    assert (code, report["unexplained"]) == (1, 50)
    assert sorted(hole["name"] for hole in report["holes"] if not hole["explained"]) == sorted(lost)
    injected = daemon.command_line("reconcile", "--since", "1d", "--inject")
    assert (injected.returncode, "50 postbacks were injected" in injected.stderr) == (0, True)
    settled(daemon, 200, 200)
    code, report = reconciled(daemon)
    assert (code, report["unexplained"]) == (0, 0)
    [explained] = {hole["what"] for hole in report["holes"]}
    assert explained == "ignored (duplicate)"
    assert daemon.explain("subid00001")[0]["received_at"] < time.time() - 1


def test_what_is_not_read_yet_is_no_loss(start: Start) -> None:
    daemon = start()
    daemon.stop()
    write(daemon, line(1))
    code, report = reconciled(daemon)
    assert code == 0
    assert [hole["what"] for hole in report["holes"]] == ["in the journal, and not read yet: is the daemon running?"]


def test_a_conversion_that_only_the_tracker_has_is_found_and_injected(start: Start, tmp_path: Path) -> None:
    with AdminApiStandIn(tmp_path) as tracker:
        now = time.time()
        slots = {"external_id": {"name": "fbclid", "placeholder": "{fbclid}"}}
        first = {"sub_id": "subid00001", "campaign_id": 7, "campaign": "Summer", "external_id": FBCLID, "ip": "8.8.8.8"}
        second = first | {"sub_id": "subid00002"}
        sale = {"status": "sale", "tid": "", "revenue": 2.5, "postback_datetime": now - 300, "conversion_id": 1}
        upsell = sale | {"tid": "t2", "revenue": 7, "postback_datetime": now - 200, "conversion_id": 2}
        tracker.set(
            campaigns=[{"id": 7, "alias": "AbCd12", "name": "Summer", "parameters": slots}],
            clicks=[each | {"datetime": now - 600} for each in (first, second)],
            conversions=[first | sale, second | upsell],
        )
        daemon = start(f'admin_api: {{url: "{tracker.url}", key: "{API_KEY}"}}')
        write(daemon, line(1, campaign=""))
        settled(daemon, 1, 1)
        code, report = reconciled(daemon)
        assert (code, [hole["name"] for hole in report["holes"]]) == (1, ["subid00002_sale_t2"])
        assert daemon.command_line("reconcile", "--since", "1d", "--inject").returncode == 0
        settled(daemon, 2, 2)
        [story] = daemon.explain("subid00002")
        assert story["events"][0]["event"]["custom_data"]["value"] == 7
        assert story["events"][0]["event"]["event_time"] == int(now - 200)
        assert reconciled(daemon)[0] == 0


def test_large_bodies_are_injected_in_several_requests(start: Start) -> None:
    daemon = start()
    large = {"method": "POST", "type": "application/x-www-form-urlencoded", "body": "note=" + "x" * 200_000}
    write(daemon, *(json.dumps(json.loads(line(number)) | large) for number in range(1, 61)))
    settled(daemon, 60, 60)
    daemon.stop()
    with closing(sqlite3.connect(daemon.state / "store.sqlite3")) as connection:
        connection.execute("DELETE FROM postback")
        connection.commit()
    daemon.start()
    injected = daemon.command_line("reconcile", "--since", "1d", "--inject")
    assert (injected.returncode, "60 postbacks were injected" in injected.stderr) == (0, True)


def test_a_wrong_time_is_a_usage_error(start: Start) -> None:
    assert start().command_line("reconcile", "--since", "yesterday").returncode == 2


def test_accepted_without_a_delivery_is_a_hole_that_nobody_explains() -> None:
    received = {"1": Received("1", NOW, "decided", "accepted", "sent")}
    report = reconcile({}, received)
    assert [hole.what for hole in report.unexplained] == ["accepted, and no delivery stands in the store"]


def test_holes_are_counted_by_integration_and_day() -> None:
    dead = Sent("Summer", "dead", "refused", "")
    held = Sent("Winter", "queued", "", "by_hand")
    received = {
        "1": Received("1", NOW, "decided", "accepted", "sent", (dead,)),
        "2": Received("2", NOW + 86400, "decided", "accepted", "sent", (held,)),
    }
    report = reconcile({"1": Called("1", NOW, True)}, received, [Recorded("x_sale", NOW)])
    assert report.rows["Summer", "2026-11-25"] == {"received": 1, "called": 1, "accepted": 1, "events": 1, "dead": 1}
    assert report.rows["Winter", "2026-11-26"]["open"] == 1
    assert sorted(hole.what for hole in report.holes if hole.explained) == ["dead (refused)", "queued (by_hand)"]
