import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from sidecar.core.configuration import Configuration
from sidecar.intake import LARGEST_BODY, Intake
from sidecar.net import listen, parse_address
from sidecar.store.sqlite import SqliteStore
from tests.examples import KEY, NOW, TARGET, Clock, configuration

ID = "0123456789abcdef" * 2
MADE = "f" * 32

Serve = Callable[..., Awaitable[tuple[aiohttp.ClientSession, Intake]]]


@pytest.fixture
def config(tmp_path: Path) -> Configuration:
    return configuration(tmp_path / "config")


@pytest.fixture
async def serve(store: SqliteStore, clock: Clock, config: Configuration) -> AsyncIterator[Serve]:
    """Starts an intake; what it is asked with."""
    async with AsyncExitStack() as stack:

        async def start(socket: str = "") -> tuple[aiohttp.ClientSession, Intake]:
            intake = Intake(store, lambda: config, clock, lambda: MADE, lambda: None)
            runner = web.ServerRunner(intake.server())
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            at = await listen(runner, parse_address(f"unix:{socket}" if socket else "127.0.0.1:0"))
            connector = aiohttp.UnixConnector(socket) if socket else None
            client = aiohttp.ClientSession("http://intake" if socket else f"http://{at}", connector=connector)
            return await stack.enter_async_context(client), intake

        yield start


async def test_a_postback_is_on_disk_when_it_is_answered_with_an_empty_200(serve: Serve, store: SqliteStore) -> None:
    client, _ = await serve()
    async with client.get(TARGET, headers={"X-Request-Id": ID}) as answer:
        assert (answer.status, answer.headers["Content-Length"], await answer.read()) == (200, "0", b"")
    [pending] = await store.pending(NOW, 10)
    assert (pending.postback.id, pending.postback.uri, pending.postback.received_at) == (ID, TARGET, NOW)


@pytest.mark.parametrize("method", ["POST", "PUT", "HEAD", "DELETE"])
async def test_any_method_is_taken_with_its_body(serve: Serve, store: SqliteStore, method: str) -> None:
    client, _ = await serve()
    body = b"" if method == "HEAD" else b'{"payout": "3"}'
    async with client.request(method, TARGET, data=body, headers={"Content-Type": "application/json"}) as answer:
        assert answer.status == 200
    [pending] = await store.pending(NOW, 10)
    assert (pending.postback.method, pending.postback.body) == (method, body)
    assert pending.postback.type == ("application/json" if body else "")


@pytest.mark.parametrize("path", ["/wrong00/postback", "/", f"/{KEY}", f"/{KEY}/postback/more", "/postback"])
async def test_a_wrong_key_or_path_is_not_found_and_not_stored(serve: Serve, store: SqliteStore, path: str) -> None:
    client, intake = await serve()
    async with client.get(path) as answer:
        assert answer.status == 404
    assert intake.counts == {"wrong_key": 1}
    assert await store.pending(NOW, 10) == []


async def test_a_body_of_a_megabyte_is_taken_and_a_larger_one_refused(serve: Serve, store: SqliteStore) -> None:
    client, _ = await serve()
    for size, status in ((LARGEST_BODY, 200), (LARGEST_BODY + 1, 413)):
        async with client.post(TARGET, data=b"a" * size) as answer:
            assert answer.status == status
    [pending] = await store.pending(NOW, 10)
    assert len(pending.postback.body) == LARGEST_BODY


async def test_a_target_of_64_kilobytes_is_taken(serve: Serve, store: SqliteStore) -> None:
    client, _ = await serve()
    async with client.get(TARGET + "&junk=" + "x" * 65536) as answer:
        assert answer.status == 200
    assert len(await store.pending(NOW, 10)) == 1


async def test_a_repeat_is_answered_like_the_first_and_stored_once(serve: Serve, store: SqliteStore) -> None:
    client, intake = await serve()
    for target in (TARGET, TARGET, TARGET + "&x=1"):
        async with client.get(target, headers={"X-Request-Id": ID}) as answer:
            assert answer.status == 200
    assert intake.counts == {"stored": 1, "repeated": 2, "conflicting": 1}
    assert len(await store.pending(NOW, 10)) == 1


@pytest.mark.parametrize("given", ["", "abc", ID.upper(), ID + "0", "../../etc"])
async def test_an_id_that_is_none_of_nginx_is_replaced(serve: Serve, store: SqliteStore, given: str) -> None:
    client, _ = await serve()
    async with client.get(TARGET, headers={"X-Request-Id": given}) as answer:
        assert answer.status == 200
    assert [each.postback.id for each in await store.pending(NOW, 10)] == [MADE]


async def test_an_id_from_another_host_counts_only_where_that_is_trusted(
    serve: Serve, store: SqliteStore, tmp_path: Path, config: Configuration
) -> None:
    from sidecar.intake import _is_trusted

    trusting = configuration(tmp_path / "trusting", "tracker: {postback_key: k, trusted: 172.16.0.0/12}\n")
    asked = [(None, True), ("127.0.0.1", True), ("::1", True), ("172.17.0.2", False), ("203.0.113.1", False)]
    assert [(address, _is_trusted(address, config)) for address, _ in asked] == asked
    assert [_is_trusted(address, trusting) for address, _ in asked] == [True, True, True, True, False]


async def test_a_unix_socket_is_trusted(serve: Serve, store: SqliteStore, tmp_path: Path) -> None:
    client, _ = await serve(str(tmp_path / "intake.sock"))
    async with client.get(TARGET, headers={"X-Request-Id": ID}) as answer:
        assert answer.status == 200
    assert [each.postback.id for each in await store.pending(NOW, 10)] == [ID]


async def test_a_content_type_of_any_bytes_is_taken(serve: Serve, store: SqliteStore) -> None:
    client, _ = await serve()
    at = client._base_url
    assert at is not None
    reader, writer = await asyncio.open_connection(at.host, at.port)
    head = f"POST {TARGET} HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Type: text/\xff\r\n\r\n"
    writer.write(head.encode("latin-1") + b"x")
    assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    writer.close()
    assert [each.postback.type for each in await store.pending(NOW, 10)] == ["text/\ufffd"]
