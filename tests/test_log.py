"""Facts as people, programs and systemd's journal read them; no secret passes in any form."""

import json
import logging
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecar import log
from sidecar.log import Formatter, JournalHandler, JsonFormatter

SECRET = "EAAtoken-that-nobody-may-see"


@pytest.fixture(autouse=True)
def own_logging() -> Iterator[None]:
    """What a test starts ends with it."""
    ours, root = logging.getLogger("capi-sidecar"), logging.getLogger()
    levels, handlers = (ours.level, root.level), root.handlers[:]
    yield
    for handler in root.handlers:
        if handler not in handlers:
            handler.close()
    root.handlers[:] = handlers
    ours.setLevel(levels[0])
    root.setLevel(levels[1])


class Journal:
    """A socket that takes fields as the journal's does."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.settimeout(5)

    def entry(self) -> list[tuple[str, str]]:
        """The next one's fields. Source: systemd.io/JOURNAL_NATIVE_PROTOCOL, the form for any value."""
        raw, fields = self._socket.recv(1 << 20), []
        while raw:
            name, _, raw = raw.partition(b"\n")
            size = int.from_bytes(raw[:8], "little")
            fields.append((name.decode(), raw[8 : 8 + size].decode()))
            assert raw[8 + size : 9 + size] == b"\n"
            raw = raw[9 + size :]
        return fields

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal(tmp_path / "journal")
    yield journal
    journal.close()


def begin(handler: logging.Handler) -> None:
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("capi-sidecar").setLevel(logging.DEBUG)


def test_a_fact_reaches_the_journal_with_a_field_for_each_key(journal: Journal) -> None:
    begin(JournalHandler(Formatter(), str(journal.path)))
    log.error("lane.parked", pixel_id="123", integration=("Summer sale", "Nutra DE"), code=190, subcode=None)
    assert journal.entry() == [
        ("MESSAGE", 'lane.parked pixel_id=123 integration="Summer sale, Nutra DE" code=190 subcode=None'),
        ("PRIORITY", "3"),
        ("SYSLOG_IDENTIFIER", "capi-sidecar"),
        ("CAPI_FACT", "lane.parked"),
        ("CAPI_PIXEL_ID", "123"),
        ("CAPI_INTEGRATION", "Summer sale"),
        ("CAPI_INTEGRATION", "Nutra DE"),
        ("CAPI_CODE", "190"),
    ]


@pytest.mark.parametrize(
    ("tell", "priority"), [(log.debug, "7"), (log.info, "6"), (log.warning, "4"), (log.error, "3")]
)
def test_a_level_is_a_priority(journal: Journal, tell: object, priority: str) -> None:
    begin(JournalHandler(Formatter(), str(journal.path)))
    assert callable(tell)
    tell("some.fact")
    assert ("PRIORITY", priority) in journal.entry()


def test_no_field_shows_a_secret_and_a_line_break_makes_no_field(journal: Journal) -> None:
    formatter = Formatter()
    formatter.mask([SECRET])
    begin(JournalHandler(formatter, str(journal.path)))
    log.warning("lane.failing", words=f"refused: {SECRET}\nPRIORITY=0\nX=1")
    fields = journal.entry()
    assert ("CAPI_WORDS", "refused: ***\nPRIORITY=0\nX=1") in fields
    assert [value for name, value in fields if name == "PRIORITY"] == ["4"]
    assert SECRET not in str(fields)


def test_what_a_library_says_has_no_fact(journal: Journal) -> None:
    begin(JournalHandler(Formatter(), str(journal.path)))
    logging.getLogger("asyncio").warning("slow %s", "callback")
    assert journal.entry() == [("MESSAGE", "slow callback"), ("PRIORITY", "4"), ("SYSLOG_IDENTIFIER", "capi-sidecar")]


def test_what_the_journal_does_not_take_is_said_on_stderr(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    begin(JournalHandler(Formatter(), str(tmp_path / "nobody")))
    log.info("daemon.started", version="1")
    assert "INFO daemon.started version=1" in capsys.readouterr().err


def test_a_journal_that_does_not_read_holds_nobody_up(journal: Journal) -> None:
    handler = JournalHandler(Formatter(), str(journal.path))
    handler._socket.settimeout(0.01)  # no clock but the system's stands between us and its queue
    begin(handler)
    for number in range(2000):
        log.info("some.fact", number=number)
        if number and number % 500 == 0:
            break
    assert ("CAPI_NUMBER", "0") in journal.entry()


def test_json_is_one_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    formatter = log.start("json", "debug")
    formatter.mask([SECRET])
    log.warning("proxy.failing", proxy="10.0.0.5:3128", why=f'says "{SECRET}"', took=1.25, code=None)
    logging.getLogger("asyncio").error("%s", SECRET)
    first, second = map(json.loads, capsys.readouterr().err.splitlines())
    assert {name: value for name, value in first.items() if name != "time"} == {
        "level": "warning", "fact": "proxy.failing", "proxy": "10.0.0.5:3128", "why": 'says "***"', "took": 1.25,
        "code": None,
    }  # fmt: skip
    assert (second["level"], second["message"]) == ("error", "***")


def test_text_stays_as_it_was(capsys: pytest.CaptureFixture[str]) -> None:
    log.start()
    log.info("lane.well", pixel_id="1", after="a change")
    assert capsys.readouterr().err.partition(" ")[2] == 'INFO lane.well pixel_id=1 after="a change"\n'


def test_debug_is_written_only_when_it_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    log.start("text")
    log.debug("postback.decided", subid="s")
    assert not log.is_debugging()
    assert capsys.readouterr().err == ""
    log.start("text", "debug")
    assert log.is_debugging()


def test_the_journal_is_spoken_to_only_where_stderr_leads_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = tmp_path / "stream"
    with stream.open("w") as stderr:
        monkeypatch.setattr(sys, "stderr", stderr)
        monkeypatch.setenv("JOURNAL_STREAM", f"{stream.stat().st_dev}:{stream.stat().st_ino}")
        log.start()
        assert isinstance(logging.getLogger().handlers[0], JournalHandler)
        monkeypatch.setenv("JOURNAL_STREAM", "1:1")
        log.start()
        assert not isinstance(logging.getLogger().handlers[0], JournalHandler)
        assert not isinstance(log.start("text"), JsonFormatter)


@pytest.mark.parametrize(
    ("form", "level", "words"), [("xml", "info", "--log .*journal"), ("text", "loud", "--log-level .*debug")]
)
def test_a_word_that_nobody_knows_is_refused(form: str, level: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        log.start(form, level)
