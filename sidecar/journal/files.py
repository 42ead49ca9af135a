"""The files of a journal, and which part of each is new."""

import contextlib
import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from sidecar.store.contract import Place

#: Bytes that are read in one step.
CHUNK = 1 << 18

#: A longer line is no line of Nginx's: it is passed over.
LONGEST_LINE = 8 << 20

#: First bytes by which a file is known again; every line has an id of its own.
_HEAD = 128

_COMPRESSED = (".gz", ".xz", ".bz2", ".zst")


@dataclass(frozen=True, slots=True)
class File:
    """A file of a journal as it stands now."""

    path: Path
    device: int
    inode: int
    size: int


@dataclass(frozen=True, slots=True)
class Chunk:
    """Whole lines, with the place behind them; `skipped` is 1 when too long a line was passed over."""

    lines: list[bytes]
    place: Place
    skipped: int = 0


def files_of(journal: Path) -> list[File]:
    """The journal and what it was rotated into, oldest first; raises OSError when its directory cannot be read.

    Compressed ones cannot be followed. That there is none yet is no error: Nginx may not have written.
    """
    found = []
    for path in _names(journal):
        with contextlib.suppress(FileNotFoundError):  # rotated away just now
            status = path.stat()
            if not stat.S_ISREG(status.st_mode):
                continue
            file = File(path, status.st_dev, status.st_ino, status.st_size)
            found.append((status.st_mtime_ns, path == journal, file))
    return [file for *_, file in sorted(found, key=lambda each: each[:2])]


def read_new(file: File, place: Place | None) -> Chunk | None:
    """The next whole lines behind a place; None when there are none, or when the file is no longer that one.

    A file that is shorter than its place, or begins otherwise, was truncated or replaced: it is read from its start.
    """
    try:
        with file.path.open("rb") as stream:
            status = os.fstat(stream.fileno())
            if (status.st_dev, status.st_ino) != (file.device, file.inode):
                return None
            if place and (status.st_size < place.position or _head(stream.read(_HEAD), place.head) != place.head):
                place = None
            position = place.position if place else 0
            stream.seek(position)
            data = stream.read(CHUNK)
            end = data.rfind(b"\n") + 1
            while not end and len(data) % CHUNK == 0 and 0 < len(data) < LONGEST_LINE:
                more = stream.read(CHUNK)
                end = len(data) + more.rfind(b"\n") + 1 if b"\n" in more else 0
                data += more
                if len(more) < CHUNK:
                    break
            skipped = not end and len(data) >= LONGEST_LINE
            if not end and not skipped:
                return None
            stream.seek(0)
            head = place.head if place else _head(stream.read(_HEAD))
    except FileNotFoundError:
        return None
    behind = Place(file.device, file.inode, head, position + (end or len(data)))
    return Chunk([line for line in data[:end].split(b"\n") if line], behind, int(skipped))


def _names(journal: Path) -> list[Path]:
    try:
        names = os.listdir(journal.parent)
    except FileNotFoundError:
        return []
    return [journal.parent / name for name in names
            if name.startswith(journal.name) and not name.endswith(_COMPRESSED)]  # fmt: skip


def _head(beginning: bytes, known: bytes = b"") -> bytes:
    """How many first bytes were summed, and their sum; over as many as the known head has, if there is one."""
    length = known[0] if known else len(beginning)
    return bytes([length]) + hashlib.blake2b(beginning[:length], digest_size=8).digest()
