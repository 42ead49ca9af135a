"""One fact a line: noun.verb, then keys. No secret passes, whoever wrote it into a message."""

import json
import logging
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

_logger = logging.getLogger("capi-sidecar")

#: A shorter secret is not masked by value: it would blank out half of every line.
MASKED_LENGTH = 6

_PLAIN = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_./:@+,%*")


def info(fact: str, **keys: Any) -> None:
    """Something that people may want to know."""
    _logger.info("%s", fact, extra={"keys": keys})


def warning(fact: str, **keys: Any) -> None:
    """Something that mends itself, or that people should look at when they have time."""
    _logger.warning("%s", fact, extra={"keys": keys})


def error(fact: str, **keys: Any) -> None:
    """Something that people have to mend."""
    _logger.error("%s", fact, extra={"keys": keys})


class Formatter(logging.Formatter):
    """`2026-11-25T03:00:00Z WARNING lane.parked pixel_id=123 ...`, with every known secret as `***`."""

    def __init__(self) -> None:
        super().__init__()
        self._secrets: tuple[str, ...] = ()

    def mask(self, secrets: Iterable[str]) -> None:
        """From now on these values are blanked out too; earlier ones stay so."""
        known = {secret for secret in secrets if len(secret) >= MASKED_LENGTH}
        self._secrets = tuple(sorted({*self._secrets, *known}, key=len, reverse=True))

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        keys = getattr(record, "keys", {})
        text = " ".join([moment, record.levelname, record.getMessage(), *(f"{k}={_value(v)}" for k, v in keys.items())])
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text


def start(level: int = logging.INFO) -> Formatter:
    """Writes facts to stderr; the formatter takes the secrets that it is to mask."""
    formatter = Formatter()
    handler = logging.StreamHandler()
    handler.setFormatter(formatter)
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    _logger.setLevel(level)
    # A bad request's line holds its URL, and so a customer's data.
    logging.getLogger("aiohttp").setLevel(logging.CRITICAL + 1)
    return formatter


def _value(value: Any) -> str:
    text = f"{value:.3f}" if isinstance(value, float) else str(value)
    return text if text and _PLAIN.issuperset(text) else json.dumps(text, ensure_ascii=False)
