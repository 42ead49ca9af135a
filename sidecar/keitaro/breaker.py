"""When a tracker that did not answer is asked again. Pure: time is an argument, in seconds of the monotonic clock."""

from sidecar.core.admin_api import Trouble

#: Seconds after a fault that may pass by itself; twice as long after each further one, up to the longest.
FIRST_REST = 5.0
LONGEST_REST = 300.0

#: Seconds after a fault that people have to mend.
LASTING_REST = 900.0


class Breaker:
    """Open from a fault on: nothing is asked until the rest is over. Then one question goes: an answer closes it, and
    another fault begins the next rest."""

    def __init__(self) -> None:
        self.trouble: Trouble | None = None
        self._until = 0.0
        self._step = FIRST_REST

    def wait(self, now: float) -> float:
        """Seconds until a question may go."""
        return max(self._until - now, 0.0) if self.trouble else 0.0

    def fail(self, trouble: Trouble, now: float) -> bool:
        """No answer came; whether that is news. What the tracker itself says of the time holds in full."""
        is_news = self.trouble is None or self.trouble.why != trouble.why
        self.trouble = trouble
        self._until = now + self._rest(trouble)
        return is_news

    def well(self) -> bool:
        """An answer came; whether that is news."""
        was_open = self.trouble is not None
        self.trouble, self._until, self._step = None, 0.0, FIRST_REST
        return was_open

    def _rest(self, trouble: Trouble) -> float:
        if trouble.is_lasting:
            return LASTING_REST
        rest, self._step = self._step, min(self._step * 2, LONGEST_REST)
        return rest if trouble.seconds is None else max(trouble.seconds, FIRST_REST)
