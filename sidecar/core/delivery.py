"""A delivery: one event on its way to one pixel, and the tries that it took."""

from dataclasses import dataclass, replace

from sidecar.core.configuration import Configuration, Integration
from sidecar.core.secret import Secret


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a delivery was to go when it was decided: it moves to no other pixel.

    `route` is the digest of the integration's proxy list: only an integration with the same one may stand in.
    """

    integration: str
    pixel_id: str
    route: str


@dataclass(frozen=True, slots=True)
class Lane:
    """What one request shares; a request never mixes lanes."""

    pixel_id: str
    token: Secret
    proxies: tuple[Secret, ...]
    api_version: str
    test_event_code: str


@dataclass(frozen=True, slots=True)
class Park:
    """What holds lanes for a fault that is nobody's event's. `concern` names whom, without telling any secret.

    Held as `state` (`parked`, `throttled` or, between two tries, `failing`) since and until a moment of a clock, with
    the fault's kind and words; `step` is how many seconds it is held this time.
    """

    concern: str
    state: str
    kind: str
    words: str
    since: float
    until: float
    step: float

    @property
    def probes(self) -> bool:
        """Whether one event is sent first when the time is over."""
        return self.state == "parked"

    def shifted(self, seconds: float) -> "Park":
        """The same on a clock that is ahead by so much."""
        return replace(self, since=self.since + seconds, until=self.until + seconds)


@dataclass(frozen=True, slots=True)
class Held:
    """Why deliveries for a destination may not be leased now: one of `life.HELD`."""

    reason: str


@dataclass(frozen=True, slots=True)
class Delivery:
    """A leased delivery. `body` is the event's bytes; `failures` counts the tries that were charged to it; from
    `not_before` on (its postback's arrival, and its rule's delay) it could be sent."""

    seq: int
    destination: Destination
    event_name: str
    event_id: str
    subid: str
    body: bytes
    deadline: float
    failures: int
    not_before: float


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try: when (Unix seconds), how long (seconds), through which proxy (its place in the list, 0 direct),
    and what Meta said."""

    at: float
    took: float
    proxy: int
    verdict: str
    whose: str
    words: str = ""
    http_status: int | None = None
    code: int | None = None
    subcode: int | None = None
    fbtrace_id: str = ""


@dataclass(frozen=True, slots=True)
class Settlement:
    """What becomes of a leased delivery: `state` is `delivered`, `dead` (with its reason) or `queued` again, then
    not before `due_at`, and `held` is `by_hand` when people must look first."""

    seq: int
    state: str
    reason: str = ""
    due_at: float = 0.0
    failures: int = 0
    held: str = ""
    attempts: tuple[Attempt, ...] = ()


def lane_of(destination: Destination, configuration: Configuration) -> Lane | Held:
    """The lane in which a destination's deliveries travel now, or why they are held.

    The integration of that name counts if it still has the pixel; else the first with the same pixel and the same
    proxies; else nobody may send them.
    """
    integration = _integration(destination, configuration)
    if integration is None:
        return Held("integration_gone")
    if integration.paused:
        return Held("paused")
    if integration.error:
        return Held("in_error")
    return Lane(
        destination.pixel_id,
        integration.token,
        integration.proxies,
        integration.api_version,
        integration.test_event_code,
    )


def _integration(destination: Destination, configuration: Configuration) -> Integration | None:
    own = configuration.by_name.get(destination.integration)
    if own and has_pixel(own, destination.pixel_id):
        return own
    return next(
        (
            each
            for each in configuration.integrations
            if each.route == destination.route and has_pixel(each, destination.pixel_id)
        ),
        None,
    )


def has_pixel(integration: Integration, pixel_id: str) -> bool:
    """Whether an integration sends to this pixel."""
    return pixel_id in integration.pixels if integration.pixels else integration.pixel_id == pixel_id
