"""What is kept of a postback once it is decided: no customer's data, and nothing that nobody reads."""

import re
import time
from dataclasses import replace
from urllib.parse import urlencode

from sidecar.core.click import Click
from sidecar.core.configuration import Configuration
from sidecar.core.customer import country_code, hashed
from sidecar.core.meta import HASHED_KEYS
from sidecar.core.parameters import Parameters, first_real, is_macro
from sidecar.core.postback import Postback

#: What Keitaro's documentation names, and the names of a click's own fields.
_KEITARO = frozenset(
    [
        "subid",
        "sub_id",
        "status",
        "payout",
        "revenue",
        "profit",
        "value",
        "currency",
        "tid",
        "cost",
        "from",
        "return",
        "ignore_status",
        "ignore",
        "campaign",
        "clicked_at",
        "fbclid",
        "fbp",
        "fbc",
        "ip",
        "user_agent",
        "ua",
        "referrer",
        "country",
        "region",
        "city",
    ]
)
_KEITARO_PATTERN = re.compile(r"sub_id_\d{1,2}|extra_param_\d{1,2}|\w+_status")


def scrubbed(postback: Postback, click: Click | None, configuration: Configuration) -> Postback:
    """The postback with each customer's value replaced by the SHA-256 of its normal form.

    The core passes such a hash through, so the same decision comes out again. Parameters that neither Keitaro nor
    the configuration knows are dropped; so are values that no event could carry.
    """
    keys = _customer_keys(configuration)
    parameters = postback.parameters
    country = _country(parameters, keys, click)
    year = time.gmtime(postback.received_at).tm_year
    kept: list[tuple[str, str]] = []
    for name, values in parameters.items():
        if key := keys.get(name):
            digest = hashed(key, values[-1].strip(), country, year) if not is_macro(values[-1]) else ""
            kept += [(name, digest)] if digest else []
        elif name in _KEITARO or name in configuration.parameters or _KEITARO_PATTERN.fullmatch(name):
            kept += [(name, value) for value in values]
    path = postback.uri.partition("?")[0]
    return replace(postback, uri=f"{path}?{urlencode(kept)}", type="", body=b"")


def _customer_keys(configuration: Configuration) -> dict[str, str]:
    """The hashed user_data key of each parameter; where integrations differ, the first in file order decides."""
    keys: dict[str, str] = {}
    for integration in configuration.integrations:
        for key, names in integration.customer_names.items():
            if key in HASHED_KEYS:
                for name in names:
                    keys.setdefault(name, key)
    return {**{key: key for key in HASHED_KEYS}, **keys}


def _country(parameters: Parameters, keys: dict[str, str], click: Click | None) -> str:
    names = [name for name, key in keys.items() if key == "country"]
    return country_code(first_real(parameters, names)) or (country_code(click.country) if click else "")
