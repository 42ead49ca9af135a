"""`capi-sidecar explain`: what becomes of a postback, and why. Sends nothing."""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from sidecar.cli.clicks import completer
from sidecar.cli.configuration import load_or_say
from sidecar.cli.exit import BAD_CONFIGURATION, FOUND, OK, USAGE
from sidecar.cli.told import as_json, told
from sidecar.config.secrets import Resolve
from sidecar.core.click import Click, click_from_json
from sidecar.core.configuration import Configuration
from sidecar.core.decide import Decision, decide
from sidecar.core.parameters import first_real
from sidecar.core.postback import Postback
from sidecar.core.times import parse_time
from sidecar.store.contract import StoreRefused

_NO_ID = "0" * 32


def run(options: argparse.Namespace) -> int:
    if (options.url is None) == (options.id is None):
        print("explain: give a URL, - or --id ID", file=sys.stderr)
        return USAGE
    if options.id is not None:
        from sidecar.cli.stored import explain_stored

        return explain_stored(options)
    configuration = load_or_say(options.config, resolve=Resolve.NOTHING)
    if configuration is None:
        return BAD_CONFIGURATION
    if options.url == "-":
        return _explain_lines(configuration)
    return _explain_url(options, configuration)


def _explain_lines(configuration: Configuration) -> int:
    status = OK
    for raw in sys.stdin.buffer:
        if not raw.strip():
            continue
        try:
            answer = as_json(_decide_line(raw, configuration))
        except ValueError as error:
            answer, status = {"error": str(error)}, FOUND
        print(json.dumps(answer, ensure_ascii=True), flush=True)
    return status


def _decide_line(raw: bytes, configuration: Configuration) -> Decision:
    """Raises ValueError that says what of the line cannot be read."""
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError):
        raise ValueError("the line is not JSON") from None
    if not isinstance(value, dict) or not isinstance(value.get("url"), str):
        raise ValueError('an object with "url" is needed')
    now = time.time()
    received_at = now if value.get("received_at") is None else parse_time(value["received_at"])
    if received_at is None:
        raise ValueError("received_at: give Unix seconds, milliseconds or ISO 8601")
    for name in ("method", "type", "body"):
        if not isinstance(value.get(name) or "", str):
            raise ValueError(f"{name}: give a text")
    click = value.get("click")
    if click is not None and not isinstance(click, dict):
        raise ValueError("click: give an object or null")
    body = (value.get("body") or "").encode("utf-8", "replace")
    method = value.get("method") or ("POST" if body else "GET")
    postback = Postback(_NO_ID, received_at, method, value["url"], value.get("type") or "", body)
    return decide(postback, _read_click(click, postback), configuration, received_at)


def _explain_url(options: argparse.Namespace, configuration: Configuration) -> int:
    now = time.time()
    postback = Postback(_NO_ID, now, "GET", options.url)
    try:
        click = _click_of_file(options.click, postback) if options.click else _click_of_store(options, postback)
    except (OSError, ValueError) as error:
        words = error.strerror if isinstance(error, OSError) else error
        print(f"explain: --click {options.click}: {words}", file=sys.stderr)
        return USAGE
    decision = decide(postback, completer(configuration)(postback, click), configuration, now)
    if options.json:
        print(json.dumps(as_json(decision)))
    else:
        print("\n".join(told(decision, configuration)))
        if decision.reason == "no_click":
            print(
                f"explain: no click of this subid in {options.state}; --click FILE gives one, as JSON such as "
                '{"campaign": "AbCd12", "fbclid": "IwAR...", "clicked_at": 1795564740, "ip": "8.8.8.8"}',
                file=sys.stderr,
            )
    return OK if decision.decision == "accepted" else FOUND


def _click_of_file(name: str, postback: Postback) -> Click | None:
    try:
        value = json.loads(sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes())
    except ValueError:
        raise ValueError("not JSON; an object of a click's fields is needed") from None
    if not isinstance(value, dict):
        raise ValueError("an object of a click's fields is needed")
    return _read_click(value, postback)


def _click_of_store(options: argparse.Namespace, postback: Postback) -> Click | None:
    """What the daemon knows of the subid; nothing where there is no store, or it is not ours to read."""
    from sidecar.store.reading import read_click
    from sidecar.store.state import FILE

    path = options.state / FILE
    subid = first_real(postback.parameters, ("subid", "sub_id"))
    try:
        return read_click(path, subid) if subid and path.exists() else None
    except (OSError, StoreRefused):
        return None


def _read_click(value: dict[str, Any] | None, postback: Postback) -> Click | None:
    return click_from_json(value, first_real(postback.parameters, ("subid", "sub_id"))) if value is not None else None
