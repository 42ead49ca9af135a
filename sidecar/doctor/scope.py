"""Blocks within blocks, and what a lower one takes from an upper one.

A directive of a lower level replaces those of the same name of the upper levels, all of them: access_log, error_page,
proxy_set_header, set_real_ip_from and the like too. Source: nginx.org, each directive's description ("inherited from
the previous configuration level if and only if there are no ... directives defined on the current level").
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from sidecar.doctor.parse import Directive, Tree

#: Blocks in which Nginx's directives mean what they mean; a `map` or `types` holds only words.
_LEVELS = frozenset({"http", "server", "location", "if", "limit_except"})

_MULTIPLES = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_SECONDS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


@dataclass(frozen=True, eq=False)
class Scope:
    """One block, with the one that it stands in; None above http."""

    directive: Directive
    parent: "Scope | None" = None

    @property
    def name(self) -> str:
        return self.directive.name

    @property
    def place(self) -> str:
        return self.directive.place

    @property
    def title(self) -> str:
        """As people call it: `location ~ ^/x`, `server`."""
        return self.directive.text

    @cached_property
    def children(self) -> "tuple[Scope, ...]":
        """The levels directly in it."""
        return tuple(Scope(each, self) for each in self.directive.block or () if _is_level(each))

    @property
    def locations(self) -> "tuple[Scope, ...]":
        return tuple(child for child in self.children if child.name == "location")

    @property
    def conditions(self) -> "tuple[Scope, ...]":
        return tuple(child for child in self.children if child.name == "if")

    def walk(self) -> "Iterator[Scope]":
        """It, and every level in it."""
        yield self
        for child in self.children:
            yield from child.walk()

    def above(self) -> "Iterator[Scope]":
        """It, and every level that it stands in, upwards."""
        yield self
        if self.parent:
            yield from self.parent.above()

    def own(self, *names: str) -> tuple[Directive, ...]:
        """Directives of these names that stand in it, in their order."""
        return tuple(each for each in self.directive.block or () if each.name in names)

    def effective(self, name: str) -> tuple[Directive, ...]:
        """The directives of a name that hold here: those of the lowest level that has any."""
        return next((found for level in self.above() if (found := level.own(name))), ())

    def value(self, name: str) -> str | None:
        """The argument of a directive that holds here; None when nobody says it."""
        found = self.effective(name)
        return " ".join(found[-1].arguments) if found else None

    def where(self, name: str) -> str:
        """The place of what holds, else of this block, which lacks it."""
        found = self.effective(name)
        return found[-1].place if found else self.place


def http_of(tree: Tree) -> Scope:
    """The http level; for a file of conf.d, which is included there, the file itself."""
    block = next((each for each in tree.directives if each.name == "http" and each.block is not None), None)
    file = tree.directives[0].file if tree.directives else ""
    return Scope(block or Directive("http", (), file, 1, tree.directives))


def size(text: str) -> int:
    """Bytes of Nginx's size: 256k, 1m; -1 when it is none. Source: nginx.org, "Measurement units"."""
    match = re.fullmatch(r"(\d+)([kmg]?)", text.strip().lower())
    return int(match[1]) * _MULTIPLES[match[2]] if match else -1


def seconds(text: str) -> float:
    """Seconds of Nginx's time: 250ms, 1m 30s, 5; infinite when it is none. Source: the same page."""
    parts = re.findall(r"(\d+)(ms|[smhd]?)\s*", text.strip().lower())
    if not parts or "".join(map("".join, parts)) != re.sub(r"\s", "", text.strip().lower()):
        return float("inf")
    return sum(int(number) * _SECONDS[unit] for number, unit in parts)


def _is_level(directive: Directive) -> bool:
    return directive.block is not None and directive.name in _LEVELS
