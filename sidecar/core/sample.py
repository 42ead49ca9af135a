"""Sample data in the place of what tells who somebody is: a postback and its click as a repository may hold them."""

import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from sidecar.core.click import Click
from sidecar.core.configuration import Configuration
from sidecar.core.conversion import accepts_key
from sidecar.core.customer import country_code, public_address
from sidecar.core.postback import Postback
from sidecar.core.privacy import scrubbed

#: Nobody in particular, by user_data key. A country stays: it names nobody, and much depends on it.
SAMPLES = {
    "em": "customer@example.com",
    "ph": "+15550100",
    "fn": "John",
    "ln": "Snow",
    "db": "1990-01-31",
    "ge": "f",
    "ct": "Springfield",
    "st": "CA",
    "zp": "12345",
    "external_id": "customer-1",
    "lead_id": "1234567890123456",
    "fb_login_id": "1234567890",
    "subscription_id": "subscription-1",
    "madid": "00000000-0000-4000-8000-000000000000",
    "anon_id": "anon-1",
}

#: Addresses of a public resolver, which no visitor has. Those that RFC 5737 and RFC 3849 keep for documentation are not
#: of the public Internet, so an event would not carry them.
IPV4 = "8.8.8.8"
IPV6 = "2001:4860:4860::8888"

#: What `scrubbed` leaves of a value that no event could carry.
_UNUSABLE = "-"

#: Parameters that Keitaro's documentation names and no decision reads, unless the configuration does.
_UNREAD = re.compile(r"cost|from|return|sub_id_\d{1,2}|extra_param_\d{1,2}")

#: What an fbc or fbp has before the part that identifies: the version, the domain's level, milliseconds.
_COOKIE = re.compile(r"fb\.\d\.\d{10,16}\.", re.ASCII)

_IDENTIFIERS = frozenset({"subid", "sub_id", "tid", "fbclid", "fbp", "fbc"})

#: Fields of a click that may tell who somebody is; the browser and the campaign do not.
_FIELDS = ("subid", "fbclid", "fbp", "fbc", "ip", "referrer", "region", "city", "url")

_LETTERS = "abcdefghijklmnopqrstuvwxyz"


def replaced(postback: Postback, click: Click | None, configuration: Configuration) -> tuple[Postback, Click | None]:
    """Both with sample data: customers' values by their user_data key, identifiers made up in the old one's form.

    Parameters that no decision reads are dropped; those of a body are moved into the target. What a condition `only`
    of the configuration names stays, and so do moments, money, the browser and macros.
    """
    samples = _Samples(configuration)
    return samples.postback(postback, click), samples.click(click) if click is not None else None


@dataclass(frozen=True)
class _Samples:
    configuration: Configuration

    def postback(self, postback: Postback, click: Click | None) -> Postback:
        kept = [
            (name, self.value(name, value))
            for name, values in scrubbed(postback, click, self.configuration).parameters.items()
            if name in self.configuration.parameters or not _UNREAD.fullmatch(name)
            for value in values
        ]
        key = self._key if accepts_key(self.configuration, postback.key) else "wrong-key"
        query = urlencode(kept, safe="@{}:/,", quote_via=quote)
        return replace(postback, method="GET", uri=f"/{key}/postback?{query}", type="", body=b"")

    def click(self, click: Click) -> Click:
        fields: dict[str, Any] = {name: self.value(name, getattr(click, name)) for name in _FIELDS}
        parameters = {
            name: tuple(self.value(name, value) for value in values)
            for name, values in click.parameters.items()
            if name in self.configuration.parameters
        }
        return replace(click, parameters=parameters, **fields)

    def value(self, name: str, value: str) -> str:
        """What stands for the value of a parameter or of a click's field."""
        if not value or value == _UNUSABLE or _MACRO.fullmatch(value) or self._decides(name, value):
            return value
        if key := self._customer.get(name):
            return (country_code(value) or _UNUSABLE) if key == "country" else SAMPLES[key]
        if name in self._identifiers:
            return _made_up(value)
        value = _OTHERS[name](value) if name in _OTHERS else value
        return _made_up(value) if name not in _FREE and _PERSONAL.search(value) else value

    @property
    def _key(self) -> str:
        """The configuration's first, if it stands there; of a secret one nothing is known, and any is accepted."""
        keys = self.configuration.tracker.postback_keys
        return keys[0].reveal() if keys else "key"

    def _decides(self, name: str, value: str) -> bool:
        """Whether a condition names this very value: then the configuration tells it anyway."""
        integrations = self.configuration.integrations
        return any(value.casefold() in map(str.casefold, each.only.get(name, ())) for each in integrations)

    @cached_property
    def _customer(self) -> Mapping[str, str]:
        """The user_data key of each customer's parameter, of those too that are never hashed."""
        keys: dict[str, str] = {}
        for integration in self.configuration.integrations:
            for key, names in integration.customer_names.items():
                for name in names:
                    keys.setdefault(name, key)
        return {**keys, **self.configuration.customer_keys}

    @cached_property
    def _identifiers(self) -> frozenset[str]:
        names = {name for each in self.configuration.integrations for name in each.fbp_from}
        return _IDENTIFIERS | names | set(self.configuration.fbclid_names)


def _made_up(value: str) -> str:
    """An identifier of the same length and kinds of characters; nothing of the old one is left but its separators.

    It depends on positions only, so that what began alike still does: the fbclid of a click and that in its cookie.
    """
    cookie = _COOKIE.match(value)
    begin = cookie[0] if cookie else ""
    return begin + "".join(_character(index, each) for index, each in enumerate(value[len(begin) :]))


def _character(index: int, old: str) -> str:
    if old.isdecimal():
        return str(index % 10)
    letter = _LETTERS[index % len(_LETTERS)]
    return (letter.upper() if old.isupper() else letter) if old.isalpha() else old


def _address(value: str) -> str:
    """A private address stays: it names nobody, and no event carries it."""
    public = public_address(value)
    if not public:
        return value if _is_address(value) else IPV4
    return IPV6 if ":" in public else IPV4


def _is_address(value: str) -> bool:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return False
    return True


def _origin(value: str) -> str:
    """Scheme and host; a path may hold anything."""
    try:
        parts = urlsplit(value)
        return f"{parts.scheme}://{parts.hostname}/" if parts.hostname else ""
    except ValueError:
        return ""


#: What the tracker's own macros look like; other values with braces may hold anything.
_MACRO = re.compile(r"\{+[A-Za-z_][\w.]*\}+")

#: What may be an address, a telephone number or an account.
_PERSONAL = re.compile(r"@|%40|\d{7,}|(\d[ ().-]*){9,}")

#: Money, moments and codes: numbers of a kind that says nothing of anybody, and what samples replaced already.
_FREE = frozenset(["payout", "revenue", "profit", "value", "clicked_at", "ip", "referrer", "url", "region", "city"])


#: Of parameters and fields that are neither a customer's by the configuration nor an identifier.
_OTHERS: Mapping[str, Callable[[str], str]] = {
    "ip": _address,
    "referrer": _origin,
    "url": _origin,
    "region": lambda _: SAMPLES["st"],
    "city": lambda _: SAMPLES["ct"],
}
