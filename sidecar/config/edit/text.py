"""Places in a YAML text: lines, the end of a node, the comments that are its own. Nothing is ever written anew.

Places are those of the composed nodes' marks: characters from the start of the text.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import yaml

_STR = "tag:yaml.org,2002:str"

_COMMENT = re.compile(r"(?:^|(?<=\s))#.*")
_COLON = re.compile(r"[ \t]*:")
_ALIAS = re.compile(r"[ \t]*(\*[^\s,\]}]+)")
_COMMA = re.compile(r"\s*,")
_REST = re.compile(r"[ \t]*,?[ \t]*(#.*)?\r?$", re.MULTILINE)

#: What a double-quoted text may hold only as an escape.
_ESCAPED = re.compile('["\\\\\x00-\x1f\x7f-\x9f\u2028\u2029\ufeff]')
_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t"}

Span = tuple[int, int]


class Unclear(Exception):
    """The text is written in a way in which an edit cannot be made; says where, and what to do."""


@dataclass(frozen=True, order=True)
class Change:
    """The text from `start` to before `end` becomes `new`."""

    start: int
    end: int
    new: str = ""


def changed(text: str, changes: Iterable[Change]) -> str:
    """The text with all changes, which do not overlap, made."""
    for change in sorted(changes, reverse=True):
        text = text[: change.start] + change.new + text[change.end :]
    return text


def start_of(node: yaml.Node) -> int:
    return int(node.start_mark.index)


def end_of(text: str, node: yaml.Node) -> int:
    """The place after the last character of a node; comments and blank lines below are not part of it."""
    start, end = start_of(node), int(node.end_mark.index)
    if isinstance(node, yaml.ScalarNode):
        return start + len(text[start:end].rstrip()) if node.style in ("|", ">") else end
    if is_flow(node):
        return end
    inside = [child for child in _children(node) if start <= start_of(child) and child.end_mark.index <= end]
    return _last_word(text, max((end_of(text, child) for child in inside), default=start), end)


def pair_span(text: str, key: yaml.Node, value: yaml.Node) -> Span:
    """A pair of a mapping, from its key to the end of its value."""
    if is_alias(key, value):
        return start_of(key), _alias(text, key).end(1)
    return start_of(key), end_of(text, value)


def is_alias(key: yaml.Node, value: yaml.Node) -> bool:
    """Whether the value of a key stands elsewhere: an alias is composed to what it names, with that one's place."""
    return start_of(value) < int(key.end_mark.index)


def is_block(node: yaml.Node) -> bool:
    """Whether a node is a list or mapping of indented lines."""
    return isinstance(node, yaml.CollectionNode) and not node.flow_style


def is_flow(node: yaml.Node) -> bool:
    """Whether a node is a list or mapping between brackets or braces."""
    return isinstance(node, yaml.CollectionNode) and bool(node.flow_style)


def style_of(node: yaml.Node) -> str | None:
    """The quotation mark of a quoted text; None of a plain one."""
    return node.style if isinstance(node, yaml.ScalarNode) else None


def colon_of(text: str, key: yaml.Node) -> int:
    """The place after the colon of a key."""
    match = _COLON.match(text, int(key.end_mark.index))
    if match is None:
        raise Unclear(f"line {key.start_mark.line + 1}: the key and its colon stand apart; write KEY: VALUE first")
    return match.end()


def with_value(text: str, key: yaml.Node, value: yaml.Node, new: str) -> list[Change]:
    """Another value for a key; a comment beside it stays."""
    colon = colon_of(text, key)
    if is_alias(key, value):
        return [Change(*_alias(text, key).span(1), new)]
    start, end = start_of(value), end_of(text, value)
    if start == end:
        return [Change(colon, colon, f" {new}")]
    if not is_block(value):
        return [Change(start, end, new)]
    if line_start(text, start) <= start_of(key):
        raise Unclear(f"line {key.start_mark.line + 1}: an anchor or tag stands before the value; edit it by hand")
    return [Change(colon, colon, f" {new}"), without_lines(text, line_start(text, start), line_end(text, end))]


def line_start(text: str, place: int) -> int:
    return text.rfind("\n", 0, place) + 1


def line_end(text: str, place: int) -> int:
    """The place after the line break that ends this place's line, or the end of the text."""
    return text.find("\n", place) + 1 or len(text)


def line_break(text: str) -> str:
    """The line break of a text: that of its first line."""
    return "\r\n" if _is_crlf(text, text.find("\n") + 1) else "\n"


def line_after(text: str, place: int, lines: str) -> Change:
    """Lines, without their last break, below the line of a place; a last line without a break stays without."""
    end = line_end(text, place)
    if text[end - 1 : end] == "\n":
        return Change(end, end, lines + ("\r\n" if _is_crlf(text, end) else "\n"))
    return Change(end, end, line_break(text) + lines)


def without_lines(text: str, start: int, end: int) -> Change:
    """Whole lines taken away; a last line without a break stays without."""
    if end == len(text) and not text.endswith("\n"):
        start = max(start - (2 if _is_crlf(text, start) else 1), 0)
    return Change(start, end)


def dash_of(text: str, item: yaml.Node) -> int:
    """The place of the dash of a list's item."""
    end = start_of(item)
    while True:
        start = line_start(text, end)
        before = _COMMENT.sub("", text[start:end]).rstrip()
        if before.lstrip() == "-":
            return start + len(before) - 1
        if before or not start:
            raise Unclear(
                f"line {item.start_mark.line + 1}: the item does not follow a dash on its own; edit it by hand"
            )
        end = start - 1


def own_lines(text: str, start: int, end: int, outer: int) -> Span:
    """The lines of an item with its own comments.

    Those are the comments directly above it, and those below it that are indented deeper than `outer`, the column of
    its dash. A comment above that is indented deeper belongs to the item before.
    """
    start, end = line_start(text, start), line_end(text, end)
    while start and _is_comment(line := text[(above := line_start(text, start - 1)) : start]):
        if _indent(line) > outer + 1:
            break
        start = above
    below = end
    while below < len(text):
        after = line_end(text, below)
        line = text[below:after]
        if _is_comment(line) and _indent(line) > outer:
            end = after
        elif line.strip():
            break
        below = after
    return start, end


def is_blank_above(text: str, start: int) -> bool:
    return start > 0 and not text[line_start(text, start - 1) : start].strip()


def is_blank_below(text: str, end: int) -> bool:
    return end < len(text) and not text[end : line_end(text, end)].strip()


def into_flow(text: str, span: Span, new: str) -> list[Change]:
    """One more member after this one, between brackets or braces: on a line of its own if this one has one."""
    start, end = span
    if not _has_own_lines(text, start, end):
        return [Change(end, end, f", {new}")]
    comma = _COMMA.match(text, end)
    indent = text[line_start(text, start) : start]
    if comma:
        return [line_after(text, comma.end(), f"{indent}{new},")]
    return [Change(end, end, ","), line_after(text, end, f"{indent}{new}")]


def out_of_flow(text: str, spans: Sequence[Span], index: int) -> Change:
    """One of several members between brackets or braces taken away, with its comma."""
    start, end = spans[index]
    if _has_own_lines(text, start, end):
        return without_lines(text, *own_lines(text, start, end, start - line_start(text, start)))
    if index + 1 < len(spans) and (comma := _COMMA.match(text, end)):
        after = comma.end()
        return Change(start, after + len(text[after:]) - len(text[after:].lstrip(" \t")))
    if index and "#" not in text[spans[index - 1][1] : start]:
        return Change(spans[index - 1][1], end)
    return Change(start, end)


def scalar(value: str, style: str | None = None) -> str:
    """A text as YAML, plain where that reads back as the same text, in whichever place; else, or so asked, quoted."""
    if style == "'" and value.isprintable():
        return "'" + value.replace("'", "''") + "'"
    if style not in ("'", '"') and _is_plain(value):
        return value
    return '"' + _ESCAPED.sub(_escape, value) + '"'


def _escape(match: re.Match[str]) -> str:
    return _ESCAPES.get(match[0]) or f"\\u{ord(match[0]):04x}"


def _is_plain(value: str) -> bool:
    """Whether a text can stand unquoted as a key and as a value, between braces too."""
    if not value.isprintable() or value.startswith(("---", "...")):
        return False
    try:
        root = yaml.compose(f"{{{value}: {value}}}", Loader=yaml.SafeLoader)
    except yaml.YAMLError:
        return False
    nodes = [node for pair in root.value for node in pair] if isinstance(root, yaml.MappingNode) else []
    return len(nodes) == 2 and all(
        isinstance(node, yaml.ScalarNode) and not node.style and (node.tag, node.value) == (_STR, value)
        for node in nodes
    )  # fmt: skip


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return list(node.value)


def _last_word(text: str, start: int, end: int) -> int:
    """The end of the last word between two places that stands in no comment: an alias, say, has no place of its own."""
    last = start
    while start < end:
        after = min(line_end(text, start), end)
        if said := _COMMENT.sub("", text[start:after]).rstrip():
            last = start + len(said)
        start = after
    return last


def _alias(text: str, key: yaml.Node) -> re.Match[str]:
    match = _ALIAS.match(text, colon_of(text, key))
    if match is None:
        raise Unclear(f"line {key.start_mark.line + 1}: the alias stands apart from its key; edit it by hand")
    return match


def _has_own_lines(text: str, start: int, end: int) -> bool:
    return not text[line_start(text, start) : start].strip() and _REST.match(text, end) is not None


def _is_crlf(text: str, end: int) -> bool:
    return text[max(end - 2, 0) : end] == "\r\n"


def _is_comment(line: str) -> bool:
    return line.lstrip().startswith("#")


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())
