"""Keitaro's Admin API over HTTP: the second source of clicks, and the names of campaigns."""

from collections.abc import Mapping
from dataclasses import dataclass

from sidecar.core.click import Click


@dataclass(frozen=True, slots=True)
class Answered:
    """The clicks that the tracker knows, by subid, of all those that were `asked`."""

    clicks: Mapping[str, Click]
    asked: frozenset[str]


class Unanswered(Exception):
    """No answer came: why, and what to do, in `words`; nobody needs to ask again for `retry_after` seconds."""

    def __init__(self, words: str, retry_after: float) -> None:
        super().__init__(words)
        self.words = words
        self.retry_after = retry_after
