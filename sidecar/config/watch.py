"""When the content of a configuration's files has changed and come to rest.

Events are hints: a watched directory can be replaced under its watch, a queue can overflow, a thread can die. The truth
is a hash of the content, taken anew at every hint and at a slow interval whatever the events say.
"""

import asyncio
import hashlib
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer

from sidecar import log
from sidecar.config.bytes import read_file
from sidecar.config.git import commit_of, is_busy
from sidecar.config.load import MAIN, yaml_files

#: Seconds between two looks at the content, whatever the events say.
SLOW = 5.0

#: Seconds between a hint and the look that it causes: a busy directory gives many.
PAUSE = 0.1

#: Seconds for which the content must stay the same before it is read.
SETTLE = 0.3

#: Seconds after which what does not come to rest is read as it is.
PATIENCE = 10.0

#: Symbolic links that are followed from one file, at most.
_HOPS = 40

#: Events that reading a file causes too: they say nothing.
_IDLE_EVENTS = ("opened", "closed_no_write")

Folders = frozenset[tuple[Path, int, int]]


class Watch:
    """`rearmed` counts how often the watching threads were found dead or blind and were started again."""

    def __init__(self, directory: Path, files: Iterable[Path]) -> None:
        self._directory = directory
        self._files = frozenset(files)
        self._loop = asyncio.get_running_loop()
        self._hinted = asyncio.Event()
        self._observer: Any = None
        self._folders: Folders = frozenset()
        self.rearmed = 0

    def hint(self) -> None:
        """Something may have changed."""
        self._hinted.set()

    async def follow(self, files: Iterable[Path]) -> None:
        """Watches these files from now on, beside the YAML files of the directory."""
        if self._files != (files := frozenset(files)):
            self._files = files
            self.hint()
        await self._arm()

    async def content(self) -> str:
        """A hash of what stands in all files now."""
        return await asyncio.to_thread(content_of, self._directory, self._files)

    async def change(self, known: str) -> str:
        """Waits until the content is another than the known one and has come to rest."""
        await self._arm()
        while (content := await self.content()) == known or (content := await self.rest(content)) == known:
            await self._hint_or_interval()
            await self._arm()
        return content

    async def rest(self, content: str) -> str:
        """The content once it has stayed the same for a while, git is done, and the main file is there."""
        give_up_at = time.monotonic() + PATIENCE
        while time.monotonic() < give_up_at:
            await asyncio.sleep(SETTLE)
            before, content = content, await self.content()
            if content == before and await asyncio.to_thread(self._is_whole):
                break
        return content

    def stop(self) -> None:
        """Ends the watching threads."""
        if self._observer:
            self._observer.stop()

    def _is_whole(self) -> bool:
        return (self._directory / MAIN).exists() and not is_busy(self._directory)

    async def _hint_or_interval(self) -> None:
        try:
            async with asyncio.timeout(SLOW):
                await self._hinted.wait()
                await asyncio.sleep(PAUSE)
        except TimeoutError:
            pass
        self._hinted.clear()

    async def _arm(self) -> None:
        """Watches anew when a directory was replaced or a thread has died."""
        folders = await asyncio.to_thread(_folders, self._directory, self._files)
        alive = self._observer is not None and all(
            each.is_alive() for each in (self._observer, *self._observer.emitters)
        )
        if alive and folders == self._folders:
            return
        if self._observer and not alive:
            self.rearmed += 1
            log.warning("watcher.dead", next="it was started again")
        self.stop()
        self._folders = folders
        self._observer = Observer()
        try:
            for folder, *_ in folders:
                self._observer.schedule(_Hints(self._loop, self.hint), str(folder))
            self._observer.start()
        except OSError as error:
            self._observer.stop()
            self._observer = None
            log.warning("watcher.refused", error=error.strerror, next=f"the files are looked at every {SLOW:g} s")


def content_of(directory: Path, files: Iterable[Path]) -> str:
    """A hash of the commit, the directory's YAML files and these others, by name and content."""
    total = hashlib.sha256(commit_of(directory).encode())  # every event carries it: another commit is a change
    for path in sorted({*(directory / name for name in yaml_files(directory)), *files}):
        try:
            content = read_file(path)
        except OSError:
            content = b"(unreadable)"
        total.update(f"{path}\0{len(content)}\0".encode("utf-8", "surrogateescape") + content)
    return total.hexdigest()


def _folders(directory: Path, files: Iterable[Path]) -> Folders:
    """Where something can change: the directory of each file, of each link on the way to it, and above the root.

    With device and inode: a directory that was replaced is another one.
    """
    folders = {directory.absolute().parent, directory / "mappings", directory / "integrations.d"}
    paths = [path.absolute() for path in (directory / MAIN, *files)]
    for path in {path.parent / MAIN for path in paths} | {path for path in paths if path.is_symlink()}:
        folders |= set(_ways(path))
    found = set()
    for folder in folders:
        try:
            status = folder.stat()
        except OSError:
            continue
        if folder.is_dir():
            found.add((folder.absolute(), status.st_dev, status.st_ino))
    return frozenset(found)


def _ways(path: Path) -> Iterator[Path]:
    """The directory of a path, and of every symbolic link on the way to it."""
    for _ in range(_HOPS):
        link = next((each for each in (*reversed(path.parents), path) if each.is_symlink()), None)
        if link is None:
            break
        yield link.parent
        path = link.parent / link.readlink() / path.relative_to(link)
    yield path.parent


class _Hints(FileSystemEventHandler):
    def __init__(self, loop: asyncio.AbstractEventLoop, hint: Any) -> None:
        self._loop = loop
        self._hint = hint

    def on_any_event(self, event: FileSystemEvent) -> None:
        if event.event_type not in _IDLE_EVENTS and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._hint)
