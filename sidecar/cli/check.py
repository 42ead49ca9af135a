"""`capi-sidecar check`: is the configuration valid?"""

import argparse
import json
import sys
from dataclasses import asdict

from sidecar.cli.exit import BAD_CONFIGURATION, FOUND, OK
from sidecar.config.load import UNREADABLE, load
from sidecar.config.secrets import Resolve
from sidecar.config.shape import Note

_KEITARO = "switch off Keitaro's own Facebook Conversions integration for the same campaigns, or events are sent twice"


def run(options: argparse.Namespace) -> int:
    notes = load(options.config, resolve=Resolve.ALL).notes
    _soften(notes.mistakes, notes.findings if options.secrets else notes.remarks)
    if not options.secrets:
        _soften(notes.findings, notes.remarks)
    if options.json:
        print(json.dumps({kind: [asdict(note) for note in listed] for kind, listed in vars(notes).items()}))
    else:
        for note in (*notes.mistakes, *notes.findings):
            print(note)
        for note in notes.remarks:
            print(f"remark: {note}", file=sys.stderr)
        if not notes.mistakes:
            print(f"remark: {_KEITARO}", file=sys.stderr)
    return BAD_CONFIGURATION if notes.mistakes else FOUND if notes.findings else OK


def _soften(notes: list[Note], others: list[Note]) -> None:
    """Secrets are often readable only by the service: here an unreadable one says nothing against the configuration."""
    others += [note for note in notes if note.message.startswith(UNREADABLE)]
    notes[:] = [note for note in notes if not note.message.startswith(UNREADABLE)]
