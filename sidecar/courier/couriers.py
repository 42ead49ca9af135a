"""All lanes: which there are now, and which destination travels in which."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from sidecar import log
from sidecar.core.configuration import Configuration
from sidecar.core.delivery import Destination, Held, Lane, lane_of
from sidecar.courier.lane import LaneCourier, Office, remember
from sidecar.courier.parks import Parks
from sidecar.courier.tally import Tally
from sidecar.graph import Graph
from sidecar.store.contract import Store
from sidecar.tap import Tap

#: Where a fault is mended, as an attribute of the integration; the others concern it as a whole.
_MENDED_AT = {"token": "token_place", "proxy": "proxy_place"}


class Couriers:
    """Starts a courier for a lane as soon as it has a destination, and lets it end when it has none."""

    def __init__(
        self,
        store: Store,
        graph: Graph,
        configuration: Configuration,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
        chance: Callable[[], float],
        tap: Tap,
    ) -> None:
        self._store = store
        self._configuration = configuration
        self._clock = clock
        self._monotonic = monotonic
        self._destinations: set[Destination] = set()
        self._couriers: dict[Lane, LaneCourier] = {}
        self._tasks: dict[asyncio.Task[None], LaneCourier] = {}
        self._held: dict[Destination, str] = {}
        self.parks = Parks()
        self.counts: Counter[str] = Counter()
        self.tally = Tally()
        self._office = Office(
            store, graph, self.parks, tap, clock, monotonic, chance, self.counts, self.tally, self._wake_all,
            self._place,
        )  # fmt: skip

    async def start(self) -> None:
        """Takes up what an earlier run left: what was to be sent, and what held it."""
        now = self._monotonic()
        offset = self._clock() - now
        self.parks.restore([park.shifted(-offset) for park in await self._store.parks()], now)
        await remember(self._store, self.parks, offset)
        self._destinations |= set(await self._store.destinations())
        self._assign()

    def wake(self, destinations: Iterable[Destination]) -> None:
        """These have something to send."""
        for destination in set(destinations) - self._destinations:
            self._destinations.add(destination)
            self._add(destination)
        for lane in {lane_of(each, self._configuration) for each in destinations}:
            if isinstance(lane, Lane) and lane in self._couriers:
                self._couriers[lane].wake()

    def ask(self, destinations: Iterable[Destination]) -> None:
        """These are to be tried now with one event, whatever holds them but a throttle."""
        for lane in {lane_of(each, self._configuration) for each in destinations}:
            if isinstance(lane, Lane) and lane in self._couriers:
                self._couriers[lane].ask()

    def configure(self, configuration: Configuration) -> None:
        """Another configuration: what is on its way ends in its old lane."""
        self.tally.forget(self._configuration.by_name.keys() - configuration.by_name.keys())
        self._configuration = configuration
        self._assign(asks=True)

    async def stop(self, seconds: float) -> None:
        """Lets requests end that are on their way; after these seconds they are given up, and sent again later."""
        for courier in self._couriers.values():
            courier.destinations = ()
            courier.wake()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=seconds)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def held(self, destination: Destination) -> str:
        """Why a destination's deliveries may not be leased now; empty when they may."""
        if destination in self._held:
            return self._held[destination]
        lane = lane_of(destination, self._configuration)
        park = self.parks.of(lane, self._monotonic()) if isinstance(lane, Lane) else None
        return park.state if park else ""

    def status(self) -> list[dict[str, Any]]:
        """Every lane: its pixel, integrations, state and, where it is held, why and until when."""
        return [self._status(courier) for courier in self._couriers.values() if courier.destinations]

    def _place(self, kind: str, destinations: Sequence[Destination]) -> str:
        """FILE:LINE at which a fault of this kind is mended; of the integrations that send, each once."""
        named = (self._configuration.by_name.get(each.integration) for each in destinations)
        places = [getattr(each, _MENDED_AT.get(kind, "place")) for each in named if each]
        return ", ".join(sorted(set(places)))

    def _wake_all(self) -> None:
        for courier in self._couriers.values():
            courier.wake()

    def _assign(self, asks: bool = False) -> None:
        lanes: defaultdict[Lane, list[Destination]] = defaultdict(list)
        self._held = {}
        for destination in sorted(self._destinations, key=lambda each: (each.integration, each.pixel_id, each.route)):
            lane = lane_of(destination, self._configuration)
            if isinstance(lane, Held):
                self._held[destination] = lane.reason
            else:
                lanes[lane].append(destination)
        for lane, courier in list(self._couriers.items()):
            if set(courier.destinations) == set(lanes.get(lane, ())):
                continue  # an edit of one integration wakes no other
            courier.destinations = tuple(lanes.get(lane, ()))
            courier.wake()
            if not courier.destinations:
                del self._couriers[lane]
        for lane in lanes.keys() - self._couriers.keys():
            self._begin(lane, tuple(lanes[lane]), asks)

    def _add(self, destination: Destination) -> None:
        """One destination more, without a look at the others."""
        lane = lane_of(destination, self._configuration)
        if isinstance(lane, Held):
            self._held[destination] = lane.reason
        elif lane in self._couriers:
            self._couriers[lane].destinations += (destination,)
        else:
            self._begin(lane, (destination,))

    def _begin(self, lane: Lane, destinations: tuple[Destination, ...], asks: bool = False) -> None:
        courier = LaneCourier(lane, self._office, asks)
        courier.destinations = destinations
        self._couriers[lane] = courier
        task = asyncio.create_task(courier.run())
        self._tasks[task] = courier
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """A courier that ended by a defect is replaced: its lane must not stand still."""
        courier = self._tasks.pop(task)
        if task.cancelled() or task.exception() is None:
            return
        log.error("lane.broken", pixel_id=courier.lane.pixel_id, error=type(task.exception()).__name__)
        if self._couriers.get(courier.lane) is courier:
            del self._couriers[courier.lane]
        asyncio.get_running_loop().call_later(1.0, self._assign)

    def _status(self, courier: LaneCourier) -> dict[str, Any]:
        held = self.parks.of(courier.lane, self._monotonic()) or courier.failing
        wall = self._clock() - self._monotonic()
        return {
            "pixel_id": courier.lane.pixel_id,
            "integrations": sorted({each.integration for each in courier.destinations}),
            "state": held.state if held else "active",
            "why": held.kind if held else "",
            "at": self._place(held.kind, courier.destinations) if held else "",
            "words": held.words if held else "",
            "since": held.since + wall if held else None,
            "until": held.until + wall if held else None,
        }
