"""A proxy's URL taken apart, and the connections through it."""

import ssl
from base64 import b64encode
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

import aiohttp
from aiohttp_socks import ProxyConnector, ProxyType

from sidecar.core.secret import Secret

#: The protocol of each SOCKS scheme, and whether the proxy looks Meta's name up; else this machine does. As in curl.
_SOCKS = {
    "socks5": (ProxyType.SOCKS5, False),
    "socks5h": (ProxyType.SOCKS5, True),
    "socks4": (ProxyType.SOCKS4, False),
}

#: Seconds for which a connection is kept for the next request.
_KEPT = 30.0


@dataclass(frozen=True, slots=True)
class Proxy:
    """Scheme and address as they are; user and password with %XX decoded (RFC 3986, 2.1), empty when there is none."""

    scheme: str
    host: str
    port: int
    user: str = field(repr=False)
    password: str = field(repr=False)

    @property
    def place(self) -> str:
        """`host:port`, IPv6 in brackets: what people may see."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_socks(self) -> bool:
        return self.scheme in _SOCKS

    @property
    def url(self) -> str:
        """Without the login, so that no error's text can hold it."""
        return f"{self.scheme}://{self.place}"

    @property
    def login(self) -> dict[str, str]:
        """The header for a proxy that speaks HTTP (RFC 7617); UTF-8, as curl and browsers send it."""
        if not (self.user or self.password):
            return {}
        return {"Proxy-Authorization": "Basic " + b64encode(f"{self.user}:{self.password}".encode()).decode()}


def parse_proxy(proxy: Secret) -> Proxy:
    """Raises ValueError, whose text must not be shown."""
    parts = urlsplit(proxy.reveal())
    if parts.scheme not in ("http", "https", *_SOCKS) or not parts.hostname or not parts.port:
        raise ValueError("an unknown scheme, no host or no port")
    return Proxy(parts.scheme, parts.hostname, parts.port, unquote(parts.username or ""), unquote(parts.password or ""))


def connector(proxy: Proxy | None, trust: ssl.SSLContext) -> aiohttp.BaseConnector:
    """Connections of one way; `trust` judges the certificates of Meta and of an https:// proxy."""
    if proxy is None or not proxy.is_socks:
        return aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEPT, ssl=trust)
    kind, proxy_resolves = _SOCKS[proxy.scheme]
    return ProxyConnector(
        proxy.host,
        proxy.port,
        kind,
        proxy.user,
        proxy.password,
        proxy_resolves,
        limit=0,
        keepalive_timeout=_KEPT,
        ssl=trust,
    )
