"""`capi-sidecar capture`: a stored postback as a story, with sample data in the place of the customer's."""

import argparse
import json
import re
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

from sidecar.cli.configuration import load_or_say
from sidecar.cli.exit import BAD_CONFIGURATION, FOUND, OK, USAGE
from sidecar.config.secrets import Resolve
from sidecar.config.story import FOLDER, written
from sidecar.core.click import Click
from sidecar.core.configuration import Configuration
from sidecar.core.customer import hashed
from sidecar.core.decide import Decision, Planned, decide
from sidecar.core.event import customer_country
from sidecar.core.meta import HASHED_KEYS
from sidecar.core.sample import SAMPLES, replaced
from sidecar.core.times import iso
from sidecar.store.contract import StoreRefused
from sidecar.store.reading import Newest, read_mode, read_newest
from sidecar.store.state import FILE

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")

#: Texts of a click, in the order in which a story has them.
_TEXTS = ("fbclid", "fbp", "fbc", "ip", "user_agent", "referrer", "country", "region", "city", "url")


def run(options: argparse.Namespace) -> int:
    if options.write is not None and not _NAME.fullmatch(options.write):
        return _wrong("--write: give a name of letters, digits, dots, - and _, without .yaml")
    configuration = load_or_say(options.config, resolve=Resolve.NOTHING)
    if configuration is None:
        return BAD_CONFIGURATION
    try:
        mode = read_mode(options.state)
        newest = read_newest(options.state / FILE, options.id) if mode else None
    except (OSError, StoreRefused) as error:
        return _wrong(f"{options.state}: {getattr(error, 'strerror', None) or error}")
    if mode is None:
        return _wrong(f"no store in {options.state}; --state names the daemon's directory")
    if newest is None:
        print(f"capture: no postback has this request id, event_id or subid: {options.id}", file=sys.stderr)
        return FOUND
    return _capture(options, newest, configuration)


def _capture(options: argparse.Namespace, newest: Newest, configuration: Configuration) -> int:
    """What is expected is what is decided today about the sample data."""
    postback, click = replaced(newest.postback, newest.click, configuration)
    decision = decide(postback, click, configuration, postback.received_at)
    document = {
        "name": _name(decision),
        "click": _click(click) if click else None,
        "postback": postback.uri,
        "received_at": _moment(postback.received_at),
        "expect": _expected(decision, configuration),
    }
    for remark in _remarks(newest, decision):
        print(f"capture: {remark}", file=sys.stderr)
    if options.write is not None:
        return _write(options, document)
    sys.stdout.write(json.dumps([document]) + "\n" if options.json else written(document))
    return OK


def _wrong(words: str) -> int:
    print(f"capture: {words}", file=sys.stderr)
    return USAGE


def _write(options: argparse.Namespace, document: Mapping[str, Any]) -> int:
    path = options.config / FOLDER / f"{options.write}.yaml"
    try:
        path.parent.mkdir(exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(written(document))
    except FileExistsError:
        return _wrong(f"{path} exists and is not overwritten; give another name")
    except OSError as error:
        return _wrong(f"{path}: {error.strerror}")
    print(f"capture: wrote {path}", file=sys.stderr)
    return OK


def _remarks(newest: Newest, decision: Decision) -> Iterator[str]:
    if newest.count > 1:
        which = "newest" if newest.decision in ("", "waiting") else "newest decided one"
        yield f"{newest.count} postbacks have this id; this is the {which}, {newest.postback.id}"
    before, now = (newest.decision, newest.reason), (decision.decision, decision.reason)
    if newest.decision and before != now:
        yield (
            f"it was {': '.join(before)}; with today's configuration, what is still stored of it and sample data it is "
            f"{': '.join(now)}"
        )


def _name(decision: Decision) -> str:
    status = decision.conversion.status if decision.conversion else "postback"
    campaign = f" of {decision.click.campaign[0]}" if decision.click and decision.click.campaign else ""
    events = " and ".join(dict.fromkeys(planned.event.name for planned in decision.events))
    return f"{status}{campaign} is {events or f'not sent: {decision.reason}'}"


def _click(click: Click) -> dict[str, Any]:
    """What is known of it."""
    fields = {
        "subid": click.subid,
        "campaign": _lone(click.campaign),
        "clicked_at": None if click.clicked_at is None else _moment(click.clicked_at),
        **{name: getattr(click, name) for name in _TEXTS},
        "parameters": {name: _lone(values) for name, values in click.parameters.items()},
    }
    return {name: value for name, value in fields.items() if value not in (None, "", [], {})}


def _lone(values: tuple[str, ...]) -> str | list[str]:
    return values[0] if len(values) == 1 else list(values)


def _moment(moment: float) -> str | float:
    """For people, where nothing is lost by it."""
    return iso(moment) if moment == int(moment) else moment


def _expected(decision: Decision, configuration: Configuration) -> Any:
    events = [_event(planned, decision, configuration) for planned in decision.events]
    if not events:
        return {"reason": decision.reason, "decision": decision.decision}
    return events[0] if len(events) == 1 else events


def _event(planned: Planned, decision: Decision, configuration: Configuration) -> dict[str, Any]:
    event = planned.event.as_json()
    user, custom = event["user_data"], dict(event.get("custom_data", {}))
    expected = {
        "event": planned.event.name,
        "value": custom.pop("value", None),
        "currency": custom.pop("currency", None),
        "event_id": planned.event.id,
        "pixel_id": planned.event.pixel_id,
        "integration": planned.integration,
    }
    fields = {f"user_data.{key}": user.get(key) for key in ("fbc", "fbp")}
    texts = _texts(planned, decision, configuration)
    fields |= {f"user_data.{key}": texts.get((key, *user[key]), user[key]) for key in HASHED_KEYS if key in user}
    fields |= {f"custom_data.{name}": value for name, value in custom.items()}
    return {**expected, "fields": fields}


def _texts(planned: Planned, decision: Decision, configuration: Configuration) -> dict[tuple[str, str], str]:
    """The sample, or the country, that each hash of a user_data key stands for."""
    conversion, click = decision.conversion, decision.click
    if conversion is None or click is None:
        return {}
    country = customer_country(conversion.parameters, click, configuration.by_name[planned.integration])
    year = time.gmtime(conversion.received_at).tm_year
    texts = {**{key: SAMPLES[key] for key in HASHED_KEYS if key in SAMPLES}, "country": country}
    return {(key, hashed(key, text, country, year)): text for key, text in texts.items() if text}
