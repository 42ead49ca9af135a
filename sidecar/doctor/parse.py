"""Nginx's configuration as a tree: from the output of `nginx -T`, or from a file and what it includes.

crossplane reads the text of one file: it knows quotes, escapes, lines and Lua blocks. Includes are followed here: it
takes a file that is included twice only once, in its first place, and it knows no dump.
"""

import re
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import crossplane  # type: ignore[import-untyped]

#: Paths and texts of the files that a pattern means, in Nginx's order.
Source = Callable[[str], list[tuple[str, str]]]

#: What `nginx -T` prints before each file.
_MARKER = re.compile(r"^# configuration file (/.*):$", re.MULTILINE)

#: Where Nginx's own files are.
_SYSTEM = PurePosixPath("/etc/nginx")

#: Files within files, at most.
_DEPTH = 20

_MAGIC = re.compile(r"[*?[]")


@dataclass(frozen=True, slots=True)
class Directive:
    """One directive where it is written; `block` is None for one that ends with a semicolon."""

    name: str
    arguments: tuple[str, ...] = ()
    file: str = ""
    line: int = 0
    block: tuple["Directive", ...] | None = None

    @property
    def place(self) -> str:
        return f"{self.file}:{self.line}"

    @property
    def text(self) -> str:
        return " ".join((self.name, *self.arguments))


@dataclass(frozen=True, slots=True)
class Unread:
    """What could not be read of a configuration."""

    place: str
    what: str


@dataclass(frozen=True)
class Tree:
    """The directives of the main file with every include in its place, and what is missing of them."""

    directives: tuple[Directive, ...] = ()
    unread: tuple[Unread, ...] = ()


def is_dump(text: str) -> bool:
    """Whether this is what `nginx -T` prints, not a file of its own."""
    return _MARKER.search(text) is not None


def parse_dump(text: str) -> Tree:
    """The tree of a dump; its first file is the main one."""
    texts = split_dump(text)
    main = next(iter(texts))

    def among(pattern: str) -> list[tuple[str, str]]:
        return [(path, texts[path]) for path in sorted(texts) if PurePosixPath(path).match(_escaped(pattern, texts))]

    return _Reading(among, [PurePosixPath(main).parent]).tree(main, texts[main])


def parse_file(path: Path) -> Tree:
    """The tree of a file and of what it includes on this disk. Raises OSError when the file cannot be read.

    An include is relative to the directory of nginx.conf: for a file of conf.d that is one further up, and for one
    that lies elsewhere the system's.
    """
    main = path.absolute()
    return _Reading(_on_disk, [*map(PurePosixPath, main.parents), _SYSTEM]).tree(str(main), _text_of(main))


def split_dump(text: str) -> dict[str, str]:
    """The files of a dump by their paths, each with its own lines from the first on."""
    _, *parts = _MARKER.split(text)
    return {path: body.removeprefix("\n") for path, body in zip(parts[::2], parts[1::2], strict=True)}


def _escaped(pattern: str, texts: Mapping[str, str]) -> str:
    """A path that is a file's own name is no pattern, whatever stands in it."""
    return re.sub(r"([*?[])", r"[\1]", pattern) if pattern in texts else pattern


def _on_disk(pattern: str) -> list[tuple[str, str]]:
    path = Path(pattern)
    if not _MAGIC.search(pattern):
        return [(pattern, _text_of(path))] if path.is_file() else []
    found = sorted(Path(path.anchor).glob(str(path.relative_to(path.anchor))))
    return [(str(each), _text_of(each)) for each in found if each.is_file()]


def _text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


@dataclass
class _Reading:
    """Follows includes; `bases` are the directories that a relative one may mean, the likeliest first."""

    source: Source
    bases: Sequence[PurePosixPath]
    unread: list[Unread] = field(default_factory=list)

    def tree(self, path: str, text: str) -> Tree:
        return Tree(self._file(path, text, 0), tuple(self.unread))

    def _file(self, path: str, text: str, depth: int) -> tuple[Directive, ...]:
        statements, fault = _statements(text)
        if fault:
            self.unread.append(Unread(path, f"cannot be read as a configuration of Nginx: {fault}"))
        return tuple(self._directives(path, statements, depth))

    def _directives(self, path: str, statements: Iterable[Mapping[str, Any]], depth: int) -> Iterable[Directive]:
        for each in statements:
            block = tuple(self._directives(path, each["block"], depth)) if "block" in each else None
            directive = Directive(each["directive"], tuple(each["args"]), path, each["line"], block)
            if directive.name == "include" and block is None and directive.arguments:
                yield from self._included(directive, depth)
            else:
                yield directive

    def _included(self, include: Directive, depth: int) -> Iterable[Directive]:
        pattern = include.arguments[0]
        magic = _MAGIC.search(pattern)
        bases = self.bases[:1] if magic else self.bases
        for base in bases:
            # A path that is absolute stays what it is.
            if (found := self._asked(include, str(base / pattern))) and depth < _DEPTH:
                for path, text in found:
                    yield from self._file(path, text, depth + 1)
                return
        if not magic:
            self.unread.append(Unread(include.place, f"{pattern}: no such file is to be had"))

    def _asked(self, include: Directive, pattern: str) -> list[tuple[str, str]]:
        try:
            return self.source(pattern)
        except OSError as error:
            self.unread.append(Unread(include.place, f"{pattern}: {error.strerror}"))
            return []


def _statements(text: str) -> tuple[list[Mapping[str, Any]], str]:
    """What crossplane makes of a text, and why it makes nothing of it. It reads files only."""
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", errors="replace", suffix=".conf") as file:
        file.write(text)
        file.flush()
        payload = crossplane.parse(file.name, single=True, check_ctx=False, check_args=False)
        errors = [error["error"].replace(f" in {file.name}", ", line ") for error in payload["errors"]]
    fault = (errors[0].replace("line :", "line ") or "it ends within a directive") if errors else ""
    return payload["config"][0]["parsed"], fault
