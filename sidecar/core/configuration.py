"""What the YAML declares, as one immutable value.

Durations are seconds. `place` is `FILE:LINE` of the declaration. Every default stands here once.
"""

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property
from typing import Any

from sidecar.core.meta import API_VERSION, HASHED_KEYS
from sidecar.core.secret import NO_SECRET, Secret
from sidecar.core.status import KNOWN
from sidecar.core.template import placeholders

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

HOUR = 3600.0
DAY = 24 * HOUR


@dataclass(frozen=True)
class Value:
    """What a conversion is worth: a share of its payout, a fixed amount, or (neither) nothing."""

    share: Decimal | None = None
    amount: Decimal | None = None


PAYOUT = Value(share=Decimal(1))
NOTHING = Value()


@dataclass(frozen=True)
class Rule:
    """The Facebook event that a Keitaro status becomes."""

    event: str
    value: Value = PAYOUT
    currency: str | None = None
    delay: float = 0.0
    skip_zero: bool = False
    custom_data: Mapping[str, Any] = field(default_factory=dict)
    place: str = ""


@dataclass(frozen=True)
class StatusMapping:
    """Rules by Keitaro status; None for a status that is known and not sent."""

    name: str
    rules: Mapping[str, Rule | None]
    place: str = ""


@dataclass(frozen=True)
class DataProcessing:
    """Meta's data processing options, such as Limited Data Use."""

    options: tuple[str, ...]
    country: int = 0
    state: int = 0


@dataclass(frozen=True)
class Integration:
    """One pixel with its token, proxies and mapping, for some of the tracker's campaigns."""

    name: str
    pixel_id: str
    mapping: StatusMapping
    campaigns: tuple[str, ...] = ()
    pixels: tuple[str, ...] = ()
    token: Secret = NO_SECRET
    proxies: tuple[Secret, ...] = ()
    #: A digest of the proxy list as declared, by which a delivery finds another integration when its own is gone.
    route: str = ""
    paused: bool = False
    test_event_code: str = ""
    api_version: str = API_VERSION
    event_source_url: str = "hashed"
    event_id: str = ""
    fbclid_from: tuple[str, ...] = ("fbclid",)
    fbp_from: tuple[str, ...] = ("fbp",)
    fbc_from: tuple[str, ...] = ("fbc",)
    data_processing: DataProcessing | None = None
    only: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    #: user_data key <- parameters; a key that is not here is read from the parameter of its own name.
    customer: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    #: Why this integration cannot send, in words; empty when it can.
    error: str = ""
    place: str = ""
    #: Where the token and the proxies stand, for whoever has to mend them.
    token_place: str = ""
    proxy_place: str = ""

    @cached_property
    def customer_names(self) -> Mapping[str, tuple[str, ...]]:
        """The parameters of every user_data key, defaults included."""
        return {**{key: (key,) for key in HASHED_KEYS}, **self.customer}

    @cached_property
    def parameters(self) -> frozenset[str]:
        """Every parameter of a postback that this integration may read."""
        names = {*self.fbclid_from, *self.fbp_from, *self.fbc_from, *self.only}
        names.update(*self.customer_names.values())
        names |= placeholders([self.pixel_id, self.event_source_url, self.event_id])
        for rule in self.mapping.rules.values():
            names |= placeholders(rule.custom_data) if rule else set()
        return frozenset(names)


@dataclass(frozen=True)
class AdminApi:
    """Where Keitaro's Admin API answers."""

    url: str
    key: Secret
    proxy: Secret | None = None


@dataclass(frozen=True)
class Tracker:
    """The Keitaro tracker beside which this stands."""

    #: None when the key is a secret that was not resolved: then any key is accepted.
    postback_keys: tuple[Secret, ...] | None = None
    currency: str = "USD"
    click_wait: float = 900.0
    subid_from: tuple[str, ...] = ("cookie",)
    trusted: tuple[Network, ...] = ()
    cdn: tuple[Network, ...] = ()
    first_start: float = 0.0
    waiting_max: int = 200_000
    admin_api: AdminApi | None = None
    geoip: str = ""
    statuses: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Retention:
    """How long each kind of row is kept."""

    click: float = 90 * DAY
    click_without_fbclid: float = 7 * DAY
    postback: float = 30 * DAY
    raw: float = 7 * DAY
    body: float = 7 * DAY
    key: float = 90 * DAY
    attempt: float = 30 * DAY


@dataclass(frozen=True)
class Graph:
    """Time-outs of one request to the Graph API."""

    connect: float = 5.0
    total: float = 30.0


@dataclass(frozen=True)
class Brake:
    """A reload that stops more than `share` of at least `least` recent postbacks is refused."""

    share: float = 0.5
    least: int = 200


@dataclass(frozen=True)
class Canary:
    """A click, a postback and a test event now and then: `url` is the tracker's address as visitors see it."""

    every: float = 0.0
    url: str = ""
    test_event_code: str = ""


@dataclass(frozen=True)
class Configuration:
    """All of it; `hash` is the content hash of every file that it was read from, secrets included."""

    tracker: Tracker
    integrations: tuple[Integration, ...] = ()
    retention: Retention = Retention()
    graph: Graph = Graph()
    brake: Brake = Brake()
    canary: Canary = Canary()
    hash: str = ""
    commit: str = ""

    @cached_property
    def version(self) -> str:
        """What every event carries: the hash and, where there is one, the git commit."""
        return f"{self.hash}@{self.commit}" if self.commit else self.hash

    @cached_property
    def by_campaign(self) -> Mapping[str, tuple[Integration, ...]]:
        """Integrations by campaign entry, in file order; hosts in lower case."""
        found: dict[str, list[Integration]] = {}
        for integration in self.integrations:
            for entry in dict.fromkeys(map(campaign_key, integration.campaigns)):
                found.setdefault(entry, []).append(integration)
        return {entry: tuple(integrations) for entry, integrations in found.items()}

    def of_campaign(self, names: Iterable[str]) -> tuple[Integration, ...]:
        """The integrations for a campaign that goes by these names, in file order."""
        found = {each.name: each for name in names for each in self.by_campaign.get(campaign_key(name), ())}
        return tuple(sorted(found.values(), key=lambda each: self.position[each.name]))

    @cached_property
    def by_name(self) -> Mapping[str, Integration]:
        """Integrations by their name."""
        return {integration.name: integration for integration in self.integrations}

    @cached_property
    def position(self) -> Mapping[str, int]:
        """The place of each integration in file order."""
        return {integration.name: index for index, integration in enumerate(self.integrations)}

    @cached_property
    def custom_statuses(self) -> frozenset[str]:
        """Statuses of the tracker's own that some mapping or list names."""
        named = {status for integration in self.integrations for status in integration.mapping.rules}
        return frozenset((named | set(self.tracker.statuses)) - set(KNOWN))

    @cached_property
    def parameters(self) -> frozenset[str]:
        """Every parameter of a postback that some integration may read."""
        return frozenset().union(*(integration.parameters for integration in self.integrations))

    @cached_property
    def customer_keys(self) -> Mapping[str, str]:
        """The hashed user_data key of each customer's parameter; where integrations differ, the first decides."""
        keys: dict[str, str] = {}
        for integration in self.integrations:
            for key in HASHED_KEYS:
                for name in integration.customer_names[key]:
                    keys.setdefault(name, key)
        return {**{key: key for key in HASHED_KEYS}, **keys}

    @cached_property
    def fbclid_names(self) -> tuple[str, ...]:
        """Every click parameter that may hold an fbclid or an fbc, for whichever integration."""
        return tuple(
            dict.fromkeys(
                name for integration in self.integrations for name in (*integration.fbclid_from, *integration.fbc_from)
            )
        )


def campaign_key(entry: str) -> str:
    """The form in which campaigns are compared: case counts, except for hosts."""
    return entry.lower() if "." in entry else entry
