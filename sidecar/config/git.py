"""Where a directory stands in git. The daemon never takes git's lock, and trusts no other owner's hooks."""

import os
import re
import subprocess
from pathlib import Path

#: `git status` without its lock and without a file system monitor, in a repository of another owner too.
_STATUS = ("status", "--porcelain", "--untracked-files=normal", "--", ".")

_REF = re.compile(r"refs/[\w./-]+")
_HASH = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")

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
    try:
        return bool(git_says(directory, *_STATUS).strip())
    except (OSError, subprocess.SubprocessError):
        return False


def git_says(directory: Path, *arguments: str) -> bytes:
    """What git prints about a directory; of this process's environment it gets nothing but the path.

    Raises OSError or subprocess.SubprocessError, a CalledProcessError with git's words.
    """
    command = ["git", "-c", "core.fsmonitor=false", "-c", f"safe.directory={_top(directory)}", "-C", str(directory)]
    environment = {"PATH": os.environ.get("PATH", os.defpath), "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
    return subprocess.run(
        [*command, *arguments],
        capture_output=True,
        check=True,
        env=environment,
        timeout=_PATIENCE,
        stdin=subprocess.DEVNULL,
    ).stdout


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
        return _commit(head)
    name = head.removeprefix("ref:").strip()
    if not _REF.fullmatch(name) or ".." in name:
        return ""
    common = git / "commondir"
    shared = (git / common.read_text().strip()).resolve() if common.exists() else git
    for root in (git, shared):
        if (root / name).is_file():
            return _commit((root / name).read_text().strip())
    for line in (shared / "packed-refs").read_text().splitlines():
        commit, _, reference = line.partition(" ")
        if reference == name:
            return _commit(commit)
    return ""


def _commit(text: str) -> str:
    """A hash, and nothing else that a file may hold: it is shown to anybody."""
    return text if _HASH.fullmatch(text) else ""
