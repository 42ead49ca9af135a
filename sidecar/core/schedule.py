"""When a delivery that failed for a moment is tried again."""

#: Seconds to wait after the first, second, ... failed attempt; the last one repeats.
DELAYS = (5.0, 30.0, 120.0, 600.0, 1800.0, 3600.0, 7200.0, 14400.0, 21600.0)

#: The share by which a delay is spread to both sides, so that many events do not return at once.
JITTER = 0.2


def delay(failures: int, chance: float) -> float:
    """Seconds to wait after `failures` (1 or more) failed attempts; `chance` lies in [0, 1)."""
    return DELAYS[min(failures, len(DELAYS)) - 1] * (1 - JITTER + 2 * JITTER * chance)
