"""`queue`, `tap`, `replay` and `send-test` against a running daemon in sandbox."""

import json
import select
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.acceptance.ours import COMMAND, Daemon
from tests.acceptance.parts import wait_until
from tests.examples import FBCLID, KEY

YAML = """
tracker: {postback_key: 2a76c2a}
integrations:
  - name: Summer
    campaigns: [AbCd12]
    pixel_id: "1234567890123456"
    token: token-of-summer
    mapping: {sale: Purchase, lead: Lead, reg: null}
  - name: Winter
    campaigns: [Winter1]
    pixel_id: "2222222222222222"
    token: token-of-winter
    mapping: {sale: Purchase}
"""

CARRIED = f"&campaign=AbCd12&fbclid={FBCLID}&ua=Mozilla&em=secret@example.com"


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    with ExitStack() as stack:
        yield stack.enter_context(Daemon(tmp_path, YAML, journal=tmp_path / "j", graph=None))


@pytest.fixture
def queue(daemon: Daemon) -> Callable[..., subprocess.CompletedProcess[str]]:
    def run(*arguments: str, input: str = "") -> subprocess.CompletedProcess[str]:
        return daemon.command_line("queue", *arguments, input=input)

    return run


Queue = Callable[..., subprocess.CompletedProcess[str]]


def fail(daemon: Daemon, **order: Any) -> None:
    token = (daemon.state / "admin.token").read_text().strip()
    answer = requests.put(
        f"http://{daemon.admin}/_fail", json=order, headers={"Authorization": f"Bearer {token}"}, timeout=30
    )
    answer.raise_for_status()


def postbacks(daemon: Daemon, count: int, more: str = CARRIED, first: int = 1) -> None:
    for number in range(first, first + count):
        target = f"/{KEY}/postback?subid=subid{number:05d}&status=sale&payout=2{more}"
        assert requests.get(f"http://{daemon.intake}{target}", timeout=30).status_code == 200
    wait_until(lambda: not any(row["state"] == "undecided" for row in daemon.status()["postbacks"]), "all are decided")


def rows(queue: Queue, *arguments: str) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = json.loads(queue("list", "--json", *arguments).stdout)
    return listed


def parked(daemon: Daemon, count: int = 5) -> None:
    """Events that wait for a token."""
    fail(daemon, mode="token", token="token-of-summer")
    postbacks(daemon, count)
    wait_until(lambda: any(lane["state"] == "parked" for lane in daemon.status()["lanes"]), "the lane is parked")


def test_what_is_parked_is_listed_with_why_and_found_by_every_filter(daemon: Daemon, queue: Queue) -> None:
    parked(daemon)
    listed = rows(queue)
    assert [(row["state"], row["held"], row["integration"]) for row in listed] == [("queued", "parked", "Summer")] * 5
    for arguments in (
        ["--integration", "Summer"], ["--in", "held"], ["--in", "queued"], ["--reason", "parked"], ["--age", "0s..1h"],
        ["--event", "Purchase"], ["ALL"],
    ):  # fmt: skip
        assert len(rows(queue, *arguments)) == 5, arguments
    for arguments in (["--integration", "Winter"], ["--in", "dead"], ["--reason", "paused"], ["--age", "1h"],
                      ["--event", "Lead"], ["q999"]):  # fmt: skip
        assert rows(queue, *arguments) == [], arguments
    for arguments in (["--subid", "subid00003"], ["--event", "subid00003_sale"], ["subid00003_sale"], ["subid00003"],
                      [listed[2]["id"]]):  # fmt: skip
        assert [row["event_id"] for row in rows(queue, *arguments)] == ["subid00003_sale"], arguments
    text = queue("list").stdout
    assert text.count("held (parked)") == 5
    assert "secret@" not in text


def test_the_list_of_integrations_and_status_say_what_is_parked(daemon: Daemon) -> None:
    parked(daemon)
    [row] = [line for line in daemon.command_line("integrations", "list").stdout.splitlines() if "Summer" in line]
    assert row.endswith("active, parked")
    status = daemon.command_line("status")
    assert status.returncode == 1
    assert "token: pixel 1234567890123456, Summer (integrations.yaml:7): Meta refuses the token" in status.stdout


def test_shape_counts_by_age_and_by_integration(daemon: Daemon, queue: Queue) -> None:
    parked(daemon)
    [shape] = json.loads(queue("shape", "--json").stdout)
    assert (shape["integration"], shape["total"], shape["ages"]["5m"], shape["held"]) == ("Summer", 5, 5, {"parked": 5})
    assert "parked 5" in queue("shape").stdout


def test_show_tells_the_attempts_in_words_and_the_event(daemon: Daemon, queue: Queue) -> None:
    parked(daemon, 1)
    shown = queue("show", "subid00001").stdout
    assert "attempt 1, " in shown and "Meta refuses the token" in shown and "user_data.em" in shown
    [each] = json.loads(queue("show", "--json", "subid00001").stdout)
    assert each["event"]["event_name"] == "Purchase"
    assert [
        attempt[key] for attempt in each["attempts"] for key in ("number", "verdict", "code", "subcode", "http_status")
    ] == [1, "token", 190, 463, 400]
    assert queue("show", "q999").returncode == 1


def test_what_is_held_by_hand_is_not_sent_until_it_is_released(daemon: Daemon, queue: Queue) -> None:
    parked(daemon, 3)
    assert queue("hold", "subid00001").returncode == 0
    fail(daemon, mode="none")
    assert queue("release", "--reason", "parked").returncode == 0
    wait_until(lambda: daemon.status()["deliveries"].get("delivered") == 2, "the others are delivered")
    [row] = rows(queue)
    assert (row["subid"], row["held"]) == ("subid00001", "by_hand")
    assert queue("release", "ALL").returncode == 0
    wait_until(lambda: daemon.status()["deliveries"].get("delivered") == 3, "it is delivered too")


def test_ids_come_on_standard_input(daemon: Daemon, queue: Queue) -> None:
    parked(daemon)
    ids = "\n".join(row["id"] for row in rows(queue))
    held = queue("hold", "-", "--json", input=ids)
    assert json.loads(held.stdout)["changed"] == 5
    assert queue("hold", "-", input="").returncode == 2


def test_deleting_shows_first_and_then_does_it(daemon: Daemon, queue: Queue) -> None:
    parked(daemon)
    shown = queue("delete", "--integration", "Summer")
    assert (shown.returncode, "5 deliveries would be deleted" in shown.stdout, "--yes" in shown.stderr) == (
        1,
        True,
        True,
    )
    assert len(rows(queue)) == 5
    assert queue("delete", "--integration", "Summer", "--yes").returncode == 0
    assert rows(queue) == []
    assert [row["reason"] for row in rows(queue, "--in", "dead")] == ["deleted"] * 5
    fail(daemon, mode="none")
    assert json.loads(queue("retry", "--in", "dead", "--json").stdout)["changed"] == 0
    assert json.loads(queue("retry", "subid00002_sale", "--json").stdout)["changed"] == 1


def test_nobody_means_all_by_leaving_something_out(daemon: Daemon, queue: Queue) -> None:
    for verb in ("retry", "hold", "release", "delete", "show"):
        refused = queue(verb)
        assert (refused.returncode, "ALL" in refused.stderr) == (2, True)


def test_a_delivered_event_is_sent_again_only_by_its_id(daemon: Daemon, queue: Queue) -> None:
    postbacks(daemon, 2)
    wait_until(lambda: daemon.status()["deliveries"].get("delivered") == 2, "both are delivered")
    before = rows(queue, "--in", "delivered")
    for arguments in (["ALL"], ["--in", "delivered"], ["--subid", "subid00001"]):
        done = queue("retry", *arguments)
        assert done.returncode == 1, arguments
    assert "name it by its id" in done.stdout
    assert queue("retry", before[0]["id"]).returncode == 0
    wait_until(
        lambda: len(json.loads(queue("show", "--json", before[0]["id"]).stdout)[0]["attempts"]) == 2, "sent again"
    )
    token = (daemon.state / "admin.token").read_text().strip()
    answer = requests.get(f"http://{daemon.admin}/_events", headers={"Authorization": f"Bearer {token}"}, timeout=30)
    assert sorted(each["repeats"] for each in answer.json()["events"]) == [0, 1]


def test_retry_repairs_an_outage_at_once(daemon: Daemon, queue: Queue) -> None:
    fail(daemon, mode="unknown")
    postbacks(daemon, 1)
    wait_until(lambda: any(row["failures"] for row in rows(queue)), "a try was charged to it")
    fail(daemon, mode="none")
    assert queue("retry", "ALL").returncode == 0
    wait_until(lambda: daemon.status()["deliveries"].get("delivered") == 1, "it is delivered")


def test_events_of_an_integration_that_is_gone_go_to_another_of_the_same_pixel_only(
    daemon: Daemon, queue: Queue
) -> None:
    parked(daemon, 3)
    renamed = YAML.replace("name: Summer", "name: Autumn").replace(
        "token: token-of-summer", 'token: token-new\n    proxy: "http://127.0.0.1:1"'
    )
    daemon.configure(renamed)
    wait_until(lambda: {row["held"] for row in rows(queue)} == {"integration_gone"}, "they are held")
    fail(daemon, mode="none")
    wrong = queue("release", "ALL", "--to", "Winter")
    assert (wrong.returncode, "moves to no other pixel" in wrong.stdout) == (1, True)
    assert queue("release", "ALL", "--to", "Nobody").returncode == 1
    assert queue("release", "ALL").returncode == 1
    assert queue("release", "ALL", "--to", "Autumn").returncode == 0
    wait_until(lambda: daemon.status()["deliveries"].get("delivered") == 3, "they are delivered")


def test_without_a_daemon_the_queue_is_listed_and_not_steered(daemon: Daemon, queue: Queue) -> None:
    parked(daemon, 2)
    daemon.stop()
    assert len(rows(queue)) == 2
    refused = queue("hold", "ALL")
    assert (refused.returncode, "no daemon answers" in refused.stderr) == (1, True)


@pytest.mark.parametrize(
    "arguments",
    [["--in", "sent"], ["--reason", "tired"], ["--age", "soon"], ["--age", "2h..1h"], ["--age", ".."]],
)
def test_a_filter_that_is_none_is_a_usage_error(daemon: Daemon, queue: Queue, arguments: list[str]) -> None:
    assert queue("list", *arguments).returncode == 2


def test_tap_shows_what_happens_and_nothing_personal(daemon: Daemon) -> None:
    command = [*COMMAND, "tap", *daemon.options, "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as tap:
        assert tap.stdout is not None
        number = 0
        while not select.select([tap.stdout], [], [], 0.1)[0]:  # until it listens
            number += 1
            postbacks(daemon, 1, first=number)
        facts = [json.loads(tap.stdout.readline()) for _ in range(2)]
        tap.terminate()
    kinds = {fact["what"]: fact for fact in facts}
    assert kinds["postback"]["reason"] == "sent"
    assert (kinds["delivery"]["state"], kinds["delivery"]["integration"]) == ("delivered", "Summer")
    assert "secret@" not in str(facts) and FBCLID not in str(facts)


def test_replay_repairs_a_wrong_mapping(daemon: Daemon) -> None:
    daemon.configure(YAML.replace("sale: Purchase, lead", "lead"))
    wait_until(lambda: daemon.log.count("configuration.loaded") >= 1, "it is loaded")
    postbacks(daemon, 3)
    assert daemon.explain("subid00001")[0]["reason"] == "status_unmapped"
    daemon.configure(YAML)
    wait_until(lambda: daemon.log.count("configuration.loaded") >= 2, "it is loaded")
    dry = json.loads(daemon.command_line("replay", "--since", "1h", "--dry-run", "--json").stdout)
    assert dry["became"] == [{"state": "", "decision": "accepted", "reason": "sent", "count": 3}]
    assert daemon.status()["deliveries"] == {}
    done = daemon.command_line("replay", "--since", "1h", "--reason", "status_unmapped", "--json")
    assert json.loads(done.stdout)["became"] == [
        {"state": "decided", "decision": "accepted", "reason": "sent", "count": 3}
    ]
    wait_until(lambda: daemon.status()["deliveries"].get("delivered") == 3, "they are delivered")
    assert daemon.explain("subid00001")[0]["events"][0]["event"]["user_data"]["em"]
    again = json.loads(daemon.command_line("replay", "--since", "1h", "--json").stdout)
    assert again["replayed"] == 0


def test_replay_of_what_is_still_to_be_ignored_sends_nothing(daemon: Daemon) -> None:
    postbacks(daemon, 1)
    postbacks(daemon, 1)  # the same conversion once more
    done = json.loads(daemon.command_line("replay", "--since", "1h", "--json").stdout)
    assert done["became"] == [{"state": "decided", "decision": "ignored", "reason": "duplicate", "count": 1}]


@pytest.mark.parametrize("arguments", [["--since", "yesterday"], ["--since", "1h", "--reason", "no_fbclidd"], []])
def test_a_replay_that_is_none_is_a_usage_error(daemon: Daemon, arguments: list[str]) -> None:
    assert daemon.command_line("replay", *arguments).returncode == 2


def test_send_test_makes_one_event_of_the_newest_real_click(daemon: Daemon) -> None:
    write_click(daemon, "realclick1")
    wait_until(lambda: daemon.status()["clicks"] == 1, "the click is read")
    assert daemon.command_line("send-test", "Summer").returncode == 1  # no test_event_code
    sent = daemon.command_line("send-test", "Summer", "--test-event-code", "TEST1", "--json")
    assert sent.returncode == 0, sent.stderr
    told = json.loads(sent.stdout)
    event = told["event"]
    assert (told["kind"], told["subid"], told["test_event_code"]) == ("accepted", "realclick1", "TEST1")
    assert event["event_name"] == "CapiSidecarTest"
    assert "custom_data" not in event
    assert event["user_data"]["fbc"].endswith(FBCLID)
    assert daemon.status()["deliveries"] == {}
    second = json.loads(daemon.command_line("send-test", "Summer", "--test-event-code", "T", "--json").stdout)
    assert second["event"]["event_id"] != event["event_id"]
    warned = daemon.command_line("send-test", "Summer", "--test-event-code", "T", "--event", "Lead")
    assert (warned.returncode, "Meta counts Lead" in warned.stderr) == (0, True)


def test_send_test_says_what_meta_says_against_it(daemon: Daemon) -> None:
    write_click(daemon, "realclick1")
    wait_until(lambda: daemon.status()["clicks"] == 1, "the click is read")
    fail(daemon, mode="token", token="token-of-summer")
    sent = daemon.command_line("send-test", "Summer", "--test-event-code", "T")
    assert (sent.returncode, "Meta refuses the token" in sent.stdout) == (1, True)
    for name, words in (("Winter", "no click with an fbclid"), ("Nobody", "no integration")):
        refused = daemon.command_line("send-test", name, "--test-event-code", "T")
        assert (refused.returncode, words in refused.stderr) == (1, True)


def write_click(daemon: Daemon, subid: str) -> None:
    line = {"v": "1", "event": "click", "id": "1" * 32, "time": "1795564800.0", "uri": f"/AbCd12?fbclid={FBCLID}",
            "host": "t.example.com", "scheme": "https", "ip": "8.8.8.8", "ua": "Mozilla", "subid": subid}  # fmt: skip
    with daemon.journal.open("a") as file:
        file.write(json.dumps(line) + "\n")
