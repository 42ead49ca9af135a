"""Reading a file that somebody named: only a regular one, only so much of it, and never waiting for it."""

import os
import stat
from pathlib import Path

#: Bytes of a file of the configuration that are read at most.
LARGEST = 16 << 20


def read_file(path: Path, most: int = LARGEST) -> bytes:
    """Its content. Raises OSError, for a pipe, a device, a directory or too large a file as well."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(0, "is no regular file", str(path))
        with open(descriptor, "rb", closefd=False) as file:
            content = file.read(most + 1)
    finally:
        os.close(descriptor)
    if len(content) > most:
        raise OSError(0, f"is larger than {most} bytes", str(path))
    return content
