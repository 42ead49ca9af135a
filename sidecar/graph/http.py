"""Requests over HTTP, through the integration's proxies and never around them."""

import ssl
import time
from collections.abc import Sequence
from urllib.parse import urlsplit, urlunsplit

import aiohttp
from aiohttp_socks import ProxyConnectionError, ProxyConnector, ProxyError, ProxyTimeoutError

from sidecar.core.delivery import Lane
from sidecar.core.judge import Answer, Fault
from sidecar.core.secret import Secret
from sidecar.graph import Sent
from sidecar.graph.request import LARGEST_ANSWER, answer_of, body_of, path_of

_HEADERS = {"Content-Type": "application/json", "User-Agent": "capi-sidecar", "Accept": "application/json"}

_SOCKS_ERRORS = (ProxyError, ProxyConnectionError, ProxyTimeoutError)

#: Proxy URL schemes of python-socks: with socks5h and socks4 the proxy looks the name up.
_SOCKS = {"socks5": ("socks5", False), "socks5h": ("socks5", True), "socks4": ("socks4", False)}


class HttpGraph:
    """Sends to `base` (https://graph.facebook.com); time-outs in seconds.

    One session for each way out: connections of one proxy are never used for another. No environment variable
    changes the way (trust_env is off), and no redirect is followed.
    """

    def __init__(self, base: str, connect: float, total: float) -> None:
        self._base = base.rstrip("/")
        self._connect = connect
        self._total = total
        self._sessions: dict[Secret | None, aiohttp.ClientSession] = {}

    def set_timeouts(self, connect: float, total: float) -> None:
        """Holds from the next request on."""
        self._connect, self._total = connect, total

    async def send(self, lane: Lane, events: Sequence[bytes]) -> Sent:
        """Through the first proxy that can be used, in the order of the list."""
        started = time.monotonic()
        body = body_of(lane, events)
        ways: list[tuple[int, Secret | None]] = list(enumerate(lane.proxies, 1)) or [(0, None)]
        for number, proxy in ways:
            sent = Sent(await self._post(path_of(lane), body, proxy), number, time.monotonic() - started)
            if not (isinstance(sent.answer, Fault) and sent.answer.whose == "proxy"):
                break
        return sent

    async def close(self) -> None:
        for session in self._sessions.values():
            await session.close()

    async def _post(self, path: str, body: bytes, proxy: Secret | None) -> Answer | Fault:
        timeout = aiohttp.ClientTimeout(total=self._total, sock_connect=self._connect)
        try:
            async with self._session(proxy).post(
                self._base + path, data=body, timeout=timeout, proxy=_http_proxy(proxy), allow_redirects=False
            ) as response:
                raw = await response.content.read(LARGEST_ANSWER)
                while not response.content.at_eof() and len(raw) < LARGEST_ANSWER:
                    raw += await response.content.read(LARGEST_ANSWER - len(raw))
                return answer_of(response.status, response.headers, raw)
        except (aiohttp.ClientError, *_SOCKS_ERRORS, TimeoutError, OSError, EOFError, ValueError) as error:
            return fault_of(error, proxy is not None)

    def _session(self, proxy: Secret | None) -> aiohttp.ClientSession:
        if proxy not in self._sessions:
            self._sessions[proxy] = aiohttp.ClientSession(
                connector=_connector(proxy), headers=_HEADERS, trust_env=False, cookie_jar=aiohttp.DummyCookieJar()
            )
        return self._sessions[proxy]


def fault_of(error: Exception, proxied: bool) -> Fault:
    """Whose fault it is that no answer came, in words without any address or login."""
    way = "proxy" if proxied else "meta"
    if isinstance(error, aiohttp.ClientHttpProxyError | ProxyError):
        status = error.status if isinstance(error, aiohttp.ClientHttpProxyError) else error.error_code
        login = "proxy login: user or password is wrong"
        return Fault("proxy", login if status == 407 else f"proxy policy or path: it answered {status}")
    for kind, whose, words in (
        (ProxyTimeoutError, "proxy", "proxy connect: no answer in time; is it up, and is the port right?"),
        (aiohttp.ConnectionTimeoutError, way, "connect: no answer in time"),
        (aiohttp.ClientSSLError | ssl.SSLError, way, "TLS: the certificate or the handshake is not accepted"),
        (aiohttp.ClientConnectorDNSError, way, "DNS: the name is not known"),
        (aiohttp.ClientConnectorError | ProxyConnectionError, way, "connect: refused or unreachable"),
        (EOFError, "proxy", "proxy connect: it hung up before it had answered"),
        (TimeoutError, "meta", "no answer in time"),
        (aiohttp.InvalidURL, way, "the address is none; check its spelling"),
    ):
        if isinstance(error, kind):
            return Fault(whose, words)
    return Fault("meta", f"the connection broke ({type(error).__name__})")


def _connector(proxy: Secret | None) -> aiohttp.BaseConnector:
    parts = urlsplit(proxy.reveal()) if proxy else None
    if parts is None or parts.scheme not in _SOCKS:
        return aiohttp.TCPConnector(limit=0, keepalive_timeout=30.0)
    scheme, remote_names = _SOCKS[parts.scheme]
    url = urlunsplit((scheme, parts.netloc, "", "", ""))
    return ProxyConnector.from_url(url, rdns=remote_names, limit=0)


def _http_proxy(proxy: Secret | None) -> str | None:
    """The proxy that aiohttp itself speaks to; SOCKS is the connector's. No error's own text is ever shown: it may
    hold the login."""
    scheme = urlsplit(proxy.reveal()).scheme if proxy else ""
    return proxy.reveal() if proxy and scheme not in _SOCKS else None
