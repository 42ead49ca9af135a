"""What happened, in Keitaro's words: a postback read, but not yet anybody's."""

import hmac
import re
from dataclasses import dataclass
from decimal import Decimal

from sidecar.core.click import is_subid
from sidecar.core.configuration import Configuration
from sidecar.core.parameters import Parameters, first_real, is_macro, last
from sidecar.core.postback import Postback
from sidecar.core.status import NoStatus, normalise

#: The names of money, newest first; `value` is not Keitaro's, but networks use it.
_PAYOUT_NAMES = ("payout", "revenue", "profit", "value")
_PAYOUT = re.compile(r"\d{1,12}(\.\d+)?", re.ASCII)

#: Digits after the point that can still change a rounded sum.
_PAYOUT_LENGTH = 40

_WRONG_KEY = "the path is not /KEY/postback with a key of tracker.postback_key"


@dataclass(frozen=True)
class Conversion:
    """One conversion; its key is (subid, tid, status). `payout` is None when there is no usable one."""

    subid: str
    status: str
    tid: str
    payout: Decimal | None
    currency: str
    received_at: float
    parameters: Parameters


@dataclass(frozen=True, slots=True)
class NoConversion:
    """Why a postback is none: the decision, its reason, and the reason in words."""

    decision: str
    reason: str
    words: str


def read_conversion(postback: Postback, configuration: Configuration, trace: list[str]) -> Conversion | NoConversion:
    """The first three tests: key, subid, status. What was seen is added to the trace."""
    if not accepts_key(configuration, postback.key):
        return NoConversion("rejected", "wrong_key", f"key: {_WRONG_KEY}")
    trace.append("key: accepted")
    trace.extend(f"remark: {remark}" for remark in postback.remarks)
    parameters = postback.parameters
    subid = first_real(parameters, ("subid", "sub_id"))
    if not subid:
        return NoConversion("rejected", "no_subid", f"subid: {_no_subid(parameters)}")
    if not is_subid(subid):
        return NoConversion("rejected", "bad_subid", "subid: not 6 to 64 letters, digits, - or _; no tracker made it")
    trace.append(f"subid: {subid}")
    status = normalise(parameters, configuration.tracker.statuses, configuration.custom_statuses)
    if isinstance(status, NoStatus):
        decision = "ignored" if status.reason == "ignore_status" else "rejected"
        return NoConversion(decision, status.reason, f"status: {status.how}")
    trace.append(f"status: {status.name} ({status.how})")
    return Conversion(
        subid=subid,
        status=status.name,
        tid=first_real(parameters, ("tid",)),
        payout=_payout(parameters, trace),
        currency=first_real(parameters, ("currency",)).upper(),
        received_at=postback.received_at,
        parameters=parameters,
    )


def accepts_key(configuration: Configuration, key: str | None) -> bool:
    """Whether the key of a path is the tracker's; takes as long for a wrong key as for the right one."""
    keys = configuration.tracker.postback_keys
    if key is None or keys is None:
        return key is not None
    given = key.encode("utf-8", "replace")
    matches = [hmac.compare_digest(given, own.reveal().encode()) for own in keys]
    return any(matches)


def _no_subid(parameters: Parameters) -> str:
    if any(is_macro(last(parameters, name)) for name in ("subid", "sub_id")):
        return "an unreplaced macro; put the network's own click-id macro into its postback URL"
    return "none given; the network's postback URL needs subid="


def _payout(parameters: Parameters, trace: list[str]) -> Decimal | None:
    text = first_real(parameters, _PAYOUT_NAMES)
    if _PAYOUT.fullmatch(text):
        return Decimal(text[:_PAYOUT_LENGTH])
    if text:
        trace.append("remark: the payout is no amount such as 2.61 and is not used")
    elif any(is_macro(last(parameters, name)) for name in _PAYOUT_NAMES):
        trace.append("remark: the payout is an unreplaced macro and is not used")
    return None
