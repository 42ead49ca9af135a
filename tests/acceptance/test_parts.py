"""The harness itself: what other acceptance tests lean on."""

import asyncio
import shutil
import signal
import subprocess
import sys
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.acceptance.parts import (
    Nginx,
    PartFailed,
    Process,
    Squid,
    Tracker,
    eventually,
    free_address,
    installed,
    wait_until,
)


async def test_the_proxy_forwards_for_the_right_password_only(
    start_squid: Callable[..., Squid], tracker: Tracker
) -> None:
    squid = start_squid("someone", "p@ss:word")
    url = f"http://{tracker.address}/robots.txt?a=1"
    assert await through(squid.address, "someone:p@ss:word", url) == 200
    assert await through(squid.address, "someone:wrong", url) == 407
    assert await through(squid.address, "", url) == 407
    await eventually(lambda: len(squid.requests()) == 3, "three rows in the proxy's log")
    assert squid.requests()[0] == ("GET", url, 200, "someone")


async def test_the_proxy_connects_to_any_port(start_squid: Callable[..., Squid], tracker: Tracker) -> None:
    squid = start_squid()
    host, _, port = squid.address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"CONNECT {tracker.address} HTTP/1.1\r\n".encode())
    writer.write(f"Proxy-Authorization: {basic(squid.user + ':' + squid.password)}\r\n\r\n".encode())
    assert b" 200 " in await reader.readuntil(b"\r\n\r\n")
    writer.write(b"GET /robots.txt HTTP/1.0\r\n\r\n")
    assert b" 200 " in await reader.readline()
    writer.close()
    await eventually(lambda: squid.requests(), "the tunnel is in the proxy's log")
    assert squid.requests() == [("CONNECT", tracker.address, 200, squid.user)]


def test_a_part_that_ends_at_once_shows_its_log(tmp_path: Path) -> None:
    class Broken(Process):
        def ready(self) -> bool:
            return False

    with pytest.raises(PartFailed, match=r"(?s)broken ended with 3 before it was ready.*no such thing"):
        Broken("broken", ["sh", "-c", "echo no such thing; exit 3"], tmp_path).start()


def test_a_missing_part_says_what_to_install() -> None:
    with pytest.raises(PartFailed, match="no-such-part is not installed: apt-get install its-package"):
        installed("no-such-part", "its-package")


def test_no_part_outlives_a_killed_test_run(tmp_path: Path) -> None:
    program = f"""
import os, signal, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from pathlib import Path
from tests.acceptance.parts import *
here = Path({str(tmp_path)!r})
parts = [Tracker(here).start(), Nginx(here, free_address(), free_address()).start(), Squid(here).start()]
print(*(part.pid for part in parts), *parts[1].workers(), parts[2].home, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert run.returncode == -signal.SIGKILL, run.stderr
    *pids, home = run.stdout.split()
    assert len(pids) == 5
    wait_until(lambda: not any(map(alive, pids)), "every part has ended")
    shutil.rmtree(home)


def test_a_stopped_nginx_starts_again_at_its_address(tmp_path: Path) -> None:
    with Nginx(tmp_path, free_address(), free_address()) as nginx:
        first = nginx.pid
        assert nginx.stop() == 0
        assert not nginx.running
        nginx.start()
        assert nginx.ready() and nginx.pid != first


def alive(pid: str) -> bool:
    """Whether the process runs; one that only waits for its parent to look is not alive."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def through(proxy: str, credentials: str, url: str) -> int:
    """The status of a plain request through the proxy."""
    host, _, port = proxy.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    header = f"Proxy-Authorization: {basic(credentials)}\r\n" if credentials else ""
    writer.write(f"GET {url} HTTP/1.0\r\n{header}\r\n".encode())
    try:
        return int((await reader.readline()).split()[1])
    finally:
        writer.close()


def basic(credentials: str) -> str:
    return f"Basic {b64encode(credentials.encode()).decode()}"
