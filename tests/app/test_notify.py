"""What systemd hears; its socket is a real one."""

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sidecar.app.notify import Notify, status_line
from tests.acceptance.parts import free_address
from tests.examples import configuration

PID = 42


class Systemd:
    """The socket to which $NOTIFY_SOCKET leads."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(f"\0{name[1:]}" if name.startswith("@") else name)

    def heard(self, patience: float = 30.0) -> str:
        self._socket.settimeout(patience)
        return self._socket.recv(4096).decode()

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def systemd(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Systemd]:
    systemd = Systemd(str(tmp_path / "notify") if request.param == "path" else f"@capi-test-{os.getpid()}")
    yield systemd
    systemd.close()


def status(**more: Any) -> dict[str, Any]:
    """The JSON of `status`, as far as a line is made of it."""
    well = {"mode": "live", "integrations": [], "deliveries": {}, "lanes": [], "problems": [],
            "configuration": {"error": ""}}  # fmt: skip
    return well | more


def test_it_says_that_it_is_ready_and_that_it_stops(systemd: Systemd) -> None:
    environment = {"NOTIFY_SOCKET": systemd.name, "HOME": "/"}
    notify = Notify(environment, PID)
    notify.ready()
    notify.stopping()
    assert systemd.heard() == "READY=1"
    assert systemd.heard() == "STOPPING=1\nSTATUS=stopping"
    assert environment == {"HOME": "/"}


async def test_a_loop_that_turns_beats_twice_in_the_time_allowed(systemd: Systemd) -> None:
    notify = Notify({"NOTIFY_SOCKET": systemd.name, "WATCHDOG_USEC": "100000", "WATCHDOG_PID": str(PID)}, PID)
    beating = asyncio.create_task(notify.beat())
    began = time.monotonic()
    for _ in range(4):
        assert await asyncio.to_thread(systemd.heard) == "WATCHDOG=1"
    beating.cancel()
    assert time.monotonic() - began >= 0.14


async def test_a_loop_that_hangs_is_silent(systemd: Systemd) -> None:
    notify = Notify({"NOTIFY_SOCKET": systemd.name, "WATCHDOG_USEC": "100000"}, PID)
    beating = asyncio.create_task(notify.beat())
    await asyncio.sleep(0)
    assert systemd.heard() == "WATCHDOG=1"
    with pytest.raises(TimeoutError):  # the wait itself holds up the loop
        systemd.heard(0.3)
    beating.cancel()


@pytest.mark.parametrize("watch", [{}, {"WATCHDOG_USEC": "1000", "WATCHDOG_PID": "1"}, {"WATCHDOG_USEC": "x"}])
async def test_who_is_not_watched_does_not_beat(tmp_path: Path, watch: dict[str, str]) -> None:
    await Notify({"NOTIFY_SOCKET": str(tmp_path / "s"), **watch}, PID).beat()


async def test_nobody_listens_and_nothing_happens(tmp_path: Path) -> None:
    for environment in ({}, {"NOTIFY_SOCKET": str(tmp_path / "nobody")}):
        notify = Notify(environment, PID)
        notify.ready()
        notify.stopping()
    await Notify({}, PID).tell(lambda: pytest.fail("asked for nobody"))


async def test_a_status_that_cannot_be_had_ends_nothing(systemd: Systemd) -> None:
    async def fails() -> dict[str, Any]:
        raise RuntimeError("the disk")

    telling = asyncio.create_task(Notify({"NOTIFY_SOCKET": systemd.name}, PID).tell(fails))
    assert await asyncio.to_thread(systemd.heard) == "STATUS=how it is cannot be told: RuntimeError"
    assert not telling.done()
    telling.cancel()


LANE = {"state": "parked", "why": "token"}


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (status(), "0 integrations, 0 events waiting"),
        (
            status(integrations=[{"name": "A", "status": "active"}] * 3, deliveries={"queued": 1, "leased": 1},
                   lanes=[LANE, {"state": "active", "why": ""}]),
            "3 integrations, 2 events waiting; 1 lane parked: token",
        ),
        (
            status(mode="sandbox", integrations=[{"name": "A", "status": "error: no token"}], deliveries={"queued": 1},
                   lanes=[LANE, LANE]),
            "sandbox; 1 integration, 1 event waiting; in error: A; 2 lanes parked: token",
        ),
        (
            status(configuration={"error": "integrations.yaml:1:1: no"}, problems=["store: full"]),
            "0 integrations, 0 events waiting; configuration refused, the last good one runs: capi-sidecar check; "
            "store: full",
        ),
        (status(problems=["a\nREADY=1"]), "0 integrations, 0 events waiting; a READY=1"),
    ],
)  # fmt: skip
def test_the_status_is_a_line(given: dict[str, Any], line: str) -> None:
    assert status_line(given) == line


def test_a_long_status_is_cut() -> None:
    assert len(status_line(status(problems=["x" * 500]))) == 200


def test_the_daemon_is_ready_when_it_serves_and_says_how_it_is(tmp_path: Path) -> None:
    systemd = Systemd(str(tmp_path / "notify"))
    configuration(tmp_path / "config")
    options = ["--config", tmp_path / "config", "--state", tmp_path / "state", "--journal", "",
               "--admin", free_address(), "--intake", (intake := free_address())]  # fmt: skip
    daemon = subprocess.Popen(
        [sys.executable, "-m", "sidecar", "run", "--sandbox", *map(str, options)],
        env={**os.environ, "NOTIFY_SOCKET": systemd.name, "WATCHDOG_USEC": "60000000"},
        stderr=subprocess.DEVNULL,
    )
    try:
        assert systemd.heard() == "READY=1"
        host, port = intake.split(":")
        socket.create_connection((host, int(port))).close()
        heard = {systemd.heard(), systemd.heard()}
        assert heard == {"WATCHDOG=1", "STATUS=sandbox; 1 integration, 0 events waiting"}
        daemon.terminate()
        assert systemd.heard().startswith("STOPPING=1")
        assert daemon.wait(30) == 0
    finally:
        daemon.kill()
        daemon.wait()
        systemd.close()
