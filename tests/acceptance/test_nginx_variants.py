"""What `init nginx` writes, on a real Nginx before each kind of tracker: click, postback, event."""

import asyncio
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.acceptance.nginx_variants import KINDS, start_variant
from tests.acceptance.ours import Daemon, StandIn
from tests.acceptance.parts import ROOT, SHIPPED, Nginx, free_address, installed, wait_until
from tests.acceptance.road import Road, yaml
from tests.examples import KEY, SUBID, TARGET

Start = Callable[..., Any]

FORM = "application/x-www-form-urlencoded"


@pytest.fixture(params=list(KINDS))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def road(kind: str, tmp_path: Path, running: ExitStack, start_daemon: Start, standin: StandIn) -> Road:
    intake = free_address()
    daemon = start_daemon(yaml(), graph=standin.url, intake=intake)
    return Road(start_variant(kind, tmp_path, intake, running), daemon, standin)


def test_a_click_and_a_postback_become_one_event_by_journal_and_mirror(road: Road) -> None:
    road.click()
    road.postback()
    [event] = road.wait_for_events(1)
    assert event["event_id"] == f"{SUBID}_sale"
    wait_until(lambda: counted(road) == (1, 1), "mirror and journal have brought it")
    assert Counter(line["event"] for line in road.nginx.lines()) == {"click": 1, "postback": 1}
    own = road.nginx.access_log.read_text()
    assert ["/AbCd12?" in own, "/postback?" in own] == [True, True]
    tested = subprocess.run([*road.nginx.command, "-t", "-q"], capture_output=True, text=True, check=False)
    assert (tested.returncode, tested.stderr) == (0, "")


def test_the_pages_commands_lead_to_an_event_in_sandbox(kind: str, tmp_path: Path, running: ExitStack) -> None:
    page = (ROOT / "docs/nginx.md").read_text()
    commands = re.search(r"^    TRACKER=.*?(?=^\S)", page, re.MULTILINE | re.DOTALL)
    assert commands is not None
    intake, journal = free_address(), tmp_path / "journal.ndjson"
    daemon = running.enter_context(Daemon(tmp_path, yaml(), journal=journal, graph=None, intake=intake))
    nginx = start_variant(kind, tmp_path, intake, running)
    known = {"CAPI_SIDECAR_CONFIG": str(daemon.config), "CAPI_SIDECAR_STATE": str(daemon.state)}
    known |= {"CAPI_SIDECAR_ADMIN": daemon.admin, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    script = commands[0].replace("http://tracker.example.com", nginx.url)
    done = subprocess.run(["sh", "-ec", script], env=known, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "accepted: sent" in done.stdout and "Purchase" in done.stdout


BODIES = {
    "of one byte": (FORM, b"x"),
    "as a form": (FORM, b"payout=2.61&fn=%D0%90&ln=O%27Hara"),
    "as JSON": ("application/json", b'{"payout": 2.610, "fn": "\\"A\\" \\\\ B"}'),
    "of every byte": (FORM, b"x=" + bytes(range(256))),
    "of 256 KB": (FORM, b"x=" + b"y" * ((256 << 10) - 2)),
    "as JSON of 256 KB": ("application/json", json.dumps({"x": "y" * ((256 << 10) - 9)}).encode()),
}


def test_a_body_of_any_size_is_whole_in_journal_and_mirror(road: Road) -> None:
    road.click()
    for tid, (kind, body) in enumerate(BODIES.values()):
        for name, data in {f"{tid}": body, f"{tid}c": iter([body[:7], body[7:]])}.items():
            url = f"{road.nginx.url}/{KEY}/postback?subid={SUBID}&tid={name}"
            answer = requests.post(url, data=data, headers={"Content-Type": kind}, timeout=30)
            assert answer.status_code == 200
    count = len(BODIES) * 2
    road.wait_for_events(count)
    wait_until(lambda: counted(road) == (count, count), "mirror and journal have brought all")
    # The store compares the second copy of an id with the first one.
    assert not road.daemon.status()["journals"][0].get("conflicting")
    sent = {f"{tid}{mark}": body for tid, (_, body) in enumerate(BODIES.values()) for mark in ("", "c")}
    lines = {line["uri"].partition("tid=")[2]: line for line in road.nginx.lines("postback")}
    assert {tid: line["body"].encode("utf-8", "surrogateescape") for tid, line in lines.items()} == sent


def test_clients_that_hang_up_and_old_ones_are_heard(road: Road) -> None:
    road.click()
    count = 40
    for number in range(count):
        host, _, port = road.nginx.address.partition(":")
        with socket.create_connection((host, int(port))) as client:
            head = (f"GET {TARGET}&tid=gone{number} HTTP/1.1\r\nHost: x\r\n\r\n",
                    f"POST {TARGET}&tid=gone{number} HTTP/1.0\r\nContent-Length: 1\r\n\r\nx")[number % 2]  # fmt: skip
            client.sendall(head.encode())
    for number in range(10):
        assert read_all(road.nginx.address, f"GET {TARGET}&tid=old{number} HTTP/1.0\r\n\r\n").startswith(
            b"HTTP/1.1 200"
        )
    wait_until(lambda: counted(road) == (count + 10, count + 10), "all have arrived, on both ways")
    events = road.wait_for_events(count + 10)
    assert len({event["event_id"] for event in events}) == count + 10


def test_a_sidecar_that_hangs_costs_no_answer(kind: str, tmp_path: Path, running: ExitStack) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        host, port = deaf.getsockname()
        nginx = start_variant(kind, tmp_path, f"{host}:{port}", running)
        began = time.monotonic()
        answers = asyncio.run(_visit(nginx, 200))
        assert Counter(answers) == {200: 200}
        assert time.monotonic() - began < 20
    wait_until(lambda: len(nginx.lines("postback")) == 200, "all lines are written")


def test_php_runs_its_index_and_is_told_the_postbacks_own_address(tmp_path: Path, running: ExitStack) -> None:
    nginx = start_variant("php-fpm", tmp_path, free_address(), running)
    answer = requests.post(f"{nginx.url}{TARGET}", data={"subid": "fromthebody"}, timeout=30)
    assert answer.json() == {"script": "/index.php", "uri": TARGET, "subid": "fromthebody", "bytes": 17}


def test_keitaros_hook_has_every_line_of_the_postback_location_that_keitaro_has_not() -> None:
    def said(name: str) -> set[str]:
        lines = (line.partition(" #")[0].strip() for line in (SHIPPED / name).read_text().splitlines())
        return {" ".join(line.split()) for line in lines if line and not line.startswith("#")}

    brought = {"proxy_ignore_client_abort on;", "fastcgi_ignore_client_abort on;"}
    journal = said("capi-sidecar.location.conf")
    assert said("capi-sidecar.postback.conf") - brought - journal <= said("keitaro/server.inc")


def test_logrotate_loses_nothing_under_traffic(
    tmp_path: Path, running: ExitStack, start_daemon: Start, standin: StandIn
) -> None:
    intake = free_address()
    daemon = start_daemon(yaml(), graph=standin.url, intake=intake)
    road = Road(start_variant("proxy", tmp_path, free_address(), running), daemon, standin)  # only the journal brings
    conf = tmp_path / "capi-sidecar/logrotate"
    # The group is made by the package; Nginx's master is the test's own.
    conf.write_text(
        conf.read_text().replace("capi-sidecar\n", "adm\n").replace("/run/nginx.pid", f"{tmp_path}/nginx.pid")
    )
    command = [installed("logrotate", "logrotate"), "--force", "--state", str(tmp_path / "rotated"), str(conf)]
    road.click()
    count, done = 1200, []

    def send(first: int) -> None:
        for number in range(first, count, 4):
            with requests.get(f"{road.nginx.url}/{KEY}/postback?subid={SUBID}&tid={number}", timeout=30) as answer:
                done.append(answer.status_code)

    threads = [threading.Thread(target=send, args=(first,)) for first in range(4)]
    for thread in threads:
        thread.start()
    for turn in range(1, 4):
        wait_until(lambda turn=turn: len(done) >= turn * count // 4, "a part is sent", 120)
        rotated = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (rotated.returncode, rotated.stderr) == (0, "")
    for thread in threads:
        thread.join()
    assert Counter(done) == {200: count}
    wait_until(lambda: len(road.nginx.lines("postback")) == count, "every line is in one of the files")
    assert len(list(tmp_path.glob("journal.ndjson.*"))) == 3
    assert road.nginx.journal.stat().st_mode & 0o777 == 0o640
    events = road.wait_for_events(count)
    assert sorted(event["event_id"] for event in events) == sorted(f"{SUBID}_sale_{number}" for number in range(count))


def counted(road: Road) -> tuple[int, int]:
    """Postbacks that the mirror has brought, and those of the journal."""
    status = road.daemon.status()
    return status["intake"].get("stored", 0), status["journals"][0].get("postbacks", 0)


def read_all(address: str, request: str) -> bytes:
    host, _, port = address.partition(":")
    with socket.create_connection((host, int(port)), timeout=30) as client:
        client.sendall(request.encode())
        return b"".join(iter(lambda: client.recv(65536), b""))


async def _visit(nginx: Nginx, count: int) -> list[int]:
    def visit(first: int) -> list[int]:
        with requests.Session() as client:
            urls = (f"{nginx.url}/{KEY}/postback?n={number}" for number in range(first, count, 10))
            return [client.get(url, timeout=30).status_code for url in urls]

    found = await asyncio.gather(*(asyncio.to_thread(visit, first) for first in range(10)))
    return [status for each in found for status in each]
