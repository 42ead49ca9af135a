"""Every file of mistakes/ is a configuration and exactly what is said about it.

`== NAME` begins a file of the configuration, or the list of its mistakes, findings or remarks. CONFIG is its directory.
"""

import re
from pathlib import Path

import pytest

from sidecar.config.load import load
from sidecar.config.secrets import Resolve

_SAID = ("mistakes", "findings", "remarks")

CASES = sorted((Path(__file__).parent / "mistakes").glob("*.txt"))


@pytest.mark.parametrize("case", CASES, ids=[case.stem for case in CASES])
def test_a_mistake_is_told_with_its_place_and_what_to_do(case: Path, tmp_path: Path) -> None:
    files, expected = sections_of(case)
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    loaded = load(tmp_path, resolve=Resolve.ALL, environment={})
    said = {kind: [str(note) for note in getattr(loaded.notes, kind)] for kind in _SAID}
    assert said == {kind: expected.get(kind, "").replace("CONFIG", str(tmp_path)).splitlines() for kind in _SAID}
    assert (loaded.configuration is None) == bool(loaded.notes.mistakes)


def sections_of(case: Path) -> tuple[dict[str, str], dict[str, str]]:
    """The files of a case, and what is said about them by kind."""
    sections = dict(re.findall(r"(?ms)^== (\S+)\n(.*?)(?=^== |\Z)", case.read_text()))
    said = {kind: sections.pop(kind) for kind in _SAID if kind in sections}
    return sections, said
