"""The daemon's parts, started in their order and stopped in the other."""

import asyncio
import os
import random
import secrets
import signal
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from aiohttp import web

import sidecar
from sidecar import log
from sidecar.admin import admin_token, application
from sidecar.app import status
from sidecar.app.accepted import Accepted
from sidecar.app.canary import Canary, Schedule
from sidecar.app.child import Task, in_child
from sidecar.app.inject import inject
from sidecar.app.notify import Notify
from sidecar.app.queue import Queue
from sidecar.app.reload import Reloader, as_json
from sidecar.app.scrape import Parts, Scrape
from sidecar.app.send_test import send_test
from sidecar.app.settings import GRAPH, Settings
from sidecar.clicks import completed
from sidecar.clicks.lookup import Lookup
from sidecar.clicks.places import Places
from sidecar.config.load import Loaded
from sidecar.config.secrets import Resolve
from sidecar.core.click import Click
from sidecar.core.configuration import Configuration
from sidecar.core.fbclid import has_fbclid
from sidecar.core.parameters import first_real
from sidecar.core.postback import Postback
from sidecar.courier.couriers import Couriers
from sidecar.graph import Graph
from sidecar.graph.http import HttpGraph
from sidecar.graph.sandbox import SandboxGraph
from sidecar.intake import Intake
from sidecar.journal.tail import Tail
from sidecar.keitaro.admin_api import AdminApi
from sidecar.metrics.histogram import Histogram
from sidecar.metrics.loop import BOUNDS, watch
from sidecar.net import Address, UnixAddress, listen
from sidecar.page import House, Pages
from sidecar.resolver import Resolver
from sidecar.retention import Janitor
from sidecar.sandbox.standin import StandIn
from sidecar.silence import Watch
from sidecar.store.sqlite import SqliteStore
from sidecar.store.state import FILE
from sidecar.tap import Tap

#: Seconds that a request to Meta, under way at a stop, may still take.
_LAST_REQUEST = 6.0

#: Seconds that an answer, under way at a stop, may still take.
_LAST_ANSWER = 1.0

#: Seconds between two looks at the geo database.
_PLACES = 5.0

#: Seconds in which whoever has come before a stop may still say what he wants.
_LAST_POSTBACKS = 0.3

#: How many times as long as it took to count a count is good.
_COUNTS_LAST = 10

#: What the tap tells, as facts of the log.
_TRACED = {"postback": "postback.decided", "delivery": "delivery.tried", "missed": "tap.missed"}

#: Events that the sandbox inside the daemon remembers.
_REMEMBERED = 1000

#: Seconds for which a thread may hold the interpreter while another waits. With CPython's own 5 ms the thread that
#: commits and the event loop wait for one another, which costs three quarters of the intake's rate.
SWITCH = 1e-4


def secrets_of(configuration: Configuration) -> list[str]:
    """Every value that may never be seen."""
    admin_api = configuration.tracker.admin_api
    found = [*(configuration.tracker.postback_keys or ()), *((admin_api.key, admin_api.proxy) if admin_api else ())]
    for integration in configuration.integrations:
        found += [integration.token, *integration.proxies]
    return [secret.reveal() for secret in found if secret]


async def serve(settings: Settings, resolve: Resolve, loaded: Loaded, formatter: log.Formatter) -> bool:
    """Runs until SIGTERM or SIGINT; whether it ended well. StoreRefused, OSError or ValueError: it cannot start."""
    sys.setswitchinterval(SWITCH)
    os.umask(0o077)
    notify = Notify(os.environ, os.getpid())
    accepted = Accepted(settings.state)
    loaded = await _weighed(settings, resolve, loaded, accepted)
    async with AsyncExitStack() as stack:
        daemon = _Daemon(settings, resolve, loaded, accepted, formatter)
        await daemon.start(stack)
        daemon.tell(stack, notify)
        await daemon.stopped.wait()
        log.info("daemon.stopping")
        notify.stopping()
    log.info("daemon.stopped")
    return not daemon.broken


async def _weighed(settings: Settings, resolve: Resolve, loaded: Loaded, accepted: Accepted) -> Loaded:
    """A change comes past the brake by no restart: the last accepted text runs until it is accepted, and it is said."""
    last = accepted.last(settings.config, resolve)
    store = settings.state / FILE
    if last is None or last.hash == loaded.hash or not store.exists():
        return loaded
    read = await in_child(Task(settings.config, resolve, last.configuration, store, time.time()))
    if not read.braked and loaded.hash not in accepted.refused():
        return loaded
    log.error("configuration.braked", hash=loaded.hash, running=last.hash, next="capi-sidecar reload --accept takes it")
    return last


def _path(text: str) -> Path | None:
    return Path(text) if text else None


class _Daemon:
    def __init__(
        self, settings: Settings, resolve: Resolve, loaded: Loaded, accepted: Accepted, formatter: log.Formatter
    ) -> None:
        assert loaded.configuration is not None
        self._settings = settings
        self._formatter = formatter
        self._started_at = time.time()
        self._formatter.mask(secrets_of(loaded.configuration))
        self.stopped = asyncio.Event()
        self.broken = False
        self._tracker = loaded.configuration.tracker
        self._closing: set[asyncio.Task[None]] = set()
        self._store = SqliteStore(settings.state, settings.mode, time.time)
        self._reloader = Reloader(
            settings.config, resolve, loaded, accepted, self._store.path, time.time, self._configure
        )
        self._standin = StandIn(time.time, _REMEMBERED) if settings.sandbox else None
        self._graph = self._make_graph(loaded.configuration)
        self.tap = Tap()
        self._couriers = Couriers(
            self._store, self._graph, loaded.configuration, time.time, time.monotonic, random.random, self.tap
        )
        self._source = self._make_source(loaded.configuration)
        self._lookup = Lookup(self._store, self._source, time.time, self._wake_resolver, self._is_kept_long)
        self._places = Places(_path(loaded.configuration.tracker.geoip))
        self._resolver = Resolver(
            self._store, self._lookup, self._completed, self._current, time.time, self._read_to_end_at,
            self._couriers.wake, self.tap,
        )  # fmt: skip
        self._queue = Queue(self._store, self._store.path, self._couriers, self._resolver, self._current, time.time)
        self._intake = Intake(self._store, self._current, time.time, lambda: secrets.token_hex(16), self._resolver.wake)
        self._tails = [
            Tail(journal, self._store, self._current, time.time, self._resolver.wake, self._is_kept_long)
            for journal in settings.journals
        ]
        self._silence = Watch(self._store.path, self._current, time.time)
        self._canary = Schedule(
            Canary(
                self._store, self._store.path, self._graph, self._current, lambda: self._lookup.campaigns, time.time,
                lambda: secrets.token_hex(4),
            )
        )  # fmt: skip
        self._counting = asyncio.Lock()
        self._counted: dict[str, Any] = {}
        self._counted_until = 0.0
        self._janitor = Janitor(self._store, self._current, time.time)
        self._loop_delay = Histogram(BOUNDS)
        self._scrape = Scrape(
            Parts(
                settings.mode, self._store, self._reloader, self._intake, self._tails, self._resolver, self._couriers,
                self._lookup, self._janitor, self._graph, self._silence, self._canary, self.unready, self._geoip,
                time.time, self._loop_delay,
            )
        )  # fmt: skip

    async def start(self, stack: AsyncExitStack) -> None:
        """Each part after what it needs; what is begun is ended in the other order, whatever happens."""
        stack.push_async_callback(self._store.close)
        stack.push_async_callback(self._scrape.close)
        self._reloader.keep()
        stack.push_async_callback(self._graph.close)
        try:
            token = admin_token(self._settings.admin_token)
        except OSError as error:
            raise ValueError(f"--admin-token {self._settings.admin_token}: {error.strerror}") from None
        self._formatter.mask([token])
        app = application(self, token, self._standin)
        Pages(self._house()).add_to(app.router)
        admin = web.AppRunner(app, access_log=None, shutdown_timeout=_LAST_ANSWER)
        await self._open(stack, admin, self._settings.admin, "admin")
        await self._lookup.start()
        await self._store.pull_in()  # the clock may have been set back since the last run
        await self._couriers.start()
        stack.push_async_callback(self._couriers.stop, _LAST_REQUEST)
        stack.push_async_callback(self._close_source)
        parts = (self._resolver.run, self._lookup.run, self._janitor.run, self._reloader.run, self._watch_places,
                 self._silence.run, self._canary.run, lambda: watch(self._loop_delay))  # fmt: skip
        tracing = (self._trace,) if log.is_debugging() else ()
        for run in (*parts, *tracing, *(tail.run for tail in self._tails)):
            self._keep_running(stack, run)
        intake = web.ServerRunner(self._intake.server(), shutdown_timeout=_LAST_ANSWER)
        await self._open(stack, intake, self._settings.intake, "intake")
        stack.push_async_callback(self._last_postbacks, intake)
        if isinstance(self._settings.intake, UnixAddress):
            # Nginx is another user; who may come here is for the socket's directory to say.
            os.chmod(self._settings.intake.path, 0o666)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stopped.set)
        loop.add_signal_handler(signal.SIGHUP, self._reloader.hint)
        log.info("daemon.started", version=sidecar.__version__, mode=self._settings.mode,
                 configuration=self._reloader.configuration.version,
                 integrations=len(self._reloader.configuration.integrations))  # fmt: skip
        if self._settings.sandbox:
            log.warning("sandbox.on", means="the daemon answers in Meta's place; nothing leaves this machine")

    def tell(self, stack: AsyncExitStack, notify: Notify) -> None:
        """From now on whoever started us hears that we are ready, and how we are."""
        notify.ready()
        self._keep_running(stack, notify.beat)
        self._keep_running(stack, lambda: notify.tell(self.status))

    def unready(self) -> list[str]:
        """Why postbacks are not taken or not delivered now."""
        reasons = [f"store: {self._store.failing}"] if self._store.failing else []
        return reasons + [f"journal {tail.journal}: {tail.error}" for tail in self._tails if tail.error]

    async def status(self) -> dict[str, Any]:
        """The JSON of `capi-sidecar status`. Times are Unix seconds."""
        configuration = self._reloader.configuration
        counts = await self._counts()
        return {
            "version": sidecar.__version__,
            "mode": self._settings.mode,
            "started_at": self._started_at,
            "now": time.time(),
            "problems": self.unready() + ([f"geoip: {self._places.error}"] if self._places.error else []),
            "configuration": self._reloader.status(),
            "intake": dict(self._intake.counts),
            "journals": [tail.status() for tail in self._tails],
            "clicks": counts["clicks"],
            "admin_api": self._lookup.status(),
            "postbacks": counts["postbacks"],
            "deliveries": status.deliveries_by_state(counts),
            "courier": dict(self._couriers.counts),
            "lanes": self._couriers.status(),
            "silence": self._silence.status(),
            "canary": self._canary.status(),
            "integrations": status.integrations(configuration, counts, self._couriers.held),
        }

    async def metrics(self) -> bytes:
        """What Prometheus reads."""
        return await self._scrape.text()

    def _geoip(self) -> str | None:
        return self._places.error if self._tracker.geoip else None

    def _make_graph(self, configuration: Configuration) -> Graph:
        if self._standin is not None:
            return SandboxGraph(self._standin)
        return HttpGraph(self._settings.graph or GRAPH, configuration.graph.connect, configuration.graph.total)

    def _house(self) -> House:
        """What the status page reads."""
        return House(
            self._store, self._settings.mode, self.status, self._current, self._couriers.held, self._complete,
            time.time, time.monotonic,
        )  # fmt: skip

    def _current(self) -> Configuration:
        return self._reloader.configuration

    def _read_to_end_at(self) -> float:
        """Since when every journal has been read to its end; without journals there is nothing to wait for."""
        return min((tail.read_to_end_at for tail in self._tails), default=time.time())

    async def _counts(self) -> dict[str, Any]:
        """Counting millions of rows takes a while: whoever asks meanwhile, or soon after, gets the same."""
        async with self._counting:
            if time.monotonic() >= self._counted_until:
                began = time.monotonic()
                self._counted = await self._store.counts()
                took = time.monotonic() - began
                self._counted_until = time.monotonic() + _COUNTS_LAST * took
        return self._counted

    async def reload(self, accept: bool) -> dict[str, Any]:
        """Looks at the configuration now; the verdict."""
        return as_json(await self._reloader.reload(accept))

    async def act(self, action: str, given: dict[str, Any]) -> dict[str, Any]:
        """Does what people ask for: `queue/VERB`, `replay`, `inject`, `canary` or `send-test`. Raises ValueError."""
        if action == "inject":
            injected = await inject(given, self._current(), self._store)
            self._resolver.wake()
            return injected
        if action == "replay":
            return await self._queue.replay(given)
        if action == "canary":
            return await self._canary.fly(*(str(given.get(key, "")) for key in ("name", "url", "code")))
        if action == "send-test":
            path, identity = self._store.path, lambda: secrets.token_hex(4)
            return await send_test(given, self._current(), path, self._graph, time.time, identity)
        return await self._queue.steer(action.removeprefix("queue/"), given)

    def _configure(self, configuration: Configuration) -> None:
        self._formatter.mask(secrets_of(configuration))
        if isinstance(self._graph, HttpGraph):
            self._graph.set_timeouts(configuration.graph.connect, configuration.graph.total)
        self._couriers.configure(configuration)
        self._configure_clicks(configuration)
        self._resolver.wake()

    def _configure_clicks(self, configuration: Configuration) -> None:
        if configuration.tracker.admin_api != self._tracker.admin_api:
            former, self._source = self._source, self._make_source(configuration)
            self._lookup.configure(self._source)
            if former:
                self._closing.add(closing := asyncio.create_task(former.close()))
                closing.add_done_callback(self._closing.discard)
        if configuration.tracker.geoip != self._tracker.geoip:
            self._places = Places(_path(configuration.tracker.geoip))
        self._tracker = configuration.tracker

    def _make_source(self, configuration: Configuration) -> AdminApi | None:
        """A sandbox sends nothing anywhere, and has no key."""
        admin_api = configuration.tracker.admin_api
        if admin_api is None or self._standin is not None:
            return None
        return AdminApi(admin_api.url, admin_api.key, admin_api.proxy, time.time, time.monotonic)

    async def _close_source(self) -> None:
        if self._source:
            await self._source.close()

    def _completed(self, postback: Postback, subid: str, click: Click | None) -> Click | None:
        return completed(postback, subid, click, self._lookup.campaigns, self._places)

    def _complete(self, postback: Postback, click: Click | None) -> Click | None:
        return self._completed(postback, first_real(postback.parameters, ("subid", "sub_id")), click)

    def _wake_resolver(self) -> None:
        self._resolver.wake()

    def _is_kept_long(self, click: Click) -> bool:
        """Whether Facebook may know of a click, by its own parameters or by those of its campaign."""
        return has_fbclid(self._lookup.campaigns.named(click), self._current().fbclid_names)

    async def _watch_places(self) -> None:
        while True:
            await asyncio.sleep(_PLACES)
            await asyncio.to_thread(self._places.reload_if_changed)

    async def _trace(self) -> None:
        """Each decided postback and each tried delivery, at level debug."""
        async for fact in self.tap.listen():
            keys = {name: value for name, value in fact.items() if name not in ("what", "at")}
            log.debug(_TRACED[fact["what"]], **keys)

    async def _open(self, stack: AsyncExitStack, runner: web.BaseRunner, address: Address, name: str) -> None:
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        try:
            log.info(f"{name}.listening", address=await listen(runner, address))
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else str(error)
            raise ValueError(f"--{name} {address}: {reason}; is another one running? give it another address") from None

    async def _last_postbacks(self, intake: web.ServerRunner) -> None:
        """Nobody new is let in; who has come is answered. Whoever calls now waits in the backlog, if our parent holds
        the socket, or finds nobody, and Nginx's journal brings it."""
        self._intake.ending = True
        for site in list(intake.sites):
            await site.stop()
        await asyncio.sleep(_LAST_POSTBACKS)

    def _keep_running(self, stack: AsyncExitStack, run: Callable[[], Any]) -> None:
        task = asyncio.create_task(run())
        task.add_done_callback(self._ended)

        async def end() -> None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        stack.push_async_callback(end)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """A part that ends by itself is a defect: the daemon stops, and is started again with nothing lost."""
        if not task.cancelled() and (error := task.exception()):
            place = traceback.extract_tb(error.__traceback__)[-1]
            log.error("daemon.broken", error=type(error).__name__, at=f"{place.filename}:{place.lineno}")
            self.broken = True
            self.stopped.set()
