"""Whose click it is: what the store knows, with the campaign's names and the visitor's place; the Admin API is asked
for what no journal has shown."""

from collections.abc import Callable

from sidecar.clicks.places import Places
from sidecar.core.campaign import Campaigns
from sidecar.core.click import Click, carried_click
from sidecar.core.decide import known_click
from sidecar.core.postback import Postback

#: The click to decide by, of a postback, its subid and what the store knows.
Completed = Callable[[Postback, str, Click | None], Click | None]


def completed(
    postback: Postback, subid: str, click: Click | None, campaigns: Campaigns, places: Places
) -> Click | None:
    """The click that is known, the postback's own included: with every name of its campaign, what the campaign's own
    parameters hold, and its place; None when nobody knows one."""
    known = known_click(click, carried_click(postback, subid))
    return places.placed(campaigns.named(known)) if known else None
