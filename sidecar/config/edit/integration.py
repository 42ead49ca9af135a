"""What changes in the text of a file when one of its integrations is paused, cloned or deleted."""

import yaml

from sidecar.config.edit.source import Declared, Pair, Source, merged, own
from sidecar.config.edit.text import (
    Change,
    Span,
    Unclear,
    changed,
    colon_of,
    dash_of,
    end_of,
    into_flow,
    is_alias,
    is_blank_above,
    is_blank_below,
    is_block,
    is_flow,
    line_after,
    line_break,
    line_end,
    line_start,
    out_of_flow,
    own_lines,
    pair_span,
    scalar,
    start_of,
    style_of,
    with_value,
    without_lines,
)
from sidecar.config.shape import At, flag

#: Marks a line that `pause` or `resume` put in; the other of the two takes it away again.
MARK = "  # by capi-sidecar"


def word_of(paused: bool) -> str:
    return "true" if paused else "false"


def pausing(text: str, at: At, paused: bool, by_default: At | None) -> list[Change]:
    by_merge = next((at.child(value, "") for key, value in merged(at) if key.value == "paused"), by_default)
    without = by_merge is not None and flag(by_merge) is True
    pair = own(at.node, "paused")
    if pair is None:
        return [] if without is paused else [_pause_added(text, at.node, paused)]
    if flag(at.child(pair[1], "")) is paused:
        return []
    if without is paused and (change := _pause_taken_away(text, at.node, not paused)):
        return [change]
    return with_value(text, *pair, word_of(paused))


def _pause_added(text: str, node: yaml.Node, paused: bool) -> Change:
    if is_flow(node):
        first = start_of(node.value[0][0])
        return Change(first, first, f"paused: {word_of(paused)}, ")
    key, value = _name_of(node)
    return line_after(text, pair_span(text, key, value)[1], _pause_line(key, paused))


def _pause_taken_away(text: str, node: yaml.Node, was: bool) -> Change | None:
    """What `_pause_added` added, taken away; None when it was not added so."""
    keys = [key for key, _ in node.value]
    place = start_of(next(key for key in keys if key.value == "paused"))
    if is_flow(node):
        added = keys[0].value == "paused" and len(keys) > 1 and text[place : start_of(keys[1])]
        return Change(place, start_of(keys[1])) if added == f"paused: {word_of(was)}, " else None
    start, end = line_start(text, place), line_end(text, place)
    line = text[start:end].rstrip("\r\n")
    return without_lines(text, start, end) if line == _pause_line(_name_of(node)[0], was) else None


def _pause_line(name: yaml.Node, paused: bool) -> str:
    return f"{' ' * name.start_mark.column}paused: {word_of(paused)}{MARK}"


def _name_of(node: yaml.Node) -> Pair:
    pair = own(node, "name")
    if pair is None:
        raise Unclear(f"line {node.start_mark.line + 1}: the name comes in by a merge key; write it here first")
    return pair


def _place(origin: Source) -> Pair:
    """The key `integrations` with its value: a list, or a lone integration."""
    pair = own(origin.at.node, "integrations")
    if pair is None or is_alias(*pair):
        raise Unclear("integrations come in by an alias or merge key; edit them by hand")
    return pair


def _is_lone(each: Declared) -> bool:
    return not isinstance(_place(each.source)[1], yaml.SequenceNode)


def _lines(each: Declared) -> Span:
    """The lines of an integration in block style, with its own comments."""
    text, node = each.source.text, each.at.node
    first = start_of(node.value[0][0]) if _is_lone(each) else dash_of(text, node)
    column = first - line_start(text, first)
    return own_lines(text, first, end_of(text, node), column - 1 if _is_lone(each) else column)


def _spans(each: Declared) -> list[Span]:
    """The members of a list in flow style."""
    items = _place(each.source)[1].value
    spans = [(start_of(item), end_of(each.source.text, item)) for item in items]
    if spans != sorted(spans):
        raise Unclear("an alias stands among the integrations; edit them by hand")
    return spans


def cloning(each: Declared, name: str) -> list[Change]:
    text = each.source.text
    place = _place(each.source)[1]
    if is_block(place):
        start, end = _lines(each)
        copy = _copy(each, name, start, end)
        return [_lone_cloned(each, copy) if _is_lone(each) else _lines_cloned(each, copy)]
    start, end = _spans(each)[each.index] if not _is_lone(each) else (start_of(place), end_of(text, place))
    copy = _copy(each, name, start, end)
    if _is_lone(each):
        return [Change(start, end, f"[{text[start:end]}, {copy}]")]
    return into_flow(text, (start, end), copy)


def _copy(each: Declared, name: str, start: int, end: int) -> str:
    text = each.source.text
    key, value = _name_of(each.at.node)
    renamed = with_value(text, key, value, scalar(name, style_of(value)))
    return changed(text[start:end], [Change(each.start - start, each.end - start, each.new) for each in renamed])


def _lines_cloned(each: Declared, copy: str) -> Change:
    """Lines below the original's, as far from it as that is from its neighbour."""
    text = each.source.text
    start, end = _lines(each)
    is_last = each.index + 1 == len(_place(each.source)[1].value)
    gap = is_blank_above(text, start) if is_last else is_blank_below(text, end)
    breaks = line_break(text) * (gap + (text[end - 1] != "\n"))
    return Change(end, end, breaks + copy)


def _lone_cloned(each: Declared, copy: str) -> Change:
    """A lone integration and its copy as a list of two, indented to be one."""
    text = each.source.text
    start, end = _lines(each)
    first = start_of(each.at.node.value[0][0])
    row, column = text.count("\n", start, first), first - line_start(text, first)
    between = "" if text[end - 1] == "\n" else line_break(text)
    return Change(start, end, between.join(_as_item(lines, row, column) for lines in (text[start:end], copy)))


def _as_item(lines: str, row: int, column: int) -> str:
    indented = [f"  {line}" if line.strip() else line for line in lines.split("\n")]
    indented[row] = f"{' ' * column}- {indented[row][column + 2 :]}"
    return "\n".join(indented)


def deleting(each: Declared) -> list[Change]:
    text = each.source.text
    key, place = _place(each.source)
    is_only = _is_lone(each) or len(place.value) == 1
    if not is_block(place):
        return with_value(text, key, place, "[]") if is_only else [out_of_flow(text, _spans(each), each.index)]
    start, end = _lines(each)
    if is_only:
        colon = colon_of(text, key)
        return [Change(colon, colon, " []"), without_lines(text, start, end)]
    return [without_lines(text, *_with_gap(text, start, end, each.index == 0, each.index + 1 == len(place.value)))]


def _with_gap(text: str, start: int, end: int, is_first: bool, is_last: bool) -> Span:
    """Lines with the blank ones that keep them apart: from the item before if they are the last, else from the next."""
    if is_last:
        while is_blank_above(text, start):
            start = line_start(text, start - 1)
    elif is_first or is_blank_above(text, start):
        while is_blank_below(text, end):
            end = line_end(text, end)
    return start, end
