"""What /metrics answers: a snapshot of every part, and the queue as it was counted not long ago."""

import asyncio
import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import sidecar
from sidecar.app.canary import Schedule
from sidecar.app.recount import Recount
from sidecar.app.reload import Reloader
from sidecar.clicks.lookup import Lookup
from sidecar.core.configuration import Configuration, Integration
from sidecar.courier.couriers import Couriers
from sidecar.graph import Graph
from sidecar.graph.http import HttpGraph
from sidecar.intake import Intake
from sidecar.journal.tail import Tail
from sidecar.metrics.histogram import Histogram
from sidecar.metrics.snapshot import Counted, Disk, Queued, Snapshot
from sidecar.metrics.text import text
from sidecar.resolver import Resolver
from sidecar.retention import Janitor
from sidecar.silence import Watch
from sidecar.store.contract import Backlog
from sidecar.store.sqlite import SqliteStore

#: The store's files by what they are, as what follows its name.
_FILES = {"database": "", "log": "-wal"}


@dataclass(frozen=True)
class Parts:
    """What is read. `unready` and `geoip` say why something cannot be used; `geoip` is None without a database."""

    mode: str
    store: SqliteStore
    reloader: Reloader
    intake: Intake
    tails: Sequence[Tail]
    resolver: Resolver
    couriers: Couriers
    lookup: Lookup
    janitor: Janitor
    graph: Graph
    silence: Watch
    canary: Schedule
    unready: Callable[[], Sequence[str]]
    geoip: Callable[[], str | None]
    clock: Callable[[], float]
    loop_delay: Histogram


class Scrape:
    """An answer delays nobody: the queue is counted beside the store's work, and the text is written in a thread."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._recount = Recount(parts.store.backlog)

    async def text(self) -> bytes:
        """The metrics of this moment in Prometheus's text format."""
        latest = await self._recount.latest()
        disk = await asyncio.to_thread(_disk, self._parts.store.path)
        counted = _counted(self._parts, *latest) if latest else None
        return await asyncio.to_thread(text, _snapshot(self._parts, counted, disk))

    async def close(self) -> None:
        """Counts no more."""
        await self._recount.close()


def _counted(parts: Parts, backlog: Backlog, age: float) -> Counted:
    """A count of some age, with what holds each destination now."""
    now, queue = parts.clock(), []
    for each in backlog.deliveries:
        held = "leased" if each.state == "leased" else each.held or parts.couriers.held(each.destination) or "ready"
        waited, left = max(now - each.not_before, 0.0), max(each.deadline - now, 0.0)
        queue.append(Queued(each.destination.integration, held, each.count, waited, left))
    return Counted(now - age, backlog.postbacks, queue)


def _snapshot(parts: Parts, counted: Counted | None, disk: Disk | None) -> Snapshot:
    configuration, tally = parts.reloader.configuration, parts.couriers.tally
    return Snapshot(
        version=sidecar.__version__,
        mode=parts.mode,
        is_ready=not parts.unready(),
        configuration=parts.reloader.status(),
        integrations={each.name: _state(each) for each in configuration.integrations},
        intake=dict(parts.intake.counts),
        journals=[tail.status() for tail in parts.tails],
        decided=_decided(parts),
        counted=counted,
        requests=dict(parts.couriers.counts),
        attempts=dict(tally.attempts),
        ended=dict(tally.ended),
        expired=parts.janitor.buried,
        delay=tally.delay.copy(),
        lanes=parts.couriers.status(),
        proxies=_proxies(parts.graph, configuration),
        admin_api=parts.lookup.status(),
        geoip=parts.geoip(),
        store_failing=bool(parts.store.failing),
        disk=disk,
        loop_delay=parts.loop_delay.copy(),
        silence=parts.silence.status(),
        canary=parts.canary.status(),
    )


def _state(integration: Integration) -> str:
    return "error" if integration.error else "paused" if integration.paused else "active"


def _decided(parts: Parts) -> Mapping[tuple[str, str], int]:
    """Of what is older than the first start the journal's reader decides, not the resolver."""
    early = sum(tail.counts["before_first_start"] for tail in parts.tails)
    return {**parts.resolver.counts, ("rejected", "before_first_start"): early}


def _proxies(graph: Graph, configuration: Configuration) -> Mapping[str, bool]:
    """A sandbox uses none."""
    used = dict.fromkeys(proxy for each in configuration.integrations for proxy in each.proxies)
    return graph.proxies(used) if isinstance(graph, HttpGraph) else {}


def _disk(store: Path) -> Disk | None:
    """Of files that are there; None where the disk does not answer."""
    sizes = {}
    for name, suffix in _FILES.items():
        with contextlib.suppress(FileNotFoundError):
            sizes[name] = os.stat(f"{store}{suffix}").st_size
    try:
        file_system = os.statvfs(store.parent)
    except OSError:
        return None
    return Disk(sizes, file_system.f_bavail * file_system.f_frsize)
