"""The proof that nothing is lost: what was called, what was received, what Meta took, and a reason for every gap."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from sidecar.core.times import iso

#: Stands for the integration of what is sent by none.
NOBODY = "-"


@dataclass(frozen=True, slots=True)
class Called:
    """A postback in a journal; `is_read` says that the daemon has read as far."""

    id: str
    received_at: float
    is_read: bool


@dataclass(frozen=True, slots=True)
class Sent:
    """A delivery of a postback, as the store has it."""

    integration: str
    state: str
    reason: str
    held: str


@dataclass(frozen=True)
class Received:
    """A postback in the store, with its deliveries."""

    id: str
    received_at: float
    state: str
    decision: str
    reason: str
    sent: tuple[Sent, ...] = ()


@dataclass(frozen=True, slots=True)
class Recorded:
    """A conversion in the tracker's own log that no stored postback has."""

    name: str
    at: float


@dataclass(frozen=True, slots=True)
class Hole:
    """Something that Meta did not take: `what` and why, in words; unexplained where nobody knows why."""

    name: str
    at: float
    integration: str
    what: str
    explained: bool


@dataclass
class Report:
    """Counts by integration and day (UTC), and the holes. A count is one of `COLUMNS`."""

    rows: defaultdict[tuple[str, str], Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    holes: list[Hole] = field(default_factory=list)

    @property
    def unexplained(self) -> list[Hole]:
        return [hole for hole in self.holes if not hole.explained]


#: What is counted: postbacks in the journals, in the store, decided to be sent; events, and what became of them;
#: postbacks that are not sent; conversions that only the tracker has; and holes that nobody explains.
COLUMNS = (
    "called",
    "received",
    "accepted",
    "events",
    "delivered",
    "open",
    "dead",
    "not_sent",
    "recorded",
    "unexplained",
)


def reconcile(
    called: Mapping[str, Called], received: Mapping[str, Received], recorded: Iterable[Recorded] = ()
) -> Report:
    """Every postback of either side, and every conversion that only the tracker knows."""
    report = Report()
    for id in called.keys() | received.keys():
        _count(report, called.get(id), received.get(id))
    for each in recorded:
        _add(report, NOBODY, each.at, "recorded")
        _hole(report, each.name, each.at, NOBODY, "in the tracker's log of conversions, and no postback came", False)
    report.holes.sort(key=lambda hole: (hole.explained, hole.at))
    return report


def _count(report: Report, called: Called | None, received: Received | None) -> None:
    if received is None:
        assert called is not None
        _add(report, NOBODY, called.received_at, "called")
        what = _MISSED if called.is_read else _UNREAD
        _hole(report, called.id, called.received_at, NOBODY, what, not called.is_read)
        return
    first = received.sent[0].integration if received.sent else NOBODY
    at = received.received_at
    _add(report, first, at, "received", *(["called"] if called else []))
    if received.decision == "accepted":
        _add(report, first, at, "accepted")
        for sent in received.sent:
            _count_event(report, received, sent)
        if not received.sent:
            _hole(report, received.id, at, NOBODY, "accepted, and no delivery stands in the store", False)
        return
    _add(report, first, at, "not_sent")
    _hole(report, received.id, at, NOBODY, _not_sent(received), True)


def _count_event(report: Report, received: Received, sent: Sent) -> None:
    ended = sent.state in ("delivered", "dead")
    _add(report, sent.integration, received.received_at, "events", sent.state if ended else "open")
    if sent.state != "delivered":
        reason = sent.reason if sent.state == "dead" else sent.held or "to be sent"
        words = f"{sent.state} ({reason})"
        _hole(report, received.id, received.received_at, sent.integration, words, True)


def _not_sent(received: Received) -> str:
    if received.state == "undecided":
        return "not decided yet"
    if received.state == "waiting":
        return "waits for its click"
    return f"{received.decision} ({received.reason})"


_MISSED = "in the journal and read, but not in the store"
_UNREAD = "in the journal, and not read yet: is the daemon running?"


def _add(report: Report, integration: str, at: float, *columns: str) -> None:
    report.rows[integration, iso(at)[:10]].update(columns)


def _hole(report: Report, name: str, at: float, integration: str, what: str, explained: bool) -> None:
    report.holes.append(Hole(name, at, integration, what, explained))
    if not explained:
        _add(report, integration, at, "unexplained")
