"""Putting an edited file in place: checked before, whole or not at all, and only over what was read."""

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from sidecar.config.load import load
from sidecar.config.secrets import Resolve
from sidecar.config.shape import Note


class NotPut(Exception):
    """The file stays as it was; says why, and what to do."""


def mistakes_of(contents: Mapping[str, bytes]) -> list[Note]:
    """The mistakes of a configuration of these files, by name relative to its directory."""
    with tempfile.TemporaryDirectory(prefix="capi-sidecar-") as copy:
        for name, content in contents.items():
            path = Path(copy, name)
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content)
        return load(Path(copy), resolve=Resolve.NOTHING, environment={}).notes.mistakes


def put(path: Path, before: bytes, after: bytes) -> None:
    """Replaces a file's content at once, keeping mode and owner; of a symbolic link, its target's. Raises NotPut."""
    try:
        target = path.resolve(strict=True)
        if target.read_bytes() != before:
            raise NotPut(f"{path}: the file changed meanwhile; look at it and try again")
        _replace(target, before, after)
    except OSError as error:
        raise NotPut(f"{path}: {error.strerror}; the file stays as it was") from None


def _replace(target: Path, before: bytes, after: bytes) -> None:
    """A temporary file beside the target; its name begins with a dot and does not end as YAML, so nobody reads it."""
    descriptor, temporary = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".new", dir=target.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(after)
            _make_alike(file.fileno(), target)
            file.flush()
            os.fsync(file.fileno())
        if target.read_bytes() != before:
            raise NotPut(f"{target}: the file changed meanwhile; look at it and try again")
        os.rename(temporary, target)
    except BaseException:
        os.unlink(temporary)
        raise
    _sync(target.parent)


def _make_alike(descriptor: int, target: Path) -> None:
    wanted, status = target.stat(), os.fstat(descriptor)
    if (wanted.st_uid, wanted.st_gid) != (status.st_uid, status.st_gid):
        try:
            os.fchown(descriptor, wanted.st_uid, wanted.st_gid)
        except PermissionError:
            raise NotPut(f"{target}: its owner cannot be kept; run this as its owner or as root") from None
    os.fchmod(descriptor, wanted.st_mode & 0o7777)


def _sync(directory: Path) -> None:
    """Makes the new name last; some file systems cannot, and the file is in place all the same."""
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    except OSError:
        pass
    finally:
        os.close(descriptor)
