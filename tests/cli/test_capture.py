"""A stored postback becomes a story that names nobody and holds at once."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from sidecar.core.configuration import Configuration
from sidecar.resolver import Resolver
from sidecar.store.contract import Place, Reading
from sidecar.store.sqlite import SqliteStore
from sidecar.tap import Tap
from tests.examples import (
    FBCLID,
    KEY,
    NOW,
    PIXEL,
    SUBID,
    TARGET,
    YAML,
    Clock,
    click,
    completed_by,
    configuration,
    lookup_of,
    postback,
)

MORE = """
  - name: Winter
    campaigns: [AbCd12, Winter1]
    pixel_id: "2345678901234567"
    token: token-of-winter
    customer: {em: [email], lead_id: [leadgen], external_id: [uid]}
    fbclid_from: [fbclid, sub7]
    only: {country: [US], plan: [gold]}
    mapping: {sale: {event: Subscribe, custom_data: {plan: "{plan}", at: "{host}", ad.x: "{ad}"}}}
"""
PLACE = Place(1, 2, b"\x01head", 100)

#: What must not be left of the example: its identifiers, its address and its customer.
CANARIES = [
    "3sh8so4er3",
    "IwAR0Example",
    "8.8.4.4",
    "example@gmail",
    "71234567890",
    "secret-word",
    "Reykjavik",
    "77777",
]


class Kept:
    """A state directory with postbacks, decided by the daemon's own resolver, and the commands on it."""

    def __init__(self, store: SqliteStore, config: Configuration, clock: Clock, directory: Path) -> None:
        self.store = store
        self.directory = directory
        lookup = lookup_of(store, clock)
        completed = completed_by(lookup)
        self.resolver = Resolver(store, lookup, completed, lambda: config, clock, lambda: 0.0, lambda _: None, Tap())

    async def keep(self, *targets: str, click: Any = None, **more: Any) -> None:
        if click is not None:
            await self.store.add_reading(Reading("j", PLACE, [(click, True)]))
        for number, target in enumerate(targets, 1):
            await self.store.add(postback(number, target, **more))
        while await self.resolver.step():
            pass

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        places = ["--config", str(self.directory / "config"), "--state", str(self.directory / "state")]
        command = [sys.executable, "-m", "sidecar", *arguments, *places]
        return subprocess.run(command, capture_output=True, text=True, timeout=60)

    def captured(self, name: str = SUBID) -> dict[str, Any]:
        """The story of a stored postback, which passes at once and holds no canary."""
        done = self.command("capture", name)
        assert done.returncode == 0, done.stderr
        assert [canary for canary in CANARIES if canary in done.stdout] == []
        (self.directory / "a.yaml").write_text(done.stdout)
        told = self.command("test", str(self.directory / "a.yaml"))
        assert (told.returncode, told.stdout) == (0, "1 passed\n"), done.stdout + told.stdout + told.stderr
        [story] = yaml.load(done.stdout, yaml.BaseLoader)
        return dict(story)


@pytest.fixture
def kept(store: SqliteStore, clock: Clock, tmp_path: Path) -> Kept:
    return Kept(store, configuration(tmp_path / "config", YAML + MORE), clock, tmp_path)


async def test_a_sale_becomes_a_story_of_nobody_that_holds(kept: Kept) -> None:
    target = TARGET + "&tid=77777&uid=secret-word&sub_id_3=secret-word&country=US"
    await kept.keep(target, click=click(ip="8.8.4.4", country="US", city="Reykjavik"))
    assert kept.captured() == {
        "name": "sale of AbCd12 is Purchase",
        "click": {
            "subid": "0bc3ef6hi9",
            "campaign": "AbCd12",
            "clicked_at": "2026-11-24T23:59:00Z",
            "ip": "8.8.8.8",
            "user_agent": "Mozilla/5.0",
            "referrer": "https://l.facebook.com/",
            "country": "US",
            "city": "Springfield",
            "parameters": {"fbclid": "AbCD4Fghijkl_Nopqr-Tu"},
        },
        "postback": f"/{KEY}/postback?subid=0bc3ef6hi9&status=sale&payout=2.61&em=customer@example.com"
        "&fn=John&ln=Snow&ph=%2B15550100&tid=01234&uid=customer-1&country=us",
        "received_at": "2026-11-25T00:00:00Z",
        "expect": {
            "event": "Purchase",
            "value": "2.61",
            "currency": "USD",
            "event_id": "0bc3ef6hi9_sale_01234",
            "pixel_id": PIXEL,
            "integration": "Summer",
            "fields": {
                "user_data.fbc": "fb.1.1795564740000.AbCD4Fghijkl_Nopqr-Tu",
                "user_data.fbp": "null",
                "user_data.em": "customer@example.com",
                "user_data.ph": "+15550100",
                "user_data.fn": "John",
                "user_data.ln": "Snow",
                "user_data.ct": "Springfield",
                "user_data.country": "us",
            },
        },
    }


async def test_several_events_are_all_expected(kept: Kept) -> None:
    target = TARGET + "&email=example@gmail.com&leadgen=77777&uid=secret-word&plan=gold&country=US"
    seen = click(parameters={"sub7": (FBCLID,), "ad": ("4",), "uid": ("secret-word",)}, url="https://t.example/AbCd12")
    await kept.keep(target, click=replace(seen, fbclid=FBCLID, clicked_at=NOW - 60.25))
    story = kept.captured()
    assert [event["event"] for event in story["expect"]] == ["Purchase", "Subscribe"]
    fields = story["expect"][1]["fields"]
    assert (fields["custom_data.plan"], fields["custom_data.at"], fields["custom_data.ad.x"]) == (
        "gold",
        "t.example",
        "4",
    )
    assert fields["user_data.external_id"] == "customer-1"
    assert story["click"]["clicked_at"] == "1795564739.75"


@pytest.mark.parametrize(
    ("target", "seen", "reason"),
    [
        (TARGET.replace("sale", "rejected"), click(), "status_null"),
        (TARGET.replace("sale", "hold"), click(), "status_unmapped"),
        (TARGET, click(parameters={"fbclid": ("{fbclid}",)}), "literal_fbclid"),
        (TARGET, click(parameters={}), "no_fbclid"),
        (TARGET, click(campaign=("Other1",)), "campaign_without_integration"),
        (TARGET, None, "no_click"),
        (TARGET.replace(SUBID, "{subid}"), None, "no_subid"),
    ],
)
async def test_what_was_not_sent_is_expected_with_its_reason(kept: Kept, target: str, seen: Any, reason: str) -> None:
    await kept.keep(target, click=seen)
    assert kept.captured(f"{1:032x}")["expect"]["reason"] == reason


async def test_a_postback_of_which_all_is_still_stored_gives_nothing_away(kept: Kept) -> None:
    body = b"status=sale&em=example@gmail.com&mystery=secret-word&sub_id_9=secret-word"
    more = {"method": "POST", "type": "application/x-www-form-urlencoded", "body": body}
    await kept.keep(f"/{KEY}/postback?subid={SUBID}&ph=71234567890", **more)
    story = kept.captured()
    assert story["postback"] == (f"/{KEY}/postback?subid=0bc3ef6hi9&ph=%2B15550100&status=sale&em=customer@example.com")


async def test_of_several_postbacks_the_newest_decided_one_is_taken_and_it_says_so(kept: Kept) -> None:
    await kept.keep(*(f"/{KEY}/postback?subid={SUBID}&status={status}" for status in ("lead", "sale")), click=click())
    done = kept.command("capture", SUBID)
    assert "name: sale of AbCd12 is Purchase" in done.stdout
    assert done.stderr == f"capture: 2 postbacks have this id; this is the newest decided one, {2:032x}\n"
    assert "name: lead of AbCd12 is Lead" in kept.command("capture", f"{1:032x}").stdout
    assert "name: lead of AbCd12 is Lead" in kept.command("capture", f"{SUBID}_lead").stdout


async def test_what_is_decided_otherwise_today_is_said(kept: Kept) -> None:
    await kept.keep(TARGET, click=click())
    (kept.directory / "config/integrations.yaml").write_text(YAML.replace("sale: Purchase", "sale: null"))
    done = kept.command("capture", SUBID)
    assert "reason: status_null" in done.stdout
    assert done.stderr == (
        "capture: it was accepted: sent; with today's configuration, what is still stored of it and sample data it is "
        "ignored: status_null\n"
    )


async def test_a_secret_postback_key_stays_secret(kept: Kept) -> None:
    await kept.keep(TARGET, click=click())
    (kept.directory / "config/integrations.yaml").write_text(YAML.replace(KEY, '"${env:POSTBACK_KEY}"'))
    assert kept.captured()["postback"].startswith("/key/postback?")


async def test_write_makes_a_file_of_stories_and_never_overwrites_one(kept: Kept) -> None:
    await kept.keep(TARGET, click=click())
    path = kept.directory / "config/tests/summer.yaml"
    done = kept.command("capture", SUBID, "--write", "summer")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", f"capture: wrote {path}\n")
    assert kept.command("test").stdout == "1 passed\n"
    path.write_text("mine")
    done = kept.command("capture", SUBID, "--write", "summer")
    assert (done.returncode, path.read_text()) == (2, "mine")
    assert done.stderr == f"capture: {path} exists and is not overwritten; give another name\n"
    assert kept.command("capture", SUBID, "--write", "../summer").returncode == 2


async def test_json_is_a_file_of_stories_too(kept: Kept) -> None:
    await kept.keep(TARGET, click=click())
    done = kept.command("capture", SUBID, "--json")
    assert [story["name"] for story in json.loads(done.stdout)] == ["sale of AbCd12 is Purchase"]
    (kept.directory / "a.yaml").write_text(done.stdout)
    assert kept.command("test", str(kept.directory / "a.yaml")).stdout == "1 passed\n"


async def test_a_wrong_call_is_told_why(kept: Kept) -> None:
    done = kept.command("capture", "nobody")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "capture: no postback has this request id, event_id or subid: nobody\n"
    await kept.store.close()
    (kept.directory / "state/store.sqlite3").unlink()
    done = kept.command("capture", "nobody")
    assert (done.returncode, done.stderr.partition(";")[0]) == (2, f"capture: no store in {kept.directory}/state")
    (kept.directory / "config/integrations.yaml").write_text("tracker: {}\n")
    assert kept.command("capture", "nobody").returncode == 78
