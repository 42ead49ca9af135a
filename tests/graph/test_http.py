"""Requests over real sockets and a real proxy: whose fault it is, and that nothing leaks or goes around."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
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
from tests.acceptance.parts import Squid, free_address
from tests.examples import NOW, PIXEL

EVENT = (
    b'{"event_name":"Lead","event_time":%d,"event_id":"e1","action_source":"website","user_data":{"fbc":"fb.1.1795564740000.IwAR0x"}}'
    % NOW
)

Send = Callable[..., object]


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
    assert sent.answer == Fault("meta", "connect: refused or unreachable")


@pytest.mark.parametrize("scheme", ["http", "socks5", "socks5h", "socks4"])
async def test_a_proxy_that_nobody_serves_is_the_proxys_fault(
    stack: AsyncExitStack, meta: tuple[StandIn, str], scheme: str
) -> None:
    standin, url = meta
    sent = await graph_at(stack, url).send(lane(f"{scheme}://user:pw@{free_address()}"), [EVENT])
    assert sent.answer == Fault("proxy", "connect: refused or unreachable")
    assert standin.listing()["requests"] == 0


async def test_a_proxy_whose_name_is_unknown_is_named(stack: AsyncExitStack, meta: tuple[StandIn, str]) -> None:
    sent = await graph_at(stack, meta[1]).send(lane("http://no-such-host.invalid:3128"), [EVENT])
    assert sent.answer == Fault("proxy", "DNS: the name is not known")


async def test_a_proxy_that_hangs_is_given_up(stack: AsyncExitStack, meta: tuple[StandIn, str]) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=8) as hanging:
        port = hanging.getsockname()[1]
        sent = await graph_at(stack, meta[1], connect=0.5, total=1.0).send(lane(f"socks5://127.0.0.1:{port}"), [EVENT])
    assert isinstance(sent.answer, Fault)
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


async def test_the_next_proxy_takes_over_when_the_first_cannot_be_used(
    stack: AsyncExitStack, meta: tuple[StandIn, str], tmp_path: Path
) -> None:
    with Squid(tmp_path) as squid:
        graph = graph_at(stack, meta[1])
        sent = await graph.send(lane(f"http://{free_address()}", squid.url), [EVENT])
        assert isinstance(sent.answer, Answer)
        assert (sent.answer.status, sent.proxy) == (200, 2)
        await graph.close()
        assert [(method, status, user) for method, _, status, user in squid.requests()] == [("POST", 200, "proxy")]


async def test_a_wrong_login_is_told_apart_and_the_token_stays_out_of_the_proxys_log(
    stack: AsyncExitStack, meta: tuple[StandIn, str], tmp_path: Path
) -> None:
    with Squid(tmp_path) as squid:
        graph = graph_at(stack, meta[1])
        sent = await graph.send(lane(squid.url.replace("secret", "wrong"), token="canary-token"), [EVENT])
        assert isinstance(sent.answer, Answer)
        assert sent.answer.status == 407
        await graph.close()
        assert "canary-token" not in squid.access_log.read_text()
        assert meta[0].listing()["requests"] == 0


async def test_a_tunnel_that_the_proxy_refuses_is_the_proxys_fault(stack: AsyncExitStack, tmp_path: Path) -> None:
    """With https the proxy is asked for a tunnel; a wrong login is then no answer of Meta's."""
    with Squid(tmp_path) as squid:
        graph = graph_at(stack, f"https://{free_address()}")
        wrong = await graph.send(lane(squid.url.replace("secret", "wrong")), [EVENT])
        assert wrong.answer == Fault("proxy", "proxy login: user or password is wrong")
        nobody = await graph.send(lane(squid.url), [EVENT])
        assert nobody.answer == Fault("proxy", "proxy policy or path: it answered 503")


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


def test_no_fault_shows_an_address_or_a_login() -> None:
    from sidecar.graph.http import fault_of

    for error in (OSError("user:pw@10.0.0.1"), ValueError("user:pw"), TimeoutError("10.0.0.1")):
        for proxied in (True, False):
            assert not {"user", "pw", "10.0.0.1"} & set(fault_of(error, proxied).words.replace(":", " ").split())
