import contextlib
import ipaddress
import json
import random
import time
from dataclasses import replace
from typing import Any

import pytest

from sidecar.core.click import Click
from sidecar.core.configuration import Tracker
from sidecar.core.line import BadLine, parse_line, read_click, read_postback
from tests.core.examples import FBCLID, KEY, SUBID

CLICK = {
    "v": "1",
    "event": "click",
    "id": "0123456789abcdef0123456789abcdef",
    "time": "1795010340.750",
    "took": "0.250",
    "status": "302",
    "method": "GET",
    "scheme": "https",
    "host": "track.example.com",
    "uri": f"/AbCd12/land?fbclid={FBCLID}&ad=77",
    "ip": "8.8.8.8",
    "peer": "8.8.8.8",
    "cf_ip": "9.9.9.9",
    "xff": "7.7.7.7",
    "country": "US",
    "ua": "Mozilla/5.0",
    "referer": "https://l.facebook.com/",
    "lang": "en",
    "fbp": "fb.1.1.2",
    "fbc": "-",
    "subid": SUBID,
    "location": "https://offer.example.com/?s=other6789#x",
}
CDN = (ipaddress.ip_network("8.8.8.0/24"),)


def line(**changes: Any) -> bytes:
    text = json.dumps({**CLICK, **changes}, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "surrogateescape")


def click(tracker: Tracker | None = None, **changes: str) -> Click | None:
    return read_click(parse_line(line(**changes)), tracker or Tracker())


def test_a_click_is_what_its_line_says() -> None:
    assert click() == Click(
        subid=SUBID,
        campaign=("AbCd12",),
        clicked_at=1795010340.5,
        fbp="fb.1.1.2",
        ip="8.8.8.8",
        user_agent="Mozilla/5.0",
        referrer="https://l.facebook.com/",
        url="https://track.example.com/AbCd12/land",
        parameters={"fbclid": (FBCLID,), "ad": ("77",)},
        source="journal",
    )


@pytest.mark.parametrize("absent", ["", "-", None])
def test_an_absent_field_is_left_out(absent: str | None) -> None:
    assert "referer" not in parse_line(line(referer=absent))


def test_an_unknown_field_does_no_harm() -> None:
    assert parse_line(line(new="x"))["new"] == "x"


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"", "no JSON object"),
        (b"[1]", "no JSON object"),
        (b'"text"', "no JSON object"),
        (b"[" * 65536, "no JSON object"),
        (b'{"v":"1","a":' * 5000, "no JSON object"),
        (line()[:-9], "no JSON object"),
        (line(v="2"), "another version of the format than 1"),
        (line(v=1), "another version of the format than 1"),
        (line(event="-"), "without event"),
        (line(id=""), "without id"),
        (line(time=None), "without time"),
        (line(uri=5), "without uri"),
        (line(id="a b"), "with an id or time that is none"),
        (line(time="soon"), "with an id or time that is none"),
        (line(time="nan"), "with an id or time that is none"),
        (line(time="1e12"), "with an id or time that is none"),
        (line(time="-1"), "with an id or time that is none"),
    ],
)
def test_a_line_that_cannot_be_read_says_why_and_shows_nothing(raw: bytes, why: str) -> None:
    with pytest.raises(BadLine) as caught:
        parse_line(raw)
    assert str(caught.value) == why


def test_a_line_glued_to_a_cut_one_is_read() -> None:
    assert parse_line(line(uri="/cut")[:150] + line(uri="/whole"))["uri"] == "/whole"


def test_raw_control_characters_are_read() -> None:
    assert parse_line(line(ua="a\tb").replace(b"\\t", b"\t"))["ua"] == "a\tb"


def test_bytes_that_are_no_utf8_stay_in_a_target_and_become_replacement_characters_in_a_click() -> None:
    assert parse_line(line(uri="/\udcff?a=\udcfe"))["uri"] == "/\udcff?a=\udcfe"
    fields: dict[str, Any] = dict.fromkeys(("ua", "referer", "fbp", "fbc", "ip", "host", "scheme"), "\udcff")
    found = click(uri="/\udcff?a=\udcfe", **fields)
    assert found
    assert (found.campaign, found.user_agent, found.ip) == (("\ufffd",), "\ufffd", "\ufffd")
    assert found.parameters == {"a": ("\ufffd",)}
    assert found.url == "\ufffd://\ufffd/\ufffd"


@pytest.mark.parametrize("name", ["ua", "uri", "body", "location", "host", "ip", "type", "method"])
def test_an_escaped_lone_surrogate_does_no_harm(name: str) -> None:
    raw = json.dumps({**CLICK, name: "/x?\ud800"}).encode()
    read_click(parse_line(raw), Tracker())
    postback = read_postback(parse_line(raw))
    "".join([postback.method, postback.type]).encode()
    postback.uri.encode("utf-8", "surrogateescape")


@pytest.mark.parametrize(
    ("uri", "campaign"),
    [
        ("/AbCd12", "AbCd12"),
        ("/AbCd12/", "AbCd12"),
        ("/AbCd12?x=1", "AbCd12"),
        ("/AbCd12/land/index.php?x=1", "AbCd12"),
        ("/", "track.example.com"),
        ("/?x=/a", "track.example.com"),
        ("/index.php", "track.example.com"),
        ("/index.php?x=1", "track.example.com"),
    ],
)
def test_a_campaign_is_the_first_segment_or_the_host(uri: str, campaign: str) -> None:
    found = click(uri=uri)
    assert found
    assert found.campaign == (campaign,)


@pytest.mark.parametrize(
    ("sources", "changes", "subid"),
    [
        (("cookie",), {}, SUBID),
        (("cookie",), {"subid": "-"}, None),
        (("cookie",), {"subid": "bad"}, None),
        (("location:s",), {}, "other6789"),
        (("cookie", "location:s"), {}, SUBID),
        (("cookie", "location:s"), {"subid": "bad"}, "other6789"),
        (("location:t", "cookie"), {}, SUBID),
        (("location:s",), {"location": "/relative?s=other6789"}, "other6789"),
        (("location:s",), {"location": "https://[broken/?s=other6789#s=x"}, "other6789"),
        (("location:s",), {"location": "https://offer.example.com/#?s=other6789"}, None),
        (("location:s",), {"location": "https://offer.example.com/?s={subid}"}, None),
        (("location:s",), {"location": "-"}, None),
    ],
)
def test_the_subid_is_looked_for_where_the_configuration_says(
    sources: tuple[str, ...], changes: dict[str, str], subid: str | None
) -> None:
    found = click(Tracker(subid_from=sources), **changes)
    assert (found and found.subid) == subid


@pytest.mark.parametrize(
    ("cdn", "changes", "ip", "country"),
    [
        ((), {}, "8.8.8.8", ""),
        (CDN, {}, "9.9.9.9", "US"),
        (CDN, {"cf_ip": "-"}, "8.8.8.8", "US"),
        (CDN, {"peer": "::ffff:8.8.8.8"}, "9.9.9.9", "US"),
        (CDN, {"peer": "7.7.7.7"}, "8.8.8.8", ""),
        (CDN, {"peer": "no address"}, "8.8.8.8", ""),
        (CDN, {"peer": "-"}, "8.8.8.8", ""),
    ],
)
def test_a_cdns_address_and_country_count_only_when_the_peer_is_the_cdn(
    cdn: Any, changes: dict[str, str], ip: str, country: str
) -> None:
    found = click(Tracker(cdn=cdn), **changes)
    assert found
    assert (found.ip, found.country) == (ip, country)


def test_a_landing_page_adds_to_a_click_and_makes_none() -> None:
    found = click(uri="/?_update_tokens=1&sub_id=another99&sub_id_10=fb.1.1.3&em=a%40b.example")
    assert found == Click(
        subid="another99",
        fbp="fb.1.1.2",
        ip="8.8.8.8",
        user_agent="Mozilla/5.0",
        parameters={"sub_id_10": ("fb.1.1.3",), "em": ("a@b.example",)},
        source="journal",
    )


def test_a_clicks_time_is_the_arrival_and_never_before_the_epoch() -> None:
    found = click(time="5", took="9")
    assert found
    assert found.clicked_at == 0


def test_a_postback_of_a_line_is_its_arrival_target_type_and_body() -> None:
    uri = f"/{KEY}/postback?subid={SUBID}"
    postback = read_postback(parse_line(line(event="postback", method="POST", uri=uri, type="text/x", body="a=\udcff")))
    assert (postback.id, postback.received_at, postback.method) == (CLICK["id"], 1795010340.5, "POST")
    assert (postback.uri, postback.type, postback.body) == (uri, "text/x", b"a=\xff")


def test_a_postback_without_a_body_is_a_get() -> None:
    postback = read_postback(parse_line(line(event="postback", method="-")))
    assert (postback.method, postback.type, postback.body) == ("GET", "", b"")


def test_a_postbacks_address_and_agent_are_not_read() -> None:
    assert read_postback(parse_line(line())) == replace(read_postback(parse_line(line(ip="1.2.3.4", ua="x"))))


def test_no_junk_raises_anything_but_a_bad_line() -> None:
    chance = random.Random(11)
    tracker = Tracker(subid_from=("location:s", "cookie"), cdn=CDN)
    for _ in range(4000):
        raw = bytearray(line(**{chance.choice(list(CLICK)): chance.choice(["", "[", "//[", "\udcff", "1" * 99, "%"])}))
        for _ in range(chance.randrange(4)):
            raw[chance.randrange(len(raw))] = chance.choice(b'{}[]"\\:,0u\xff\x00')
        try:
            fields = parse_line(bytes(raw))
        except BadLine:
            continue
        read_postback(fields)
        read_click(fields, tracker)


@pytest.mark.parametrize(
    "raw",
    [
        b'{"v":"1"' * 8192,
        b"\xff" * 65536,
        b"{" * 65536,
        b'{"v":' + b"9" * 65536 + b"}",
        line(uri="/?_update_tokens=1&" + "&=%" * 20000),
        line(uri="/" * 65536),
    ],
)
def test_sixty_four_kilobytes_of_junk_are_read_at_once(raw: bytes) -> None:
    started = time.process_time()
    with contextlib.suppress(BadLine):
        read_click(parse_line(raw), Tracker())
    assert time.process_time() - started < 5  # far more than it needs; what is quadratic takes longer still
