"""The commit of a configuration, as real git writes it."""

import subprocess
from pathlib import Path

import pytest

from sidecar.config.git import commit_of
from sidecar.config.load import load
from sidecar.config.secrets import Resolve
from tests.config.test_load import ONE, SALE

_NOBODY = ("-c", "user.name=nobody", "-c", "user.email=nobody@example.com", "-c", "commit.gpgsign=false")


def git(directory: Path, *arguments: str) -> str:
    command = ["git", *_NOBODY, *arguments]
    return subprocess.run(command, cwd=directory, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with one commit of a configuration in its folder `config`."""
    directory = tmp_path / "repository"
    (directory / "config").mkdir(parents=True)
    (directory / "config/integrations.yaml").write_text(ONE + SALE)
    git(directory, "init", "-q", "-b", "feature/summer")
    git(directory, "add", ".")
    git(directory, "commit", "-q", "-m", "first")
    return directory


def test_the_commit_is_that_of_the_branch(repository: Path) -> None:
    assert commit_of(repository / "config") == git(repository, "rev-parse", "HEAD")


def test_packed_references_are_read(repository: Path) -> None:
    git(repository, "tag", "-a", "v1", "-m", "an annotated tag has a second line")
    git(repository, "pack-refs", "--all")
    assert not (repository / ".git/refs/heads/feature/summer").exists()
    assert commit_of(repository / "config") == git(repository, "rev-parse", "HEAD")


def test_a_detached_head_is_its_commit(repository: Path) -> None:
    first = git(repository, "rev-parse", "HEAD")
    git(repository, "commit", "-q", "--allow-empty", "-m", "second")
    git(repository, "checkout", "-q", first)
    assert commit_of(repository / "config") == first


@pytest.mark.parametrize("packed", [False, True])
def test_a_worktree_has_its_own_commit(repository: Path, tmp_path: Path, packed: bool) -> None:
    git(repository, "worktree", "add", "-q", "-b", "winter", str(tmp_path / "winter"))
    git(tmp_path / "winter", "commit", "-q", "--allow-empty", "-m", "second")
    if packed:
        git(repository, "pack-refs", "--all")
    assert commit_of(tmp_path / "winter/config") == git(tmp_path / "winter", "rev-parse", "HEAD")
    assert commit_of(repository / "config") == git(repository, "rev-parse", "HEAD")


def test_a_link_to_a_repository_is_followed(repository: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(repository / "config")
    assert commit_of(tmp_path / "link") == git(repository, "rev-parse", "HEAD")


def test_without_git_there_is_no_commit(tmp_path: Path) -> None:
    assert commit_of(tmp_path) == ""


def test_a_repository_without_a_commit_has_none(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    assert commit_of(tmp_path) == ""


@pytest.mark.parametrize("head", [b"", b"\xff", b"ref: refs/heads/none"])
def test_a_broken_repository_has_none(tmp_path: Path, head: bytes) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git/HEAD").write_bytes(head)
    assert commit_of(tmp_path) == ""


def test_a_configuration_names_its_content_and_its_commit(repository: Path) -> None:
    configuration = load(repository / "config", resolve=Resolve.ALL).configuration
    assert configuration is not None
    assert configuration.commit == git(repository, "rev-parse", "HEAD")
    assert configuration.version == f"{configuration.hash}@{configuration.commit}"
