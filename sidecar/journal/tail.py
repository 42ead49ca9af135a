"""Follows one journal: its lines become clicks and postbacks, and its place is kept with them."""

import asyncio
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sidecar import log
from sidecar.core.click import Click, is_subid
from sidecar.core.configuration import Configuration
from sidecar.core.conversion import accepts_key
from sidecar.core.line import BadLine, parse_line, read_click, read_postback
from sidecar.core.parameters import first_real
from sidecar.core.postback import Postback
from sidecar.journal.files import Chunk, File, files_of, read_new
from sidecar.pace import Pace
from sidecar.store.contract import Place, Reading, Store, StoreUnavailable

#: Seconds between two looks at the files.
INTERVAL = 0.25

#: Looks after which a file that is not there is gone.
_GONE = 20

#: Seconds to wait when the store or the file cannot be used.
PAUSE = 1.0


class Tail:
    """`read_to_end_at` is the latest moment at which every line that stood in the files had been stored."""

    def __init__(
        self,
        journal: Path,
        store: Store,
        configuration: Callable[[], Configuration],
        clock: Callable[[], float],
        stored: Callable[[], None],
        is_kept_long: Callable[[Click], bool],
    ) -> None:
        self.journal = journal
        #: The same journal under another spelling keeps its places.
        self._name = os.path.realpath(journal)
        self._store = store
        self._configuration = configuration
        self._clock = clock
        self._stored = stored
        self._is_kept_long = is_kept_long
        self._places: dict[tuple[int, int], Place] = {}
        self._absent: dict[tuple[int, int], int] = {}
        self._sizes: dict[tuple[int, int], int] = {}
        self._first_read_at: float | None = None
        self.read_to_end_at = 0.0
        self.last_line_at = 0.0
        self.error = ""
        #: Nginx has not written the file, or writes elsewhere.
        self.missing = False
        self.counts: Counter[str] = Counter()

    @property
    def unread(self) -> int:
        """Bytes that stood in the files at the last look and are not stored yet."""
        places = self._places
        return sum(max(size - places[key].position if key in places else size, 0) for key, size in self._sizes.items())

    def status(self) -> dict[str, Any]:
        """For `status`: how far it is read, why not, and what its lines were."""
        return {
            "path": str(self.journal),
            "error": self.error,
            "missing": self.missing,
            "unread": self.unread,
            "read_to_end_at": self.read_to_end_at,
            "last_line_at": self.last_line_at,
            **self.counts,
        }

    async def run(self) -> None:
        """Follows the journal until it is cancelled."""
        while True:
            try:
                await self.poll()
                pause = INTERVAL
                self._say("")
            except StoreUnavailable:
                pause = PAUSE  # the place stands still; the lines come again
            except OSError as error:
                pause = PAUSE
                self._say(f"{error.filename or self.journal}: {error.strerror}")
            await asyncio.sleep(pause)

    async def poll(self) -> None:
        """Reads all that is new. One file that cannot be read (OSError) keeps no other from being read."""
        started_at = self._clock()
        await self._open()
        files = await asyncio.to_thread(files_of, self.journal)
        self._sizes = {(file.device, file.inode): file.size for file in files}
        if self._places and not files:
            raise FileNotFoundError(0, "gone, with everything that it was rotated into", self._name)
        unreadable: OSError | None = None
        for file in files:
            try:
                await self._follow(file)
            except OSError as error:
                unreadable = error
        await self._drop_places({(file.device, file.inode) for file in files})
        if unreadable:
            raise unreadable
        self._note_missing(not any(file.path == self.journal for file in files))
        self.read_to_end_at = started_at

    async def _open(self) -> None:
        if self._first_read_at is None:
            self._places = {(place.device, place.inode): place for place in await self._store.places(self._name)}
            self._first_read_at = await self._store.first_read_at(self._name)

    async def _follow(self, file: File) -> None:
        """Up to the size that the file had: what is written meanwhile is for the next look."""
        key = file.device, file.inode
        place = self._places.get(key)
        while place is None or place.position != file.size:
            chunk = await asyncio.to_thread(read_new, file, place)
            if chunk is None:
                return
            stored = await self._store.add_reading(await self._read(chunk))
            self.counts["conflicting"] += stored.conflicting
            self._places[key] = place = chunk.place
            self.last_line_at = self._clock()
            self._stored()
            if place.position > file.size:
                return

    async def _read(self, chunk: Chunk) -> Reading:
        """The rows of a chunk's lines."""
        rows = _Rows(self._configuration(), self._oldest(), self.counts)
        pace = Pace()
        for line in chunk.lines:
            rows.read(line)
            await pace.breathe()
        self.counts["too_long"] += chunk.skipped
        clicks = [(click, self._is_kept_long(click)) for click in rows.clicks]
        return Reading(self._name, chunk.place, clicks, rows.postbacks, rows.refused)

    def _oldest(self) -> float:
        """Postbacks from before are kept only for replay: Keitaro's own integration may have sent them."""
        return (self._first_read_at or 0.0) - self._configuration().tracker.first_start

    async def _drop_places(self, there: set[tuple[int, int]]) -> None:
        """Of files that are gone for some looks: one that is being renamed is not gone."""
        for key in set(self._places):
            self._absent[key] = 0 if key in there else self._absent.get(key, 0) + 1
            if self._absent[key] > _GONE:
                del self._absent[key]
                await self._store.drop_place(self._name, self._places.pop(key))

    def _note_missing(self, missing: bool) -> None:
        if missing and not self.missing:
            log.warning(
                "journal.missing", journal=self.journal, next="does Nginx write there? --journal names the file"
            )
        elif self.missing and not missing:
            log.info("journal.there", journal=self.journal)
        self.missing = missing

    def _say(self, error: str) -> None:
        if error and error != self.error:
            log.error("journal.unreadable", journal=self.journal, error=error)
        elif self.error and not error:
            log.info("journal.readable", journal=self.journal)
        self.error = error


class _Rows:
    """Sorts lines into what they are; counts what they are not."""

    def __init__(self, configuration: Configuration, oldest: float, counts: Counter[str]) -> None:
        self.configuration = configuration
        self._oldest = oldest
        self._counts = counts
        self.clicks: list[Click] = []
        self.postbacks: list[Postback] = []
        self.refused: list[tuple[Postback, str]] = []

    def read(self, raw: bytes) -> None:
        self._counts["lines"] += 1
        try:
            line = parse_line(raw)
        except BadLine as error:
            self._counts[f"bad: {error}"] += 1
            return
        if line["event"] == "postback":
            self._add_postback(read_postback(line))
        elif line["event"] == "click" and (click := read_click(line, self.configuration.tracker)):
            self._counts["clicks"] += 1
            self.clicks.append(click)
        else:
            self._counts["without_subid" if line["event"] == "click" else "bad: event"] += 1

    def _add_postback(self, postback: Postback) -> None:
        if not accepts_key(self.configuration, postback.key):
            self._counts["wrong_key"] += 1
            return
        self._counts["postbacks"] += 1
        if postback.received_at >= self._oldest:
            self.postbacks.append(postback)
            return
        self._counts["before_first_start"] += 1
        subid = first_real(postback.parameters, ("subid", "sub_id"))
        self.refused.append((postback, subid if is_subid(subid) else ""))
