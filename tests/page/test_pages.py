"""Every page of a real store, as the guarded admin address serves it."""

import re
import time
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from sidecar.admin import application
from sidecar.core.configuration import Configuration
from sidecar.core.decide import decide
from sidecar.core.delivery import Attempt, Settlement
from sidecar.core.privacy import scrubbed
from sidecar.net import listen, parse_address
from sidecar.page import House, Pages
from sidecar.store.contract import Ruling, StoreUnavailable
from sidecar.store.sqlite import SqliteStore
from tests.examples import FBCLID, KEY, NOW, SUBID, TARGET, Clock, click, configuration, postback
from tests.page.examples import counted, lane, status

TOKEN = "the-admin-token"
BEARER = {"Authorization": f"Bearer {TOKEN}"}

EVIL = "<script>alert('x')</script>\"&'"

YAML = """
tracker: {postback_key: 2a76c2a}
integrations:
  - name: Summer
    campaigns: [AbCd12]
    pixel_id: "1234567890123456"
    token: token-of-summer
    proxy: "http://login-of-proxy:word-of-proxy@10.0.0.5:3128"
    mapping: {sale: {event: Purchase, value: 50%, delay: 30m}, lead: null}
  - name: "<script>alert('x')</script>\\"&'"
    campaigns: ["<i>camp</i>"]
    pixel_id: "2222222222222222"
    token: token-of-evil
    mapping: {sale: Purchase}
"""

#: Each customer's value, and each secret, that no page may hold.
RAW = ("example@gmail.com", "John", "Snow", "71234567890", "8.8.8.8", "Mozilla/5.0", FBCLID, "token-of-summer",
       "token-of-evil", "login-of-proxy", "word-of-proxy", TOKEN)  # fmt: skip


class Told:
    """A status and a configuration in force that the test sets."""

    def __init__(self, config: Configuration) -> None:
        self.config = config
        self.value = status(integrations=[counted(), counted(EVIL, campaigns=["<i>camp</i>"])])
        self.failing = False

    def unready(self) -> list[str]:
        return []

    async def status(self) -> dict[str, Any]:
        if self.failing:
            raise StoreUnavailable("the disk is gone")
        return self.value


@pytest.fixture
def config(tmp_path: Path) -> Configuration:
    return configuration(tmp_path / "config", YAML)


@pytest.fixture
def told(config: Configuration) -> Told:
    return Told(config)


@pytest.fixture
async def client(told: Told, store: SqliteStore, clock: Clock) -> AsyncIterator[aiohttp.ClientSession]:
    """Somebody with the token."""
    house = House(
        store, "live", told.status, lambda: told.config, lambda destination: "", lambda postback, click: click, clock,
        time.monotonic,
    )  # fmt: skip
    app = application(told, TOKEN, None)
    Pages(house).add_to(app.router)
    runner = web.AppRunner(app)
    await runner.setup()
    address = await listen(runner, parse_address("127.0.0.1:0"))
    async with aiohttp.ClientSession(f"http://{address}", headers=BEARER) as client:
        yield client
    await runner.cleanup()


Page = Callable[..., Any]


@pytest.fixture
def page(client: aiohttp.ClientSession) -> Page:
    async def get(path: str, code: int = 200, **form: str) -> str:
        async with client.request("POST" if form else "GET", path, data=form or None) as answer:
            assert answer.status == code, await answer.text()
            # A command breaks between its words only.
            return re.sub(r'<span class="w">([^<]*)</span>', r"\1", await answer.text())

    return get


Sent = Callable[..., Any]


@pytest.fixture
def sent(store: SqliteStore, config: Configuration, clock: Clock) -> Sent:
    """The example's postback, decided, and its delivery settled."""

    async def send(*settlements: Settlement) -> None:
        await store.add_clicks([(click(), True)])
        await store.add(postback(1))
        [pending] = await store.pending(NOW, 10)
        kept = scrubbed(pending.postback, click(), config)
        await store.rule([Ruling(pending, "decided", decide(pending.postback, click(), config, NOW), SUBID, kept)], "v")
        if settlements:
            clock.move(3600)  # past the rule's delay
            await store.lease(await store.destinations(), 10)
            await store.settle(settlements)

    return send


ADDRESSES = ("/", "/?q=x&state=trouble", "/integrations/Summer", f"/postbacks/{SUBID}", "/postbacks", "/explain",
             "/configuration", "/page.css", "/page.js", "/nothing")  # fmt: skip


@pytest.mark.parametrize("path", ADDRESSES)
async def test_no_page_without_the_token(client: aiohttp.ClientSession, path: str) -> None:
    for given in ("", "Bearer wrong", "Basic " + b64encode(b"anybody:wrong").decode()):
        async with client.get(path, headers={"Authorization": given}) as answer:
            assert (answer.status, answer.headers["WWW-Authenticate"].split()[0]) == (401, "Basic")
    async with client.post("/explain", data={"url": TARGET}, headers={"Authorization": ""}) as answer:
        assert answer.status == 401


@pytest.mark.parametrize("path", ["/", "/integrations/nobody", "/postbacks", "/page.css", "/explain"])
async def test_every_page_forbids_what_is_not_its_own(client: aiohttp.ClientSession, path: str) -> None:
    async with client.get(path) as answer:
        policy = answer.headers["Content-Security-Policy"]
        assert policy == (
            "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self' data:; "
            "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
        )
        others = ("X-Content-Type-Options", "Referrer-Policy", "Cache-Control")
        assert [answer.headers[name] for name in others] == ["nosniff", "no-referrer", "no-store"]


async def test_a_page_of_another_site_changes_nothing_with_the_browsers_token(client: aiohttp.ClientSession) -> None:
    for path in ("/api/reload", "/api/queue/delete", "/api/replay"):
        for origin in ("http://evil.example", "null"):
            async with client.post(path, data="{}", headers={"Origin": origin}) as answer:
                assert answer.status == 403


async def test_whatever_is_shown_is_escaped(page: Page, told: Told, sent: Sent) -> None:
    told.value["problems"] = [f"store: {EVIL}"]
    told.value["lanes"] = [lane(words=EVIL, integrations=[EVIL])]
    told.value["configuration"]["error"] = EVIL
    words = Attempt(NOW, 0.1, 0, "refused", "event", EVIL, 400, 100)
    await sent(Settlement(1, "dead", "refused", attempts=(words,)))
    quoted = "%3Cscript%3Ealert%28%27x%27%29%3C%2Fscript%3E%22%26%27"
    for path in ("/", f"/?q={quoted}", f"/integrations/{quoted}", f"/postbacks/{SUBID}", "/configuration"):
        text = await page(path)
        assert "<script>alert" not in text and "<i>camp" not in text
    assert "&lt;script&gt;alert" in await page("/")
    assert EVIL not in await page(f"/postbacks/{quoted}", 404)


async def test_the_list_says_what_is_wrong_since_when_and_what_to_type(page: Page, told: Told) -> None:
    told.value["lanes"] = [lane()]
    text = await page("/")
    assert "<h1>1 problem</h1>" in text
    assert "<title>(1) Integrations" in text
    assert "10 min</b> since 23:50" in text
    assert "capi-sidecar queue release --integration Summer</code>" in text
    assert 'href="/integrations/Summer"' in text
    told.value["lanes"] = []
    assert "<h1>All is well</h1>" in await page("/")


async def test_the_list_is_narrowed_by_name_campaign_or_pixel_and_by_state(page: Page, told: Told) -> None:
    told.value["integrations"] = [counted("Summer sale"), counted("Winter", status="paused", pixel_id="77"),
                                  counted("Autumn", campaigns=["Zz9"])]  # fmt: skip

    def names(text: str) -> list[str]:
        return re.findall(r'<th scope="row"><a href="/integrations/[^"]*">([^<]*)<', text)

    assert names(await page("/")) == ["Summer sale", "Winter", "Autumn"]
    assert names(await page("/?q=SUMMER")) == ["Summer sale"]
    assert names(await page("/?q=zz9")) == ["Autumn"]
    assert names(await page("/?q=77")) == ["Winter"]
    assert names(await page("/?state=paused")) == ["Winter"]
    assert "None of the 3 integrations is like this" in await page("/?q=summer&state=paused")


async def test_the_numbers_and_the_plot_are_those_of_the_last_24_hours(page: Page, sent: Sent) -> None:
    await sent(Settlement(1, "delivered"))
    text = await page("/")
    assert 'aria-label="Last 24 hours: 1 sent, 0 failed; at most 1 an hour"' in text


async def test_an_integrations_page_has_its_mapping_with_places_and_every_attempt(page: Page, sent: Sent) -> None:
    words = Attempt(NOW, 0.1, 1, "refused", "event", "(#100) Invalid parameter", 400, 100)
    await sent(Settlement(1, "dead", "refused", attempts=(words,)))
    text = await page("/integrations/Summer")
    assert "value 50%, delay 30m" in text and "integrations.yaml:9" in text
    assert "10.0.0.5:3128" in text
    assert "dead (refused)" in text and "(#100) Invalid parameter" in text and "proxy 1" in text
    assert "capi-sidecar queue retry q1" in text


async def test_a_postbacks_page_says_what_explain_says(page: Page, sent: Sent) -> None:
    await sent(Settlement(1, "delivered", attempts=(Attempt(NOW, 0.1, 0, "accepted", ""),)))
    for id in (SUBID, f"{1:032x}", f"{SUBID}_sale"):
        text = await page(f"/postbacks/{id}")
        assert "status: sale (as given)" in text
        assert "the postback&#39;s parameter em, hashed" in text
        assert "accepted</b>: Meta took it" in text
    assert "No postback that is kept" in await page("/postbacks/nobody", 404)


async def test_what_is_looked_up_has_an_address_of_its_own(client: aiohttp.ClientSession) -> None:
    async with client.get("/postbacks?id=a%2Fb+c", allow_redirects=False) as answer:
        assert (answer.status, answer.headers["Location"]) == (303, "/postbacks/a%2Fb%20c")


async def test_a_pasted_url_is_explained_by_the_click_that_is_known(page: Page, store: SqliteStore) -> None:
    await store.add_clicks([(click(), True)])
    text = await page("/explain", url=f" https://tracker.example.com{TARGET}\n")
    assert ">accepted</span> sent</h1>" in text
    assert "Purchase" in text and "campaign AbCd12" in text
    waiting = await page("/explain", url=f"/{KEY}/postback?subid=another001")
    assert ">waiting</span> no_click</h1>" in waiting
    for wrong in ("hello", "https://t.example.com/", "x" * 70000):
        assert "That is no postback URL" in await page("/explain", 400, url=wrong)


async def test_no_page_holds_a_customers_value_or_a_secret(page: Page, sent: Sent, store: SqliteStore) -> None:
    await sent(Settlement(1, "delivered", attempts=(Attempt(NOW, 0.1, 0, "accepted", ""),)))
    await store.add(postback(2, f"/{KEY}/postback?subid=waiting001&em=example@gmail.com"))
    texts = [await page(path) for path in ("/", "/integrations/Summer", f"/postbacks/{SUBID}", f"/postbacks/{2:032x}",
                                           "/explain", "/configuration")]  # fmt: skip
    texts.append(await page("/explain", url=f"https://t.example.com{TARGET}&ip=8.8.8.8&ua=Mozilla/5.0"))
    texts.append(await page("/explain", url=f"https://t.example.com/wrong/postback?{TARGET.partition('?')[2]}"))
    for text in texts:
        assert [value for value in RAW if value in text] == []
    assert re.search(r"user_data.em</th><td[^>]*><code>[0-9a-f]{64}<", texts[-2])


async def test_a_store_that_cannot_be_read_is_said(page: Page, told: Told) -> None:
    told.failing = True
    assert await page("/", 503) == "store: the disk is gone\n"


async def test_an_integration_that_is_gone_has_a_page_while_something_is_left_of_it(
    page: Page, sent: Sent, config: Configuration, told: Told
) -> None:
    await sent()
    told.value["integrations"] = [counted(status="gone", waiting=1)]
    told.config = replace(config, integrations=config.integrations[1:])
    text = await page("/integrations/Summer")
    assert "capi-sidecar queue release --integration Summer --to NAME" in text
    assert "There is no integration “Nobody”" in await page("/integrations/Nobody", 404)
