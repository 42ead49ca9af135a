"""The fbclid of a click, and the fbc and fbp that carry it to Meta.

Source: Meta, "fbp and fbc Parameters": `fb.1.<milliseconds>.<fbclid>`, not one character changed, built once from the
click's own time. Meta reports a "modified fbclid value" for anything else, so no fbc is better than a changed one.
"""

import re
from dataclasses import dataclass
from itertools import chain

from sidecar.core.click import Click
from sidecar.core.configuration import Integration
from sidecar.core.meta import OLDEST_FBC
from sidecar.core.parameters import is_macro, last_real

_FBC = re.compile(r"fb\.\d\.(\d{10,16})\.(.+)", re.DOTALL | re.ASCII)
_FBP = re.compile(r"fb\.\d\.\d{10,16}\.\d+(\.[A-Za-z0-9_-]{2}|\.[A-Za-z0-9_-]{8})?", re.ASCII)

#: A fifth dotted part of Meta's parameter builder.
_SUFFIX = re.compile(r"(\.[A-Za-z0-9_-]{2}|\.[A-Za-z0-9_-]{8})?")

#: What an fbclid in a parameter of another name must look like, so that no ordinary sub id is taken for one.
FBCLID = re.compile(r"[A-Za-z0-9_.-]{20,}")

#: Trackers without ClickHouse cut sub ids here.
_CUT = 255


@dataclass(frozen=True, slots=True)
class Fbclid:
    """The click's proof that it came from Facebook: `reason` is empty, or `no_fbclid` or `literal_fbclid`."""

    fbc: str = ""
    reason: str = ""
    remarks: tuple[str, ...] = ()


def find_fbclid(click: Click, integration: Integration, received_at: float) -> Fbclid:
    """The fbc to send. `received_at` stands in for the click's time only where that is not known."""
    remarks: list[str] = []
    fbclid, literal = _fbclid(click, integration, remarks)
    cookie = _cookie(click, integration, remarks)
    if not fbclid and not cookie:
        literal = literal or is_macro(click.fbc)
        return Fbclid(reason="literal_fbclid" if literal else "no_fbclid", remarks=tuple(remarks))
    if cookie and _wins(cookie, fbclid, click.clicked_at):
        fbc, made_at, _ = cookie
    else:
        if click.clicked_at is None:
            remarks.append("the click's time is not known; fbc carries the postback's")
        made_at = received_at if click.clicked_at is None else click.clicked_at
        fbc = f"fb.1.{round(made_at * 1000)}.{fbclid}"
    if received_at - made_at > OLDEST_FBC:
        return Fbclid(remarks=(*remarks, "fbc is older than 90 days and left out"))
    return Fbclid(fbc, "", tuple(remarks))


def has_fbclid(click: Click, names: tuple[str, ...]) -> bool:
    """Whether a click is worth keeping for long: an fbclid or fbc under any of these names."""
    values = chain((click.fbclid, click.fbc), *(click.parameters.get(name, ()) for name in names))
    return any(value and not is_macro(value) for value in values)


def find_fbp(click: Click, integration: Integration) -> str:
    """The browser's _fbp, if it is one."""
    values = chain((click.fbp,), *(click.parameters.get(name, ()) for name in integration.fbp_from))
    return next((value for value in values if _FBP.fullmatch(value)), "")


def _fbclid(click: Click, integration: Integration, remarks: list[str]) -> tuple[str, bool]:
    """The fbclid, and whether only a literal macro stood in its place."""
    literal = False
    sources: list[tuple[str, tuple[str, ...]]] = [("fbclid", (click.fbclid,))] if click.fbclid else []
    sources += [(name, click.parameters.get(name, ())) for name in integration.fbclid_from]
    for name, values in sources:
        value = last_real(values)
        if any(map(is_macro, values)):
            literal = True
            remarks.append(f"a macro stands in {name}; remove fbclid={{fbclid}} from the ad's URL parameters")
        if not value:
            continue
        if name != "fbclid" and not FBCLID.fullmatch(value):
            remarks.append(f"the value of {name} does not look like an fbclid and is not used")
            continue
        if len(value) == _CUT:
            remarks.append(f"the fbclid has exactly {_CUT} characters and was probably cut by the tracker")
        return value, False
    return "", literal


def _cookie(click: Click, integration: Integration, remarks: list[str]) -> tuple[str, float, str] | None:
    """The _fbc cookie, its time and the fbclid within, the last with any suffix."""
    values = chain((click.fbc,), *(click.parameters.get(name, ()) for name in integration.fbc_from))
    for value in values:
        if not value or is_macro(value):
            continue
        if match := _FBC.fullmatch(value):
            return value, _seconds(match[1]), match[2]
        remarks.append("the fbc of the click is not of the form fb.1.<milliseconds>.<fbclid> and is not used")
    return None


def _wins(cookie: tuple[str, float, str], fbclid: str, clicked_at: float | None) -> bool:
    """A real cookie wins, unless the URL carries another fbclid that is known to be newer."""
    _, made_at, within = cookie
    same = within.startswith(fbclid) and _SUFFIX.fullmatch(within[len(fbclid) :])
    return not fbclid or bool(same) or clicked_at is None or made_at > clicked_at


def _seconds(digits: str) -> float:
    number = float(digits)
    return number / 1000 if number > 1e11 else number
