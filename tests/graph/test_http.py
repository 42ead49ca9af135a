"""Requests over real sockets and a real proxy: whose fault it is, and that nothing leaks or goes around."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from aiohttp import web

from sidecar.core.delivery import Lane
from sidecar.core.judge import Answer, Fault
from sidecar.core.secret import Secret
from sidecar.graph.http import HttpGraph
from sidecar.sandbox.server import serve
from sidecar.sandbox.standin import StandIn
from tests.acceptance.parts import Squid, eventually, free_address
from tests.examples import NOW, PIXEL

EVENT = (
    b'{"event_name":"Lead","event_time":%d,"event_id":"e1","action_source":"website","user_data":{"fbc":"fb.1.1795564740000.IwAR0x"}}'
    % NOW
)

LOGIN = Fault("proxy", "proxy login: user or password is wrong; correct them in the proxy's URL")


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


@pytest.fixture
async def meta(stack: AsyncExitStack) -> tuple[StandIn, str]:
    standin = StandIn(lambda: NOW)
    runner, address = await serve(standin, "127.0.0.1:0")
    stack.push_async_callback(runner.cleanup)
    return standin, f"http://{address}"


def graph_at(stack: AsyncExitStack, base: str, connect: float = 5.0, total: float = 10.0) -> HttpGraph:
    graph = HttpGraph(base, connect, total)
    stack.push_async_callback(graph.close)
    return graph


def lane(*proxies: str, token: str = "token", code: str = "") -> Lane:
    return Lane(PIXEL, Secret(token), tuple(map(Secret, proxies)), "v26.0", code)


async def test_events_arrive_as_they_are_with_the_token_in_the_body(
    stack: AsyncExitStack, meta: tuple[StandIn, str]
) -> None:
    standin, url = meta
    sent = await graph_at(stack, url).send(lane(code="TEST1"), [EVENT])
    assert isinstance(sent.answer, Answer)
    assert (sent.answer.status, sent.answer.body and sent.answer.body["events_received"], sent.proxy) == (200, 1, 0)
    [event] = standin.listing()["events"]
    assert event["event"]["user_data"] == {"fbc": "fb.1.1795564740000.IwAR0x"}


async def test_an_error_of_meta_is_an_answer(stack: AsyncExitStack, meta: tuple[StandIn, str]) -> None:
    standin, url = meta
    standin.fail({"mode": "throttle", "seconds": 30})
    sent = await graph_at(stack, url).send(lane(), [EVENT])
    assert isinstance(sent.answer, Answer)
    assert (sent.answer.status, sent.answer.headers["retry-after"]) == (429, "30")


async def test_a_page_of_html_is_an_answer_without_json(stack: AsyncExitStack, meta: tuple[StandIn, str]) -> None:
    standin, url = meta
    standin.fail({"mode": "html"})
    sent = await graph_at(stack, url).send(lane(), [EVENT])
    assert isinstance(sent.answer, Answer)
    assert (sent.answer.status, sent.answer.body) == (502, None)


@pytest.mark.parametrize(("mode", "words"), [("reset", "the connection broke"), ("slow", "no answer in time")])
async def test_no_answer_is_metas_fault(
    stack: AsyncExitStack, meta: tuple[StandIn, str], mode: str, words: str
) -> None:
    standin, url = meta
    standin.fail({"mode": mode, **({"seconds": 60} if mode == "slow" else {})})
    sent = await graph_at(stack, url, total=1.0).send(lane(), [EVENT])
    assert isinstance(sent.answer, Fault)
    assert sent.answer.whose == "meta"
    assert words in sent.answer.words


async def test_a_host_that_nobody_serves_is_metas_fault_without_a_proxy(stack: AsyncExitStack) -> None:
    sent = await graph_at(stack, f"http://{free_address()}").send(lane(), [EVENT])
    assert sent.answer == Fault("meta", "connect: refused or unreachable; may this machine reach Meta, port 443?")


@pytest.mark.parametrize("scheme", ["http", "https", "socks5", "socks5h", "socks4"])
async def test_a_proxy_that_nobody_serves_is_the_proxys_fault(
    stack: AsyncExitStack, meta: tuple[StandIn, str], scheme: str
) -> None:
    standin, url = meta
    sent = await graph_at(stack, url).send(lane(f"{scheme}://user:pw@{free_address()}"), [EVENT])
    assert sent.answer == Fault(
        "proxy", "proxy connect: refused or unreachable; is it up, and are host and port right?"
    )
    assert standin.listing()["requests"] == 0


@pytest.mark.parametrize("scheme", ["http", "https", "socks5", "socks5h", "socks4"])
async def test_a_proxy_whose_name_is_unknown_is_named(
    stack: AsyncExitStack, meta: tuple[StandIn, str], scheme: str
) -> None:
    sent = await graph_at(stack, meta[1]).send(lane(f"{scheme}://no-such-host.invalid:3128"), [EVENT])
    assert isinstance(sent.answer, Fault)
    assert sent.answer.words.startswith("proxy DNS: the name is not known; correct the proxy's host")


@pytest.mark.parametrize("url", ["", "http://proxy", "proxy:3128", "ftp://127.0.0.1:1"])
async def test_what_is_no_proxy_is_no_way_around_one(
    stack: AsyncExitStack, meta: tuple[StandIn, str], url: str
) -> None:
    sent = await graph_at(stack, meta[1]).send(lane(url), [EVENT])
    assert isinstance(sent.answer, Fault)
    assert sent.answer.whose == "proxy"
    assert meta[0].listing()["requests"] == 0


@pytest.mark.parametrize("scheme", ["http", "socks5", "socks4"])
async def test_a_proxy_that_hangs_up_is_a_fault_and_no_defect(
    stack: AsyncExitStack, meta: tuple[StandIn, str], scheme: str
) -> None:
    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"\x05")
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    sent = await graph_at(stack, meta[1]).send(lane(f"{scheme}://127.0.0.1:{port}"), [EVENT])
    server.close()
    assert isinstance(sent.answer, Fault)
    assert sent.answer.whose == "proxy"


async def test_a_kept_connection_that_breaks_is_asked_once_more_and_charged_to_nobody(stack: AsyncExitStack) -> None:
    """A proxy may end a connection for its age at the moment at which a request is written to it."""
    connections = 0

    async def answer_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await reader.readuntil(b"}}]")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        await reader.readuntil(b"POST")
        writer.transport.abort()

    server = await asyncio.start_server(answer_once, "127.0.0.1", 0)
    proxy = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    graph = graph_at(stack, f"http://{free_address()}")
    for _ in range(3):
        sent = await graph.send(lane(proxy, f"http://{free_address()}"), [EVENT])
        assert isinstance(sent.answer, Answer)
        assert (sent.answer.status, sent.proxy) == (200, 1)
    server.close()
    assert connections == 3


async def test_the_next_proxy_takes_over_when_the_first_cannot_be_used(
    stack: AsyncExitStack, meta: tuple[StandIn, str], tmp_path: Path
) -> None:
    with Squid(tmp_path) as squid:
        graph = graph_at(stack, meta[1])
        sent = await graph.send(lane(f"http://{free_address()}", squid.url), [EVENT])
        assert isinstance(sent.answer, Answer)
        assert (sent.answer.status, sent.proxy) == (200, 2)
        await graph.close()
        await eventually(squid.requests, "Squid has written its log")
        assert [(method, status, user) for method, _, status, user in squid.requests()] == [("POST", 200, "proxy")]


async def test_a_wrong_login_is_told_apart_and_the_token_stays_out_of_the_proxys_log(
    stack: AsyncExitStack, meta: tuple[StandIn, str], tmp_path: Path
) -> None:
    with Squid(tmp_path) as squid:
        graph = graph_at(stack, meta[1])
        sent = await graph.send(lane(squid.url.replace("secret", "wrong"), token="canary-token"), [EVENT])
        assert sent.answer == LOGIN
        await graph.close()
        assert "canary-token" not in squid.access_log.read_text()
        assert meta[0].listing()["requests"] == 0


async def test_a_tunnel_that_the_proxy_refuses_is_the_proxys_fault(stack: AsyncExitStack, tmp_path: Path) -> None:
    """With https the proxy is asked for a tunnel; a wrong login is then no answer of Meta's."""
    with Squid(tmp_path) as squid:
        graph = graph_at(stack, f"https://{free_address()}")
        wrong = await graph.send(lane(squid.url.replace("secret", "wrong")), [EVENT])
        assert wrong.answer == LOGIN
        nobody = await graph.send(lane(squid.url), [EVENT])
        assert nobody.answer == Fault(
            "proxy", "proxy policy or path: it answered 503; let it reach Meta, port 443; its log says more"
        )


async def test_a_redirect_is_not_followed(stack: AsyncExitStack) -> None:
    async def elsewhere(_: web.Request) -> web.Response:
        raise web.HTTPTemporaryRedirect(f"http://{free_address()}/")

    app = web.Application()
    app.router.add_post("/{path:.*}", elsewhere)
    runner = web.AppRunner(app)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    sent = await graph_at(stack, f"http://127.0.0.1:{runner.addresses[0][1]}").send(lane(), [EVENT])
    assert isinstance(sent.answer, Answer)
    assert sent.answer.status == 307


async def test_an_endless_answer_is_cut(stack: AsyncExitStack) -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"x" * 65536)

    app = web.Application()
    app.router.add_post("/{path:.*}", endless)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    graph = graph_at(stack, f"http://127.0.0.1:{runner.addresses[0][1]}")
    sent = await asyncio.wait_for(graph.send(lane(), [EVENT]), 10)
    assert isinstance(sent.answer, Answer)
    assert sent.answer.body is None
