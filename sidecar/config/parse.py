"""From the bytes of a file to YAML nodes that are safe to walk, or to the mistake that prevents it."""

import re
from typing import NoReturn

import yaml

from sidecar.config.shape import At, Note, Notes

_CONFLICT = re.compile(r"^(<<<<<<<|>>>>>>>) ", re.MULTILINE)

#: Levels of lists and mappings in one another.
_DEEPEST = 40

_TOO_DEEP = f"more than {_DEEPEST} levels of lists and mappings"

#: Nodes that aliases may add to a file when they are written out: a few lines of YAML can stand for billions.
_MOST_ALIASED = 100_000

_OWN_TAGS = "tag:yaml.org,2002:"

_Loader: type[yaml.CSafeLoader] | type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def parse(name: str, content: bytes, notes: Notes) -> At | None:
    """The root of the file's only document; None after its mistake was noted."""
    try:
        return At(name, _root(content), "", notes)
    except _Refused as refused:
        notes.mistakes.append(Note(name, refused.line, refused.column, "", refused.problem))
        return None


class _Refused(Exception):
    def __init__(self, problem: str, line: int = 1, column: int = 1) -> None:
        super().__init__(problem)
        self.problem = problem
        self.line = line
        self.column = column


def _root(content: bytes) -> yaml.Node:
    try:
        written = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _Refused("not UTF-8", *_place(error.object[: error.start].decode("utf-8-sig"))) from None
    if conflict := _CONFLICT.search(written):
        problem = "a merge conflict was left unresolved; finish the merge"
        raise _Refused(problem, *_place(written[: conflict.start()]))
    root = _compose(written)
    if root is None:
        raise _Refused("the file is empty")
    _Walk().measure(root)
    return root


def _compose(written: str) -> yaml.Node | None:
    try:
        return yaml.compose(written, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        raise _Refused(_problem(error, written), *place) from None
    except yaml.reader.ReaderError as error:
        before = written.partition(chr(error.character))[0]
        raise _Refused(f"the character U+{error.character:04X} is not allowed", *_place(before)) from None
    except RecursionError:
        raise _Refused(_TOO_DEEP) from None


def _problem(error: yaml.MarkedYAMLError, written: str) -> str:
    mark = error.problem_mark
    tab = mark is not None and mark.index is not None and written[mark.index : mark.index + 1] == "\t"
    said = ", ".join(part for part in (error.context, error.problem) if part)
    return "a tab; YAML is indented with blanks" if tab else f"no YAML: {said}"


def _place(before: str) -> tuple[int, int]:
    """Line and column of what follows this text."""
    return before.count("\n") + 1, len(before) - before.rfind("\n")


class _Walk:
    """Visits every node once, however many aliases name it."""

    def __init__(self) -> None:
        self._seen: dict[yaml.Node, tuple[int, int]] = {}
        self._open: set[yaml.Node] = set()
        self._written = 0

    def measure(self, node: yaml.Node) -> tuple[int, int]:
        """How many nodes stand here with every alias written out, and in how many levels. Raises _Refused."""
        if not node.tag.startswith(_OWN_TAGS):
            _refuse(node, f"unknown tag {node.tag[:40]}; write the value without it, quoted if need be")
        if isinstance(node, yaml.ScalarNode):
            return 1, 0
        if node in self._seen:
            return self._seen[node]
        if node in self._open:
            _refuse(node, "an alias stands inside what it names")
        if len(self._open) >= _DEEPEST:
            _refuse(node, _TOO_DEEP)
        self._open.add(node)
        children = _children(node)
        below = [self.measure(child) for child in children]
        self._written += len(children)
        self._open.remove(node)
        size, levels = 1 + sum(size for size, _ in below), 1 + max((levels for _, levels in below), default=0)
        if levels > _DEEPEST:
            _refuse(node, _TOO_DEEP)
        if size > self._written + _MOST_ALIASED:
            _refuse(node, "aliases make this too large; write out what is needed")
        self._seen[node] = size, levels
        return size, levels


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return list(node.value)


def _refuse(node: yaml.Node, problem: str) -> NoReturn:
    raise _Refused(problem, node.start_mark.line + 1, node.start_mark.column + 1)
