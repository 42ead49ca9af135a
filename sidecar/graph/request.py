"""A request's bytes and an answer's meaning, without any I/O.

Source: Meta, "Conversions API: Using the API". The token travels in the body: in a URL it would stand in the logs of
every proxy.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sidecar.core.delivery import Lane
from sidecar.core.judge import Answer

#: Bytes of an answer that are read at most; Meta's have some hundreds.
LARGEST_ANSWER = 1 << 20


def path_of(lane: Lane) -> str:
    """The path of a lane's requests."""
    return f"/{lane.api_version}/{lane.pixel_id}/events"


def body_of(lane: Lane, events: Sequence[bytes]) -> bytes:
    """The JSON of a request; each event exactly as it was stored."""
    further = {"access_token": lane.token.reveal()}
    if lane.test_event_code:
        further["test_event_code"] = lane.test_event_code
    return b'{"data":[' + b",".join(events) + b"]," + json.dumps(further).encode()[1:]


def answer_of(status: int, headers: Mapping[str, str], raw: bytes) -> Answer:
    """An answer; its body is None when it is no JSON object."""
    try:
        body: Any = json.loads(raw)
    except (ValueError, RecursionError):
        body = None
    lowered = {name.lower(): value for name, value in headers.items()}
    return Answer(status, lowered, body if isinstance(body, dict) else None)
