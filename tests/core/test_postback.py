import random
import time

import pytest

from sidecar.core.postback import Postback
from tests.core.examples import KEY, postback


@pytest.mark.parametrize(
    ("uri", "key"),
    [
        (f"/{KEY}/postback?subid=x", KEY),
        (f"/{KEY}/postback/?subid=x", KEY),
        (f"/{KEY}/postback", KEY),
        (f"https://track.example.com/{KEY}/postback?subid=x", KEY),
        (f"HTTP://track.example.com:8080/{KEY}/postback", KEY),
        (f"/{KEY}/postback?return=http://other.example.com/k/postback", KEY),
        (f"/{KEY}http://other.example.com/postback", None),
        (f"/http://other.example.com/{KEY}/postback", None),
        (f"/a/{KEY}/postback", None),
        (f"/{KEY}/postbacks", None),
        ("/postback", None),
        ("//postback", None),
        ("", None),
        ("?subid=x", None),
    ],
)
def test_the_key_is_the_first_segment_before_postback(uri: str, key: str | None) -> None:
    assert postback(uri).key == key


def test_a_form_body_beats_the_query_name_by_name() -> None:
    given = postback("/k/postback?subid=one&status=lead&tid=7", body=b"subid=two&payout=3")
    assert given.parameters == {"subid": ("two",), "status": ("lead",), "tid": ("7",), "payout": ("3",)}


def test_a_json_body_beats_the_query_name_by_name() -> None:
    given = postback("/k/postback?subid=one&tid=7", body=b'{"subid": "two", "payout": 2.610}', type="application/json")
    assert given.parameters == {"subid": ("two",), "tid": ("7",), "payout": ("2.610",)}


def test_a_null_in_json_leaves_the_querys_value() -> None:
    given = postback("/k/postback?subid=one", body=b'{"subid": null}', type="application/json")
    assert given.parameters == {"subid": ("one",)}


def test_json_names_are_changed_as_phps_are() -> None:
    given = postback("/k/postback", body=b'{"sub.id": "one", " a b": 2}', type="application/json")
    assert given.parameters == {"sub_id": ("one",), "a_b": ("2",)}


def test_a_body_that_cannot_be_read_leaves_a_remark_and_the_query() -> None:
    given = postback("/k/postback?subid=one", body=b"{", type="application/json")
    assert given.parameters == {"subid": ("one",)}
    assert given.remarks == ("body is not valid JSON",)


def test_without_a_body_nothing_is_remarked_upon() -> None:
    assert postback().remarks == ()


def _junk(chance: random.Random) -> Postback:
    alphabet = '&=%+?#/{}[]."\\:, ab01\x00\n\u00e9\u0663\ud800\udcff\U0001f600'
    text = "".join(chance.choices(alphabet, k=chance.randrange(200)))
    types = ("", "application/json", "application/x-www-form-urlencoded", "text/plain", text[:9], "a/b+json")
    return Postback("0" * 32, 0.0, "POST", text, chance.choice(types), chance.randbytes(chance.randrange(100)))


def test_no_junk_raises() -> None:
    chance = random.Random(7)
    for _ in range(3000):
        given = _junk(chance)
        texts = [given.key or "", *given.remarks]
        texts += [text for name, values in given.parameters.items() for text in (name, *values)]
        "".join(texts[1:]).encode()  # only a key may hold bytes that are no UTF-8: it is compared, never shown


@pytest.mark.parametrize(
    ("uri", "body", "type"),
    [
        ("/k/postback?" + "%&=+&%zz=%00" * 5461, b"", ""),
        ("/k/postback?" + "http://" * 9362, b"", ""),
        ("http:" * 13107, b"", ""),
        ("/k/postback", b"a" * 65536, ""),
        ("/k/postback", b"&" * 65536, ""),
        ("/k/postback", b"\xff" * 65536, ""),
        ("/k/postback", b'{"a":' * 13107, "application/json"),
        ("/k/postback", b"[" * 65536, "application/json"),
        ("/k/postback", b'{"a": ' + b"9" * 65536 + b"}", "application/json"),
    ],
)
def test_sixty_four_kilobytes_of_junk_are_read_at_once(uri: str, body: bytes, type: str) -> None:
    started = time.process_time()
    given = postback(uri, body=body, type=type)
    _ = given.key, given.parameters, given.remarks
    assert time.process_time() - started < 5  # far more than it needs; what is quadratic takes longer still
