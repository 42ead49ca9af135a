"""Which git commit a directory stands at, read from files: no lock is taken and no command is run."""

import os
from pathlib import Path


def commit_of(directory: Path) -> str:
    """The commit's hash, or an empty string where there is none."""
    for folder in (directory.resolve(), *directory.resolve().parents):
        if os.path.exists(folder / ".git"):
            try:
                return _head(_git_directory(folder / ".git"))
            except (OSError, ValueError):
                return ""
    return ""


def _git_directory(entry: Path) -> Path:
    """`.git` itself, or what its file names in a worktree."""
    if entry.is_dir():
        return entry
    return (entry.parent / entry.read_text().removeprefix("gitdir:").strip()).resolve()


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
