"""logrotate's rules, and the traps of rotating the journal.

Source: logrotate(8); what each way loses was measured: rename and USR1 0 lines, compression at once 25 of 2,400,
copytruncate 26 of 3,000 and 668 while the reader is down.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import PurePath

from sidecar.doctor.finding import Found, Severity, Trap

#: Sections whose lines are a shell's.
_SCRIPTS = frozenset({"postrotate", "prerotate", "firstaction", "lastaction", "preremove"})

#: What tells Nginx's workers to open their logs again.  A reload does too.
_REOPENS = re.compile(r"USR1|-s\s+(reopen|reload)|nginx\s+(rotate|reopen|reload)|reload\s+nginx|HUP")


@dataclass(frozen=True, slots=True)
class Line:
    """A word with its arguments where it stands."""

    name: str
    arguments: tuple[str, ...]
    place: str


@dataclass(frozen=True)
class Rule:
    """How some files are rotated: its own lines, and before them those that hold for all; scripts as text."""

    patterns: tuple[str, ...]
    place: str
    lines: tuple[Line, ...]
    scripts: Mapping[str, str] = field(default_factory=dict)

    def last(self, *names: str) -> Line | None:
        """The line that decides among these: the last one."""
        return next((each for each in reversed(self.lines) if each.name in names), None)

    def concerns(self, path: str) -> bool:
        """Whether it rotates a file; `*` does not go over a slash."""
        return any(PurePath(path).match(each) if "/" in each else fnmatch(path, each) for each in self.patterns)


@dataclass(frozen=True)
class Rotation:
    """What logrotate is told, and the journals that Nginx writes."""

    rules: tuple[Rule, ...]
    journals: tuple[str, ...]

    @property
    def ours(self) -> Iterator[Rule]:
        return (each for each in self.rules if any(map(each.concerns, self.journals)))


def parse_logrotate(texts: Mapping[str, str]) -> tuple[Rule, ...]:
    """The rules of files by their paths; words outside of a rule hold for those after them, in other files too."""
    shared: list[Line] = []
    rules: list[Rule] = []
    for path, text in texts.items():
        rules += _rules(path, text, shared)
    return tuple(rules)


def _rules(path: str, text: str, shared: list[Line]) -> Iterator[Rule]:
    patterns: list[str] = []
    rule: Rule | None = None
    script = ""
    for number, line in enumerate(text.splitlines(), 1):
        place = f"{path}:{number}"
        words = _words(line)
        if script and rule is not None:
            if words[:1] == ["endscript"]:
                script = ""
            else:
                rule = _with_script(rule, script, line)
            continue
        if not words:
            continue
        if rule is None and ("{" in words or words[0].startswith(("/", '"', "'")) or "*" in words[0]):
            patterns += [each.strip("\"'") for each in words if each != "{"]
            if "{" in words:
                rule, patterns = Rule(tuple(patterns), place, tuple(shared)), []
        elif rule is not None and words[0] == "}":
            yield rule
            rule = None
        elif words[0] in _SCRIPTS and rule is not None:
            script = words[0]
        else:
            said = Line(words[0], tuple(words[1:]), place)
            if rule is None:
                shared.append(said)
            else:
                rule = Rule(rule.patterns, rule.place, (*rule.lines, said), rule.scripts)


def _words(line: str) -> list[str]:
    return [] if line.lstrip().startswith("#") else line.replace("{", " { ").replace("=", " ").split()


def _with_script(rule: Rule, name: str, line: str) -> Rule:
    text = rule.scripts.get(name, "") + line + "\n"
    return Rule(rule.patterns, rule.place, rule.lines, {**rule.scripts, name: text})


def _missing(rotation: Rotation) -> Iterator[Found]:
    for journal in rotation.journals:
        if not any(rule.concerns(journal) for rule in rotation.rules):
            yield Found(journal, "no rule of logrotate names the journal")


def _copies(rotation: Rotation) -> Iterator[Found]:
    for rule in rotation.ours:
        line = rule.last("copytruncate", "nocopytruncate")
        if line and line.name == "copytruncate":
            yield Found(line.place, "the journal is copied and cut")


def _compresses(rotation: Rotation) -> Iterator[Found]:
    for rule in rotation.ours:
        if (line := _compression(rule)) and not _is_delayed(rule):
            yield Found(line.place, "the journal is compressed as it is rotated")


def _compresses_later(rotation: Rotation) -> Iterator[Found]:
    for rule in rotation.ours:
        if (line := _compression(rule)) and _is_delayed(rule):
            yield Found(line.place, "an older journal is compressed one rotation later")


def _does_not_reopen(rotation: Rotation) -> Iterator[Found]:
    for rule in rotation.ours:
        scripts = "".join(rule.scripts.get(name, "") for name in ("postrotate", "lastaction"))
        if not _REOPENS.search(scripts) and not _is_copied(rule):
            yield Found(rule.place, "nobody tells Nginx that the journal was renamed")


def _does_not_create(rotation: Rotation) -> Iterator[Found]:
    for rule in rotation.ours:
        line = rule.last("create", "nocreate")
        if not _is_copied(rule) and (line is None or line.name == "nocreate"):
            yield Found(line.place if line else rule.place, "the new journal is made by Nginx, with mode 0644")


def _creates_for_all(rotation: Rotation) -> Iterator[Found]:
    for rule in rotation.ours:
        line = rule.last("create", "nocreate")
        mode = line.arguments[0] if line and line.name == "create" and line.arguments else ""
        if line and re.fullmatch(r"[0-7]{3,4}", mode) and int(mode, 8) & 0o007:
            yield Found(line.place, f"everybody on this machine may use the new journal: mode {mode}")


def _compression(rule: Rule) -> Line | None:
    line = rule.last("compress", "nocompress")
    return line if line and line.name == "compress" else None


def _is_delayed(rule: Rule) -> bool:
    line = rule.last("delaycompress", "nodelaycompress")
    return line is not None and line.name == "delaycompress"


def _is_copied(rule: Rule) -> bool:
    line = rule.last("copytruncate", "nocopytruncate")
    return line is not None and line.name == "copytruncate"


_CREATE = "create 0640 www-data capi-sidecar"

LOGROTATE: tuple[Trap[Rotation], ...] = (
    Trap("logrotate-missing", Severity.REMARK, _missing,
         "the journal grows until the disk is full, and keeps its customers' data for ever",
         "capi-sidecar init nginx; cp /etc/nginx/capi-sidecar/logrotate /etc/logrotate.d/capi-sidecar"),
    Trap("logrotate-copytruncate", Severity.WRONG, _copies,
         "what is written between copying and cutting is lost: 26 of 3,000 lines, 668 while the sidecar was down",
         "nocopytruncate"),
    Trap("logrotate-compress", Severity.WRONG, _compresses,
         "the workers write the old file until they are told, and the sidecar reads no compressed one: 25 of 2,400 "
         "lines were lost",
         "nocompress"),
    Trap("logrotate-delaycompress", Severity.REMARK, _compresses_later,
         "it lost nothing, but a sidecar that is down for longer than a rotation cannot read what is compressed",
         "nocompress"),
    Trap("logrotate-reopen", Severity.WRONG, _does_not_reopen,
         "Nginx goes on writing the renamed file, and then the removed one",
         "postrotate\n    [ ! -e /run/nginx.pid ] || kill -USR1 $(cat /run/nginx.pid)\nendscript"),
    Trap("logrotate-create", Severity.WRONG, _does_not_create,
         "the journal holds e-mails, addresses and the postback key",
         _CREATE),
    Trap("logrotate-mode", Severity.WRONG, _creates_for_all,
         "the journal holds e-mails, addresses and the postback key",
         _CREATE),
)  # fmt: skip
