"""`capi-sidecar check --online`, run as a person runs it, with the stand-in for Meta, Squid and proxies that fail."""

import asyncio
import contextlib
import json
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from aiohttp import web

from sidecar.cli.online import fault_of
from sidecar.core.judge import Answer, Fault
from sidecar.core.reading import LOGIN, reading_of
from sidecar.sandbox.server import application
from sidecar.sandbox.standin import StandIn as PureStandIn
from tests.acceptance.ours import StandIn
from tests.acceptance.parts import Squid, free_address, installed

ROOT = Path(__file__).parents[2]
TOKEN = "EAAcanaryTOKENcanary"
PASSWORD = "canary pässw@rd"
HEAD = "tracker: {postback_key: 2a76c2a}\ngraph: {connect: 1s, total: 2s}\nintegrations:\n"
REFUSED = "connect: refused or unreachable; is it up, and are host and port right?"
UNREADABLE = (
    "a token made in Events Manager may send without reading: this proves nothing; capi-sidecar send-test NAME tells"
)


@pytest.fixture(scope="module")
def shared_meta(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    with StandIn(tmp_path_factory.mktemp("meta")) as standin:
        yield standin


@pytest.fixture
def meta(shared_meta: StandIn) -> StandIn:
    """The stand-in, well and with nothing to remember."""
    shared_meta.fail(mode="none")
    requests.delete(f"{shared_meta.url}/_events", timeout=30).raise_for_status()
    return shared_meta


@pytest.fixture(scope="module")
def squid(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Squid]:
    with Squid(tmp_path_factory.mktemp("squid"), "user", PASSWORD) as squid:
        yield squid


def written(name: str = "Summer", **keys: Any) -> str:
    """An integration in four lines; its proxy stands in the last one."""
    known = {"campaigns": [name], "pixel_id": "1", "mapping": {"sale": "Purchase"}, **keys}
    proxy = known.pop("proxy", None)
    token = known.pop("token", TOKEN)
    return (
        f"  - name: {name}\n    <<: {json.dumps(known)}\n"
        f"    token: {json.dumps(token)}\n    proxy: {json.dumps(proxy)}\n"
    )


def command(directory: Path, text: str, graph: str, *options: str) -> list[str]:
    (directory / "integrations.yaml").write_text(text)
    return [
        sys.executable,
        "-m",
        "sidecar",
        "check",
        "--online",
        "--config",
        str(directory),
        "--graph",
        graph,
        *options,
    ]


def check(
    directory: Path, text: str, graph: str, *options: str, **environment: str
) -> tuple[int, list[str], list[str]]:
    """Exit code, rows, and remarks without the one about Keitaro's own integration; never a secret in them."""
    done = subprocess.run(
        command(directory, text, graph, *options),
        cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    return told(done.returncode, done.stdout, done.stderr)


def told(code: int | None, rows: str, remarks: str) -> tuple[int, list[str], list[str]]:
    assert "Traceback" not in remarks, remarks
    assert not [canary for canary in (TOKEN, PASSWORD, "canary", "user:", "user@") if canary in rows + remarks]
    assert code is not None
    return code, rows.splitlines(), [line for line in remarks.splitlines() if "switch off Keitaro's own" not in line]


def summary(answered: int, of: int, more: str = "") -> str:
    return f"online: {answered} of {of} integrations answered through every proxy{more}"


@contextlib.contextmanager
def listening() -> Iterator[int]:
    """A port that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=8) as hanging:
        yield hanging.getsockname()[1]


def test_a_token_that_reads_its_pixel_is_well_and_said_in_one_line(tmp_path: Path, meta: StandIn) -> None:
    assert check(tmp_path, HEAD + written(), meta.url) == (0, [], [summary(1, 1)])
    listing = meta.listing()
    assert (listing["reads"], listing["requests"], listing["events"]) == (1, 0, [])


def test_the_url_may_come_from_the_environment_and_end_with_a_slash(tmp_path: Path, meta: StandIn) -> None:
    words = command(tmp_path, HEAD + written(), "")
    del words[words.index("--graph") :]
    environment = {**os.environ, "CAPI_SIDECAR_GRAPH": f"{meta.url}/"}
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, meta.listing()["reads"]) == (0, 1)


def test_a_graph_that_is_no_url_is_a_usage_error(tmp_path: Path) -> None:
    code, rows, remarks = check(tmp_path, HEAD + written(), "graph.facebook.com")
    assert (code, rows, remarks) == (2, [], ["check: --graph: a URL such as http://127.0.0.1:8192 is needed"])


def test_a_refused_token_is_a_finding_at_its_line_whichever_proxy_tells(
    tmp_path: Path, meta: StandIn, squid: Squid
) -> None:
    meta.fail(mode="token", token=TOKEN)
    text = HEAD + written(proxy=[squid.url, squid.url + "/"]) + written("Autumn", token="EAAother")
    code, rows, remarks = check(tmp_path, text, meta.url)
    assert (code, remarks) == (1, [summary(2, 2)])
    assert rows == ["integrations.yaml:6:1: Summer: Meta refuses the token (190/463); put a new one into its place"]


@pytest.mark.parametrize(
    ("mode", "numbers"), [("unreadable", "100"), ("permission", "200"), ("invisible", "100/33")]
)  # fmt: skip
def test_a_pixel_that_cannot_be_read_is_a_remark_for_it_proves_nothing(
    tmp_path: Path, meta: StandIn, mode: str, numbers: str
) -> None:
    meta.fail(mode=mode)
    code, rows, remarks = check(tmp_path, HEAD + written(), meta.url)
    words = f"the token may not read pixel 1 ({numbers}); {UNREADABLE}"
    assert (code, rows, remarks) == (0, [], [f"remark: integrations.yaml:6:1: Summer: {words}", summary(1, 1)])


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("throttle", "Meta asks for a pause (80004)"),
        ("policy", "Meta has blocked this for its policy (368)"),
        ("transient", "Meta could not take it for the moment (2)"),
        ("html", "Meta could not take it for the moment (HTTP 502)"),
        ("unknown", "an answer that is not known (999999)"),
    ],
)
def test_what_meta_cannot_answer_now_is_a_remark(tmp_path: Path, meta: StandIn, mode: str, words: str) -> None:
    meta.fail(mode=mode)
    code, rows, remarks = check(tmp_path, HEAD + written(), meta.url)
    assert (code, rows, remarks[1:]) == (0, [], [summary(0, 1)])
    assert remarks[0] == (
        "remark: integrations.yaml:7:1: Summer: without a proxy: pixel 1 could not be asked: "
        f"{words}; this proves nothing, ask again later"
    )


@pytest.mark.parametrize(("mode", "words"), [("reset", "the connection broke"), ("slow", "no answer in time")])
def test_no_answer_at_all_is_a_finding(tmp_path: Path, meta: StandIn, mode: str, words: str) -> None:
    meta.fail(mode=mode, **({"seconds": 20} if mode == "slow" else {}))
    code, rows, remarks = check(tmp_path, HEAD + written(), meta.url)
    assert (code, len(rows), remarks) == (1, 1, [summary(0, 1)])
    assert rows[0].startswith(f"integrations.yaml:7:1: Summer: without a proxy: {words}")


@pytest.mark.parametrize(
    ("graph", "words"),
    [
        (f"http://{free_address()}", "connect: refused or unreachable; may this machine reach Meta, port 443?"),
        ("https://graph.invalid", "DNS: Meta's name is not known; mend this machine's resolver"),
        ("http://", "the address is none; check --graph"),
    ],
)
def test_a_meta_that_cannot_be_reached_is_a_finding(tmp_path: Path, graph: str, words: str) -> None:
    code, rows, _ = check(tmp_path, HEAD + written(), graph)
    assert (code, rows) == (1, [f"integrations.yaml:7:1: Summer: without a proxy: {words}"])


@pytest.mark.parametrize("scheme", ["http", "https", "socks5", "socks5h", "socks4"])
def test_a_proxy_that_is_down_is_a_finding_with_its_number(tmp_path: Path, meta: StandIn, scheme: str) -> None:
    address = free_address()
    code, rows, remarks = check(tmp_path, HEAD + written(proxy=f"{scheme}://user:canary@{address}"), meta.url)
    assert (code, remarks, meta.listing()["reads"]) == (1, [summary(0, 1)], 0)
    assert rows == [f"integrations.yaml:7:1: Summer: proxy 1 ({address}): {REFUSED}"]


@pytest.mark.parametrize("scheme", ["http", "socks5h"])
def test_a_proxy_whose_name_is_unknown_is_told_apart(tmp_path: Path, meta: StandIn, scheme: str) -> None:
    code, rows, _ = check(tmp_path, HEAD + written(proxy=f"{scheme}://proxy.invalid:3128"), meta.url)
    words = "DNS: the name is not known; correct the proxy's host, or mend this machine's resolver"
    assert (code, rows) == (1, [f"integrations.yaml:7:1: Summer: proxy 1 (proxy.invalid:3128): {words}"])


def test_with_socks5_metas_name_is_looked_up_here(tmp_path: Path) -> None:
    with Socks() as socks:
        code, rows, _ = check(tmp_path, HEAD + written(proxy=socks.url("socks5")), "https://graph.invalid")
    words = "DNS: this machine does not know Meta's name; mend its resolver, or write socks5h://"
    assert (code, rows) == (1, [f"integrations.yaml:7:1: Summer: proxy 1 ({socks.address}): {words}"])


@pytest.mark.parametrize("scheme", ["http", "socks5h"])
def test_a_proxy_that_hangs_is_given_up(tmp_path: Path, meta: StandIn, scheme: str) -> None:
    with listening() as port:
        begin = time.monotonic()
        code, rows, _ = check(tmp_path, HEAD + written(proxy=f"{scheme}://127.0.0.1:{port}"), meta.url)
    assert (code, len(rows)) == (1, 1)
    assert f"proxy 1 (127.0.0.1:{port}): connect: no answer in time" in rows[0]
    assert time.monotonic() - begin < 30


def test_the_proxys_way_is_taken_with_its_login_decoded(tmp_path: Path, meta: StandIn, squid: Squid) -> None:
    assert check(tmp_path, HEAD + written(proxy=squid.url), meta.url) == (0, [], [summary(1, 1)])
    method, target, status, user = squid.requests()[-1]
    assert (method, target, status, user) == ("GET", f"{meta.url}/v26.0/1?fields=id,name", 200, "user")
    assert TOKEN not in squid.access_log.read_text()


@pytest.mark.parametrize("graph", ["plain", "https://127.0.0.1:1"])
def test_a_wrong_login_is_a_finding(tmp_path: Path, meta: StandIn, squid: Squid, graph: str) -> None:
    """Meta over https is asked through a tunnel, which the proxy refuses in another way."""
    proxy = f"http://user:canary@{squid.address}"
    code, rows, _ = check(tmp_path, HEAD + written(proxy=proxy), meta.url if graph == "plain" else graph)
    assert (code, rows) == (1, [f"integrations.yaml:7:1: Summer: proxy 1 ({squid.address}): {LOGIN}"])


def test_a_tunnel_that_the_proxy_refuses_is_a_finding(tmp_path: Path, squid: Squid) -> None:
    code, rows, _ = check(tmp_path, HEAD + written(proxy=squid.url), f"https://{free_address()}")
    words = "policy or path: it answered 503; let it reach Meta, port 443; its log says more"
    assert (code, rows) == (1, [f"integrations.yaml:7:1: Summer: proxy 1 ({squid.address}): {words}"])


@pytest.mark.parametrize("scheme", ["socks5", "socks5h", "socks4"])
def test_a_socks_proxy_is_used_as_it_is_written(tmp_path: Path, meta: StandIn, scheme: str) -> None:
    with Socks() as socks:
        graph = meta.url.replace("127.0.0.1", "localhost")
        assert check(tmp_path, HEAD + written(proxy=socks.url(scheme)), graph) == (0, [], [summary(1, 1)])
    asked = "localhost" if scheme == "socks5h" else "address"
    assert socks.asked == [asked]


def test_a_socks_proxy_that_refuses_the_login_says_so(tmp_path: Path, meta: StandIn) -> None:
    with Socks() as socks:
        proxy = socks.url("socks5h").replace("canary", "other")
        code, rows, _ = check(tmp_path, HEAD + written(proxy=proxy), meta.url)
    assert (code, rows) == (1, [f"integrations.yaml:7:1: Summer: proxy 1 ({socks.address}): {LOGIN}"])


def test_every_proxy_of_a_list_is_asked_and_told_by_its_number(tmp_path: Path, meta: StandIn, squid: Squid) -> None:
    dead = free_address()
    code, rows, remarks = check(tmp_path, HEAD + written(proxy=[squid.url, f"http://{dead}"]), meta.url)
    assert (code, remarks, meta.listing()["reads"]) == (1, [summary(0, 1)], 1)
    assert rows == [f"integrations.yaml:7:1: Summer: proxy 2 ({dead}): {REFUSED}"]


def test_no_variable_of_the_environment_changes_the_way(tmp_path: Path, meta: StandIn, squid: Squid) -> None:
    dead = f"http://{free_address()}"
    names = ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
    environment = {**dict.fromkeys(names, dead), "no_proxy": "127.0.0.1", "NO_PROXY": "*"}
    before = len(squid.requests())
    text = HEAD + written(proxy=squid.url) + written("Autumn")
    assert check(tmp_path, text, meta.url, **environment) == (0, [], [summary(2, 2)])
    assert (len(squid.requests()) - before, meta.listing()["reads"]) == (1, 2)


def test_a_bad_configuration_asks_nothing(tmp_path: Path, meta: StandIn) -> None:
    code, rows, remarks = check(tmp_path, HEAD + written() + written("Autumn", maping=1), meta.url)
    assert (code, len(rows), meta.listing()["reads"]) == (78, 1, 0)
    assert remarks == ["online: nothing was asked; mend first what is said above"]


def test_a_paused_one_is_asked_and_one_in_error_is_not(tmp_path: Path, meta: StandIn) -> None:
    """An unreadable secret is a finding, as with --secrets."""
    meta.fail(mode="token")
    text = HEAD + written(paused=True) + written("Autumn", token="${env:NO_SUCH_TOKEN}")
    code, rows, remarks = check(tmp_path, text, meta.url)
    assert (code, meta.listing()["reads"], remarks) == (1, 1, [summary(1, 2, "; 1 in error not asked")])
    assert [row.partition(": ")[2][:40] for row in rows] == [
        "Summer: Meta refuses the token (190/463)",
        "integrations[1].token: secret cannot be ",
    ]


def test_each_allowed_pixel_of_a_template_is_asked(tmp_path: Path, meta: StandIn) -> None:
    meta.fail(mode="unreadable", pixel_id="12")
    text = HEAD + written(pixel_id="{pixel}", pixels=["11", "12"])
    code, rows, remarks = check(tmp_path, text, meta.url)
    assert (code, rows, len(remarks), meta.listing()["reads"]) == (0, [], 2, 2)
    assert "may not read pixel 12 (100)" in remarks[0]


def test_what_integrations_have_in_common_is_asked_once_and_said_once_for_a_place(
    tmp_path: Path, meta: StandIn
) -> None:
    dead = free_address()
    four = "".join(written(f"S{number}", pixel_id=str(number // 2)) for number in range(4))
    assert check(tmp_path, HEAD + four, meta.url) == (0, [], [summary(4, 4)])
    assert meta.listing()["reads"] == 2
    text = f"defaults: {{proxy: 'http://{dead}'}}\n{HEAD}{four}".replace("    proxy: null\n", "")
    code, rows, remarks = check(tmp_path, text, meta.url)
    assert (code, remarks) == (1, [summary(0, 4)])
    assert rows == [f"integrations.yaml:1:1: S0, S1, S2 and 1 more: proxy 1 ({dead}): {REFUSED}"]


def test_json_has_the_findings_and_remarks_among_all_others(tmp_path: Path, meta: StandIn) -> None:
    meta.fail(mode="unreadable", pixel_id="2")
    dead = free_address()
    text = HEAD + written(proxy=f"http://user:canary@{dead}") + written("Autumn", pixel_id="2")
    code, rows, remarks = check(tmp_path, text, meta.url, "--json")
    assert (code, remarks) == (1, [summary(1, 2)])
    said = json.loads("".join(rows))
    message = f"Summer: proxy 1 ({dead}): {REFUSED}"
    assert said["findings"] == [
        {"file": "integrations.yaml", "line": 7, "column": 1, "path": "", "message": message}
    ]  # fmt: skip
    assert [note["message"][:34] for note in said["remarks"]] == ["Autumn: the token may not read pix"]
    assert said["mistakes"] == []


def test_without_online_nothing_is_asked_and_requests_is_not_even_imported(tmp_path: Path, meta: StandIn) -> None:
    words = command(tmp_path, HEAD + written(), meta.url)
    words.remove("--online")
    words[1:1] = ["-X", "importtime"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert (done.returncode, meta.listing()["reads"]) == (0, 0)
    assert "sidecar.cli.check" in imported
    assert not imported & {"requests", "aiohttp", "urllib3"}


async def test_meta_over_tls_is_trusted_as_the_daemon_trusts_it(tmp_path: Path, squid: Squid) -> None:
    """By the authorities of the system, which OpenSSL's own variable names, and through the tunnel of a proxy."""
    standin = PureStandIn(time.time)
    async with served(standin, certificate(tmp_path)) as url:
        text = HEAD + written(proxy=squid.url)
        trusted = await check_beside(tmp_path, text, url, SSL_CERT_FILE=str(tmp_path / "cert.pem"))
        assert trusted == (0, [], [summary(1, 1)])
        assert standin.listing()["reads"] == 1
        code, rows, _ = await check_beside(tmp_path, text, url, REQUESTS_CA_BUNDLE=str(tmp_path / "cert.pem"))
        assert (code, len(rows), standin.listing()["reads"]) == (1, 1, 1)
        assert f"proxy 1 ({squid.address}): TLS: a certificate or the handshake is not accepted" in rows[0]
        code, rows, _ = await check_beside(tmp_path, HEAD + written(), url)
        assert (code, len(rows), standin.listing()["reads"]) == (1, 1, 1)
        assert "without a proxy: TLS: Meta's certificate" in rows[0]


async def test_a_redirect_is_not_followed_and_another_pixel_is_no_answer(tmp_path: Path) -> None:
    async def elsewhere(request: web.Request) -> web.Response:
        if request.path.endswith("/2"):
            return web.json_response({"id": "1", "events_received": 0})
        asked.append(request.path)
        raise web.HTTPTemporaryRedirect("/v26.0/2")

    asked: list[str] = []
    app = web.Application()
    app.router.add_get("/{path:.*}", elsewhere)
    async with served(app) as url:
        text = HEAD + written() + written("Autumn", pixel_id="2")
        code, rows, remarks = await check_beside(tmp_path, text, url)
    assert (code, rows, len(remarks), asked) == (0, [], 3, ["/v26.0/1"])
    assert "(HTTP 307); this proves nothing" in remarks[0]
    assert "the answer is none of Meta's (HTTP 200)" in remarks[1]


def test_a_reading_says_nothing_of_metas_words() -> None:
    error = {"error": {"code": 190, "error_subcode": None, "message": f"Malformed access token {TOKEN}"}}
    assert TOKEN not in reading_of(Answer(400, {}, error), "1").words
    assert reading_of(Answer(200, {}, {"id": "1", "name": "x"}), "1").kind == "well"
    assert reading_of(Answer(200, {}, {"id": "2"}), "1").kind == "later"
    assert reading_of(Answer(200), "1").kind == "later"
    assert reading_of(Answer(407), "1").kind == "way"


def test_no_fault_shows_an_address_or_a_login() -> None:
    for error in (OSError("user:pw@10.0.0.1"), ValueError("user:pw"), TimeoutError("10.0.0.1")):
        for proxied in (True, False):
            fault = fault_of(error, proxied)
            assert isinstance(fault, Fault)
            assert not {"user", "pw", "10.0.0.1"} & set(fault.words.replace(":", " ").split())


async def check_beside(directory: Path, text: str, graph: str, **environment: str) -> tuple[int, list[str], list[str]]:
    """`check` for a server of the test's own event loop."""
    process = await asyncio.create_subprocess_exec(
        *command(directory, text, graph), cwd=ROOT, env={**os.environ, **environment},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    rows, remarks = await asyncio.wait_for(process.communicate(), 60)
    return told(process.returncode, rows.decode(), remarks.decode())


@contextlib.asynccontextmanager
async def served(what: PureStandIn | web.Application, context: ssl.SSLContext | None = None) -> Any:
    """The URL of a stand-in or of an application."""
    app = what if isinstance(what, web.Application) else application(what)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    yield f"{'https' if context else 'http'}://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


def certificate(directory: Path) -> ssl.SSLContext:
    """Of 127.0.0.1, signed by itself; it lies in cert.pem."""
    words = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=meta -addext subjectAltName=IP:127.0.0.1"
    files = ["-keyout", str(directory / "key.pem"), "-out", str(directory / "cert.pem")]
    subprocess.run([installed("openssl", "openssl"), *words.split(), *files], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "cert.pem", directory / "key.pem")
    return context


class Socks:
    """A SOCKS proxy for `user` with the password `canary pass`; `asked` is the name that each request had, or
    `address`. Source: RFC 1928, RFC 1929 and the SOCKS 4A note."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self._server = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._server.getsockname()[1]}"

    def url(self, scheme: str) -> str:
        return f"{scheme}://user:canary%20pass@{self.address}"

    def __enter__(self) -> "Socks":
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._server.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError, IndexError), client.makefile("rwb", buffering=0) as stream:
            target = self._version_5(stream) if stream.read(1) == b"\x05" else self._version_4(stream)
            if target is not None:
                self._relay(client, socket.create_connection(("127.0.0.1", target)))

    def _version_5(self, stream: Any) -> int | None:
        stream.read(stream.read(1)[0])
        stream.write(b"\x05\x02")
        stream.read(1)
        login = [stream.read(stream.read(1)[0]) for _ in range(2)]
        stream.write(b"\x01" + bytes([login != [b"user", b"canary pass"]]))
        if login != [b"user", b"canary pass"]:
            return None
        kind = stream.read(4)[3]
        name = stream.read(stream.read(1)[0]) if kind == 3 else stream.read({1: 4, 4: 16}[kind])
        self.asked.append(name.decode() if kind == 3 else "address")
        port = int.from_bytes(stream.read(2), "big")
        stream.write(b"\x05\x00\x00\x01" + bytes(6))
        return port

    def _version_4(self, stream: Any) -> int:
        stream.read(1)
        port, address = int.from_bytes(stream.read(2), "big"), stream.read(4)
        self._text(stream)
        is_name = address[:3] == bytes(3)
        self.asked.append(self._text(stream) if is_name else "address")
        stream.write(b"\x00\x5a" + bytes(6))
        return port

    def _text(self, stream: Any) -> str:
        return b"".join(iter(lambda: stream.read(1), b"\x00")).decode()

    def _relay(self, client: socket.socket, meta: socket.socket) -> None:
        """One request and its answer, each in one piece: ours are small."""
        with meta:
            meta.sendall(client.recv(65536))
            client.sendall(meta.recv(65536))
