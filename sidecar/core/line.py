"""A line of the journal: what Nginx's access log says of a click or a postback."""

import json
import re
from collections.abc import Mapping
from dataclasses import replace

from sidecar.core.click import Click, is_subid
from sidecar.core.configuration import Tracker
from sidecar.core.networks import within
from sidecar.core.parameters import clean, first_real, parse_query
from sidecar.core.postback import Postback

VERSION = "1"
_START = b'{"v":"' + VERSION.encode() + b'"'
_REQUIRED = ("v", "event", "id", "time", "uri")

#: Lone surrogates that only JSON's escapes can make: those of bytes that are no UTF-8 are U+DC80 to U+DCFF.
_ESCAPED = re.compile("[\ud800-\udc7f\udd00-\udfff]")

_ID = re.compile(r"[0-9A-Za-z_-]{1,64}")

#: What a landing page sends to add parameters to its click (field use; Keitaro documents the parameter).
_UPDATE = "_update_tokens"
_UPDATE_SUBID = ("sub_id", "subid")

Line = Mapping[str, str]


class BadLine(ValueError):
    """A line that is set aside; the text says why, and never what stood in it."""


def parse_line(raw: bytes) -> Line:
    """The fields of a line, absent ones left out.

    A cut line to which the next one was glued (after a full disk) is read from its last beginning.
    """
    try:
        value = _loads(raw)
    except ValueError:
        start = raw.rfind(_START, 1)
        if start < 0:
            raise BadLine("no JSON object") from None
        try:
            value = _loads(raw[start:])
        except ValueError:
            raise BadLine("no JSON object") from None
    if not isinstance(value, dict):
        raise BadLine("no JSON object")
    if value.get("v") != VERSION:
        raise BadLine("another version of the format than 1")
    line = {name: _bytes_only(text) for name, text in value.items() if isinstance(text, str) and text not in ("", "-")}
    if missing := [name for name in _REQUIRED if name not in line]:
        raise BadLine(f"without {missing[0]}")
    if not _ID.fullmatch(line["id"]) or _seconds(line, "time") is None:
        raise BadLine("with an id or time that is none")
    return line


def read_postback(line: Line) -> Postback:
    """Only id, time, method, uri, type and body: address and agent are those of the affiliate network's server."""
    return Postback(
        id=line["id"],
        received_at=_arrival(line),
        method=_text(line, "method") or "GET",
        uri=line["uri"],
        type=_text(line, "type"),
        body=line.get("body", "").encode("utf-8", "surrogateescape"),
    )


def read_click(line: Line, tracker: Tracker) -> Click | None:
    """The click of a line; None when no subid stands where `subid_from` looks for it."""
    path, _, query = line["uri"].partition("?")
    parameters = parse_query(query)
    update = _UPDATE in parameters
    subid = first_real(parameters, _UPDATE_SUBID) if update else subid_of(line, tracker)
    if not is_subid(subid):
        return None
    address, country = _visitor(line, tracker)
    visitor = Click(
        subid=subid,
        fbp=_text(line, "fbp"),
        fbc=_text(line, "fbc"),
        ip=address,
        user_agent=_text(line, "ua"),
        country=country,
        parameters=parameters,
        source="journal",
    )
    if update:
        added = {name: values for name, values in parameters.items() if name not in (_UPDATE, *_UPDATE_SUBID)}
        return replace(visitor, parameters=added)
    host = _text(line, "host")
    return replace(
        visitor,
        campaign=_campaign(path, host),
        clicked_at=round(_arrival(line), 3),
        referrer=_text(line, "referer"),
        url=f"{_text(line, 'scheme') or 'https'}://{host}{clean(path)}" if host else "",
    )


def _loads(raw: bytes) -> object:
    """Raises ValueError."""
    try:
        return json.loads(raw.decode("utf-8", "surrogateescape"), strict=False)
    except RecursionError:
        raise ValueError("nested too deep") from None


def _bytes_only(text: str) -> str:
    """A text that surrogateescape can turn into bytes again."""
    return text if text.isascii() else _ESCAPED.sub("\ufffd", text)


def _arrival(line: Line) -> float:
    return max((_seconds(line, "time") or 0.0) - (_seconds(line, "took") or 0.0), 0.0)


def _seconds(line: Line, name: str) -> float | None:
    try:
        value = float(line[name])
    except (KeyError, ValueError):
        return None
    return value if 0 <= value < 1e11 else None


def subid_of(line: Line, tracker: Tracker) -> str:
    """The subid of an answer of the tracker, from where `subid_from` looks for it; empty when there is none."""
    for source in tracker.subid_from:
        kind, _, name = source.partition(":")
        if kind == "cookie":
            subid = line.get("subid", "")
        else:
            subid = first_real(parse_query(_query(line.get("location", ""))), (name,))
        if is_subid(subid):
            return subid
    return ""


def _query(url: str) -> str:
    return url.partition("#")[0].partition("?")[2]


def _campaign(path: str, host: str) -> tuple[str, ...]:
    """The campaign's alias, or the domain that is bound to a campaign."""
    first = path.strip("/").partition("/")[0]
    name = host if path.rstrip("/") in ("", "/index.php") else clean(first)
    return (name,) if name else ()


def _visitor(line: Line, tracker: Tracker) -> tuple[str, str]:
    """Address and country; a CDN's headers count only when the peer is that CDN."""
    if tracker.cdn and within(line.get("peer", ""), tracker.cdn):
        return _text(line, "cf_ip") or _text(line, "ip"), _text(line, "country")
    return _text(line, "ip"), ""


def _text(line: Line, name: str) -> str:
    return clean(line.get(name, ""))
