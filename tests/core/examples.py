"""A configuration, a click and a postback that the tests change in one point."""

import hashlib
from dataclasses import replace
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

from sidecar.core.click import Click
from sidecar.core.configuration import NOTHING, Configuration, Integration, Rule, StatusMapping, Tracker, Value
from sidecar.core.decide import Decision, decide
from sidecar.core.postback import Postback
from sidecar.core.secret import Secret

KEY = "2a76c2a"
SUBID = "3sh8so4er3"
PIXEL = "1234567890123456"
FBCLID = "IwAR0abcDEF_ghi-JKL0123456789"

#: 2026-11-18T14:00:00Z, and the click a minute before.
NOW = 1795010400.75
CLICKED_AT = 1795010340.5
FBC = f"fb.1.1795010340500.{FBCLID}"

#: The postback of Keitaro's own page on this integration.
SEED = f"/{KEY}/postback?subid={SUBID}&status=sale&payout=2.61&em=example@gmail.com&fn=John&ln=Snow&ph=+71234567890"

MAPPING = StatusMapping(
    "shop",
    {
        "lead": Rule("Lead", place="mappings/shop.yaml:1"),
        "registration": Rule("CompleteRegistration", value=NOTHING, place="mappings/shop.yaml:2"),
        "deposit": Rule("AddPaymentInfo", Value(share=Decimal("0.5")), delay=1800, skip_zero=True, place="shop:3"),
        "sale": Rule("Purchase", place="mappings/shop.yaml:4"),
        "vip": Rule("Purchase", Value(amount=Decimal(120)), currency="EUR", place="mappings/shop.yaml:5"),
        "rejected": None,
    },
    "mappings/shop.yaml:1",
)

CLICK = Click(
    subid=SUBID,
    campaign=("AbCd12",),
    clicked_at=CLICKED_AT,
    fbclid=FBCLID,
    fbp="fb.1.1795010000000.1234567890",
    ip="8.8.8.8",
    user_agent="Mozilla/5.0 (iPhone)",
    referrer="https://shop.example.com/offer?x=1",
    country="US",
    region="California",
    city="San Francisco",
    url="https://track.example.com/AbCd12",
    parameters={"ad": ("77",)},
    source="store",
)


def integration(name: str = "Summer", **changes: Any) -> Integration:
    values: dict[str, Any] = {"pixel_id": PIXEL, "mapping": MAPPING, "campaigns": ("AbCd12", "Shop.Example.com")}
    return Integration(name, **{**values, **changes})


def configuration(*integrations: Integration, **tracker: Any) -> Configuration:
    tracker = {"postback_keys": (Secret(KEY),), **tracker}
    return Configuration(Tracker(**tracker), integrations or (integration(),))


def rule(event: str = "Purchase", **changes: Any) -> Integration:
    """An integration that sends a sale by this one rule."""
    return integration(mapping=StatusMapping("one", {"sale": Rule(event, place="one.yaml:1", **changes)}, "one.yaml:1"))


def postback(uri: str = SEED, received_at: float = NOW, body: bytes = b"", type: str = "") -> Postback:
    return Postback("0" * 32, received_at, "POST" if body else "GET", uri, type, body)


def sale(**parameters: str) -> Postback:
    """A sale's postback with these parameters too."""
    return postback(f"/{KEY}/postback?{urlencode({'subid': SUBID, 'payout': '2.61', **parameters})}")


def decided(
    given: Postback | None = None,
    config: Configuration | None = None,
    click: Click | None = CLICK,
    now: float = NOW,
) -> Decision:
    return decide(given or postback(), click, config or configuration(), now)


def sent(
    given: Postback | None = None, config: Configuration | None = None, click: Click | None = CLICK
) -> dict[str, Any]:
    """The one event that goes out."""
    decision = decided(given, config, click)
    assert decision.decision == "accepted", decision.trace
    (planned,) = decision.events
    return planned.event.as_json()


def bare(**fields: Any) -> Click:
    """A click of which nothing is known but its campaign, its time and these fields."""
    return replace(Click(subid=SUBID, campaign=("AbCd12",), clicked_at=CLICKED_AT), **fields)


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
