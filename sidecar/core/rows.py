"""Lists as Keitaro's Admin API gives them: bare, or wrapped with a total."""

from collections.abc import Mapping
from typing import Any

from sidecar.core.parameters import clean

Row = Mapping[str, Any]

#: Where the list stands when it is wrapped.
_WRAPPERS = ("rows", "data")


def rows_of(body: Any) -> tuple[Row, ...]:
    """The objects of a list; ValueError, in words, when the body holds none."""
    if isinstance(body, Mapping):
        body = next((body[name] for name in _WRAPPERS if name in body), None)
    if not isinstance(body, list):
        raise ValueError("the answer holds no list of rows")
    return tuple(row for row in body if isinstance(row, Mapping))


def total_of(body: Any) -> int | None:
    """How many rows there are in all, if the answer says so."""
    total = body.get("total") if isinstance(body, Mapping) else None
    return total if isinstance(total, int) and not isinstance(total, bool) else None


def text_of(value: Any) -> str:
    """A text or a number of a row as text, without surrounding blanks; anything else as an empty one."""
    return clean(str(value)).strip() if isinstance(value, str | int | float) and not isinstance(value, bool) else ""
