"""The JSON of `/api/status` as the pages read it, and rows of the store."""

from typing import Any

from tests.examples import NOW, PIXEL

SINCE = NOW - 600


def status(**more: Any) -> dict[str, Any]:
    """A daemon that is well, with one integration."""
    given: dict[str, Any] = {
        "version": "1.2.3",
        "mode": "live",
        "started_at": NOW - 3600,
        "now": NOW,
        "problems": [],
        "configuration": {"hash": "0123456789abcdef", "commit": "", "loaded_at": NOW - 3600, "error": "", "loaded": 1,
                          "refused_at": None, "refused": 0, "braked": 0, "unchanged": 0},
        "intake": {},
        "journals": [],
        "clicks": 3,
        "admin_api": {},
        "postbacks": [],
        "lanes": [],
        "silence": [],
        "canary": [],
        "integrations": [counted()],
    }  # fmt: skip
    return given | more


def counted(name: str = "Summer", **more: Any) -> dict[str, Any]:
    given: dict[str, Any] = {"name": name, "status": "active", "campaigns": ["AbCd12"], "pixel_id": PIXEL,
                             "mapping": "inline", "proxies": 0, "at": "integrations.yaml:4", "held": [],
                             "sent": 0, "waiting": 0, "failed": 0}  # fmt: skip
    return given | more


def lane(**more: Any) -> dict[str, Any]:
    """A lane whose token Meta refuses."""
    given: dict[str, Any] = {"pixel_id": PIXEL, "integrations": ["Summer"], "state": "parked", "why": "token",
                             "at": "integrations.yaml:7", "words": "Session has expired", "since": SINCE,
                             "until": NOW + 300}  # fmt: skip
    return given | more


def row(**more: Any) -> dict[str, Any]:
    """A delivery that Meta took."""
    given: dict[str, Any] = {"seq": 7, "event_id": "subid00007_sale", "event_name": "Purchase", "pixel_id": PIXEL,
                             "integration": "Summer", "route": "", "postback": "0" * 32, "subid": "subid00007",
                             "state": "delivered", "reason": "", "held": "", "due_at": SINCE, "deadline": NOW + 86400,
                             "failures": 0, "created_at": SINCE, "ended_at": SINCE, "attempts": [tried()]}  # fmt: skip
    return given | more


def tried(**more: Any) -> dict[str, Any]:
    given: dict[str, Any] = {"number": 1, "at": SINCE, "took": 0.25, "proxy": 0, "verdict": "accepted", "whose": "",
                             "words": "", "http_status": 200, "code": None, "subcode": None,
                             "fbtrace_id": "T"}  # fmt: skip
    return given | more
