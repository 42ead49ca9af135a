"""`capi-sidecar plan`: what the files would change before they are in force. Changes nothing itself."""

import argparse
import io
import json
import re
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sidecar.cli.configuration import load_or_say
from sidecar.cli.exit import BAD_CONFIGURATION, FOUND, OK, USAGE
from sidecar.config.git import git_says
from sidecar.config.load import load
from sidecar.config.secrets import Resolve
from sidecar.core.configuration import DAY, Configuration
from sidecar.core.plan import Change, Effects, braked, changes, effects, missing_parameters
from sidecar.store.contract import StoreRefused
from sidecar.store.reading import read_seen
from sidecar.store.state import ACCEPTED, FILE

#: Postbacks of how many seconds are replayed, and how many of them at most.
_SINCE = 3 * DAY
_MOST = 20_000

#: What a configuration consists of.
_OWN_FILE = re.compile(r"integrations\.yaml|(integrations\.d|mappings)/[^/]+\.yaml")

_SIGNS = {"added": "+", "removed": "-", "altered": "~"}


class NothingToCompare(Exception):
    """There is no older configuration; the text says which were looked for."""


def run(options: argparse.Namespace) -> int:
    new = load_or_say(options.config, resolve=Resolve.NOTHING)
    if new is None:
        return BAD_CONFIGURATION
    with ExitStack() as stack:
        try:
            old = _old(options, stack)
            seen, scale = _seen(options.state / FILE)
        except (NothingToCompare, StoreRefused) as error:
            print(f"plan: {error}", file=sys.stderr)
            return USAGE
        except OSError as error:
            print(f"plan: {error.filename}: {error.strerror}; run it as the daemon's user", file=sys.stderr)
            return USAGE
    found = effects(old, new, seen)
    refused = braked(found, new, scale)
    differences = changes(old, new)
    if options.json:
        print(json.dumps(_as_json(differences, found, scale, refused, missing_parameters(old, new))))
    else:
        print("\n".join(_lines(differences, found, scale, refused, missing_parameters(old, new))))
    return FOUND if refused else OK


def _old(options: argparse.Namespace, stack: ExitStack) -> Configuration:
    """What to compare with: a git revision, else what the daemon accepted last, else the last commit."""
    directory = options.state / ACCEPTED
    if options.against or not directory.is_dir():
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        _check_out(options.config, options.against or "HEAD", directory)
    loaded = load(directory, resolve=Resolve.NOTHING)
    if loaded.configuration is None:
        raise NothingToCompare(f"the older configuration is not valid: {loaded.notes.mistakes[0]}")
    return loaded.configuration


def _check_out(directory: Path, revision: str, target: Path) -> None:
    """The configuration's own files as they stand in a revision."""
    try:
        tree = git_says(directory, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{tree}}")
        packed = git_says(directory, "archive", "--format=tar", tree.decode().strip())
        with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
            _extract(archive, git_says(directory, "rev-parse", "--show-prefix").decode().strip(), target)
    except (OSError, subprocess.SubprocessError, tarfile.TarError):
        raise NothingToCompare(
            f"no older configuration: the daemon has accepted none yet (--state), and git has no {revision} "
            f"of {directory}; --against names a revision"
        ) from None


def _extract(archive: tarfile.TarFile, prefix: str, target: Path) -> None:
    for member in archive:
        name = member.name.removeprefix(prefix)
        if member.isfile() and _OWN_FILE.fullmatch(name) and (file := archive.extractfile(member)):
            (target / name).parent.mkdir(exist_ok=True)
            (target / name).write_bytes(file.read())


def _seen(store: Path) -> Any:
    return read_seen(store, time.time() - _SINCE, "", _MOST) if store.exists() else ([], 1.0)


def _lines(
    differences: list[Change], found: Effects, scale: float, refused: list[str], missing: list[str]
) -> Iterator[str]:
    yield from map(_line, differences)
    if not differences:
        yield "nothing differs"
    yield f"{found.kinds.total() * scale:.0f} postbacks of the last {_SINCE / DAY:.0f} days, by the files as they are:"
    for kind, count in found.kinds.most_common():
        yield f"  {count * scale:>8.0f}  {kind}"
        yield from (f"            {example}" for example in found.examples.get(kind, ()))
    if missing:
        yield f"  without {', '.join(missing)}: new here, and no longer kept with stored postbacks"
    for words in refused:
        yield f"BRAKE {words}; the daemon will refuse it until capi-sidecar reload --accept"


def _line(change: Change) -> str:
    field = f" {change.field}: {change.old} -> {change.new}" if change.field else ""
    return f"{_SIGNS[change.what]} {change.name}{field}"


def _as_json(
    differences: list[Change], found: Effects, scale: float, refused: list[str], missing: list[str]
) -> dict[str, Any]:
    return {
        "changes": [asdict(change) for change in differences],
        "postbacks": dict(found.kinds),
        "each_stands_for": scale,
        "examples": found.examples,
        "missing_parameters": missing,
        "brake": refused,
    }
