"""Where a directory stands in git. The daemon never takes git's lock, and trusts no other owner's hooks."""

import os
import subprocess
from pathlib import Path

#: `git status` without its lock and without a file system monitor, in a repository of another owner too.
_STATUS = ("status", "--porcelain", "--untracked-files=normal", "--", ".")

#: Seconds that git may take.
_PATIENCE = 5.0


def commit_of(directory: Path) -> str:
    """The commit's hash, read from files; empty where there is none."""
    git = git_directory(directory)
    try:
        return _head(git) if git else ""
    except (OSError, ValueError):
        return ""


def is_busy(directory: Path) -> bool:
    """Whether git is changing the files: its lock is there."""
    git = git_directory(directory)
    return git is not None and (git / "index.lock").exists()


def is_dirty(directory: Path) -> bool:
    """Whether the directory differs from its commit; False where git cannot say."""
    command = ["git", "-c", "core.fsmonitor=false", "-c", f"safe.directory={_top(directory)}", "-C", str(directory)]
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
    try:
        done = subprocess.run(
            [*command, *_STATUS], capture_output=True, env=environment, timeout=_PATIENCE, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0 and bool(done.stdout.strip())


def git_directory(directory: Path) -> Path | None:
    """`.git`, or what its file names in a worktree; None outside of a repository."""
    for folder in (directory.resolve(), *directory.resolve().parents):
        entry = folder / ".git"
        if os.path.exists(entry):
            try:
                return entry if entry.is_dir() else folder / entry.read_text().removeprefix("gitdir:").strip()
            except (OSError, ValueError):
                return None
    return None


def _top(directory: Path) -> Path:
    folders = (directory.resolve(), *directory.resolve().parents)
    return next((folder for folder in folders if os.path.exists(folder / ".git")), directory)


def _head(git: Path) -> str:
    head = (git / "HEAD").read_text().strip()
    if not head.startswith("ref:"):
        return head
    name = head.removeprefix("ref:").strip()
    common = git / "commondir"
    shared = (git / common.read_text().strip()).resolve() if common.exists() else git
    for root in (git, shared):
        if (root / name).is_file():
            return (root / name).read_text().strip()
    for line in (shared / "packed-refs").read_text().splitlines():
        commit, _, reference = line.partition(" ")
        if reference == name:
            return commit
    return ""
