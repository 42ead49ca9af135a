"""What the couriers have done since the start, for whoever watches."""

from collections import Counter
from collections.abc import Collection, Sequence

from sidecar.core.delivery import Delivery, Settlement
from sidecar.core.judge import Verdict
from sidecar.metrics.histogram import Histogram

#: Seconds from the moment at which an event could be sent until Meta took it: from at once to Meta's seven days.
BOUNDS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 21600.0, 86400.0, 259200.0, 604800.0)


class Tally:
    """Events that were tried, by (integration, verdict, whose); deliveries that ended, by (integration, end), where
    the end is delivered or refused; and how long after its time each was delivered."""

    def __init__(self) -> None:
        self.attempts: Counter[tuple[str, str, str]] = Counter()
        self.ended: Counter[tuple[str, str]] = Counter()
        self.delay = Histogram(BOUNDS)

    def tried(self, batch: Sequence[Delivery], verdict: Verdict) -> None:
        """A request was answered, or was not."""
        for integration, events in Counter(each.destination.integration for each in batch).items():
            self.attempts[integration, verdict.kind, verdict.whose] += events

    def settled(self, delivery: Delivery, settlement: Settlement) -> None:
        """What became of a delivery that was sent."""
        if settlement.state == "queued":
            return
        self.ended[delivery.destination.integration, settlement.reason or settlement.state] += 1
        if settlement.state == "delivered":
            last = settlement.attempts[-1]
            self.delay.observe(max(last.at + last.took - delivery.not_before, 0.0))

    def forget(self, integrations: Collection[str]) -> None:
        """These are gone."""
        for attempt in [each for each in self.attempts if each[0] in integrations]:
            del self.attempts[attempt]
        for end in [each for each in self.ended if each[0] in integrations]:
            del self.ended[end]
