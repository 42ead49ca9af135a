"""The journal on real files: rotation, truncation, cut lines, restarts."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sidecar.core.click import Click
from sidecar.core.configuration import Configuration
from sidecar.core.fbclid import has_fbclid
from sidecar.journal.tail import Tail
from sidecar.store.sqlite import SqliteStore
from tests.examples import FBCLID, KEY, NOW, SUBID, Clock, configuration


@pytest.fixture
def config(tmp_path: Path) -> Configuration:
    return configuration(tmp_path / "config")


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "journal.ndjson"


@pytest.fixture
def start(store: SqliteStore, config: Configuration, clock: Clock, journal: Path) -> Callable[[], Tail]:
    """A tail as after a start: it remembers nothing."""
    return lambda: Tail(journal, store, lambda: config, clock, lambda: None, is_from_facebook)


def is_from_facebook(click: Click) -> bool:
    return has_fbclid(click, ("fbclid",))


def line(number: int, **more: Any) -> bytes:
    """A postback's line with a subid of its own."""
    fields = {
        "v": "1",
        "event": "postback",
        "id": f"{number:032x}",
        "time": f"{NOW + 1:.3f}",
        "took": "0.500",
        "method": "GET",
        "uri": f"/{KEY}/postback?subid=subid{number:05d}",
        "body": "",
    }
    return json.dumps(fields | more).encode() + b"\n"


def click_line(number: int, **more: Any) -> bytes:
    """A click's line, as Nginx writes it."""
    target = f"/AbCd12?fbclid={FBCLID}"
    return line(
        number, **({"event": "click", "uri": target, "subid": SUBID, "ip": "8.8.8.8", "host": "t.example"} | more)
    )


async def numbers(store: SqliteStore) -> list[int]:
    """Which postbacks are pending, in the order in which they were stored."""
    return [int(each.postback.id, 16) for each in await store.pending(NOW, 10_000)]


async def test_lines_become_clicks_and_postbacks(start: Callable[[], Tail], store: SqliteStore, journal: Path) -> None:
    journal.write_bytes(click_line(1) + line(2, method="POST", type="text/plain", body="a\udcffb"))
    tail = start()
    await tail.poll()
    [pending] = await store.pending(NOW, 10)
    assert (pending.postback.received_at, pending.postback.body) == (NOW + 0.5, b"a\xffb")
    known = (await store.clicks([SUBID]))[SUBID]
    assert (known.campaign, known.clicked_at, known.ip) == (("AbCd12",), NOW + 0.5, "8.8.8.8")
    assert tail.counts["lines"] == 2


async def test_what_was_read_is_not_read_again_after_a_restart(
    start: Callable[[], Tail], store: SqliteStore, journal: Path
) -> None:
    journal.write_bytes(line(1))
    await start().poll()
    with journal.open("ab") as file:
        file.write(line(2))
    second = start()
    await second.poll()
    assert second.counts["lines"] == 1
    assert await numbers(store) == [1, 2]


async def test_a_line_is_read_when_it_is_whole(start: Callable[[], Tail], store: SqliteStore, journal: Path) -> None:
    tail = start()
    cut = line(1)
    journal.write_bytes(cut[:40])
    await tail.poll()
    assert await numbers(store) == []
    journal.write_bytes(cut)
    await tail.poll()
    assert await numbers(store) == [1]


async def test_a_renamed_file_is_read_to_its_end_and_the_new_one_from_its_start(
    start: Callable[[], Tail], store: SqliteStore, journal: Path
) -> None:
    tail = start()
    journal.write_bytes(line(1))
    await tail.poll()
    old = journal.rename(journal.with_suffix(".ndjson.1"))
    with old.open("ab") as file:
        file.write(line(2))
    journal.write_bytes(line(3))
    await tail.poll()
    with old.open("ab") as file:  # a worker that has not reopened its log yet
        file.write(line(4))
    await tail.poll()
    assert await numbers(store) == [1, 2, 3, 4]
    assert tail.counts["lines"] == 4


async def test_after_a_long_absence_the_oldest_file_comes_first(
    start: Callable[[], Tail], store: SqliteStore, journal: Path
) -> None:
    for age, name in enumerate(["journal.ndjson", "journal.ndjson.1", "journal.ndjson.2"]):
        path = journal.with_name(name)
        path.write_bytes(line(9 - age))
        os.utime(path, (NOW - age * 86400, NOW - age * 86400))
    (journal.parent / "journal.ndjson.3.gz").write_bytes(b"not read")
    tail = start()
    await tail.poll()
    assert await numbers(store) == [7, 8, 9]


async def test_a_truncated_file_is_read_from_its_start(
    start: Callable[[], Tail], store: SqliteStore, journal: Path
) -> None:
    tail = start()
    journal.write_bytes(line(1) + line(2))
    await tail.poll()
    journal.write_bytes(line(3))
    await tail.poll()
    assert await numbers(store) == [1, 2, 3]


async def test_a_file_replaced_by_a_longer_one_is_read_from_its_start(
    start: Callable[[], Tail], store: SqliteStore, journal: Path
) -> None:
    tail = start()
    journal.write_bytes(line(1))
    await tail.poll()
    journal.write_bytes(line(2) + line(3) + line(4))  # in place: the same inode
    await tail.poll()
    assert await numbers(store) == [1, 2, 3, 4]


@pytest.mark.parametrize(
    "junk",
    [b"\n", b"no json\n", b"[1]\n", b'{"v":"2"}\n', b'{"v":"1","event":"x"}\n', b"\xff\xfe\n", b"x" * 300_000 + b"\n"],
)
async def test_a_bad_line_is_counted_and_the_next_one_read(
    start: Callable[[], Tail], store: SqliteStore, journal: Path, junk: bytes
) -> None:
    journal.write_bytes(junk + line(2))
    tail = start()
    await tail.poll()
    assert await numbers(store) == [2]


async def test_a_line_that_was_glued_to_a_cut_one_is_read(
    start: Callable[[], Tail], store: SqliteStore, journal: Path
) -> None:
    journal.write_bytes(line(1)[:50] + line(2).replace(b'"v": "1"', b'"v":"1"'))
    await start().poll()
    assert await numbers(store) == [2]


async def test_a_line_longer_than_any_of_nginx_is_passed_over(
    start: Callable[[], Tail], store: SqliteStore, journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sidecar.journal import files

    monkeypatch.setattr(files, "LONGEST_LINE", 1 << 20)
    journal.write_bytes(b"x" * (3 << 20) + b"\n" + line(2))
    tail = start()
    await tail.poll()
    assert await numbers(store) == [2]
    assert tail.counts["too_long"] >= 1


async def test_a_million_bytes_of_lines_are_all_read(
    start: Callable[[], Tail], store: SqliteStore, journal: Path
) -> None:
    count = 6000
    journal.write_bytes(b"".join(line(number) for number in range(1, count + 1)))
    assert journal.stat().st_size > 1_000_000
    await start().poll()
    assert await numbers(store) == list(range(1, count + 1))


async def test_a_postback_with_another_key_is_counted_and_not_stored(
    start: Callable[[], Tail], store: SqliteStore, journal: Path
) -> None:
    journal.write_bytes(line(1, uri="/other00/postback?subid=subid00001"))
    tail = start()
    await tail.poll()
    assert await numbers(store) == []
    assert tail.counts["wrong_key"] == 1


async def test_at_the_first_start_older_postbacks_are_kept_for_replay_only(
    start: Callable[[], Tail], store: SqliteStore, journal: Path, clock: Clock
) -> None:
    journal.write_bytes(click_line(1, time=str(NOW - 86400)) + line(2, time=str(NOW - 100), took="0") + line(3))
    await start().poll()
    assert await numbers(store) == [3]
    assert SUBID in await store.clicks([SUBID])
    [story] = await store.stories(f"{2:032x}", 10)
    assert (story["state"], story["decision"], story["reason"]) == ("decided", "rejected", "before_first_start")
    clock.move(86400)
    with journal.open("ab") as file:  # written while nobody read, long before this start
        file.write(line(4))
    await start().poll()
    assert await numbers(store) == [3, 4]


async def test_first_start_can_reach_back(store: SqliteStore, journal: Path, tmp_path: Path, clock: Clock) -> None:
    reaching = configuration(tmp_path / "config", "tracker: {postback_key: 2a76c2a, first_start: 1h}\n")
    journal.write_bytes(line(1, time=str(NOW - 1800)) + line(2, time=str(NOW - 7200)))
    await Tail(journal, store, lambda: reaching, clock, lambda: None, is_from_facebook).poll()
    assert await numbers(store) == [1]


async def test_the_place_of_a_file_that_is_gone_for_long_is_forgotten(
    start: Callable[[], Tail], store: SqliteStore, journal: Path
) -> None:
    tail = start()
    journal.write_bytes(line(1))
    await tail.poll()
    journal.rename(journal.with_suffix(".ndjson.1"))
    journal.write_bytes(line(2))
    await tail.poll()
    assert len(await store.places(str(journal))) == 2
    journal.with_suffix(".ndjson.1").unlink()
    for _ in range(20):
        await tail.poll()
    assert len(await store.places(str(journal))) == 2
    await tail.poll()
    assert len(await store.places(str(journal))) == 1


async def test_a_journal_that_vanished_is_not_read_to_its_end_and_keeps_its_places(
    start: Callable[[], Tail], store: SqliteStore, journal: Path, clock: Clock
) -> None:
    tail = start()
    journal.write_bytes(line(1))
    await tail.poll()
    away = journal.rename(journal.parent / "unmounted")
    clock.move(10)
    for _ in range(30):
        with pytest.raises(OSError, match="gone"):
            await tail.poll()
    assert tail.read_to_end_at == NOW
    away.rename(journal)
    await tail.poll()
    assert (tail.counts["lines"], tail.read_to_end_at) == (1, clock.now)


async def test_another_spelling_of_the_path_keeps_place_and_first_start(
    start: Callable[[], Tail], store: SqliteStore, journal: Path, config: Configuration, clock: Clock
) -> None:
    journal.write_bytes(line(1))
    await start().poll()
    clock.move(86400)
    with journal.open("ab") as file:
        file.write(line(2))
    (journal.parent / "link").symlink_to(journal.parent)
    await Tail(
        journal.parent / "link" / journal.name, store, lambda: config, clock, lambda: None, is_from_facebook
    ).poll()
    assert await numbers(store) == [1, 2]


async def test_what_is_written_during_a_look_is_for_the_next_one(
    start: Callable[[], Tail], store: SqliteStore, journal: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a journal that is always written to would never be read to its end, and nothing could expire."""
    added = iter(range(2, 100))
    add = store.add_reading

    async def meanwhile(reading: Any) -> Any:
        with journal.open("ab") as file:
            file.write(line(next(added)))
        return await add(reading)

    monkeypatch.setattr(store, "add_reading", meanwhile)
    journal.write_bytes(line(1))
    tail = start()
    await tail.poll()
    assert (tail.counts["lines"], tail.read_to_end_at) == (1, NOW)
    await tail.poll()
    assert tail.counts["lines"] == 2


async def test_only_files_are_read_whatever_else_has_the_journals_name(
    start: Callable[[], Tail], store: SqliteStore, journal: Path
) -> None:
    journal.write_bytes(line(1))
    journal.with_suffix(".ndjson.d").mkdir()
    os.mkfifo(journal.with_suffix(".ndjson.fifo"))
    tail = start()
    await tail.poll()
    assert (await numbers(store), tail.read_to_end_at) == ([1], NOW)


async def test_an_unreadable_file_keeps_no_other_from_being_read(
    start: Callable[[], Tail], store: SqliteStore, journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sidecar.journal import tail as module

    read = module.read_new

    def refused(file: Any, place: Any) -> Any:
        if file.path.suffix == ".1":
            raise PermissionError(13, "Permission denied", str(file.path))
        return read(file, place)

    monkeypatch.setattr(module, "read_new", refused)
    journal.with_suffix(".ndjson.1").write_bytes(line(1))
    journal.write_bytes(line(2))
    tail = start()
    with pytest.raises(PermissionError):
        await tail.poll()
    assert (await numbers(store), tail.read_to_end_at) == ([2], 0.0)


async def test_the_end_counts_from_the_moment_at_which_reading_began(
    start: Callable[[], Tail], journal: Path, clock: Clock
) -> None:
    tail = start()
    assert tail.read_to_end_at == 0
    await tail.poll()
    assert tail.read_to_end_at == NOW
