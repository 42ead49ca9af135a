"""The whole road: client, Nginx with the stand-in tracker, daemon, stand-in for Meta."""

from typing import Any

import requests

from tests.acceptance.ours import Daemon, StandIn
from tests.acceptance.parts import Nginx, wait_until
from tests.examples import FBCLID, KEY, PIXEL, SUBID, TARGET

#: Nginx's own clients are on loopback, which is no address of a visitor; the CDN's header stands for a real one.
CDN = {"CF-Connecting-IP": "203.0.114.7", "CF-IPCountry": "US"}
AGENT = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X)"
FBP = "fb.1.1795000000000.1234567890"
TOKEN = "EAAtoken-that-nobody-may-see"


def yaml(proxy: str = "", **tracker: str) -> str:
    """One integration for the example's campaign; `tracker` adds lines."""
    further = "".join(f"  {name}: {value}\n" for name, value in tracker.items())
    return f"""
tracker:
  postback_key: {KEY}
  cdn: [127.0.0.0/8]
{further}
integrations:
  - name: Summer
    campaigns: [AbCd12]
    pixel_id: "{PIXEL}"
    token: {TOKEN}
    {f'proxy: "{proxy}"' if proxy else ""}
    mapping: {{sale: Purchase, deposit: Purchase, lead: Lead, rejected: null, zero: {{event: Lead, skip_zero: true}}}}
"""


class Road:
    """Client, Nginx with the tracker, daemon and stand-in."""

    def __init__(self, nginx: Nginx, daemon: Daemon, standin: StandIn) -> None:
        self.nginx, self.daemon, self.standin = nginx, daemon, standin
        self.client = requests.Session()

    def click(self, subid: str = SUBID, target: str = f"/AbCd12?fbclid={FBCLID}", **headers: str) -> None:
        answer = self.client.get(
            f"{self.nginx.url}{target}{'&' if '?' in target else '?'}_test_subid={subid}",
            headers={"User-Agent": AGENT, "Referer": "https://l.facebook.com/l.php?u=x", **CDN, **headers},
            cookies={"_fbp": FBP},
            allow_redirects=False,
            timeout=30,
        )
        self.client.cookies.clear()
        assert answer.status_code == 302

    def postback(self, target: str = TARGET) -> None:
        assert self.client.get(self.nginx.url + target, timeout=30).status_code == 200

    def reasons(self, name: str) -> list[str]:
        return [story["reason"] for story in self.daemon.explain(name)]

    def wait_for_events(self, count: int) -> list[dict[str, Any]]:
        wait_until(
            lambda: len(self.standin.events()) >= count, f"{count} events at Meta\n{self.daemon.log[-3000:]}", 120
        )
        return self.standin.events()
