"""The lives of a postback and of a delivery: every step that there is, and no other."""

POSTBACK = {
    "undecided": frozenset({"decided", "waiting"}),
    "waiting": frozenset({"decided", "expired"}),
    "decided": frozenset({"undecided"}),  # only by replay
    "expired": frozenset({"undecided"}),  # only by replay
}

DELIVERY = {
    "queued": frozenset({"leased", "dead"}),
    "leased": frozenset({"queued", "delivered", "dead"}),
    "delivered": frozenset({"queued"}),  # only by retry, of one that is named
    "dead": frozenset({"queued"}),  # only by retry
}

#: Why a delivery is dead.
DEAD = ("refused", "deadline", "deleted", "rejected_meanwhile")

#: Why a queued delivery may not be leased. Only `by_hand` stands in its row; the rest belong to lane or integration.
HELD = ("paused", "parked", "throttled", "in_error", "integration_gone", "by_hand")
