"""How late the event loop is: whoever has work that is due waits that long."""

import asyncio

from sidecar.metrics.histogram import Histogram

#: Seconds between two looks.
INTERVAL = 0.1

#: Seconds.
BOUNDS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


async def watch(delays: Histogram) -> None:
    """Measures until it is cancelled."""
    loop = asyncio.get_running_loop()
    while True:
        due_at = loop.time() + INTERVAL
        await asyncio.sleep(INTERVAL)
        delays.observe(max(loop.time() - due_at, 0.0))
