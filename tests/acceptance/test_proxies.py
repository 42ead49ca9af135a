"""Real proxies of every kind, well and broken: whose fault it is, who takes over, and that nothing goes around them."""

import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import requests

from sidecar.core.delivery import Lane
from sidecar.core.judge import Answer, Fault
from sidecar.core.secret import Secret
from sidecar.graph.http import HttpGraph
from sidecar.graph.ways import FIRST_REST
from sidecar.sandbox.server import serve
from sidecar.sandbox.standin import StandIn
from tests.acceptance import ours
from tests.acceptance.parts import Squid, eventually, free_address, listens, wait_until
from tests.acceptance.proxies import (
    Authority,
    Dante,
    FurtherSquid,
    Microsocks,
    TlsFront,
    answering,
    hanging,
    resetting,
)
from tests.acceptance.road import yaml
from tests.examples import FBCLID, KEY, NOW, PIXEL, Clock

TOKEN = "EAAtoken-that-nobody-may-see"
USER, PASSWORD = "us@er", "p:/#?%41@ é"
#: python-socks sends a login in ASCII only.
SOCKS_PASSWORD = "p:/#?%41@ e"
EVENT = (
    b'{"event_name":"Lead","event_time":%d,"event_id":"e1","action_source":"website",'
    b'"user_data":{"fbc":"fb.1.1795564740000.IwAR0x"}}' % NOW
)


@dataclass
class Parts:
    """What all tests share: it is never stopped by one of them. `plain` and `tls` are the ways to the stand-in for
    Meta; with https a proxy is asked for a tunnel. `untrusted` has a certificate that nobody trusts."""

    backend: str
    front: TlsFront
    untrusted_front: TlsFront
    squid: Squid
    tls_squid: Squid
    untrusted_squid: Squid
    microsocks: Microsocks
    dante: Dante
    unasked: str

    @property
    def meta(self) -> dict[str, str]:
        return {"plain": f"http://{self.backend}", "tls": self.front.url}

    @property
    def logins(self) -> dict[str, str]:
        """URL of a proxy with the right login, by its scheme."""
        return {
            "http": self.squid.url,
            "https": self.tls_squid.url,
            "socks5": self.microsocks.url("socks5"),
            "socks5h": self.microsocks.url("socks5h"),
        }

    def wrong(self, scheme: str) -> str:
        """The same with a wrong password."""
        password = SOCKS_PASSWORD if scheme.startswith("socks") else PASSWORD
        return self.logins[scheme].replace(quote(password, safe=""), "wrong-password")


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parts]:
    directory = tmp_path_factory.mktemp("proxies")
    authority = Authority(directory)
    known, unknown = authority.certificate("known"), Authority(directory, "stranger").certificate("unknown")
    backend, unasked = free_address(), free_address()
    with ExitStack() as running, pytest.MonkeyPatch.context() as environment:
        environment.setenv("SSL_CERT_FILE", str(authority.file))
        start = running.enter_context
        yield Parts(
            backend,
            start(TlsFront(directory, known, backend)),
            start(TlsFront(directory, unknown, backend, "stranger")),
            start(FurtherSquid(directory, USER, PASSWORD)),
            start(FurtherSquid(directory, USER, PASSWORD, certificate=known)),
            start(FurtherSquid(directory, USER, PASSWORD, certificate=unknown)),
            start(Microsocks(directory, USER, SOCKS_PASSWORD)),
            start(Dante(directory, int(unasked.split(":")[1]))),
            unasked,
        )


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


@pytest.fixture
async def standin(stack: AsyncExitStack, parts: Parts) -> StandIn:
    standin = StandIn(lambda: NOW)
    runner, _ = await serve(standin, parts.backend)
    stack.push_async_callback(runner.cleanup)
    return standin


@pytest.fixture
def graph_at(stack: AsyncExitStack) -> Callable[..., HttpGraph]:
    """`graph_at(base, connect=..., total=..., monotonic=...)`, closed at the end."""

    def make(base: str, **more: Any) -> HttpGraph:
        graph = HttpGraph(base, more.pop("connect", 10.0), more.pop("total", 20.0), **more)
        stack.push_async_callback(graph.close)
        return graph

    return make


def lane(*proxies: str) -> Lane:
    return Lane(PIXEL, Secret(TOKEN), tuple(map(Secret, proxies)), "v26.0", "")


async def arrives(graph: HttpGraph, *proxies: str) -> int:
    """One event through one of these proxies; the place of the one that it took."""
    sent = await graph.send(lane(*proxies), [EVENT])
    assert isinstance(sent.answer, Answer), sent.answer
    assert sent.answer.status == 200
    return sent.proxy


async def fails(graph: HttpGraph, *proxies: str) -> Fault:
    """One event that gets no answer; whose fault it is."""
    sent = await graph.send(lane(*proxies), [EVENT])
    assert isinstance(sent.answer, Fault), sent.answer
    return sent.answer


def facts(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    """What our log says of proxies: the fact, and which proxy."""
    return [(record.getMessage(), record.__dict__["keys"]["proxy"]) for record in caplog.records
            if record.name == "capi-sidecar"]  # fmt: skip


SCHEMES = ["http", "https", "socks5", "socks5h"]
TARGETS = ["plain", "tls"]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("scheme", SCHEMES)
async def test_a_proxy_with_a_login_of_special_characters_carries_events(
    parts: Parts, standin: StandIn, graph_at: Callable[..., HttpGraph], scheme: str, target: str
) -> None:
    squid = {"http": parts.squid, "https": parts.tls_squid}.get(scheme)
    before = len(squid.requests() if squid else parts.microsocks.names())
    graph = graph_at(parts.meta[target])
    assert [await arrives(graph, parts.logins[scheme]) for _ in range(2)] == [1, 1]
    await graph.close()
    assert standin.listing()["requests"] == 2
    if squid is None:
        # Both events took the one connection that was kept.
        assert len(parts.microsocks.names()) == before + 1
        return
    count = 2 if target == "plain" else 1
    await eventually(lambda: len(squid.requests()) == before + count, "the proxy has logged it")
    expected = ("POST" if target == "plain" else "CONNECT", 200, quote(USER, safe="@"))
    assert {(method, status, user) for method, _, status, user in squid.requests()[before:]} == {expected}


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("scheme", SCHEMES)
async def test_a_wrong_password_is_named_and_nothing_arrives(
    parts: Parts, standin: StandIn, graph_at: Callable[..., HttpGraph], scheme: str, target: str
) -> None:
    fault = await fails(graph_at(parts.meta[target]), parts.wrong(scheme))
    assert fault.whose == "proxy"
    assert fault.words.startswith("proxy login: ")
    assert fault.words.endswith(" in the proxy's URL")
    assert standin.listing()["requests"] == 0


@pytest.mark.parametrize("target", TARGETS)
async def test_socks4_carries_events_and_what_it_refuses_is_named(
    parts: Parts, standin: StandIn, graph_at: Callable[..., HttpGraph], target: str
) -> None:
    proxy = f"socks4://somebody@{parts.dante.address}"
    passed, blocked = parts.dante.passed(), parts.dante.blocked()
    assert await arrives(graph_at(parts.meta[target]), proxy) == 1
    fault = await fails(graph_at(f"http://{parts.unasked}"), proxy)
    assert fault.whose == "proxy"
    assert fault.words.startswith("proxy policy or path: SOCKS answered 91")
    await eventually(lambda: parts.dante.passed() == passed + 1, "Dante has logged the connection")
    await eventually(lambda: parts.dante.blocked() == blocked + 1, "Dante has logged what it refused")


async def test_with_socks5h_the_proxy_looks_the_name_up_and_with_socks5_this_machine_does(
    parts: Parts, standin: StandIn, graph_at: Callable[..., HttpGraph]
) -> None:
    port = parts.backend.split(":")[1]
    for scheme in ("socks5h", "socks5"):
        await arrives(graph_at(f"http://localhost:{port}"), parts.logins[scheme])
    assert parts.microsocks.names()[-2:] == [f"localhost:{port}", f"127.0.0.1:{port}"]


async def test_a_name_of_meta_that_is_not_known_is_told_by_whoever_looks_it_up(
    parts: Parts, graph_at: Callable[..., HttpGraph]
) -> None:
    graph, asked = graph_at("https://no-such-host.invalid"), len(parts.microsocks.names())
    here = await fails(graph, parts.logins["socks5"])
    assert here == Fault(
        "proxy", "proxy DNS: this machine does not know Meta's name; mend its resolver, or write socks5h://"
    )
    for scheme in ("socks5h", "http", "https"):
        assert (await fails(graph, parts.logins[scheme])).words.startswith("proxy policy or path: ")
    assert len(parts.microsocks.names()) == asked


@pytest.mark.parametrize("scheme", ["http", "https", "socks5h"])
async def test_a_bad_certificate_of_meta_is_told_from_one_of_the_proxy(
    parts: Parts, standin: StandIn, graph_at: Callable[..., HttpGraph], scheme: str
) -> None:
    through = await fails(graph_at(parts.untrusted_front.url), parts.logins[scheme])
    assert through.whose == "proxy"
    assert through.words.startswith("proxy TLS: Meta's certificate is not accepted through it; does it intercept TLS?")
    direct = await fails(graph_at(parts.untrusted_front.url))
    assert direct.whose == "meta"
    assert direct.words.startswith("TLS: Meta's certificate is not accepted; ")
    for target in TARGETS:
        own = await fails(graph_at(parts.meta[target]), parts.untrusted_squid.url)
        assert own.words.startswith("proxy TLS: the proxy's certificate is not accepted; ")
    assert standin.listing()["requests"] == 0


async def test_a_proxy_may_have_an_ipv6_address(
    parts: Parts, standin: StandIn, graph_at: Callable[..., HttpGraph], tmp_path: Path
) -> None:
    squid = FurtherSquid(tmp_path, address=free_address().replace("127.0.0.1", "[::1]"))
    microsocks = Microsocks(tmp_path, address=free_address().replace("127.0.0.1", "[::1]"))
    with squid, microsocks:
        for proxy in (squid.url, microsocks.url("socks5"), microsocks.url("socks5h")):
            for target in TARGETS:
                assert "[::1]" in proxy
                assert await arrives(graph_at(parts.meta[target]), proxy) == 1


async def test_the_spare_takes_over_from_a_dead_proxy_and_gives_back_to_it(
    parts: Parts,
    standin: StandIn,
    graph_at: Callable[..., HttpGraph],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    clock, address = Clock(0.0), free_address()
    graph, place = graph_at(parts.meta["plain"], monotonic=clock), address
    first, spare = FurtherSquid(tmp_path, address=address), parts.squid
    with first:
        assert await arrives(graph, first.url, spare.url) == 1
        await eventually(lambda: len(first.requests()) == 1, "Squid has logged it before it dies")
        first.stop()
        with resetting(address) as dead:
            assert [await arrives(graph, first.url, spare.url) for _ in range(3)] == [2, 2, 2]
            asked = dead.asked
            clock.move(FIRST_REST - 1)
            assert await arrives(graph, first.url, spare.url) == 2
            assert dead.asked == asked > 0
            clock.move(1)
            assert await arrives(graph, first.url, spare.url) == 2
            assert dead.asked > asked
            asked = dead.asked
            clock.move(2 * FIRST_REST - 1)
            assert await arrives(graph, first.url, spare.url) == 2
            assert dead.asked == asked
        first.start()
        clock.move(1)
        assert [await arrives(graph, first.url, spare.url) for _ in range(2)] == [1, 1]
        assert standin.listing()["requests"] == 9
        await eventually(lambda: len(first.requests()) == 3, "Squid has logged three requests")
    assert facts(caplog) == [("proxy.failing", place), ("proxy.well", place)]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("scheme", [*SCHEMES, "socks4"])
async def test_a_proxy_that_resets_is_charged_and_the_spare_takes_over(
    parts: Parts, standin: StandIn, graph_at: Callable[..., HttpGraph], scheme: str, target: str
) -> None:
    with resetting() as broken:
        graph, proxy = graph_at(parts.meta[target]), f"{scheme}://{broken.address}"
        fault = await fails(graph, proxy)
        assert fault.whose == "proxy"
        assert fault.words.startswith("proxy connect: ")
        assert await arrives(graph_at(parts.meta[target]), proxy, parts.squid.url) == 2
        assert broken.asked >= 2
    assert standin.listing()["requests"] == 1


@pytest.mark.parametrize(
    ("scheme", "target"),
    [
        (scheme, target)
        for scheme in (*SCHEMES, "socks4")
        for target in TARGETS
        if (scheme, target) != ("http", "plain")
    ],
)
async def test_a_proxy_that_hangs_is_charged_and_the_spare_takes_over_in_the_same_request(
    parts: Parts, standin: StandIn, graph_at: Callable[..., HttpGraph], scheme: str, target: str
) -> None:
    with hanging() as broken:
        graph = graph_at(parts.meta[target], connect=0.5, total=60.0)
        assert await arrives(graph, f"{scheme}://{broken.address}", parts.tls_squid.url) == 2
        # It is passed over: the spare alone is asked.
        assert await arrives(graph, f"{scheme}://{broken.address}", parts.tls_squid.url) == 2
        assert broken.asked == 1
        fault = await fails(graph_at(parts.meta[target], connect=0.5, total=60.0), f"{scheme}://{broken.address}")
        assert fault.whose == "proxy"
        assert fault.words.startswith("proxy connect: no answer in time; ")
    assert standin.listing()["requests"] == 2


async def test_a_request_without_an_answer_is_metas_fault_and_the_next_one_takes_another_proxy(
    parts: Parts, standin: StandIn, graph_at: Callable[..., HttpGraph], caplog: pytest.LogCaptureFixture
) -> None:
    """A proxy that was handed a whole request and is silent cannot be told from one that waits for Meta."""
    caplog.set_level(logging.INFO)
    clock = Clock(0.0)
    with hanging() as silent:
        graph = graph_at(parts.meta["plain"], total=1.0, monotonic=clock)
        proxy = f"http://{silent.address}"
        assert (await fails(graph, proxy, parts.squid.url)).whose == "meta"
        assert [await arrives(graph, proxy, parts.squid.url) for _ in range(2)] == [2, 2]
        assert silent.asked == 1
        clock.move(FIRST_REST)
        assert (await fails(graph, proxy, parts.squid.url)).whose == "meta"
        assert facts(caplog) == [("proxy.doubted", silent.address)]


async def test_meta_that_is_silent_behind_a_tunnel_is_metas_fault(
    parts: Parts, standin: StandIn, graph_at: Callable[..., HttpGraph]
) -> None:
    standin.fail({"mode": "slow", "seconds": 5})
    for scheme in SCHEMES:
        fault = await fails(graph_at(parts.meta["tls"], total=1.0), parts.logins[scheme])
        assert fault == Fault("meta", "no answer in time; wait: it is tried again by itself")


@pytest.mark.parametrize("status", [403, 407, 502, 503, 504])
async def test_a_tunnel_that_is_refused_is_charged_and_the_spare_takes_over(
    parts: Parts, standin: StandIn, graph_at: Callable[..., HttpGraph], status: int
) -> None:
    with answering(b"HTTP/1.1 %d No\r\nContent-Length: 0\r\n\r\n" % status) as broken:
        proxy = f"http://{broken.address}"
        fault = await fails(graph_at(parts.meta["tls"]), proxy)
        assert fault.whose == "proxy"
        words = "proxy login: " if status == 407 else f"proxy policy or path: it answered {status}; "
        assert fault.words.startswith(words)
        assert await arrives(graph_at(parts.meta["tls"]), proxy, parts.squid.url) == 2


@pytest.mark.parametrize("target", TARGETS)
async def test_a_login_that_is_refused_leaves_the_request_to_the_spare(
    parts: Parts, standin: StandIn, graph_at: Callable[..., HttpGraph], target: str
) -> None:
    for scheme in SCHEMES:
        assert await arrives(graph_at(parts.meta[target]), parts.wrong(scheme), parts.logins[scheme]) == 2
    assert standin.listing()["requests"] == len(SCHEMES)


async def test_a_host_that_squid_does_not_reach_is_its_path(parts: Parts, graph_at: Callable[..., HttpGraph]) -> None:
    for base in (f"http://{free_address()}", f"https://{free_address()}"):
        fault = await fails(graph_at(base), parts.squid.url)
        assert fault.whose == "proxy"
        assert fault.words.startswith("proxy policy or path: it answered 503")


@pytest.mark.parametrize("target", TARGETS)
async def test_when_all_proxies_are_dead_each_is_asked_once_and_nothing_arrives(
    parts: Parts, standin: StandIn, graph_at: Callable[..., HttpGraph], target: str
) -> None:
    with resetting() as first, resetting() as second:
        graph = graph_at(parts.meta[target])
        proxies = [f"socks5://{first.address}", f"https://{second.address}"]
        for count in (1, 2, 3):
            assert (await fails(graph, *proxies)).whose == "proxy"
            assert (first.asked, second.asked) == (count, count)
    assert standin.listing()["requests"] == 0


async def test_no_environment_variable_changes_the_way(
    parts: Parts, standin: StandIn, graph_at: Callable[..., HttpGraph], monkeypatch: pytest.MonkeyPatch
) -> None:
    with resetting() as elsewhere:
        for name in ("http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, f"http://{elsewhere.address}")
            monkeypatch.setenv(name.upper(), f"http://{elsewhere.address}")
        for target in TARGETS:
            assert await arrives(graph_at(parts.meta[target])) == 0
        monkeypatch.setenv("no_proxy", "*")
        monkeypatch.setenv("NO_PROXY", "*")
        before = len(parts.squid.requests())
        for target in TARGETS:
            graph = graph_at(parts.meta[target])
            assert await arrives(graph, parts.squid.url) == 1
            await graph.close()
            assert await arrives(graph_at(parts.meta[target]), parts.logins["socks5h"]) == 1
        await eventually(lambda: len(parts.squid.requests()) == before + 2, "Squid has logged both")
        assert elsewhere.asked == 0


async def test_no_log_holds_a_token_or_a_login(
    parts: Parts, standin: StandIn, graph_at: Callable[..., HttpGraph], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for target in TARGETS:
        for scheme in SCHEMES:
            graph = graph_at(parts.meta[target])
            await fails(graph, parts.wrong(scheme))
            await arrives(graph, parts.wrong(scheme), parts.logins[scheme])
            await graph.close()
    ours = "".join(f"{record.getMessage()} {record.__dict__.get('keys', '')}" for record in caplog.records)
    theirs = "".join(squid.access_log.read_text() for squid in (parts.squid, parts.tls_squid)) + parts.microsocks.log
    assert "proxy.failing" in ours
    secrets = [
        TOKEN,
        PASSWORD,
        quote(PASSWORD, safe=""),
        SOCKS_PASSWORD,
        quote(SOCKS_PASSWORD, safe=""),
        "wrong-password",
    ]
    assert [secret for secret in secrets if secret in ours + theirs] == []
    assert USER not in ours


def test_a_proxy_dies_under_traffic_and_the_spare_delivers_everything_and_nothing_goes_direct(
    tmp_path: Path, running: ExitStack, start_daemon: Callable[..., ours.Daemon]
) -> None:
    """Only the proxies know Meta's name: what arrives came through one of them."""
    meta = running.enter_context(ours.StandIn(tmp_path))
    hosts, port = {"meta.test": "127.0.0.1"}, meta.address.split(":")[1]
    first, spare = (running.enter_context(FurtherSquid(tmp_path, hosts=hosts)) for _ in range(2))
    text = yaml("PROXY").replace('"PROXY"', f'["{first.url}", "{spare.url}"]')
    daemon = start_daemon(text, graph=f"http://meta.test:{port}")
    count, client = 300, requests.Session()
    for number in range(count):
        if number == count // 3:
            wait_until(first.requests, "the first proxy is in use")
            first.kill()
        target = f"/{KEY}/postback?subid=abcdef12{number:03d}&payout=1&campaign=AbCd12&fbclid={FBCLID}"
        assert client.get(f"http://{daemon.intake}{target}", timeout=30).status_code == 200
    wait_until(lambda: daemon.status()["deliveries"] == {"delivered": count}, "all is delivered", 120)
    assert len(meta.events()) == count
    assert {(method, user) for squid in (first, spare) for method, _, _, user in squid.requests()} == {
        ("POST", "proxy")
    }
    assert daemon.log.count(f"proxy.failing proxy={first.address}") == 1
    assert spare.address not in daemon.log
    assert not listens(first.address)
    assert "secret@" not in daemon.log


def test_the_daemon_goes_through_its_proxy_whatever_its_environment_says(
    tmp_path: Path, running: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")  # for the test's own requests only
    meta = running.enter_context(ours.StandIn(tmp_path))
    microsocks = running.enter_context(Microsocks(tmp_path))
    elsewhere = running.enter_context(resetting())
    daemon = ours.Daemon(tmp_path, yaml(microsocks.url("socks5h")), journal=tmp_path / "journal", graph=meta.url)
    names = ("http_proxy", "https_proxy", "all_proxy")
    daemon.env |= {each: f"http://{elsewhere.address}" for name in names for each in (name, name.upper())}
    del daemon.env["NO_PROXY"]
    running.enter_context(daemon)
    target = f"/{KEY}/postback?subid=abcdef12345&payout=1&campaign=AbCd12&fbclid={FBCLID}"
    assert requests.get(f"http://{daemon.intake}{target}", timeout=30).status_code == 200
    wait_until(lambda: daemon.status()["deliveries"] == {"delivered": 1}, "it is delivered")
    assert (microsocks.names(), elsewhere.asked) == ([meta.address], 0)
