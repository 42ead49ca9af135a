"""The admin address: is it well, and what is it doing?"""

import asyncio
import contextlib
import hmac
import ipaddress
import json
import os
import secrets
from base64 import b64decode
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Protocol

from aiohttp import web

from sidecar.sandbox.standin import StandIn
from sidecar.store.contract import StoreRefused, StoreUnavailable
from sidecar.tap import Tap

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


#: Bytes of a request at most: a list of a million queue numbers.
_LARGEST = 16 << 20

#: Seconds after which a listener to whom nothing happens gets an empty line: one that is gone is noticed.
_STILL_THERE = 15.0

#: What Prometheus is told of /metrics.
_METRICS = "text/plain; version=0.0.4; charset=utf-8"


class Daemon(Protocol):
    """What the admin address shows and does."""

    tap: Tap

    def unready(self) -> list[str]:
        """Why postbacks are not taken or not delivered now; empty when all is well."""

    async def status(self) -> dict[str, Any]:
        """The JSON of `capi-sidecar status`."""

    async def metrics(self) -> bytes:
        """What Prometheus reads: its text format, version 0.0.4."""

    async def reload(self, accept: bool) -> dict[str, Any]:
        """Looks at the configuration now; the verdict."""

    async def act(self, action: str, given: dict[str, Any]) -> dict[str, Any]:
        """Does `queue/VERB`, `replay`, `inject`, `canary` or `send-test`. Raises ValueError."""


def application(daemon: Daemon, token: str, standin: StandIn | None) -> web.Application:
    """Open: /healthz, /readyz, /api/status, /metrics. With the token: whatever shows a subid or changes something."""
    app = web.Application(middlewares=[_own_host, _guard(token)], client_max_size=_LARGEST)

    async def health(_: web.Request) -> web.Response:
        return web.Response(text="alive\n")

    async def ready(_: web.Request) -> web.Response:
        reasons = daemon.unready()
        return web.Response(status=503 if reasons else 200, text="\n".join(reasons or ["ready"]) + "\n")

    async def status(_: web.Request) -> web.Response:
        try:
            return web.json_response(await daemon.status())
        except StoreUnavailable as error:
            return web.Response(status=503, text=f"store: {error}\n")

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=await daemon.metrics(), headers={"Content-Type": _METRICS})

    async def reload(request: web.Request) -> web.Response:
        return web.json_response(await daemon.reload("accept" in request.query))

    async def act(request: web.Request) -> web.Response:
        try:
            given = await request.json()
            if not isinstance(given, dict):
                raise ValueError("a JSON object is needed")
            return web.json_response(await daemon.act(request.match_info["action"], given))
        except ValueError as error:
            return web.Response(status=400, text=f"{error}\n")
        except (StoreUnavailable, StoreRefused) as error:
            return web.Response(status=503, text=f"store: {error}\n")

    async def tap(request: web.Request) -> web.StreamResponse:
        return await _stream(request, daemon.tap)

    app.router.add_post("/api/reload", reload)
    app.router.add_post("/api/{action:queue/[a-z]+|replay|inject|canary|send-test}", act)
    app.router.add_get("/api/tap", tap)
    app.router.add_get("/healthz", health)
    app.router.add_get("/readyz", ready)
    app.router.add_get("/api/status", status)
    app.router.add_get("/metrics", metrics)
    if standin is not None:
        _add_sandbox(app, standin)
    return app


def admin_token(path: Path) -> str:
    """The token of the admin address; made when there is none. Raises OSError, or ValueError when it is empty."""
    if path.exists():
        if token := path.read_text().strip():
            return token
        raise ValueError(f"{path}: the admin token is empty; remove the file, and one is made")
    token = secrets.token_urlsafe(32)
    fresh = path.with_name(f"{path.name}.new")
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(token + "\n")
    fresh.rename(path)  # whole, or not there: an empty one would refuse every later start
    return token


async def _stream(request: web.Request, tap: Tap) -> web.StreamResponse:
    """Every fact from now on, a JSON object a line."""
    response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
    await response.prepare(request)
    await response.write(b"\n")
    async with contextlib.aclosing(tap.listen()) as facts:
        following = asyncio.ensure_future(anext(facts))
        try:
            while True:
                done, _ = await asyncio.wait({following}, timeout=_STILL_THERE)
                await response.write(json.dumps(following.result()).encode() + b"\n" if done else b"\n")
                following = asyncio.ensure_future(anext(facts)) if done else following
        except ConnectionError:
            return response
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)


def _add_sandbox(app: web.Application, standin: StandIn) -> None:
    async def events(_: web.Request) -> web.Response:
        return web.json_response(standin.listing())

    async def fail(request: web.Request) -> web.Response:
        try:
            standin.fail(await request.json())
        except (ValueError, TypeError) as error:
            return web.Response(status=400, text=f"{error}\n")
        return web.Response(text="so be it\n")

    app.router.add_get("/_events", events)
    app.router.add_put("/_fail", fail)


#: Paths that show no subid and change nothing.
_OPEN = frozenset({"/healthz", "/readyz", "/api/status", "/metrics"})


#: What a browser's page may send without changing anything.
_ASKS = frozenset({"/explain"})


@web.middleware
async def _own_host(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuses a foreign Host: a page of another site must not reach this address through a visitor's browser.

    A browser adds the token that it once was given to whatever any site makes it send here, and says so by an Origin:
    then nothing is changed. People change things by a command.
    """
    if not _is_own(request.host):
        return web.Response(status=421, text="this is not the address of another site\n")
    if request.method not in ("GET", "HEAD") and "Origin" in request.headers and request.path not in _ASKS:
        return web.Response(status=403, text="no browser changes anything here; the command does\n")
    return await handler(request)


def _guard(token: str) -> Any:
    expected = token.encode()

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path in _OPEN and request.method in ("GET", "HEAD"):
            return await handler(request)
        if hmac.compare_digest(_given(request.headers.get("Authorization", "")), expected):
            return await handler(request)
        asks = {"WWW-Authenticate": 'Basic realm="capi-sidecar", charset="UTF-8"'}
        return web.Response(
            status=401, headers=asks, text="the admin token is needed; it stands in STATE/admin.token\n"
        )

    return guard


def _given(authorization: str) -> bytes:
    """The token of `Bearer TOKEN`, or the password of HTTP Basic with any user."""
    scheme, _, value = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return value.strip().encode("utf-8", "surrogateescape")
    if scheme.lower() == "basic":
        try:
            return b64decode(value.strip(), validate=True).partition(b":")[2]
        except ValueError:
            return b""
    return b""


def _is_own(host: str) -> bool:
    """An address, or localhost: names are what an attacker can point anywhere."""
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() and not host.endswith("]") else host
    if name in ("localhost", ""):
        return True
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True
