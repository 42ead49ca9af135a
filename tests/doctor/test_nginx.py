"""Each trap in a bad configuration of its own, and none in the good ones.

A bad file says in its first lines which check is expected and what else is given; the mark `# here` is on the line that
must be named, in the file itself.
"""

import re
import shutil
import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from sidecar.doctor.finding import Finding, examine
from sidecar.doctor.logrotate import LOGROTATE, Rotation, parse_logrotate
from sidecar.doctor.parse import parse_dump, parse_file, split_dump
from sidecar.doctor.rules import NGINX
from sidecar.doctor.site import Given, site_of
from tests.acceptance.nginx_variants import KINDS, start_variant
from tests.acceptance.parts import ROOT, Nginx, installed

FOLDER = Path(__file__).parent
BAD = sorted((FOLDER / "bad").glob("*.conf"))
BAD_LOGROTATE = sorted((FOLDER / "bad").glob("*.logrotate"))
EXAMPLES = sorted((ROOT / "nginx").glob("example*.conf"))
JOURNAL = "/var/log/capi-sidecar/journal.ndjson"

#: Files that nginx itself refuses: the trap is just that.
REFUSED = {"unresolvable"}

READ: dict[str, Callable[[str], Any]] = {
    "key": lambda text: {"keys": (text,)},
    "journal": lambda text: {"journals": (text,)},
    "intake": lambda text: {"intake": text},
    "cdn": lambda text: {"cdn": (ip_network(text),)},
    "version": lambda text: {"version": tuple(map(int, text.split(".")))},
    "unknown": lambda text: {"resolves": lambda name: name != text},
}


def expected(path: Path) -> tuple[str, list[int]]:
    """The check, and the lines that may be named."""
    text = path.read_text()
    lines = [number for number, line in enumerate(text.splitlines(), 1) if line.endswith("# here")]
    return text.splitlines()[0].removeprefix("# expected: "), lines


def given(path: Path) -> Given:
    found = re.search(r"^# given: (\w+)=(.*)$", path.read_text(), re.MULTILINE)
    return Given(**READ[found[1]](found[2])) if found else Given()


def place(finding: Finding) -> tuple[str, int]:
    file, _, line = finding.place.rpartition(":")
    return file, int(line)


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_a_bad_configuration_has_its_trap_and_no_other(path: Path) -> None:
    check, lines = expected(path)
    findings = examine(NGINX, site_of(parse_file(path), given(path)))
    assert [(each.check, *place(each)) for each in findings if lines] == [(check, str(path), line) for line in lines]
    assert {each.check for each in findings} == {check}, findings


@pytest.mark.parametrize("path", BAD_LOGROTATE, ids=lambda path: path.stem)
def test_a_bad_rotation_has_its_trap_and_no_other(path: Path) -> None:
    check, lines = expected(path)
    findings = examine(LOGROTATE, Rotation(parse_logrotate({str(path): path.read_text()}), (JOURNAL,)))
    assert [(each.check, *place(each)) for each in findings if lines] == [(check, str(path), line) for line in lines]
    assert {each.check for each in findings} == {check}, findings


def test_every_trap_has_a_bad_configuration() -> None:
    checks = [trap.name for trap in (*NGINX, *LOGROTATE)]
    assert len(checks) == len(set(checks))
    assert {expected(path)[0] for path in (*BAD, *BAD_LOGROTATE)} == set(checks)


def laid(path: Path, directory: Path) -> Path:
    """A bad or good file with the shipped ones, as they lie here, and its logs in this directory."""
    shutil.copytree(ROOT / "nginx", directory / "nginx")
    target = directory / "tests/doctor/bad" / path.name
    target.parent.mkdir(parents=True)
    shutil.copy(path, target)
    (directory / "log/capi-sidecar").mkdir(parents=True)
    (directory / "log/nginx").mkdir()
    for file in (target, *(directory / "nginx").glob("*.conf")):
        text = file.read_text().replace("/var/log/", f"{directory}/log/")
        file.write_text(text.replace("events {}", f"pid {directory}/pid; error_log {directory}/error.log; events {{}}"))
    return target


@pytest.mark.parametrize("path", [*BAD, *sorted((FOLDER / "good").glob("*.conf"))], ids=lambda path: path.stem)
def test_nginx_takes_every_one_of_them(path: Path, tmp_path: Path) -> None:
    file = laid(path, tmp_path)
    command = [installed("nginx", "nginx"), "-t", "-p", str(tmp_path), "-c", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert (done.returncode != 0) == (path.stem in REFUSED), done.stderr


@pytest.mark.parametrize("path", sorted((FOLDER / "good").glob("*.conf")), ids=lambda path: path.stem)
def test_a_good_configuration_has_no_trap(path: Path) -> None:
    tree = parse_file(path)
    assert tree.unread == ()
    assert examine(NGINX, site_of(tree, everything(JOURNAL))) == []


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_a_shipped_example_has_no_trap(path: Path, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "nginx", tmp_path / "capi-sidecar")
    main = tmp_path / "nginx.conf"
    main.write_text(f"events {{}}\nhttp {{\n    include capi-sidecar/{path.name};\n}}\n")
    for file in (main, tmp_path / "capi-sidecar" / path.name):
        assert examine(NGINX, site_of(parse_file(file), everything(JOURNAL))) == []


def test_the_shipped_rotation_has_no_trap() -> None:
    shipped = {"/etc/logrotate.conf": "compress\ncreate\n", "shipped": (ROOT / "nginx/logrotate").read_text()}
    assert examine(LOGROTATE, Rotation(parse_logrotate(shipped), (JOURNAL,))) == []


def test_a_dump_in_the_shape_of_keitaro_has_no_trap() -> None:
    tree = parse_dump((FOLDER / "good/keitaro.dump").read_text())
    assert tree.unread == ()
    cdn = (ip_network("173.245.48.0/20"),)
    site = site_of(tree, Given(keys=("2a76c2a",), journals=(JOURNAL,), intake="127.0.0.1:8190", cdn=cdn))
    [server] = site.servers
    assert [each.title for each in server.click.stations] == ["location /", "location ~ ^/(api|index)\\.php$"]
    assert [each.title for each in server.postback.stations] == ["location ~ ^/[^/]+/postback/?$"]
    assert examine(NGINX, site) == []


def test_a_dump_of_the_real_nginx_has_the_lines_of_its_files(tmp_path: Path) -> None:
    nginx = Nginx(tmp_path, "127.0.0.1:8190", "127.0.0.1:8080")
    command = [installed("nginx", "nginx"), "-T", "-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf")]
    dump = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout
    assert {path: text.rstrip("\n") for path, text in split_dump(dump).items()} == {
        path: Path(path).read_text().rstrip("\n") for path in split_dump(dump)
    }
    assert examine(NGINX, site_of(parse_dump(dump), everything(str(nginx.journal)))) == []
    broken = dump.replace("proxy_read_timeout    250ms;", "proxy_read_timeout    60s;")
    [finding] = examine(NGINX, site_of(parse_dump(broken), everything(str(nginx.journal))))
    file, line = place(finding)
    assert finding.check == "mirror-timeouts"
    assert "proxy_read_timeout" in Path(file).read_text().splitlines()[line - 1]


@pytest.mark.parametrize("kind", KINDS)
def test_what_init_nginx_lays_has_no_trap_in_front_of_any_tracker(kind: str, tmp_path: Path) -> None:
    with ExitStack() as running:
        nginx = start_variant(kind, tmp_path, "127.0.0.1:8190", running)
        command = [installed("nginx", "nginx"), "-T", *nginx.command[-4:]]
        dump = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout
    tree = parse_dump(dump)
    site = site_of(tree, everything(str(nginx.journal)))
    assert (tree.unread, len(site.servers), len(site.journal_lines) > 1) == ((), 1, True)
    assert examine(NGINX, site) == []


def test_what_cannot_be_read_is_said_and_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "broken.conf").write_text("server {\n    listen 80;\n")
    (tmp_path / "nginx.conf").write_text("http {\n    include broken.conf;\n    include absent.conf;\n    a b;\n}\n")
    tree = parse_file(tmp_path / "nginx.conf")
    assert [each.what for each in tree.unread] == [
        "cannot be read as a configuration of Nginx: unexpected end of file, expecting \"}\", line 2",
        "absent.conf: no such file is to be had",
    ]  # fmt: skip
    assert [each.name for each in tree.directives[0].block or ()] == ["a"]


def everything(journal: str) -> Given:
    return Given(keys=("2a76c2a",), journals=(journal,), intake="127.0.0.1:8190", version=(1, 22, 1))
