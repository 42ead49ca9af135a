"""What happens now, for whoever listens: it costs nothing while nobody does, and holds up nobody."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from typing import Any

#: Facts that wait for a slow listener; what comes then is only counted.
_MOST = 10_000

Fact = Mapping[str, Any]


class Tap:
    """Facts as mappings with `what` (postback, delivery) and `at` (Unix seconds). No customer's data stands in one."""

    def __init__(self) -> None:
        self._listeners: dict[asyncio.Queue[Fact], int] = {}

    @property
    def is_open(self) -> bool:
        """Whether anybody listens."""
        return bool(self._listeners)

    def tell(self, what: str, at: float, **keys: Any) -> None:
        """One fact, to all who listen."""
        for queue in self._listeners:
            if queue.full():
                self._listeners[queue] += 1
            else:
                queue.put_nowait({"what": what, "at": at, **keys})

    async def listen(self) -> AsyncGenerator[Fact, None]:
        """Every fact from now on; where some were too many, `missed` with their count."""
        queue: asyncio.Queue[Fact] = asyncio.Queue(_MOST)
        self._listeners[queue] = 0
        try:
            while True:
                fact = await queue.get()
                yield fact
                if missed := self._listeners[queue]:
                    self._listeners[queue] = 0
                    yield {"what": "missed", "at": fact["at"], "count": missed}
        finally:
            del self._listeners[queue]
