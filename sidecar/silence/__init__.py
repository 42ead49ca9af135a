"""Which integrations have fallen silent: learnt from the store, looked at every minute."""

import asyncio
import math
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sidecar import log
from sidecar.core.configuration import Configuration
from sidecar.core.rhythm import HOUR, KEPT, Rhythm, Silence, rhythm_of, silence
from sidecar.store.contract import StoreRefused
from sidecar.store.reading import read_made, read_taken

#: Seconds between two looks.
INTERVAL = 60.0

#: What can fall silent: conversions that are to be sent, and events that Meta takes.
POSTBACKS, EVENTS = "postbacks", "events"

_Key = tuple[str, str]


class Series:
    """Hourly counts of one thing of one integration, and when it came last."""

    def __init__(self) -> None:
        self.counts: Counter[int] = Counter()
        self.last_at = 0.0
        self.rhythm: Rhythm | None = None
        self._of_hour = -1

    def add(self, hour: int, count: int, last_at: float) -> None:
        self.counts[hour] += count
        self.last_at = max(self.last_at, last_at)

    def silence(self, now: float) -> Silence | None:
        """Whether it is silent now. The rhythm is learnt anew every hour, from whole hours; not from the silence."""
        hour = math.floor(min(now, self.last_at) / HOUR)
        if hour != self._of_hour and self.counts:
            self._of_hour = hour
            for old in [each for each in self.counts if each < hour - KEPT]:
                del self.counts[old]
            self.rhythm = rhythm_of(self.counts, min(self.counts, default=hour), hour)
        return silence(self.rhythm, self.counts, self.last_at, now)


class Watch:
    """`path` is the store's file. A paused integration, or one in error, is silent by the sysadmin's own word."""

    def __init__(self, path: Path, configuration: Callable[[], Configuration], clock: Callable[[], float]) -> None:
        self._path = path
        self._configuration = configuration
        self._clock = clock
        self._series: defaultdict[_Key, Series] = defaultdict(Series)
        self._row = 0
        self._taken_at: float | None = None
        self.silent: dict[_Key, Silence] = {}

    async def run(self) -> None:
        """Looks until it is cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(INTERVAL)

    async def look(self) -> None:
        """Reads what is new, and tells who has fallen silent or is heard again."""
        try:
            await asyncio.to_thread(self._read)
        except StoreRefused as error:
            log.warning("silence.unknown", why=str(error))
            return
        now = self._clock()
        awake = {each.name for each in self._configuration().integrations if not (each.paused or each.error)}
        found = {key: quiet for key, series in self._series.items()
                 if key[0] in awake and (quiet := series.silence(now))}  # fmt: skip
        for (name, what), quiet in found.items():
            if (name, what) not in self.silent:
                log.warning("integration.silent", integration=name, what=what, words=quiet.words(now))
        for name, what in self.silent.keys() - found.keys():
            log.info("integration.heard", integration=name, what=what)
        self.silent = found

    def status(self) -> list[dict[str, Any]]:
        """For `status`: of each integration when something came last, and whether it is silent."""
        now = self._clock()
        return [
            {
                "integration": name,
                "what": what,
                "last_at": series.last_at,
                "silent": (name, what) in self.silent,
                "words": self.silent[name, what].words(now) if (name, what) in self.silent else "",
            }
            for (name, what), series in sorted(self._series.items())
            if name in self._configuration().by_name
        ]

    def _read(self) -> None:
        oldest = self._clock() - KEPT * HOUR
        for name, hour, count, last_at, row in read_made(self._path, self._row, oldest):
            self._series[name, POSTBACKS].add(hour, count, last_at)
            self._row = max(self._row, row)
        taken = read_taken(self._path, self._taken_at if self._taken_at is not None else oldest)
        for name, hour, count, last_at, _ in taken:
            self._series[name, EVENTS].add(hour, count, last_at)
        self._taken_at = max([last_at for *_, last_at, _ in taken], default=self._taken_at)
