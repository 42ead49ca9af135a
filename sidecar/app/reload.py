"""The configuration in force, and how another one comes into force: whole, or not at all."""

import asyncio
import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer

from sidecar import log
from sidecar.config.child import load_in_child
from sidecar.config.load import Loaded, yaml_files
from sidecar.config.secrets import Resolve
from sidecar.core.configuration import Configuration

#: Seconds between two looks at the files' content, whatever the events say.
SLOW = 5.0

#: Seconds for which the content must stay the same before it is read.
SETTLE = 0.3

#: Events that reading a file causes too: they say nothing.
_IDLE_EVENTS = ("opened", "closed_no_write")


class Reloader:
    """Events are hints; the truth is the content of the files. The last good configuration keeps running."""

    def __init__(
        self,
        directory: Path,
        resolve: Resolve,
        loaded: Loaded,
        clock: Callable[[], float],
        changed: Callable[[Configuration, Loaded], None],
    ) -> None:
        assert loaded.configuration is not None
        self.configuration = loaded.configuration
        self.loaded_at = clock()
        self.error = ""
        self._directory = directory
        self._resolve = resolve
        self._files = loaded.files
        self._clock = clock
        self._changed = changed
        self._hinted = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._observer: Any = None
        self._folders: frozenset[Path] = frozenset()
        self._seen = ""

    async def run(self) -> None:
        """Watches until it is cancelled."""
        self._watch()
        try:
            # What changed while the daemon started is a change too.
            if await self._content() != self._seen:
                await self._reload()
            while True:
                await self._hint_or_interval()
                if await self._content() != self._seen:
                    await self._reload()
        finally:
            if self._observer:
                self._observer.stop()

    def hint(self) -> None:
        """Something may have changed."""
        self._hinted.set()

    async def _reload(self) -> None:
        content = await self._settled()
        loaded = await load_in_child(self._directory, self._resolve)
        if await self._content() != content:
            self.hint()  # it changed while it was read: what was read may be a mix
            return
        self._seen = content
        self._files = loaded.files
        self._watch()
        if loaded.configuration is None:
            self._refuse(loaded)
        elif loaded.configuration.version != self.configuration.version or self.error:
            self._accept(loaded, loaded.configuration)

    def _accept(self, loaded: Loaded, configuration: Configuration) -> None:
        self.configuration = configuration
        self.loaded_at = self._clock()
        self.error = ""
        self._changed(configuration, loaded)
        log.info("configuration.loaded", hash=configuration.hash, commit=configuration.commit or "-",
                 integrations=len(configuration.integrations))  # fmt: skip
        for note in loaded.notes.findings:
            log.warning("configuration.finding", at=str(note))

    def _refuse(self, loaded: Loaded) -> None:
        mistakes = [str(note) for note in loaded.notes.mistakes]
        self.error = mistakes[0] if len(mistakes) == 1 else f"{mistakes[0]} (and {len(mistakes) - 1} more)"
        for mistake in mistakes:
            log.error("configuration.refused", at=mistake, running=self.configuration.hash)

    async def _settled(self) -> str:
        """The content, once it has stayed the same for a while."""
        content = await self._content()
        while True:
            await asyncio.sleep(SETTLE)
            again = await self._content()
            if again == content:
                return content
            content = again

    async def _content(self) -> str:
        return await asyncio.to_thread(content_of, self._directory, self._files)

    async def _hint_or_interval(self) -> None:
        self._hinted.clear()
        try:
            async with asyncio.timeout(SLOW):
                await self._hinted.wait()
        except TimeoutError:
            self._watch()

    def _watch(self) -> None:
        """Watches the directories of all files: an editor replaces a file, it does not write into it."""
        folders = _folders(self._directory, self._files)
        if self._observer and self._observer.is_alive() and folders == self._folders:
            return
        if self._observer:
            self._observer.stop()
        self._folders = folders
        self._observer = Observer()
        try:
            for folder in folders:
                self._observer.schedule(_Hints(self._loop, self.hint), str(folder))
            self._observer.start()
        except OSError as error:
            self._observer = None
            log.warning("watcher.refused", error=error.strerror, next=f"the files are looked at every {SLOW:g} s")


def _folders(directory: Path, files: Iterable[Path]) -> frozenset[Path]:
    """Where something can change: the directory of each file, as it is named and as it is."""
    folders = {directory, directory / "mappings", directory / "integrations.d"}
    for path in files:
        folders |= {path.parent, path.resolve().parent}
    return frozenset(folder.absolute() for folder in folders if folder.is_dir())


def content_of(directory: Path, files: Iterable[Path]) -> str:
    """A hash of what stands in the configuration's files and in the secrets' now."""
    total = hashlib.sha256()
    for path in sorted({*(directory / name for name in yaml_files(directory)), *files}):
        try:
            content = path.read_bytes()
        except OSError:
            content = b"(missing)"
        total.update(f"{path}\0{len(content)}\0".encode("utf-8", "surrogateescape") + content)
    return total.hexdigest()


class _Hints(FileSystemEventHandler):
    def __init__(self, loop: asyncio.AbstractEventLoop, hint: Callable[[], None]) -> None:
        self._loop = loop
        self._hint = hint

    def on_any_event(self, event: FileSystemEvent) -> None:
        if event.event_type not in _IDLE_EVENTS and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._hint)
