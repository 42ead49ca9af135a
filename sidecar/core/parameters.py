"""Parameters as PHP, and so Keitaro, reads them from a query string, a form and a JSON body."""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import unquote_plus

#: Every value that a repeated parameter had, in order. The last one is what PHP sees.
Parameters = Mapping[str, tuple[str, ...]]

#: An unreplaced macro (`{subid}`, `{{ad.id}}`) or a leftover of one.
_BRACES = re.compile(r"[{}]")

_SURROGATES = re.compile("[\ud800-\udfff]")


def is_macro(value: str) -> bool:
    """Whether a tracker or a network left its placeholder standing: any value with braces."""
    return _BRACES.search(value) is not None


def last(parameters: Parameters, name: str) -> str:
    """The value that PHP sees, without surrounding blanks; empty when there is none."""
    values = parameters.get(name)
    return values[-1].strip() if values else ""


def first_real(parameters: Parameters, names: Iterable[str]) -> str:
    """The first of these parameters that is neither empty nor a macro; else an empty string."""
    for name in names:
        value = last(parameters, name)
        if value and not is_macro(value):
            return value
    return ""


def last_real(values: Iterable[str]) -> str:
    """The last value that is no macro: a leftover `{fbclid}` often stands beside the real one."""
    return next((value for value in reversed(tuple(values)) if value and not is_macro(value)), "")


def parse_query(text: str) -> dict[str, tuple[str, ...]]:
    """Parameters of a query string or a form; a broken escape stays as it stands, as in PHP."""
    found: dict[str, list[str]] = {}
    for pair in text.split("&"):
        name, _, value = pair.partition("=")
        name = _php_name(_decode(name))
        if name:
            found.setdefault(name, []).append(_decode(value))
    return {name: tuple(values) for name, values in found.items()}


def parse_body(content_type: str, body: bytes) -> tuple[dict[str, tuple[str, ...]], str]:
    """Parameters of a form or JSON body, and a remark on what could not be read (or an empty string)."""
    text = body.decode("utf-8", "replace")
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "application/json" or kind.endswith("+json") or (not kind and text.lstrip().startswith("{")):
        return _parse_json(text)
    if not text or kind in ("application/x-www-form-urlencoded", ""):
        return parse_query(text), ""
    return {}, f"body of type {clean(kind[:60])} is not read; send a form or JSON"


def clean(text: str) -> str:
    """Lone surrogates (bytes that were no UTF-8, or JSON's escapes), which no UTF-8 can carry, as U+FFFD."""
    return text if text.isascii() else _SURROGATES.sub("\ufffd", text)


def _parse_json(text: str) -> tuple[dict[str, tuple[str, ...]], str]:
    try:
        # Numbers stay as they were written: 2.610 must not become 2.61, nor 1e999 infinity.
        value = json.loads(text, parse_float=str, parse_int=str, parse_constant=str)
    except (ValueError, RecursionError):
        return {}, "body is not valid JSON"
    if not isinstance(value, dict):
        return {}, "body is JSON, but no object"
    pairs = ((_php_name(clean(name)), _scalar(item)) for name, item in value.items())
    return {name: (text,) for name, text in pairs if text is not None}, ""


def _scalar(value: Any) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    return clean(value) if isinstance(value, str) else None


def _decode(text: str) -> str:
    raw = clean(text)
    return unquote_plus(raw, errors="replace") if "%" in raw or "+" in raw else raw


def _php_name(name: str) -> str:
    """PHP turns dots and blanks of a parameter's name into underscores and drops leading blanks."""
    return name.lstrip(" ").replace(".", "_").replace(" ", "_")
