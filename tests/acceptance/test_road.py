"""The whole road on real parts: client, Nginx, tracker, daemon, proxy, stand-in for Meta."""

import hashlib
import re
import signal
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.acceptance.ours import Daemon, StandIn
from tests.acceptance.parts import Squid, free_address, wait_until
from tests.acceptance.road import AGENT, CDN, FBP, TOKEN, Road, yaml
from tests.examples import FBCLID, KEY, SUBID, TARGET

Start = Callable[..., Any]


def sha(text: str) -> list[str]:
    return [hashlib.sha256(text.encode()).hexdigest()]


def test_the_example_becomes_one_event_through_an_authenticated_proxy(
    start_road: Callable[[str], Road], start_squid: Callable[[], Squid]
) -> None:
    squid = start_squid()
    road = start_road(yaml(squid.url))
    road.click()
    road.postback()
    [accepted] = road.wait_for_events(1)
    event = accepted["event"]
    [click] = road.nginx.lines("click")
    clicked_at = round(float(click["time"]) - float(click["took"]), 3)
    received_at = road.daemon.explain(SUBID)[0]["received_at"]
    assert event == {
        "event_name": "Purchase",
        "event_time": int(received_at),
        "event_id": f"{SUBID}_sale",
        "event_source_url": sha("https://l.facebook.com/l.php?u=x")[0],
        "action_source": "website",
        "user_data": {
            "fbc": f"fb.1.{round(clicked_at * 1000)}.{FBCLID}",
            "fbp": FBP,
            "client_ip_address": CDN["CF-Connecting-IP"],
            "client_user_agent": AGENT,
            "em": sha("example@gmail.com"),
            "fn": sha("john"),
            "ln": sha("snow"),
            "ph": sha("71234567890"),
            "country": sha("us"),
        },
        "custom_data": {"value": 2.61, "currency": "USD"},
    }
    # Through the proxy, with its login, and nowhere else.
    assert [(method, status, user) for method, _, status, user in squid.requests()] == [("POST", 200, "proxy")]
    seen = road.daemon.log + squid.access_log.read_text() + road.daemon.command_line("status").stdout
    assert [secret for secret in (TOKEN, "secret@", "example@gmail.com", KEY) if secret in seen] == []


def test_mirror_and_journal_and_a_repeat_are_one_event_and_a_deposit_is_another(
    start_road: Callable[[str], Road],
) -> None:
    road = start_road(yaml())
    road.click()
    road.postback()
    road.postback()
    road.postback(TARGET.replace("status=sale", "status=deposit"))
    road.wait_for_events(2)
    wait_until(lambda: len(road.daemon.explain(SUBID)) == 3, "three postbacks")
    wait_until(lambda: road.daemon.status()["journals"][0].get("postbacks") == 3, "the journal's copies are read")
    assert sorted(road.reasons(SUBID)) == ["duplicate", "sent", "sent"]
    listed = road.standin.listing()["events"]
    assert sorted((each["event_id"], each["repeats"]) for each in listed) == [
        (f"{SUBID}_deposit", 0),
        (f"{SUBID}_sale", 0),
    ]
    assert road.daemon.status()["intake"]["stored"] == 3


def test_without_a_mirror_the_journal_brings_everything(
    start_nginx: Start, start_daemon: Start, standin: StandIn
) -> None:
    daemon = start_daemon(yaml(), graph=standin.url)
    road = Road(start_nginx(free_address()), daemon, standin)  # nobody listens where the mirror goes
    road.click()
    road.postback()
    road.wait_for_events(1)
    assert [story["source"] for story in daemon.explain(SUBID)] == ["journal"]


def test_a_postback_waits_for_its_click_and_is_decided_as_soon_as_it_comes(start_road: Callable[[str], Road]) -> None:
    road = start_road(yaml())
    road.postback()
    wait_until(lambda: road.reasons(SUBID) == ["no_click"], "the postback waits")
    road.click()
    road.wait_for_events(1)
    assert road.reasons(SUBID) == ["sent"]


#: What is sent, and the reason that explain names; `{n}` is a subid of its own, which has a click unless it says none.
REASONS: dict[str, tuple[str, str]] = {
    "sent": ("/AbCd12?fbclid=IwAR1", "subid={n}"),
    "ignore_status": ("/AbCd12?fbclid=IwAR1", "subid={n}&status=hold&ignore_status=hold,trash"),
    "status_null": ("/AbCd12?fbclid=IwAR1", "subid={n}&status=rejected"),
    "status_unmapped": ("/AbCd12?fbclid=IwAR1", "subid={n}&status=rebill"),
    "campaign_without_integration": ("/Other1?fbclid=IwAR1", "subid={n}"),
    "only": ("/Only12?fbclid=IwAR1", "subid={n}&country=DE"),
    "skip_zero": ("/AbCd12?fbclid=IwAR1", "subid={n}&status=zero&payout=0"),
    "same_pixel": ("/Twice1?fbclid=IwAR1", "subid={n}"),
    "status_macro": ("/AbCd12?fbclid=IwAR1", "subid={n}&status={{status}}"),
    "no_fbclid": ("/AbCd12", "subid={n}"),
    "literal_fbclid": ("/AbCd12?fbclid=%7Bfbclid%7D", "subid={n}"),
    "invalid_event": ("/Pixel1?fbclid=IwAR1&pixel=999", "subid={n}"),
    "click_expired": ("", "subid={n}"),
}

FURTHER = """
  - {name: Only, campaigns: [Only12], pixel_id: "2", token: t-only-1, mapping: {sale: Purchase}, only: {country: US}}
  - {name: First, campaigns: [Twice1], pixel_id: "3", token: t-first-1, mapping: {sale: Purchase}}
  - {name: Again, campaigns: [Twice1], pixel_id: "3", token: t-again-1, mapping: {sale: Purchase}}
  - {name: Each, campaigns: [Pixel1], pixel_id: "{pixel}", pixels: [4, 5], token: t-each-1, mapping: {sale: Purchase}}
"""


def test_each_reason_is_produced_for_real_and_named_by_explain(start_road: Callable[[str], Road]) -> None:
    road = start_road(yaml(click_wait="2s") + FURTHER)
    subids = {reason: f"reason{index:04d}" for index, reason in enumerate(REASONS)}
    for reason, (target, query) in REASONS.items():
        if target:
            road.click(subids[reason], target)
        road.postback(f"/{KEY}/postback?" + query.format(n=subids[reason]))
    road.postback(f"/{KEY}/postback?subid={subids['sent']}&payout=3")
    for reason, subid in subids.items():
        expected = ["sent", "duplicate"] if reason == "sent" else ["sent"] if reason == "same_pixel" else [reason]
        wait_until(lambda s=subid, e=expected: road.reasons(s) == e, f"{subid} is {expected}", 60)
    twice = road.daemon.explain(subids["same_pixel"])[0]["trace"]
    assert "Again: First sends this event to the same pixel" in twice


def test_a_postback_without_a_subid_is_stored_with_its_reason(start_road: Callable[[str], Road]) -> None:
    road = start_road(yaml())
    for query in ("status=sale", "subid=%7Bsubid%7D", "subid=x!"):
        road.postback(f"/{KEY}/postback?{query}")
    road.postback("/wrong00/postback?subid=abcdef123")

    def reasons() -> dict[str, int]:
        return {row["reason"]: row["count"] for row in road.daemon.status()["postbacks"]}

    wait_until(lambda: reasons() == {"no_subid": 2, "bad_subid": 1}, "three are rejected")
    wait_until(lambda: road.daemon.status()["journals"][0].get("wrong_key") == 1, "one has a wrong key")


def test_an_integration_without_campaigns_is_named(start_road: Callable[[str], Road]) -> None:
    road = start_road(re.sub("    campaigns.*\n", "", yaml()))
    road.click()
    road.postback()
    wait_until(lambda: road.reasons(SUBID) == ["integration_without_campaign"], "the reason")
    assert road.daemon.command_line("status").returncode == 1


def test_what_was_journalled_before_the_first_start_is_not_sent(
    start_nginx: Start, start_daemon: Start, standin: StandIn
) -> None:
    road = Road(start_nginx(free_address()), None, standin)  # type: ignore[arg-type]
    road.click()
    road.postback()
    wait_until(lambda: len(road.nginx.lines()) == 2, "both lines are written")
    road.daemon = start_daemon(yaml(), graph=standin.url)
    wait_until(lambda: road.reasons(SUBID) == ["before_first_start"], "it is kept for replay")
    road.postback(TARGET + "&tid=2")
    [event] = road.wait_for_events(1)
    assert event["event_id"] == f"{SUBID}_sale_2"


@pytest.mark.parametrize("kills", [3])
def test_no_postback_is_lost_while_the_daemon_is_killed(start_road: Callable[[str], Road], kills: int) -> None:
    road = start_road(yaml())
    road.click()
    count, workers = 2000, 4
    done = [0] * workers

    def send(worker: int) -> None:
        client = requests.Session()
        for number in range(worker, count, workers):
            answer = client.get(f"{road.nginx.url}/{KEY}/postback?subid={SUBID}&tid={number}&payout=1", timeout=60)
            assert answer.status_code == 200
            done[worker] += 1

    threads = [threading.Thread(target=send, args=(worker,)) for worker in range(workers)]
    for thread in threads:
        thread.start()
    for kill in range(1, kills + 1):
        wait_until(
            lambda k=kill: sum(done) >= k * count // (kills + 1), f"{kill}/{kills + 1} of the postbacks are sent", 120
        )
        road.daemon.kill()
        road.daemon.start()
    for thread in threads:
        thread.join()
    assert sum(done) == count
    events = road.wait_for_events(count)
    assert sorted(event["event_id"] for event in events) == sorted(f"{SUBID}_sale_{number}" for number in range(count))
    wait_until(lambda: road.daemon.status()["deliveries"] == {"delivered": count}, "everything is settled")
    # What was on its way at a kill is repeated, as it was: the same identity, time and bytes.
    assert len({(event["event_id"], event["event_time"]) for event in events}) == count


def test_a_stop_ends_while_meta_hangs_and_loses_nothing(start_road: Callable[[str], Road]) -> None:
    road = start_road(yaml())
    road.standin.fail(mode="slow", seconds=25)
    road.click()
    road.postback()
    wait_until(lambda: road.daemon.status()["deliveries"] == {"leased": 1}, "the event is on its way")
    road.daemon.signal(signal.SIGTERM)
    wait_until(lambda: not road.daemon.running, "the daemon has stopped", 10)
    assert road.daemon.returncode == 0
    road.standin.fail(mode="none")
    road.daemon.start()
    wait_until(lambda: road.daemon.status()["deliveries"] == {"delivered": 1}, "it is delivered after the start", 60)
    [event] = road.standin.events()
    assert event["event_id"] == f"{SUBID}_sale"


def test_an_edit_is_in_force_by_itself_and_a_bad_one_is_refused(start_road: Callable[[str], Road]) -> None:
    road = start_road(yaml())
    road.click()
    road.daemon.configure(yaml().replace("sale: Purchase", "sale: Subscribe"))
    wait_until(lambda: road.daemon.log.count("configuration.loaded") == 1, "the edit is in force")
    road.postback()
    assert road.wait_for_events(1)[0]["event_name"] == "Subscribe"
    road.daemon.configure(yaml().replace("mapping:", "maping:").replace("pixel_id:", "pixel:"))
    wait_until(lambda: road.daemon.log.count("configuration.refused") >= 3, "every mistake is told")
    assert r"integrations[0].maping: unknown key; did you mean \"mapping\"?" in road.daemon.log
    status = road.daemon.command_line("status")
    assert status.returncode == 1
    assert "configuration refused, the last good one runs" in status.stdout
    road.postback(TARGET + "&tid=2")
    assert [event["event_name"] for event in road.wait_for_events(2)] == ["Subscribe", "Subscribe"]
    road.daemon.configure(yaml())
    wait_until(lambda: road.daemon.log.count("configuration.loaded") == 2, "the mended one is in force")
    wait_until(lambda: road.daemon.command_line("status").returncode == 0, "all is well")


def test_a_token_fault_holds_the_events_until_the_token_is_mended(start_road: Callable[[str], Road]) -> None:
    road = start_road(yaml())
    road.standin.fail(mode="token", token=TOKEN)
    road.click()
    road.postback()
    wait_until(lambda: road.daemon.command_line("status").returncode == 1, "status says that something is wrong")
    assert "token" in road.daemon.command_line("status").stdout
    assert TOKEN not in road.daemon.log
    road.daemon.configure(yaml().replace(TOKEN, "EAAmended-token"))
    road.wait_for_events(1)
    wait_until(lambda: road.daemon.command_line("status").returncode == 0, "all is well")


def test_a_proxy_that_refuses_the_login_is_named_and_nothing_goes_around_it(
    start_road: Callable[[str], Road], start_squid: Callable[[], Squid]
) -> None:
    squid = start_squid()
    road = start_road(yaml(squid.url.replace("secret", "wrong")))
    road.click()
    road.postback()
    wait_until(lambda: "proxy login" in road.daemon.command_line("status").stdout, "the proxy's fault is named")
    assert road.standin.listing()["requests"] == 0
    road.daemon.configure(yaml(squid.url))
    road.wait_for_events(1)
    assert {user for *_, user in squid.requests() if user != "-"} == {"proxy"}


def test_no_environment_variable_changes_the_way(
    tmp_path: Path, running: ExitStack, start_nginx: Start, standin: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")  # for the test's own requests only
    intake = free_address()
    daemon = Daemon(tmp_path, yaml(), journal=tmp_path / "journal.ndjson", graph=standin.url, intake=intake)
    nowhere = f"http://{free_address()}"
    daemon.env |= dict.fromkeys(("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"), nowhere)
    del daemon.env["NO_PROXY"]
    road = Road(start_nginx(intake), running.enter_context(daemon), standin)
    road.click()
    road.postback()
    road.wait_for_events(1)


def test_a_unix_socket_serves_the_intake(
    start_nginx: Start, start_daemon: Start, standin: StandIn, tmp_path: Path
) -> None:
    intake = f"unix:{tmp_path}/intake.sock"
    road = Road(start_nginx(intake), start_daemon(yaml(), graph=standin.url, intake=intake), standin)
    road.click()
    road.postback()
    road.wait_for_events(1)
    wait_until(lambda: road.daemon.status()["intake"].get("stored") == 1, "it came by the socket")
