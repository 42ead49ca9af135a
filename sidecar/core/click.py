"""A click: whose conversion a postback is about."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from sidecar.core.parameters import Parameters, clean, first_real, is_macro, last_real
from sidecar.core.postback import Postback
from sidecar.core.times import parse_time

#: Ten to nineteen lowercase letters and digits were seen; nothing is changed, other shapes are refused.
_SUBID = re.compile(r"[0-9A-Za-z_-]{6,64}")

#: Fields that a second source may fill where the first one left a gap; never clicked_at, fbclid or campaign.
_GAPS = ("fbp", "fbc", "ip", "user_agent", "referrer", "country", "region", "city", "url")

#: Fields that a postback may carry under their own names, read as every parameter is.
_CARRIED = ("fbp", "fbc", "ip", "referrer", "country", "region", "city")


@dataclass(frozen=True)
class Click:
    """What is known of one visit; empty where nothing is known.

    `campaign` holds every name of the campaign that is known (alias, id, name, host); `clicked_at` is Unix seconds;
    `parameters` are the click URL's own, repeated values kept; `url` is the visited scheme://host/path; `source` is
    `store`, `journal`, `admin_api`, `postback` or `given`.
    """

    subid: str
    campaign: tuple[str, ...] = ()
    clicked_at: float | None = None
    fbclid: str = ""
    fbp: str = ""
    fbc: str = ""
    ip: str = ""
    user_agent: str = ""
    referrer: str = ""
    country: str = ""
    region: str = ""
    city: str = ""
    url: str = ""
    parameters: Parameters = field(default_factory=dict)
    source: str = "given"


def is_subid(text: str) -> bool:
    """Whether a tracker could have made this subid."""
    return _SUBID.fullmatch(text) is not None


def filled(click: Click, other: Click) -> Click:
    """The click with its gaps filled from a second source, which never changes clicked_at, fbclid or campaign."""
    gaps = {name: getattr(other, name) for name in _GAPS if not getattr(click, name) and getattr(other, name)}
    parameters = {**other.parameters, **click.parameters}
    return replace(click, parameters=parameters, **gaps) if gaps or parameters != click.parameters else click


def carried_click(postback: Postback, subid: str) -> Click | None:
    """The click that a postback carries in its own parameters, complete or not; None when it carries nothing.

    The names are the click's own, and `ua`. Only the parameters count: the address and the agent of the request
    itself belong to the affiliate network's server.
    """
    read = postback.parameters
    values: dict[str, Any] = {name: first_real(read, (name,)) for name in _CARRIED}
    values["fbclid"] = last_real(read.get("fbclid", ()))
    values["user_agent"] = first_real(read, ("user_agent", "ua"))
    campaign = first_real(read, ("campaign",))
    if not campaign and not any(values.values()):
        return None
    return Click(
        subid=subid,
        campaign=(campaign,) if campaign else (),
        clicked_at=parse_time(first_real(read, ("clicked_at",))),
        source="postback",
        **values,
    )


def stands_alone(carried: Click) -> bool:
    """Whether the click that a postback carries needs no other source: an fbclid or fbc, and a campaign."""
    return bool(carried.campaign and (carried.fbclid or carried.fbc))


def click_from_json(value: Mapping[str, Any], subid: str) -> Click:
    """A click written by hand; raises ValueError that names the field which cannot be read."""
    known = {item.name for item in fields(Click)} - {"source"}
    if unknown := sorted(set(value) - known - {"ua"}):
        raise ValueError(f"click: unknown field {unknown[0]!r}; known are {', '.join(sorted(known))}")
    texts: dict[str, Any] = {name: _text(value, name) for name in ("fbclid", *_GAPS) if value.get(name) is not None}
    if "user_agent" not in texts and value.get("ua") is not None:
        texts["user_agent"] = _text(value, "ua")
    moment = value.get("clicked_at")
    clicked_at = parse_time(moment)
    if moment not in (None, "") and clicked_at is None:
        raise ValueError("click.clicked_at: give Unix seconds, milliseconds or ISO 8601")
    parameters = value.get("parameters") or {}
    if not isinstance(parameters, Mapping):
        raise ValueError("click.parameters: give an object of names and values")
    return Click(
        subid=_text(value, "subid") if value.get("subid") is not None else subid,
        campaign=_texts(value.get("campaign")),
        clicked_at=clicked_at,
        parameters={clean(str(name)): _texts(each) for name, each in parameters.items()},
        **texts,
    )


def field_or_parameter(click: Click, name: str) -> str:
    """A field of the click by its name, else its parameter; empty when it has neither or only a macro."""
    own = getattr(click, name) if name in _TEXT_FIELDS else ""
    if name == "campaign":
        own = click.campaign[0] if click.campaign else ""
    return own if own and not is_macro(own) else first_real(click.parameters, (name,))


_TEXT_FIELDS = frozenset({"fbclid", *_GAPS})


def _text(value: Mapping[str, Any], name: str) -> str:
    text = value[name]
    if isinstance(text, bool) or not isinstance(text, str | int | float):
        raise ValueError(f"click.{name}: give a text")
    return clean(str(text))


def _texts(value: Any) -> tuple[str, ...]:
    """A text, a number or a list of them."""
    listed = value if isinstance(value, list) else [] if value in (None, "") else [value]
    return tuple(clean(str(each)) for each in listed)
