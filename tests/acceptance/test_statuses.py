"""The life of one click in Keitaro's statuses: each story is postbacks in their order, and what becomes of each."""

from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.acceptance.ours import Daemon
from tests.acceptance.parts import PartFailed, wait_until
from tests.examples import FBCLID, KEY

#: Deposit and sale are both a Purchase; Strict sends what Summer only knows.
YAML = f"""
tracker:
  postback_key: {KEY}
  statuses: {{sale: [Approved, billed], hold: [pending]}}
integrations:
  - name: Summer
    campaigns: [AbCd12]
    pixel_id: "1"
    token: token-of-summer
    mapping:
      lead: Lead
      registration: CompleteRegistration
      deposit: Purchase
      sale: Purchase
      rebill: Subscribe
      hold: {{event: OnHold, delay: 1h}}
      vip: Vip
      rejected: null
      trash: null
  - name: Strict
    campaigns: [Strict1]
    pixel_id: "2"
    token: token-of-strict
    mapping: {{sale: Purchase, rejected: Rejected, trash: {{event: Trashed, value: none}}}}
"""

#: campaign, and for each postback its query and what becomes of it: `event event_id`, or the reason why it is not sent.
STORIES: dict[str, tuple[str, list[tuple[str, str]]]] = {
    "registration, deposit and sale of one click are three events": (
        "AbCd12",
        [
            ("status=reg&payout=0", "CompleteRegistration {subid}_registration"),
            ("status=dep&payout=20", "Purchase {subid}_deposit"),
            ("status=sale&payout=35", "Purchase {subid}_sale"),
        ],
    ),
    "the same status again without a tid is one conversion, whatever its payout": (
        "AbCd12",
        [
            ("status=sale&payout=35", "Purchase {subid}_sale"),
            ("status=sale&payout=35", "duplicate"),
            ("status=sale&payout=36", "duplicate"),
            ("payout=37", "duplicate"),
            ("status=APPROVED&payout=38", "duplicate"),
        ],
    ),
    "an alias is its status": (
        "AbCd12",
        [
            ("status=registration", "CompleteRegistration {subid}_registration"),
            ("status=Reg", "duplicate"),
            ("status=deposit", "Purchase {subid}_deposit"),
            ("status=DEP", "duplicate"),
        ],
    ),
    "a tid makes an upsell another conversion, as a sale and as a rebill": (
        "AbCd12",
        [
            ("status=sale&payout=35&tid=1", "Purchase {subid}_sale_1"),
            ("status=sale&payout=10&tid=2", "Purchase {subid}_sale_2"),
            ("status=rebill&payout=10&tid=2", "Subscribe {subid}_rebill_2"),
            ("status=rebill&payout=10&tid=3", "Subscribe {subid}_rebill_3"),
            ("status=sale&payout=10&tid=2", "duplicate"),
            ("status=rebill&payout=10&tid=3", "duplicate"),
            ("status=sale&payout=10", "Purchase {subid}_sale"),
        ],
    ),
    "a lead becomes a sale": (
        "AbCd12",
        [("status=lead&payout=35", "Lead {subid}_lead"), ("status=sale&payout=35", "Purchase {subid}_sale")],
    ),
    "a lead is rejected": (
        "AbCd12",
        [("status=lead&payout=35", "Lead {subid}_lead"), ("status=rejected", "status_null")],
    ),
    "a sale that is rejected afterwards is recorded and not sent": (
        "AbCd12",
        [
            ("status=sale&payout=35", "Purchase {subid}_sale"),
            ("status=rejected&payout=35", "status_null"),
            ("status=trash", "status_null"),
        ],
    ),
    "a mapping may say that it is sent": (
        "Strict1",
        [
            ("status=sale&payout=35", "Purchase {subid}_sale"),
            ("status=rejected&payout=35", "Rejected {subid}_rejected"),
            ("status=rejected&payout=35", "duplicate"),
            ("status=trash", "Trashed {subid}_trash"),
            ("status=lead", "status_unmapped"),
        ],
    ),
    "an upsell that is rejected says so by its own tid": (
        "Strict1",
        [
            ("status=sale&tid=7&payout=35", "Purchase {subid}_sale_7"),
            ("status=rejected&tid=7", "Rejected {subid}_rejected_7"),
            ("status=rejected&tid=8", "Rejected {subid}_rejected_8"),
        ],
    ),
    "a URL's own lists turn its network's words into statuses": (
        "AbCd12",
        [
            ("status=confirmed&lead_status=new,hold&sale_status=paid,Confirmed", "Purchase {subid}_sale"),
            ("status=new&lead_status=new,hold&sale_status=paid", "Lead {subid}_lead"),
            ("status=hold&lead_status=new%2Chold", "duplicate"),
            ("status=no&rejected_status=no", "status_null"),
            ("status=again&rebill_status=again&tid=1", "Subscribe {subid}_rebill_1"),
            ("status=signup&registration_status=signup", "CompleteRegistration {subid}_registration"),
            ("status=ftd&dep_status=ftd", "Purchase {subid}_deposit"),
            ("status=gold&vip_status=gold", "Vip {subid}_vip"),
            ("status=test&ignore_status=test,ping&sale_status=test", "ignore_status"),
        ],
    ),
    "the configuration's lists do so for every URL, and the URL's own come first": (
        "AbCd12",
        [
            ("status=approved&lead_status=approved", "Lead {subid}_lead"),
            ("status=approved", "Purchase {subid}_sale"),
            ("status=billed", "duplicate"),
        ],
    ),
    "a status of one's own is sent where a mapping names it": (
        "AbCd12",
        [("status=vip", "Vip {subid}_vip"), ("status=VIP", "status_unmapped"), ("status=gold", "status_unmapped")],
    ),
    "an event with a delay is withdrawn by a rejection": (
        "AbCd12",
        [("status=pending", "OnHold {subid}_hold: dead"), ("status=rejected", "status_null")],
    ),
    "a rejection of another tid withdraws nothing": (
        "AbCd12",
        [("status=pending&tid=1", "OnHold {subid}_hold_1: queued"), ("status=rejected&tid=2", "status_null")],
    ),
}


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    directory: Path = tmp_path_factory.mktemp("statuses")
    with ExitStack() as stack:
        yield stack.enter_context(Daemon(directory, YAML, journal=directory / "none", graph=None))


def became(told: dict[str, Any]) -> str:
    """What explain tells of a postback, as a story writes it; a delivered event goes without its state."""
    if told["reason"] != "sent":
        return str(told["reason"])
    [event] = told["events"]
    state = "" if event["state"] == "delivered" else f": {event['state']}"
    return f"{event['event_name']} {event['event_id']}{state}"


@pytest.mark.parametrize("story", STORIES)
def test_the_story_holds(daemon: Daemon, story: str) -> None:
    campaign, steps = STORIES[story]
    subid = f"story{list(STORIES).index(story):05}"
    for query, _ in steps:
        url = f"http://{daemon.intake}/{KEY}/postback?subid={subid}&campaign={campaign}&fbclid={FBCLID}&{query}"
        assert requests.get(url, timeout=30).status_code == 200
    expected = [words.format(subid=subid) for _, words in steps]

    def told() -> list[str]:
        return [became(each) for each in sorted(daemon.explain(subid), key=lambda each: each["received_at"])]

    with suppress(PartFailed):
        wait_until(lambda: told() == expected, story)
    assert told() == expected
