"""How often a measurement fell between which bounds."""

from bisect import bisect_left
from collections.abc import Sequence


class Histogram:
    """Counts by ascending upper bounds, each inclusive, and above all of them; and the sum of what was measured."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """One measurement."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def copy(self) -> "Histogram":
        """What was measured until now."""
        copy = Histogram(self.bounds)
        copy.counts, copy.sum = list(self.counts), self.sum
        return copy
