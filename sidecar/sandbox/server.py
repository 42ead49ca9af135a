"""The stand-in over HTTP.

`POST /{version}/{pixel_id}/events` and `GET /{version}/{pixel_id}` as at Meta; `PUT /_fail` tells it to fail,
`GET /_events` lists what it took, `DELETE /_events` forgets it.
"""

import asyncio
import json

from aiohttp import web

from sidecar.net import Address, listen, parse_address
from sidecar.sandbox.reply import GraphError, Reply, trace_id
from sidecar.sandbox.standin import StandIn

#: Bytes of a body: 1000 events of 16 kB.
LARGEST_BODY = 16 * 1024 * 1024

#: Seconds that answers under way may take once the server is told to end.
_LAST_ANSWERS = 1.0

_STAND_IN = web.AppKey("stand_in", StandIn)


def application(standin: StandIn) -> web.Application:
    """The routes of a stand-in."""
    app = web.Application(client_max_size=LARGEST_BODY)
    app[_STAND_IN] = standin
    app.router.add_post("/{version}/{pixel_id}/events", _receive)
    app.router.add_get("/{version}/{pixel_id}", _read)
    app.router.add_put("/_fail", _fail)
    app.router.add_get("/_events", _list)
    app.router.add_delete("/_events", _forget)
    app.router.add_route("*", "/{path:.*}", _unknown_path)
    return app


async def serve(standin: StandIn, address: str) -> tuple[web.AppRunner, Address]:
    """Listens on `host:port` or `unix:/path`; the caller ends it with `await runner.cleanup()`.

    The address in the result has the port that the system chose. ValueError for a bad address, OSError for one that
    cannot be opened.
    """
    parsed = parse_address(address)
    runner = web.AppRunner(application(standin), access_log=None, shutdown_timeout=_LAST_ANSWERS)
    await runner.setup()
    try:
        return runner, await listen(runner, parsed)
    except OSError:
        await runner.cleanup()
        raise


async def _receive(request: web.Request) -> web.Response:
    path = request.match_info
    return await _carry_out(
        request, request.app[_STAND_IN].receive(path["version"], path["pixel_id"], await request.read())
    )


async def _read(request: web.Request) -> web.Response:
    path = request.match_info
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    token = token.strip() if scheme.lower() == "bearer" else ""
    return await _carry_out(request, request.app[_STAND_IN].read(path["version"], path["pixel_id"], token))


async def _carry_out(request: web.Request, reply: Reply) -> web.Response:
    if reply.seconds:
        await asyncio.sleep(reply.seconds)
    if reply.reset and request.transport is not None:
        request.transport.abort()
    return _response(reply)


async def _fail(request: web.Request) -> web.Response:
    try:
        request.app[_STAND_IN].fail(json.loads(await request.read()))
    except ValueError as mistake:
        return web.json_response({"error": str(mistake)}, status=400)
    return web.json_response({})


async def _list(request: web.Request) -> web.Response:
    return web.json_response(request.app[_STAND_IN].listing())


async def _forget(request: web.Request) -> web.Response:
    request.app[_STAND_IN].forget()
    return web.json_response({})


async def _unknown_path(_: web.Request) -> web.Response:
    return _response(GraphError("Unknown path components", 2500).reply(trace_id(0)))


def _response(reply: Reply) -> web.Response:
    return web.Response(status=reply.status, headers=reply.headers, body=reply.body)
