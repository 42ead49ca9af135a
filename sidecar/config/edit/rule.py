"""What changes in the text of a mapping, in a file of its own or inline, when one of its rules does."""

import yaml

from sidecar.config.edit.source import MERGE, NULL, STR, Data, Pair, own
from sidecar.config.edit.text import (
    Change,
    Unclear,
    into_flow,
    is_flow,
    line_after,
    line_end,
    line_start,
    out_of_flow,
    pair_span,
    scalar,
    style_of,
    with_value,
    without_lines,
)
from sidecar.core.status import canonical


def rule_of(rules: yaml.Node, status: str) -> Pair | None:
    """The pair of a status that stands in a mapping itself, however it is spelled."""
    found = (pair for pair in rules.value if pair[0].tag != MERGE and canonical(str(pair[0].value).strip()) == status)
    return next(found, None)


def as_rule(said: Data, event: str | None) -> Data:
    if event is None:
        return NULL
    return {**said, "event": (STR, event)} if isinstance(said, dict) else (STR, event)


def ruling(text: str, key: yaml.Node, value: yaml.Node, event: str | None) -> list[Change]:
    if event is None:
        return with_value(text, key, value, "null")
    if isinstance(value, yaml.MappingNode):
        if (pair := own(value, "event")) is None:
            raise Unclear(f"line {key.start_mark.line + 1}: the rule's event comes in by a merge key; edit it by hand")
        key, value = pair
    return with_value(text, key, value, scalar(event, style_of(value)))


def adding(text: str, rules: yaml.Node, status: str, event: str | None) -> list[Change]:
    new = f"{scalar(status)}: {'null' if event is None else scalar(event)}"
    if not rules.value:
        inside = text.rindex("{", 0, rules.end_mark.index) + 1
        return [Change(inside, inside, new)]
    last = pair_span(text, *rules.value[-1])
    if is_flow(rules):
        return into_flow(text, last, new)
    return [line_after(text, last[1], " " * rules.value[0][0].start_mark.column + new)]


def unruling(text: str, rules: yaml.Node, pair: Pair) -> list[Change]:
    start, end = pair_span(text, *pair)
    if len(rules.value) == 1:
        return [Change(start, end, "" if is_flow(rules) else "{}")]
    if is_flow(rules):
        spans = [pair_span(text, *each) for each in rules.value]
        return [out_of_flow(text, spans, rules.value.index(pair))]
    return [without_lines(text, line_start(text, start), line_end(text, end))]
