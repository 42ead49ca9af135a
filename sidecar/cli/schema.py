"""`capi-sidecar schema`: what may stand in a file, as JSON Schema, so that editors complete and check as one types."""

import argparse
import json

from sidecar.cli.exit import OK
from sidecar.config.declaration import further_file, main_file, rules
from sidecar.config.shape import document
from sidecar.config.story import stories

#: The kinds of files, each with its shape and title.
FILES = {
    "integrations": (main_file, "capi-sidecar: integrations.yaml"),
    "further": (further_file, "capi-sidecar: integrations.d/*.yaml"),
    "mapping": (rules, "capi-sidecar: mappings/*.yaml"),
    "test": (stories, "capi-sidecar: tests/*.yaml"),
}


def run(options: argparse.Namespace) -> int:
    print(json.dumps(document(*FILES[options.file]), indent=2, ensure_ascii=False))
    return OK
