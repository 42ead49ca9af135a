"""Long work on the event loop in short slices, so that no request waits behind it."""

import asyncio
import time

#: Seconds that one slice takes at most.
SLICE = 0.002


class Pace:
    """`await pace.breathe()` between two items: gives the loop to others when the slice is used up."""

    def __init__(self) -> None:
        self._until = time.monotonic() + SLICE

    async def breathe(self) -> None:
        if time.monotonic() >= self._until:
            await asyncio.sleep(0)
            self._until = time.monotonic() + SLICE
