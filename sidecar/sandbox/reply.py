"""What the stand-in says, in Meta's shapes."""

import hashlib
import json
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sidecar.core.meta import INVALID_PARAMETER

_JSON = {"Content-Type": "application/json; charset=UTF-8"}


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer.

    `seconds` is how long to wait before it is given; with `reset` the connection is dropped instead of answered.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    seconds: float = 0.0
    reset: bool = False


@dataclass(frozen=True, slots=True)
class GraphError:
    """Meta's error object. Source: Meta, "Handling Errors"; `status` is that of HTTP."""

    message: str
    code: int = INVALID_PARAMETER
    subcode: int | None = None
    status: int = 400
    type: str = "OAuthException"
    is_transient: bool = False
    title: str = ""
    text: str = ""

    def as_json(self, trace: str) -> dict[str, Any]:
        error = {
            "message": self.message,
            "type": self.type,
            "code": self.code,
            "error_subcode": self.subcode,
            "is_transient": self.is_transient,
            "error_user_title": self.title or None,
            "error_user_msg": self.text or None,
            "fbtrace_id": trace,
        }
        return {"error": {name: value for name, value in error.items() if value is not None}}

    def reply(self, trace: str, headers: Mapping[str, str] | None = None) -> Reply:
        return json_reply(self.status, self.as_json(trace), headers)


def json_reply(status: int, value: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Reply:
    """A reply whose body is JSON."""
    return Reply(status, {**_JSON, **(headers or {})}, json.dumps(value, separators=(",", ":")).encode())


def trace_id(number: int) -> str:
    """The fbtrace_id of the request with this number: 23 characters that begin with A, as Meta's do."""
    digest = hashlib.sha256(number.to_bytes(8, "big")).digest()
    return "A" + urlsafe_b64encode(digest).decode()[:22]
