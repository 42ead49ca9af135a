"""One question to the Admin API over HTTP, through its own proxy and never around it."""

import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from sidecar.core.admin_api import Trouble
from sidecar.core.secret import Secret
from sidecar.graph.blame import ERRORS, Blame, Way, blame_answer, blame_error
from sidecar.graph.http import tracing
from sidecar.graph.proxy import Proxy, connector, parse_proxy

#: Bytes of an answer that are read at most: some thousands of campaigns with all their parameters.
LARGEST_ANSWER = 32 << 20

_BASE = "/admin_api/v1"
_HEADERS = {"User-Agent": "capi-sidecar", "Accept": "application/json"}
_PORTS = {"http": 80, "https": 443}

#: `blame` speaks of Meta at the far end of the way; here the tracker is there.
_FAR_END = (("Meta, port 443", "the tracker"), ("Meta", "the tracker"))


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP answer: status, headers by lower-case name, and the bytes of its body."""

    status: int
    headers: Mapping[str, str]
    raw: bytes

    @property
    def text(self) -> str:
        return self.raw.decode("utf-8", "replace")

    @property
    def json(self) -> Any:
        """What the body says; None when it is no JSON."""
        try:
            return json.loads(self.raw)
        except (ValueError, RecursionError):
            return None


class Http:
    """Asks the tracker at `url` (https://tracker.example.com; `/admin_api/v1` may follow). In seconds: `connect` until
    the way stands, `total` until the answer is read.

    The key travels in a header. No environment variable changes the way, and no redirect is followed.
    """

    def __init__(self, url: str, key: Secret, proxy: Secret | None, connect: float, total: float) -> None:
        self._base = url.rstrip("/").removesuffix(_BASE) + _BASE
        parts = urlsplit(self._base)
        self._is_plain = parts.scheme == "http"
        self._tracker = (parts.hostname or "", parts.port or _PORTS.get(parts.scheme, 0))
        self._key = key
        self._proxy = proxy
        self._timeout = aiohttp.ClientTimeout(total=total, connect=connect, sock_connect=connect)
        self._session: aiohttp.ClientSession | None = None
        self._closed = False

    @property
    def host(self) -> str:
        """What people may see of the address."""
        return self._tracker[0]

    async def ask(self, method: str, path: str, body: Any = None) -> Reply | Trouble:
        """The answer, or why none came. A connection that was kept and breaks is no fault: it is asked once more."""
        try:
            proxy = parse_proxy(self._proxy) if self._proxy is not None else None
        except ValueError as error:
            return _trouble(blame_error(error, Way(True, False, self._tracker)))
        if not self._key.reveal().isprintable():
            return _NO_HEADER
        for _ in range(2):
            if self._closed:
                return _CLOSED
            way = Way(proxy is not None, self._is_plain and proxy is not None and not proxy.is_socks, self._tracker)
            try:
                reply = await self._request(method, path, body, proxy, way)
            except ERRORS as error:
                blame = blame_error(error, way)
                if not way.kept or isinstance(error, TimeoutError):
                    break
            else:
                refused = blame_answer(reply.status, reply.headers) if way.whole else None
                return _trouble(refused) if refused else reply
        return _trouble(blame)

    async def close(self) -> None:
        """Nothing is asked any more; a question on its way gets no answer."""
        self._closed = True
        if self._session is not None:
            await self._session.close()

    async def _request(self, method: str, path: str, body: Any, proxy: Proxy | None, way: Way) -> Reply:
        is_http = proxy is not None and not proxy.is_socks
        login = proxy.login if proxy and is_http else {}
        async with self._opened(proxy).request(
            method,
            self._base + path,
            json=body,
            headers={"Api-Key": self._key.reveal(), **(login if way.whole else {})},
            proxy=proxy.url if proxy and is_http else None,
            proxy_headers=login if is_http and not way.whole else None,
            timeout=self._timeout,
            allow_redirects=False,
            trace_request_ctx=way,
        ) as response:
            raw = bytearray()
            async for chunk in response.content.iter_any():
                raw += chunk
                if len(raw) > LARGEST_ANSWER:
                    break
            return Reply(response.status, {name.lower(): each for name, each in response.headers.items()}, bytes(raw))

    def _opened(self, proxy: Proxy | None) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=connector(proxy, ssl.create_default_context()),
                headers=_HEADERS,
                trust_env=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                trace_configs=[tracing()],
            )
        return self._session


_CLOSED = Trouble("unreachable", "another Admin API is configured meanwhile", "wait: it is asked by itself")

_NO_HEADER = Trouble("key", "the key holds characters that no header can carry",
                     "put it into tracker.admin_api.key, or into its file, as one line")  # fmt: skip


def _trouble(blame: Blame) -> Trouble:
    return Trouble("proxy" if blame.whose == "proxy" else "unreachable", _said(blame.why), _said(blame.next))


def _said(words: str) -> str:
    for meta, tracker in _FAR_END:
        words = words.replace(meta, tracker)
    return words
