"""How far a journal is behind, on real files."""

from pathlib import Path

from sidecar.journal.tail import Tail
from sidecar.store.sqlite import SqliteStore
from tests.examples import Clock, configuration
from tests.journal.test_tail import line

#: A line that Nginx is still writing.
BEGUN = b'{"v":"1","event":"postback"'


async def test_what_stands_in_the_files_and_is_not_stored_is_unread(
    store: SqliteStore, tmp_path: Path, clock: Clock
) -> None:
    config = configuration(tmp_path / "config")
    journal = tmp_path / "journal.ndjson"
    tail = Tail(journal, store, lambda: config, clock, lambda: None, lambda _: True)
    await tail.poll()
    assert (tail.unread, tail.missing) == (0, True)
    journal.write_bytes(line(1) + BEGUN)
    await tail.poll()
    assert tail.unread == len(BEGUN)
    older = journal.rename(tmp_path / "journal.ndjson.1")
    journal.write_bytes(line(2))
    await tail.poll()
    assert (tail.unread, tail.status()["unread"]) == (len(BEGUN), len(BEGUN))
    older.unlink()
    await tail.poll()
    assert tail.unread == 0
