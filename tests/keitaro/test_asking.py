"""The Admin API over real sockets, against a stand-in in a process of its own and through a real proxy."""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from sidecar.core.admin_api import COLUMNS, LEAST
from sidecar.core.secret import Secret
from sidecar.keitaro import Unanswered
from sidecar.keitaro.admin_api import AdminApi
from sidecar.log import Formatter
from tests.acceptance.keitaro import KEY, AdminApiStandIn
from tests.acceptance.parts import Squid, eventually, free_address
from tests.acceptance.proxies import Authority, Microsocks, TlsFront, hanging, resetting
from tests.examples import FBCLID, NOW, Clock

SUMMER = {
    "id": 7,
    "alias": "AbCd12",
    "name": "Summer",
    "parameters": {"sub_id_3": {"name": "sub1", "placeholder": "{fbclid}", "alias": ""}},
}
STOCK = {
    "id": 8,
    "alias": "Stock",
    "name": "Summer",
    "parameters": {"external_id": {"name": "fbclid", "placeholder": "{fbclid}"}},
}


class Time:
    """Seconds of the monotonic clock, and how long was slept, which moves it."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(round(seconds, 6))
        self.now += seconds


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AdminApiStandIn]:
    with AdminApiStandIn(tmp_path_factory.mktemp("admin-api")) as standin:
        yield standin


@pytest.fixture
def standin(started: AdminApiStandIn) -> AdminApiStandIn:
    """As it is at first: no data, no fault, nothing counted."""
    started.fail(mode="none")
    started.set(clicks=[], conversions=[], campaigns=[], unknown=[], names_unknown=True, parameters="object",
                bare=False, total=True, page=1_000_000)  # fmt: skip
    started.forget()
    return started


@pytest.fixture(autouse=True)
def told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "capi-sidecar")


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
async def open_api(standin: AdminApiStandIn, time: Time, clock: Clock) -> AsyncIterator[Callable[..., AdminApi]]:
    """`open_api(key=..., proxy=..., url=..., total=...)`: closed with the test."""
    async with AsyncExitStack() as stack:

        def open_it(key: str = KEY, proxy: str | None = None, url: str | None = None, **limits: float) -> AdminApi:
            way = Secret(proxy) if proxy is not None else None
            api = AdminApi(url or standin.url, Secret(key), way, clock, time, time.sleep, **limits)
            stack.push_async_callback(api.close)
            return api

        yield open_it


@pytest.fixture
def api(open_api: Callable[..., AdminApi]) -> AdminApi:
    return open_api()


def row(number: int, **more: Any) -> dict[str, Any]:
    return {"sub_id": f"sub{number:07}", "datetime": NOW - number, "campaign_id": 7, "campaign": "Summer", **more}


def subids(count: int) -> list[str]:
    return [f"sub{number:07}" for number in range(count)]


def facts(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "capi-sidecar"]


async def refused(api: AdminApi) -> Unanswered:
    with pytest.raises(Unanswered) as caught:
        await api.clicks(subids(1))
    return caught.value


async def test_subids_are_asked_for_in_batches_of_200(standin: AdminApiStandIn, api: AdminApi) -> None:
    standin.set(clicks=[row(number) for number in range(0, 450, 2)])
    answered = await api.clicks([*subids(450), *subids(3)])
    assert answered.asked == set(subids(450))
    assert answered.clicks.keys() == set(subids(450)[::2])
    batches = [each["body"]["filters"][0]["expression"] for each in standin.requests()]
    assert batches == [subids(450)[:200], subids(450)[200:400], subids(450)[400:]]


async def test_nothing_is_asked_for_nobody(standin: AdminApiStandIn, api: AdminApi) -> None:
    assert (await api.clicks([])).asked == frozenset()
    assert standin.counts() == {}


async def test_questions_go_at_a_capped_rate_after_a_small_burst(api: AdminApi, time: Time) -> None:
    await api.clicks(subids(200 * 6))
    assert time.slept == [0.5, 0.5, 0.5, 0.5]
    time.now += 60
    await api.clicks(subids(200 * 3))
    assert time.slept == [0.5] * 5


async def test_a_click_is_read_with_the_slots_and_names_of_its_campaign(
    standin: AdminApiStandIn, api: AdminApi
) -> None:
    standin.set(
        campaigns=[SUMMER, STOCK],
        clicks=[row(1, sub_id_3=FBCLID + "-a1", ip="8.8.8.8"), row(2, campaign_id=8, external_id=FBCLID + "-b2")],
    )
    await api.campaigns()
    clicks = (await api.clicks(subids(3))).clicks
    first, second = (clicks[name] for name in subids(3)[1:])
    assert (first.campaign, first.fbclid, first.clicked_at) == (("AbCd12", "7", "Summer"), FBCLID + "-a1", NOW - 1)
    assert (first.ip, first.source, first.parameters["sub1"]) == ("8.8.8.8", "admin_api", (FBCLID + "-a1",))
    assert (second.campaign, second.fbclid) == (("Stock", "8", "Summer"), FBCLID + "-b2")


@pytest.mark.parametrize("parameters", ["object", "string", "twice"])
@pytest.mark.parametrize("bare", [False, True])
async def test_campaigns_are_read_in_each_encoding(
    standin: AdminApiStandIn, api: AdminApi, parameters: str, bare: bool
) -> None:
    standin.set(campaigns=[SUMMER, STOCK], parameters=parameters, bare=bare)
    summer, stock = await api.campaigns()
    assert (summer.names, summer.slots["sub_id_3"].placeholder) == (("AbCd12", "7", "Summer"), "{fbclid}")
    assert (stock.names, stock.slots["external_id"].name) == (("Stock", "8", "Summer"), "fbclid")


async def test_an_answer_may_be_a_bare_list(standin: AdminApiStandIn, api: AdminApi) -> None:
    standin.set(clicks=[row(0)], bare=True)
    assert (await api.clicks(subids(1))).clicks.keys() == set(subids(1))


@pytest.mark.parametrize(("total", "questions"), [(True, 2), (False, 3)])
async def test_a_tracker_that_gives_fewer_rows_than_asked_for_is_asked_on(
    standin: AdminApiStandIn, api: AdminApi, total: bool, questions: int
) -> None:
    standin.set(clicks=[row(number) for number in range(150)], page=100, total=total)
    assert len((await api.clicks(subids(200))).clicks) == 150
    assert standin.counts() == {"clicks/log": questions}


async def test_of_several_rows_for_a_subid_the_newest_counts(standin: AdminApiStandIn, api: AdminApi) -> None:
    standin.set(clicks=[row(0, datetime=NOW - 50), row(0, datetime=NOW - 10), row(0, datetime=NOW - 30)])
    assert (await api.clicks(subids(1))).clicks["sub0000000"].clicked_at == NOW - 10


async def test_a_column_that_the_tracker_names_costs_one_more_question_and_is_remembered(
    standin: AdminApiStandIn, api: AdminApi, caplog: pytest.LogCaptureFixture
) -> None:
    standin.set(clicks=[row(0, ip="8.8.8.8")], unknown=["creative_id"])
    for _ in range(2):
        assert (await api.clicks(subids(1))).clicks["sub0000000"].ip == "8.8.8.8"
    assert [each["status"] for each in standin.requests()] == [400, 200, 200]
    assert standin.requests()[-1]["body"]["columns"] == [name for name in COLUMNS if name != "creative_id"]
    assert (facts(caplog), api.trouble) == (["admin_api.columns"], "")


async def test_columns_that_the_tracker_does_not_name_are_found_and_remembered(
    standin: AdminApiStandIn, api: AdminApi
) -> None:
    unknown = ["country_code", *(f"extra_param_{number}" for number in range(1, 11))]
    standin.set(clicks=[row(0, country="Germany", sub_id_30="x")], unknown=unknown, names_unknown=False)
    click = (await api.clicks(subids(1))).clicks["sub0000000"]
    assert (click.country, click.parameters["sub_id_30"]) == ("Germany", ("x",))
    assert standin.requests()[1]["body"]["columns"] == list(LEAST)
    standin.forget()
    await api.clicks(subids(1))
    assert [each["status"] for each in standin.requests()] == [200]


async def test_a_refused_column_is_asked_for_again_after_a_day(
    standin: AdminApiStandIn, api: AdminApi, time: Time
) -> None:
    standin.set(clicks=[row(0)], unknown=["creative_id"])
    await api.clicks(subids(1))
    standin.set(unknown=[])
    time.now += 86401
    await api.clicks(subids(1))
    assert standin.requests()[-1]["status"] == 200
    assert standin.requests()[-1]["body"]["columns"] == list(COLUMNS)


async def test_a_request_that_is_refused_for_the_fewest_columns_is_a_fault(
    standin: AdminApiStandIn, api: AdminApi, time: Time
) -> None:
    standin.set(unknown=["campaign_id"], names_unknown=False)
    fault = await refused(api)
    assert fault.words.startswith("the tracker refuses the request, even for the fewest columns (HTTP 400)")
    assert (fault.retry_after, [each["status"] for each in standin.requests()]) == (5.0, [400, 400])
    standin.set(unknown=[])
    time.now += 5
    await api.clicks(subids(1))
    assert standin.requests()[-1]["body"]["columns"] == list(COLUMNS)


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (402, "the tracker's edition has no Admin API (HTTP 402); change to an edition that has one, or remove "
              "tracker.admin_api"),
        (401, "the tracker refuses the key (HTTP 401); put a valid Admin API key into tracker.admin_api.key"),
        (403, "the key has not the right to read this (HTTP 403); let its user read campaigns, clicks and conversions, "
              "and this machine reach the Admin API"),
        (404, "no Admin API is at this address (HTTP 404); write the tracker's own host into tracker.admin_api.url, "
              "without a path"),
    ],
)  # fmt: skip
async def test_what_people_must_mend_is_told_in_words_and_asked_again_after_a_quarter_of_an_hour(
    standin: AdminApiStandIn, api: AdminApi, time: Time, caplog: pytest.LogCaptureFixture, status: int, words: str
) -> None:
    standin.fail(mode="status", status=status)
    fault = await refused(api)
    assert (fault.words, fault.retry_after, api.trouble, api.is_answering) == (words, 900.0, words, False)
    time.now += 899
    assert (await refused(api)).retry_after == 1.0
    assert standin.counts() == {"clicks/log": 1}
    time.now += 1
    await refused(api)
    standin.fail(mode="none")
    time.now += 900
    await api.clicks(subids(1))
    assert (standin.counts(), api.trouble, api.is_answering) == ({"clicks/log": 3}, "", True)
    assert facts(caplog) == ["admin_api.failing", "admin_api.well"]
    assert caplog.records[0].levelno == logging.ERROR


async def test_a_wrong_key_is_refused(standin: AdminApiStandIn, open_api: Callable[..., AdminApi]) -> None:
    assert (await refused(open_api(key="another"))).words.startswith("the tracker refuses the key (HTTP 401)")


async def test_a_key_that_no_header_can_carry_is_never_sent(
    standin: AdminApiStandIn, open_api: Callable[..., AdminApi]
) -> None:
    fault = await refused(open_api(key="one\r\nHost: two"))
    assert fault.words.startswith("the key holds characters that no header can carry")
    assert standin.counts() == {}


@pytest.mark.parametrize("status", [408, 425, 429, 500, 503])
async def test_retry_after_holds_in_full(standin: AdminApiStandIn, api: AdminApi, time: Time, status: int) -> None:
    standin.fail(mode="status", status=status, retry_after="1200", times=1)
    assert (await refused(api)).retry_after == 1200.0
    time.now += 1199
    assert (await refused(api)).retry_after == 1.0
    time.now += 1
    await api.clicks(subids(1))
    assert standin.counts() == {"clicks/log": 2}


async def test_retry_after_may_be_a_date(standin: AdminApiStandIn, api: AdminApi) -> None:
    standin.fail(mode="status", status=503, retry_after="Wed, 25 Nov 2026 00:02:00 GMT")
    assert (await refused(api)).retry_after == 120.0


async def test_a_fault_that_may_pass_is_tried_again_ever_more_rarely(
    standin: AdminApiStandIn, api: AdminApi, time: Time, caplog: pytest.LogCaptureFixture
) -> None:
    standin.fail(mode="status", status=502)
    rests = []
    for _ in range(8):
        rests.append((await refused(api)).retry_after)
        time.now += rests[-1]
    assert rests == [5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 300.0, 300.0]
    assert (standin.counts(), api.is_answering) == ({"clicks/log": 8}, False)
    standin.fail(mode="none")
    await api.clicks(subids(1))
    standin.fail(mode="status", status=502)
    assert (await refused(api)).retry_after == 5.0
    assert facts(caplog) == ["admin_api.failing", "admin_api.well", "admin_api.failing"]


async def test_while_a_path_rests_its_questions_are_refused_at_once_and_the_others_asked(
    standin: AdminApiStandIn, api: AdminApi, time: Time
) -> None:
    standin.fail(mode="status", status=403, path="campaigns")
    with pytest.raises(Unanswered):
        await api.campaigns()
    with pytest.raises(Unanswered):
        await api.campaigns()
    await api.clicks(subids(1))
    assert (standin.counts(), time.slept) == ({"campaigns": 1, "clicks/log": 1}, [])
    assert api.is_answering and api.trouble


async def test_when_the_rest_is_over_one_question_goes_before_all_others(
    standin: AdminApiStandIn, api: AdminApi, time: Time
) -> None:
    standin.fail(mode="status", status=500)
    await refused(api)
    time.now += 5
    results = await asyncio.gather(*(api.clicks(subids(1)) for _ in range(5)), return_exceptions=True)
    assert all(isinstance(each, Unanswered) for each in results)
    assert standin.counts() == {"clicks/log": 2}


@pytest.mark.parametrize(
    ("order", "words"),
    [
        ({"mode": "html"}, "the answer is no list in JSON; is tracker.admin_api.url the tracker's own address, with no "
                           "other page before it?"),
        ({"mode": "slow", "seconds": 20}, "no answer in time; wait: it is tried again by itself"),
        ({"mode": "reset"}, "the connection broke (ServerDisconnectedError); wait: it is tried again by itself"),
        ({"mode": "status", "status": 302, "location": "https://elsewhere.example.com/"},
         "the address leads elsewhere, and the key is not carried there (HTTP 302); write the address that it leads to "
         "into tracker.admin_api.url"),
    ],
)  # fmt: skip
async def test_no_usable_answer_is_a_fault_in_words(
    standin: AdminApiStandIn, open_api: Callable[..., AdminApi], order: dict[str, Any], words: str
) -> None:
    standin.fail(**order)
    assert (await refused(open_api(total=0.5))).words == words


async def test_a_tracker_that_is_not_there_is_named_and_not_meta(open_api: Callable[..., AdminApi]) -> None:
    words = "connect: refused or unreachable; may this machine reach the tracker?"
    assert (await refused(open_api(url=f"http://{free_address()}"))).words == words


async def test_the_whole_address_of_the_admin_api_may_be_written(
    standin: AdminApiStandIn, open_api: Callable[..., AdminApi]
) -> None:
    await open_api(url=f"{standin.url}/admin_api/v1/").clicks(subids(1))
    assert standin.counts() == {"clicks/log": 1}


async def test_conversions_come_page_by_page_and_the_oldest_first(standin: AdminApiStandIn, api: AdminApi) -> None:
    standin.set(conversions=[
        {"sub_id": f"sub{number:07}", "status": "sale", "revenue": "2.61", "postback_datetime": NOW - number}
        for number in range(2500)
    ])  # fmt: skip
    found = [each async for each in api.conversions(NOW - 2200, NOW)]
    assert [each.subid for each in found] == subids(2201)[::-1]
    assert [each["body"]["offset"] for each in standin.requests()] == [0, 1000, 2000]


async def test_a_tracker_that_ignores_the_offset_does_not_go_on_for_ever(
    standin: AdminApiStandIn, api: AdminApi
) -> None:
    same = {"sub_id": "sub0000000", "status": "sale", "revenue": "1", "postback_datetime": NOW - 5}
    standin.set(conversions=[same] * 2000, total=False)
    with pytest.raises(Unanswered, match="the same page twice"):
        [each async for each in api.conversions(NOW - 60, NOW)]


async def test_the_proxy_is_asked_and_nothing_goes_around_it(
    tmp_path: Path, standin: AdminApiStandIn, open_api: Callable[..., AdminApi], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setitem(os.environ, name, f"http://{free_address()}")
    monkeypatch.setitem(os.environ, "NO_PROXY", "*")
    standin.set(clicks=[row(0)])
    with Squid(tmp_path, "proxy", "se/c:r@et") as squid:
        assert len((await open_api(proxy=squid.url).clicks(subids(1))).clicks) == 1
        await eventually(squid.requests, "Squid has written its log")
        assert [(method, user) for method, _, _, user in squid.requests()] == [("POST", "proxy")]
        wrong = squid.url.replace("se%2Fc", "wrong")
        assert (await refused(open_api(proxy=wrong))).words == (
            "proxy login: user or password is wrong; correct them in the proxy's URL"
        )
    assert (await refused(open_api(proxy=squid.url))).words.startswith("proxy connect: refused or unreachable")
    await open_api().clicks(subids(1))
    assert standin.counts() == {"clicks/log": 2}


async def test_an_https_tracker_is_reached_through_a_tunnel_and_its_certificate_judged(
    tmp_path: Path, standin: AdminApiStandIn, open_api: Callable[..., AdminApi], monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = Authority(tmp_path)
    front = TlsFront(tmp_path, authority.certificate("tracker"), standin.address)
    with front, Squid(tmp_path) as squid, Microsocks(tmp_path) as socks:
        fault = await refused(open_api(url=front.url, proxy=squid.url))
        assert fault.words.startswith("proxy TLS: the tracker's certificate is not accepted through it")
        monkeypatch.setitem(os.environ, "SSL_CERT_FILE", str(authority.file))
        for proxy in (squid.url, socks.url("socks5h"), None):
            api = open_api(url=front.url, proxy=proxy)
            await api.clicks(subids(1))
            await api.close()
        await eventually(lambda: len(squid.requests()) == 2, "both tunnels have ended")
        assert {method for method, _, _, _ in squid.requests()} == {"CONNECT"}
        await eventually(lambda: len(socks.names()) == 1, "microsocks was asked once")
    assert standin.counts() == {"clicks/log": 3}


@pytest.mark.parametrize("broken", [hanging, resetting])
async def test_a_proxy_that_is_broken_is_blamed_and_not_passed_by(
    standin: AdminApiStandIn, open_api: Callable[..., AdminApi], broken: Any
) -> None:
    with broken() as proxy:
        fault = await refused(open_api(proxy=f"http://{proxy.address}", connect=0.3, total=0.5))
    assert "Meta" not in fault.words
    assert standin.counts() == {}


async def test_what_is_no_proxy_is_no_way_around_one(
    standin: AdminApiStandIn, open_api: Callable[..., AdminApi]
) -> None:
    assert (await refused(open_api(proxy=""))).words.startswith("proxy connect: its URL is none")
    assert standin.counts() == {}


async def test_key_and_proxy_login_stand_in_no_log_no_exception_and_no_url(
    tmp_path: Path, standin: AdminApiStandIn, open_api: Callable[..., AdminApi], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    told = []
    with Squid(tmp_path, "proxy", "canary-2") as squid:
        for order in ({"mode": "none"}, {"mode": "status", "status": 401}, {"mode": "html"}, {"mode": "reset"}):
            standin.fail(**order)
            api = open_api(key="canary-1", proxy=squid.url)
            told += [repr(await refused(api)), api.trouble, repr(api.__dict__)]
        api = open_api(key="canary-1", proxy=squid.url.replace("canary-2", "canary-3"))
        told += [repr(await refused(api)), api.trouble]
    told += [Formatter().format(record) for record in caplog.records]
    told += [f"{each['url']} {each['agent']}" for each in standin.requests()]
    assert len(told) > 20
    assert [text for text in told if "canary" in text] == []
