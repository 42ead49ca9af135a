"""`capi-sidecar run`: the daemon."""

import argparse
import asyncio
import os
import sys
from pathlib import Path

from sidecar import log
from sidecar.cli.exit import BAD_CONFIGURATION, FOUND, OK, USAGE
from sidecar.config.load import Loaded, load
from sidecar.config.secrets import Resolve
from sidecar.net import inherited, parse_address
from sidecar.store.contract import StoreRefused


def run(options: argparse.Namespace) -> int:
    try:
        formatter = log.start(options.log, options.log_level)
    except ValueError as error:
        print(f"run: {error}", file=sys.stderr)
        return USAGE
    from sidecar.app.daemon import serve
    from sidecar.app.settings import Settings

    if options.sandbox and options.graph:
        print("run: --sandbox answers in Meta's place, --graph sends elsewhere; give one of them", file=sys.stderr)
        return USAGE
    try:
        settings = Settings(
            config=options.config,
            state=options.state,
            journals=tuple(Path(journal) for journal in options.journal if journal),
            intake=inherited(os.environ, os.getpid()) or parse_address(options.intake),
            admin=parse_address(options.admin),
            graph=_graph(options.graph),
            sandbox=options.sandbox,
            admin_token=Path(options.admin_token) if options.admin_token else options.state / "admin.token",
        )
    except ValueError as error:
        print(f"run: {error}", file=sys.stderr)
        return USAGE
    resolve = Resolve.KEY_ONLY if settings.sandbox else Resolve.ALL
    loaded = load(settings.config, resolve=resolve)
    if loaded.configuration is None:
        for note in loaded.notes.mistakes:
            print(note, file=sys.stderr)
        return BAD_CONFIGURATION
    _say_findings(loaded)
    try:
        return OK if asyncio.run(serve(settings, resolve, loaded, formatter)) else FOUND
    except StoreRefused as error:
        print(f"run: {error}", file=sys.stderr)
        return USAGE
    except (OSError, ValueError) as error:
        print(f"run: {error}", file=sys.stderr)
        return FOUND


def _graph(url: str | None) -> str | None:
    if url is not None and not url.startswith(("http://", "https://")):
        raise ValueError("--graph: a URL such as http://127.0.0.1:8192 is needed")
    return url.rstrip("/") if url else None


def _say_findings(loaded: Loaded) -> None:
    for note in loaded.notes.findings:
        log.warning("configuration.finding", at=str(note))
