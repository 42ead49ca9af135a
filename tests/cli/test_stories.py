"""`capi-sidecar test` as a person, a program and a hook call it; the shipped stories hold."""

import json
import os
import pty
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from tests.examples import PIXEL, TARGET, YAML, configuration

ROOT = Path(__file__).parents[2]

TRUE = (
    f"- {{name: a sale, click: {{campaign: AbCd12, fbclid: IwAR0}}, postback: '{TARGET}', expect: {{value: 2.61}}}}\n"
)
FALSE = TRUE.replace("a sale", "a wrong sale").replace("value: 2.61", "event: Lead, value: 2.61")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration whose token nobody can read, with a folder for its stories."""
    configuration(tmp_path / "config", YAML.replace("token-of-summer", "${file:nobody/has/this}"))
    (tmp_path / "config/tests").mkdir()
    return tmp_path / "config"


def command(config: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "sidecar", "test", "--config", str(config), *arguments]


def run(config: Path, *arguments: str) -> tuple[int, list[str], list[str]]:
    """Exit code, rows and remarks."""
    done = subprocess.run(command(config, *arguments), cwd=ROOT, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout.splitlines(), done.stderr.splitlines()


def test_the_shipped_stories_hold() -> None:
    code, rows, remarks = run(ROOT / "config")
    assert (code, remarks) == (0, []), rows
    (row,) = rows
    assert row.endswith(" passed")


def test_true_stories_are_counted(config: Path) -> None:
    (config / "tests/a.yaml").write_text(TRUE)
    (config / "tests/b.yaml").write_text(TRUE)
    assert run(config) == (0, ["2 passed"], [])


def test_a_story_that_came_out_otherwise_is_told_with_its_place_a_diff_and_the_trace(config: Path) -> None:
    (config / "tests/a.yaml").write_text(TRUE + FALSE)
    code, rows, remarks = run(config)
    assert (code, remarks) == (1, [])
    assert rows[:6] == [
        f"{config}/tests/a.yaml:2: a wrong sale",
        "  --- expected",
        "  +++ got",
        '  -event: "Lead"',
        '  +event: "Purchase"',
        "   value: 2.61",
    ]
    assert "    status: sale (as given)" in rows
    assert rows[-1] == "1 failed, 1 passed"


def test_only_a_terminal_gets_colours(config: Path) -> None:
    (config / "tests/a.yaml").write_text(FALSE)
    assert "\033" not in "".join(run(config)[1])
    assert '\033[31m-event: "Lead"\033[0m' in on_a_terminal(config)
    assert "\033" not in on_a_terminal(config, NO_COLOR="1")


def on_a_terminal(config: Path, **environment: str) -> str:
    ours, theirs = pty.openpty()
    plain = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    subprocess.run(command(config), cwd=ROOT, stdout=theirs, env=plain | environment, check=False, timeout=60)
    os.close(theirs)
    shown = os.read(ours, 65536).decode()
    os.close(ours)
    return shown


def test_files_may_be_named(config: Path, tmp_path: Path) -> None:
    (config / "tests/a.yaml").write_text(FALSE)
    (tmp_path / "b.yaml").write_text(TRUE)
    assert run(config, str(tmp_path / "b.yaml")) == (0, ["1 passed"], [])


def test_no_story_is_not_well_and_says_where_it_looked(config: Path) -> None:
    code, rows, (remark,) = run(config)
    assert (code, rows) == (1, [])
    assert remark.startswith(f"test: no story in {config}/tests; ")
    (config / "tests/a.yaml").write_text("[]\n")
    code, rows, (remark,) = run(config)
    assert (code, rows) == (1, [])
    assert remark.startswith(f"test: no story in {config}/tests/a.yaml; ")


def test_a_mistake_in_a_story_is_told_like_one_of_the_configuration(config: Path) -> None:
    (config / "tests/a.yaml").write_text(TRUE + FALSE.replace("postback", "postbck"))
    mistakes = [
        f"{config}/tests/a.yaml:2:3: [1]: postback is missing",
        f'{config}/tests/a.yaml:2:66: [1].postbck: unknown key; did you mean "postback"?',
    ]
    assert run(config) == (78, [], mistakes)
    code, rows, _ = run(config, "--json")
    assert code == 78
    assert [note["message"] for note in json.loads("".join(rows))["mistakes"]] == [
        "postback is missing",
        'unknown key; did you mean "postback"?',
    ]


def test_a_file_that_is_not_there_is_a_mistake(config: Path) -> None:
    assert run(config, "none.yaml") == (78, [], ["none.yaml:1:1: cannot be read: No such file or directory"])


def test_a_bad_configuration_comes_first(config: Path) -> None:
    (config / "integrations.yaml").write_text("tracker: {postback_kee: x}\n")
    code, rows, remarks = run(config)
    assert (code, rows) == (78, [])
    assert remarks[-1].startswith("integrations.yaml:1:11: tracker.postback_kee: unknown key")


def test_json_has_every_story_with_its_decision(config: Path) -> None:
    (config / "tests/a.yaml").write_text(TRUE + FALSE)
    code, rows, _ = run(config, "--json")
    said = json.loads("".join(rows))
    assert (code, said["passed"], said["failed"]) == (1, 1, 1)
    true, false = said["stories"]
    assert (true["name"], true["place"], true["passed"]) == ("a sale", f"{config}/tests/a.yaml:1", True)
    assert (false["passed"], false["reason"], false["events"][0]["pixel_id"]) == (False, "sent", PIXEL)
    assert (false["expected"], false["got"]) == (['event: "Lead"', "value: 2.61"], ['event: "Purchase"', "value: 2.61"])


def test_hooks_call_commands_that_exist() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert [hook["id"] for hook in hooks] == ["capi-sidecar-check", "capi-sidecar-test"]
    for hook in hooks:
        script, name = hook["entry"].split()
        assert (script in scripts, hook["language"], hook["pass_filenames"]) == (True, "python", False)
        called = [sys.executable, "-m", "sidecar", name, "--config", str(ROOT / "config")]
        assert subprocess.run(called, cwd=ROOT, capture_output=True, check=False, timeout=60).returncode == 0
