"""Everything at once: postbacks that go on while the sidecar dies, hangs and starts again; and any bytes at all."""

import asyncio
import json
import random
import re
import signal
import sqlite3
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import requests

from sidecar.core.line import parse_line
from tests.acceptance.ours import Daemon, StandIn
from tests.acceptance.parts import Nginx, Process, eventually, free_address, installed, listens
from tests.acceptance.road import Road, yaml
from tests.examples import KEY, SUBID

Start = Callable[..., Any]

FORM = "application/x-www-form-urlencoded"

RATE = 200
#: Postbacks: 25 s of them, so that they come before, during and after the 20 s in which the sidecar hangs.
COUNT = 5000
HANGS = 20.0
#: Bytes of the bodies, in turn: most are small, some as large as the journal promises to carry.
SIZES = (1, 200, 2_000, 1, 500, 20_000, 1, 100, 1_000, 256 << 10)


def shape(number: int) -> tuple[str, str, str, bytes | None]:
    """Method, what stands behind the subid in the query, type and body of a postback, whose tid is its number."""
    size = SIZES[number // 3 % len(SIZES)]
    match number % 3:
        case 0:
            return "GET", f"&tid={number}&status=sale", "", None
        case 1:
            return "POST", f"&tid={number}", FORM, (b"status=sale&x=" + b"y" * size if size > 1 else b"x")
        case _:
            return "POST", "", "application/json", json.dumps({"tid": str(number), "x": "y" * size}).encode()


async def test_a_storm_loses_no_postback_and_doubles_none(start_road: Callable[[str], Road]) -> None:
    road = start_road(yaml())
    await asyncio.to_thread(road.click)
    steps = deque(_steps(road))
    waiting = []
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, force_close=True)) as client:
        begin = time.monotonic()
        for number in range(COUNT):
            await asyncio.sleep(max(0.0, begin + number / RATE - time.monotonic()))
            waiting.append(asyncio.create_task(_send(client, road.nginx.url, number)))
            if steps and time.monotonic() - begin >= steps[0][0]:
                waiting.append(asyncio.create_task(steps.popleft()[1]()))
        await asyncio.gather(*waiting)
    assert not steps
    expected = {f"{SUBID}_sale_{number}" for number in range(COUNT)}
    await eventually(lambda: len(road.standin.events()) >= COUNT, f"{COUNT} events at Meta", 120)
    events = road.standin.events()
    assert len(events) == COUNT
    assert {event["event_id"] for event in events} == expected
    # Each request is one row under one id, whichever way it came first; none was a repeat of another one.
    await eventually(lambda: _postbacks(road.daemon) == {("decided", "sent"): COUNT}, "each postback is one row")
    assert len(list(road.nginx.directory.glob("journal.ndjson.*"))) == 2


def _steps(road: Road) -> Iterator[tuple[float, Callable[[], Awaitable[object]]]]:
    """What happens after how many seconds."""

    async def killed() -> None:
        road.daemon.kill()
        await road.daemon.start_beside()

    async def hangs() -> None:
        road.daemon.signal(signal.SIGSTOP)
        await asyncio.sleep(HANGS)
        road.daemon.signal(signal.SIGCONT)

    async def restarted() -> None:
        await asyncio.to_thread(road.daemon.stop)
        await road.daemon.start_beside()

    yield 0.5, killed
    yield 2.5, hangs
    yield 5.0, lambda: asyncio.to_thread(road.nginx.rotate)
    yield 8.0, lambda: asyncio.to_thread(road.nginx.reload)
    yield 23.0, restarted
    yield 23.5, lambda: asyncio.to_thread(road.nginx.rotate)
    yield 24.0, lambda: asyncio.to_thread(road.nginx.reload)


async def _send(client: aiohttp.ClientSession, url: str, number: int) -> None:
    method, query, kind, body = shape(number)
    headers = {"Content-Type": kind} if kind else {}
    target = f"{url}/{KEY}/postback?subid={SUBID}{query}"
    async with client.request(method, target, data=body, headers=headers) as answer:
        assert answer.status == 200


def _postbacks(daemon: Daemon) -> dict[tuple[str, str], int]:
    return {(row["state"], row["reason"]): row["count"] for row in daemon.status()["postbacks"]}


class Anything(Process):
    """A tracker that takes whatever Nginx lets through: Nginx, which answers a click and a postback alike."""

    def __init__(self, directory: Path):
        directory.mkdir()
        self.address = free_address()
        conf = directory / "nginx.conf"
        conf.write_text(f"""
daemon off; pid {directory}/nginx.pid; error_log {directory}/error.log; worker_processes 1;
events {{ }}
http {{
    access_log off; client_body_temp_path {directory}; keepalive_requests 100000;
    server {{ listen {self.address}; add_header Set-Cookie _subid=$arg__test_subid; return 302 https://o.example/; }}
}}""")
        super().__init__("anything", [installed("nginx", "nginx"), "-p", str(directory), "-c", str(conf)], directory)

    def ready(self) -> bool:
        return listens(self.address)


@dataclass(frozen=True)
class Fuzzed:
    """One request as it goes over the wire; its number stands in the target."""

    number: int
    target: bytes
    body: bytes
    wire: bytes


FUZZED = 10_000

#: Bytes that end a word of the request line, a header's value, or the request line itself.
_WORD, _VALUE, _LINE = bytes(range(0x21)) + b"\x7f", b"\0\r\n", b"\n"

_HEADERS = (b"User-Agent", b"Referer", b"Cookie", b"Content-Type", b"X-Forwarded-For", b"X-Noise")


def fuzz(number: int, chance: random.Random) -> Fuzzed:
    """Any bytes in target, headers and body; in one of ten targets even those that end a word."""

    def noise(forbidden: bytes, longest: int = 60) -> bytes:
        return bytes(byte for byte in chance.randbytes(chance.randrange(longest)) if byte not in forbidden)

    path = chance.choice((KEY.encode() + b"/postback", b"AbCd12", b"k" + noise(_WORD + b"?/#") + b"/postback"))
    # Nginx takes spaces behind the target for those before the version.
    target = b"/%b?n=%d&q=%b" % (path, number, noise(_LINE if chance.random() < 0.1 else _WORD).rstrip(b" "))
    body = noise(b"", 2_000) if chance.random() < 0.5 else b""
    lines = [b"%b %b HTTP/1.1" % (b"POST" if body else b"GET", target), b"Host: x"]
    lines += [name + b": " + noise(_VALUE) for name in _HEADERS]
    if body and chance.random() < 0.3:
        lines.append(b"Transfer-Encoding: chunked")
        sent = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    else:
        lines += [b"Content-Length: %d" % len(body)] * bool(body)
        sent = body
    return Fuzzed(number, target, body, b"\r\n".join(lines) + b"\r\n\r\n" + sent)


async def test_fuzzed_requests_stand_byte_for_byte_in_the_journal_or_are_refused(
    tmp_path: Path, running: ExitStack, start_daemon: Start, standin: StandIn
) -> None:
    tracker, intake = running.enter_context(Anything(tmp_path / "anything")), free_address()
    daemon = start_daemon(yaml(), graph=standin.url, intake=intake)
    nginx = running.enter_context(Nginx(tmp_path, intake, tracker.address))
    workers = nginx.workers()
    chance = random.Random(20261125)
    sent = {number: fuzz(number, chance) for number in range(FUZZED)}
    left = deque(sent.values())
    statuses: dict[int, int] = {}
    async with asyncio.timeout(120):
        await asyncio.gather(*(_pipeline(nginx.address, left, statuses) for _ in range(8)))

    assert set(statuses) == set(sent), "every request was answered"
    assert set(statuses.values()) == {302, 400}, "taken, or refused as no request"
    taken = {number for number, status in statuses.items() if status == 302}
    assert len(taken) > FUZZED * 0.8
    assert nginx.workers() == workers, "no worker died"

    await eventually(lambda: len(taken) <= len(nginx.raw_lines()), "every line is written")
    lines = {_number(line["uri"]): line for line in map(parse_line, nginx.raw_lines()) if _number(line["uri"]) in taken}
    assert set(lines) == taken
    for number, line in lines.items():
        assert _bytes(line["uri"]) == sent[number].target
        assert _bytes(line.get("body", "")) == (b"" if sent[number].body == b"-" else sent[number].body)

    with_key = {number for number in taken if sent[number].target.startswith(b"/2a76c2a/postback?")}
    await eventually(lambda: _stored(daemon).keys() == with_key, "each postback with the right key is stored", 60)
    assert all(uri == sent[number].target for number, uri in _stored(daemon).items())
    assert [name for name in daemon.status()["journals"][0] if name.startswith("bad")] == []
    assert _postbacks(daemon) == {("decided", "no_subid"): len(with_key)}

    # Neither end is stuck.
    road = Road(nginx, daemon, standin)
    await asyncio.to_thread(road.click, "afterwards")
    target = f"{nginx.url}/{KEY}/postback?subid=afterwards"
    await asyncio.to_thread(requests.get, target, allow_redirects=False, timeout=30)
    await eventually(lambda: [event["event_id"] for event in standin.events()] == ["afterwards_sale"], "an event")


async def _pipeline(address: str, left: deque[Fuzzed], statuses: dict[int, int]) -> None:
    """Sends what is left, some at once on a connection; what has no answer when that closes was not read: once more."""
    host, _, port = address.partition(":")
    while left:
        batch = [left.popleft() for _ in range(min(20, len(left)))]
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"".join(each.wire for each in batch))
        try:
            for each in list(batch):
                head = await reader.readuntil(b"\r\n\r\n")
                statuses[each.number] = int(head.split()[1])
                batch.remove(each)
                await reader.readexactly(int(re.search(rb"Content-Length: (\d+)", head)[1]))  # type: ignore[index]
        except (asyncio.IncompleteReadError, ConnectionResetError):
            left.extend(batch)
        finally:
            writer.close()


def _stored(daemon: Daemon) -> dict[int, bytes]:
    """The URI of each postback in the store, by its number."""
    with sqlite3.connect(f"file:{daemon.state}/store.sqlite3?mode=ro", uri=True) as store:
        uris = [bytes(uri) for (uri,) in store.execute("SELECT uri FROM postback")]
    return {_number(uri.decode("latin-1")): uri for uri in uris}


def _number(uri: str) -> int:
    found = re.search(r"\?n=(\d+)&", uri)
    return int(found[1]) if found else -1


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
