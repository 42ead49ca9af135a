"""Requests over HTTP, through the integration's proxies and never around them."""

import ssl
import time
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from sidecar import log
from sidecar.core.delivery import Lane
from sidecar.core.judge import Answer
from sidecar.core.secret import Secret
from sidecar.graph import Sent
from sidecar.graph.blame import ERRORS, Blame, Way, blame_answer, blame_error
from sidecar.graph.proxy import Proxy, connector, parse_proxy
from sidecar.graph.request import LARGEST_ANSWER, answer_of, body_of, path_of
from sidecar.graph.ways import Ways

_HEADERS = {"Content-Type": "application/json", "User-Agent": "capi-sidecar", "Accept": "application/json"}

_PORTS = {"http": 80, "https": 443}

#: The part of `connect` for TCP alone, and for all that SOCKS needs: python-socks waits until a connection that hangs
#: has closed, which only the limit around it ends.
_HANDSHAKES = 0.9


class HttpGraph:
    """Sends to `base` (https://graph.facebook.com). In seconds: `connect` until the way to Meta stands, all handshakes
    included, and `total` until the answer is read.

    One session for each way out: connections of one proxy are never used for another. No environment variable
    changes the way (trust_env is off), and no redirect is followed. The system's trust store (and OpenSSL's own
    SSL_CERT_FILE) judges certificates.
    """

    def __init__(
        self, base: str, connect: float, total: float, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._base = base.rstrip("/")
        parts = urlsplit(self._base)
        self._is_plain = parts.scheme == "http"
        self._meta = (parts.hostname or "", parts.port or _PORTS.get(parts.scheme, 0))
        self._connect = connect
        self._total = total
        self._monotonic = monotonic
        self._trust = ssl.create_default_context()
        self._ways = Ways()
        self._sessions: dict[Secret | None, aiohttp.ClientSession] = {}

    def set_timeouts(self, connect: float, total: float) -> None:
        """Holds from the next request on."""
        self._connect, self._total = connect, total

    async def send(self, lane: Lane, events: Sequence[bytes]) -> Sent:
        """Through the first proxy that can be used, those that failed lately last."""
        started = self._monotonic()
        path, body = path_of(lane), body_of(lane, events)
        if not lane.proxies:
            return self._sent(await self._ask(path, body, None), 0, started)
        for number, proxy in self._ways.order(lane.proxies, started):
            result = await self._ask(path, body, proxy)
            self._learn(proxy, result, alone=len(lane.proxies) == 1)
            sent = self._sent(result, number, started)
            if not (isinstance(result, Blame) and result.whose == "proxy"):
                break
        return sent

    def proxies(self, proxies: Iterable[Secret]) -> dict[str, bool]:
        """Whether each address (`host:port`) can be used with every login, as far as requests have shown."""
        found: dict[str, bool] = {}
        for proxy in proxies:
            place = _place(proxy)
            found[place] = found.get(place, True) and not self._ways.is_failing(proxy)
        return found

    async def close(self) -> None:
        for session in self._sessions.values():
            await session.close()

    def _sent(self, result: Answer | Blame, number: int, started: float) -> Sent:
        answer = result.fault if isinstance(result, Blame) else result
        return Sent(answer, number, self._monotonic() - started)

    def _learn(self, proxy: Secret, result: Answer | Blame, alone: bool) -> None:
        """What a request says of its proxy; a change is logged once."""
        now = self._monotonic()
        if isinstance(result, Answer):
            if self._ways.well(proxy):
                log.info("proxy.well", proxy=_place(proxy))
        elif result.whose == "proxy":
            if self._ways.fail(proxy, now):
                log.warning("proxy.failing", proxy=_place(proxy), why=result.why, next=result.next)
        elif not alone and self._ways.doubt(proxy, now):
            log.info("proxy.doubted", proxy=_place(proxy), why=result.why, next="the next proxy is asked meanwhile")

    async def _ask(self, path: str, body: bytes, proxy: Secret | None) -> Answer | Blame:
        """A connection that was kept and breaks says nothing of Meta or the proxy: whoever kept it may have ended it
        for its age. It is asked once more; Meta discards repeats."""
        try:
            parsed = parse_proxy(proxy) if proxy is not None else None
        except ValueError as error:
            return blame_error(error, Way(True, False, self._meta))
        for _ in range(2):
            way = Way(parsed is not None, self._is_plain and parsed is not None and not parsed.is_socks, self._meta)
            try:
                return await self._post(path, body, self._session(proxy, parsed), parsed, way)
            except ERRORS as error:
                blame = blame_error(error, way)
                if not way.kept or isinstance(error, TimeoutError):
                    break
        return blame

    async def _post(
        self, path: str, body: bytes, session: aiohttp.ClientSession, proxy: Proxy | None, way: Way
    ) -> Answer | Blame:
        is_http = proxy is not None and not proxy.is_socks
        login = proxy.login if proxy and is_http else {}
        async with session.post(
            self._base + path,
            data=body,
            headers=login if way.whole else {},
            proxy=proxy.url if proxy and is_http else None,
            proxy_headers=login if is_http and not way.whole else None,
            timeout=aiohttp.ClientTimeout(
                total=self._total, connect=self._connect, sock_connect=self._connect * _HANDSHAKES
            ),
            allow_redirects=False,
            trace_request_ctx=way,
        ) as response:
            raw = await response.content.read(LARGEST_ANSWER)
            while not response.content.at_eof() and len(raw) < LARGEST_ANSWER:
                raw += await response.content.read(LARGEST_ANSWER - len(raw))
            answer = answer_of(response.status, response.headers, raw)
        return (blame_answer(answer.status, answer.headers) if way.whole else None) or answer

    def _session(self, proxy: Secret | None, parsed: Proxy | None) -> aiohttp.ClientSession:
        if proxy not in self._sessions:
            self._sessions[proxy] = aiohttp.ClientSession(
                connector=connector(parsed, self._trust),
                headers=_HEADERS,
                trust_env=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                trace_configs=[tracing()],
            )
        return self._sessions[proxy]


@lru_cache(maxsize=4096)
def _place(proxy: Secret) -> str:
    try:
        return parse_proxy(proxy).place
    except ValueError:
        return "?"


def tracing() -> aiohttp.TraceConfig:
    """Tells the request's `Way` when its connection stands: an exception's type does not."""

    async def stood(_: aiohttp.ClientSession, context: SimpleNamespace, __: Any) -> None:
        context.trace_request_ctx.stood = True

    async def kept(_: aiohttp.ClientSession, context: SimpleNamespace, __: Any) -> None:
        context.trace_request_ctx.stood = context.trace_request_ctx.kept = True

    config = aiohttp.TraceConfig()
    config.on_connection_create_end.append(stood)
    config.on_connection_reuseconn.append(kept)
    return config
