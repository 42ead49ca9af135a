import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from sidecar.net import TcpAddress, UnixAddress, parse_address
from sidecar.sandbox.server import serve
from sidecar.sandbox.standin import StandIn

PIXEL = "1234567890123456"
AT = int(time.time())


def body(count: int = 1, **changes: Any) -> dict[str, Any]:
    events = [
        {
            "event_name": "Lead",
            "event_time": AT,
            "event_id": f"sub{number}_lead",
            "event_source_url": "https://shop.example/",
            "action_source": "website",
            "user_data": {"fbc": "fb.1.1794999000123.IwAR0", "client_user_agent": "Mozilla/5.0 " + "x" * 2000},
        }
        for number in range(count)
    ]
    return {"data": events, "access_token": "EAAtoken", **changes}


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    runner, address = await serve(StandIn(time.time), "127.0.0.1:0")
    async with aiohttp.ClientSession(f"http://{address}") as session:
        yield session
    await runner.cleanup()


async def post(client: aiohttp.ClientSession, payload: Any, path: str = f"/v26.0/{PIXEL}/events") -> Any:
    async with client.post(path, json=payload) as answer:
        return answer.status, await answer.json()


async def test_a_request_is_answered_as_meta_does(client: aiohttp.ClientSession) -> None:
    status, answer = await post(client, body())
    assert (status, answer["events_received"], answer["messages"]) == (200, 1, [])
    status, answer = await post(client, body(access_token=""))
    assert (status, answer["error"]["code"]) == (401, 190)


async def test_a_request_of_a_thousand_large_events_fits(client: aiohttp.ClientSession) -> None:
    status, answer = await post(client, body(1000))
    assert (status, answer["events_received"]) == (200, 1000)


async def test_events_are_listed_and_forgotten(client: aiohttp.ClientSession) -> None:
    await post(client, body(2))
    await post(client, body(1))
    async with client.get("/_events") as answer:
        listing = await answer.json()
    assert [listed["repeats"] for listed in listing["events"]] == [1, 0]
    assert (listing["requests"], listing["refused"]) == (2, 0)
    async with client.delete("/_events") as answer:
        assert answer.status == 200
    async with client.get("/_events") as answer:
        assert await answer.json() == {"events": [], "requests": 0, "refused": 0, "reads": 0}


async def test_it_fails_when_told(client: aiohttp.ClientSession) -> None:
    async with client.put("/_fail", json={"mode": "throttle", "seconds": 3, "count": 1}) as answer:
        assert answer.status == 200
    async with client.post(f"/v26.0/{PIXEL}/events", json=body()) as answer:
        assert (answer.status, answer.headers["Retry-After"]) == (429, "3")
    assert (await post(client, body()))[0] == 200


@pytest.mark.parametrize("order", ['{"mode": "tokn"}', "mode=token", "", "\xff"])
async def test_a_bad_order_is_answered_with_words(client: aiohttp.ClientSession, order: str) -> None:
    async with client.put("/_fail", data=order.encode("latin-1")) as answer:
        assert answer.status == 400
        assert (await answer.json())["error"]


@pytest.mark.parametrize(("mode", "kept"), [("reset", 0), ("reset_after", 1)])
async def test_a_reset_drops_the_connection(client: aiohttp.ClientSession, mode: str, kept: int) -> None:
    await (await client.put("/_fail", json={"mode": mode, "count": 1})).read()
    with pytest.raises((aiohttp.ClientConnectionError, ConnectionError)):
        await post(client, body())
    listing = await (await client.get("/_events")).json()
    assert len(listing["events"]) == kept
    assert (await post(client, body()))[0] == 200


async def test_a_slow_answer_does_not_hold_up_another(client: aiohttp.ClientSession) -> None:
    await (await client.put("/_fail", json={"mode": "slow", "seconds": 0.5, "count": 1})).read()
    slow = asyncio.create_task(post(client, body()))
    await asyncio.sleep(0.1)
    assert (await post(client, body()))[0] == 200
    assert not slow.done()
    assert (await slow)[0] == 200


async def test_a_pixel_is_read_with_the_token_in_the_header(client: aiohttp.ClientSession) -> None:
    path, header = f"/v26.0/{PIXEL}?fields=id,name", {"Authorization": "Bearer EAAtoken"}
    async with client.get(path, headers=header) as answer:
        assert (answer.status, (await answer.json())["id"]) == (200, PIXEL)
    for other in ({}, {"Authorization": "Basic EAAtoken"}, {"Authorization": "Bearer "}):
        async with client.get(path, headers=other) as answer:
            assert (await answer.json())["error"]["code"] == 104


async def test_a_token_may_send_but_not_read(client: aiohttp.ClientSession) -> None:
    await (await client.put("/_fail", json={"mode": "unreadable", "token": "EAAtoken"})).read()
    async with client.get(f"/v26.0/{PIXEL}", headers={"Authorization": "Bearer EAAtoken"}) as answer:
        error = (await answer.json())["error"]
    assert (error["code"], error["message"]) == (100, "(#100) Missing Permission")
    assert (await post(client, body()))[0] == 200


@pytest.mark.parametrize("path", [f"/{PIXEL}/events", f"/26.0/{PIXEL}/events", "/v26.0/me/events", "/"])
async def test_another_path_is_an_error_of_meta(client: aiohttp.ClientSession, path: str) -> None:
    status, answer = await post(client, body(), path)
    assert status in (400, 404)
    assert answer["error"]["code"] in (2500, 803)


async def test_it_listens_on_a_unix_socket(tmp_path: Path) -> None:
    runner, address = await serve(StandIn(time.time), f"unix:{tmp_path}/graph.sock")
    assert address == UnixAddress(f"{tmp_path}/graph.sock")
    connector = aiohttp.UnixConnector(f"{tmp_path}/graph.sock")
    async with aiohttp.ClientSession("http://graph", connector=connector) as session:
        assert (await post(session, body()))[0] == 200
    await runner.cleanup()


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8190", TcpAddress("127.0.0.1", 8190)),
        ("localhost:0", TcpAddress("localhost", 0)),
        ("[::1]:8190", TcpAddress("::1", 8190)),
        ("unix:/run/a b.sock", UnixAddress("/run/a b.sock")),
    ],
)
def test_an_address_is_read_and_written(text: str, address: TcpAddress | UnixAddress) -> None:
    assert parse_address(text) == address
    assert str(address) == text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "must be host:port or unix:/path"),
        ("8190", "must be host:port or unix:/path"),
        (":8190", "has no host; write 127.0.0.1:8190"),
        ("::1:8190", "in brackets"),
        ("[::1]", "must be host:port"),
        ("localhost:65536", "from 0 to 65535"),
        ("http://localhost:80", "is a URL"),
        ("unix:run/a.sock", "must be absolute"),
        ("unix:/" + "a" * 107, "longer than 107 bytes"),
    ],
)
def test_a_bad_address_is_told_with_words(text: str, words: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_address(text)
    assert words in str(caught.value)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_command_serves_until_it_is_told_to_end(tmp_path: Path, number: signal.Signals) -> None:
    command = [sys.executable, "-m", "sidecar", "sandbox", "--listen", "127.0.0.1:0", "--config", "absent"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        line = process.stderr.readline()
        assert line.startswith("sandbox: listening on 127.0.0.1:")
        assert not line.endswith(":0\n")
        process.send_signal(number)
        assert process.wait(10) == 0
        assert process.stderr.read() == ""


def test_the_command_tells_a_bad_address_as_a_usage_error(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sidecar", "sandbox", "--listen", "8192"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=20)
    assert done.returncode == 2
    assert json.dumps("8192") in done.stderr
