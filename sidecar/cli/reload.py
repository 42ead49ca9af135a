"""`capi-sidecar reload`: looks at the configuration now, and answers with what became of it."""

import argparse
import json
import sys

from sidecar.cli.client import NotRunning, admin_token_file, reload
from sidecar.cli.exit import BAD_CONFIGURATION, FOUND, OK, USAGE

_EXIT = {"loaded": OK, "unchanged": OK, "refused": BAD_CONFIGURATION, "braked": FOUND}


def run(options: argparse.Namespace) -> int:
    try:
        verdict = reload(options, accept=options.accept)
    except OSError as error:
        path = admin_token_file(options)
        print(f"reload: {path}: {error.strerror}; --state or --admin-token names the daemon's", file=sys.stderr)
        return USAGE
    except (NotRunning, ValueError) as error:
        print(f"reload: {error}", file=sys.stderr)
        return FOUND
    if options.json:
        print(json.dumps(verdict))
    else:
        print(f"{verdict['outcome']}: {verdict['hash']} runs")
        for word in verdict["words"]:
            print(word)
        if verdict["outcome"] == "braked":
            print("reload: capi-sidecar plan shows what would change; reload --accept takes it", file=sys.stderr)
    return _EXIT[verdict["outcome"]]
