"""The status page: what is wrong, since when, and what to do. It changes nothing; what does is shown as a command."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from aiohttp import web

from sidecar.core.configuration import Configuration
from sidecar.core.decide import decide
from sidecar.core.delivery import Destination
from sidecar.core.parameters import first_real
from sidecar.core.postback import Postback, key_of
from sidecar.explain import Complete
from sidecar.page import configuration, front, integration, postback
from sidecar.page.day import HOURS, Day, days_of
from sidecar.page.delivery import Held, destination_of
from sidecar.page.html import asset, path_of, render
from sidecar.store.contract import Store, StoreUnavailable

#: Deliveries of each kind that an integration's page shows.
_DELIVERIES = 25

#: Characters of a postback URL at most.
_LONGEST_URL = 65536

#: Seconds for which the day's numbers are good at least, and how many times as long as it took to count them: whoever
#: looks all day costs two per cent of a core.
_NUMBERS_LAST = 1.0
_TIMES = 50

_NO_ID = "0" * 32

#: Nothing of another host, nothing inline, and nowhere inside another page.
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}

Handler = Callable[[web.Request], Awaitable[web.Response]]


@dataclass(frozen=True)
class House:
    """What the pages read of the running daemon. `held` is why a destination's deliveries may not be leased now (empty:
    they may); `complete` gives the click to decide by; clocks count seconds."""

    store: Store
    mode: str
    status: Callable[[], Awaitable[dict[str, Any]]]
    configuration: Callable[[], Configuration]
    held: Callable[[Destination], str]
    complete: Complete
    clock: Callable[[], float]
    monotonic: Callable[[], float]


class Pages:
    """Each page from one look at the daemon; whoever serves them asks for the token."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._counting = asyncio.Lock()
        self._days: Mapping[str, Day] = {}
        self._days_until = 0.0

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Registers every address."""
        for path, page in (
            ("/", self._front),
            ("/integrations/{name:.+}", self._integration),
            ("/postbacks", self._find),
            ("/postbacks/{id:.+}", self._postbacks),
            ("/explain", self._form),
            ("/configuration", self._configuration),
        ):
            router.add_get(path, _answered(page))
        router.add_post("/explain", _answered(self._explain))
        for name, type in (("page.css", "text/css"), ("page.js", "text/javascript")):
            router.add_get(f"/{name}", _answered(_asset(name, type)))

    async def _front(self, request: web.Request) -> web.Response:
        status, days = await self._house.status(), await self._numbers()
        in_force, query = self._house.configuration(), request.query
        shown = partial(front.front, status, in_force, days, query.get("q", ""), query.get("state", ""))
        return await self._page("front.html", shown)

    async def _integration(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        status, days = await self._house.status(), await self._numbers()
        deliveries = await self._house.store.deliveries(name, _DELIVERIES)
        declared = self._house.configuration().by_name.get(name)
        if declared is None and not any(deliveries.values()):
            return await self._absent(f"There is no integration “{name}”.")
        held = self._held_now(row for rows in deliveries.values() for row in rows)
        shown = partial(integration.integration, name, declared, status, days.get(name), deliveries, held)
        return await self._page("integration.html", shown)

    async def _find(self, request: web.Request) -> web.Response:
        """From the search form to the postback's own address."""
        if id := request.query.get("id", "").strip():
            return web.Response(status=303, headers={"Location": path_of("postbacks", id)})
        return await self._asked()

    async def _postbacks(self, request: web.Request) -> web.Response:
        id = request.match_info["id"]
        house = self._house
        stories = await house.store.stories(id, postback.MOST)
        if not stories:
            return await self._absent(f"No postback that is kept has this request id, event_id or subid: {id}")
        held = self._held_now(row for story in stories for row in story["deliveries"])
        in_force = house.configuration()
        shown = partial(postback.stories, id, stories, house.mode, in_force, house.complete, held)
        return await self._page("postback.html", shown)

    async def _form(self, _: web.Request) -> web.Response:
        return await self._asked()

    async def _explain(self, request: web.Request) -> web.Response:
        """What would become of a pasted URL. It came in the body, is kept nowhere, and is not shown again."""
        url = "".join(str((await request.post()).get("url", "")).split())
        if len(url) > _LONGEST_URL or key_of(url) is None:
            fault = "That is no postback URL: it looks like https://tracker.example.com/KEY/postback?subid=…&status=…"
            return await self._asked(fault=fault)
        received = Postback(_NO_ID, self._house.clock(), "GET", url)
        subid = first_real(received.parameters, ("subid", "sub_id"))
        click = (await self._house.store.clicks([subid])).get(subid) if subid else None
        in_force = self._house.configuration()

        def explained() -> dict[str, Any]:
            made = decide(received, self._house.complete(received, click), in_force, received.received_at)
            return {"decision": postback.decision(made, in_force), "fault": ""}

        return await self._page("explain.html", explained)

    async def _asked(self, fault: str = "") -> web.Response:
        """The form; with what is wrong with what was sent."""
        return await self._page("explain.html", lambda: {"decision": None, "fault": fault}, 400 if fault else 200)

    async def _configuration(self, _: web.Request) -> web.Response:
        status = await self._house.status()
        return await self._page("configuration.html", partial(configuration.shown, status, self._house.configuration()))

    async def _absent(self, what: str) -> web.Response:
        return await self._page("absent.html", lambda: {"what": what}, 404)

    def _held_now(self, rows: Iterable[Mapping[str, Any]]) -> Held:
        """Why deliveries may not be leased, as it is at this moment, for whoever shows them beside the event loop."""
        destinations = {destination_of(row) for row in rows}
        return {each: self._house.held(each) for each in destinations}.__getitem__

    async def _page(self, template: str, shown: Callable[[], dict[str, Any]], code: int = 200) -> web.Response:
        """Made beside the event loop, so that no postback waits for a long list."""
        common = {"now": self._house.clock(), "mode": self._house.mode}
        body = await asyncio.to_thread(lambda: render(template, **common, **shown()).encode("utf-8", "replace"))
        return web.Response(status=code, body=body, content_type="text/html", charset="utf-8")

    async def _numbers(self) -> Mapping[str, Day]:
        """The last 24 hours of each integration; whoever asks meanwhile, or soon after, gets the same."""
        async with self._counting:
            if (began := self._house.monotonic()) >= self._days_until:
                since = self._house.clock() // 3600 * 3600 - (HOURS - 1) * 3600
                rows = await self._house.store.hours(since)
                self._days = await asyncio.to_thread(days_of, rows, since)
                ended = self._house.monotonic()
                self._days_until = ended + max(_NUMBERS_LAST, _TIMES * (ended - began))
        return self._days


def _asset(name: str, type: str) -> Handler:
    async def page(_: web.Request) -> web.Response:
        return web.Response(text=asset(name), content_type=type)

    return page


def _answered(page: Handler) -> Handler:
    """With the headers that every page has; a store that cannot be read is said."""

    async def answer(request: web.Request) -> web.Response:
        try:
            response = await page(request)
        except StoreUnavailable as error:
            response = web.Response(status=503, text=f"store: {error}\n")
        response.headers.update(_HEADERS)
        return response

    return answer
