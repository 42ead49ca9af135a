"""Whatever stands in the files, they are read or refused, and soon."""

import random
import time
from pathlib import Path

import pytest

from sidecar.config.load import load
from sidecar.config.secrets import Resolve

CONTRACT = Path(__file__).parent / "contract"
_NAMES = ("integrations.yaml", "mappings/default.yaml", "mappings/nutra.yaml")
_MARKS = list("[]{}:,-&*!|>'\"%@`#?\t\n \\$\u2028\0\ufeff\u0663💥")
_WORDS = ["<<: *a", "&a ", "*a", "!!null ", "!!binary ", "null", "~", "${env:X}", "${", "[[[[", "- ", "? ", "\n---\n"]
_VALUES = ["1e999", "-1", ".nan", "0x10", "{subid}", "true", "99999999999999999999d", "\n  "]


@pytest.mark.parametrize("seed", range(8))
def test_whatever_is_written_is_read_or_refused_with_a_place(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    texts = {name: (CONTRACT / name).read_text() for name in _NAMES}
    (tmp_path / "mappings").mkdir()
    for _ in range(60):
        for name, text in texts.items():
            (tmp_path / name).write_text(spoiled(text, chance) if chance.random() < 0.6 else text)
        loaded = load(tmp_path, resolve=Resolve.ALL, environment={})
        assert (loaded.configuration is None) == bool(loaded.notes.mistakes)
        for note in (*loaded.notes.mistakes, *loaded.notes.findings, *loaded.notes.remarks):
            assert note.file in _NAMES
            assert note.line >= 1
            assert note.column >= 1
            assert note.message


def spoiled(text: str, chance: random.Random) -> str:
    """The text after a few slips of the hand: pieces put in, taken out, repeated or exchanged."""
    for _ in range(chance.randint(1, 4)):
        begin = chance.randrange(len(text) + 1)
        end = min(len(text), begin + chance.choice((0, 0, 1, 5, 40)))
        text = text[:begin] + chance.choice([*_MARKS, *_WORDS, *_VALUES, text[end : end + 30], ""]) + text[end:]
    return text


@pytest.mark.parametrize(
    "text",
    [
        "[" * 200_000,
        "- " * 200_000,
        "{a: " * 100_000,
        "a: &a [*a]",
        "&a {<<: *a}",
        "? " * 100_000,
        "a: " + "!x " * 10_000,
        "&a [" + "*a, " * 100_000 + "]",
        "\n".join(f"k{number}: &k{number} [*k{number - 1}, *k{number - 1}]" for number in range(1, 5000)),
        "k0: &k0 {x: y}\n" + "\n".join(f"k{n}: &k{n} {{<<: [*k{n - 1}, *k{n - 1}]}}" for n in range(1, 30)),
        "k0: &k0 [x]\n" + "\n".join(f"k{n}: &k{n} [*k{n - 1}]" for n in range(1, 5000)),
        "tracker: {postback_key: &k [" + "a, " * 50_000 + "a]}\nintegrations: [" + "{name: *k}, " * 50 + "]",
    ],
)
def test_a_file_made_to_hang_is_refused_soon(tmp_path: Path, text: str) -> None:
    (tmp_path / "mappings").mkdir()
    (tmp_path / "integrations.yaml").write_text(text)
    (tmp_path / "mappings/hostile.yaml").write_text(text)
    begin = time.process_time()
    loaded = load(tmp_path, resolve=Resolve.ALL, environment={})
    assert time.process_time() - begin < 5
    assert loaded.configuration is None
