"""`capi-sidecar replay`: postbacks that were not sent are decided once more, by the configuration of today."""

import argparse
import json
import sys
import time
from collections import Counter
from typing import Any

from sidecar.cli.clicks import completer
from sidecar.cli.client import NotRunning, Refused, act
from sidecar.cli.configuration import load_or_say
from sidecar.cli.exit import BAD_CONFIGURATION, FOUND, OK, USAGE
from sidecar.config.secrets import Resolve
from sidecar.config.shape import suggestion
from sidecar.core.advice import NEXT
from sidecar.core.configuration import Configuration
from sidecar.core.decide import decide
from sidecar.core.plan import Seen, absent_parameters
from sidecar.core.times import iso, parse_since
from sidecar.store.contract import StoreRefused
from sidecar.store.reading import read_replayable
from sidecar.store.state import FILE

#: Seconds that it may take: the daemon answers when all are decided.
_PATIENCE = 600.0


def run(options: argparse.Namespace) -> int:
    since = parse_since(options.since, time.time())
    if since is None:
        return _usage(f"--since {options.since}: write a duration back from now such as 2d, Unix seconds or ISO 8601")
    if options.reason and options.reason not in NEXT:
        return _usage(f'no reason "{options.reason}"; {suggestion(options.reason, NEXT)}')
    configuration = load_or_say(options.config, resolve=Resolve.NOTHING)
    if configuration is None:
        return BAD_CONFIGURATION
    try:
        found = read_replayable(options.state / FILE, since, options.reason or "")
    except (OSError, StoreRefused) as error:
        return _usage(f"{options.state}: {getattr(error, 'strerror', None) or error}")
    for name in absent_parameters(configuration, [seen.postback for seen, whole in found if not whole]):
        print(f"replay: no postback has {name}: not sent by the network, or not kept when it was decided; "
              "rules that read it do without", file=sys.stderr)  # fmt: skip
    try:
        done = _would_become([seen for seen, _ in found], configuration) if options.dry_run else act(
            options, "replay", {"since": since, "reason": options.reason or ""}, _PATIENCE)  # fmt: skip
    except (NotRunning, Refused, ValueError) as error:
        print(f"replay: {error}", file=sys.stderr)
        return FOUND
    if options.json:
        print(json.dumps(done | {"since": since, "dry_run": options.dry_run}))
    else:
        _print(done, since, options.dry_run)
    return OK


def _would_become(seen: list[Seen], configuration: Configuration) -> dict[str, Any]:
    """What the files as they are make of each; an event that already stands for a pixel would not be sent again."""
    complete, now = completer(configuration), time.time()
    decisions = (decide(each.postback, complete(each.postback, each.click), configuration, now) for each in seen)
    became = Counter((each.decision, each.reason) for each in decisions)
    return {
        "replayed": len(seen),
        "became": [
            {"state": "", "decision": decision, "reason": reason, "count": count}
            for (decision, reason), count in became.most_common()
        ],
    }


def _print(done: dict[str, Any], since: float, dry_run: bool) -> None:
    would = "would be" if dry_run else "were"
    print(f"{done['replayed']} postbacks since {iso(since)} {would} decided once more:")
    for each in done["became"]:
        words = f"{each['decision']} {each['reason']}".strip() if each["state"] != "undecided" else "not decided yet"
        print(f"  {each['count']:>8}  {words}")


def _usage(words: str) -> int:
    print(f"replay: {words}", file=sys.stderr)
    return USAGE
