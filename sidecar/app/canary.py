"""The whole road, walked on purpose: a click and a postback through Nginx and the tracker, and a test event to Meta.

Everything of it is marked: the fbclid, the browser's name, and the status `capi_canary`, which is never a conversion.
The tracker sees one click more; Meta one custom event without a value, with a test_event_code or not at all.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import aiohttp

from sidecar import log
from sidecar.app.send_test import CANARY_FBCLID, TEST_EVENT, send_one, sending
from sidecar.core.campaign import Campaigns
from sidecar.core.click import Click
from sidecar.core.configuration import NOTHING, Configuration, Integration, Rule
from sidecar.core.line import subid_of
from sidecar.core.status import CANARY
from sidecar.graph import Graph
from sidecar.store.contract import Store, StoreRefused, StoreUnavailable
from sidecar.store.reading import read_click

AGENT = "Mozilla/5.0 (compatible; capi-sidecar canary)"

#: Seconds between two looks whether a flight is due.
_TURN = 5.0

#: The cookie in which Keitaro answers the subid.
_COOKIE = "_subid"

#: Seconds until a leg has failed, and between two looks.
PATIENCE = 30.0
_LOOK = 0.1

_Result = TypeVar("_Result")


class LegFailed(Exception):
    """Why a leg did not end, and what to look at."""


@dataclass(frozen=True)
class Canary:
    """What a canary needs of the daemon; `identity` gives random hex digits."""

    store: Store
    path: Path
    graph: Graph
    configuration: Callable[[], Configuration]
    campaigns: Callable[[], Campaigns]
    clock: Callable[[], float]
    identity: Callable[[], str]

    async def fly(self, name: str, url: str = "", code: str = "") -> dict[str, Any]:
        """One flight for an integration: each leg with its seconds, and where it ended. Raises ValueError."""
        configuration = self.configuration()
        integration = sending(name, configuration)
        url = (url or configuration.canary.url).rstrip("/")
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
            raise ValueError("the tracker's address is needed: canary.url, or --url https://tracker.example.com")
        code = code or integration.test_event_code or configuration.canary.test_event_code
        if not code:
            raise ValueError(f"{name} has no test_event_code, nor has canary; without one nothing is sent")
        flight = _Flight(self, configuration, integration, url, code)
        ended_well = await flight.fly()
        log.info("canary.landed" if ended_well else "canary.lost", integration=name,
                 **{leg["leg"]: round(leg["seconds"], 3) for leg in flight.legs})  # fmt: skip
        return {"integration": name, "at": self.clock(), "ok": ended_well, "subid": flight.subid, "legs": flight.legs}


class Schedule:
    """Flies for each integration every `canary.every`, one after the other; remembers the last flight of each."""

    def __init__(self, canary: Canary) -> None:
        self._canary = canary
        self.flights: dict[str, dict[str, Any]] = {}

    async def run(self) -> None:
        """Flies until it is cancelled."""
        while True:
            for name in self._due():
                try:
                    await self.fly(name)
                except ValueError as error:
                    log.warning("canary.grounded", integration=name, why=str(error))
                    self.flights[name] = {"integration": name, "at": self._canary.clock(), "ok": None, "legs": []}
            await asyncio.sleep(_TURN)

    async def fly(self, name: str, url: str = "", code: str = "") -> dict[str, Any]:
        """One flight now. Raises ValueError."""
        before = self.flights.get(name, {})
        flight = await self._canary.fly(name, url, code)
        flight["last_success_at"] = flight["at"] if flight["ok"] else before.get("last_success_at")
        self.flights[name] = flight
        return flight

    def status(self) -> list[dict[str, Any]]:
        """For `status`: the last flight of each integration that there still is."""
        known = self._canary.configuration().by_name
        flown = [flight for name, flight in sorted(self.flights.items()) if name in known and flight["ok"] is not None]
        return [{key: value for key, value in flight.items() if key != "subid"} for flight in flown]

    def _due(self) -> list[str]:
        configuration, now = self._canary.configuration(), self._canary.clock()
        if not configuration.canary.every:
            return []
        awake = [each.name for each in configuration.integrations if not (each.paused or each.error)]
        every = configuration.canary.every
        return [name for name in awake if now - self.flights.get(name, {}).get("at", 0.0) >= every]


class _Flight:
    def __init__(
        self, canary: Canary, configuration: Configuration, integration: Integration, url: str, code: str
    ) -> None:
        self._canary = canary
        self._configuration = configuration
        self._integration = integration
        self._url = url
        self._code = code
        self.subid = ""
        self.legs: list[dict[str, Any]] = []

    async def fly(self) -> bool:
        timeout = aiohttp.ClientTimeout(total=PATIENCE)
        jar = aiohttp.DummyCookieJar()
        async with aiohttp.ClientSession(
            timeout=timeout, cookie_jar=jar, headers={"User-Agent": AGENT}, trust_env=False
        ) as session:
            try:
                await self._leg("click", self._click(session))
                click = await self._leg("journal", self._journalled())
                await self._leg("postback", self._postback(session))
                await self._leg("decision", self._decided())
                await self._leg("meta", self._sent(click))
            except LegFailed:
                return False
        return True

    async def _leg(self, name: str, walk: Awaitable[_Result]) -> _Result:
        """One leg, timed; raises LegFailed when it does not end."""
        began, words = time.monotonic(), ""
        try:
            return await walk
        except (aiohttp.ClientError, TimeoutError, ValueError, StoreRefused, StoreUnavailable) as error:
            is_told = isinstance(error, ValueError | StoreRefused | StoreUnavailable)
            words = str(error) if is_told else f"no answer at {urlsplit(self._url).netloc} ({type(error).__name__})"
            raise LegFailed(words) from None
        except LegFailed as error:
            words = str(error)
            raise
        finally:
            self.legs.append({"leg": name, "seconds": time.monotonic() - began, "ok": not words, "words": words})

    async def _click(self, session: aiohttp.ClientSession) -> None:
        """As a visitor comes from the ad."""
        url = f"{self._landing()}?fbclid={CANARY_FBCLID}{self._canary.identity()}"
        async with session.get(url, allow_redirects=False) as answer:
            cookies = _cookies(answer.headers.getall("Set-Cookie", []))
            line = {"subid": cookies.get(_COOKIE, ""), "location": answer.headers.get("Location", "")}
            self.subid = subid_of(line, self._configuration.tracker)
            if not self.subid:
                raise LegFailed(f"the tracker answered {answer.status} without a subid; is the campaign active?")

    async def _journalled(self) -> Click:
        """Until Nginx's line of the click is in the store."""
        path, subid = self._canary.path, self.subid
        click = await _until(lambda: asyncio.to_thread(read_click, path, subid))
        if click is None:
            raise LegFailed("the click did not come through the journal; capi-sidecar doctor looks why")
        return click

    async def _postback(self, session: aiohttp.ClientSession) -> None:
        """As an affiliate network calls."""
        keys = self._configuration.tracker.postback_keys
        key = keys[0].reveal() if keys else "key"
        url = f"{self._url}/{key}/postback?subid={self.subid}&status={CANARY}"
        async with session.get(url, allow_redirects=False) as answer:
            if answer.status >= 500:
                raise LegFailed(f"the tracker answered its postback with {answer.status}")

    async def _decided(self) -> None:
        """Until the postback was taken in, by mirror or journal, and decided."""

        async def decided() -> dict[str, Any] | None:
            stories = await self._canary.store.stories(self.subid, 1)
            return next((story for story in stories if story["state"] == "decided"), None)

        story = await _until(decided)
        if story is None:
            raise LegFailed("the postback did not come through mirror or journal; capi-sidecar doctor looks why")
        if not any(line.startswith(f"{self._integration.name}: a canary") for line in story["trace"]):
            raise LegFailed(f"the postback did not reach {self._integration.name}: {story['reason']}")

    async def _sent(self, click: Click) -> None:
        canary = self._canary
        sent = await send_one(
            click, self._integration, Rule(TEST_EVENT, NOTHING), self._code, self._configuration, canary.graph,
            canary.clock, canary.identity,
        )  # fmt: skip
        if sent["kind"] != "accepted":
            raise LegFailed(f"{sent['kind']}: {sent['words']}")

    def _landing(self) -> str:
        """Where the ad leads: the campaign's alias at the tracker, else the domain that is bound to it."""
        for entry in self._integration.campaigns:
            if "." not in entry:
                known = self._canary.campaigns().of(Click("", campaign=(entry,)))
                return f"{self._url}/{known[0].alias if known and known[0].alias else entry}"
        parts = urlsplit(self._url)
        port = f":{parts.port}" if parts.port else ""
        return f"{parts.scheme}://{self._integration.campaigns[0]}{port}/"


async def _until(look: Callable[[], Awaitable[_Result]]) -> _Result:
    """What a look finds, looked for again and again while it is nothing."""
    end = time.monotonic() + PATIENCE
    while not (found := await look()) and time.monotonic() < end:
        await asyncio.sleep(_LOOK)
    return found


def _cookies(lines: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in lines:
        try:
            found |= {name: morsel.value for name, morsel in SimpleCookie(line).items()}
        except CookieError:
            continue
    return found
