"""`capi-sidecar integrations`: what Keitaro's list of integrations offers, done at the YAML files.

An edit is checked in full before it is put in place; the running daemon picks it up by itself.
"""

import argparse
import difflib
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import yaml

from sidecar.cli.client import NotRunning, reload
from sidecar.cli.exit import BAD_CONFIGURATION, FOUND, OK
from sidecar.cli.integrations_shown import list_all, show
from sidecar.config.edit import Edit, clone, delete, remove_rule, set_paused, set_rule
from sidecar.config.edit.file import NotPut, mistakes_of, put
from sidecar.config.edit.source import Declared, Source, Sources, data, sources
from sidecar.config.edit.text import Unclear
from sidecar.config.load import load, yaml_files
from sidecar.config.secrets import Resolve
from sidecar.config.shape import At, Note, suggestion

#: What `map` takes for no event, and for no line.
_NULL, _NO_LINE = "null", "-"


class Refused(Exception):
    """The command cannot be done; says why, and what to do."""


@dataclass(frozen=True)
class Planned:
    """The edits that a command asks for, and what it says when they are made or there is nothing to change."""

    edits: Sequence[Edit]
    made: str
    nothing: str


def run(options: argparse.Namespace) -> int:
    if options.verb in ("list", "show"):
        return list_all(options) if options.verb == "list" else show(options)
    try:
        read = sources({name: (options.config / name).read_bytes() for name in yaml_files(options.config)})
    except OSError:
        return _refuse(load(options.config, resolve=Resolve.NOTHING).notes.mistakes)
    if read.notes.mistakes:
        return _refuse(read.notes.mistakes)
    try:
        return _make(options, read, _VERBS[options.verb](options, read))
    except (Refused, NotPut) as error:
        print(f"integrations: {error}", file=sys.stderr)
        return FOUND


def _pause(options: argparse.Namespace, read: Sources) -> Planned:
    names = ", ".join(f'"{name}"' for name in options.name)
    again = f"capi-sidecar integrations resume {shlex.join(options.name)}"
    made = f"paused {names}: events are accepted and held until: {again}"
    return Planned(_paused(options, read, True), made, f"{names}: paused already")


def _resume(options: argparse.Namespace, read: Sources) -> Planned:
    names = ", ".join(f'"{name}"' for name in options.name)
    return Planned(_paused(options, read, False), f"resumed {names}", f"{names}: not paused")


def _paused(options: argparse.Namespace, read: Sources, paused: bool) -> list[Edit]:
    by_file: dict[str, list[Declared]] = {}
    for each in dict.fromkeys(options.name):
        found = _known(read, each)
        by_file.setdefault(found.source.name, []).append(found)
    default = read.by_default("paused")
    return [_edited(name, partial(set_paused, by_file[name], paused, default)) for name in by_file]


def _clone(options: argparse.Namespace, read: Sources) -> Planned:
    each = _known(read, options.name)
    if taken := read.integrations.get(options.new):
        raise Refused(f'an integration "{options.new}" stands in {taken.at.place} already; names are unique')
    edit = _edited(each.source.name, lambda: clone(each, options.new, read.by_default("paused")))
    why = "paused, since two of the same campaigns and pixel would send the same events"
    then = f"change it, then: capi-sidecar integrations resume {shlex.quote(options.new)}"
    return Planned([edit], f'cloned "{each.name}" as "{options.new}", {why}; {then}', "nothing to clone")


def _delete(options: argparse.Namespace, read: Sources) -> Planned:
    each = _known(read, options.name)
    edit = _edited(each.source.name, lambda: delete(each))
    held = "events that still wait for it are held; see: capi-sidecar status"
    return Planned([edit], f'deleted "{each.name}" ({each.at.place}); {held}', "nothing to delete")


def _map(options: argparse.Namespace, read: Sources) -> Planned:
    each = _known(read, options.name)
    rules = read.rules_of(each)
    if rules is None or not isinstance(rules.node, yaml.MappingNode):
        raise Refused(f'"{each.name}" ({each.at.place}) has no mapping; capi-sidecar check says more')
    origin = read.files[rules.file]
    edit = _edited(origin.name, lambda: _ruled(origin, rules, options.status, options.event))
    others = [] if edit.is_none else [name for name in _users(read, edit, rules) if name != each.name]
    if others and not options.shared:
        users = ", ".join(f'"{name}"' for name in others)
        raise Refused(f"the mapping in {rules.place} is that of {users} too; to change it for all, add --shared")
    now = "has no line any more" if options.event == _NO_LINE else f"is {options.event}"
    also = f", for {len(others)} other integrations too" if others else ""
    return Planned([edit], f"{options.status} {now} in {origin.name}{also}", f"{options.status}: it is so already")


def _ruled(origin: Source, rules: At, status: str, event: str) -> Edit:
    if event == _NO_LINE:
        return remove_rule(origin, rules, status)
    return set_rule(origin, rules, status, None if event == _NULL else event)


def _users(read: Sources, edit: Edit, rules: At) -> list[str]:
    """The integrations whose rules this edit of some rules changes: an anchor or merge key can carry them further."""
    found = {each.name: read.rules_of(each) for each in read.integrations.values()}
    instead = {id(rules.node): edit.text}
    return [name for name, at in found.items() if at and data(at.node) != data(at.node, instead)]


def _known(read: Sources, name: str) -> Declared:
    if name not in read.integrations:
        raise Refused(f'no integration "{name}"; {suggestion(name, read.integrations)}')
    return read.integrations[name]


def _edited(file: str, edit: Callable[[], Edit]) -> Edit:
    try:
        return edit()
    except Unclear as error:
        raise Refused(f"{file}: {error}") from None


def _make(options: argparse.Namespace, read: Sources, planned: Planned) -> int:
    """Checks the edits, puts them in place and shows what changed."""
    edits = [edit for edit in planned.edits if not edit.is_none]
    if not edits:
        print(f"integrations: {planned.nothing}; nothing to change", file=sys.stderr)
        return OK
    after = {edit.source.name: edit.source.content_of(edit.text) for edit in edits}
    if mistakes := mistakes_of({name: each.content for name, each in read.files.items()} | after):
        return _refuse(mistakes)
    follows = _daemon_follows(options)
    for edit in edits:
        path = options.config / edit.source.name
        if not options.dry_run:
            put(path, edit.source.content, after[edit.source.name])
        print(_diff(str(path), edit.source.text, edit.text), end="")
    if not options.dry_run:
        print(f"integrations: {planned.made}", file=sys.stderr)
        if follows:
            _take_up(options)
    return OK


def _daemon_follows(options: argparse.Namespace) -> bool:
    """Whether a daemon answers, and runs what stands in the files now: then an edit of ours is all that changes."""
    try:
        return reload(options, accept=False)["outcome"] in ("loaded", "unchanged")
    except (OSError, NotRunning, ValueError):
        return False


def _take_up(options: argparse.Namespace) -> None:
    """Who says by name what is to change is not asked again by the brake."""
    try:
        reload(options, accept=True)
    except (OSError, NotRunning, ValueError) as error:
        print(f"integrations: the daemon looks at it by itself, and the brake may ask ({error})", file=sys.stderr)


def _refuse(mistakes: Sequence[Note]) -> int:
    for note in mistakes:
        print(note, file=sys.stderr)
    print("integrations: nothing was changed, since the configuration would not be valid", file=sys.stderr)
    return BAD_CONFIGURATION


def _diff(name: str, before: str, after: str) -> str:
    lines = difflib.unified_diff(_lines(before), _lines(after), name, name)
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)


def _lines(text: str) -> list[str]:
    """Lines with their breaks; only a line feed ends one."""
    return [f"{line}\n" for line in text.split("\n")[:-1]] + ([last] if (last := text.rsplit("\n", 1)[-1]) else [])


_VERBS: dict[str, Callable[[argparse.Namespace, Sources], Planned]] = {
    "pause": _pause,
    "resume": _resume,
    "clone": _clone,
    "delete": _delete,
    "map": _map,
}
