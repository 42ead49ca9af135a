"""How a daemon refuses to start, and how commands say that none runs."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

import sidecar
from sidecar.cli.main import main
from tests.acceptance.parts import free_address
from tests.examples import configuration


def capi(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    options = ["--config", str(directory / "config"), "--state", str(directory / "state"), "--admin", free_address()]
    command = [sys.executable, "-m", "sidecar", arguments[0], *options, *arguments[1:]]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_a_bad_configuration_is_refused_with_all_its_mistakes(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "integrations.yaml").write_text("tracker: {postback_key: k, currency: XXX1}\nbad: 1\n")
    done = capi(tmp_path, "run", "--sandbox")
    assert done.returncode == 78
    assert [line.partition(" ")[0] for line in done.stderr.splitlines()] == [
        "integrations.yaml:1:38:",
        "integrations.yaml:2:1:",
    ]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--sandbox", "--graph", "http://127.0.0.1:1"], "give one of them"),
        (["--sandbox", "--intake", "nowhere"], "must be host:port or unix:/path"),
        (["--graph", "127.0.0.1:1"], "a URL such as"),
    ],
)
def test_a_wrong_call_is_told_why(tmp_path: Path, arguments: list[str], words: str) -> None:
    configuration(tmp_path / "config")
    done = capi(tmp_path, "run", *arguments)
    assert done.returncode == 2
    assert words in done.stderr


def test_an_address_that_is_taken_is_told(tmp_path: Path) -> None:
    configuration(tmp_path / "config")
    done = capi(tmp_path, "run", "--sandbox", "--intake", "192.0.2.1:1")
    assert done.returncode == 1
    assert "192.0.2.1" in done.stderr


def test_status_without_a_daemon_says_so(tmp_path: Path) -> None:
    done = capi(tmp_path, "status")
    assert done.returncode == 1
    assert "is it running, with this --admin?" in done.stderr


def test_version(tmp_path: Path) -> None:
    assert capi(tmp_path, "version").stdout == f"{sidecar.__version__}\n"


def test_no_command_prints_what_there_is() -> None:
    done = subprocess.run([sys.executable, "-m", "sidecar"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "COMMAND" in done.stdout


def test_a_reload_that_is_asked_for_too_early_does_not_end_the_daemon(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGHUP)
    try:
        assert main(["run", "--config", str(tmp_path), "--sandbox", "--graph", "http://127.0.0.1:1"]) == 2
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
