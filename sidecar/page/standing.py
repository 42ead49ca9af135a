"""How an integration stands, in one word and in plain ones."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sidecar.core.advice import ANSWER, HELD

#: Tones from the worst on: what must be mended, what to keep an eye on, what is meant so, what is well.
TONES = ("bad", "warn", "off", "good")

_TONE_OF_LANE = {"parked": "bad", "throttled": "warn", "failing": "warn"}


@dataclass(frozen=True)
class Standing:
    """`word` is the status as the command line calls it; `since` is Unix seconds, None where nobody knows."""

    tone: str
    word: str
    words: str = ""
    since: float | None = None

    @property
    def is_trouble(self) -> bool:
        return self.tone in ("bad", "warn")


def standings(status: Mapping[str, Any]) -> dict[str, Standing]:
    """Of each integration by name, those that are gone included, from the JSON of `/api/status`."""
    faults: defaultdict[str, list[Standing]] = defaultdict(list)
    for lane in status["lanes"]:
        for name in lane["integrations"] if lane["state"] != "active" else ():
            faults[name].append(_of_lane(lane))
    for watched in status["silence"]:
        if watched["silent"]:
            words = f"{watched['what']}: {watched['words']}"
            faults[watched["integration"]].append(Standing("warn", "silent", words, watched["last_at"]))
    for flight in status["canary"]:
        if not flight["ok"]:
            lost = f"lost at {flight['legs'][-1]['leg']}"
            faults[flight["integration"]].append(Standing("warn", "canary", lost, flight["at"]))
    loaded_at = status["configuration"]["loaded_at"]
    return {each["name"]: _standing(each, faults[each["name"]], loaded_at) for each in status["integrations"]}


def _standing(each: Mapping[str, Any], faults: Sequence[Standing], loaded_at: float) -> Standing:
    if each["status"].startswith("error"):
        return Standing("bad", "error", each["status"].removeprefix("error: "), loaded_at)
    if each["status"] == "gone":
        waits = each["waiting"] > 0
        return Standing("bad" if waits else "off", "gone", HELD["integration_gone"] if waits else "")
    if each["status"] == "paused":
        return Standing("off", "paused")
    aside = [Standing("warn", "put aside", HELD["by_hand"])] if "by_hand" in each["held"] else []
    found = [*faults, *aside, Standing("good", "active")]
    return min(found, key=lambda one: TONES.index(one.tone))


def _of_lane(lane: Mapping[str, Any]) -> Standing:
    meaning, _ = ANSWER.get(lane["why"], (lane["why"], ""))
    return Standing(_TONE_OF_LANE.get(lane["state"], "warn"), lane["state"], meaning, lane["since"])
