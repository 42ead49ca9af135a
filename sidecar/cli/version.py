"""`capi-sidecar version`"""

import argparse

import sidecar
from sidecar.cli.exit import OK


def run(_: argparse.Namespace) -> int:
    print(sidecar.__version__)
    return OK
