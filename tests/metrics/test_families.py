"""From a snapshot to the text, with values that no test of a running daemon reaches."""

from typing import Any

import pytest

from sidecar.metrics.histogram import Histogram
from sidecar.metrics.snapshot import MOST, Counted, Disk, Queued, Snapshot
from sidecar.metrics.text import text

CONFIGURATION = {"hash": "32f7f95a2fa9a6a6", "error": "", "outcome": "loaded", "loaded_at": 1.0}


def snapshot(**more: Any) -> Snapshot:
    """A daemon to which nothing has happened yet."""
    given: dict[str, Any] = {
        "version": "1", "mode": "live", "is_ready": True, "configuration": CONFIGURATION, "integrations": {},
        "intake": {}, "journals": (), "decided": {}, "counted": None, "requests": {}, "attempts": {}, "ended": {},
        "expired": 0, "delay": Histogram((1.0,)), "lanes": (), "proxies": {}, "admin_api": None, "geoip": None,
        "store_failing": False, "disk": None, "loop_delay": Histogram((1.0,)), "silence": (), "canary": (),
    }  # fmt: skip
    return Snapshot(**(given | more))


def samples(given: Snapshot, name: str) -> list[str]:
    lines = text(given).decode().splitlines()
    return [line for line in lines if line.startswith((f"{name} ", f"{name}{{"))]


def queued(integration: str, count: int = 1, age: float = 1.0) -> Queued:
    return Queued(integration, "ready", count, age, 100 - age)


def test_a_histogram_counts_up_to_each_bound_and_its_bounds_are_inclusive() -> None:
    delay = Histogram((0.5, 1.0))
    for seconds in (0.5, 0.6, 1.0, 7.0):
        delay.observe(seconds)
    name = "capi_sidecar_delivery_delay_seconds"
    given = snapshot(delay=delay)
    assert samples(given, f"{name}_bucket") == [
        f'{name}_bucket{{le="0.5"}} 1.0', f'{name}_bucket{{le="1.0"}} 3.0', f'{name}_bucket{{le="+Inf"}} 4.0',
    ]  # fmt: skip
    assert samples(given, f"{name}_sum") == [f"{name}_sum 9.1"]


def test_a_copy_of_a_histogram_does_not_move() -> None:
    delay = Histogram((1.0,))
    copy = delay.copy()
    delay.observe(0.1)
    assert (copy.counts, copy.sum) == ([0, 0], 0.0)


def test_integrations_beyond_the_bound_are_added_up() -> None:
    names = [f"number {number}" for number in range(MOST + 10)]
    given = snapshot(
        integrations=dict.fromkeys(names, "active"),
        counted=Counted(1.0, {}, [queued(name, 2, float(number)) for number, name in enumerate(names)]),
        attempts={(name, "accepted", ""): 3 for name in names},
        canary=[{"integration": name, "ok": True, "last_success_at": 5.0, "legs": []} for name in names],
        silence=[{"integration": name, "what": "postbacks", "last_at": 9.0, "silent": False} for name in names],
        proxies={f"10.0.{number // 256}.{number % 256}:3128": True for number in range(MOST + 10)},
    )
    for name in ("queue_deliveries", "queue_oldest_age_seconds", "queue_time_left_seconds", "attempts_total",
                 "integration_state", "canary_last_success_timestamp_seconds", "integration_silent",
                 "proxy_up"):  # fmt: skip
        assert MOST <= len(samples(given, f"capi_sidecar_{name}")) <= MOST + 1, name
    others = '{integration="(others)",state="ready"}'
    assert f"capi_sidecar_queue_deliveries{others} 20.0" in samples(given, "capi_sidecar_queue_deliveries")
    assert (
        f"capi_sidecar_queue_oldest_age_seconds{others} {MOST + 9:.1f}"
        in samples(given, "capi_sidecar_queue_oldest_age_seconds")
    )  # fmt: skip


@pytest.mark.parametrize("name", ["", 'a"b', "a\\b", "a\nb", "☀", "\ud800", "{}=,"])
def test_any_name_can_be_written(name: str) -> None:
    [line] = samples(snapshot(integrations={name: "active"}), "capi_sidecar_integration_state")
    assert line.endswith(" 1.0")


def test_what_is_unknown_is_left_out() -> None:
    for name in ("queue_deliveries", "queue_counted_timestamp_seconds", "postbacks_pending", "admin_api_up", "geoip_up",
                 "store_disk_free_bytes", "store_size_bytes"):  # fmt: skip
        assert samples(snapshot(), f"capi_sidecar_{name}") == [], name
    known = snapshot(counted=Counted(5.0, {"waiting": 2}, ()), geoip="", disk=Disk({"database": 7}, 9))
    assert samples(known, "capi_sidecar_postbacks_pending") == [
        'capi_sidecar_postbacks_pending{state="undecided"} 0.0', 'capi_sidecar_postbacks_pending{state="waiting"} 2.0',
    ]  # fmt: skip
    assert samples(known, "capi_sidecar_geoip_up") == ["capi_sidecar_geoip_up 1.0"]


def test_an_integration_with_both_kinds_of_silence_is_one_series() -> None:
    rows = [{"integration": "Summer", "what": what, "last_at": 5.0 + silent, "silent": silent}
            for what, silent in (("events", True), ("postbacks", False))]  # fmt: skip
    given = snapshot(integrations={"Summer": "active"}, silence=rows)
    assert samples(given, "capi_sidecar_integration_silent") == [
        'capi_sidecar_integration_silent{integration="Summer"} 1.0'
    ]
    assert samples(given, "capi_sidecar_last_postback_timestamp_seconds") == [
        'capi_sidecar_last_postback_timestamp_seconds{integration="Summer"} 5.0'
    ]


def test_an_empty_reason_for_a_fault_is_nobodys() -> None:
    given = snapshot(integrations={"A": "active"}, attempts={("A", "accepted", ""): 1, ("B", "token", "token"): 2})
    assert samples(given, "capi_sidecar_attempts_total") == [
        'capi_sidecar_attempts_total{integration="A",verdict="accepted",whose="nobody"} 1.0',
        'capi_sidecar_attempts_total{integration="(others)",verdict="token",whose="token"} 2.0',
    ]
