"""The shipped nginx/*.conf on a real Nginx, read by the program's own parser."""

import asyncio
import contextlib
import random
import re
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import Self

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

from sidecar.core.configuration import Tracker
from sidecar.core.line import Line, read_click, read_postback
from tests.acceptance.parts import LIMIT, SHIPPED, Nginx, PartFailed, eventually, free_address, render

StartNginx = Callable[..., Nginx]

SUBID = "2c1ab34d56ef7"
FBCLID = "IwAR3kq9_Zx-81LmQwErTyUiOpAsDfGhJkLzXcVbNm"
FBP = "fb.1.1795600000000.1234567890"
FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True)
class Mirrored:
    id: str
    headers: frozenset[str]
    method: str
    target: str
    type: str
    body: bytes
    connection: int


class RecordingIntake:
    """Answers as the intake does, an empty 200, and keeps what it was sent; `hang()` makes it answer no more."""

    def __init__(self) -> None:
        self.address = free_address()
        self.received: list[Mirrored] = []
        self.status = 200
        self._connections: dict[object, int] = {}
        self._answers = asyncio.Event()
        self._answers.set()

    def hang(self) -> None:
        self._answers.clear()

    async def __aenter__(self) -> Self:
        server = web.Server(self._receive)
        self._runner = web.ServerRunner(server, shutdown_timeout=0.1)
        await self._runner.setup()
        host, _, port = self.address.rpartition(":")
        await web.TCPSite(self._runner, host, int(port)).start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._answers.set()
        await self._runner.cleanup()

    async def _receive(self, request: web.BaseRequest) -> web.Response:
        connection = self._connections.setdefault(request.transport, len(self._connections))
        body = await request.read()
        self.received.append(
            Mirrored(
                id=request.headers.get("X-Request-Id", ""),
                headers=frozenset(map(str.lower, request.headers)) - {"content-type", "content-length"},
                method=request.method,
                target=request.raw_path,
                type=request.headers.get("Content-Type", ""),
                body=body,
                connection=connection,
            )
        )
        await self._answers.wait()
        return web.Response(status=self.status, body=b"")


@pytest.fixture
async def intake() -> AsyncIterator[RecordingIntake]:
    async with RecordingIntake() as server:
        yield server


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
        yield session


@pytest.fixture
def nginx(start_nginx: StartNginx, intake: RecordingIntake) -> Nginx:
    return start_nginx(intake.address)


async def test_a_click_is_logged_once_with_all_that_its_event_needs(
    nginx: Nginx, client: aiohttp.ClientSession
) -> None:
    url = f"{nginx.url}/AbCd12?fbclid=%7Bfbclid%7D&sub1=%D1%82&fbclid={FBCLID}"
    headers = {
        "Host": "shop.example.com",
        "User-Agent": 'Mozilla/5.0 "quoted" \\ agent',
        "Referer": "https://l.facebook.com/",
        "Cookie": f"_subid=oldoldoldold1; _fbp={FBP}; _fbc=fb.1.1.x",
    }
    async with client.get(URL(url, encoded=True), headers=headers, allow_redirects=False) as answer:
        assert answer.status == 302
        subid = answer.cookies["_subid"].value
    [line] = await lines(nginx, 1)
    assert (line["event"], line["status"], line["method"], line["scheme"]) == ("click", "302", "GET", "http")
    click = read_click(line, Tracker())
    assert click is not None
    assert (click.subid, click.campaign, click.fbp, click.fbc) == (subid, ("AbCd12",), FBP, "fb.1.1.x")
    assert click.parameters == {"fbclid": ("{fbclid}", FBCLID), "sub1": ("т",)}
    assert (click.ip, click.user_agent, click.referrer) == (
        "127.0.0.1",
        headers["User-Agent"],
        "https://l.facebook.com/",
    )
    assert click.url == "http://shop.example.com/AbCd12"


async def test_a_page_that_sets_the_cookie_is_a_click(nginx: Nginx, client: aiohttp.ClientSession) -> None:
    await get(client, f"{nginx.url}/landing?_test_subid={SUBID}")
    [line] = await lines(nginx, 1)
    assert (line["event"], line["subid"], line["status"]) == ("click", SUBID, "200")


async def test_a_redirect_without_the_cookie_is_a_click_by_its_address(
    nginx: Nginx, client: aiohttp.ClientSession
) -> None:
    await get(client, f"{nginx.url}/nocookie?fbclid={FBCLID}&_test_subid={SUBID}")
    [line] = await lines(nginx, 1)
    assert "subid" not in line
    assert read_click(line, Tracker()) is None
    click = read_click(line, Tracker(subid_from=("cookie", "location:sub")))
    assert click is not None and click.subid == SUBID


async def test_parameters_that_a_landing_page_adds_are_logged(nginx: Nginx, client: aiohttp.ClientSession) -> None:
    await get(client, f"{nginx.url}/?_update_tokens=1&sub_id={SUBID}&sub_id_10={FBP}")
    [line] = await lines(nginx, 1)
    click = read_click(line, Tracker())
    assert click is not None
    assert (click.subid, click.parameters) == (SUBID, {"sub_id_10": (FBP,)})


async def test_a_cdns_headers_are_logged_and_count_only_from_the_cdn(
    nginx: Nginx, client: aiohttp.ClientSession
) -> None:
    await get(client, f"{nginx.url}/AbCd12", {"CF-Connecting-IP": "203.0.113.9", "CF-IPCountry": "CA"})
    [line] = await lines(nginx, 1)
    direct, behind = read_click(line, Tracker()), read_click(line, Tracker(cdn=(ip_network("127.0.0.0/8"),)))
    assert direct is not None and (direct.ip, direct.country) == ("127.0.0.1", "")
    assert behind is not None and (behind.ip, behind.country) == ("203.0.113.9", "CA")


async def test_what_is_neither_click_nor_postback_is_only_in_the_sites_own_log(
    nginx: Nginx, client: aiohttp.ClientSession
) -> None:
    await get(client, f"{nginx.url}/robots.txt")
    await get(client, f"{nginx.url}/AbCd12")
    await get(client, f"{nginx.url}/2a76c2a/postback?subid={SUBID}")
    await lines(nginx, 2)
    own = nginx.access_log.read_text()
    assert ["/robots.txt" in own, "/AbCd12" in own, "/postback" in own] == [True] * 3
    assert Counter(line["event"] for line in nginx.lines()) == {"click": 1, "postback": 1}


POSTBACKS = {
    "in the query": ("GET", "?subid=a1b2c3d4e5&status=sale&payout=10", "", b""),
    "with a slash at the end": ("GET", "/?subid=a1b2c3d4e5", "", b""),
    "as a form": ("POST", "?status=lead", FORM, b"subid=a1b2c3d4e5&fn=%D0%90&ln=O%27Hara"),
    "as JSON": ("POST", "", "application/json", b'{"subid": "a1b2c3d4e5", "payout": 2.610, "fn": "\\"A\\" \\\\ B"}'),
    "with bytes that are no UTF-8": ("POST", "", FORM, b"subid=a1b2c3d4e5&fn=\xff\xfe\xc3(\x80&x=\x00\x01\x7f\r\n\t"),
    "with everything": ("POST", "", FORM, b"subid=a1b2c3d4e5&x=" + bytes(range(256))),
    "with a large body": ("POST", "", FORM, b"subid=a1b2c3d4e5&x=" + b"y" * 250_000),
    "by PUT": ("PUT", "?subid=a1b2c3d4e5", FORM, b"status=sale"),
}


@pytest.mark.parametrize(("method", "rest", "kind", "body"), POSTBACKS.values(), ids=POSTBACKS.keys())
async def test_journal_and_mirror_tell_the_same_of_a_postback(
    nginx: Nginx,
    intake: RecordingIntake,
    client: aiohttp.ClientSession,
    method: str,
    rest: str,
    kind: str,
    body: bytes,
) -> None:
    target = f"/2a76c2a/postback{rest}"
    headers = {"X-Request-Id": "f" * 32} | ({"Content-Type": kind} if kind else {})
    async with client.request(method, f"{nginx.url}{target}", data=body or None, headers=headers) as answer:
        assert (answer.status, await answer.text()) == (200, "Success")
    [line] = await lines(nginx, 1)
    await eventually(lambda: intake.received, "the mirror has fired")
    [copy] = intake.received
    read = read_postback(line)
    assert line["event"] == "postback"
    assert (read.id, read.method, read.uri, read.body) == (copy.id, copy.method, copy.target, copy.body)
    assert (read.method, read.uri, read.body) == (method, target, body)
    assert read.key == "2a76c2a"
    assert read.parameters["subid"] == ("a1b2c3d4e5",)
    assert kind in (read.type, "") and kind in (copy.type, "")
    assert read.id != "f" * 32, "a client's own X-Request-Id counts for nothing"
    assert copy.headers == {"host", "x-real-ip", "x-request-id"}, "nothing else of the client's reaches the intake"


async def test_a_body_too_large_for_memory_is_only_in_the_copy(
    nginx: Nginx, intake: RecordingIntake, client: aiohttp.ClientSession
) -> None:
    body = b"subid=a1b2c3d4e5&x=" + b"y" * 900_000
    async with client.post(f"{nginx.url}/k/postback", data=body, headers={"Content-Type": FORM}) as answer:
        assert answer.status == 200
    [line] = await lines(nginx, 1)
    await eventually(lambda: intake.received, "the mirror has fired")
    assert "body" not in line
    assert intake.received[0].body == body


async def test_any_bytes_give_a_line_that_can_be_read(tmp_path: Path, intake: RecordingIntake) -> None:
    chance = random.Random(20261125)

    def noise(forbidden: bytes) -> bytes:
        return bytes(byte for byte in chance.randbytes(chance.randrange(1, 80)) if byte not in forbidden)

    no_uri, no_header = bytes(range(0x21)) + b"\x7f#", b"\r\n\0"
    head = b"POST /%b?n=%d&q=%b HTTP/1.1\r\nHost: x\r\nUser-Agent: %b\r\nReferer: %b\r\nCookie: _fbp=%b\r\n"
    answer = b"HTTP/1.0 302 Found\r\nSet-Cookie: _subid=%b\r\nLocation: https://x/?q=%b\r\n\r\n"
    async with answering(lambda: answer % (SUBID.encode(), noise(no_header))) as tracker:
        with Nginx(tmp_path, intake.address, tracker) as nginx:
            for number in range(300):
                body, path = noise(b""), (b"k/postback", b"AbCd12")[number % 2]
                request = head % (path, number, noise(no_uri), *(noise(no_header + b";") for _ in range(3)))
                request += b"Content-Type: %b\r\nContent-Length: %d\r\n\r\n%b" % (FORM.encode(), len(body), body)
                assert await status(nginx.address, request) == 302
            found = await lines(nginx, 300)
    assert Counter(line["event"] for line in found) == {"click": 150, "postback": 150}
    assert {read_postback(line).parameters["n"] for line in found} == {(str(number),) for number in range(300)}
    assert all(read_click(line, Tracker()) for line in found if line["event"] == "click")


async def test_rotation_and_reload_lose_no_line(nginx: Nginx, client: aiohttp.ClientSession) -> None:
    total = 600

    async def send(numbers: range) -> None:
        for number in numbers:
            await get(client, f"{nginx.url}/k/postback?n={number}")
            await get(client, f"{nginx.url}/AbCd12?n={number}")

    sending = [asyncio.create_task(send(range(start, total, 6))) for start in range(6)]
    for turn, step in enumerate((nginx.rotate, nginx.reload, nginx.rotate, nginx.rotate), 1):
        await journal_has(nginx, total * 2 * turn // 6)
        await asyncio.to_thread(step)
    await asyncio.gather(*sending)
    found = await lines(nginx, total * 2)
    assert Counter(line["uri"].partition("?")[2] for line in found) == {f"n={number}": 2 for number in range(total)}
    assert len(list(nginx.directory.glob("journal.ndjson.*"))) == 3


async def test_a_killed_worker_takes_no_answered_request_with_it(
    nginx: Nginx, intake: RecordingIntake, client: aiohttp.ClientSession
) -> None:
    """The line is written when the copy is done: of a worker that dies between the two the copy has arrived."""
    answered = set()
    for number in range(150):
        if number in (50, 100):
            await asyncio.to_thread(nginx.kill_worker)
        try:
            await get(client, f"{nginx.url}/k/postback?n={number}")
            answered.add(f"n={number}")
        except aiohttp.ClientError:
            continue
    assert len(answered) >= 140

    def arrived() -> set[str]:
        targets = [line["uri"] for line in nginx.lines()] + [copy.target for copy in intake.received]
        return {target.partition("?")[2] for target in targets}

    await eventually(lambda: answered <= arrived(), "all have arrived, by journal or mirror")


async def test_the_connection_to_the_intake_is_used_again(
    start_nginx: StartNginx, intake: RecordingIntake, client: aiohttp.ClientSession
) -> None:
    nginx = start_nginx(intake.address, workers=1)
    for number in range(60):
        await get(client, f"{nginx.url}/k/postback?n={number}")
    await eventually(lambda: len(intake.received) == 60, "60 copies")
    assert len({copy.connection for copy in intake.received}) <= 6


async def test_a_dead_intake_hurts_no_client(start_nginx: StartNginx) -> None:
    nginx = start_nginx(free_address())
    await everybody_is_answered(nginx)


async def test_a_hanging_intake_hurts_no_client_and_is_soon_left_alone(nginx: Nginx, intake: RecordingIntake) -> None:
    intake.hang()
    await everybody_is_answered(nginx)
    assert 0 < len(intake.received) < 100, "the circuit breaker was to keep most copies away"


async def test_a_recovered_intake_is_sent_copies_again(start_nginx: StartNginx, client: aiohttp.ClientSession) -> None:
    intake = RecordingIntake()
    nginx = start_nginx(intake.address)
    await get(client, f"{nginx.url}/k/postback?n=before")
    async with intake:

        async def copied() -> None:
            while not intake.received:
                await get(client, f"{nginx.url}/k/postback?n=after")
                await asyncio.sleep(0.1)

        await asyncio.wait_for(copied(), 60)
    assert intake.received[0].target == "/k/postback?n=after"


#: What a site may have at server level, and the mirror must not inherit.
PAGES = "error_page 404 502 503 504 /offline; proxy_intercept_errors on; client_max_body_size 1k;"


@pytest.mark.parametrize("alive", [True, False], ids=["an intake that answers 503", "a dead intake"])
async def test_a_failing_mirror_never_asks_the_tracker_for_an_error_page(
    tmp_path: Path, intake: RecordingIntake, client: aiohttp.ClientSession, alive: bool
) -> None:
    intake.status = 503
    async with RecordingIntake() as tracker:
        with Nginx(tmp_path, intake.address if alive else free_address(), tracker.address, server=PAGES) as nginx:
            for number in range(5):
                await get(client, f"{nginx.url}/k/postback?n={number}")
            await lines(nginx, 5)
        assert [request.target for request in tracker.received] == [f"/k/postback?n={number}" for number in range(5)]
    assert len(intake.received) == (5 if alive else 0)


async def test_a_servers_own_body_limit_does_not_keep_the_copy_away(
    start_nginx: StartNginx, intake: RecordingIntake, client: aiohttp.ClientSession
) -> None:
    nginx = start_nginx(intake.address, server=PAGES)
    async with client.post(f"{nginx.url}/k/postback", data=b"x" * 5000) as answer:
        assert answer.status == 200
    await eventually(lambda: intake.received, "the mirror has fired")


async def test_the_mirror_cannot_be_called_from_outside(
    nginx: Nginx, intake: RecordingIntake, client: aiohttp.ClientSession
) -> None:
    async with client.get(f"{nginx.url}/capi-sidecar-mirror") as answer:
        assert answer.status == 404
    assert not intake.received


def test_nginx_finds_nothing_to_remark_in_the_shipped_files(nginx: Nginx) -> None:
    tested = subprocess.run([*nginx.command, "-t", "-q"], capture_output=True, text=True, check=False)
    assert (tested.returncode, tested.stderr) == (0, "")


def test_both_intake_lines_of_the_shipped_upstream_are_edited(nginx: Nginx, intake: RecordingIntake) -> None:
    rendered = (nginx.directory / "capi-sidecar" / "capi-sidecar.http.conf").read_text()
    assert rendered.count(f"server {intake.address} ") == 2
    assert "127.0.0.1:8190" not in rendered


def test_only_marked_lines_of_the_shipped_files_are_edited(tmp_path: Path) -> None:
    with pytest.raises(PartFailed, match="without the mark"):
        render(tmp_path, {"keepalive 16": "keepalive 1"})
    with pytest.raises(PartFailed, match="no line with"):
        render(tmp_path, {"server 127.0.0.1:9999": "server 127.0.0.1:1"})


def test_the_journal_path_is_the_same_in_every_shipped_file() -> None:
    words = [word for path in SHIPPED.glob("*.conf") for word in path.read_text().split() if "ndjson" in word]
    assert Counter(words) == {"/var/log/capi-sidecar/journal.ndjson": 2}


async def everybody_is_answered(nginx: Nginx) -> None:
    """300 postbacks and 300 clicks, some on connections that stay open, all answered by the tracker and logged."""

    async def visitor(name: int) -> list[int]:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=LIMIT)) as session:
            found = []
            for number in range(15):
                found.append(await get(session, f"{nginx.url}/k/postback?n={name}.{number}"))
                found.append(await get(session, f"{nginx.url}/AbCd12?n={name}.{number}"))
            return found

    answers = [answer for found in await asyncio.gather(*map(visitor, range(20))) for answer in found]
    assert Counter(answers) == {200: 300, 302: 300}
    found = await lines(nginx, 600)
    assert Counter(line["event"] for line in found) == {"click": 300, "postback": 300}
    assert len({line["uri"] for line in found}) == 600


async def lines(nginx: Nginx, count: int) -> list[Line]:
    """The journal's lines, when there are as many; never more."""
    await journal_has(nginx, count)
    found = nginx.lines()
    assert len(found) == count
    return found


async def journal_has(nginx: Nginx, count: int) -> None:
    await eventually(lambda: len(nginx.raw_lines()) >= count, f"{count} lines in the journal")


async def get(client: aiohttp.ClientSession, url: str, headers: dict[str, str] | None = None) -> int:
    async with client.get(url, headers=headers, allow_redirects=False) as answer:
        await answer.read()
        return answer.status


@contextlib.asynccontextmanager
async def answering(answer: Callable[[], bytes]) -> AsyncIterator[str]:
    """A server that takes any bytes and closes after its answer, at the address that it gives."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"\r\nContent-Length: (\d+)", head)
        await reader.readexactly(int(length[1]) if length else 0)
        writer.write(answer())
        await writer.drain()
        writer.close()

    host, _, port = (address := free_address()).rpartition(":")
    async with await asyncio.start_server(serve, host, int(port)):
        yield address


async def status(address: str, request: bytes) -> int:
    """What an answer's first line says; for requests that no client library would send."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(request)
        return int((await reader.readline()).split()[1])
    finally:
        writer.close()
