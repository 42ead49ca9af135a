"""What is known of the customer, in the normal form that Meta hashes.

Source: Meta, "Customer Information Parameters". Where Meta's own implementations disagree, its documentation
decides; where that is silent, the newest parameter builder (names without blanks). Letters are never cut.
"""

import hashlib
import ipaddress
import re
import unicodedata
from collections.abc import Callable
from datetime import date
from functools import lru_cache

import pycountry

from sidecar.core.meta import HASH

_ADDRESS = re.compile(r"[^\s@]+@[^\s@]+\.[^\s@.]+")
_PHONE_LENGTH = range(7, 16)  # E.164 allows 15 digits
_ZIP_PLUS_FOUR = re.compile(r"\d{5}-\d{4}")
_YEAR_FIRST = re.compile(r"(\d{4})([-/. ]?)(\d{1,2})\2(\d{1,2})")
_YEAR_LAST = re.compile(r"(\d{1,2})([-/. ])(\d{1,2})\2(\d{4})")
_LONGEST_COUNTRY = 100
_GENDERS = {"f": "f", "female": "f", "woman": "f", "w": "f", "m": "m", "male": "m", "man": "m"}

#: English names in use that ISO 3166 spells otherwise.
_COMMON_COUNTRY_NAMES = {
    "uk": "gb", "great britain": "gb", "england": "gb", "scotland": "gb", "wales": "gb", "northern ireland": "gb",
    "russia": "ru", "turkey": "tr", "south korea": "kr", "korea": "kr", "north korea": "kp", "ivory coast": "ci",
    "cape verde": "cv", "czech republic": "cz", "macau": "mo", "swaziland": "sz", "brunei": "bn", "laos": "la",
    "syria": "sy", "vatican": "va", "palestine": "ps", "burma": "mm", "macedonia": "mk", "holland": "nl",
    "the netherlands": "nl", "uae": "ae", "east timor": "tl", "micronesia": "fm",
}  # fmt: skip

#: USPS codes; a full name is sent as its code.
_US_STATES = {
    "alabama": "al", "alaska": "ak", "arizona": "az", "arkansas": "ar", "california": "ca", "colorado": "co",
    "connecticut": "ct", "delaware": "de", "districtofcolumbia": "dc", "florida": "fl", "georgia": "ga",
    "hawaii": "hi", "idaho": "id", "illinois": "il", "indiana": "in", "iowa": "ia", "kansas": "ks",
    "kentucky": "ky", "louisiana": "la", "maine": "me", "maryland": "md", "massachusetts": "ma", "michigan": "mi",
    "minnesota": "mn", "mississippi": "ms", "missouri": "mo", "montana": "mt", "nebraska": "ne", "nevada": "nv",
    "newhampshire": "nh", "newjersey": "nj", "newmexico": "nm", "newyork": "ny", "northcarolina": "nc",
    "northdakota": "nd", "ohio": "oh", "oklahoma": "ok", "oregon": "or", "pennsylvania": "pa",
    "rhodeisland": "ri", "southcarolina": "sc", "southdakota": "sd", "tennessee": "tn", "texas": "tx",
    "utah": "ut", "vermont": "vt", "virginia": "va", "washington": "wa", "westvirginia": "wv",
    "wisconsin": "wi", "wyoming": "wy", "puertorico": "pr", "guam": "gu", "americansamoa": "as",
    "virginislands": "vi", "northernmarianaislands": "mp",
}  # fmt: skip


@lru_cache(maxsize=64)  # each value is asked for twice in a row: for the event, and for what is kept of the postback
def hashed(key: str, value: str, country: str, year: int) -> str:
    """The SHA-256 hex of the normal form of a user_data value; empty when the value is bad.

    A value that is a hash already passes untouched. `country` is the customer's two-letter code or empty (states and
    post codes differ by country); `year` is the present one (nobody is born after it).
    """
    if HASH.fullmatch(value):
        return value
    normal = normal_form(key, value, country, year)
    return _digest(normal) if normal else ""


def normal_form(key: str, value: str, country: str, year: int) -> str:
    """Meta's normal form; empty when the value cannot be one."""
    value = unicodedata.normalize("NFC", value).strip()
    if key == "st":
        return _state(value, country)
    if key == "zp":
        return _post_code(value, country)
    if key == "db":
        return _birth_date(value, year)
    return _FORMS[key](value)


def country_code(value: str) -> str:
    """The ISO 3166-1 alpha-2 code, lowercase, of a code, its hash or an English name; empty when there is none."""
    return _country_code(" ".join(value.casefold().split())) if len(value) <= _LONGEST_COUNTRY else ""


def public_address(value: str) -> str:
    """The IPv4 or IPv6 address, if it is one of the public Internet; else empty."""
    try:
        address = ipaddress.ip_address(value.strip())
    except ValueError:
        return ""
    if isinstance(address, ipaddress.IPv6Address):
        if address.scope_id is not None:
            return ""
        address = address.ipv4_mapped or address
    return str(address) if address.is_global and not address.is_multicast else ""


@lru_cache(maxsize=1024)
def _country_code(name: str) -> str:
    if name in _COMMON_COUNTRY_NAMES:
        return _COMMON_COUNTRY_NAMES[name]
    if HASH.fullmatch(name):
        return _country_hashes().get(name[:64], "")
    try:
        return str(pycountry.countries.lookup(name).alpha_2).lower() if name and not name.isdigit() else ""
    except LookupError:
        return ""


@lru_cache(maxsize=1)
def _country_hashes() -> dict[str, str]:
    """The codes by their hashes: a stored postback holds the hash of its country."""
    codes = [str(country.alpha_2).lower() for country in pycountry.countries]
    return {_digest(code): code for code in codes}


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def _email(value: str) -> str:
    # An address has no blank: one inside was a plus before a query string was decoded.
    address = value.replace(" ", "+").lower()
    return address if _ADDRESS.fullmatch(address) else ""


def _phone(value: str) -> str:
    if any(character.isalpha() for character in value):
        return ""
    digits = "".join(str(unicodedata.decimal(character)) for character in value if character.isdecimal()).lstrip("0")
    return digits if len(digits) in _PHONE_LENGTH else ""


def _name(value: str) -> str:
    return _without(value.lower(), "PSZC")


def _city(value: str) -> str:
    return _without(value.lower(), "PSZCN")


def _state(value: str, country: str) -> str:
    name = _without(value.lower(), "PSZC")
    return _US_STATES.get(name, name) if country in ("us", "") else name


def _post_code(value: str, country: str) -> str:
    code = _without(value.lower(), "PSZC")
    american = (country == "us" and code[:5].isdecimal()) or _ZIP_PLUS_FOUR.fullmatch(value)
    return code[:5] if american else code


def _birth_date(value: str, year: int) -> str:
    if match := _YEAR_FIRST.fullmatch(value):
        parts = int(match[1]), int(match[3]), int(match[4])
    elif match := _YEAR_LAST.fullmatch(value):
        first, second = int(match[1]), int(match[3])
        day_first = match[2] == "." or first > 12
        parts = (int(match[4]), second, first) if day_first else (int(match[4]), first, second)
    else:
        return ""
    try:
        born = date(*parts)
    except ValueError:
        return ""
    return born.strftime("%Y%m%d") if 1900 <= born.year <= year else ""


def _without(text: str, categories: str) -> str:
    """Without the characters of these Unicode categories (P punctuation, S symbol, Z blank, C control, N digit)."""
    return "".join(character for character in text if unicodedata.category(character)[0] not in categories)


_FORMS: dict[str, Callable[[str], str]] = {
    "em": _email,
    "ph": _phone,
    "fn": _name,
    "ln": _name,
    "ge": lambda value: _GENDERS.get(value.lower(), ""),
    "ct": _city,
    "country": country_code,
    "external_id": str,
}
