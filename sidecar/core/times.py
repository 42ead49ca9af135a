"""Moments and durations as people and trackers write them."""

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(s|m|h|d)", re.ASCII)
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_NUMBER = re.compile(r"\d+(\.\d+)?", re.ASCII)

#: A number above this is milliseconds; as seconds (in the year 5138) it is the last moment that counts.
_MILLISECONDS = 1e11


def parse_duration(text: str) -> float | None:
    """Seconds of `90s 15m 2h 1d`; None when it is none of these."""
    match = _DURATION.fullmatch(text.strip())
    return float(match[1]) * _UNITS[match[2]] if match else None


def parse_time(value: Any) -> float | None:
    """Unix seconds of a number (above 10^11 milliseconds), digits, or ISO 8601 (UTC without a zone); else None."""
    if isinstance(value, str):
        value = value.strip()
        seconds = _parse_number(value) if _NUMBER.fullmatch(value) else _parse_iso(value)
    else:
        seconds = None if isinstance(value, bool) else _parse_number(value)
    return seconds if seconds is not None and 0 <= seconds <= _MILLISECONDS else None


def parse_since(text: str, now: float) -> float | None:
    """Unix seconds of a moment as `parse_time` reads it, or of a duration back from now; else None."""
    back = parse_duration(text)
    return parse_time(text) if back is None else now - back


def parse_retry_after(text: str, now: float) -> float | None:
    """Seconds from now of a Retry-After header (RFC 9110, 10.2.3): a number or an HTTP date; else None."""
    text = text.strip()
    try:
        return float(text) if text.isdecimal() else parsedate_to_datetime(text).timestamp() - now
    except (ValueError, OverflowError):
        return None


def iso(moment: float) -> str:
    """A moment for people, UTC to the second."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _parse_number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number / 1000 if number > _MILLISECONDS else number


def _parse_iso(text: str) -> float | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
