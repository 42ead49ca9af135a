"""What is kept of a postback once it is decided: no customer's data, and nothing that nobody reads."""

import re
import time
from dataclasses import replace
from urllib.parse import urlencode

from sidecar.core.click import Click
from sidecar.core.configuration import Configuration
from sidecar.core.customer import country_code, hashed
from sidecar.core.event import customer_country
from sidecar.core.parameters import Parameters, is_macro
from sidecar.core.postback import Postback
from sidecar.core.status import KNOWN, canonical

#: What a decision reads under these names, of the conversion and of the click, for whatever else they serve.
_READ = frozenset(
    ["subid", "sub_id", "status", "ignore_status", "ignore", "payout", "revenue", "profit", "value", "currency", "tid",
     "campaign", "clicked_at", "fbclid", "fbp", "fbc", "ip", "user_agent", "ua", "referrer", "region", "city"]
)  # fmt: skip

#: What else Keitaro's documentation names.
_KEITARO = re.compile(r"cost|from|return|sub_id_\d{1,2}|extra_param_\d{1,2}")

#: Stands for a value that no event could carry, and is none itself: otherwise a second name would take its place.
_UNUSABLE = "-"


def scrubbed(postback: Postback, click: Click | None, configuration: Configuration) -> Postback:
    """The postback with each customer's value replaced by the SHA-256 of its normal form.

    The core passes such a hash through, so the same decision comes out again. Parameters that neither Keitaro nor
    the configuration knows are dropped. Where integrations differ, the first in file order decides.
    """
    keys = configuration.customer_keys
    parameters = postback.parameters
    country = _country(parameters, click or Click(subid=""), configuration)
    year = time.gmtime(postback.received_at).tm_year
    kept: list[tuple[str, str]] = []
    for name, values in parameters.items():
        value = values[-1].strip()
        if name in keys and name not in _READ:
            if value and not is_macro(value):
                kept.append((name, hashed(keys[name], value, country, year) or _UNUSABLE))
        elif is_kept(name, configuration):
            kept += [(name, value) for value in values]
    path = postback.uri.partition("?")[0]
    return replace(postback, uri=f"{path}?{urlencode(kept)}", type="", body=b"")


def is_kept(name: str, configuration: Configuration) -> bool:
    """Whether a decided postback keeps this parameter, as it came or as a hash."""
    if name.endswith("_status"):
        # Only of statuses that there are: a network's email_status may hold anything.
        status = canonical(name.removesuffix("_status"))
        return name in _READ or status in KNOWN or status in configuration.custom_statuses
    return name in _READ or name in configuration.parameters or _KEITARO.fullmatch(name) is not None


def _country(parameters: Parameters, click: Click, configuration: Configuration) -> str:
    integrations = configuration.of_campaign(click.campaign) or configuration.integrations
    return customer_country(parameters, click, integrations[0]) if integrations else country_code(click.country)
