"""What is measured beside one another, each in a process of its own: `python -m tests.bench.servers KIND ADDRESS DIR`.

`bare` is an aiohttp handler that answers an empty 200 and nothing else; `intake` is the daemon's, with its store.
"""

import asyncio
import secrets
import sys
import time
from pathlib import Path

from aiohttp import web

from sidecar.app.daemon import SWITCH
from sidecar.core.configuration import Configuration, Tracker
from sidecar.core.secret import Secret
from sidecar.intake import Intake
from sidecar.net import listen, parse_address
from sidecar.store.sqlite import SqliteStore


async def bare(_: web.Request) -> web.Response:
    return web.Response()


async def main(kind: str, address: str, directory: Path) -> None:
    if kind == "bare":
        app = web.Application()
        app.router.add_route("*", "/{key}/postback", bare)
        runner: web.BaseRunner = web.AppRunner(app, access_log=None)
    else:
        sys.setswitchinterval(SWITCH)
        configuration = Configuration(Tracker(postback_keys=(Secret("2a76c2a"),)))
        store = SqliteStore(directory / "intake", "sandbox", time.time)
        intake = Intake(store, lambda: configuration, time.time, lambda: secrets.token_hex(16), lambda: None)
        runner = web.ServerRunner(intake.server())
    await runner.setup()
    await listen(runner, parse_address(address))
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], Path(sys.argv[3])))
