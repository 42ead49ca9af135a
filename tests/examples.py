"""The example of the documentation, whole and in parts, for every test."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from sidecar.clicks import Completed, completed
from sidecar.clicks.lookup import Lookup, Source
from sidecar.clicks.places import Places
from sidecar.config.load import load
from sidecar.config.secrets import Resolve
from sidecar.core.click import Click
from sidecar.core.configuration import Configuration
from sidecar.core.postback import Postback
from sidecar.store.contract import Store

#: 2026-11-25T00:00:00Z
NOW = 1_795_564_800.0

KEY = "2a76c2a"
SUBID = "3sh8so4er3"
PIXEL = "1234567890123456"
FBCLID = "IwAR0Example_Click-Id"
TARGET = f"/{KEY}/postback?subid={SUBID}&status=sale&payout=2.61&em=example@gmail.com&fn=John&ln=Snow&ph=+71234567890"

YAML = """
tracker: {postback_key: 2a76c2a, currency: USD}
integrations:
  - name: Summer
    campaigns: [AbCd12]
    pixel_id: "1234567890123456"
    token: token-of-summer
    mapping: {lead: Lead, sale: Purchase, deposit: Purchase, rejected: null, slow: {event: Late, delay: 1h}}
"""


class Clock:
    """A wall clock that the test moves."""

    def __init__(self, now: float = NOW) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def move(self, seconds: float) -> None:
        self.now += seconds


def configuration(directory: Path, text: str = YAML, **tracker: Any) -> Configuration:
    """The configuration of this YAML, read as the daemon reads it; `tracker` replaces fields of it."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "integrations.yaml").write_text(text)
    loaded = load(directory, resolve=Resolve.ALL)
    assert loaded.configuration is not None, [str(note) for note in loaded.notes.mistakes]
    return replace(loaded.configuration, tracker=replace(loaded.configuration.tracker, **tracker))


def postback(number: int = 1, target: str = TARGET, received_at: float = NOW, **more: Any) -> Postback:
    """A postback with an id of its own."""
    return Postback(f"{number:032x}", received_at, more.pop("method", "GET"), target, **more)


def click(subid: str = SUBID, **more: Any) -> Click:
    """The click of the example, a minute before."""
    given: dict[str, Any] = {
        "campaign": ("AbCd12",),
        "clicked_at": NOW - 60,
        "ip": "8.8.8.8",
        "user_agent": "Mozilla/5.0",
        "referrer": "https://l.facebook.com/",
        "parameters": {"fbclid": (FBCLID,)},
        "source": "journal",
    }
    return Click(subid, **(given | more))


def lookup_of(store: Store, clock: Clock, source: Source | None = None) -> Lookup:
    """A lookup that asks this Admin API, or nobody."""
    return Lookup(store, source, clock, lambda: None, lambda click: True)


def completed_by(lookup: Lookup) -> Completed:
    """Clicks with the names of their campaigns; there is no geo database."""
    places = Places(None)
    return lambda postback, subid, click: completed(postback, subid, click, lookup.campaigns, places)
