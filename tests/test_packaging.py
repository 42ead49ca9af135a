"""What the Debian package is made of agrees with the program."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import sidecar

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCK = (ROOT / "requirements.lock").read_text()
PINNED = {canonicalize_name(name): version for name, version in re.findall(r"(?m)^([\w.-]+)==([\w.+!]+)", LOCK)}


@pytest.mark.parametrize("text", PROJECT["dependencies"])
def test_the_lock_holds_every_dependency(text: str) -> None:
    wanted = Requirement(text)
    version = PINNED.get(canonicalize_name(wanted.name), "")
    assert version and version in wanted.specifier, f"{text}: the lock has {version or 'none'}; run `make lock`"


def test_the_lock_names_versions_and_hashes_and_no_place() -> None:
    assert len(re.findall(r"(?m)^\S+==\S+ \\$", LOCK)) == len(PINNED)
    assert not re.search(r"://|^-|/(opt|home|root|tmp)/", LOCK, re.MULTILINE)


def test_the_version_is_said_once_more_and_the_same() -> None:
    assert PROJECT["version"] == sidecar.__version__


def test_the_manual_names_every_command() -> None:
    command = [sys.executable, str(ROOT / "packaging" / "manual.py")]
    page = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout
    for name in ("run", "check", "explain", "queue release", "integrations pause", r"send\-test"):
        assert re.search(rf"(?m)^\.B {re.escape(name)}\b", page), name


@pytest.mark.parametrize("path", ["packaging/build-deb", "packaging/capi-sidecar", *(
    f"packaging/debian/{name}" for name in ("postinst", "prerm", "postrm")
)])  # fmt: skip
def test_a_script_is_of_its_shells_grammar(path: str) -> None:
    shell = (ROOT / path).read_text().partition("\n")[0].rpartition("/")[2].removeprefix("env ")
    subprocess.run([shell, "-n", ROOT / path], check=True)
