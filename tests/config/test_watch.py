"""Every way in which files change under a watcher, on real files.

`by_event` has a slow interval that never comes; `by_interval` one of half a second, for what no event can tell.
"""

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from sidecar.config import watch
from sidecar.config.watch import Watch

#: Far more than any change needs, and less than the interval that never comes.
LIMIT = 20.0

Watching = Callable[..., Awaitable["Seen"]]


class Seen:
    """A watch that runs, and the changes that it told."""

    def __init__(self, watching: Watch, content: str) -> None:
        self.watch = watching
        self.contents = [content]
        self._task = asyncio.create_task(self._follow())

    async def _follow(self) -> None:
        while True:
            self.contents.append(await self.watch.change(self.contents[-1]))

    async def changes(self, count: int = 1) -> None:
        """Waits until this many changes were told since the start."""
        async with asyncio.timeout(LIMIT):
            while len(self.contents) - 1 < count:
                await asyncio.sleep(0.02)

    async def nothing(self) -> None:
        """Some rounds later nothing was told."""
        before = len(self.contents)
        await asyncio.sleep(1.5)
        assert len(self.contents) == before

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self.watch.stop()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A configuration; what stands in it does not matter here."""
    root = tmp_path / "current"
    fill(root)
    return root


def fill(root: Path, text: str = "a: 1\n") -> None:
    (root / "mappings").mkdir(parents=True)
    (root / "integrations.yaml").write_text(text)
    (root / "mappings" / "default.yaml").write_text("lead: Lead\n")


@pytest.fixture
async def watching(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Watching]:
    started: list[Seen] = []

    async def start(root: Path, slow: float, files: tuple[Path, ...] = ()) -> Seen:
        monkeypatch.setattr(watch, "SLOW", slow)
        watching = Watch(root, files)
        started.append(Seen(watching, await watching.content()))
        await asyncio.sleep(0.2)
        return started[-1]

    yield start
    for seen in started:
        await seen.stop()


NEVER = 600.0
SOON = 0.5


async def test_a_file_written_in_place_is_seen(watching: Watching, root: Path) -> None:
    seen = await watching(root, NEVER)
    (root / "integrations.yaml").write_text("a: 2\n")
    await seen.changes()


async def test_a_file_renamed_over_is_seen_again_and_again(watching: Watching, root: Path) -> None:
    seen = await watching(root, NEVER)
    for number in range(1, 4):
        (root / ".new").write_text(f"a: {number + 1}\n")
        (root / ".new").rename(root / "integrations.yaml")
        await seen.changes(number)


async def test_sed_i_is_seen(watching: Watching, root: Path) -> None:
    seen = await watching(root, NEVER)
    subprocess.run(["sed", "-i", "s/1/2/", str(root / "integrations.yaml")], check=True)
    await seen.changes()


async def test_the_way_of_vim_is_seen(watching: Watching, root: Path) -> None:
    seen = await watching(root, NEVER)
    for number in range(1, 3):
        (root / "integrations.yaml").rename(root / "integrations.yaml~")
        (root / "integrations.yaml").write_text(f"a: {number + 1}\n")
        await seen.changes(number)
        (root / "integrations.yaml~").unlink()


async def test_the_swap_of_kubernetes_is_seen_twice(watching: Watching, tmp_path: Path) -> None:
    root = tmp_path / "volume"
    fill(root / "..1")
    (root / "..data").symlink_to("..1")
    for name in ("integrations.yaml", "mappings"):
        (root / name).symlink_to(f"..data/{name}")
    seen = await watching(root, NEVER)
    for number in range(2, 4):
        fill(root / f"..{number}", f"a: {number}\n")
        (root / "..data_tmp").symlink_to(f"..{number}")
        (root / "..data_tmp").rename(root / "..data")
        await seen.changes(number - 1)


async def test_a_link_flipped_above_the_root_is_seen_twice(watching: Watching, tmp_path: Path) -> None:
    for number in range(1, 4):
        fill(tmp_path / "releases" / str(number), f"a: {number}\n")
    (tmp_path / "live").symlink_to("releases/1")
    seen = await watching(tmp_path / "live", NEVER)
    for number in range(2, 4):
        (tmp_path / "next").symlink_to(f"releases/{number}")
        (tmp_path / "next").rename(tmp_path / "live")
        await seen.changes(number - 1)


async def test_a_root_that_is_replaced_is_seen_and_followed(watching: Watching, root: Path, tmp_path: Path) -> None:
    seen = await watching(root, NEVER)
    fill(tmp_path / "fresh", "a: 2\n")
    root.rename(tmp_path / "old")
    (tmp_path / "fresh").rename(root)
    await seen.changes(1)
    (root / "integrations.yaml").write_text("a: 3\n")
    await seen.changes(2)


async def test_a_root_that_is_removed_and_made_again_is_seen_and_followed(watching: Watching, root: Path) -> None:
    seen = await watching(root, NEVER)
    subprocess.run(["rm", "-r", str(root)], check=True)
    await asyncio.sleep(0.5)
    fill(root, "a: 2\n")
    await seen.changes(1)
    (root / "integrations.yaml").write_text("a: 3\n")
    await seen.changes(2)


async def test_a_directory_moved_in_is_seen_and_followed(watching: Watching, root: Path, tmp_path: Path) -> None:
    seen = await watching(root, NEVER)
    (tmp_path / "integrations.d").mkdir()
    (tmp_path / "integrations.d" / "a.yaml").write_text("a: 1\n")
    (tmp_path / "integrations.d").rename(root / "integrations.d")
    await seen.changes(1)
    (root / "integrations.d" / "a.yaml").write_text("a: 2\n")
    await seen.changes(2)


async def test_the_same_size_and_time_with_other_content_is_seen(watching: Watching, root: Path) -> None:
    path = root / "integrations.yaml"
    seen = await watching(root, NEVER)
    before = path.stat()
    path.write_text("a: 2\n")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    await seen.changes()


async def test_a_file_deleted_and_back_is_two_changes(watching: Watching, root: Path) -> None:
    seen = await watching(root, NEVER)
    (root / "mappings" / "default.yaml").unlink()
    await seen.changes(1)
    (root / "mappings" / "default.yaml").write_text("lead: Lead\n")
    await seen.changes(2)
    assert seen.contents[0] == seen.contents[2]


async def test_a_main_file_that_is_gone_for_a_moment_is_not_yet_deleted(watching: Watching, root: Path) -> None:
    seen = await watching(root, NEVER)
    (root / "integrations.yaml").unlink()
    await asyncio.sleep(1.0)
    assert len(seen.contents) == 1
    (root / "integrations.yaml").write_text("a: 1\n")
    await seen.nothing()


async def test_a_file_that_is_still_being_written_is_not_read(watching: Watching, root: Path) -> None:
    seen = await watching(root, NEVER)
    with (root / "integrations.yaml").open("w") as file:
        for number in range(20):
            file.write(f"a{number}: 1\n")
            file.flush()
            await asyncio.sleep(0.1)
    await seen.changes(1)
    assert seen.contents[1] == await seen.watch.content()
    await seen.nothing()


async def test_a_checkout_of_300_files_is_one_change(watching: Watching, root: Path) -> None:
    (root / "integrations.d").mkdir()
    for version in ("first", "second"):
        for number in range(300):
            (root / "integrations.d" / f"{number}.yaml").write_text(f"{version}: {number}\n")
        commit(root, version)
    seen = await watching(root, NEVER)
    git(root, "checkout", "-q", "first")
    await seen.changes(1)
    await seen.nothing()
    assert len(seen.contents) == 2


async def test_while_git_holds_its_lock_nothing_is_read(watching: Watching, root: Path) -> None:
    commit(root, "first")
    seen = await watching(root, NEVER)
    (root / ".git" / "index.lock").touch()
    (root / "integrations.yaml").write_text("a: 2\n")
    await seen.nothing()
    (root / ".git" / "index.lock").unlink()
    await seen.changes(1)


async def test_a_lock_that_git_forgot_holds_up_nothing_for_ever(
    watching: Watching, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "PATIENCE", 1.0)
    commit(root, "first")
    (root / ".git" / "index.lock").touch()
    seen = await watching(root, NEVER)
    (root / "integrations.yaml").write_text("a: 2\n")
    await seen.changes(1)


async def test_reading_is_no_change_and_wakes_nobody(
    watching: Watching, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = await watching(root, NEVER)
    hints: list[int] = []
    monkeypatch.setattr(seen.watch, "hint", lambda: hints.append(1))
    for _ in range(20):
        (root / "integrations.yaml").read_text()
        os.listdir(root)
    await seen.nothing()
    assert hints == []


async def test_a_secret_file_elsewhere_is_followed_and_a_new_one_too(
    watching: Watching, root: Path, tmp_path: Path
) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "token").write_text("a")
    seen = await watching(root, NEVER, (tmp_path / "first" / "token",))
    (tmp_path / "first" / "token").write_text("b")
    await seen.changes(1)
    await seen.watch.follow((tmp_path / "second" / "token",))
    await seen.changes(2)
    (tmp_path / "second" / "token").write_text("b")
    await seen.changes(3)


async def test_a_dead_watcher_is_replaced_and_counted(watching: Watching, root: Path) -> None:
    seen = await watching(root, SOON)
    for emitter in list(seen.watch._observer.emitters):
        emitter.stop()
    async with asyncio.timeout(LIMIT):
        while not seen.watch.rearmed:
            await asyncio.sleep(0.05)
    (root / "integrations.yaml").write_text("a: 2\n")
    await seen.changes()


async def test_without_any_event_the_interval_sees_it(
    watching: Watching, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch._Hints, "on_any_event", lambda *_: None)
    seen = await watching(root, SOON)
    (root / "integrations.yaml").write_text("a: 2\n")
    await seen.changes()


async def test_where_no_watch_can_be_had_the_interval_sees_it(
    watching: Watching, root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "inotify watch limit reached")

    monkeypatch.setattr(watch.Observer, "schedule", full)
    seen = await watching(root, SOON)
    assert "watcher.refused" in caplog.text
    (root / "integrations.yaml").write_text("a: 2\n")
    await seen.changes()


def git(root: Path, *arguments: str) -> None:
    who = ["-c", "user.name=x", "-c", "user.email=x@example.com"]
    subprocess.run(["git", "-C", str(root), *who, *arguments], check=True, capture_output=True)


def commit(root: Path, tag: str) -> None:
    if not (root / ".git").exists():
        git(root, "init", "-q")
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", tag)
    git(root, "tag", tag)
