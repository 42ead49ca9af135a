"""What a reload of 500 integrations costs the requests that it overlaps, beside those that it does not."""

import asyncio
import statistics
import tempfile
import time
from pathlib import Path

import aiohttp

from tests.acceptance.ours import Daemon

INTEGRATIONS = 500
RATE = 200
SECONDS = 40
PAUSE = 1.0

_HEAD = "tracker: {postback_key: 2a76c2a}\nintegrations:\n"
_ONE = '  - {{name: "i{0}", campaigns: [c{0}], pixel_id: "{0}", token: token-{0}, mapping: {{sale: {1}}}}}\n'


def yaml(event: str) -> str:
    return _HEAD + "".join(_ONE.format(number, event) for number in range(INTEGRATIONS))


async def measure(directory: Path) -> tuple[float, float, int]:
    """p99 in milliseconds of the requests that overlap a reload, of the others, and the number of reloads."""
    taken: list[tuple[float, float]] = []
    reloads: list[tuple[float, float]] = []
    with Daemon(directory, yaml("Purchase"), journal=directory / "journal.ndjson", graph=None) as daemon:
        token = (daemon.state / "admin.token").read_text().strip()
        async with aiohttp.ClientSession() as client:
            ends_at = time.monotonic() + SECONDS
            reloading = asyncio.create_task(_reload(client, daemon, token, reloads, ends_at))
            requests = []
            number = 0
            while (now := time.monotonic()) < ends_at:
                requests.append(asyncio.create_task(_request(client, daemon, number, taken)))
                number += 1
                await asyncio.sleep(max(0.0, 1 / RATE - (time.monotonic() - now)))
            await asyncio.gather(*requests, reloading)
    overlapping = [end - begin for begin, end in taken if any(begin < b and end > a for a, b in reloads)]
    others = [end - begin for begin, end in taken if not any(begin < b and end > a for a, b in reloads)]
    return _p99(overlapping), _p99(others), len(reloads)


async def _request(
    client: aiohttp.ClientSession, daemon: Daemon, number: int, taken: list[tuple[float, float]]
) -> None:
    target = (
        f"/2a76c2a/postback?subid=reload{number:06d}&campaign=c{number % INTEGRATIONS}&fbclid=IwAR{number}&payout=1"
    )
    begin = time.monotonic()
    async with client.get(f"http://{daemon.intake}{target}") as answer:
        assert answer.status == 200
    taken.append((begin, time.monotonic()))


async def _reload(
    client: aiohttp.ClientSession, daemon: Daemon, token: str, reloads: list[tuple[float, float]], ends_at: float
) -> None:
    events = ["Lead", "Purchase"]
    headers = {"Authorization": f"Bearer {token}"}
    while time.monotonic() < ends_at - 3:
        await asyncio.to_thread(daemon.configure, yaml(events[len(reloads) % 2]))
        begin = time.monotonic()
        async with client.post(f"http://{daemon.admin}/api/reload", headers=headers) as answer:
            assert (await answer.json())["outcome"] in ("loaded", "unchanged")
        reloads.append((begin, time.monotonic()))
        await asyncio.sleep(PAUSE)


def _p99(seconds: list[float]) -> float:
    return statistics.quantiles(seconds, n=100)[98] * 1000


def main() -> list[tuple[str, str, str]]:
    """The row of the table."""
    with tempfile.TemporaryDirectory(prefix="capi-bench-") as temporary:
        overlapping, others, count = asyncio.run(measure(Path(temporary)))
    what = f"p99 of requests that overlap a reload of {INTEGRATIONS} integrations ({count} of them), ms"
    return [(what, f"{overlapping:.1f}", f"{overlapping - others:+.1f} ms to the others' {others:.1f}")]


if __name__ == "__main__":
    print(main())
