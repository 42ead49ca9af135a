"""What `status` says: the numbers of every part, and each integration's state in words."""

from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

from sidecar.core.configuration import Configuration, Integration
from sidecar.core.delivery import Destination

#: States of a delivery as people read them.
_SHOWN = {"delivered": "sent", "dead": "failed", "queued": "waiting", "leased": "waiting"}


def deliveries_by_state(counts: Mapping[str, Any]) -> dict[str, int]:
    """How many deliveries are in each state; dead ones by their reason too."""
    total: defaultdict[str, int] = defaultdict(int)
    for row in counts["deliveries"]:
        total[row["state"]] += row["count"]
        if row["state"] == "dead":
            total[f"dead ({row['reason']})"] += row["count"]
    return dict(total)


def integrations(
    configuration: Configuration, counts: Mapping[str, Any], held: Callable[[Destination], str]
) -> list[dict[str, Any]]:
    """Each integration: its state, and how many events were sent, wait and failed; those that are gone at the end."""
    by_name: defaultdict[str, defaultdict[str, int]] = defaultdict(lambda: defaultdict(int))
    reasons: defaultdict[str, set[str]] = defaultdict(set)
    for row in counts["deliveries"]:
        name = row["destination"].integration
        by_name[name][_SHOWN[row["state"]]] += row["count"]
        if _SHOWN[row["state"]] == "waiting" and (reason := row["held"] or held(row["destination"])):
            reasons[name].add(reason)
    known = [_one(each, by_name[each.name], reasons[each.name]) for each in configuration.integrations]
    gone = sorted(set(by_name) - set(configuration.by_name))
    return known + [
        {"name": name, "status": "gone", "held": sorted(reasons[name]), **_numbers(by_name[name])} for name in gone
    ]


def _one(integration: Integration, numbers: Mapping[str, int], reasons: set[str]) -> dict[str, Any]:
    state = f"error: {integration.error}" if integration.error else "paused" if integration.paused else "active"
    return {
        "name": integration.name,
        "status": state,
        "campaigns": list(integration.campaigns),
        "pixel_id": integration.pixel_id,
        "mapping": integration.mapping.name,
        "proxies": len(integration.proxies),
        "at": integration.place,
        "held": sorted(reasons),
        **_numbers(numbers),
    }


def _numbers(numbers: Mapping[str, int]) -> dict[str, int]:
    return {name: numbers.get(name, 0) for name in ("sent", "waiting", "failed")}
