"""Postbacks that `reconcile` found missing, taken in as if they had come the usual way."""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlencode

from sidecar import log
from sidecar.core.configuration import Configuration
from sidecar.core.postback import Postback
from sidecar.store.contract import Store

#: What the intake would have got of a conversion in the tracker's log.
_NAMES = ("subid", "status", "tid", "payout")


async def inject(given: Mapping[str, Any], configuration: Configuration, store: Store) -> dict[str, int]:
    """`postbacks` as a journal has them, `conversions` as the tracker has; how many were new. Raises ValueError."""
    try:
        postbacks = [*_journalled(given.get("postbacks", ())), *_recorded(given.get("conversions", ()), configuration)]
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not what reconcile sends: {type(error).__name__}") from None
    stored = sum([(await store.add(postback)).new for postback in postbacks])
    log.info("postbacks.injected", stored=stored, known=len(postbacks) - stored)
    return {"stored": stored, "known": len(postbacks) - stored}


def _journalled(given: Iterable[Mapping[str, Any]]) -> Iterable[Postback]:
    for each in given:
        body = each["body"].encode("utf-8", "surrogateescape")
        yield Postback(each["id"], float(each["received_at"]), each["method"], each["uri"], each["type"], body)


def _recorded(given: Iterable[Mapping[str, Any]], configuration: Configuration) -> Iterable[Postback]:
    """With an id made of the conversion: however often it is injected, it is one postback."""
    for each in given:
        keys = configuration.tracker.postback_keys
        query = urlencode({name: each[name] for name in _NAMES if each.get(name)})
        id = hashlib.sha256(f"recorded {query}".encode()).hexdigest()[:32]
        yield Postback(
            id, float(each["received_at"]), "GET", f"/{keys[0].reveal() if keys else 'key'}/postback?{query}"
        )
