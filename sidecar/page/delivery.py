"""A delivery and its attempts in plain words."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sidecar.core.advice import ANSWER, DEAD, HELD
from sidecar.core.delivery import Destination

Held = Callable[[Destination], str]

_TONES = {"delivered": "good", "dead": "bad", "queued": "", "leased": ""}

_WORDS = {"delivered": "Meta took it", "queued": "waits for its turn", "leased": "on its way at this moment"}


@dataclass(frozen=True)
class Try:
    """One attempt: what Meta answered (`answer`, with its numbers), what that means, and what to do."""

    number: int
    at: float
    took: float
    way: str
    tone: str
    verdict: str
    meaning: str
    then: str
    answer: str
    numbers: str


@dataclass(frozen=True)
class Shown:
    """A delivery; `state` is a word of the command line's, `words` say what it means."""

    row: Mapping[str, Any]
    tone: str
    state: str
    words: str
    tries: tuple[Try, ...]
    command: str

    @property
    def id(self) -> str:
        """Its queue number."""
        return f"q{self.row['seq']}"


def delivery(row: Mapping[str, Any], held: Held) -> Shown:
    """A delivery of the store; `held` tells why a destination's may not be leased now."""
    reason = row["held"] or _held_by(row, held)
    number = f"q{row['seq']}"
    tries = tuple(map(_try, row["attempts"]))
    if reason:
        command = f"capi-sidecar queue release {number}" if reason == "by_hand" else ""
        return Shown(row, "warn", f"held ({reason})", HELD.get(reason, reason), tries, command)
    state = f"{row['state']} ({row['reason']})" if row["reason"] else row["state"]
    words = DEAD.get(row["reason"]) or _WORDS.get(row["state"], "")
    again = row["failures"] > 0 if row["state"] == "queued" else row["state"] == "dead" and row["reason"] != "deadline"
    command = f"capi-sidecar queue retry {number}" if again else ""
    return Shown(row, _TONES[row["state"]], state, words, tries, command)


def destination_of(row: Mapping[str, Any]) -> Destination:
    """Where a delivery of the store goes."""
    return Destination(row["integration"], row["pixel_id"], row["route"])


def _held_by(row: Mapping[str, Any], held: Held) -> str:
    return held(destination_of(row)) if row["state"] == "queued" else ""


def _try(attempt: Mapping[str, Any]) -> Try:
    meaning, then = ANSWER.get(attempt["verdict"], ("", ""))
    named = ("http_status", "code", "subcode", "fbtrace_id")
    return Try(
        attempt["number"],
        attempt["at"],
        attempt["took"],
        f"proxy {attempt['proxy']}" if attempt["proxy"] else "direct",
        "good" if attempt["verdict"] == "accepted" else "bad",
        attempt["verdict"],
        meaning,
        then,
        attempt["words"],
        " ".join(f"{name} {attempt[name]}" for name in named if attempt[name]),
    )
