"""The click that the daemon would decide by, for commands that need no daemon."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

from sidecar.clicks import completed
from sidecar.clicks.places import Places
from sidecar.core.campaign import Campaigns
from sidecar.core.click import Click
from sidecar.core.configuration import Configuration
from sidecar.core.parameters import first_real
from sidecar.core.postback import Postback


def completer(configuration: Configuration) -> Callable[[Postback, Click | None], Click | None]:
    """Adds to a click of the store, which has its campaign's names, what the postback carries, and the place."""
    places = _places(configuration.tracker.geoip)

    def complete(postback: Postback, click: Click | None) -> Click | None:
        return completed(postback, subid_of(postback), click, Campaigns(), places)

    return complete


@cache
def _places(path: str) -> Places:
    return Places(Path(path) if path else None)


def subid_of(postback: Postback) -> str:
    return first_real(postback.parameters, ("subid", "sub_id"))
