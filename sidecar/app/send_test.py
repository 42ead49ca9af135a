"""One event to Meta on request, to see that pixel, token and proxy work: made of a real click, without any value."""

import asyncio
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from sidecar import log
from sidecar.core.click import Click
from sidecar.core.configuration import NOTHING, Configuration, Integration, Rule
from sidecar.core.conversion import Conversion
from sidecar.core.delivery import Lane
from sidecar.core.event import Event, InvalidEvent, Material, build_event
from sidecar.core.fbclid import find_fbclid
from sidecar.core.judge import judge
from sidecar.graph import Graph
from sidecar.store.reading import read_newest_click

#: The custom event that nobody optimises on.
TEST_EVENT = "CapiSidecarTest"

#: How the fbclid of a canary's click begins: it is no real one.
CANARY_FBCLID = "CapiSidecarCanary_"

#: Clicks that are looked at to find one of the integration.
_CLICKS = 200_000


async def send_test(
    given: dict[str, Any],
    configuration: Configuration,
    store: Path,
    graph: Graph,
    clock: Callable[[], float],
    identity: Callable[[], str],
) -> dict[str, Any]:
    """Sends it, and what Meta answered. `given` has `name` and may have `event` and `code`. Raises ValueError.

    `identity` gives what makes the event_id one of its own: no conversion has it.
    """
    name, event_name, code = (str(given.get(key, "")) for key in ("name", "event", "code"))
    integration = sending(name, configuration)
    click = await asyncio.to_thread(read_newest_click, store, _fits(integration, configuration, clock()), _CLICKS)
    if click is None:
        raise ValueError(f"{name}: no click with an fbclid was seen for its campaigns; open the ad's link once")
    rule = Rule(event_name or TEST_EVENT, NOTHING)
    return await send_one(click, integration, rule, code, configuration, graph, clock, identity)


def sending(name: str, configuration: Configuration) -> Integration:
    """The integration of this name, if it can send. Raises ValueError."""
    integration = configuration.by_name.get(name)
    if integration is None:
        raise ValueError(f'no integration "{name}"; capi-sidecar integrations list names all')
    if integration.error:
        raise ValueError(f"{name} ({integration.place}) is in error: {integration.error}")
    return integration


async def send_one(
    click: Click,
    integration: Integration,
    rule: Rule,
    code: str,
    configuration: Configuration,
    graph: Graph,
    clock: Callable[[], float],
    identity: Callable[[], str],
) -> dict[str, Any]:
    """One event of a click, with a test_event_code or not at all. Raises ValueError."""
    name, code = integration.name, code or integration.test_event_code
    if not code:
        raise ValueError(
            f"{name} has no test_event_code; Events Manager, Test events, shows one: give it with --test-event-code"
        )
    conversion = Conversion(click.subid, "test", identity(), None, "", clock(), {})
    event = _event(Material(conversion, click, integration, rule, configuration.tracker.currency, clock()))
    lane = Lane(event.pixel_id, integration.token, integration.proxies, integration.api_version, code)
    sent = await graph.send(lane, [event.body])
    verdict = judge(sent.answer, 1, clock(), integration.token)
    log.info("test.sent", integration=name, pixel_id=event.pixel_id, event=event.name, verdict=verdict.kind)
    told = {key: value for key, value in asdict(verdict).items() if key not in ("seconds", "bad_event")}
    return {
        "integration": name,
        "pixel_id": event.pixel_id,
        "test_event_code": code,
        "subid": click.subid,
        "clicked_at": click.clicked_at,
        "event": event.as_json(),
        "proxy": sent.proxy,
        "took": sent.took,
        **told,
    }


def _fits(integration: Integration, configuration: Configuration, now: float) -> Callable[[Click], bool]:
    """A click of one of its campaigns of which Facebook knows."""

    def fits(click: Click) -> bool:
        mine = integration in configuration.of_campaign(click.campaign)
        fbc = find_fbclid(click, integration, now).fbc
        return mine and bool(fbc) and CANARY_FBCLID not in fbc

    return fits


def _event(material: Material) -> Event:
    """The event, its id made of the conversion whatever the integration's template is. Raises ValueError."""
    integration = replace(material.integration, event_id="")
    fbclid = find_fbclid(material.click, integration, material.now)
    event = build_event(replace(material, integration=integration), fbclid, [])
    if isinstance(event, InvalidEvent):
        raise ValueError(f"{integration.name}: {event.words}")
    return event
