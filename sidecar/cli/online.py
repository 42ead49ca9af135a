"""`capi-sidecar check --online`: asks Meta for each pixel, with its token, through each of its proxies.

It looks at the way, the token and the pixel, and sends no event. The token travels in a header, never in a URL.
"""

import http.client
import json
import re
import socket
from base64 import b64encode
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import requests
import socks  # type: ignore[import-untyped]
import urllib3
from requests.adapters import HTTPAdapter
from requests.utils import get_auth_from_url

from sidecar.app.settings import GRAPH
from sidecar.config.shape import Note, Notes
from sidecar.core.configuration import Configuration, Graph, Integration
from sidecar.core.judge import Answer, Fault
from sidecar.core.reading import FIELDS, LOGIN, Reading, reading_of
from sidecar.core.secret import Secret

#: Questions that are on their way at the same time.
_AT_ONCE = 16

#: Bytes of an answer that are read at most; Meta's have some hundreds.
_LARGEST_ANSWER = 1 << 20

#: Names of integrations that one note shows.
_NAMES_SHOWN = 3

#: Host and port of a proxy's URL: what is before the last @ is its login.
_HOST = re.compile(r"(?:.*@|\w+://)([^@/\s]+:\d+)/?", re.DOTALL)

#: http.client tells the number of a refused tunnel in its message only. Source: HTTPConnection._tunnel.
_REFUSED_TUNNEL = re.compile(r"Tunnel connection failed: (\d{3})\b")

#: requests.RequestException is an OSError.
_NO_ANSWER_CAME = (OSError, ValueError, urllib3.exceptions.HTTPError, http.client.HTTPException)


@dataclass(frozen=True, slots=True)
class Question:
    """A pixel, asked with a token by a way: a proxy, or None for the direct one."""

    pixel_id: str
    token: Secret
    proxy: Secret | None
    api_version: str


def look(configuration: Configuration | None, notes: Notes, graph: str | None = None) -> str:
    """Asks at `graph` (a URL, Meta's by default) and adds to the notes what is found; the result sums up in a line.

    Paused integrations are asked too; those in error are not. What several have in common is asked once.
    """
    if configuration is None:
        return "online: nothing was asked; mend first what is said above"
    asked = [(each, list(_questions(each))) for each in configuration.integrations if not each.error]
    answers = _ask_all((graph or GRAPH).rstrip("/"), configuration.graph, [one for _, own in asked for _, one in own])
    readings = {question: reading_of(answer, question.pixel_id) for question, answer in answers.items()}
    for is_proven, note in _notes(asked, readings):
        (notes.findings if is_proven else notes.remarks).append(note)
    notes.findings.sort()
    notes.remarks.sort()
    answered = sum(all(readings[question].is_answer for _, question in own) for _, own in asked)
    silent = len(configuration.integrations) - len(asked)
    more = f"; {silent} in error not asked" if silent else ""
    return f"online: {answered} of {len(configuration.integrations)} integrations answered through every proxy{more}"


def _questions(integration: Integration) -> Iterator[tuple[int, Question]]:
    """The questions of an integration, each with the proxy's place in the list from 1 on, 0 for none."""
    ways: Sequence[tuple[int, Secret | None]] = list(enumerate(integration.proxies, 1)) or [(0, None)]
    for pixel_id in integration.pixels or (integration.pixel_id,):
        for number, proxy in ways:
            yield number, Question(pixel_id, integration.token, proxy, integration.api_version)


def _ask_all(base: str, limits: Graph, questions: Sequence[Question]) -> Mapping[Question, Answer | Fault]:
    distinct = list(dict.fromkeys(questions))
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return dict(zip(distinct, pool.map(partial(ask, base, limits), distinct), strict=True))


def _notes(
    asked: Sequence[tuple[Integration, Sequence[tuple[int, Question]]]], readings: Mapping[Question, Reading]
) -> Iterator[tuple[bool, Note]]:
    """Whether it is proven, and the note; what is said of several integrations at one place is one note."""
    named: dict[tuple[bool, str, str], list[str]] = defaultdict(list)
    for integration, questions in asked:
        for number, question in questions:
            reading = readings[question]
            if reading.kind == "well":
                continue
            is_of_token = reading.kind in ("token", "unreadable")
            place = integration.token_place if is_of_token else integration.proxy_place
            words = reading.words if is_of_token else f"{_way(number, question.proxy)}: {reading.words}"
            named[reading.is_proven, place, words].append(integration.name)
    for (is_proven, place, words), names in named.items():
        file, _, line = place.rpartition(":")
        yield is_proven, Note(file, int(line), 1, "", f"{_listed(list(dict.fromkeys(names)))}: {words}")


def _way(number: int, proxy: Secret | None) -> str:
    """A proxy by its number, host and port, never its login."""
    if proxy is None:
        return "without a proxy"
    match = _HOST.fullmatch(proxy.reveal())
    return f"proxy {number} ({match[1]})" if match else f"proxy {number}"


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _NAMES_SHOWN
    return ", ".join(names[:_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")


def ask(base: str, limits: Graph, question: Question) -> Answer | Fault:
    """Meta's answer to a question, or why none came; no environment variable changes the way, no redirect is
    followed."""
    try:
        with (
            _session(question) as session,
            session.get(
                f"{base}/{question.api_version}/{question.pixel_id}?fields={FIELDS}",
                timeout=(limits.connect, limits.total),
                allow_redirects=False,
                stream=True,
            ) as response,
        ):
            headers = {name.lower(): value for name, value in response.headers.items()}
            raw = response.raw.read(_LARGEST_ANSWER, decode_content=True)
            return Answer(response.status_code, headers, _object(raw))
    except _NO_ANSWER_CAME as error:
        return fault_of(error, question.proxy is not None)


class _Adapter(HTTPAdapter):
    """Trusts whom the daemon trusts, the system's authorities and not a list of requests' own, and says the login of a
    proxy as the daemon says it, in UTF-8 (RFC 7617)."""

    def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:
        conn.cert_reqs = "CERT_REQUIRED"

    def proxy_headers(self, proxy: str) -> dict[str, str]:
        login = ":".join(get_auth_from_url(proxy))
        return {"Proxy-Authorization": f"Basic {b64encode(login.encode()).decode()}"} if login != ":" else {}


def _session(question: Question) -> requests.Session:
    session = requests.Session()
    session.trust_env = False
    for scheme in ("http://", "https://"):
        session.mount(scheme, _Adapter())
    session.headers.update({"User-Agent": "capi-sidecar", "Accept": "application/json"})
    session.headers["Authorization"] = b"Bearer " + question.token.reveal().encode()
    if question.proxy:
        session.proxies = dict.fromkeys(("http", "https"), question.proxy.reveal())
    return session


def _object(raw: bytes) -> Mapping[str, Any] | None:
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    return body if isinstance(body, dict) else None


def fault_of(error: BaseException, proxied: bool) -> Fault:
    """Why no answer came, by the types of the exceptions that led to it; their texts may hold a login."""
    chain = list(_chain(error))
    whose, table = ("proxy", _OF_A_PROXY) if proxied else ("meta", _OF_META)
    if proxied and (status := _refused_tunnel(chain)):
        return Fault(whose, LOGIN if status == "407" else _POLICY.format(f"it answered {status}"))
    for types, words in table:
        if all(any(isinstance(each, one) for each in chain) for one in types):
            return Fault(whose, words)
    return Fault(whose, f"the connection broke ({type(error).__name__})")


def _refused_tunnel(chain: Sequence[BaseException]) -> str:
    """The HTTP status with which a proxy refused the way to Meta, or an empty text."""
    found = (_REFUSED_TUNNEL.match(str(each)) for each in chain if type(each) is OSError)
    return next((match[1] for match in found if match), "")


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An exception and those that it was raised for."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


_POLICY = "policy or path: {}; let it reach Meta, port 443; its log says more"
_HUNG_UP = "connect: it hung up; are its scheme and port right, and may this machine use it?"

_Row = tuple[tuple[type[BaseException], ...], str]

#: Exceptions that must all have led to a fault, and its words, which are the daemon's; the first row that fits counts.
_OF_A_PROXY: tuple[_Row, ...] = (
    ((socks.SOCKS5AuthError,), LOGIN),
    ((socks.GeneralProxyError, socket.gaierror),
     "DNS: this machine does not know Meta's name; mend its resolver, or write socks5h://"),
    ((socket.gaierror,), "DNS: the name is not known; correct the proxy's host, or mend this machine's resolver"),
    ((TimeoutError,), "connect: no answer in time; is it up, is the port right, and does it reach Meta?"),
    ((urllib3.exceptions.SSLError,),
     "TLS: a certificate or the handshake is not accepted; are its scheme and port right, or does it intercept TLS?"),
    ((socks.SOCKS5Error,), _POLICY.format("SOCKS 5 was refused")),
    ((socks.SOCKS4Error,), _POLICY.format("SOCKS 4 was refused")),
    ((ConnectionResetError,), _HUNG_UP),
    ((socks.GeneralProxyError,), _HUNG_UP),
    ((http.client.HTTPException,), "connect: what answers there speaks another protocol; correct its scheme and port"),
    ((urllib3.exceptions.NewConnectionError,),
     "connect: refused or unreachable; is it up, and are host and port right?"),
    ((ValueError,), "connect: its URL is none; write scheme://user:password@host:port"),
)  # fmt: skip
_OF_META: tuple[_Row, ...] = (
    ((socket.gaierror,), "DNS: Meta's name is not known; mend this machine's resolver"),
    ((TimeoutError,), "no answer in time; may this machine reach Meta, port 443?"),
    ((urllib3.exceptions.SSLError,),
     "TLS: Meta's certificate or the handshake is not accepted; is the package ca-certificates up to date?"),
    ((urllib3.exceptions.NewConnectionError,),
     "connect: refused or unreachable; may this machine reach Meta, port 443?"),
    ((ValueError,), "the address is none; check --graph"),
)  # fmt: skip
