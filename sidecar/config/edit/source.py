"""The YAML files of a configuration as texts with places: which integration stands where, and what is in force for it.

What `load` makes values of, this keeps as it is written.
"""

import codecs
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import yaml

from sidecar.config.load import MAIN
from sidecar.config.parse import parse
from sidecar.config.shape import At, Notes, is_null, pairs

MERGE = "tag:yaml.org,2002:merge"

#: Keys that the tracker may hold for all integrations.
_OF_TRACKER = ("fbclid_from", "fbp_from", "fbc_from")

#: What a node says: a dict, a list, or tag and text of a scalar; aliases and merge keys are written out.
Data = Any

STR = "tag:yaml.org,2002:str"
BOOL = "tag:yaml.org,2002:bool"
NULL: Data = ("tag:yaml.org,2002:null", "")

Pair = tuple[yaml.Node, yaml.Node]


@dataclass(frozen=True)
class Source:
    """A YAML file; its text is without the byte-order mark that its content may begin with."""

    name: str
    content: bytes
    text: str
    at: At

    def content_of(self, text: str) -> bytes:
        """What the file holds with another text."""
        mark = codecs.BOM_UTF8 if self.content.startswith(codecs.BOM_UTF8) else b""
        return mark + text.encode()


@dataclass(frozen=True)
class Declared:
    """An integration where it stands: the index-th of its file."""

    source: Source
    at: At
    index: int
    name: str


@dataclass(frozen=True)
class InForce:
    """What is in force for a key, and where it is said: by the integration, by `defaults` or by the `tracker`."""

    key: At
    value: At
    level: str


@dataclass(frozen=True)
class Sources:
    """All files of a configuration, and the mistakes for which one of them is no YAML."""

    files: Mapping[str, Source]
    notes: Notes = field(default_factory=Notes)

    @cached_property
    def integrations(self) -> Mapping[str, Declared]:
        """By name, in file order; of two with one name, which no check lets pass, the first."""
        found: dict[str, Declared] = {}
        for source in self.files.values():
            if not source.name.startswith("mappings/"):
                for each in _declared(source):
                    found.setdefault(each.name, each)
        return found

    def in_force(self, each: Declared, name: str) -> InForce | None:
        """None where nobody says anything, and the program's own default holds."""
        levels = {"": each.at, "defaults": self._section("defaults")}
        if name in _OF_TRACKER:
            levels["tracker"] = self._section("tracker")
        for level, at in levels.items():
            if at and (pair := _among(pairs(at), name)):
                return InForce(at.under(name, pair[0]), at.under(name, pair[1]), level)
        return None

    def rules_of(self, each: Declared) -> At | None:
        """The rules that an integration uses, inline or in a file; None where there are none."""
        said = self.in_force(each, "mapping")
        if said is None:
            return None
        if isinstance(said.value.node, yaml.MappingNode):
            return said.value
        file = self.files.get(f"mappings/{said.value.node.value}.yaml")
        return file.at if file else None

    def by_default(self, name: str) -> At | None:
        """What `defaults` say of a key."""
        at = self._section("defaults")
        pair = _among(pairs(at), name) if at else None
        return at.under(name, pair[1]) if at and pair else None

    def _section(self, name: str) -> At | None:
        main = self.files.get(MAIN)
        pair = _among(pairs(main.at), name) if main else None
        return main.at.under(name, pair[1]) if main and pair else None


def sources(contents: Mapping[str, bytes]) -> Sources:
    """Reads files, in the order in which they count."""
    notes = Notes()
    read = {name: source(name, content, notes) for name, content in contents.items()}
    return Sources({name: each for name, each in read.items() if each}, notes)


def source(name: str, content: bytes, notes: Notes) -> Source | None:
    """Reads one file; None after its mistake was noted."""
    at = parse(name, content, notes)
    return Source(name, content, content.decode("utf-8-sig"), At(name, at.node, "", Notes())) if at else None


def own(node: yaml.Node, name: str) -> Pair | None:
    """The pair of a key that stands in a mapping itself, not in one that is merged into it."""
    return _among(node.value, name) if isinstance(node, yaml.MappingNode) else None


def merged(at: At) -> list[Pair]:
    """The pairs that come into a mapping by merge keys."""
    if not isinstance(at.node, yaml.MappingNode):
        return []
    merges = [pair for pair in at.node.value if pair[0].tag == MERGE]
    return list(pairs(at.child(yaml.MappingNode(at.node.tag, merges), at.path)))


def data(node: yaml.Node, instead: Mapping[int, Data] | None = None) -> Data:
    """What a node says; `instead` of the nodes of these ids, something else."""
    known: dict[int, Data] = dict(instead or {})

    def read(node: yaml.Node) -> Data:
        if id(node) not in known:
            if isinstance(node, yaml.MappingNode):
                known[id(node)] = by_merge(node) | {str(key.value): read(value) for key, value in own_pairs(node)}
            elif isinstance(node, yaml.SequenceNode):
                known[id(node)] = [read(item) for item in node.value]
            else:
                known[id(node)] = NULL if is_null(node) else (node.tag, node.value)
        return known[id(node)]

    def own_pairs(node: yaml.MappingNode) -> list[Pair]:
        return [pair for pair in reversed(node.value) if pair[0].tag != MERGE]

    def by_merge(node: yaml.MappingNode) -> dict[str, Data]:
        found: dict[str, Data] = {}
        for key, value in node.value:
            if key.tag == MERGE:
                for each in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                    more = read(each)
                    found = more | found if isinstance(more, dict) else found
        return found

    said = read(node)
    return dict(said) if isinstance(said, dict) else said


def _declared(source: Source) -> list[Declared]:
    pair = own(source.at.node, "integrations")
    found = []
    for index, at in enumerate(source.at.under("integrations", pair[1]).items() if pair else []):
        name = _among(pairs(at), "name") if isinstance(at.node, yaml.MappingNode) else None
        found.append(Declared(source, at, index, str(name[1].value) if name else ""))
    return found


def _among(found: Iterable[Pair], name: str) -> Pair | None:
    return next((pair for pair in found if pair[0].value == name and pair[0].tag != MERGE), None)
