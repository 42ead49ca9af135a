"""What people ask of the store: read in a connection of its own, with or without a running daemon."""

import json
import sqlite3
from pathlib import Path
from typing import Any

from sidecar.core.delivery import Destination
from sidecar.store.state import BUSY, FILE, facts
from sidecar.store.statements import statements

_SQL = statements("queries.sql")

#: Attempts of one delivery that are shown.
_ATTEMPTS = 100


def read_mode(directory: Path) -> str | None:
    """The mode of a state directory: live, sandbox or graph=URL; None when there is no store yet."""
    path = directory / FILE
    if not path.exists():
        return None
    with _reading(path) as connection:
        return facts(connection).get("mode")


def read_counts(path: Path) -> dict[str, Any]:
    """How many postbacks, clicks and deliveries there are, by state and reason."""
    with _reading(path) as connection:
        postbacks = [
            {"state": state, "decision": decision, "reason": reason, "count": count}
            for state, decision, reason, count in connection.execute(_SQL["count_postbacks"])
        ]
        deliveries = [
            {"destination": Destination(*row[:3]), "state": row[3], "reason": row[4], "held": row[5],
             "count": row[6], "oldest": row[7]}
            for row in connection.execute(_SQL["count_deliveries"])
        ]  # fmt: skip
        clicks = connection.execute(_SQL["count_clicks"]).fetchone()[0]
    return {"postbacks": postbacks, "deliveries": deliveries, "clicks": clicks}


def read_stories(path: Path, name: str, most: int) -> list[dict[str, Any]]:
    """The postbacks that a request id, a subid or an event_id means, each with its deliveries and their attempts."""
    with _reading(path) as connection:
        connection.row_factory = sqlite3.Row
        postbacks = _rows(connection, "postbacks_of", {"id": name, "most": most})
        for postback in postbacks:
            postback["trace"] = json.loads(postback["trace"])
            postback["deliveries"] = _rows(connection, "deliveries_of", {"postback": postback["id"]})
            for delivery in postback["deliveries"]:
                key = {"delivery": delivery["seq"], "most": _ATTEMPTS}
                delivery["attempts"] = _rows(connection, "attempts_of", key)
    return postbacks


def _rows(connection: sqlite3.Connection, name: str, values: dict[str, Any]) -> list[dict[str, Any]]:
    return [dict(row) for row in connection.execute(_SQL[name], values)]


class _reading:
    """A connection that only reads, closed at the end."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(f"file:{path}?mode=ro", timeout=BUSY, uri=True)

    def __enter__(self) -> sqlite3.Connection:
        return self._connection

    def __exit__(self, *_: object) -> None:
        self._connection.close()
