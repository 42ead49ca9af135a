"""What people do to the queue of a running daemon, and to postbacks that were decided."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sidecar import log
from sidecar.core.configuration import Configuration
from sidecar.core.delivery import Destination, has_pixel
from sidecar.core.queue import VERBS, Entry, Selection, hindrance, selection_of
from sidecar.courier.couriers import Couriers
from sidecar.resolver import Resolver
from sidecar.store.contract import Store
from sidecar.store.reading import read_outcomes, read_queue, read_replayable_ids

#: Seconds for which a replay waits until all of its postbacks are decided.
_PATIENCE = 60.0

#: Seconds between two looks whether they are.
_LOOK = 0.2


@dataclass(frozen=True)
class Queue:
    """`path` is the store's file, which is read beside the daemon's own work."""

    store: Store
    path: Path
    couriers: Couriers
    resolver: Resolver
    configuration: Callable[[], Configuration]
    clock: Callable[[], float]

    async def steer(self, verb: str, given: dict[str, Any]) -> dict[str, Any]:
        """Does a verb to the selected deliveries; how many it was done to, and why not to the others.

        `given` is a selection with, of its own, `to` (for release: the integration that sends from now on) and
        `dry_run`. Raises ValueError.
        """
        if verb not in VERBS:
            raise ValueError(f'no verb "{verb}"; known are {", ".join(VERBS)}')
        given = dict(given)
        to, dry_run = str(given.pop("to", "")), bool(given.pop("dry_run", False))
        if to and (verb != "release" or to not in self.configuration().by_name):
            raise ValueError(f'--to: no integration "{to}"' if verb == "release" else "--to is for release only")
        selection = selection_of(given)
        entries = await asyncio.to_thread(self._selected, selection)
        left: Counter[str] = Counter()
        able = []
        for entry, held in entries:
            words = self._hindrance(verb, entry, held, to, selection.names(entry))
            if words:
                left[words] += 1
            else:
                able.append(entry)
        changed = len(able) if dry_run else await self._do(verb, able, to)
        return {
            "verb": verb,
            "dry_run": dry_run,
            "changed": changed,
            "integrations": dict(Counter(to or entry.integration for entry in able)),
            "left": dict(left),
        }

    async def replay(self, given: dict[str, Any]) -> dict[str, Any]:
        """Postbacks since a moment that were not sent, of one reason or of any, are decided once more; what they
        became. Raises ValueError."""
        since, reason = given.get("since"), given.get("reason", "")
        if not isinstance(since, int | float) or not isinstance(reason, str):
            raise ValueError("since: give Unix seconds; reason: give a text")
        ids = await asyncio.to_thread(read_replayable_ids, self.path, float(since), reason)
        replayed = await self.store.replay(ids)
        log.info("postbacks.replayed", postbacks=replayed, reason=reason or "any")
        self.resolver.wake()
        became = await self._became(ids)
        return {
            "replayed": replayed,
            "became": [
                {"state": state, "decision": decision, "reason": words, "count": count}
                for (state, decision, words), count in became.most_common()
            ],
        }

    def _selected(self, selection: Selection) -> list[tuple[Entry, str]]:
        now = self.clock()
        pairs = ((entry, self.held(entry)) for entry in read_queue(self.path, selection))
        return [(entry, held) for entry, held in pairs if selection.takes(entry, held, now)]

    def held(self, entry: Entry) -> str:
        """Why an entry may not be leased now; empty when it may, or is not queued."""
        if entry.state != "queued":
            return ""
        return entry.held or self.couriers.held(entry.destination)

    def _hindrance(self, verb: str, entry: Entry, held: str, to: str, named: bool) -> str:
        if not to:
            return hindrance(verb, entry, held, self.clock(), named)
        if not has_pixel(self.configuration().by_name[to], entry.pixel_id):
            return f"its pixel is {entry.pixel_id}, which {to} does not have; a delivery moves to no other pixel"
        return "" if entry.state == "queued" else f"it is {entry.state}"

    async def _do(self, verb: str, entries: Sequence[Entry], to: str) -> int:
        if to:
            route = self.configuration().by_name[to].route
            changed, destinations = 0, set()
            for pixel_id in {entry.pixel_id for entry in entries}:
                destination = Destination(to, pixel_id, route)
                mine = [entry for entry in entries if entry.pixel_id == pixel_id]
                changed += await self.store.steer(verb, mine, destination)
                destinations.add(destination)
        else:
            destinations = {entry.destination for entry in entries}
            changed = await self.store.steer(verb, entries)
            if verb == "release":
                changed = len(entries)  # what only a park held needs no change of its row
        log.info(f"queue.{verb}", events=changed, **({"to": to} if to else {}))
        self.couriers.wake(destinations)
        if verb in ("release", "retry"):
            self.couriers.ask(destinations)
        return changed

    async def _became(self, ids: Sequence[str]) -> Counter[tuple[str, str, str]]:
        """What the postbacks are, once all are decided or the patience is over."""
        end = time.monotonic() + _PATIENCE
        while True:
            became = await asyncio.to_thread(read_outcomes, self.path, ids)
            if time.monotonic() > end or not any(state == "undecided" for state, _, _ in became):
                return became
            await asyncio.sleep(_LOOK)
