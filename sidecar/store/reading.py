"""What people ask of the store: read in a connection of its own, with or without a running daemon."""

import contextlib
import json
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sidecar.core.campaign import Campaign, Campaigns
from sidecar.core.click import Click
from sidecar.core.delivery import Destination
from sidecar.core.life import DELIVERY
from sidecar.core.plan import Seen
from sidecar.core.postback import Postback
from sidecar.core.queue import Entry, Selection, number_of
from sidecar.core.reconcile import Received, Sent
from sidecar.store.contract import Backlog, OpenDeliveries, StoreRefused
from sidecar.store.rows import CAMPAIGNS, click_of, postback_of
from sidecar.store.state import BUSY, FILE, facts
from sidecar.store.statements import statements

_SQL = statements("queries.sql")

#: Attempts of one delivery that are shown.
_ATTEMPTS = 100

#: Of so many newest deliveries those of one integration are shown.
AMONG = 200_000

#: Deliveries that are read at once.
_PAGE = 2000


@dataclass(frozen=True)
class Newest:
    """One stored postback of `count`, with its click and what was decided (empty while nothing was)."""

    postback: Postback
    click: Click | None
    decision: str
    reason: str
    count: int


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


def read_backlog(path: Path) -> Backlog:
    """What is not at its end: this takes as long as that is much, whatever else the store remembers."""
    with _reading(path) as connection:
        postbacks = dict(connection.execute(_SQL["backlog_postbacks"]).fetchall())
        rows = connection.execute(_SQL["backlog_deliveries"]).fetchall()
    return Backlog(postbacks, [OpenDeliveries(Destination(*row[:3]), *row[3:]) for row in rows])


def read_stories(path: Path, name: str, most: int) -> list[dict[str, Any]]:
    """The postbacks that a request id, a subid or an event_id means, each with its click, its deliveries and their
    attempts."""
    with _reading(path) as connection:
        campaigns = _campaigns(connection)
        connection.row_factory = sqlite3.Row
        postbacks = _rows(connection, "postbacks_of", {"id": name, "most": most})[::-1]
        for postback in postbacks:
            postback["trace"] = json.loads(postback["trace"])
            click = _rows(connection, "complete_click", {"subid": postback["subid"]})
            postback["click"] = _click(campaigns, postback["subid"], click[0]["body"] if click else None)
            postback["deliveries"] = _rows(connection, "deliveries_of", {"postback": postback["id"]})
            for delivery in postback["deliveries"]:
                delivery["attempts"] = _attempts(connection, delivery["seq"])
    return postbacks


def read_hours(path: Path, since: float) -> list[tuple[str, int, str, int]]:
    """How many deliveries of an integration, in a whole hour after a moment, are in which state: each counts in the
    hour in which it ended, else in that in which it was made."""
    with _reading(path) as connection:
        return connection.execute(_SQL["hours"], {"since": since}).fetchall()


def read_deliveries(path: Path, integration: str, most: int) -> dict[str, list[dict[str, Any]]]:
    """The `newest` deliveries of an integration (among the last AMONG of all), those that are `waiting`, and those that
    are `dead`: at most so many of each, each with its attempts."""
    with _reading(path) as connection:
        connection.row_factory = sqlite3.Row
        values = {"integration": integration, "most": most}
        found = {
            "newest": _rows(connection, "newest_deliveries", values | {"among": AMONG}),
            "waiting": _rows(connection, "waiting_deliveries", values),
            "dead": _rows(connection, "dead_deliveries", values),
        }
        for rows in found.values():
            for row in rows:
                row["attempts"] = _attempts(connection, row["seq"])
    return found


def read_queue(path: Path, selection: Selection) -> Iterator[Entry]:
    """Deliveries that a selection may mean, each once; its filters are for the caller to apply."""
    names = selection.ids or ((selection.subid,) if selection.subid else ())
    if names:
        seen: set[int] = set()
        for name in names:
            for entry in _page(path, _SQL["queue_of"], {"seq": number_of(name), "id": name}):
                if entry.seq not in seen:
                    seen.add(entry.seq)
                    yield entry
        return
    for state in selection.states:
        assert state in DELIVERY
        statement, after = _SQL["queue"].replace(":state", f"'{state}'"), 0
        while page := _page(path, statement, {"after": after, "most": _PAGE}):
            yield from page
            after = page[-1].seq


def _page(path: Path, statement: str, values: dict[str, Any]) -> list[Entry]:
    """Each page in a transaction of its own: whoever reads slowly holds up no checkpoint."""
    with _reading(path) as connection:
        return [Entry(*row) for row in connection.execute(statement, values)]


def read_delivery(path: Path, seq: int) -> dict[str, Any] | None:
    """All of one delivery, with its attempts."""
    with _reading(path) as connection:
        connection.row_factory = sqlite3.Row
        found = _rows(connection, "delivery", {"seq": seq})
        if not found:
            return None
        return found[0] | {"attempts": _attempts(connection, seq)}


def read_replayable(path: Path, since: float, reason: str) -> list[tuple[Seen, bool]]:
    """Postbacks since a moment that are not sent, with their clicks; and whether each still has all that came."""
    with _reading(path) as connection:
        rows = connection.execute(_SQL["replayable"], {"since": since, "reason": reason}).fetchall()
        campaigns = _campaigns(connection)
    return [(Seen(postback_of(row[:6]), _click(campaigns, row[6], row[7])), bool(row[8])) for row in rows]


def read_replayable_ids(path: Path, since: float, reason: str) -> list[str]:
    """The ids of the same postbacks."""
    with _reading(path) as connection:
        return [row[0] for row in connection.execute(_SQL["replayable_ids"], {"since": since, "reason": reason})]


def read_received(path: Path, since: float) -> tuple[dict[str, Received], dict[str, list[Postback]]]:
    """Postbacks that came since a moment by id, with what became of them; and the same as they are kept, by subid."""
    sent: defaultdict[str, list[Sent]] = defaultdict(list)
    received, by_subid = {}, defaultdict(list)
    with _reading(path) as connection:
        for id, *columns in connection.execute(_SQL["sent_since"], {"since": since}):
            sent[id].append(Sent(*columns))
        for id, at, state, decision, reason, subid, *content in connection.execute(
            _SQL["received_since"], {"since": since}
        ):
            received[id] = Received(id, at, state, decision, reason, tuple(sent.get(id, ())))
            by_subid[subid].append(postback_of((id, at, *content)))
    return received, by_subid


def read_positions(path: Path) -> dict[tuple[int, int], int]:
    """How far each file of a journal was read, by device and inode."""
    with _reading(path) as connection:
        return {(device, inode): position for device, inode, position in connection.execute(_SQL["all_places"])}


def read_made(path: Path, after: int, since: float) -> list[tuple[str, int, int, float, int]]:
    """(integration, hour since 1970, deliveries made, the last of them, its row) of rows after one, since a moment."""
    with _reading(path) as connection:
        return connection.execute(_SQL["made_by_hour"], {"after": after, "since": since}).fetchall()


def read_taken(path: Path, since: float) -> list[tuple[str, int, int, float, int]]:
    """The same of deliveries that Meta took since a moment, as far as their events are kept."""
    with _reading(path) as connection:
        return connection.execute(_SQL["taken_by_hour"], {"since": since}).fetchall()


def read_outcomes(path: Path, ids: Sequence[str]) -> Counter[tuple[str, str, str]]:
    """How many of these postbacks have each (state, decision, reason)."""
    with _reading(path) as connection:
        rows = (connection.execute(_SQL["outcome"], {"id": id}).fetchone() for id in ids)
        return Counter(tuple(row) for row in rows if row)


def read_newest_click(path: Path, fits: Callable[[Click], bool], most: int) -> Click | None:
    """The newest click with an fbclid that fits, among so many."""
    with _reading(path) as connection:
        rows = connection.execute(_SQL["newest_clicks"], {"most": most})
        campaigns = _campaigns(connection)
        return next(filter(fits, (campaigns.named(click_of(subid, body)) for subid, body in rows)), None)


def read_seen(path: Path, since: float, decision: str, most: int) -> tuple[list[Seen], float]:
    """Postbacks decided since a moment (of one decision, or of any for an empty one) with their clicks: at most about
    this many, evenly drawn, and how many each stands for."""
    with _reading(path) as connection:
        values: dict[str, Any] = {"since": since, "decision": decision}
        total = connection.execute(_SQL["count_since"], values).fetchone()[0]
        every = max(1, -(-total // most))
        rows = connection.execute(_SQL["seen_since"], values | {"every": every}).fetchall()
        campaigns = _campaigns(connection)
    seen = [Seen(postback_of(row[:6]), _click(campaigns, row[6], row[7])) for row in rows]
    return seen, total / len(seen) if seen else 1.0


def read_click(path: Path, subid: str) -> Click | None:
    """The click of a subid, as far as it was seen."""
    with _reading(path) as connection:
        row = connection.execute(_SQL["complete_click"], {"subid": subid}).fetchone()
        return _click(_campaigns(connection), subid, row[0] if row else None)


def read_newest(path: Path, name: str) -> Newest | None:
    """The newest decided postback, else the newest, that a request id, a subid or an event_id means."""
    with _reading(path) as connection:
        row = connection.execute(_SQL["newest_of"], {"id": name}).fetchone()
        if row is None:
            return None
        *content, subid, decision, reason, count = row
        body = connection.execute(_SQL["complete_click"], {"subid": subid}).fetchone()
        click = _click(_campaigns(connection), subid, body[0] if body else None)
    return Newest(postback_of(tuple(content)), click, decision, reason, count)


def _campaigns(connection: sqlite3.Connection) -> Campaigns:
    """The tracker's campaigns, as the Admin API last told them."""
    kept = facts(connection).get(CAMPAIGNS)
    return Campaigns(Campaign.from_json(each) for each in json.loads(kept)) if kept else Campaigns()


def _click(campaigns: Campaigns, subid: str, body: str | None) -> Click | None:
    """A stored click, by every name of its campaign."""
    return campaigns.named(click_of(subid, body)) if body else None


def _attempts(connection: sqlite3.Connection, seq: int) -> list[dict[str, Any]]:
    """Attempts of a delivery, numbered from 1 on."""
    rows = _rows(connection, "attempts_of", {"delivery": seq, "most": _ATTEMPTS})
    return [{"number": number, **row} for number, row in enumerate(rows, 1)]


def _rows(connection: sqlite3.Connection, name: str, values: dict[str, Any]) -> list[dict[str, Any]]:
    return [dict(row) for row in connection.execute(_SQL[name], values)]


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that only reads, closed at the end. Raises StoreRefused where it cannot."""
    try:
        with contextlib.closing(
            sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", timeout=BUSY, uri=True)
        ) as connection:
            yield connection
    except sqlite3.Error as error:
        raise StoreRefused(f"{path}: cannot be read: {error}; read it as its owner") from None
