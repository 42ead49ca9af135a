"""The configuration in force, and how another one comes into force: whole, or not at all."""

import asyncio
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from sidecar import log
from sidecar.app.accepted import Accepted
from sidecar.app.child import Task, in_child
from sidecar.config.load import Loaded
from sidecar.config.secrets import Resolve
from sidecar.config.watch import SLOW, Watch
from sidecar.core.configuration import Configuration

#: Looks at files that change while they are read.
_ROUNDS = 5


@dataclass(frozen=True)
class Verdict:
    """What became of a look at the files: `outcome` is `loaded`, `unchanged`, `refused` or `braked`; `hash` is that of
    the configuration which runs now; `words` are the mistakes or what would stop."""

    outcome: str
    hash: str
    words: tuple[str, ...] = ()


class Reloader:
    """The last good configuration keeps running. One reload at a time, whoever asked for it."""

    def __init__(
        self,
        directory: Path,
        resolve: Resolve,
        loaded: Loaded,
        accepted: Accepted,
        store: Path,
        clock: Callable[[], float],
        changed: Callable[[Configuration], None],
    ) -> None:
        assert loaded.configuration is not None
        self.configuration = loaded.configuration
        self.loaded_at = clock()
        self.error = ""
        #: What became of the last look at the files; `loaded` before the first.
        self.outcome = "loaded"
        #: Since when the files are not what runs, Unix seconds; None while they are.
        self.refused_at: float | None = None
        self.counts = {"loaded": 0, "unchanged": 0, "refused": 0, "braked": 0}
        self._first = loaded
        self._directory = directory
        self._resolve = resolve
        self._accepted = accepted
        self._store = store
        self._clock = clock
        self._changed = changed
        self._watch = Watch(directory, loaded.files)
        self._content = ""
        self._lock = asyncio.Lock()

    async def run(self) -> None:
        """Follows the files until it is cancelled. What changed while the daemon started is a change too."""
        try:
            while True:
                try:
                    content = await self._watch.change(self._content)
                    async with self._lock:
                        await self._reload(content, accept=False)
                except Exception as error:  # whatever it is, what runs must go on running
                    self._refuse("refused", (f"the files cannot be followed: {type(error).__name__}",))
                    await asyncio.sleep(SLOW)
        finally:
            self._watch.stop()

    def keep(self) -> None:
        """What runs at the start is the accepted one from now on."""
        _keep(self._accepted, self._first)

    def hint(self) -> None:
        """Something may have changed."""
        self._watch.hint()

    async def reload(self, accept: bool) -> Verdict:
        """Looks at the files now; `accept` lets a change pass that the brake would refuse."""
        async with self._lock:
            return await self._reload(await self._watch.rest(await self._watch.content()), accept)

    def status(self) -> dict[str, Any]:
        """What runs, since when, and why the files are not what runs."""
        return {
            "hash": self.configuration.hash,
            "commit": self.configuration.commit,
            "loaded_at": self.loaded_at,
            "error": self.error,
            "outcome": self.outcome,
            "refused_at": self.refused_at,
            "rearmed": self._watch.rearmed,
            **self.counts,
        }

    async def _reload(self, content: str, accept: bool) -> Verdict:
        for _ in range(_ROUNDS):
            running = None if accept else self.configuration
            try:
                read = await in_child(Task(self._directory, self._resolve, running, self._store, self._clock()))
            except (OSError, RuntimeError) as error:
                # No mistake of the files: they are looked at again, after a while.
                self.counts["refused"] += 1
                await asyncio.sleep(SLOW)
                return self._refuse("refused", (f"the configuration could not be read: {error}",))
            await self._watch.follow(read.loaded.files)
            after = await self._watch.content()
            if after == content:
                break
            # It changed while it was read, or there are files that nobody watched: what was read may be a mix.
            content = await self._watch.rest(after)
        else:
            self.counts["refused"] += 1
            return self._refuse("refused", ("the files do not come to rest; what writes them all the time?",))
        verdict = await self._judge(read.loaded, read.braked, accept)
        self._content = content
        self.counts[verdict.outcome] += 1
        return verdict

    async def _judge(self, loaded: Loaded, braked: tuple[str, ...], accept: bool) -> Verdict:
        configuration, running = loaded.configuration, self.configuration.hash
        if configuration is None:
            return self._refuse("refused", tuple(map(str, loaded.notes.mistakes)))
        if configuration.hash == running:
            self.configuration = replace(self.configuration, commit=configuration.commit)
            if self.error:
                log.info("configuration.restored", hash=running)
            self.error, self.refused_at, self.outcome = "", None, "unchanged"
            return Verdict("unchanged", running)
        if not accept and not braked and configuration.hash in self._accepted.refused():
            braked = ("the brake refused it before",)
        if braked:
            await asyncio.to_thread(_remember, self._accepted, configuration.hash)
            return self._refuse("braked", braked)
        await asyncio.to_thread(_keep, self._accepted, loaded)
        self._accept(configuration, loaded)
        return Verdict("loaded", configuration.hash)

    def _accept(self, configuration: Configuration, loaded: Loaded) -> None:
        self._changed(configuration)
        self.configuration = configuration
        self.loaded_at = self._clock()
        self.error, self.refused_at, self.outcome = "", None, "loaded"
        log.info("configuration.loaded", hash=configuration.hash, commit=configuration.commit or "-",
                 integrations=len(configuration.integrations))  # fmt: skip
        for note in loaded.notes.findings:
            log.warning("configuration.finding", at=str(note))

    def _refuse(self, outcome: str, words: tuple[str, ...]) -> Verdict:
        first = words[0] if len(words) == 1 else f"{words[0]} (and {len(words) - 1} more)"
        self.refused_at = self.refused_at or self._clock()
        self.outcome = outcome
        self.error = first if outcome == "refused" else f"brake: {first}; capi-sidecar reload --accept takes it"
        for word in words:
            log.error(f"configuration.{outcome}", at=word, running=self.configuration.hash)
        return Verdict(outcome, self.configuration.hash, words)


def _keep(accepted: Accepted, loaded: Loaded) -> None:
    try:
        accepted.keep(loaded)
    except OSError as error:
        log.warning("configuration.unkept", error=error.strerror, means="a restart may go back to an older one")


def _remember(accepted: Accepted, hash: str) -> None:
    try:
        accepted.refuse(hash)
    except OSError as error:
        log.warning("configuration.unkept", error=error.strerror, means="a restart weighs it again")


def as_json(verdict: Verdict) -> dict[str, Any]:
    """A verdict as the admin address answers it."""
    return asdict(verdict)
