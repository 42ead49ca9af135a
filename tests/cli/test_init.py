"""`capi-sidecar init nginx`, run as a sysadmin runs it."""

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from sidecar.cli.init import HOOKS, VARIANTS, Machine, State, detect, look, state

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "nginx"

Init = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def init(tmp_path: Path) -> Init:
    """`init("--proxy", ...)`, in a directory with nothing in it."""

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "sidecar", "init", "nginx", *arguments]
        known = {name: value for name, value in os.environ.items() if not name.startswith("CAPI_SIDECAR_")}
        return subprocess.run(
            command, cwd=tmp_path, env=known | environment, capture_output=True, text=True, check=False
        )

    return run


def files(directory: Path) -> dict[str, str]:
    return {str(path.relative_to(directory)): path.read_text() for path in directory.rglob("*") if path.is_file()}


@pytest.mark.parametrize("kind", VARIANTS)
def test_each_kind_is_written_with_this_machines_paths(init: Init, tmp_path: Path, kind: str) -> None:
    to = tmp_path / "nginx"
    done = init(
        f"--{kind}", "--to", str(to), "--journal", "/srv/log/j.ndjson", "--intake", "unix:/run/capi/intake.sock"
    )
    assert done.returncode == 0, done.stderr
    written = files(to)
    assert set(written) == {str(place) for place in VARIANTS[kind].values()}
    everything = "".join(written.values())
    assert everything.count("server unix:/run/capi/intake.sock max_fails") == 2
    assert everything.count("/srv/log/j.ndjson") == 3  # location, postback, logrotate
    assert [old for old in ("127.0.0.1:8190", "/var/log/capi-sidecar") if old in everything] == []
    assert done.stdout.count("wrote") == len(written)


def test_nothing_is_filled_in_that_is_as_the_files_say(init: Init, tmp_path: Path) -> None:
    machine = look()
    assert init("--proxy", "--to", str(tmp_path / "nginx")).returncode == 0
    for name, place in VARIANTS["proxy"].items():
        expected = (SHIPPED / name).read_text()
        if name == "logrotate":
            expected = expected.replace("www-data", machine.user).replace("/run/nginx.pid", machine.pid)
        assert (tmp_path / "nginx" / place).read_text() == expected


def test_the_environment_says_journal_and_intake(init: Init) -> None:
    done = init("--proxy", CAPI_SIDECAR_JOURNAL="/srv/a.ndjson:/srv/b.ndjson", CAPI_SIDECAR_INTAKE="10.0.0.1:9000")
    assert (done.stdout.count("/srv/a.ndjson"), "/srv/b.ndjson" in done.stdout) == (3, False)
    assert done.stdout.count("server 10.0.0.1:9000 max_fails") == 2


def test_without_a_directory_the_files_are_printed_under_their_names(init: Init, tmp_path: Path) -> None:
    done = init("--keitaro")
    directory = look().directory
    assert re.findall(r"^# ==> (.*) <==$", done.stdout, re.MULTILINE) == [
        str(directory / place) for place in VARIANTS["keitaro"].values()
    ]
    assert files(tmp_path) == {}
    assert "nginx -t" in done.stderr and "doctor" in done.stderr and "twice" in done.stderr


def test_a_dry_run_writes_nothing_and_says_what_it_would(init: Init, tmp_path: Path) -> None:
    done = init("--proxy", "--to", str(tmp_path / "nginx"), "--dry-run")
    assert done.returncode == 0
    assert done.stdout.count("would write") == len(VARIANTS["proxy"])
    assert not (tmp_path / "nginx").exists()


def test_a_second_time_everything_is_there(init: Init, tmp_path: Path) -> None:
    init("--proxy", "--to", str(tmp_path / "nginx"))
    before = files(tmp_path)
    done = init("--proxy", "--to", str(tmp_path / "nginx"))
    assert (done.returncode, done.stdout.count("has it")) == (0, len(VARIANTS["proxy"]))
    assert files(tmp_path) == before


def test_a_file_that_differs_is_never_overwritten_and_what_it_lacks_is_told(init: Init, tmp_path: Path) -> None:
    hook = tmp_path / HOOKS / "tracker.inc"
    hook.parent.mkdir(parents=True)
    hook.write_text("limit_req zone=own;\n")
    done = init("--keitaro", "--to", str(tmp_path))
    assert done.returncode == 1
    assert hook.read_text() == "limit_req zone=own;\n"
    assert f"differs, left as it is  {hook}\n    lacks: include capi-sidecar/capi-sidecar.location.conf;" in done.stdout
    hook.write_text("limit_req zone=own;\ninclude capi-sidecar/capi-sidecar.location.conf;\n")
    assert init("--keitaro", "--to", str(tmp_path)).returncode == 0


def test_keitaros_empty_hooks_are_filled(init: Init, tmp_path: Path) -> None:
    hook = tmp_path / HOOKS / "server.inc"
    hook.parent.mkdir(parents=True)
    hook.touch()
    assert init("--to", str(tmp_path)).returncode == 0, "the hooks' directory tells that it is Keitaro"
    assert hook.read_text() == (SHIPPED / "keitaro/server.inc").read_text()


@pytest.mark.parametrize(
    "arguments", [("--intake", "nonsense"), ("--journal", "/var/log/a b;"), ("--proxy", "--keitaro")]
)
def test_what_nginx_would_not_take_is_a_usage_error(init: Init, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    done = init("--to", str(tmp_path / "nginx"), *arguments)
    assert done.returncode == 2
    assert not (tmp_path / "nginx").exists()


def test_a_machine_is_read_from_its_files(tmp_path: Path) -> None:
    conf = tmp_path / "etc/nginx/nginx.conf"
    conf.parent.mkdir(parents=True)
    conf.write_text("# user nobody;\nuser  keitaro keitaro;\npid /run/other.pid;\n")
    (tmp_path / "run/php").mkdir(parents=True)
    for name in ("php8.2-fpm.sock", "php-fpm.sock"):
        (tmp_path / "run/php" / name).touch()
    machine = look(tmp_path)
    assert (machine.user, machine.pid) == ("keitaro", "/run/other.pid")
    assert machine.socket == str(tmp_path / "run/php/php-fpm.sock"), "it stays over PHP's upgrades"


def test_the_kind_is_looked_for(tmp_path: Path) -> None:
    bare = Machine(tmp_path, "www-data", "/run/nginx.pid", "")
    php = Machine(tmp_path, "www-data", "/run/nginx.pid", "/run/php/php-fpm.sock")
    assert (detect(tmp_path, bare), detect(tmp_path, php)) == ("proxy", "php-fpm")
    (tmp_path / HOOKS).mkdir(parents=True)
    assert detect(tmp_path, php) == "keitaro"


def test_how_a_file_stands(tmp_path: Path) -> None:
    path, text = tmp_path / "file", "# a remark\none;\ntwo;\n"
    assert state(path, text) is State.ABSENT
    for found, expected in {"\n": State.EMPTY, "two;\nmine;\n one;": State.THERE, "one;\n": State.DIFFERS}.items():
        path.write_text(found)
        assert state(path, text) is expected


def test_every_file_of_nginx_is_installed_with_the_package() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["data-files"]
    there = {
        str(Path(directory) / path.name)
        for directory, patterns in declared.items()
        if directory.startswith("share/capi-sidecar/nginx")
        for pattern in patterns
        for path in ROOT.glob(pattern)
    }
    expected = {
        f"share/capi-sidecar/nginx/{path.relative_to(SHIPPED)}" for path in SHIPPED.rglob("*") if path.is_file()
    }
    assert there == expected
    assert {name for kind in VARIANTS.values() for name in kind} == {
        name.removeprefix("share/capi-sidecar/nginx/") for name in there
    }
