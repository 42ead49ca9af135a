"""The configuration in force, and why the files are not what runs."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from sidecar.config.shape import duration_of
from sidecar.core.configuration import Configuration
from sidecar.core.problem import problems


def shown(status: Mapping[str, Any], configuration: Configuration) -> dict[str, Any]:
    """What the template shows."""
    mappings = Counter((each.mapping.name, each.mapping.place) for each in configuration.integrations)
    return {
        "status": status,
        "in_force": status["configuration"],
        "refused": [each for each in problems(status) if each.what.startswith("configuration refused")],
        "integrations": len(configuration.integrations),
        "tracker": list(_tracker(configuration)),
        "retention": [(name, duration_of(seconds)) for name, seconds in asdict(configuration.retention).items()],
        "mappings": [(*named, many) for named, many in mappings.most_common()],
    }


def _tracker(configuration: Configuration) -> Iterator[tuple[str, str]]:
    tracker, graph, brake = configuration.tracker, configuration.graph, configuration.brake
    yield "currency", tracker.currency
    yield "click_wait", duration_of(tracker.click_wait)
    yield "subid_from", ", ".join(tracker.subid_from)
    yield "trusted", ", ".join(map(str, tracker.trusted)) or "loopback only"
    yield "cdn", ", ".join(map(str, tracker.cdn)) or "none"
    yield "geoip", tracker.geoip or "none"
    yield "admin_api", "asked for clicks" if tracker.admin_api else "none"
    yield "waiting_max", str(tracker.waiting_max)
    yield "graph", f"connect {duration_of(graph.connect)}, total {duration_of(graph.total)}"
    yield "brake", f"share {brake.share:.0%}, least {brake.least}"
