"""Values as columns, and back."""

import hashlib
import json
from dataclasses import fields
from typing import Any

from sidecar.core.click import Click
from sidecar.core.postback import Postback

#: The fact that holds the tracker's campaigns as JSON.
CAMPAIGNS = "campaigns"

_CLICK_FIELDS = tuple(field.name for field in fields(Click) if field.name != "subid")


def click_body(click: Click) -> str:
    """A click's known fields as JSON."""
    known = {name: value for name in _CLICK_FIELDS if (value := getattr(click, name))}
    return json.dumps(known, ensure_ascii=False, separators=(",", ":"))


def click_of(subid: str, body: str) -> Click:
    """The click of a stored row."""
    known = json.loads(body)
    known["campaign"] = tuple(known.get("campaign", ()))
    known["parameters"] = {name: tuple(values) for name, values in known.get("parameters", {}).items()}
    return Click(subid=subid, **known)


def postback_columns(postback: Postback) -> dict[str, Any]:
    """A postback's columns but for those of its life."""
    return {
        "id": postback.id,
        "received_at": postback.received_at,
        "fingerprint": fingerprint(postback),
        **content_columns(postback),
    }


def content_columns(postback: Postback) -> dict[str, Any]:
    """What a postback says; the target as bytes, because it may be no UTF-8."""
    return {
        "method": postback.method,
        "uri": postback.uri.encode("utf-8", "surrogateescape"),
        "type": postback.type,
        "body": postback.body,
    }


def postback_of(row: tuple[Any, ...]) -> Postback:
    """The postback of (id, received_at, method, uri, type, body)."""
    id, received_at, method, uri, type, body = row
    return Postback(id, received_at, method, uri.decode("utf-8", "surrogateescape"), type, body)


def fingerprint(postback: Postback) -> bytes:
    """Four bytes for the target and four for the body, zeros where there is none."""
    uri = hashlib.blake2b(postback.uri.encode("utf-8", "surrogateescape"), digest_size=4).digest()
    body = hashlib.blake2b(postback.body, digest_size=4).digest() if postback.body else bytes(4)
    return uri + body


def conflicts(first: bytes, second: bytes) -> bool:
    """Whether two copies of an id differ. Nginx logs no body that it did not keep in memory: that is no difference."""
    bodies = first[4:], second[4:]
    return first[:4] != second[:4] or (bytes(4) not in bodies and bodies[0] != bodies[1])
