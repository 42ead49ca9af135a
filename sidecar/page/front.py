"""The first page: what is wrong, the list of integrations, and what became of the postbacks."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sidecar.core.advice import NEXT
from sidecar.core.configuration import Configuration
from sidecar.core.problem import problems, wrong_keys
from sidecar.core.shown import host_of
from sidecar.page.day import Day, empty
from sidecar.page.standing import Standing, standings

#: Problems that are shown at once; the others unfold.
_AT_ONCE = 8

#: The list can be narrowed to these.
_STATES = ("trouble", "paused", "active")


@dataclass(frozen=True)
class Row:
    """An integration in the list; `waiting` is all that waits now, sent and failed are those of the day."""

    name: str
    standing: Standing
    campaigns: tuple[str, ...]
    pixel_id: str
    mapping: str
    proxies: tuple[str, ...]
    waiting: int
    day: Day

    @property
    def state(self) -> str:
        """As which it is counted above the list."""
        return "trouble" if self.standing.is_trouble else "active" if self.standing.tone == "good" else "paused"

    def has(self, part: str) -> bool:
        """Whether its name, its pixel or a campaign has this part."""
        return any(part in text.casefold() for text in (self.name, self.pixel_id, *self.campaigns))


def front(
    status: Mapping[str, Any], configuration: Configuration, days: Mapping[str, Day], search: str, state: str
) -> dict[str, Any]:
    """What the template shows; `search` and `state` narrow the list, empty ones do not."""
    rows = list(_rows(status, configuration, days))
    found = [row for row in rows if row.has(search.strip().casefold())]
    wrong = list(problems(status))
    return {
        "status": status,
        "problems": wrong[:_AT_ONCE],
        "further": wrong[_AT_ONCE:],
        "search": search,
        "state": state if state in _STATES else "",
        "states": {name: sum(row.state == name for row in found) for name in _STATES},
        "found": len(found),
        "total": len(rows),
        "rows": [row for row in found if state not in _STATES or row.state == state],
        "sent": sum(row.day.sent for row in rows),
        "waiting": sum(row.waiting for row in rows),
        "failed": sum(row.day.failed for row in rows),
        "outcomes": sorted(_outcomes(status), key=lambda each: -each["count"]),
        "wrong_keys": wrong_keys(status),
    }


def _rows(status: Mapping[str, Any], configuration: Configuration, days: Mapping[str, Day]) -> Iterator[Row]:
    standing = standings(status)
    nothing = empty(next((day.since for day in days.values()), 0.0))
    for each in status["integrations"]:
        declared = configuration.by_name.get(each["name"])
        yield Row(
            each["name"],
            standing[each["name"]],
            tuple(each.get("campaigns", ())),
            each.get("pixel_id", ""),
            each.get("mapping", ""),
            tuple(host_of(proxy) for proxy in declared.proxies) if declared else (),
            each["waiting"],
            days.get(each["name"], nothing),
        )


def _outcomes(status: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """What became of the postbacks that are kept, and what to do about those that are not sent."""
    for row in status["postbacks"]:
        verdict = row["decision"] or row["state"]
        yield {"verdict": verdict, "reason": row["reason"], "count": row["count"], "next": NEXT.get(row["reason"], "")}
