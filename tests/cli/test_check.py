"""`capi-sidecar check`, run as a person runs it."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
KEITARO = (
    "remark: switch off Keitaro's own Facebook Conversions integration for the same campaigns, or events are sent twice"
)
TEXT = """
tracker: {postback_key: 2a76c2a}
integrations:
  - {name: Summer, campaigns: a, pixel_id: 1, token: TOKEN, mapping: {sale: Purchase}}
"""
WELL = TEXT.replace("TOKEN", "token-of-summer")
SECRET = TEXT.replace("TOKEN", '"${env:NO_SUCH_TOKEN}"')
NO_SECRET = "integrations.yaml:4:54: integrations[0].token: secret cannot be read: the environment has no NO_SUCH_TOKEN"


def check(directory: Path, *options: str) -> tuple[int, list[str], list[str]]:
    """Exit code, rows and remarks."""
    command = [sys.executable, "-m", "sidecar", "check", "--config", str(directory), *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout.splitlines(), done.stderr.splitlines()


def write(directory: Path, text: str) -> Path:
    (directory / "integrations.yaml").write_text(text)
    return directory


def test_a_valid_configuration_is_well_and_says_what_to_switch_off(tmp_path: Path) -> None:
    assert check(write(tmp_path, WELL)) == (0, [], [KEITARO])


def test_a_finding_is_a_row_and_exit_1(tmp_path: Path) -> None:
    code, rows, remarks = check(write(tmp_path, WELL.replace("campaigns: a", "campaigns: []")))
    assert (code, remarks) == (1, [KEITARO])
    assert rows == ["integrations.yaml:4:31: integrations[0].campaigns: no campaign is named, so no conversion is sent"]


def test_all_mistakes_are_rows_and_exit_78(tmp_path: Path) -> None:
    code, rows, remarks = check(write(tmp_path, WELL.replace("mapping", "maping").replace("postback_key", "key")))
    assert (code, remarks) == (78, [])
    assert rows == [
        "integrations.yaml:2:10: tracker: postback_key is missing",
        "integrations.yaml:2:11: tracker.key: unknown key; allowed are postback_key, currency, click_wait, subid_from, "
        "trusted, fbclid_from, fbp_from, fbc_from, cdn, first_start, waiting_max, admin_api, geoip, statuses",
        "integrations.yaml:4:5: integrations[0]: mapping is missing; name a file of mappings/ or write the rules here",
        'integrations.yaml:4:71: integrations[0].maping: unknown key; did you mean "mapping"?',
    ]


def test_no_directory_is_a_bad_configuration(tmp_path: Path) -> None:
    code, rows, _ = check(tmp_path / "none")
    assert (code, len(rows)) == (78, 1)


def test_an_unreadable_secret_is_a_remark_and_with_secrets_a_finding(tmp_path: Path) -> None:
    write(tmp_path, SECRET)
    assert check(tmp_path) == (0, [], [f"remark: {NO_SECRET}", KEITARO])
    assert check(tmp_path, "--secrets") == (1, [NO_SECRET], [KEITARO])


@pytest.mark.parametrize("api", [False, True])
def test_the_trackers_own_secrets_are_no_exception(tmp_path: Path, api: bool) -> None:
    reference = '"${env:NO_SUCH_KEY}"'
    key = f'2a76c2a, admin_api: {{url: "https://t.example.com", key: {reference}}}' if api else reference
    write(tmp_path, WELL.replace("2a76c2a", key))
    code, rows, remarks = check(tmp_path)
    assert (code, rows, len(remarks)) == (0, [], 2)
    assert "secret cannot be read: the environment has no NO_SUCH_KEY" in remarks[0]
    code, rows, remarks = check(tmp_path, "--secrets")
    assert (code, len(rows), remarks) == (1, 1, [KEITARO])


def test_a_mistake_beside_an_unreadable_secret_stays_a_mistake(tmp_path: Path) -> None:
    code, rows, remarks = check(write(tmp_path, SECRET.replace("pixel_id: 1", "pixel_id: one")))
    assert (code, len(rows)) == (78, 1)
    assert remarks == [f"remark: {NO_SECRET}".replace(":54:", ":56:")]


def test_json_has_every_note_with_its_place(tmp_path: Path) -> None:
    code, rows, remarks = check(write(tmp_path, SECRET.replace("campaigns: a", "campaigns: []")), "--json", "--secrets")
    assert (code, remarks) == (1, [])
    said = json.loads("".join(rows))
    assert (said["mistakes"], said["remarks"]) == ([], [])
    assert said["findings"][0] == {
        "file": "integrations.yaml",
        "line": 4,
        "column": 31,
        "path": "integrations[0].campaigns",
        "message": "no campaign is named, so no conversion is sent",
    }
    assert said["findings"][1]["path"] == "integrations[0].token"


def test_the_directory_may_come_from_the_environment(tmp_path: Path) -> None:
    environment = {**os.environ, "CAPI_SIDECAR_CONFIG": str(write(tmp_path, WELL))}
    command = [sys.executable, "-m", "sidecar", "check"]
    assert subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=False).returncode == 0


def test_the_shipped_configuration_passes() -> None:
    code, rows, _ = check(ROOT / "config")
    assert (code, rows) == (0, [])


def test_check_answers_in_little_more_time_than_its_libraries_take(tmp_path: Path) -> None:
    write(tmp_path, WELL)
    libraries = "import argparse, dataclasses, difflib, ipaddress, json, pathlib, urllib.parse, pycountry, yaml"
    bare = _fastest([sys.executable, "-c", f"{libraries}; list(pycountry.currencies)"])
    assert _fastest([sys.executable, "-m", "sidecar", "check", "--config", str(tmp_path)]) < 2 * bare + 0.1


def _fastest(command: list[str]) -> float:
    times = []
    for _ in range(5):
        begin = time.perf_counter()
        subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
        times.append(time.perf_counter() - begin)
    return min(times)
