"""Edits of the YAML files, made in their text: what is not asked for stays as it is, byte for byte.

An edit is a few changes at the places of the nodes that it concerns. Its result is read again, and must differ from
what was there in what was asked for and in nothing else: where an anchor or a merge key would carry an edit further, or
the text is written in an unforeseen way, it raises Unclear and there is no result.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sidecar.config.edit.integration import cloning, deleting, pausing, word_of
from sidecar.config.edit.rule import adding, as_rule, rule_of, ruling, unruling
from sidecar.config.edit.source import BOOL, STR, Data, Declared, Source, Sources, data, merged, source
from sidecar.config.edit.text import Change, Unclear, changed
from sidecar.config.shape import At, Notes, flag
from sidecar.core.status import canonical

_IN_THE_WAY = "an anchor, a merge key or the way in which it is written stands in the way of this edit"

_LONE_RETURN = re.compile(r"\r(?!\n)")


@dataclass(frozen=True)
class Edit:
    """A file with another text; the same one where there was nothing to change."""

    source: Source
    text: str

    @property
    def is_none(self) -> bool:
        return self.text == self.source.text


def set_paused(targets: Sequence[Declared], paused: bool, by_default: At | None) -> Edit:
    """Integrations of one file paused, or resumed; `by_default` is what `defaults` say of it.

    Where no `paused` stands, one is added: in block style as a line below the name, with MARK; in flow style as the
    first key. What was added so is taken away when the other is asked for. Any other `paused` was written by people: it
    stays and changes its word.
    """
    origin = targets[0].source
    made = {each.index: pausing(origin.text, each.at, paused, by_default) for each in targets}
    wanted = _integrations(origin)
    for index in made:
        if made[index]:
            wanted[index] = {**wanted[index], "paused": (BOOL, word_of(paused))}
    changes = [change for each in made.values() for change in each]
    return _checked(origin, changes, wanted, by_default={"paused": _paused_by(by_default)})


def clone(each: Declared, name: str, by_default: At | None) -> Edit:
    """A copy with all keys and comments below the original, under another name and paused.

    Of the same campaigns and pixel only one may send.
    """
    wanted = _integrations(each.source)
    wanted.insert(each.index + 1, {**wanted[each.index], "name": (STR, name)})
    copied = _checked(each.source, cloning(each, name), wanted)
    now = _again(each.source, copied.text)
    copy = Sources({now.name: now}).integrations[name]
    return Edit(each.source, set_paused([copy], True, by_default).text)


def delete(each: Declared) -> Edit:
    """An integration taken away with its comments: those directly above, and those indented below it."""
    wanted = _integrations(each.source)
    del wanted[each.index]
    return _checked(each.source, deleting(each), wanted)


def set_rule(origin: Source, rules: At, status: str, event: str | None) -> Edit:
    """A status becomes this event, or null; a rule in long form keeps its other keys."""
    status = canonical(status.strip())
    pair = rule_of(rules.node, status)
    said = data(rules.node)
    name = pair[0].value if pair else next((key for key in said if canonical(key.strip()) == status), status)
    wanted = as_rule(said.get(name), event)
    if said.get(name) == wanted:
        return Edit(origin, origin.text)
    changes = ruling(origin.text, *pair, event) if pair else adding(origin.text, rules.node, name, event)
    return _checked(origin, changes, instead={id(rules.node): {**said, name: wanted}})


def remove_rule(origin: Source, rules: At, status: str) -> Edit:
    """The line of a status taken away."""
    status = canonical(status.strip())
    pair = rule_of(rules.node, status)
    if pair is None:
        if by_merge := next((key for key, _ in merged(rules) if canonical(str(key.value).strip()) == status), None):
            line = by_merge.start_mark.line + 1
            raise Unclear(f'line {line}: "{status}" comes in by a merge key; take it away there, or map it to null')
        return Edit(origin, origin.text)
    wanted = data(rules.node)
    del wanted[pair[0].value]
    return _checked(origin, unruling(origin.text, rules.node, pair), instead={id(rules.node): wanted})


def _checked(
    origin: Source,
    changes: Sequence[Change],
    integrations: list[Data] | None = None,
    *,
    instead: Mapping[int, Data] | None = None,
    by_default: Mapping[str, Data] | None = None,
) -> Edit:
    """The changes made, if what is then said is what was said with these integrations and these nodes instead.

    An integration that says nothing of a key `by_default` says that.
    """
    if _LONE_RETURN.search(origin.text):
        raise Unclear("a line ends in a carriage return alone; write line feeds first")
    text = changed(origin.text, changes)
    expected = data(origin.at.node, instead)
    if integrations is not None:
        expected["integrations"] = integrations
    found = data(_again(origin, text).at.node)
    for said in (expected, found):
        if "integrations" in said:
            said["integrations"] = [_with(by_default or {}, each) for each in _listed(said["integrations"])]
    if found != expected:
        raise Unclear(f"{_carried(expected, found)}; edit it by hand")
    return Edit(origin, text)


def _with(by_default: Mapping[str, Data], said: Data) -> Data:
    return {**by_default, **said} if isinstance(said, dict) else said


def _paused_by(by_default: At | None) -> Data:
    return (BOOL, word_of(by_default is not None and flag(by_default) is True))


def _again(origin: Source, text: str) -> Source:
    notes = Notes()
    now = source(origin.name, origin.content_of(text), notes)
    if now is None:
        raise Unclear(f"{_IN_THE_WAY} ({notes.mistakes[0].message}); edit it by hand")
    return now


def _carried(expected: Data, found: Data) -> str:
    """Why an edit was more or less than what was asked for."""
    both = zip(expected.get("integrations", []), found.get("integrations", []), strict=False)
    others = [f'"{one["name"][1]}"' for one, other in both if one != other and isinstance(one, dict) and "name" in one]
    if others:
        return f"an anchor or merge key would carry this edit into {', '.join(others)} too"
    return _IN_THE_WAY


def _listed(said: Data) -> list[Data]:
    return said if isinstance(said, list) else [said]


def _integrations(origin: Source) -> list[Data]:
    return list(_listed(data(origin.at.node)["integrations"]))
