"""Prints capi-sidecar(1): what the commands say of themselves, and where things lie on a Debian system."""

import argparse
from collections.abc import Iterator

import sidecar
from sidecar.cli.main import _parser

_FILES = {
    "/etc/capi-sidecar/integrations.yaml": "which campaigns report to which pixel; further files in integrations.d, "
    "mappings in mappings, stories in tests",
    "/etc/capi-sidecar/secrets": "tokens and passwords, a file each, readable for the group capi-sidecar",
    "/etc/default/capi-sidecar": "options of the service and of the command",
    "/var/lib/capi-sidecar": "the store; of the user capi-sidecar alone",
    "/var/log/capi-sidecar/journal.ndjson": "what Nginx writes: each click, each postback",
    "/usr/share/capi-sidecar/nginx": "what Nginx includes",
    "/usr/share/doc/capi-sidecar/docs/operations.md": "what to do when something is wrong",
}

#: Options that every command takes.
_COMMON = ("--config", "--state", "--journal", "--admin")


def main() -> None:
    print("\n".join(page(_parser())))


def page(parser: argparse.ArgumentParser) -> Iterator[str]:
    """The page's lines in roff, for man(7)."""
    yield f'.TH CAPI-SIDECAR 1 "" "capi-sidecar {sidecar.__version__}"'
    yield from (".SH NAME", r"capi-sidecar \- " + _text(_lowered(parser.description)))
    yield from (".SH SYNOPSIS", r".B capi-sidecar", ".I COMMAND", "[options]")
    yield from (".SH DESCRIPTION", _text(str(parser.description)))
    yield _text("Rows go to standard output, remarks to standard error. A command that needs the running daemon")
    yield _text("asks it at its admin address; for what is guarded there it must be able to read the admin token.")
    yield ".SH COMMANDS"
    commands = _commands(parser)
    for name, command in commands.items():
        yield from _command(name, command)
    yield from (".SH OPTIONS", "Every command takes:")
    yield from _options(next(iter(commands.values())), common=True)
    yield from (".SH FILES", *_listed(_FILES))
    yield from (".SH EXIT STATUS AND ENVIRONMENT", _text(str(parser.epilog)))
    yield from (".SH SEE ALSO", r"systemctl(1), journalctl(1); the files in /usr/share/doc/capi\-sidecar")


def _command(name: str, parser: argparse.ArgumentParser) -> Iterator[str]:
    """A command with its own options; one that has verbs is told verb by verb."""
    if verbs := _commands(parser):
        for verb, each in verbs.items():
            yield from _command(f"{name} {verb}", each)
        return
    words = [_named(action) for action in parser._actions if not action.option_strings]
    yield from (".TP", f".B {_text(' '.join((name, *words)))}", _text(_sentence(parser)))
    if any(_is_shown(action, common=False) for action in parser._actions):
        yield from (".RS", *_options(parser, common=False), ".RE")


def _options(parser: argparse.ArgumentParser, common: bool) -> Iterator[str]:
    rows = {_named(action): action.help or "" for action in parser._actions if _is_shown(action, common)}
    yield from _listed(rows)


def _is_shown(action: argparse.Action, common: bool) -> bool:
    is_common = any(option in _COMMON for option in action.option_strings)
    return action.help is not None and "-h" not in action.option_strings and is_common == common


def _named(action: argparse.Action) -> str:
    """`--since T`, `NAME`, `[FILE...]`"""
    value = str(action.metavar or "|".join(action.choices or ()) or action.dest.upper())
    if action.option_strings:
        return action.option_strings[0] + (f" {value}" if action.nargs != 0 else "")
    return {"?": f"[{value}]", "*": f"[{value}...]", "+": f"{value}..."}.get(str(action.nargs), value)


def _commands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def _listed(rows: dict[str, str]) -> Iterator[str]:
    for name, meaning in rows.items():
        yield from (".TP", f".B {_text(name)}", _text(meaning))


def _sentence(parser: argparse.ArgumentParser) -> str:
    return str(parser.description).replace("?.", "?")


def _lowered(text: str | None) -> str:
    return f"{text}".rstrip(".")[:1].lower() + f"{text}".rstrip(".")[1:]


def _text(text: str) -> str:
    """A line as roff takes it: no hyphen becomes a dash, no leading dot a request. Source: man(7), groff_char(7)."""
    escaped = text.replace("\\", r"\e").replace("-", r"\-").replace("%%", "%")
    return rf"\&{escaped}" if escaped.startswith((".", "'")) else escaped


if __name__ == "__main__":
    main()
