"""Places by address, on real databases: which click gets which, and what becomes of a file that changes."""

import logging
import os
import random
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sidecar.clicks.places import Places
from sidecar.core.click import Click
from tests.core.examples import FBCLID, SUBID, bare, sent, sha
from tests.databases import SAN_FRANCISCO, write_database

ADDRESS = "8.8.8.8"
NETWORK = "8.8.8.0/24"
IPV6 = "2a00:1450:4001::8"

FRANKFURT = {
    "country": {"iso_code": "DE"},
    "subdivisions": [{"names": {"en": "Hesse"}}],
    "city": {"names": {"en": "Frankfurt am Main (Innenstadt I)"}},
}

#: Nobody on the Internet has an address of these; a database may say what it likes.
PRIVATE = ("10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "192.168.0.0/16", "224.0.0.0/4", "fd00::/8",
           "fe80::/10")  # fmt: skip

Database = Callable[..., Places]
Facts = Callable[[], list[tuple[str, dict[str, Any]]]]


@pytest.fixture
def database(tmp_path: Path) -> Database:
    """`database({network: record}, **options)`: places from a database with these records."""

    def made(records: dict[str, Any], **options: Any) -> Places:
        return Places(write_database(tmp_path / "places.mmdb", records, **options))

    return made


@pytest.fixture
def facts(caplog: pytest.LogCaptureFixture) -> Facts:
    """`facts()`: every fact that was logged, with its keys."""
    caplog.set_level(logging.INFO, "capi-sidecar")
    return lambda: [(record.getMessage(), record.__dict__["keys"]) for record in caplog.records]


def place(places: Places, ip: str = ADDRESS, **fields: str) -> tuple[str, str, str]:
    click = places.placed(Click(SUBID, ip=ip, **fields))
    return click.country, click.region, click.city


# Which click gets which place.


@pytest.mark.parametrize(
    ("ip", "expected"),
    [
        (ADDRESS, ("US", "California", "San Francisco")),
        ("::ffff:8.8.8.8", ("US", "California", "San Francisco")),
        (IPV6, ("DE", "Hesse", "Frankfurt am Main")),
        ("9.9.9.9", ("", "", "")),
        ("2606:4700::1", ("", "", "")),
        ("10.0.0.1", ("", "", "")),
        ("127.0.0.1", ("", "", "")),
        ("192.168.1.7", ("", "", "")),
        ("100.64.0.1", ("", "", "")),
        ("169.254.1.1", ("", "", "")),
        ("224.0.0.1", ("", "", "")),
        ("fe80::1%eth0", ("", "", "")),
        ("fd00::1", ("", "", "")),
        ("8.8.8.8, 10.0.0.1", ("", "", "")),
        ("8.8.8.8:443", ("", "", "")),
        ("8.8.8", ("", "", "")),
        ("{ip}", ("", "", "")),
        ("\ud800", ("", "", "")),
        ("", ("", "", "")),
    ],
)
def test_a_place_is_that_of_a_public_address(database: Database, ip: str, expected: tuple[str, str, str]) -> None:
    private = dict.fromkeys(PRIVATE, FRANKFURT)
    assert place(database({NETWORK: SAN_FRANCISCO, "2a00:1450::/32": FRANKFURT, **private}), ip) == expected


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        ({}, ("US", "California", "San Francisco")),
        ({"country": "US"}, ("US", "California", "San Francisco")),
        ({"country": "us"}, ("us", "California", "San Francisco")),
        ({"country": "United States"}, ("United States", "California", "San Francisco")),
        ({"country": "DE"}, ("DE", "", "")),
        ({"country": "Germany", "city": "Bonn"}, ("Germany", "", "Bonn")),
        ({"country": "XX"}, ("US", "California", "San Francisco")),
        ({"country": "{country}"}, ("US", "California", "San Francisco")),
        ({"city": "Oakland"}, ("US", "California", "Oakland")),
        ({"country": "US", "region": "CA"}, ("US", "CA", "San Francisco")),
        ({"country": "US", "region": "Nevada", "city": "Reno"}, ("US", "Nevada", "Reno")),
    ],
)
def test_what_tracker_and_cdn_said_stays_and_only_gaps_that_do_not_contradict_it_are_filled(
    database: Database, known: dict[str, str], expected: tuple[str, str, str]
) -> None:
    assert place(database({NETWORK: SAN_FRANCISCO}), **known) == expected


@pytest.mark.parametrize(
    ("record", "type", "expected"),
    [
        ({"country": {"iso_code": "FR"}}, "GeoLite2-Country", ("FR", "", "")),
        ({"registered_country": {"iso_code": "FR"}}, "GeoLite2-Country", ("FR", "", "")),
        (FRANKFURT, "DBIP-City-Lite", ("DE", "Hesse", "Frankfurt am Main")),
        ({"country": {"iso_code": "de"}, "city": {"names": {}}}, "DBIP-City-Lite", ("DE", "", "")),
        ({"country": {"iso_code": "DE"}, "subdivisions": []}, "GeoLite2-City", ("DE", "", "")),
        ({"country": {"iso_code": "DE"}, "subdivisions": {"0": 1}, "city": ["x"]}, "Other", ("DE", "", "")),
        ({"country": {"iso_code": "DE"}, "subdivisions": "CA", "city": {"names": "Bonn"}}, "Other", ("DE", "", "")),
        ({"country": {"iso_code": "DE"}, "city": {"names": {"en": 7}}}, "Other", ("DE", "", "")),
        ({"country": {"iso_code": 49}}, "Other", ("", "", "")),
        ({"country": "DE", "city": "Bonn"}, "Other", ("", "", "")),
        ({"autonomous_system_number": 15169}, "GeoLite2-ASN", ("", "", "")),
        ({"city": {"names": {"en": "Bonn"}}}, "Other", ("", "", "")),
        (["DE"], "Other", ("", "", "")),
        ("DE", "Other", ("", "", "")),
        (7, "Other", ("", "", "")),
    ],
)
def test_a_record_gives_what_it_has_and_a_strange_one_nothing(
    database: Database, record: Any, type: str, expected: tuple[str, str, str]
) -> None:
    assert place(database({NETWORK: record}, type=type)) == expected


def test_an_ipv6_address_has_no_place_in_a_database_of_ipv4(database: Database) -> None:
    places = database({NETWORK: SAN_FRANCISCO}, ip_version=4)
    assert place(places, IPV6) == ("", "", "")
    assert place(places)[0] == "US"


def test_without_a_database_a_click_stays_as_it_is() -> None:
    click = bare(ip=ADDRESS)
    assert Places(None).placed(click) is click


def test_the_place_goes_hashed_into_the_event(database: Database) -> None:
    click = database({NETWORK: SAN_FRANCISCO}).placed(bare(fbclid=FBCLID, ip=ADDRESS))
    user_data = sent(click=click)["user_data"]
    assert user_data["country"] == [sha("us")]
    assert user_data["st"] == [sha("ca")]  # the code of a state of the USA
    assert user_data["ct"] == [sha("sanfrancisco")]
    assert user_data["client_ip_address"] == ADDRESS


def test_a_private_address_and_a_place_for_it_never_leave(database: Database) -> None:
    click = database({"10.0.0.0/8": SAN_FRANCISCO}).placed(bare(fbclid=FBCLID, ip="10.0.0.7"))
    assert not {"client_ip_address", "country", "st", "ct"} & set(sent(click=click)["user_data"])


def test_a_lookup_is_cheap(database: Database) -> None:
    networks = {f"{first}.{second}.0.0/16": SAN_FRANCISCO for first in (20, 23, 34, 52) for second in range(256)}
    places = database(networks)
    clicks = [bare(ip=f"{first}.{second}.1.7") for first in (20, 23, 34, 52) for second in range(256)]
    began = time.process_time()
    assert all(places.placed(click).city for click in clicks)
    assert (time.process_time() - began) / len(clicks) < 0.002  # some 20 microseconds; far more on a busy machine


# The file changes.


def test_a_database_that_is_renamed_into_place_is_used_from_the_next_look_on(
    database: Database, tmp_path: Path, facts: Facts
) -> None:
    places = database({NETWORK: SAN_FRANCISCO})
    places.reload_if_changed()
    fresh = write_database(tmp_path / "fresh", {NETWORK: FRANKFURT}, type="DBIP-City-Lite")
    fresh.rename(tmp_path / "places.mmdb")
    assert place(places)[0] == "US"
    places.reload_if_changed()
    assert place(places)[0] == "DE"
    assert [(fact, keys["type"]) for fact, keys in facts()] == [
        ("geoip.loaded", "GeoLite2-City"),
        ("geoip.loaded", "DBIP-City-Lite"),
    ]
    assert facts()[0][1]["built"] == time.strftime("%Y-%m-%d", time.gmtime())


def test_a_database_that_is_overwritten_in_place_is_never_read_half(
    database: Database, tmp_path: Path, facts: Facts
) -> None:
    places = database({NETWORK: SAN_FRANCISCO})
    fresh = write_database(tmp_path / "fresh", {NETWORK: FRANKFURT}).read_bytes()
    with (tmp_path / "places.mmdb").open("wb", buffering=0) as file:
        for start in range(0, len(fresh), len(fresh) // 3):
            places.reload_if_changed()
            assert place(places)[0] == "US"
            assert place(places, "8.8.8.9")[0] == "US"  # one that was never asked for before
            file.write(fresh[start : start + len(fresh) // 3])
    places.reload_if_changed()
    assert place(places)[0] == "DE"
    assert [fact for fact, _ in facts()] == ["geoip.loaded", "geoip.failing", "geoip.loaded"]


@pytest.mark.parametrize(
    ("harm", "why"),
    [
        (lambda path: path.write_bytes(b"<html>not found</html>" * 10000), "no MaxMind database (.mmdb)"),
        (lambda path: path.write_bytes(b""), "no MaxMind database (.mmdb)"),
        (lambda path: path.write_bytes(path.read_bytes()[:-30]), "no MaxMind database (.mmdb)"),
        (lambda path: path.unlink(), "No such file or directory"),
        (lambda path: (path.unlink(), path.mkdir()), "Is a directory"),
        (lambda path: (path.unlink(), os.mkfifo(path)), "Not a regular file"),
        (lambda path: (path.unlink(), path.symlink_to(path)), "Too many levels of symbolic links"),
    ],
)
def test_a_file_that_is_spoilt_leaves_the_last_good_one_in_use_and_is_told_once(
    database: Database, tmp_path: Path, facts: Facts, harm: Callable[[Path], Any], why: str
) -> None:
    places = database({NETWORK: SAN_FRANCISCO})
    path = tmp_path / "places.mmdb"
    harm(path)
    for _ in range(3):
        places.reload_if_changed()
    assert place(places, "8.8.8.9") == ("US", "California", "San Francisco")
    assert places.error == why
    [_, (failing, keys)] = facts()
    assert (failing, keys["why"], keys["file"]) == ("geoip.failing", why, path)
    assert keys["next"] == "mend tracker.geoip or the file; the one that was read stays in use"
    if path.is_dir():
        path.rmdir()
    else:
        path.unlink(missing_ok=True)
    write_database(path, {NETWORK: FRANKFURT})
    places.reload_if_changed()
    assert (place(places)[0], places.error) == ("DE", "")


def test_a_database_that_is_missing_at_the_start_is_used_when_it_comes(tmp_path: Path, facts: Facts) -> None:
    places = Places(tmp_path / "places.mmdb")
    assert place(places) == ("", "", "")
    assert facts()[0][1]["next"] == "mend tracker.geoip or the file; clicks get no place from it"
    write_database(tmp_path / "places.mmdb", {NETWORK: SAN_FRANCISCO})
    places.reload_if_changed()
    assert place(places)[0] == "US"


def test_the_same_file_that_comes_back_is_well_again(database: Database, tmp_path: Path) -> None:
    places = database({NETWORK: SAN_FRANCISCO})
    path = tmp_path / "places.mmdb"
    path.rename(tmp_path / "away")
    places.reload_if_changed()
    assert places.error
    (tmp_path / "away").rename(path)
    places.reload_if_changed()
    assert (place(places)[0], places.error) == ("US", "")


def test_a_name_that_no_file_can_have_is_told() -> None:
    assert Places(Path("a\0b")).error == "no file can have this name"


def test_an_unchanged_file_is_not_read_again(database: Database, facts: Facts) -> None:
    places = database({NETWORK: SAN_FRANCISCO})
    for _ in range(5):
        places.reload_if_changed()
    assert len(facts()) == 1


def test_no_look_leaves_a_file_open_behind(database: Database, tmp_path: Path) -> None:
    places = database({NETWORK: SAN_FRANCISCO})
    path = tmp_path / "places.mmdb"
    before = len(os.listdir("/proc/self/fd"))
    for number in range(20):
        if number % 2:
            path.write_bytes(b"x" * number)
        else:
            path.unlink()
            path.mkdir() if number % 4 else write_database(path, {NETWORK: FRANKFURT})
        places.reload_if_changed()
        if path.is_dir():
            path.rmdir()
    assert len(os.listdir("/proc/self/fd")) == before


def test_no_rotten_byte_raises(tmp_path: Path) -> None:
    chance = random.Random(5)
    whole = write_database(tmp_path / "whole", {NETWORK: SAN_FRANCISCO, "2a00:1450::/32": FRANKFURT}).read_bytes()
    placed = 0
    for _ in range(300):
        rotten = bytearray(whole)
        for _ in range(chance.randrange(1, 20)):
            rotten[chance.randrange(len(rotten))] = chance.randrange(256)
        path = tmp_path / "places.mmdb"
        path.write_bytes(rotten)
        places = Places(path)
        for ip in (ADDRESS, IPV6, "1.1.1.1"):
            click = replace(bare(fbclid=FBCLID), ip=ip)
            placed += places.placed(click) != click
    assert placed > 50
