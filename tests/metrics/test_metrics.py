"""What a running daemon answers at /metrics."""

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from sidecar.metrics.families import FAMILIES
from tests.acceptance.ours import Daemon, StandIn
from tests.acceptance.parts import installed, wait_until
from tests.examples import FBCLID, KEY

YAML = """
tracker: {postback_key: 2a76c2a}
integrations:
  - name: Summer "US" \\ ☀
    campaigns: [AbCd12]
    pixel_id: "1234567890123456"
    token: token-of-summer
    mapping: {sale: Purchase, slow: {event: Lead, delay: 1h}}
  - name: Winter
    campaigns: [Winter1]
    pixel_id: "2222222222222222"
    token: token-of-winter
    proxy: ["http://lodger:hush-hush@127.0.0.1:1", "socks5h://other:hush-hush@127.0.0.1:1"]
    mapping: {sale: Purchase}
"""

SUMMER = 'Summer "US" \\ ☀'


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    with ExitStack() as stack:
        standin = stack.enter_context(StandIn(tmp_path))
        yield stack.enter_context(Daemon(tmp_path, YAML, journal=tmp_path / "j", graph=standin.url))


def text_of(daemon: Daemon) -> str:
    answer = requests.get(f"http://{daemon.admin}/metrics", timeout=30)
    answer.raise_for_status()
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    return answer.content.decode()


def value(daemon: Daemon, name: str, **labels: str) -> float | None:
    """The sample with exactly these labels; None where there is none."""
    for family in text_string_to_metric_families(text_of(daemon)):
        for sample in family.samples:
            if sample.name == name and sample.labels == labels:
                return float(sample.value)
    return None


def postback(daemon: Daemon, subid: str, campaign: str = "AbCd12", status: str = "sale") -> None:
    target = (
        f"/{KEY}/postback?subid={subid}&status={status}&payout=2&campaign={campaign}&fbclid={FBCLID}&ua=M&ip=8.8.8.8"
    )
    assert requests.get(f"http://{daemon.intake}{target}", timeout=30).status_code == 200


def ended(daemon: Daemon) -> float | None:
    return value(daemon, "capi_sidecar_deliveries_ended_total", integration=SUMMER, end="delivered")


def test_promtool_finds_nothing_and_every_metric_is_there(daemon: Daemon) -> None:
    postback(daemon, "subid00001")
    wait_until(lambda: ended(daemon), "it is delivered")
    text = text_of(daemon)
    checked = subprocess.run([installed("promtool", "prometheus"), "check", "metrics"], input=text,
                             capture_output=True, text=True)  # fmt: skip
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")
    for family in FAMILIES:
        assert f"# TYPE {family.name} {family.type}\n" in text


def test_nothing_personal_and_no_login_is_shown(daemon: Daemon) -> None:
    postback(daemon, "subid00001", "Winter1")
    wait_until(lambda: value(daemon, "capi_sidecar_proxy_up", proxy="127.0.0.1:1") == 0, "the proxy has failed")
    text = text_of(daemon)
    for secret in ("subid00001", FBCLID, "hush-hush", "lodger", "token-of", "1234567890123456", KEY):
        assert secret not in text
    assert value(daemon, "capi_sidecar_lanes_held", integration="Winter", why="proxy") == 1


def test_a_delay_that_the_mapping_wants_is_no_delay(daemon: Daemon) -> None:
    postback(daemon, "subid00001")
    postback(daemon, "subid00002", status="slow")
    wait_until(lambda: value(daemon, "capi_sidecar_delivery_delay_seconds_count") == 1, "one is delivered")
    assert (value(daemon, "capi_sidecar_delivery_delay_seconds_sum") or 99) < 10
    assert value(daemon, "capi_sidecar_queue_deliveries", integration=SUMMER, state="ready") == 1
    assert value(daemon, "capi_sidecar_queue_oldest_age_seconds", integration=SUMMER, state="ready") == 0
    assert (value(daemon, "capi_sidecar_queue_time_left_seconds", integration=SUMMER) or 0) > 6 * 86400


def test_counters_survive_a_reload_and_an_integration_that_is_gone_disappears(daemon: Daemon) -> None:
    postback(daemon, "subid00001")
    wait_until(lambda: ended(daemon), "it is delivered")
    before = value(daemon, "capi_sidecar_config_hash")
    daemon.configure(YAML[: YAML.index("  - name: Winter")])
    wait_until(lambda: value(daemon, "capi_sidecar_config_reloads_total", outcome="loaded"), "it is loaded")
    assert ended(daemon) == 1
    assert "Winter" not in text_of(daemon)
    assert value(daemon, "capi_sidecar_config_hash") != before
    daemon.configure(YAML.replace("Summer", "Autumn"))
    wait_until(lambda: "Autumn" in text_of(daemon), "it is renamed")
    assert ended(daemon) is None
    assert value(daemon, "capi_sidecar_graph_requests_total", verdict="accepted") == 1


def test_what_waits_for_an_integration_that_is_gone_is_still_shown(daemon: Daemon) -> None:
    postback(daemon, "subid00001", status="slow")
    wait_until(lambda: value(daemon, "capi_sidecar_queue_deliveries", integration=SUMMER, state="ready"), "it waits")
    daemon.configure(YAML[: YAML.index("  - name: Summer")] + YAML[YAML.index("  - name: Winter") :])
    gone = {"integration": "(others)", "state": "integration_gone"}
    wait_until(lambda: value(daemon, "capi_sidecar_queue_deliveries", **gone) == 1, "it is held")
    assert "Summer" not in text_of(daemon)


def test_a_file_with_a_mistake_is_a_reload_that_did_not_work(daemon: Daemon) -> None:
    assert value(daemon, "capi_sidecar_config_last_reload_successful") == 1
    daemon.configure("tracker: [")
    wait_until(lambda: value(daemon, "capi_sidecar_config_last_reload_successful") == 0, "it is refused")
    assert value(daemon, "capi_sidecar_config_braked") == 0
    daemon.configure(YAML)
    wait_until(lambda: value(daemon, "capi_sidecar_config_last_reload_successful") == 1, "it is mended")
