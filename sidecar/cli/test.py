"""`capi-sidecar test`: the stories beside the configuration, told with it. Sends nothing and resolves no secret."""

import argparse
import difflib
import json
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from sidecar.cli.configuration import load_or_say
from sidecar.cli.exit import BAD_CONFIGURATION, FOUND, OK
from sidecar.cli.told import as_json
from sidecar.config.secrets import Resolve
from sidecar.config.shape import Note, Notes
from sidecar.config.story import FOLDER, read_stories, story_files
from sidecar.core.story import Told, tell

_NONE = "test: no story in {}; write one, or let capi-sidecar capture ID --write NAME make one of a stored postback"

#: Beginnings of a diff's lines, and their colours on a terminal.
_COLOURS = {"-": "\033[31m", "+": "\033[32m"}
_PLAIN = "\033[0m"


def run(options: argparse.Namespace) -> int:
    """Exit 0 when every story is true; 1 when one is not, or when there is none: nothing tested is not well."""
    configuration = load_or_say(options.config, resolve=Resolve.NOTHING)
    if configuration is None:
        return BAD_CONFIGURATION
    notes = Notes()
    files = options.files or story_files(options.config)
    stories = [story for file in files for story in read_stories(file, notes)]
    if notes.mistakes:
        _print_mistakes(sorted(notes.mistakes), options.json)
        return BAD_CONFIGURATION
    told = [tell(story, configuration) for story in stories]
    if options.json:
        print(json.dumps(_as_json(told)))
    elif told:
        print("\n".join(_lines(told, _is_coloured())))
    if not told:
        print(_NONE.format(", ".join(map(str, files)) or options.config / FOLDER), file=sys.stderr)
    return OK if told and all(each.is_true for each in told) else FOUND


def _print_mistakes(mistakes: Sequence[Note], for_machines: bool) -> None:
    if for_machines:
        print(json.dumps({"mistakes": [asdict(note) for note in mistakes]}))
    else:
        print("\n".join(map(str, mistakes)), file=sys.stderr)


def _as_json(told: Sequence[Told]) -> dict[str, Any]:
    stories = [
        {
            "name": each.story.name,
            "place": each.story.place,
            "passed": each.is_true,
            "expected": list(each.expected),
            "got": list(each.got),
            **as_json(each.decision),
        }
        for each in told
    ]
    passed = sum(each.is_true for each in told)
    return {"passed": passed, "failed": len(told) - passed, "stories": stories}


def _lines(told: Sequence[Told], coloured: bool) -> Iterator[str]:
    failed = [each for each in told if not each.is_true]
    for each in failed:
        yield f"{each.story.place}: {each.story.name}"
        for line in difflib.unified_diff(each.expected, each.got, "expected", "got", lineterm=""):
            if not line.startswith("@@"):
                yield f"  {_coloured(line) if coloured else line}"
        for line in each.decision.trace:
            yield f"    {line}"
    passed = f"{len(told) - len(failed)} passed"
    yield f"{len(failed)} failed, {passed}" if failed else passed


def _coloured(line: str) -> str:
    colour = _COLOURS.get(line[:1])
    return f"{colour}{line}{_PLAIN}" if colour else line


def _is_coloured() -> bool:
    """Only on a terminal, and not where https://no-color.org asks for none."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")
