"""Which columns a tracker knows. Pure: time is an argument, in seconds of the monotonic clock."""

from sidecar.core.admin_api import COLUMNS, CONVERSION_COLUMNS, LEAST, LEAST_OF_CONVERSION

#: Seconds after which columns that were refused are asked for again: the tracker may be a newer one by then.
REFUSED_FOR = 86400.0


class Columns:
    """The columns of one log that are wanted, and those that the tracker refused."""

    def __init__(self, wanted: tuple[str, ...], least: tuple[str, ...]) -> None:
        self.least = least
        self._wanted = wanted
        self._refused: frozenset[str] = frozenset()
        self._until = 0.0

    def known(self, now: float) -> tuple[str, ...]:
        """The columns to ask for."""
        refused = self._refused if now < self._until else frozenset()
        return tuple(name for name in self._wanted if name not in refused)

    def refuse(self, unknown: frozenset[str], asked: tuple[str, ...], now: float) -> bool:
        """Of the columns that were asked for the tracker does not know these; whether that is news."""
        refused = unknown | (frozenset(self._wanted) - frozenset(asked))
        is_news = refused != self._refused
        self._refused, self._until = refused, now + REFUSED_FOR
        return is_news


def of_clicks() -> Columns:
    """The columns of the log of clicks."""
    return Columns(COLUMNS, LEAST)


def of_conversions() -> Columns:
    """The columns of the log of conversions."""
    return Columns(CONVERSION_COLUMNS, LEAST_OF_CONVERSION)
