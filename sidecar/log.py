"""One fact a line: noun.verb, then keys. No secret passes, whoever wrote it into a message."""

import json
import logging
import os
import socket
import sys
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from itertools import starmap
from typing import Any

_logger = logging.getLogger("capi-sidecar")

#: A shorter secret is not masked by value: it would blank out half of every line.
MASKED_LENGTH = 6

#: The level from which on facts are written. Below info stands what names a person's click: its subid and event_ids.
LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}

#: How facts are written.
FORMS = ("text", "json", "journal")

_PLAIN = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_./:@+,%*")

#: Where systemd's journal takes fields. Source: systemd.io/JOURNAL_NATIVE_PROTOCOL.
_JOURNAL = "/run/systemd/journal/socket"

#: Numbers of syslog(3).
_PRIORITIES = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}

#: Seconds that a fact waits for a journal that does not read: then it is lost, for no postback may wait for it.
_PATIENCE = 0.2


def debug(fact: str, **keys: Any) -> None:
    """What became of one click's postback."""
    _logger.debug("%s", fact, extra={"keys": keys})


def info(fact: str, **keys: Any) -> None:
    """Something that people may want to know."""
    _logger.info("%s", fact, extra={"keys": keys})


def warning(fact: str, **keys: Any) -> None:
    """Something that mends itself, or that people should look at when they have time."""
    _logger.warning("%s", fact, extra={"keys": keys})


def error(fact: str, **keys: Any) -> None:
    """Something that people have to mend."""
    _logger.error("%s", fact, extra={"keys": keys})


def is_debugging() -> bool:
    """Whether anybody reads what is told by `debug`."""
    return _logger.isEnabledFor(logging.DEBUG)


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
        return f"{_moment(record)} {record.levelname} {self.line(record)}"

    def line(self, record: logging.LogRecord) -> str:
        """The fact with its keys, without time and level."""
        text = " ".join([record.getMessage(), *(f"{name}={_value(each)}" for name, each in _keys(record).items())])
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        return self.masked(text)

    def masked(self, text: str) -> str:
        """The text without what nobody may see."""
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text


class JsonFormatter(Formatter):
    """`{"time": "2026-11-25T03:00:00Z", "level": "warning", "fact": "lane.parked", "pixel_id": "123", ...}`; what a
    library says stands in `message`."""

    def format(self, record: logging.LogRecord) -> str:
        told: dict[str, Any] = {"time": _moment(record), "level": record.levelname.lower()}
        if record.name == _logger.name:
            keys = {name: self._json(each) for name, each in _keys(record).items()}
            return json.dumps(told | {"fact": record.getMessage()} | keys, ensure_ascii=False)
        return json.dumps(told | {"message": self.line(record)}, ensure_ascii=False)

    def _json(self, value: Any) -> Any:
        return value if value is None or isinstance(value, int | float) else self.masked(_text(value))


class JournalHandler(logging.Handler):
    """Facts as fields that journalctl filters by: CAPI_FACT=lane.parked, CAPI_PIXEL_ID=123, and so on by each key."""

    def __init__(self, formatter: Formatter, address: str = _JOURNAL) -> None:
        super().__init__()
        self._formatter = formatter
        self._address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.settimeout(_PATIENCE)
        #: For what the journal does not take so, such as a text that is too long.
        self._stream = logging.StreamHandler()
        self._stream.setFormatter(formatter)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._socket.sendto(b"".join(starmap(_field, self._fields(record))), self._address)
        except TimeoutError:
            pass
        except OSError:
            self._stream.emit(record)

    def close(self) -> None:
        self._socket.close()
        super().close()

    def _fields(self, record: logging.LogRecord) -> Iterator[tuple[str, str]]:
        yield "MESSAGE", self._formatter.line(record)
        yield "PRIORITY", str(_PRIORITIES.get(record.levelno, 6))
        yield "SYSLOG_IDENTIFIER", _logger.name
        if record.name == _logger.name:
            yield "CAPI_FACT", record.getMessage()
        for name, value in _keys(record).items():
            # A field may come several times: an event of any of these.
            for each in value if isinstance(value, list | tuple) else () if value is None else (value,):
                yield f"CAPI_{name.upper()}", self._formatter.masked(_text(each))


def start(form: str | None = None, level: str = "info") -> Formatter:
    """Writes facts to stderr; the formatter takes the secrets that it is to mask. ValueError for an unknown word.

    Without a form it is the journal's, if stderr leads there, else text.
    """
    form = form or ("journal" if _leads_to_journal() else "text")
    if form not in FORMS:
        raise ValueError(f'--log "{form}": write {", ".join(FORMS)}')
    if level not in LEVELS:
        raise ValueError(f'--log-level "{level}": write {", ".join(LEVELS)}')
    formatter = JsonFormatter() if form == "json" else Formatter()
    handler = JournalHandler(formatter) if form == "journal" else logging.StreamHandler()
    handler.setFormatter(formatter)
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    _logger.setLevel(LEVELS[level])
    # A bad request's line holds its URL, and so a customer's data.
    logging.getLogger("aiohttp").setLevel(logging.CRITICAL + 1)
    return formatter


def _leads_to_journal() -> bool:
    """Whether stderr is the stream that systemd says. Source: systemd.exec(5), $JOURNAL_STREAM."""
    try:
        found = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError):
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


def _field(name: str, value: str) -> bytes:
    """In the form that takes any value, line breaks too: name, length in 64 bits, value."""
    raw = value.encode(errors="replace")
    return b"%s\n%s%s\n" % (name.encode(), len(raw).to_bytes(8, "little"), raw)


def _moment(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _keys(record: logging.LogRecord) -> Mapping[str, Any]:
    keys: Mapping[str, Any] = getattr(record, "keys", {})
    return keys


def _value(value: Any) -> str:
    text = _text(value)
    return text if text and _PLAIN.issuperset(text) else json.dumps(text, ensure_ascii=False)


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value))
    return f"{value:.3f}" if isinstance(value, float) else str(value)
