"""Shapes of YAML: each reads a node into a value, or notes every mistake at its place, and says in JSON Schema what it
takes.

Scalars are read as they are written, never as YAML would resolve them: `0123456`, `NO` and `12:34:56` stay texts. An
editor resolves them before it asks the schema. So a schema takes every type that a scalar may seem to have, and refuses
nothing that the shape reads.
"""

import difflib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import yaml

from sidecar.core.times import parse_duration

MISSING: Any = object()

_NULL = "tag:yaml.org,2002:null"
_STR = "tag:yaml.org,2002:str"
_BOOL = "tag:yaml.org,2002:bool"
_MERGE = "tag:yaml.org,2002:merge"


@dataclass(frozen=True, order=True)
class Note:
    """Something to say about a place: FILE:LINE:COLUMN: path: message."""

    file: str
    line: int
    column: int
    path: str
    message: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        return ": ".join(part for part in (where, self.path, self.message) if part)


@dataclass
class Notes:
    """Mistakes refuse the whole; findings concern one integration; remarks are advice."""

    mistakes: list[Note] = field(default_factory=list)
    findings: list[Note] = field(default_factory=list)
    remarks: list[Note] = field(default_factory=list)


@dataclass(frozen=True)
class At:
    """A node with its file and path."""

    file: str
    node: yaml.Node
    path: str
    notes: Notes

    def fail(self, message: str) -> Any:
        """Notes a mistake here, and is the value of what could not be read."""
        self.notes.mistakes.append(self.note(message))
        return MISSING

    def note(self, message: str) -> Note:
        mark = self.node.start_mark
        return Note(self.file, mark.line + 1, mark.column + 1, self.path, message)

    def child(self, node: yaml.Node, path: str) -> "At":
        return At(self.file, node, path, self.notes)

    def under(self, name: str, node: yaml.Node) -> "At":
        """The place of a mapping's key or value."""
        return self.child(node, f"{self.path}.{name}" if self.path else name)

    def items(self) -> "list[At]":
        """The places of a list's members; a lone value stands for a list of one."""
        if not isinstance(self.node, yaml.SequenceNode):
            return [self]
        return [self.child(node, f"{self.path}[{index}]") for index, node in enumerate(self.node.value)]

    @property
    def place(self) -> str:
        return f"{self.file}:{self.node.start_mark.line + 1}"


Schema = dict[str, Any]

#: Schemas that stand once in a document, under $defs, by name.
Definitions = dict[str, Schema]


@dataclass(frozen=True)
class Shape:
    """Reads a node; says what it takes, adding the named parts to the definitions of the document."""

    read: Callable[[At], Any]
    schema: Callable[[Definitions], Schema]

    def __call__(self, at: At) -> Any:
        return self.read(at)


def document(shape: Shape, title: str) -> Schema:
    """The JSON Schema of a file of this shape."""
    definitions: Definitions = {}
    own = shape.schema(definitions)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title, **own, "$defs": definitions}


def named(name: str, shape: Shape) -> Shape:
    """The same shape; its schema stands once in a document and is referred to by this name."""

    def schema(definitions: Definitions) -> Schema:
        definitions[name] = definitions.get(name) or shape.schema(definitions)
        return {"$ref": f"#/$defs/{name}"}

    return Shape(shape.read, schema)


def text(pattern: str, what: str, examples: Iterable[str] = ()) -> Shape:
    """A scalar as it is written, of this pattern, which Python and ECMAScript read alike: no flags, no \\d, no \\w."""
    compiled = re.compile(pattern)

    def read(at: At) -> Any:
        if not isinstance(at.node, yaml.ScalarNode) or is_null(at.node):
            return at.fail(f"{_kind(at.node)} where {what} is needed")
        value = str(at.node.value)
        return value if compiled.fullmatch(value) else at.fail(f"{_shown(value)} is not {what}")

    def schema(_: Definitions) -> Schema:
        seeming = [kind for kind, written in _SEEMING.items() if compiled.fullmatch(written)]
        least = {} if not seeming or compiled.fullmatch("-7") else {"minimum": 0}
        suggested = {"examples": list(examples)} if examples else {}
        return {"type": ["string", *seeming], "pattern": _whole(pattern), **least, **suggested}

    return Shape(read, schema)


#: How a text looks that YAML takes for something else.
_SEEMING = {"boolean": "true", "integer": "7", "number": "0.5"}


def _read_flag(at: At) -> Any:
    if isinstance(at.node, yaml.ScalarNode) and at.node.tag == _BOOL:
        return str(at.node.value).lower() in ("true", "yes", "on", "y")
    return at.fail("true or false is needed")


#: true or false. YAML 1.2 takes the other words of YAML 1.1 for texts.
flag = Shape(
    _read_flag,
    lambda _: {"type": ["boolean", "string"], "pattern": _whole("yes|Yes|YES|no|No|NO|on|On|ON|off|Off|OFF")},
)


def whole(least: int = 0, most: int = 10**9) -> Shape:
    """A whole number between two bounds."""

    def read(at: At) -> Any:
        value = at.node.value if isinstance(at.node, yaml.ScalarNode) else ""
        if re.fullmatch(r"[0-9]{1,10}", value) and least <= int(value) <= most:
            return int(value)
        return at.fail(f"a whole number from {least} to {most} is needed")

    def schema(_: Definitions) -> Schema:
        number = {"type": "integer", "minimum": least, "maximum": most}
        return {"anyOf": [number, {"type": "string", "pattern": _whole("[0-9]{1,10}")}]}

    return Shape(read, schema)


def duration(most: float = 3650 * 86400.0, least: float = 0.0) -> Shape:
    """Seconds of `90s 15m 2h 1d`."""

    def read(at: At) -> Any:
        value = parse_duration(at.node.value) if isinstance(at.node, yaml.ScalarNode) else None
        if value is None:
            return at.fail("a duration such as 90s, 15m, 2h or 1d is needed")
        if value < least:
            return at.fail(f"a duration of at least {least:g}s is needed")
        return value if value <= most else at.fail(f"a duration of at most {most / 3600:g}h is allowed")

    def schema(_: Definitions) -> Schema:
        examples = ["90s", "15m", "2h", "1d"]
        return {"type": "string", "pattern": _whole(r"\s*[0-9]+(\.[0-9]+)?[smhd]\s*"), "examples": examples}

    return Shape(read, schema)


def duration_of(seconds: float) -> str:
    """Seconds as they are written, in the largest unit that holds them whole."""
    for unit, length in (("d", 86400.0), ("h", 3600.0), ("m", 60.0)):
        if seconds and seconds % length == 0:
            return f"{seconds / length:g}{unit}"
    return f"{seconds:g}s"


_PERCENTAGE = r"([0-9]{1,4}(\.[0-9]{1,4})?) ?%"


def _read_percentage(at: At) -> Any:
    value = at.node.value if isinstance(at.node, yaml.ScalarNode) else ""
    match = re.fullmatch(_PERCENTAGE, value)
    return Decimal(match[1]) / 100 if match else at.fail("a percentage such as 50% is needed")


#: A share as a Decimal: 50% is 0.5.
percentage = Shape(
    _read_percentage, lambda _: {"type": "string", "pattern": _whole(_PERCENTAGE), "examples": ["50%", "12.5%"]}
)


def choice(*allowed: str) -> Shape:
    """One of these words."""

    def read(at: At) -> Any:
        value = at.node.value if isinstance(at.node, yaml.ScalarNode) else ""
        return value if value in allowed else at.fail(f"{_shown(value)} is unknown; {suggestion(value, allowed)}")

    return Shape(read, lambda _: {"enum": list(allowed)})


def or_null(shape: Shape) -> Shape:
    """null, or the shape."""
    return Shape(
        lambda at: None if is_null(at.node) else shape(at),
        lambda definitions: {"anyOf": [shape.schema(definitions), {"type": "null"}]},
    )


def listed(shape: Shape) -> Shape:
    """A tuple; a lone value stands for a list of one."""

    def read(at: At) -> Any:
        values = tuple(value for value in map(shape, at.items()) if value is not MISSING)
        return values if values or isinstance(at.node, yaml.SequenceNode) else MISSING

    def schema(definitions: Definitions) -> Schema:
        item = shape.schema(definitions)
        return {"anyOf": [{"type": "array", "items": item}, item]}

    return Shape(read, schema)


def mapped(key: Shape, value: Shape) -> Shape:
    """A dict of any keys of one shape; two spellings of one key are a mistake."""

    def read(at: At) -> Any:
        found: dict[str, Any] = {}
        first: dict[str, yaml.Node] = {}
        for name_node, node in pairs(at):
            place = at.child(name_node, at.path)
            name = key(place)
            item = value(at.under(name_node.value, node))
            if name in first:
                line = first[name].start_mark.line + 1
                place.fail(f'"{name_node.value}" and "{first[name].value}" in line {line} are one; keep one of them')
            elif name is not MISSING and item is not MISSING:
                found[name] = item
                first[name] = name_node
        return found if isinstance(at.node, yaml.MappingNode) else MISSING

    def schema(definitions: Definitions) -> Schema:
        names, item = key.schema(definitions), value.schema(definitions)
        suggested = names.get("enum") or names.get("examples", ())
        properties = dict.fromkeys(suggested, item)
        return {"type": "object", "propertyNames": names, "properties": properties, "additionalProperties": item}

    return Shape(read, schema)


def _read_free(at: At) -> Any:
    node = at.node
    if isinstance(node, yaml.SequenceNode):
        return [_read_free(item) for item in at.items()]
    if isinstance(node, yaml.MappingNode):
        return {str(name.value): _read_free(at.under(name.value, item)) for name, item in pairs(at)}
    value = str(node.value)
    plain = isinstance(node, yaml.ScalarNode) and not node.style and node.tag != _STR
    if is_null(node):
        return None
    if plain and value in ("true", "false"):
        return value == "true"
    if plain and re.fullmatch(r"-?(0|[1-9]\d{0,14})", value):
        return int(value)
    if plain and re.fullmatch(r"-?(0|[1-9]\d{0,14})\.\d{1,15}", value):
        return float(value)
    return value


#: Whatever JSON can say; texts that YAML would turn into a date or a number in another base stay texts.
free = Shape(_read_free, lambda _: {})


@dataclass(frozen=True)
class Key:
    """One key of a record: its shape, what an editor says of it, and its default as it would be written."""

    shape: Shape
    about: str
    default: Any = None
    required: bool = False

    def schema(self, definitions: Definitions) -> Schema:
        default = {} if self.default is None else {"default": self.default}
        return {**self.shape.schema(definitions), "description": self.about, **default}


class Given(dict[str, Any]):
    """The keys of a record that were given and could be read, with the place of each."""

    def __init__(self, at: At) -> None:
        super().__init__()
        self.at = at
        self.places: dict[str, At] = {}

    def where(self, name: str) -> At:
        """The place of a key; of one that was not given, the record's."""
        return self.places.get(name) or self.at.under(name, self.at.node)


def record(known: Mapping[str, Key]) -> Shape:
    """A mapping of known keys; the others are mistakes."""

    def read(at: At) -> Any:
        given = Given(at)
        if not isinstance(at.node, yaml.MappingNode):
            pairs(at)
            return MISSING
        names = set()
        for name_node, node in pairs(at):
            name = str(name_node.value)
            names.add(name)
            place = at.under(name, node)
            if name not in known:
                at.child(name_node, place.path).fail(f"unknown key; {suggestion(name, known)}")
                continue
            given.places[name] = place
            value = known[name].shape(place)
            if value is not MISSING:
                given[name] = value
        for name, key in known.items():
            if key.required and name not in names:
                at.fail(f"{name} is missing")
        return given

    def schema(definitions: Definitions) -> Schema:
        properties = {name: key.schema(definitions) for name, key in known.items()}
        required = [name for name, key in known.items() if key.required]
        return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}

    return Shape(read, schema)


def suggestion(name: str, known: Iterable[str]) -> str:
    """What was probably meant, else what is allowed."""
    known = list(known)
    near = difflib.get_close_matches(name, known, n=1)
    if near:
        return f'did you mean "{near[0]}"?'
    return f"allowed are {', '.join(known[:30])}" if known else "there are none"


def pairs(at: At) -> Sequence[tuple[yaml.Node, yaml.Node]]:
    """The pairs of a mapping, merge keys expanded; a key that stands twice is a mistake."""
    if not isinstance(at.node, yaml.MappingNode):
        at.fail(f"{_kind(at.node)} where a mapping (key: value) is needed")
        return ()
    own: dict[str, tuple[yaml.Node, yaml.Node]] = {}
    merged: dict[str, tuple[yaml.Node, yaml.Node]] = {}
    for name_node, node in at.node.value:
        if name_node.tag == _MERGE:
            for source in node.value if isinstance(node, yaml.SequenceNode) else [node]:
                for pair in pairs(at.child(source, at.path)):
                    merged.setdefault(str(pair[0].value), pair)
        elif not isinstance(name_node, yaml.ScalarNode):
            at.child(name_node, at.path).fail("a key must be a plain text")
        elif name_node.value in own:
            first = own[name_node.value][0].start_mark.line + 1
            at.child(name_node, at.path).fail(f'key "{name_node.value}" stands here twice; first in line {first}')
        else:
            own[name_node.value] = (name_node, node)
    return list({**merged, **own}.values())


def _whole(pattern: str) -> str:
    """A pattern that must fit from end to end, as JSON Schema writes it."""
    return f"^(?:{pattern})$"


def is_null(node: yaml.Node) -> bool:
    """Whether a node is YAML's null, written or left blank."""
    return isinstance(node, yaml.ScalarNode) and node.tag == _NULL


def _kind(node: yaml.Node) -> str:
    if isinstance(node, yaml.MappingNode):
        return "a mapping"
    return "a list" if isinstance(node, yaml.SequenceNode) else "nothing" if is_null(node) else "a lone value"


def _shown(value: str) -> str:
    return f'"{value[:40]}"'
