"""`capi-sidecar sandbox`: a strict stand-in for Meta over HTTP."""

import argparse
import asyncio
import signal
import sys
import time

from sidecar.cli.exit import FOUND, OK, USAGE
from sidecar.net import parse_address
from sidecar.sandbox.server import serve
from sidecar.sandbox.standin import StandIn


def run(options: argparse.Namespace) -> int:
    """Serves until SIGTERM or SIGINT; needs no configuration."""
    try:
        parse_address(options.listen)
    except ValueError as mistake:
        print(f"--listen: {mistake}", file=sys.stderr)
        return USAGE
    try:
        asyncio.run(_serve(options.listen))
    except OSError as fault:
        print(f"--listen: {options.listen}: {fault.strerror or fault}; is another process there?", file=sys.stderr)
        return FOUND
    return OK


async def _serve(address: str) -> None:
    told_to_end = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told_to_end.set)
    runner, listening = await serve(StandIn(time.time), address)
    print(f"sandbox: listening on {listening}", file=sys.stderr, flush=True)
    await told_to_end.wait()
    await runner.cleanup()
