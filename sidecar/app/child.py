"""Reads a configuration and weighs what it changes, in a process of its own: a reload never delays an answer."""

import asyncio
import io
import pickle
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from sidecar.config.git import is_dirty
from sidecar.config.load import Loaded, load
from sidecar.config.secrets import Resolve
from sidecar.core.configuration import DAY, Configuration, Integration
from sidecar.core.plan import braked, effects
from sidecar.store.reading import read_seen

#: Integrations that are unpacked at once.
PART = 50

#: Gives way to the daemon from its first import on.
_PROGRAM = f"import os; os.nice(10); from {__name__} import main; main()"

#: Postbacks of how many seconds are weighed, and how many of them at most.
WEIGHED = 3 * DAY
SAMPLE = 2000


@dataclass(frozen=True)
class Task:
    """What to read, and against which running configuration and store it is weighed (None: it is not)."""

    directory: Path
    resolve: Resolve
    running: Configuration | None = None
    store: Path | None = None
    now: float = 0.0


@dataclass(frozen=True)
class Read:
    """What was read; `braked` says why the change is too large to come into force by itself."""

    loaded: Loaded
    braked: tuple[str, ...] = ()


async def in_child(task: Task) -> Read:
    """The task, done elsewhere. Raises RuntimeError when the child dies."""
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        _PROGRAM,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await child.communicate(pickle.dumps(task))
    if child.returncode:
        raise RuntimeError(f"the process that reads the configuration ended with {child.returncode}")
    return await _unpacked(output)


async def _unpacked(output: bytes) -> Read:
    """Part by part: to unpack 500 integrations at once would hold up every request for some milliseconds."""
    stream = io.BytesIO(output)
    read: Read = pickle.load(stream)
    integrations: list[Integration] = []
    while stream.tell() < len(output):
        integrations += pickle.load(stream)
        await asyncio.sleep(0)
    return _with_integrations(read, tuple(integrations))


def _with_integrations(read: Read, integrations: tuple[Integration, ...]) -> Read:
    if read.loaded.configuration is None:
        return read
    configuration = replace(read.loaded.configuration, integrations=integrations)
    return replace(read, loaded=replace(read.loaded, configuration=configuration))


def read(task: Task) -> Read:
    """Loads, says whether the checkout is clean, and replays recent postbacks through old and new rules."""
    loaded = load(task.directory, resolve=task.resolve)
    configuration = loaded.configuration
    if configuration is None:
        return Read(loaded)
    if configuration.commit and is_dirty(task.directory):
        configuration = replace(configuration, commit=f"{configuration.commit}-dirty")
        loaded = replace(loaded, configuration=configuration)
    if task.running is None or task.store is None:
        return Read(loaded)
    seen, scale = read_seen(task.store, task.now - WEIGHED, "accepted", SAMPLE)
    return Read(loaded, tuple(braked(effects(task.running, configuration, seen), configuration, scale)))


def main() -> None:
    """The child: a pickled task comes on standard input, what was read goes to standard output."""
    done = read(pickle.load(sys.stdin.buffer))
    integrations = done.loaded.configuration.integrations if done.loaded.configuration else ()
    pickle.dump(_with_integrations(done, ()), sys.stdout.buffer)
    for start in range(0, len(integrations), PART):
        pickle.dump(integrations[start : start + PART], sys.stdout.buffer)
