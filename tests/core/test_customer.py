import hashlib

import pytest

from sidecar.core.customer import country_code, hashed, normal_form, public_address


@pytest.mark.parametrize(
    ("key", "value", "digest"),
    [
        ("em", "john_smith@gmail.com", "62a14e44f765419d10fea99367361a727c12365e2520f32218d505ed9aa0f62f"),
        ("ph", "16505551212", "e323ec626319ca94ee8bff2e4c87cf613be6ea19919ed1364124e16807ab3176"),
        ("country", "us", "79adb2a2fce5c6ba215fe5f27f532d4e7edbac4b6a5e09e1ef3a08084a904621"),
    ],
)
def test_the_vectors_that_meta_publishes(key: str, value: str, digest: str) -> None:
    assert hashed(key, value, "", 2026) == digest


@pytest.mark.parametrize(
    ("key", "value", "country", "normal"),
    [
        ("em", "  John.Smith@Gmail.COM ", "", "john.smith@gmail.com"),
        ("em", "john tag@gmail.com", "", "john+tag@gmail.com"),
        ("em", "no address", "", ""),
        ("em", "a@b", "", ""),
        ("ph", " 71234567890", "", "71234567890"),
        ("ph", "+1 (650) 555-12-12", "", "16505551212"),
        ("ph", "0044 20 7946 0000", "", "442079460000"),
        ("ph", "٧١٢٣٤٥٦٧٨٩٠", "", "71234567890"),
        ("ph", "call me", "", ""),
        ("ph", "123", "", ""),
        ("ph", "1" * 16, "", ""),
        ("fn", "Mary-Ann O'Neil", "", "maryannoneil"),
        ("fn", "Vale\u0301ry", "", "val\u00e9ry"),
        ("ln", "정", "", "정"),
        ("ln", "--", "", ""),
        ("db", "2/16/1997", "", "19970216"),
        ("db", "16/2/1997", "", "19970216"),
        ("db", "16.02.1997", "", "19970216"),
        ("db", "1997-02-16", "", "19970216"),
        ("db", "19970216", "", "19970216"),
        ("db", "1997-02-30", "", ""),
        ("db", "2027-01-01", "", ""),
        ("db", "1899-12-31", "", ""),
        ("ge", "Female", "", "f"),
        ("ge", "M", "", "m"),
        ("ge", "x", "", ""),
        ("ct", "San Francisco 2", "us", "sanfrancisco"),
        ("ct", "Köln", "de", "köln"),
        ("st", "California", "us", "ca"),
        ("st", "New York", "", "ny"),
        ("st", "Bavaria", "de", "bavaria"),
        ("st", "Georgia", "ge", "georgia"),
        ("zp", "94035-1234", "", "94035"),
        ("zp", "94035 1234", "us", "94035"),
        ("zp", "M1 1AE", "gb", "m11ae"),
        ("country", "United States", "", "us"),
        ("country", "DEU", "", "de"),
        ("country", "Russia", "", "ru"),
        ("country", "UK", "", "gb"),
        ("country", "Atlantis", "", ""),
        ("external_id", " User-7 ", "", "User-7"),
    ],
)
def test_a_value_takes_the_normal_form_of_its_key(key: str, value: str, country: str, normal: str) -> None:
    assert normal_form(key, value, country, 2026) == normal
    assert hashed(key, value, country, 2026) == (hashlib.sha256(normal.encode()).hexdigest() if normal else "")


@pytest.mark.parametrize("suffix", ["", ".Ab", ".AbCd_-12"])
def test_a_hash_passes_untouched(suffix: str) -> None:
    assert hashed("em", "0a" * 32 + suffix, "", 2026) == "0a" * 32 + suffix


@pytest.mark.parametrize("key", ["em", "ph", "fn", "ln", "db", "ge", "ct", "st", "zp", "country", "external_id"])
def test_an_empty_value_is_never_hashed(key: str) -> None:
    assert hashed(key, " ", "", 2026) == ""


@pytest.mark.parametrize(
    ("value", "address"),
    [
        ("8.8.8.8", "8.8.8.8"),
        ("2001:4860:4860::8888", "2001:4860:4860::8888"),
        ("::ffff:8.8.8.8", "8.8.8.8"),
        ("10.0.0.1", ""),
        ("127.0.0.1", ""),
        ("fe80::1%eth0", ""),
        ("ff0e::1", ""),
        ("8.8.8", ""),
        ("", ""),
    ],
)
def test_only_a_public_address_leaves(value: str, address: str) -> None:
    assert public_address(value) == address


def test_a_number_is_no_country() -> None:
    assert country_code("840") == ""


@pytest.mark.parametrize("value", ["US", "United States", "usa"])
def test_a_country_is_known_by_its_hash_too(value: str) -> None:
    assert country_code(hashed("country", value, "", 2026)) == "us"
    assert country_code(hashed("country", value, "", 2026) + ".Ab") == "us"


def test_another_hash_is_no_country() -> None:
    assert country_code("0a" * 32) == ""


@pytest.mark.parametrize("key", ["em", "ph", "fn", "ln", "db", "ge", "ct", "st", "zp", "country"])
def test_a_dash_is_a_value_of_no_key(key: str) -> None:
    assert hashed(key, "-", "", 2026) == ""


@pytest.mark.parametrize("key", ["em", "ph", "fn", "ln", "db", "ge", "ct", "st", "zp", "country", "external_id"])
@pytest.mark.parametrize("value", ["a\ud800@b.example", "\udcff", "\u00b2\u2460", "\x00", "\u0663" * 20, "1/1/0000"])
def test_no_value_raises(key: str, value: str) -> None:
    hashed(key, value, "us", 2026)


def test_sixty_four_kilobytes_are_no_country() -> None:
    assert country_code("x" * 65536) == ""
