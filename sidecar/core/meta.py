"""What Meta publishes about the Conversions API, and nothing else.

Source of every fact here, unless a line says otherwise: the Conversions API reference, "Parameters",
"Customer Information Parameters", "Custom Data Parameters" and "fbp and fbc Parameters".
"""

import re

API_VERSION = "v26.0"

#: Events that one request may carry; a single invalid one refuses the whole request.
EVENTS_PER_REQUEST = 1000

#: Seconds: an older event_time refuses the whole request with 2804003.
OLDEST_EVENT = 7 * 86400

#: Seconds in which Meta discards a repeat of (pixel, event_name, event_id).
DEDUPLICATION = 48 * 3600

#: Seconds after which an fbc is no longer attributed, and is better left out.
OLDEST_FBC = 90 * 86400

EVENT_NAME_LENGTH = 50

STANDARD_EVENTS = frozenset(
    [
        "AddPaymentInfo",
        "AddToCart",
        "AddToWishlist",
        "CompleteRegistration",
        "Contact",
        "CustomizeProduct",
        "Donate",
        "FindLocation",
        "InitiateCheckout",
        "Lead",
        "PageView",
        "Purchase",
        "Schedule",
        "Search",
        "StartTrial",
        "SubmitApplication",
        "Subscribe",
        "ViewContent",
    ]
)

#: user_data keys that carry a list of SHA-256 hex strings.
HASHED_KEYS = ("em", "ph", "fn", "ln", "db", "ge", "ct", "st", "zp", "country", "external_id")

#: user_data keys that are sent as they are.
PLAIN_KEYS = (
    "client_ip_address", "client_user_agent", "fbc", "fbp",
    "lead_id", "fb_login_id", "subscription_id", "madid", "anon_id",
)  # fmt: skip

#: user_data that consists of a subset of one of these is refused with 2804050.
TOO_LITTLE_USER_DATA = (
    frozenset({"ct", "country", "st", "zp", "ge", "client_user_agent"}),
    frozenset({"db", "client_user_agent"}),
    frozenset({"fn", "ge"}),
    frozenset({"ln", "ge"}),
)

#: A value that is a hash already; the suffix is the one of Meta's parameter builder.
HASH = re.compile(r"[0-9a-f]{64}(\.[A-Za-z0-9_-]{2}|\.[A-Za-z0-9_-]{8})?")

# What an error's numbers mean. Texts are localised and the HTTP status is unreliable, so only numbers decide.
# Source: Meta, "Handling Errors" and "Conversions API: Troubleshooting"; recorded live calls.

TRANSIENT_CODES = frozenset({1, 2, 341, 5000, 21009})
THROTTLE_CODES = frozenset({4, 17, 32, 613, *range(80000, 80015)})
TOKEN_CODES = frozenset({102, 104, 190})
PERMISSION_CODES = frozenset({3, 10, 294, 803, *range(200, 300)})
POLICY_CODES = frozenset({368, 1404078, 2859015})

#: The code of a request that cannot be taken; its subcode says why.
INVALID_PARAMETER = 100

#: The subcode of 100 for an object that does not exist or that the token may not see.
INVISIBLE_OBJECT = 33

# Subcodes of 100 that are about what an event says, not about its form: their words name no place in the request.
# Source: recorded live answers, among them those in the tests of RudderStack's and Setono's senders.

EVENT_TOO_OLD = 2804003
PURCHASE_WITHOUT_VALUE = 2804009
PURCHASE_WITHOUT_CURRENCY = 2804010
TOO_LITTLE_USER_DATA_SUBCODE = 2804050

#: What may stand beside `data` in a request. Source: "Using the API", and EventRequest of Meta's Business SDK.
REQUEST_KEYS = frozenset(
    {"data", "access_token", "test_event_code", "partner_agent",
     "namespace_id", "upload_id", "upload_tag", "upload_source"}
)  # fmt: skip

#: Characters of partner_agent, at most; two of them letters.
PARTNER_AGENT_LENGTH = 22

ACTION_SOURCES = frozenset(
    {"email", "website", "app", "phone_call", "chat", "physical_store", "system_generated", "business_messaging",
     "other"}
)  # fmt: skip

#: What an item of custom_data.contents may hold; an unknown key refuses the request.
CONTENT_KEYS = frozenset({"id", "quantity", "item_price", "delivery_category"})

DELIVERY_CATEGORIES = frozenset({"in_store", "curbside", "home_delivery"})

#: (country, state) of Limited Data Use: 0, 0 lets Meta locate by IP, 1 is the USA. Source: "Data Processing Options".
LIMITED_DATA_USE_PLACES = frozenset({(0, 0), *((1, state) for state in range(1000, 1014))})


def identifies(user_data_keys: frozenset[str]) -> bool:
    """Whether an event with these user_data keys is accepted."""
    return not any(user_data_keys <= subset for subset in TOO_LITTLE_USER_DATA)
