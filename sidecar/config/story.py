"""Stories, the tests of a configuration: tests/*.yaml beside it. The daemon reads none of them."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from sidecar.config.declaration import a_name, any_text, currency, event_name
from sidecar.config.parse import parse
from sidecar.config.shape import (
    MISSING,
    At,
    Definitions,
    Given,
    Key,
    Note,
    Notes,
    Schema,
    Shape,
    choice,
    free,
    listed,
    mapped,
    or_null,
    record,
    suggestion,
    text,
)
from sidecar.core.click import Click, click_from_json
from sidecar.core.meta import HASHED_KEYS, PLAIN_KEYS
from sidecar.core.parameters import first_real
from sidecar.core.postback import Postback
from sidecar.core.story import NOT_SENT, NotSent, Story
from sidecar.core.times import parse_time

FOLDER = "tests"

#: When a click happens whose time a story does not tell: 2026-01-01T00:00:00Z. No story depends on the present day.
CLICKED_AT = 1_767_225_600.0

#: Seconds from the click to its postback, where a story does not tell.
LATER = 60.0

_NO_ID = "0" * 32

_USER_DATA = (*HASHED_KEYS, *PLAIN_KEYS)

#: What an event consists of.
_EVENT = (
    "event_name", "event_time", "event_id", "event_source_url", "action_source", "user_data", "custom_data",
    "data_processing_options", "data_processing_options_country", "data_processing_options_state",
)  # fmt: skip


def story_files(directory: Path) -> list[Path]:
    """The story files of a configuration, by name."""
    return sorted(path for path in (directory / FOLDER).glob("*.yaml") if path.is_file())


def read_stories(path: Path, notes: Notes) -> list[Story]:
    """The stories of a file that can be read; what is wrong with the others is noted."""
    try:
        root = parse(str(path), path.read_bytes(), notes)
    except OSError as error:
        notes.mistakes.append(Note(str(path), 1, 1, "", f"cannot be read: {error.strerror}"))
        return []
    found = stories(root) if root is not None else MISSING
    return [] if found is MISSING else list(found)


def written(document: Mapping[str, Any]) -> str:
    """One story as a file, which reads as the same."""
    return yaml.safe_dump([document], sort_keys=False, allow_unicode=True, width=10_000)


def _also(shape: Shape, meant: Callable[[At, Any], Any]) -> Shape:
    """The same shape; what it reads is then understood by a function, which may find a mistake."""

    def read(at: At) -> Any:
        value = shape(at)
        return value if value is MISSING else meant(at, value)

    return Shape(read, shape.schema)


def _read_moment(at: At, value: str) -> Any:
    found = parse_time(value)
    return at.fail("a moment is needed: Unix seconds, milliseconds or ISO 8601") if found is None else found


def _read_amount(at: At, value: str) -> Any:
    return float(value) if "." in value else int(value)


def _read_path(at: At, value: str) -> Any:
    name, _, rest = value.partition(".")
    if name not in _EVENT:
        return at.fail(f"an event has no {name}; {suggestion(name, _EVENT)}")
    key = rest.partition(".")[0]
    if name == "user_data" and key not in _USER_DATA:
        return at.fail(f"user_data has no {key or 'empty key'}; {suggestion(key, _USER_DATA)}")
    return value


_moment = _also(any_text, _read_moment)
_amount = _also(text(r"[0-9]{1,12}(\.[0-9]{1,6})?", "an amount such as 2.61"), _read_amount)
_maybe_text = or_null(any_text)
_path = _also(
    text(r"[a-z_]+(\.[\s\S]+)?", "a path such as user_data.em", [f"user_data.{key}" for key in _USER_DATA]), _read_path
)
_anything = Shape(free, lambda _: {})

_CLICK = record(
    {
        "subid": Key(_maybe_text, "of the postback, where it is not given"),
        "campaign": Key(or_null(listed(any_text)), "alias, id, name or domain, or several of them"),
        "clicked_at": Key(or_null(_moment), "Unix seconds, milliseconds or ISO 8601"),
        "fbclid": Key(_maybe_text, "as it stood in the click's URL"),
        "fbp": Key(_maybe_text, "the browser's _fbp cookie"),
        "fbc": Key(_maybe_text, "the browser's _fbc cookie"),
        "ip": Key(_maybe_text, "the visitor's address"),
        "user_agent": Key(_maybe_text, "the visitor's browser"),
        "ua": Key(_maybe_text, "the same as user_agent"),
        "referrer": Key(_maybe_text, "where the visitor came from"),
        "country": Key(_maybe_text, "two letters"),
        "region": Key(_maybe_text, "the visitor's region"),
        "city": Key(_maybe_text, "the visitor's city"),
        "url": Key(_maybe_text, "the visited scheme://host/path"),
        "parameters": Key(or_null(mapped(a_name, listed(any_text))), "those of the click's URL"),
    }
)

_REQUEST = record(
    {
        "url": Key(a_name, "/KEY/postback?...", required=True),
        "method": Key(any_text, "GET, or POST where there is a body"),
        "type": Key(any_text, "the content type of the body"),
        "body": Key(any_text, "a form or JSON"),
    }
)

_SENT = record(
    {
        "event": Key(event_name, "event_name"),
        "value": Key(or_null(_amount), "custom_data.value; null: none"),
        "currency": Key(or_null(currency), "custom_data.currency; null: none"),
        "event_id": Key(any_text, "event_id"),
        "pixel_id": Key(any_text, "the pixel it goes to"),
        "integration": Key(a_name, "the integration it goes through"),
        "fields": Key(
            mapped(_path, _anything),
            "dotted paths of the event, such as user_data.em (the customer's value or its hash); null: absent",
        ),
    }
)

_NOT_SENT = record(
    {
        "reason": Key(choice(*NOT_SENT), "why nothing is sent", required=True),
        "decision": Key(choice(*dict.fromkeys(NOT_SENT.values())), "what the reason amounts to"),
    }
)


def _wanted(at: At, given: Given) -> Any:
    if not given.places:
        return at.fail("nothing is expected here; write event: NAME, or reason: WHY where nothing is sent")
    own = {name: value for name, value in given.items() if name != "fields"}
    return own | given.get("fields", {})


def _refusal(at: At, given: Given) -> Any:
    reason = given.get("reason")
    if reason is None:
        return MISSING
    decision = given.get("decision", NOT_SENT[reason])
    if decision != NOT_SENT[reason]:
        return given.where("decision").fail(f"{reason} is {NOT_SENT[reason]}")
    return NotSent(reason, decision)


_events = listed(_also(_SENT, _wanted))
_refused = _also(_NOT_SENT, _refusal)


def _read_expected(at: At) -> Any:
    if isinstance(at.node, yaml.MappingNode) and {"reason", "decision"} & {name.value for name, _ in at.node.value}:
        return _refused(at)
    if isinstance(at.node, yaml.SequenceNode) and not at.node.value:
        return at.fail("the list of events is empty; write reason: WHY where nothing is sent")
    return _events(at)


def _expected_schema(definitions: Definitions) -> Schema:
    return {"anyOf": [_refused.schema(definitions), _events.schema(definitions)]}


def _read_postback(at: At) -> Any:
    given = _REQUEST(at) if isinstance(at.node, yaml.MappingNode) else a_name(at)
    if isinstance(given, str):
        return Postback(_NO_ID, 0.0, "GET", given)
    if given is MISSING or "url" not in given:
        return MISSING
    body = given.get("body", "").encode("utf-8", "replace")
    method = given.get("method") or ("POST" if body else "GET")
    return Postback(_NO_ID, 0.0, method, given["url"], given.get("type", ""), body)


def _postback_schema(definitions: Definitions) -> Schema:
    return {"anyOf": [a_name.schema(definitions), _REQUEST.schema(definitions)]}


_expected = Shape(_read_expected, _expected_schema)
_postback = Shape(_read_postback, _postback_schema)


_records = listed(
    record(
        {
            "name": Key(a_name, "what the story tells, as a sentence", required=True),
            "click": Key(or_null(_CLICK), "the click that is known; null: none"),
            "postback": Key(_postback, "the postback's URL, or its url, method, type and body", required=True),
            "received_at": Key(_moment, "when the postback arrives; a minute after the click"),
            "expect": Key(_expected, "one event or several, or the reason why nothing is sent", required=True),
        }
    )
)


def _read_stories(at: At) -> Any:
    """A tuple of stories, each of a name of its own."""
    found = _records(at)
    first: dict[str, Given] = {}
    for given in () if found is MISSING else found:
        other = first.setdefault(given.get("name", ""), given)
        if other is not given and "name" in given:
            line = other.where("name").node.start_mark.line + 1
            given.where("name").fail(f"a story of this name stands in line {line} too; names are unique in a file")
    return found if found is MISSING else tuple(_story(given) for given in found if _is_whole(given))


#: A file of stories.
stories = Shape(_read_stories, _records.schema)


def _is_whole(given: Given) -> bool:
    """Whether every part could be read; a mistake in one was noted."""
    return {"name", "postback", "expect"} <= given.keys() and given.places.keys() <= given.keys()


def _story(given: Given) -> Story:
    parameters = given["postback"].parameters
    click = _click(given.get("click"), first_real(parameters, ("subid", "sub_id")))
    clicked_at = click.clicked_at if click else None
    if clicked_at is None:
        clicked_at = parse_time(first_real(parameters, ("clicked_at",)))
    arrival = (CLICKED_AT if clicked_at is None else clicked_at) + LATER
    postback = replace(given["postback"], received_at=given.get("received_at", arrival))
    return Story(given["name"], given.at.place, postback, click, given["expect"])


def _click(given: Given | None, subid: str) -> Click | None:
    """The click as `explain -` reads it: lists where a shape gives tuples."""
    if given is None:
        return None
    parameters = {name: list(values) for name, values in (given.get("parameters") or {}).items()}
    return click_from_json({**given, "campaign": list(given.get("campaign") or ()), "parameters": parameters}, subid)
