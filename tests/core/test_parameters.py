import pytest

from sidecar.core.parameters import first_real, is_macro, last, last_real, parse_body, parse_query


def test_the_last_of_a_repeated_parameter_counts() -> None:
    assert last(parse_query("a=1&a=2"), "a") == "2"


def test_a_plus_is_a_blank_and_an_escape_is_utf8() -> None:
    assert parse_query("ph=+712&fn=val%C3%A9ry") == {"ph": (" 712",), "fn": ("valéry",)}


@pytest.mark.parametrize("value", ["%", "%zz", "100%", "%4"])
def test_a_broken_escape_stays_as_it_stands(value: str) -> None:
    assert parse_query(f"a={value}") == {"a": (value,)}


def test_bytes_that_are_no_utf8_become_replacement_characters() -> None:
    assert parse_query("a=%ff&b=\udcff") == {"a": ("\ufffd",), "b": ("\ufffd",)}


def test_dots_and_blanks_of_a_name_become_underscores() -> None:
    assert parse_query(" sub.id=1&a%20b=2") == {"sub_id": ("1",), "a_b": ("2",)}


def test_a_value_with_braces_is_a_macro() -> None:
    assert [is_macro(value) for value in ("{subid}", "{{ad.id}}", "x}", "IwAR0_-")] == [True, True, True, False]


def test_the_last_value_that_is_no_macro_counts_beside_a_leftover() -> None:
    assert last_real(["IwAR1", "{fbclid}"]) == "IwAR1"
    assert last_real(["{fbclid}"]) == ""


def test_the_first_parameter_that_is_neither_empty_nor_a_macro_counts() -> None:
    assert first_real(parse_query("a=&b={x}&c=3&d=4"), "abcd") == "3"


def test_json_numbers_keep_their_digits() -> None:
    assert parse_body("application/json", b'{"payout": 2.610, "big": 1e999, "n": null, "x": [1], "t": true}') == (
        {"payout": ("2.610",), "big": ("1e999",), "t": ("true",)},
        "",
    )


def test_a_form_body_is_read_with_any_charset_parameter() -> None:
    assert parse_body("application/x-www-form-urlencoded; charset=UTF-8", b"a=1&b=+2") == (
        {"a": ("1",), "b": (" 2",)},
        "",
    )


@pytest.mark.parametrize(
    ("content_type", "body", "remark"),
    [
        ("application/json", b"[" * 65536, "body is not valid JSON"),
        ("application/json", b"[1]", "body is JSON, but no object"),
        (
            "multipart/form-data; boundary=x",
            b"--x",
            "body of type multipart/form-data is not read; send a form or JSON",
        ),
    ],
)
def test_a_body_that_cannot_be_read_is_remarked_upon(content_type: str, body: bytes, remark: str) -> None:
    assert parse_body(content_type, body) == ({}, remark)


def test_a_lone_surrogate_in_json_does_not_survive() -> None:
    assert parse_body("application/json", b'{"a": "\\ud800"}') == ({"a": ("\ufffd",)}, "")


def test_a_megabyte_of_one_repeated_parameter_is_read_at_once() -> None:
    assert len(parse_query("a=&" * 350_000)["a"]) == 350_000


def test_sixty_four_kilobytes_of_junk_are_read() -> None:
    assert parse_query("%&=+&%zz=%00" * 5461)["%zz"][0] == "\0%"
