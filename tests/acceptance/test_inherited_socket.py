"""The intake on a socket that its parent holds, as systemd holds it: a restart refuses nobody."""

import os
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import requests

from sidecar.net import InheritedAddress, inherited
from tests.acceptance.ours import Daemon
from tests.acceptance.parts import Process, wait_until
from tests.acceptance.road import yaml
from tests.examples import FBCLID, KEY

#: Puts the socket where systemd puts it, and becomes the command. Source: sd_listen_fds(3).
HAND_OVER = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
os.execv(sys.argv[2], sys.argv[2:])
"""


def hand_over(process: Process, listener: socket.socket) -> None:
    """From its next start on the process inherits the socket."""
    process.descriptors = (listener.fileno(),)
    process.command = [sys.executable, "-c", HAND_OVER, str(listener.fileno()), *process.command]


@pytest.fixture
def listener(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        yield listener


@pytest.fixture
def daemon(tmp_path: Path, listener: socket.socket, running: ExitStack) -> Daemon:
    daemon = Daemon(tmp_path, yaml(), journal=tmp_path / "j", graph=None)
    daemon.intake = f"127.0.0.1:{listener.getsockname()[1]}"
    hand_over(daemon, listener)
    return running.enter_context(daemon)


def postback(daemon: Daemon, number: int) -> int:
    """Over a connection of its own; the HTTP status, 0 when there was no answer."""
    target = f"/{KEY}/postback?subid=subid{number:05d}&status=sale&campaign=AbCd12&fbclid={FBCLID}"
    try:
        return requests.get(f"http://{daemon.intake}{target}", timeout=60).status_code
    except requests.RequestException:
        return 0


class Caller:
    """Calls one postback after the other, until it is told that it is enough."""

    def __init__(self, daemon: Daemon, answers: list[int]) -> None:
        self._daemon, self._answers = daemon, answers
        self._enough = threading.Event()
        self._thread = threading.Thread(target=self._call)
        self._thread.start()

    def end(self) -> None:
        self._enough.set()
        self._thread.join()

    def _call(self) -> None:
        while not self._enough.is_set():
            self._answers.append(postback(self._daemon, len(self._answers)))


def test_a_restart_refuses_no_postback(daemon: Daemon) -> None:
    answers: list[int] = []
    caller = Caller(daemon, answers)
    for _ in range(5):
        before = len(answers)
        wait_until(lambda before=before: len(answers) > before + 20, "postbacks are answered")  # type: ignore[misc]
        daemon.restart()
    caller.end()
    assert set(answers) == {200}
    wait_until(lambda: daemon.status()["deliveries"].get("delivered") == len(answers), "all are delivered")


def test_who_calls_while_it_is_dead_waits_and_is_answered(daemon: Daemon) -> None:
    daemon.kill()
    answers: list[int] = []
    callers = [threading.Thread(target=lambda n=n: answers.append(postback(daemon, n))) for n in range(20)]
    for caller in callers:
        caller.start()
    daemon.start()
    for caller in callers:
        caller.join()
    assert answers == [200] * 20


def test_the_log_names_the_address_and_no_child_takes_the_socket(daemon: Daemon) -> None:
    assert f"intake.listening address={daemon.intake}" in daemon.log
    environment = Path(f"/proc/{daemon.pid}/environ").read_bytes()
    assert b"LISTEN_FDS=1" in environment  # as it was started
    assert "inherited" not in daemon.log


@pytest.mark.parametrize(
    ("environment", "found"),
    [
        ({"LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid())}, InheritedAddress(3)),
        ({"LISTEN_FDS": "1", "LISTEN_PID": "1"}, None),
        ({"LISTEN_FDS": "0", "LISTEN_PID": str(os.getpid())}, None),
        ({"LISTEN_FDS": "x", "LISTEN_PID": str(os.getpid())}, None),
        ({}, None),
    ],
)
def test_only_what_is_meant_for_this_process_is_taken(
    environment: dict[str, str], found: InheritedAddress | None
) -> None:
    assert inherited(environment, os.getpid()) == found
    assert environment == {}


def test_two_sockets_are_one_too_many() -> None:
    with pytest.raises(ValueError, match="one is needed"):
        inherited({"LISTEN_FDS": "2", "LISTEN_PID": "1"}, 1)
