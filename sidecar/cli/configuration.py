"""Loading the configuration for a command, or saying why it cannot be."""

import sys
from pathlib import Path

from sidecar.config.load import load
from sidecar.config.secrets import Resolve
from sidecar.core.configuration import Configuration


def load_or_say(directory: Path, *, resolve: Resolve) -> Configuration | None:
    """The configuration; None after its mistakes were printed."""
    loaded = load(directory, resolve=resolve)
    for note in loaded.notes.mistakes:
        print(note, file=sys.stderr)
    return loaded.configuration
