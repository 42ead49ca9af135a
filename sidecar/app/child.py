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

#: Gives way to the daemon from its first import on, and imports what the daemon does, not what lies about.
_PROGRAM = (
    f"import os, sys; os.nice(10); sys.path.insert(0, {str(Path(__file__).parents[2])!r}); "
    f"from {__name__} import main; main()"
)

#: Seconds after which the child is given up.
PATIENCE = 60.0

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
    """The task, done elsewhere. Raises RuntimeError when the child dies or does not end."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-c", _PROGRAM, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(PATIENCE):
            output, _ = await child.communicate(await _packed(task))
    except TimeoutError:
        raise RuntimeError(f"the process that reads the configuration did not end in {PATIENCE:g} s") from None
    finally:
        if child.returncode is None:
            child.kill()
    if child.returncode:
        raise RuntimeError(f"the process that reads the configuration ended with {child.returncode}")
    return await _unpacked(output)


async def _packed(task: Task) -> bytes:
    """Part by part: to pack or unpack 500 integrations at once would hold up every request for some milliseconds."""
    integrations = task.running.integrations if task.running else ()
    running = replace(task.running, integrations=()) if task.running else None
    parts = [pickle.dumps(replace(task, running=running))]
    for start in range(0, len(integrations), PART):
        parts.append(pickle.dumps(integrations[start : start + PART]))
        await asyncio.sleep(0)
    return b"".join(parts)


async def _unpacked(output: bytes) -> Read:
    """See `_packed`."""
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
    try:
        seen, scale = read_seen(task.store, task.now - WEIGHED, "accepted", SAMPLE)
    except Exception as error:  # a row that nobody can read must not stand in the way of every change for ever
        return Read(loaded, (f"what it changes could not be weighed: {type(error).__name__}",))
    return Read(loaded, tuple(braked(effects(task.running, configuration, seen), configuration, scale)))


def main() -> None:
    """The child: a pickled task comes on standard input, what was read goes to standard output."""
    stream = io.BytesIO(sys.stdin.buffer.read())
    task: Task = pickle.load(stream)
    if task.running is not None:
        parts = []
        while stream.tell() < len(stream.getbuffer()):
            parts += pickle.load(stream)
        task = replace(task, running=replace(task.running, integrations=tuple(parts)))
    done = read(task)
    integrations = done.loaded.configuration.integrations if done.loaded.configuration else ()
    pickle.dump(_with_integrations(done, ()), sys.stdout.buffer)
    for start in range(0, len(integrations), PART):
        pickle.dump(integrations[start : start + PART], sys.stdout.buffer)
