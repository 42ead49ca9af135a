"""Whose fault it is that no answer of Meta came, by numbers and types; texts of errors hold addresses and logins.

The law: until the way stands (TCP, the proxy's handshake, TLS with Meta) nothing was sent, and what fails is charged to
the proxy, if there is one. Once it stands, silence is charged to Meta: nobody can tell from here who was silent.
"""

import re
import socket
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import aiohttp
from aiohttp_socks import ProxyConnectionError, ProxyError, ProxyTimeoutError

from sidecar.core.judge import Fault

#: What sending may raise; anything else is a defect of ours.
ERRORS = (
    aiohttp.ClientError,
    ProxyError,
    ProxyConnectionError,
    ProxyTimeoutError,
    TimeoutError,
    OSError,
    EOFError,
    ValueError,
)


@dataclass(slots=True)
class Way:
    """How a request went so far: whether through a proxy; `whole` says that an HTTP proxy is handed the request itself
    and not asked for a tunnel; `meta` is Meta's host and port. `stood` turns true when the connection is there, and
    `kept` when it is one that an earlier request left."""

    proxied: bool
    whole: bool
    meta: tuple[str, int]
    stood: bool = False
    kept: bool = False


@dataclass(frozen=True, slots=True)
class Blame:
    """`whose` is `meta` or `proxy`; why, and what to do next, in words without any address or login."""

    whose: str
    why: str
    next: str

    @property
    def fault(self) -> Fault:
        return Fault(self.whose, f"{self.why}; {self.next}")


def blame_error(error: Exception, way: Way) -> Blame:
    """Whose fault an exception is; one of `ERRORS`."""
    chain = tuple(_chain(error))
    if way.stood:
        return _after(error, way)
    if not way.proxied:
        return Blame("meta", *_row(_DIRECT, chain, ("the connection broke", _WAIT)))
    for each in chain:
        if isinstance(each, aiohttp.ClientHttpProxyError):
            return _refused_tunnel(each.status)
        if isinstance(each, ProxyError):
            return _refused_socks(each.error_code)
    if _concerns_meta(chain, way):
        return Blame("proxy", *_row(_BEYOND, chain, _BROKE_BEYOND))
    return Blame("proxy", *_row(_PROXY, chain, _UNREACHABLE))


def blame_answer(status: int, headers: Mapping[str, str]) -> Blame | None:
    """Whether an HTTP proxy that was handed a whole request answered in Meta's place: it says so by 407 (RFC 9110), by
    Squid's X-Squid-Error, or by Proxy-Status with an error (RFC 9209). Header names in lower case."""
    if status == 407:
        return Blame("proxy", *_LOGIN)
    said = "x-squid-error" in headers or _PROXY_ERROR.search(headers.get("proxy-status", ""))
    return Blame("proxy", f"{_POLICY}: it answered {status} itself", _REACH) if status in (403, 503) and said else None


_WAIT = "wait: it is tried again by itself"
_POLICY = "proxy policy or path"
_REACH = "let it reach Meta, port 443; its log says more"
_LOGIN = ("proxy login: user or password is wrong", "correct them in the proxy's URL")
_NO_ASCII = ("proxy login: a SOCKS login is sent in ASCII", "choose another user or password")
_NO_PROXY = ("proxy connect: what answers there speaks another protocol", "correct the proxy's scheme and port")
_BROKE_BEYOND = (f"{_POLICY}: it hung up while TLS with Meta began", _REACH)
_UNREACHABLE = ("proxy connect: refused or unreachable", "is it up, and are host and port right?")

#: An error parameter of a Proxy-Status member (RFC 9209, 2.1.1).
_PROXY_ERROR = re.compile(r";\s*error\s*=")

#: SOCKS5's replies (RFC 1928, 6), and SOCKS4's, which says 91 to everything.
_SOCKS_REPLIES = {
    1: "general failure",
    2: "not allowed by its rules",
    3: "network unreachable",
    4: "host unreachable",
    5: "Meta's side refused the connection",
    6: "TTL expired",
    7: "command not supported",
    8: "address type not supported",
    91: "rejected or failed",
}

#: SOCKS4: the proxy asked this machine's identd for the user, and was not content.
_SOCKS4_LOGIN = frozenset({92, 93})

Row = tuple[type[BaseException] | tuple[type[BaseException], ...], str, str]

_TIMEOUTS = (TimeoutError, ProxyTimeoutError)
_NAMES = (aiohttp.ClientConnectorDNSError, socket.gaierror)
_CERTIFICATES = (aiohttp.ClientConnectorCertificateError, ssl.SSLCertVerificationError)
_HANDSHAKES = (aiohttp.ClientSSLError, ssl.SSLError)
_HANG_UPS = (EOFError, aiohttp.ServerDisconnectedError, ConnectionResetError, BrokenPipeError, ssl.SSLEOFError)

#: Without a proxy: from the most to the least particular.
_DIRECT: tuple[Row, ...] = (
    (_NAMES, "DNS: the name is not known", "mend this machine's resolver"),
    (_CERTIFICATES, "TLS: Meta's certificate is not accepted", "is the package ca-certificates up to date?"),
    (_HANG_UPS, "connect: it was broken off", "does a firewall between here and Meta forbid it?"),
    (_HANDSHAKES, "TLS: the handshake failed", "does something between here and Meta intercept TLS?"),
    (_TIMEOUTS, "connect: no answer in time", "may this machine reach Meta, port 443?"),
    (ValueError, "the address is none", "check its spelling"),
    (OSError, "connect: refused or unreachable", "may this machine reach Meta, port 443?"),
)

#: Between this machine and the proxy.
_PROXY: tuple[Row, ...] = (
    (_NAMES, "proxy DNS: the name is not known", "correct the proxy's host, or mend this machine's resolver"),
    (_CERTIFICATES, "proxy TLS: the proxy's certificate is not accepted",
     "renew it, write the name that it is for, or put its CA into the system's trust store"),
    (_HANG_UPS, "proxy connect: it hung up before the way stood", "is its scheme right, and may this machine use it?"),
    (_HANDSHAKES, "proxy TLS: the handshake failed", "is it an https:// proxy, and is the port right?"),
    (_TIMEOUTS, "proxy connect: no answer in time", "is it up, is the port right, and does it reach Meta?"),
    (UnicodeEncodeError, *_NO_ASCII),
    (ValueError, "proxy connect: its URL is none", "write scheme://user:password@host:port"),
    (aiohttp.ClientResponseError, *_NO_PROXY),
)  # fmt: skip

#: Between the proxy and Meta, where this machine can tell.
_BEYOND: tuple[Row, ...] = (
    (_NAMES, "proxy DNS: this machine does not know Meta's name", "mend its resolver, or write socks5h://"),
    (_CERTIFICATES, "proxy TLS: Meta's certificate is not accepted through it",
     "does it intercept TLS? is the package ca-certificates up to date?"),
    (_HANG_UPS, *_BROKE_BEYOND),
    (_HANDSHAKES, f"{_POLICY}: TLS with Meta failed behind it", _REACH),
)  # fmt: skip


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An exception and what it came from: libraries wrap what the system said."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _row(rows: tuple[Row, ...], chain: tuple[BaseException, ...], otherwise: tuple[str, str]) -> tuple[str, str]:
    for kind, why, next in rows:
        if any(isinstance(each, kind) for each in chain):
            return why, next
    return otherwise


def _after(error: Exception, way: Way) -> Blame:
    """A proxy that was handed a whole request answers 502 for Meta; if its connection breaks, it broke itself."""
    if isinstance(error, TimeoutError):
        return Blame("meta", "no answer in time", _WAIT)
    if way.whole and not isinstance(error, aiohttp.ClientPayloadError):
        return Blame("proxy", "proxy connect: the connection broke before an answer", "its log says more")
    return Blame("meta", f"the connection broke ({type(error).__name__})", _WAIT)


def _refused_tunnel(status: int) -> Blame:
    return Blame("proxy", *_LOGIN) if status == 407 else Blame("proxy", f"{_POLICY}: it answered {status}", _REACH)


def _refused_socks(code: int | None) -> Blame:
    """A refused login has no number of its own: it looks like a server that speaks something else."""
    if code is None or code in _SOCKS4_LOGIN:
        return Blame("proxy", "proxy login: refused, or it is no such SOCKS proxy",
                     "correct user, password and scheme in the proxy's URL")  # fmt: skip
    name = _SOCKS_REPLIES.get(code, "a reply of its own")
    return Blame("proxy", f"{_POLICY}: SOCKS answered {code} ({name})", _REACH)


def _concerns_meta(chain: tuple[BaseException, ...], way: Way) -> bool:
    """Whether an error that came before the way stood is one of Meta's end.

    aiohttp says of which address it speaks. In a SOCKS connection only Meta's name and Meta's TLS raise what comes bare
    from the system. Within TLS to a proxy, Python 3.11 itself stumbles over a handshake that fails (TypeError).
    """
    error, *causes = chain
    if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ClientConnectorCertificateError):
        return (error.host, error.port) == way.meta
    if isinstance(error, ProxyConnectionError):
        return False
    return any(isinstance(each, TypeError | socket.gaierror | ssl.SSLError) for each in causes)
