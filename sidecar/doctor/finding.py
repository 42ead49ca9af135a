"""A trap, and what is found of it: what, where, why it matters and what to type."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

T = TypeVar("T")


class Severity(StrEnum):
    """`wrong` costs conversions, or shows what nobody may see; a `remark` is for somebody to know."""

    WRONG = "wrong"
    REMARK = "remark"


@dataclass(frozen=True, slots=True)
class Found:
    """One place where a trap lies; `type` says more exactly than the trap's own what to type."""

    place: str
    what: str
    type: str = ""


@dataclass(frozen=True, slots=True)
class Trap(Generic[T]):
    """One rule: what finds it in its subject, why it matters in a sentence, and the lines that mend it."""

    name: str
    severity: Severity
    find: Callable[[T], Iterable[Found]]
    why: str
    type: str


@dataclass(frozen=True, slots=True)
class Finding:
    """What the doctor says; `place` is FILE:LINE, a path or an address."""

    severity: Severity
    check: str
    place: str
    what: str
    why: str
    type: str


def examine(traps: Sequence[Trap[T]], subject: T) -> list[Finding]:
    """What each trap finds, once: a file that is included twice has its lines only once."""
    return list(dict.fromkeys(_findings(traps, subject)))


def _findings(traps: Sequence[Trap[T]], subject: T) -> Iterator[Finding]:
    for trap in traps:
        for found in trap.find(subject):
            yield Finding(trap.severity, trap.name, found.place, found.what, trap.why, found.type or trap.type)
