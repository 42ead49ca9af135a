"""Keitaro's Admin API: what is asked of it, how its rows are read, and what its refusals mean.

Source: Keitaro's description of the Admin API, v1, and public code that talks to live trackers. An unknown column makes
the whole request a 400, and which columns there are differs from tracker to tracker.
"""

import re
from collections.abc import Collection, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from sidecar.core.campaign import Campaigns, with_campaigns
from sidecar.core.click import Click, is_subid
from sidecar.core.fbclid import FBCLID
from sidecar.core.parameters import Parameters
from sidecar.core.rows import Row, text_of
from sidecar.core.status import canonical
from sidecar.core.times import parse_retry_after, parse_time

#: Subids that one request may name; more were not seen to work.
SUBIDS_PER_REQUEST = 200

#: Rows of one answer, at most.
PAGE = 1000

CLICKS = "/clicks/log"
CONVERSIONS = "/conversions/log"
CAMPAIGNS = "/campaigns"

#: A click's parameters in the tracker's own slots.
_SLOTS = (
    "external_id", "keyword", "source", "creative_id", "ad_campaign_id",
    *(f"sub_id_{number}" for number in range(1, 31)),
    *(f"extra_param_{number}" for number in range(1, 11)),
)  # fmt: skip

#: What is asked of the log of clicks, and what is the least that makes a click.
COLUMNS = (
    "sub_id", "datetime", "campaign_id", "campaign", "ip", "user_agent", "country_code", "country", "region", "city",
    "referrer", *_SLOTS,
)  # fmt: skip
LEAST = ("sub_id", "datetime", "campaign_id")

#: The same for the log of conversions.
CONVERSION_COLUMNS = ("sub_id", "status", "postback_datetime", "conversion_id", "tid", "original_status", "revenue")
LEAST_OF_CONVERSION = ("sub_id", "status", "postback_datetime")

#: The longest Retry-After that is believed, in seconds.
_LONGEST_PAUSE = 86400.0


@dataclass(frozen=True, slots=True)
class TrackerConversion:
    """A conversion as the tracker recorded it: `status` in Keitaro's spelling, `original_status` the network's word,
    `revenue` None where there is none, `postback_at` in Unix seconds."""

    subid: str
    tid: str
    status: str
    original_status: str
    revenue: Decimal | None
    postback_at: float | None
    conversion_id: str


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why the Admin API does not answer, and what to do, in words without secrets and subids.

    `kind` is `key`, `rights`, `edition` or `host` (people must mend it), `request` (it refuses what is asked), `busy`,
    `unreadable`, `unreachable` or `proxy`. `seconds` is how long the tracker asks to be left alone, if it says so.
    """

    kind: str
    why: str
    next: str
    seconds: float | None = None

    @property
    def words(self) -> str:
        return f"{self.why}; {self.next}"

    @property
    def is_lasting(self) -> bool:
        """Whether it ends only when people mend something."""
        return self.kind in _LASTING


_LASTING = frozenset({"key", "rights", "edition", "host"})


def clicks_query(
    subids: Sequence[str], columns: Sequence[str], since: float, until: float, offset: int = 0
) -> dict[str, Any]:
    """The body that asks for the clicks of these subids, the newest first; moments in Unix seconds."""
    wanted = {"name": "sub_id", "operator": "IN_LIST", "expression": list(subids)}
    return _query(columns, [wanted], {"name": "datetime", "order": "DESC"}, since, until, PAGE, offset)


def conversions_query(
    since: float, until: float, columns: Sequence[str], limit: int = PAGE, offset: int = 0
) -> dict[str, Any]:
    """The body that asks for one page of conversions, the oldest first: what comes meanwhile moves no page."""
    return _query(columns, [], {"name": "postback_datetime", "order": "ASC"}, since, until, limit, offset)


def _query(
    columns: Sequence[str],
    filters: list[dict[str, Any]],
    sort: dict[str, str],
    since: float,
    until: float,
    limit: int,
    offset: int,
) -> dict[str, Any]:
    return {
        "range": {"from": _moment(since), "to": _moment(until), "timezone": "UTC"},
        "columns": list(columns),
        "filters": filters,
        "sort": [sort],
        "limit": limit,
        "offset": offset,
    }


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")


def click_of_row(row: Row, campaigns: Campaigns) -> Click | None:
    """The click of a row of the log, whose times are UTC; None when its sub_id is no subid.

    Each parameter stands under the name of its slot (`sub_id_3`) and under the campaign's own name for it (`sub1`).
    """
    texts = {name: text_of(row.get(name)) for name in COLUMNS}
    if not is_subid(texts["sub_id"]):
        return None
    parameters = {slot: (texts[slot],) for slot in _SLOTS if texts[slot]}
    click = Click(
        subid=texts["sub_id"],
        clicked_at=parse_time(texts["datetime"]),
        ip=texts["ip"],
        user_agent=texts["user_agent"],
        referrer=texts["referrer"],
        country=texts["country_code"] or texts["country"],
        region=texts["region"],
        city=texts["city"],
        parameters=parameters,
        source="admin_api",
    )
    campaign = campaigns.of_id(texts["campaign_id"])
    if campaign is None:
        names = tuple(name for name in (texts["campaign_id"], texts["campaign"]) if name)
        return replace(click, campaign=names, fbclid=_inferred(parameters))
    click = with_campaigns(click, (campaign,))
    names = (*click.campaign, *([texts["campaign"]] if texts["campaign"] else []))
    called = {slot.name: parameters[key] for key, slot in campaign.slots.items() if slot.name and key in parameters}
    return replace(click, campaign=tuple(dict.fromkeys(names)), parameters={**called, **parameters})


def _inferred(parameters: Parameters) -> str:
    """Of a campaign that is not known: the stock Facebook template probably has the fbclid in external_id. That is an
    inference, and holds only for what looks like one."""
    value = parameters.get("external_id", ("",))[-1]
    return value if FBCLID.fullmatch(value) else ""


def conversion_of_row(row: Row) -> TrackerConversion | None:
    """The conversion of a row of the log, whose times are UTC; None when its sub_id is no subid."""
    texts = {name: text_of(row.get(name)) for name in CONVERSION_COLUMNS}
    if not is_subid(texts["sub_id"]):
        return None
    return TrackerConversion(
        subid=texts["sub_id"],
        tid=texts["tid"],
        status=canonical(texts["status"]),
        original_status=texts["original_status"],
        revenue=_money(texts["revenue"]),
        postback_at=parse_time(texts["postback_datetime"]),
        conversion_id=texts["conversion_id"],
    )


def _money(text: str) -> Decimal | None:
    try:
        amount = Decimal(text)
    except InvalidOperation:
        return None
    return amount if amount.is_finite() else None


def meaning(status: int, headers: Mapping[str, str], now: float) -> Trouble | None:
    """What an HTTP status means; None for 200. Header names in lower case; `now` in Unix seconds.

    By its number alone: the words of an answer may hold subids, and are no interface.
    """
    if 200 <= status < 300:
        return None
    if status in _BUSY or status >= 500:
        pause = parse_retry_after(headers.get("retry-after", ""), now)
        seconds = None if pause is None else min(max(pause, 0.0), _LONGEST_PAUSE)
        why = "asks for a pause" if status == 429 else "fails"
        return Trouble("busy", f"the tracker {why} (HTTP {status})", _WAIT, seconds)
    kind, why, next = _STATUSES.get(status) or (_MOVED if 300 <= status < 400 else _REFUSED)
    return Trouble(kind, f"{why} (HTTP {status})", next)


def unreadable() -> Trouble:
    """An answer of 200 that is not what was asked for."""
    return Trouble("unreadable", "the answer is no list in JSON",
                   "is tracker.admin_api.url the tracker's own address, with no other page before it?")  # fmt: skip


_WAIT = "wait: it is asked again by itself"
_BUSY = frozenset({408, 425, 429})

#: Kind, why, and what to do.
_STATUSES = {
    401: ("key", "the tracker refuses the key", "put a valid Admin API key into tracker.admin_api.key"),
    402: ("edition", "the tracker's edition has no Admin API",
          "change to an edition that has one, or remove tracker.admin_api"),
    403: ("rights", "the key has not the right to read this",
          "let its user read campaigns, clicks and conversions, and this machine reach the Admin API"),
    404: ("host", "no Admin API is at this address",
          "write the tracker's own host into tracker.admin_api.url, without a path"),
}  # fmt: skip
_MOVED = ("host", "the address leads elsewhere, and the key is not carried there",
          "write the address that it leads to into tracker.admin_api.url")  # fmt: skip
_REFUSED = ("request", "the tracker refuses the request, even for the fewest columns",
            "does its version know clicks/log and IN_LIST? clicks still come from the journal")  # fmt: skip


def unknown_column(text: str, columns: Collection[str]) -> str | None:
    """The column that the text of a 400 names, if it names exactly one of these: texts are no interface."""
    named = set(_WORD.findall(text)) & set(columns)
    return named.pop() if len(named) == 1 else None


_WORD = re.compile(r"\w+", re.ASCII)


def probing(
    columns: Sequence[str], least: Sequence[str], text: str
) -> Generator[tuple[str, ...], str | None, frozenset[str] | None]:
    """Finds the columns that a tracker does not know, after it answered `columns` with a 400 of this text.

    Yields columns to ask for, and is sent the text of the 400, or None when there was an answer. Returns the unknown
    columns; None when even the `least` are refused, so that it is not about columns.

    A column that the text names is left out first. When the text names none, or that did not help, families of columns
    are added to what works, and those that are refused are halved.
    """
    optional = [name for name in columns if name not in least]
    unknown: set[str] = set()
    while name := unknown_column(text, [each for each in optional if each not in unknown]):
        unknown.add(name)
        answered = yield tuple(each for each in columns if each not in unknown)
        if answered is None:
            return frozenset(unknown)
        text = answered
    if (yield tuple(least)) is not None:
        return None
    return (yield from _halving(tuple(least), _families(optional)))


def _halving(
    works: tuple[str, ...], groups: list[tuple[str, ...]]
) -> Generator[tuple[str, ...], str | None, frozenset[str]]:
    unknown: set[str] = set()
    while groups:
        group = groups.pop(0)
        if (yield (*works, *group)) is None:
            works += group
        elif len(group) == 1:
            unknown.add(group[0])
        else:
            groups[:0] = [group[: len(group) // 2], group[len(group) // 2 :]]
    return frozenset(unknown)


def _families(columns: Sequence[str]) -> list[tuple[str, ...]]:
    """Columns that a version knows all or not at all, mostly: those that are numbered, and the rest."""
    families: dict[str, list[str]] = {}
    for name in columns:
        families.setdefault(_NUMBERED.sub("", name) if _NUMBERED.search(name) else "", []).append(name)
    return [tuple(family) for family in families.values()]


_NUMBERED = re.compile(r"_\d+$", re.ASCII)
