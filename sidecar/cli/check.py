"""`capi-sidecar check`: is the configuration valid?"""

import argparse
import json
import sys
from dataclasses import asdict

from sidecar.cli.exit import BAD_CONFIGURATION, FOUND, OK, USAGE
from sidecar.config.load import UNREADABLE, Loaded, load
from sidecar.config.secrets import Resolve
from sidecar.config.shape import Note

_KEITARO = "switch off Keitaro's own Facebook Conversions integration for the same campaigns, or events are sent twice"


def run(options: argparse.Namespace) -> int:
    if options.online and not (options.graph or "https://").startswith(("http://", "https://")):
        print("check: --graph: a URL such as http://127.0.0.1:8192 is needed", file=sys.stderr)
        return USAGE
    loaded = load(options.config, resolve=Resolve.ALL)
    notes = loaded.notes
    needs_secrets = options.secrets or options.online
    _soften(notes.mistakes, notes.findings if needs_secrets else notes.remarks)
    if not needs_secrets:
        _soften(notes.findings, notes.remarks)
    summary = _ask(loaded, options.graph) if options.online else ""
    if options.json:
        print(json.dumps({kind: [asdict(note) for note in listed] for kind, listed in vars(notes).items()}))
    else:
        for note in (*notes.mistakes, *notes.findings):
            print(note)
        for note in notes.remarks:
            print(f"remark: {note}", file=sys.stderr)
        if not notes.mistakes:
            print(f"remark: {_KEITARO}", file=sys.stderr)
    if summary:
        print(summary, file=sys.stderr)
    return BAD_CONFIGURATION if notes.mistakes else FOUND if notes.findings else OK


def _ask(loaded: Loaded, graph: str | None) -> str:
    """Imported only now: without --online a check needs none of it, and answers at once."""
    from sidecar.cli.online import look

    return look(loaded.configuration, loaded.notes, graph)


def _soften(notes: list[Note], others: list[Note]) -> None:
    """Secrets are often readable only by the service: here an unreadable one says nothing against the configuration."""
    others += [note for note in notes if note.message.startswith(UNREADABLE)]
    notes[:] = [note for note in notes if not note.message.startswith(UNREADABLE)]
