"""What a long queue of a dead lane costs the events of another one, beside a daemon without such a queue.

Both daemons run at the same time and are asked in turn, event by event, so that the machine's noise meets both alike.
Meta is a receiver in this process, where the clock of the answers is that of the arrivals.
"""

import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import aiohttp
from aiohttp import web

from tests.acceptance.ours import Daemon
from tests.acceptance.parts import eventually, free_address, wait_until

QUEUED = 100_000
EVENTS = 600
RATE = 25

_DEAD_TOKEN = "token-of-the-dead"

YAML = f"""
tracker: {{postback_key: 2a76c2a}}
integrations:
  - {{name: Dead, campaigns: [Dead12], pixel_id: "1", token: {_DEAD_TOKEN}, mapping: {{sale: Purchase}}}}
  - {{name: Live, campaigns: [Live12], pixel_id: "2", token: token-of-the-live, mapping: {{sale: Purchase}}}}
"""

_REFUSAL = {"error": {"message": "Error validating access token", "type": "OAuthException", "code": 190}}


class Receiver:
    """Refuses one token and takes everything else; `arrived` is when each event_id came, of the monotonic clock."""

    def __init__(self) -> None:
        self.arrived: dict[str, float] = {}

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        """The URL at which it does."""
        app = web.Application(client_max_size=16 << 20)
        app.router.add_post("/{version}/{pixel_id}/events", self._receive)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        address = free_address()
        host, _, port = address.partition(":")
        await runner.setup()
        await web.TCPSite(runner, host, int(port)).start()
        try:
            yield f"http://{address}"
        finally:
            await runner.cleanup()

    async def _receive(self, request: web.Request) -> web.Response:
        payload = json.loads(await request.read())
        now = time.monotonic()
        if payload["access_token"] == _DEAD_TOKEN:
            return web.json_response(_REFUSAL, status=400)
        self.arrived |= {event["event_id"]: now for event in payload["data"]}
        return web.json_response({"events_received": len(payload["data"])})


async def measure(directory: Path) -> tuple[list[float], list[float]]:
    """Milliseconds from a postback's 200 to its event's arrival: without, and with a queue for the other lane."""
    receiver = Receiver()
    async with receiver.listening() as url, aiohttp.ClientSession() as client:
        with ExitStack() as stack:
            daemons = [stack.enter_context(_daemon(directory / name, url)) for name in ("without", "with")]
            await asyncio.to_thread(_fill, daemons[1])
            answered: list[dict[str, float]] = [{}, {}]
            postbacks = []
            begin = time.monotonic()
            for number in range(EVENTS * 2):
                await asyncio.sleep(max(0.0, begin + number / RATE / 2 - time.monotonic()))
                which = number % 2
                postbacks.append(asyncio.create_task(_send(client, daemons[which], number, answered[which])))
            await asyncio.gather(*postbacks)
            await eventually(lambda: len(receiver.arrived) == EVENTS * 2, "every event has arrived", 60)
    without, beside = ([(receiver.arrived[id] - at) * 1000 for id, at in each.items()] for each in answered)
    return without, beside


def _daemon(directory: Path, url: str) -> Daemon:
    directory.mkdir()
    (directory / "journal.ndjson").touch()
    return Daemon(directory, YAML, journal=directory / "journal.ndjson", graph=url)


def _fill(daemon: Daemon) -> None:
    """Postbacks for the dead lane, through the journal; until all are queued, the lane parked by its first one."""
    with daemon.journal.open("a") as journal:
        for number in range(QUEUED):
            uri = f"/2a76c2a/postback?subid=dead{number:06d}&payout=1&campaign=Dead12&fbclid=IwAR{number}"
            line = {"v": "1", "event": "postback", "id": f"dead{number}", "time": f"{time.time():.3f}", "uri": uri}
            journal.write(json.dumps(line) + "\n")
    wait_until(lambda: daemon.status()["deliveries"] == {"queued": QUEUED}, f"{QUEUED} are queued", 600)


async def _send(client: aiohttp.ClientSession, daemon: Daemon, number: int, answered: dict[str, float]) -> None:
    target = f"/2a76c2a/postback?subid=live{number:06d}&payout=1&campaign=Live12&fbclid=IwAR{number}"
    async with client.get(f"http://{daemon.intake}{target}") as answer:
        assert answer.status == 200
    answered[f"live{number:06d}_sale"] = time.monotonic()


def main() -> list[tuple[str, str, str]]:
    """The rows of the table."""
    with tempfile.TemporaryDirectory(prefix="capi-bench-") as temporary:
        without, beside = asyncio.run(measure(Path(temporary)))
    what = "from a postback's 200 to its event at Meta"
    rows = [(f"{what}, median of {EVENTS}, ms", f"{statistics.median(without):.1f}", "")]
    for name, figure in (("median", statistics.median), ("p90", _p90)):
        alone, beside_queue = figure(without), figure(beside)
        ratio = f"{beside_queue / alone:.2f} of the {alone:.1f} without"
        rows.append((f"the same with {QUEUED} queued for a dead lane, {name}, ms", f"{beside_queue:.1f}", ratio))
    return rows


def _p90(values: list[float]) -> float:
    return statistics.quantiles(values, n=10)[8]


if __name__ == "__main__":
    print(main())
