"""What a verdict makes of the deliveries that were sent. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from sidecar.core.delivery import Attempt, Delivery, Settlement
from sidecar.core.judge import Verdict
from sidecar.core.schedule import delay

#: Tries of an answer that nobody knows, before people must look.
UNKNOWN_TRIES = 5

Batch = Sequence[Delivery]


@dataclass(frozen=True, slots=True)
class Outcome:
    """Settlements of a batch, or the smaller batches as which it is to be sent again."""

    settlements: tuple[Settlement, ...] = ()
    again: tuple[Batch, ...] = ()


def outcome(batch: Batch, verdict: Verdict, attempt: Attempt, halved: bool, now: float, chance: float) -> Outcome:
    """`halved` says that the batch is a half of one whose count did not match; `chance` spreads retries."""
    if verdict.kind == "accepted":
        return Outcome(tuple(Settlement(each.seq, "delivered", attempts=(attempt,)) for each in batch))
    if verdict.kind == "refused":
        if len(batch) > 1:
            return Outcome(again=_split(batch, verdict.bad_event))
        return Outcome((Settlement(batch[0].seq, "dead", "refused", attempts=(attempt,)),))
    if verdict.kind == "mismatch" and len(batch) > 1 and not halved:
        return Outcome(again=_halves(batch))
    if verdict.kind == "unknown" and len(batch) == 1:
        return Outcome((_put_aside(batch[0], attempt, now, chance),))
    if verdict.kind in ("transient", "mismatch"):
        return Outcome(tuple(_later(each, attempt, now, chance) for each in batch))
    # A fault of the token, the pixel, the proxy, a throttle, or what nobody knows of many, is charged to no event.
    return Outcome(
        tuple(Settlement(each.seq, "queued", due_at=now, failures=each.failures, attempts=(attempt,)) for each in batch)
    )


def _split(batch: Batch, bad: int | None) -> tuple[Batch, ...]:
    """The event that Meta named apart from the others; else halves, until the bad one stands alone."""
    if bad is not None and bad < len(batch):
        return (batch[bad : bad + 1], [*batch[:bad], *batch[bad + 1 :]])
    return _halves(batch)


def _halves(batch: Batch) -> tuple[Batch, ...]:
    middle = len(batch) // 2
    return batch[:middle], batch[middle:]


def _later(delivery: Delivery, attempt: Attempt, now: float, chance: float) -> Settlement:
    failures = delivery.failures + 1
    due_at = now + delay(failures, chance)
    return Settlement(delivery.seq, "queued", due_at=due_at, failures=failures, attempts=(attempt,))


def _put_aside(delivery: Delivery, attempt: Attempt, now: float, chance: float) -> Settlement:
    later = _later(delivery, attempt, now, chance)
    if later.failures < UNKNOWN_TRIES:
        return later
    return Settlement(delivery.seq, "queued", due_at=now, failures=later.failures, held="by_hand", attempts=(attempt,))
