"""`explain` as a sysadmin and a program call it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.examples import FBCLID, KEY, NOW, SUBID, TARGET, YAML, configuration

CLICK = {"campaign": "AbCd12", "fbclid": FBCLID, "clicked_at": NOW - 60, "ip": "8.8.8.8", "ua": "Mozilla"}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    configuration(tmp_path / "config", YAML.replace("token-of-summer", "${file:nobody/has/this}"), postback_keys=None)
    return tmp_path / "config"


def explain(config: Path, *arguments: str, input: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sidecar", "explain", "--config", str(config), "--state", str(config / "none")]
    return subprocess.run([*command, *arguments], capture_output=True, text=True, input=input, timeout=60)


def lines(*values: Any) -> str:
    return "".join((value if isinstance(value, str) else json.dumps(value)) + "\n" for value in values)


def test_a_line_is_answered_with_its_event_and_needs_no_secret(config: Path) -> None:
    done = explain(config, "-", input=lines({"url": TARGET, "click": CLICK, "received_at": NOW}))
    assert done.returncode == 0
    answer = json.loads(done.stdout)
    assert (answer["decision"], answer["reason"]) == ("accepted", "sent")
    [event] = answer["events"]
    assert (event["integration"], event["pixel_id"]) == ("Summer", "1234567890123456")
    assert event["event"]["user_data"]["fbc"] == f"fb.1.{round((NOW - 60) * 1000)}.{FBCLID}"
    assert event["event"]["custom_data"] == {"value": 2.61, "currency": "USD"}


@pytest.mark.parametrize("url", ["https://tracker.example.com" + TARGET, "HTTP://T.EXAMPLE" + TARGET, TARGET])
def test_a_url_may_be_absolute(config: Path, url: str) -> None:
    done = explain(config, "-", input=lines({"url": url, "click": CLICK, "received_at": "2026-11-25T00:00:00"}))
    assert json.loads(done.stdout)["reason"] == "sent"


def test_lines_are_answered_in_order_and_an_unreadable_one_says_why(config: Path) -> None:
    given = lines({"url": TARGET}, "", "no json", {"uri": 1}, {"url": TARGET, "click": {"clicked_at": "never"}},
                  {"url": TARGET, "received_at": "soon"}, {"url": TARGET, "click": None})  # fmt: skip
    done = explain(config, "-", input=given)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 1
    assert [answer.get("reason") for answer in answers] == ["no_click", None, None, None, None, "no_click"]
    assert [answer.get("error") for answer in answers if "error" in answer] == [
        "the line is not JSON",
        'an object with "url" is needed',
        "click.clicked_at: give Unix seconds, milliseconds or ISO 8601",
        "received_at: give Unix seconds, milliseconds or ISO 8601",
    ]


def test_a_body_of_a_form_or_of_json_beats_the_query(config: Path) -> None:
    common = {"url": f"/{KEY}/postback?subid={SUBID}&payout=1", "click": CLICK, "received_at": NOW}
    done = explain(
        config,
        "-",
        input=lines(
            common | {"type": "application/x-www-form-urlencoded", "body": "payout=2"},
            common | {"type": "application/json", "body": '{"payout": 3.5}', "method": "POST"},
        ),
    )
    values = [json.loads(line)["events"][0]["event"]["custom_data"]["value"] for line in done.stdout.splitlines()]
    assert values == [2, 3.5]


def test_a_url_is_explained_in_words(config: Path, tmp_path: Path) -> None:
    click = tmp_path / "click.json"
    click.write_text(json.dumps(CLICK | {"clicked_at": None}))
    done = explain(config, TARGET, "--click", str(click))
    assert done.returncode == 0
    assert done.stdout.startswith("accepted: sent\n")
    assert "click: from given, campaign AbCd12" in done.stdout
    assert "example@gmail.com" not in done.stdout


def test_what_is_not_sent_exits_with_1_and_says_what_to_try(config: Path) -> None:
    done = explain(config, TARGET)
    assert (done.returncode, done.stdout.splitlines()[0]) == (1, "waiting: no_click")
    assert "--click FILE" in done.stderr


def test_a_url_for_machines(config: Path) -> None:
    done = explain(config, TARGET, "--json")
    assert json.loads(done.stdout)["reason"] == "no_click"


@pytest.mark.parametrize("arguments", [(), ("-", "--id", "x"), ("--id", "x"), ("u", "--click", "/nowhere")])
def test_a_wrong_call_is_told_why(config: Path, arguments: tuple[str, ...]) -> None:
    done = explain(config, *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("explain: ")


def test_a_bad_configuration_is_refused_with_its_place(config: Path) -> None:
    (config / "integrations.yaml").write_text("tracker: {postback_kee: x}\n")
    done = explain(config, "-", input=lines({"url": TARGET}))
    assert done.returncode == 78
    assert "integrations.yaml:1:11: tracker.postback_kee: unknown key" in done.stderr
