"""A postback: what an affiliate network sent to the tracker, nothing interpreted."""

import re
from dataclasses import dataclass
from functools import cached_property

from sidecar.core.parameters import Parameters, parse_body, parse_query

_PATH = re.compile(r"/([^/]+)/postback/?")
_ORIGIN = re.compile(r"https?://[^/?#]*", re.IGNORECASE)


def key_of(uri: str) -> str | None:
    """The postback key of a request target; None when it is no postback's."""
    path = uri.partition("?")[0]
    match = _PATH.fullmatch(path if path.startswith("/") else _ORIGIN.sub("", path, count=1))
    return match[1] if match else None


@dataclass(frozen=True)
class Postback:
    """One request for `/KEY/postback`, as it came.

    `id` is Nginx's `$request_id`; `received_at` is the arrival in Unix seconds; `uri` is the request target, bytes
    that are no UTF-8 as surrogates; `type` is the content type; `body` the bytes of a form or JSON body.
    """

    id: str
    received_at: float
    method: str
    uri: str
    type: str = ""
    body: bytes = b""

    @cached_property
    def key(self) -> str | None:
        """The postback key of the path; None when the path is no postback's."""
        return key_of(self.uri)

    @cached_property
    def parameters(self) -> Parameters:
        """Parameters of the query, each replaced by the body's of the same name."""
        query = parse_query(self.uri.partition("?")[2])
        return {**query, **self._body[0]} if self.body else query

    @cached_property
    def remarks(self) -> tuple[str, ...]:
        """What could not be read."""
        return (self._body[1],) if self.body and self._body[1] else ()

    @cached_property
    def _body(self) -> tuple[Parameters, str]:
        return parse_body(self.type, self.body)
