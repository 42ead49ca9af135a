"""A stand-in for Keitaro's Admin API: `python -m tests.acceptance.keitaro --listen HOST:PORT --key KEY`.

POST /admin_api/v1/clicks/log       rows of `clicks`: range (in its time zone), filters, sort, limit and offset
POST /admin_api/v1/conversions/log  the same of `conversions`
GET  /admin_api/v1/campaigns        `campaigns`
PUT  /_data      {"clicks": [...], "conversions": [...], "campaigns": [...]}, and how it answers: see `Answering`
PUT  /_fail      {"mode": "status", "status": 503, "retry_after": "30"}, `slow` (seconds), `html`, `reset` or `none`;
                 {"times": N} ends it by itself, {"path": "campaigns"} holds for one path
GET  /_requests  how many came to each path, and what the last ones were: path, status, body, key; DELETE forgets them

Moments in the data are Unix seconds under `datetime` or `postback_datetime`. Source: the Admin API's description and
what live trackers were seen to do: an unknown column, or neither range nor limit, is a 400.
"""

import argparse
import asyncio
import json
import sys
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from functools import partial
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import requests
from aiohttp import web

from tests.acceptance.parts import ROOT, Process, free_address, listens

KEY = "key-of-the-admin-api"
BASE = "/admin_api/v1"

#: Every column of the description.
CLICK_COLUMNS = [
    "sub_id", "click_id", "visitor_code", "campaign_id", "campaign", "ip", "user_agent", "country_code", "country",
    "region", "city", "referrer", "source", "keyword", "external_id", "creative_id", "ad_campaign_id", "is_bot",
    "datetime", "destination", "landing", "offer",
    *(f"sub_id_{number}" for number in range(1, 31)), *(f"extra_param_{number}" for number in range(1, 11)),
]  # fmt: skip
CONVERSION_COLUMNS = [
    *CLICK_COLUMNS, "conversion_id", "tid", "status", "previous_status", "original_status", "revenue",
    "postback_datetime", "click_datetime", "params",
]  # fmt: skip

#: What a request without a time zone gets.
_DEFAULT_ZONE = "America/New_York"

_MOMENTS = ("datetime", "postback_datetime", "click_datetime")

#: How a campaign's `parameters` are written.
_PARAMETERS: dict[str, Callable[[Any], Any]] = {
    "object": lambda value: value,
    "string": json.dumps,
    "twice": lambda value: json.dumps(json.dumps(value)),
}


class AdminApiStandIn(Process):
    """The stand-in as a process of its own; its methods speak to it."""

    def __init__(self, directory: Path, address: str | None = None, key: str = KEY):
        self.address = address or free_address()
        self.url = f"http://{self.address}"
        command = [sys.executable, "-m", "tests.acceptance.keitaro", "--listen", self.address, "--key", key]
        super().__init__("admin-api", command, directory, {"PYTHONPATH": str(ROOT)})

    def ready(self) -> bool:
        return listens(self.address)

    def set(self, **data: Any) -> None:
        """Its rows, and how it answers; what is not named stays."""
        requests.put(f"{self.url}/_data", json=data, timeout=30).raise_for_status()

    def fail(self, **order: Any) -> None:
        """Tells it to fail; `mode="none"` makes it well again."""
        requests.put(f"{self.url}/_fail", json=order, timeout=30).raise_for_status()

    def counts(self) -> dict[str, int]:
        """How many requests came to each path."""
        counts: dict[str, int] = requests.get(f"{self.url}/_requests", timeout=30).json()["counts"]
        return counts

    def requests(self) -> list[dict[str, Any]]:
        """The last requests, the oldest first."""
        last: list[dict[str, Any]] = requests.get(f"{self.url}/_requests", timeout=30).json()["last"]
        return last

    def forget(self) -> None:
        """Counts from nothing again."""
        requests.delete(f"{self.url}/_requests", timeout=30).raise_for_status()


@dataclass
class Answering:
    """What it knows and how it answers.

    `unknown` are columns that it does not know after all; `names_unknown` whether its 400 says which. `parameters` is
    `object`, `string` or `twice`; `bare` gives rows without the object around them (and campaigns with it); `total`
    gives their number in all; `page` is the most rows that it gives, whatever was asked.
    """

    clicks: list[dict[str, Any]] = field(default_factory=list)
    conversions: list[dict[str, Any]] = field(default_factory=list)
    campaigns: list[dict[str, Any]] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    names_unknown: bool = True
    parameters: str = "object"
    bare: bool = False
    total: bool = True
    page: int = 1_000_000


class Refused(Exception):
    """A 400, in words."""


@dataclass
class Tracker:
    """Its data, what it is told to fail, and what it was asked."""

    key: str
    answering: Answering = field(default_factory=Answering)
    order: dict[str, Any] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    last: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=200))

    def answer(self, path: str, body: dict[str, Any]) -> Any:
        """The JSON of an answer; raises Refused."""
        if path == "campaigns":
            write = _PARAMETERS[self.answering.parameters]
            rows = [{**each, "parameters": write(each.get("parameters", {}))} for each in self.answering.campaigns]
            return {"rows": rows} if self.answering.bare else rows
        known = CLICK_COLUMNS if path == "clicks/log" else CONVERSION_COLUMNS
        stored = self.answering.clicks if path == "clicks/log" else self.answering.conversions
        self._refuse_unknown(body, set(known) - set(self.answering.unknown))
        rows = _selected(stored, body, "datetime" if path == "clicks/log" else "postback_datetime")
        page = rows[body.get("offset", 0) :][: min(body.get("limit") or len(rows), self.answering.page)]
        shown = [_shown(row, body) for row in page]
        if self.answering.bare:
            return shown
        return {"rows": shown, **({"total": len(rows)} if self.answering.total else {})}

    def drawn(self, path: str) -> dict[str, Any]:
        """The order that holds for this request, if any."""
        order = self.order
        if order.get("mode", "none") == "none" or order.get("path", path) != path or order.get("times") == 0:
            return {}
        if "times" in order:
            order["times"] -= 1
        return order

    def _refuse_unknown(self, body: dict[str, Any], known: set[str]) -> None:
        if not (body.get("range") or body.get("limit")):
            raise Refused("range or limit is mandatory")
        named = [*body.get("columns", []), *(each["name"] for key in ("filters", "sort") for each in body.get(key, []))]
        for name in named:
            if name not in known:
                raise Refused(f'Unknown column "{name}"' if self.answering.names_unknown else "Validation failed")


def _selected(stored: list[dict[str, Any]], body: dict[str, Any], moment: str) -> list[dict[str, Any]]:
    rows = stored
    if span := body.get("range"):
        since, until = (
            datetime.fromisoformat(span[name]).replace(tzinfo=_zone(body)).timestamp() for name in ("from", "to")
        )
        rows = [row for row in rows if since <= row[moment] <= until]
    for each in body.get("filters", []):
        allowed = each["expression"] if each["operator"] == "IN_LIST" else [each["expression"]]
        rows = [row for row in rows if row.get(each["name"]) in allowed]
    for each in reversed(body.get("sort", [])):
        rows = sorted(rows, key=partial(_value, each["name"]), reverse=each["order"] == "DESC")
    return rows


def _value(name: str, row: dict[str, Any]) -> Any:
    return row.get(name, 0)


def _shown(row: dict[str, Any], body: dict[str, Any]) -> dict[str, Any]:
    """The columns that were asked for, moments in the time zone that was asked for."""
    shown = {name: row.get(name, "") for name in body.get("columns") or row}
    for name in _MOMENTS:
        if isinstance(shown.get(name), int | float):
            shown[name] = datetime.fromtimestamp(shown[name], UTC).astimezone(_zone(body)).strftime("%Y-%m-%d %H:%M:%S")
    return shown


def _zone(body: dict[str, Any]) -> tzinfo:
    name = body.get("range", {}).get("timezone", _DEFAULT_ZONE)
    return UTC if name == "UTC" else ZoneInfo(name)


_TRACKER = web.AppKey("tracker", Tracker)


async def _ask(request: web.Request) -> web.StreamResponse:
    tracker, path = request.app[_TRACKER], request.match_info["path"]
    raw = await request.read()
    body = json.loads(raw) if raw else {}
    response = await _answered(tracker, request, path, body)
    tracker.counts[path] += 1
    tracker.last.append({"path": path, "method": request.method, "status": response.status, "body": body,
                         "agent": request.headers.get("User-Agent", ""), "url": request.path_qs})  # fmt: skip
    return response


async def _answered(tracker: Tracker, request: web.Request, path: str, body: dict[str, Any]) -> web.StreamResponse:
    order = tracker.drawn(path)
    if order.get("mode") == "slow":
        await asyncio.sleep(order["seconds"])
    elif order.get("mode") == "html":
        return web.Response(text="<html><title>Sign in</title></html>", content_type="text/html")
    elif order.get("mode") == "reset" and request.transport is not None:
        request.transport.abort()
    elif order.get("mode") == "status":
        headers = {name: order[key] for key, name in _HEADERS.items() if key in order}
        return web.json_response({"error": "as told"}, status=order["status"], headers=headers)
    if request.headers.get("Api-Key") != tracker.key:
        return web.json_response({"error": "Unauthorized"}, status=401)
    try:
        return web.json_response(tracker.answer(path, body))
    except Refused as refused:
        return web.json_response({"error": str(refused)}, status=400)


_HEADERS = {"retry_after": "Retry-After", "location": "Location"}


async def _set(request: web.Request) -> web.Response:
    answering = request.app[_TRACKER].answering
    for name, value in (await request.json()).items():
        if not hasattr(answering, name):
            return web.json_response({"error": f"no {name}"}, status=400)
        setattr(answering, name, value)
    return web.json_response({})


async def _fail(request: web.Request) -> web.Response:
    request.app[_TRACKER].order = await request.json()
    return web.json_response({})


async def _requests(request: web.Request) -> web.Response:
    tracker = request.app[_TRACKER]
    return web.json_response({"counts": tracker.counts, "last": list(tracker.last)})


async def _forget(request: web.Request) -> web.Response:
    request.app[_TRACKER].counts.clear()
    request.app[_TRACKER].last.clear()
    return web.json_response({})


def application(key: str) -> web.Application:
    app = web.Application(client_max_size=64 << 20)
    app[_TRACKER] = Tracker(key)
    app.router.add_post(BASE + "/{path:(clicks|conversions)/log}", _ask)
    app.router.add_get(BASE + "/{path:campaigns}", _ask)
    app.router.add_put("/_data", _set)
    app.router.add_put("/_fail", _fail)
    app.router.add_get("/_requests", _requests)
    app.router.add_delete("/_requests", _forget)
    return app


def main() -> None:
    parser = argparse.ArgumentParser(description="A stand-in for Keitaro's Admin API.")
    parser.add_argument("--listen", required=True, metavar="HOST:PORT")
    parser.add_argument("--key", default=KEY)
    given = parser.parse_args()
    host, _, port = given.listen.rpartition(":")
    web.run_app(application(given.key), host=host, port=int(port), print=None, access_log=None, shutdown_timeout=0.5)


if __name__ == "__main__":
    main()
