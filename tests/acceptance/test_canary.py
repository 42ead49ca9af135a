"""A canary walks the whole road: Nginx, tracker, journal, mirror, daemon, proxy and the stand-in for Meta."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.acceptance.parts import Squid, wait_until
from tests.acceptance.road import Road, yaml

CODE = ("--test-event-code", "TEST1")


def fly(road: Road, *options: str) -> tuple[int, dict[str, Any]]:
    done = road.daemon.command_line("canary", "Summer", "--url", road.nginx.url, "--json", *options)
    return done.returncode, json.loads(done.stdout)


def test_every_leg_is_timed_and_meta_gets_one_test_event_without_value(
    start_road: Callable[[str], Road], start_squid: Callable[..., Squid]
) -> None:
    squid = start_squid()
    road = start_road(yaml(squid.url))
    code, flight = fly(road, *CODE)
    assert (code, flight["ok"]) == (0, True)
    assert [leg["leg"] for leg in flight["legs"]] == ["click", "journal", "postback", "decision", "meta"]
    assert all(leg["seconds"] > 0 for leg in flight["legs"])
    [event] = road.standin.events()
    assert (event["event_name"], "custom_data" in event["event"]) == ("CapiSidecarTest", False)
    assert "CapiSidecarCanary_" in event["event"]["user_data"]["fbc"]
    [story] = road.daemon.explain(flight["subid"])
    assert (story["decision"], story["reason"], story["events"]) == ("ignored", "status_null", [])
    assert "canary" in str(story["trace"])
    assert road.daemon.status()["canary"][0]["ok"] is True
    wait_until(lambda: len(squid.requests()) == 1, "Squid has logged the one request")


def test_without_a_test_event_code_nothing_is_sent(start_road: Callable[[str], Road]) -> None:
    road = start_road(yaml())
    refused = road.daemon.command_line("canary", "Summer", "--url", road.nginx.url)
    assert (refused.returncode, "test_event_code" in refused.stderr) == (1, True)
    assert road.standin.listing()["requests"] == 0


def test_the_leg_that_fails_is_named_and_status_says_it(start_road: Callable[[str], Road]) -> None:
    road = start_road(yaml())
    road.standin.fail(mode="token")
    code, flight = fly(road, *CODE)
    assert (code, flight["ok"], flight["legs"][-1]["leg"]) == (1, False, "meta")
    status = road.daemon.command_line("status")
    assert (status.returncode, "canary Summer: lost at meta" in status.stdout) == (1, True)
    text = road.daemon.command_line("canary", "Summer", "--url", road.nginx.url, *CODE).stdout
    assert "FAILED: token" in text
    nobody = road.daemon.command_line("canary", "Summer", "--url", "http://127.0.0.1:1", *CODE)
    assert (nobody.returncode, "click" in nobody.stdout) == (1, True)


def test_a_login_in_the_address_is_refused_and_no_subid_is_shown_openly(start_road: Callable[[str], Road]) -> None:
    road = start_road(yaml())
    refused = road.daemon.command_line("canary", "Summer", "--url", "http://u:S3cretPass@127.0.0.1:1", *CODE)
    assert (refused.returncode, "S3cretPass" in refused.stdout + refused.stderr) == (1, False)
    _, flight = fly(road, *CODE)
    assert flight["subid"] and flight["subid"] not in str(road.daemon.status()["canary"])


def test_it_flies_on_a_schedule(start_road: Callable[[str], Road]) -> None:
    road = start_road(yaml())
    text = (road.daemon.config / "integrations.yaml").read_text()
    canary = f'canary: {{every: 5s, url: "{road.nginx.url}", test_event_code: TEST1}}\n'
    road.daemon.configure(text + canary)
    wait_until(lambda: len(road.standin.events()) >= 2, "two flights have landed", 60)
    assert {event["event_name"] for event in road.standin.events()} == {"CapiSidecarTest"}


def test_a_canarys_click_is_none_for_send_test(start_road: Callable[[str], Road], tmp_path: Path) -> None:
    road = start_road(yaml())
    fly(road, *CODE)
    refused = road.daemon.command_line("send-test", "Summer", *CODE)
    assert (refused.returncode, "no click with an fbclid" in refused.stderr) == (1, True)
