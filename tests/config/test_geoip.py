"""The database of places: where it is looked for, and what is said of one that cannot be opened."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sidecar.config.load import Loaded, load
from sidecar.config.secrets import Resolve
from tests.databases import SAN_FRANCISCO, write_database

YAML = """
tracker: {postback_key: 2a76c2a, geoip: %s}
integrations:
  - {name: Summer, campaigns: AbCd12, pixel_id: "1234567890123456", token: token-1, mapping: {sale: Purchase}}
"""


def loaded(directory: Path, geoip: str, resolve: Resolve = Resolve.ALL) -> Loaded:
    directory.mkdir(exist_ok=True)
    (directory / "integrations.yaml").write_text(YAML % geoip)
    return load(directory, resolve=resolve, environment={})


def geoip_of(found: Loaded) -> str:
    assert found.configuration is not None
    return found.configuration.tracker.geoip


@pytest.mark.parametrize("written", ["places.mmdb", "../config/places.mmdb", "{absolute}"])
def test_a_relative_path_is_beside_the_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str
) -> None:
    monkeypatch.chdir(tmp_path)
    directory = Path("config")
    directory.mkdir()
    write_database(directory / "places.mmdb", {"8.8.8.0/24": SAN_FRANCISCO})
    found = loaded(directory, written.format(absolute=tmp_path / "config" / "places.mmdb"))
    assert found.notes.findings == []
    assert os.path.isabs(geoip_of(found))
    assert Path(geoip_of(found)).samefile(directory / "places.mmdb")


def test_a_copy_of_the_configuration_looks_beside_the_original(tmp_path: Path) -> None:
    loaded(tmp_path / "copy", "places.mmdb")
    found = load(tmp_path / "copy", resolve=Resolve.NOTHING, environment={}, secrets_beside=tmp_path / "original")
    assert geoip_of(found) == str(tmp_path / "original" / "places.mmdb")


@pytest.mark.parametrize("written", ["null", "''", ""])
def test_none_may_be_said_in_words(tmp_path: Path, written: str) -> None:
    found = loaded(tmp_path, written)
    assert (geoip_of(found), found.notes.findings) == ("", [])


@pytest.mark.parametrize(
    ("written", "words"),
    [
        (".", "not a file"),
        ("pipe", "not a file"),
        ("empty.mmdb", "no MaxMind database; unpacked its name ends in .mmdb"),
        ("cut.mmdb", "no MaxMind database; unpacked its name ends in .mmdb"),
        ('"a\\0b"', "no file can have this name"),
        ("none/places.mmdb", "No such file or directory"),
        ("cut.mmdb/places.mmdb", "Not a directory"),
    ],
)
def test_a_database_that_cannot_be_opened_is_a_finding_and_all_else_runs(
    tmp_path: Path, written: str, words: str
) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "empty.mmdb").write_bytes(b"")
    whole = write_database(tmp_path / "whole.mmdb", {"8.8.8.0/24": SAN_FRANCISCO}).read_bytes()
    (tmp_path / "cut.mmdb").write_bytes(whole[:-30])
    found = loaded(tmp_path, written)
    assert found.configuration is not None
    assert [each.error for each in found.configuration.integrations] == [""]
    [finding] = found.notes.findings
    assert (finding.line, finding.path) == (2, "tracker.geoip")
    assert words in finding.message


def test_what_is_outside_the_yaml_is_not_looked_at_where_secrets_are_not(tmp_path: Path) -> None:
    assert loaded(tmp_path, "places.mmdb", Resolve.NOTHING).notes.findings == []


@pytest.mark.parametrize(("geoip", "imported"), [("null", False), ("whole.mmdb", True)])
def test_the_reader_is_imported_only_for_those_who_have_a_database(tmp_path: Path, geoip: str, imported: bool) -> None:
    write_database(tmp_path / "whole.mmdb", {"8.8.8.0/24": SAN_FRANCISCO})
    (tmp_path / "integrations.yaml").write_text(YAML % geoip)
    program = (
        "import sys; from sidecar.cli.main import main; "
        f"code = main(['check', '--config', {str(tmp_path)!r}]); print(code, 'maxminddb' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0", str(imported)]
