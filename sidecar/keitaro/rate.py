"""How many questions a tracker is asked in a second. Pure: time is an argument, in seconds of the monotonic clock."""


class Rate:
    """At most `burst` questions at once, and `per_second` in the long run."""

    def __init__(self, per_second: float, burst: int) -> None:
        self._gap = 1 / per_second
        self._ahead = (burst - 1) * self._gap
        self._due = float("-inf")

    def take(self, now: float) -> float:
        """Seconds that the next question has to wait; it counts as asked then."""
        due = max(self._due, now)
        self._due = due + self._gap
        return max(due - self._ahead - now, 0.0)
