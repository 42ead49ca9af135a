"""`capi-sidecar reload`: looks at the configuration now, and answers with what became of it."""

import argparse
import json
import sys
from pathlib import Path

from sidecar.cli.client import NotRunning, ask
from sidecar.cli.exit import BAD_CONFIGURATION, FOUND, OK, USAGE

_EXIT = {"loaded": OK, "unchanged": OK, "refused": BAD_CONFIGURATION, "braked": FOUND}


def run(options: argparse.Namespace) -> int:
    path = Path(options.admin_token or options.state / "admin.token")
    try:
        token = path.read_text().strip()
        verdict = ask(options.admin, "/api/reload" + "?accept" * options.accept, method="POST", token=token)
    except OSError as error:
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
