"""Edits in the text of the YAML files: what is asked for changes, and nothing else."""

import itertools
import random
import time
from collections.abc import Iterator

import pytest

from sidecar.config.edit import clone, delete, remove_rule, set_paused, set_rule
from sidecar.config.edit.source import Sources, data, sources
from sidecar.config.edit.text import Unclear, scalar

HEAD = "tracker: {postback_key: 2a76c2a}\n"


def read(text: str, **mappings: str) -> Sources:
    files = {"integrations.yaml": text, **{f"mappings/{name}.yaml": rules for name, rules in mappings.items()}}
    found = sources({name: content.encode() for name, content in files.items()})
    assert found.notes.mistakes == []
    return found


def pause(text: str, *names: str) -> str:
    return paused(text, True, *names)


def resume(text: str, *names: str) -> str:
    return paused(text, False, *names)


def paused(text: str, wanted: bool, *names: str) -> str:
    found = read(text)
    return set_paused([found.integrations[name] for name in names], wanted, found.by_default("paused")).text


def cloned(text: str, name: str, new: str) -> str:
    found = read(text)
    return clone(found.integrations[name], new, found.by_default("paused")).text


def cloned_as_n(text: str, name: str) -> str:
    return cloned(text, name, "N")


def deleted(text: str, name: str) -> str:
    return delete(read(text).integrations[name]).text


def mapped(text: str, name: str, status: str, event: str | None) -> str:
    """Maps a status of an inline mapping; an event `-` takes its line away."""
    found = read(text)
    rules = found.rules_of(found.integrations[name])
    assert rules is not None
    origin = found.files[rules.file]
    return (remove_rule(origin, rules, status) if event == "-" else set_rule(origin, rules, status, event)).text


def ruled(rules: str, status: str, event: str | None) -> str:
    """Maps a status of a mapping in a file of its own."""
    origin = read("integrations: []\n", m=rules).files["mappings/m.yaml"]
    edit = remove_rule(origin, origin.at, status) if event == "-" else set_rule(origin, origin.at, status, event)
    return edit.text


PAUSED = {
    "a line of its own below the name": (
        "integrations:\n  - name: A # c\n    pixel_id: 1\n",
        "integrations:\n  - name: A # c\n    paused: true  # by capi-sidecar\n    pixel_id: 1\n",
    ),
    "a list that is not indented": (
        "integrations:\n- pixel_id: 1\n  name: A\n- name: B\n",
        "integrations:\n- pixel_id: 1\n  name: A\n  paused: true  # by capi-sidecar\n- name: B\n",
    ),
    "a dash on a line of its own": (
        "integrations:\n  -\n      name: A\n",
        "integrations:\n  -\n      name: A\n      paused: true  # by capi-sidecar\n",
    ),
    "a word with its comment": (
        "integrations:\n  - name: A\n    paused: false # comment\n",
        "integrations:\n  - name: A\n    paused: true # comment\n",
    ),
    "another word for false": (
        "integrations:\n  - {paused: no, name: A}\n",
        "integrations:\n  - {paused: true, name: A}\n",
    ),
    "flow style": (
        "integrations:\n  - {name: A, pixel_id: 1} # c\n",
        "integrations:\n  - {paused: true, name: A, pixel_id: 1} # c\n",
    ),
    "flow style of several lines": (
        "integrations: [\n  {\n    name: A,  # c\n    pixel_id: 1,\n  },\n]\n",
        "integrations: [\n  {\n    paused: true, name: A,  # c\n    pixel_id: 1,\n  },\n]\n",
    ),
    "a lone integration": (
        "integrations:\n  name: A\n  pixel_id: 1\n",
        "integrations:\n  name: A\n  paused: true  # by capi-sidecar\n  pixel_id: 1\n",
    ),
    "a lone integration in flow style": (
        "integrations: {name: A}\n",
        "integrations: {paused: true, name: A}\n",
    ),
    "Windows' line ends": (
        "integrations:\r\n  - name: A\r\n    pixel_id: 1\r\n",
        "integrations:\r\n  - name: A\r\n    paused: true  # by capi-sidecar\r\n    pixel_id: 1\r\n",
    ),
    "no final newline": (
        "integrations:\n  - pixel_id: 1\n    name: A",
        "integrations:\n  - pixel_id: 1\n    name: A\n    paused: true  # by capi-sidecar",
    ),
    "a key after a nested block": (
        "integrations:\n  - mapping:\n      sale: Purchase\n    # c\n    name: A\n",
        "integrations:\n  - mapping:\n      sale: Purchase\n    # c\n    name: A\n"
        "    paused: true  # by capi-sidecar\n",
    ),
    "a name of several lines": (
        "integrations:\n  - name: >-\n      A\n\n    pixel_id: 1\n",
        "integrations:\n  - name: >-\n      A\n    paused: true  # by capi-sidecar\n\n    pixel_id: 1\n",
    ),
    "a paused that comes in by a merge key": (
        "x: &x {paused: false}\nintegrations:\n  - <<: *x\n    name: A\n",
        "x: &x {paused: false}\nintegrations:\n  - <<: *x\n    name: A\n    paused: true  # by capi-sidecar\n",
    ),
    "an alias": (
        "x: &x false\nintegrations:\n  - name: A\n    paused: *x # c\n",
        "x: &x false\nintegrations:\n  - name: A\n    paused: true # c\n",
    ),
    "nothing, where it is paused": ("integrations:\n  - {name: A, paused: yes}\n",) * 2,
    "nothing, where defaults pause it": ("defaults: {paused: true}\nintegrations:\n  - name: A\n",) * 2,
}


@pytest.mark.parametrize("before, after", PAUSED.values(), ids=PAUSED)
def test_pausing_changes(before: str, after: str) -> None:
    assert pause(before, "A") == after


RESUMED = {
    "a word that people wrote": (
        "integrations:\n  - name: A\n    paused: true\n",
        "integrations:\n  - name: A\n    paused: false\n",
    ),
    "a word with its comment": (
        "integrations:\n  - {name: A, paused: yes} # comment\n",
        "integrations:\n  - {name: A, paused: false} # comment\n",
    ),
    "the line that pause added, wherever it stands now": (
        "integrations:\n  - name: A\n    pixel_id: 1\n    paused: true  # by capi-sidecar\n",
        "integrations:\n  - name: A\n    pixel_id: 1\n",
    ),
    "what defaults say": (
        "defaults: {paused: true}\nintegrations:\n  - name: A\n",
        "defaults: {paused: true}\nintegrations:\n  - name: A\n    paused: false  # by capi-sidecar\n",
    ),
    "the word of a line that pause added, when defaults pause all": (
        "defaults: {paused: true}\nintegrations:\n  - name: A\n    paused: true  # by capi-sidecar\n",
        "defaults: {paused: true}\nintegrations:\n  - name: A\n    paused: false  # by capi-sidecar\n",
    ),
    "nothing, where it is not paused": ("integrations:\n  - {name: A, paused: no}\n",) * 2,
}


@pytest.mark.parametrize("before, after", RESUMED.values(), ids=RESUMED)
def test_resuming_changes(before: str, after: str) -> None:
    assert resume(before, "A") == after


def test_a_false_that_people_wrote_outlives_a_pause() -> None:
    for before in ("integrations:\n  - name: A\n    paused: false\n", "integrations: [{name: A, paused: false}]\n"):
        assert resume(pause(before, "A"), "A") == before


def test_several_integrations_of_a_file_are_paused_at_once() -> None:
    before = "integrations:\n  - {name: A}\n  - {name: B}\n  - name: C\n"
    after = (
        "integrations:\n  - {paused: true, name: A}\n  - {name: B}\n  - name: C\n    paused: true  # by capi-sidecar\n"
    )
    assert pause(before, "A", "C") == after


NAMES = ("A", 'Été 😀: "it\'s"', "a # b", "- x", "{y}", "null", "1e3", "C:\\d", "[z], *w", "a\u2028b", "tab\there")
NEXT = "NEXT"


def layouts() -> Iterator[tuple[str, str]]:
    """Many ways in which people write a list of integrations, each with a name in it; seeded, so always the same."""
    chance = random.Random(1)
    for name, style, newline, final in itertools.product(NAMES, "bfmlLs", ("\n", "\r\n"), (True, False)):
        for _ in range(4):
            text = HEAD + layout(chance, scalar(name, chance.choice([None, '"', "'"])), style)
            text = text if final else text.rstrip("\n")
            yield name, text.replace("\n", newline)


def layout(chance: random.Random, name: str, style: str) -> str:
    """Block, flow, flow of many lines, lone, lone flow, or a list in brackets."""
    keys = [f"name: {name}", "pixel_id: '1'", "campaigns: [a, b]", "only: {country: [US]}", "mapping: {sale: Purchase}"]
    chance.shuffle(keys)
    if style == "b":
        items = [block(chance, each) for each in ([f"name: {NEXT}1"], keys, [f"name: {NEXT}2"])]
        chance.shuffle(items)
        return "integrations:\n" + "".join(items) + chance.choice(["", "# end\n", "\nretention: {click: 1d}\n"])
    if style == "l":
        return "integrations:\n" + "".join(f"   {key}{comment(chance)}\n" for key in keys)
    flow = "{" + ", ".join(keys) + chance.choice(["", ",", " "]) + "}"
    many = "{\n" + "".join(f"      {key},{comment(chance)}\n" for key in keys) + "    }"
    if style == "s":
        return f"integrations: [{{name: {NEXT}1}}, {flow}, {{name: {NEXT}2}}]{comment(chance)}\n"
    if style == "L":
        return f"integrations: {flow}{comment(chance)}\n"
    return f"integrations:\n  - {{name: {NEXT}1}}\n  - {flow if style == 'f' else many}{comment(chance)}\n"


def block(chance: random.Random, keys: list[str]) -> str:
    outer, inner = "  ", " " * chance.choice([1, 3])
    above = chance.choice(["", "\n", "  # above\n", "\n# far above\n\n"])
    lines = [f"{key}{comment(chance)}" for key in keys]
    if chance.random() < 0.3:
        lines.append(chance.choice(["token: |\n        x\n        # y", "customer:\n        em: [em]\n        # c"]))
    below = chance.choice(["", f"{outer} {inner}# paused: true\n"])
    return above + f"{outer}-{inner}" + f"\n{outer} {inner}".join(lines) + "\n" + below


def comment(chance: random.Random) -> str:
    return chance.choice(["", "  # comment", " #"])


def test_pause_then_resume_gives_back_the_very_bytes_in_every_layout() -> None:
    for name, text in layouts():
        after = pause(text, name)
        assert read(after).integrations.keys() == read(text).integrations.keys()
        assert after != text, text
        assert resume(after, name) == text, text


def test_a_clone_that_is_deleted_leaves_no_trace_in_every_list() -> None:
    for name, text in layouts():
        after = cloned(text, name, "Copy: 2")
        assert list(read(after).integrations) == with_copy(list(read(text).integrations), name)
        if isinstance(data(read(text).files["integrations.yaml"].at.node)["integrations"], list):
            assert deleted(after, "Copy: 2") == text, text


def with_copy(names: list[str], name: str) -> list[str]:
    place = names.index(name) + 1
    return [*names[:place], "Copy: 2", *names[place:]]


def test_what_is_deleted_takes_nothing_else_along_in_every_layout() -> None:
    for name, text in layouts():
        assert list(read(deleted(text, name)).integrations) == [
            each for each in read(text).integrations if each != name
        ]  # fmt: skip
        for line in ("# far above", "# end", "retention: {click: 1d}"):
            assert deleted(text, name).count(line) == text.count(line)


CLONED = {
    "with its comments, below the original": (
        "integrations:\n  # about A\n  - name: A # c\n    pixel_id: 1\n    # only: x\n\n  - name: B\n",
        "integrations:\n  # about A\n  - name: A # c\n    pixel_id: 1\n    # only: x\n"
        "\n  # about A\n  - name: N # c\n    paused: true  # by capi-sidecar\n    pixel_id: 1\n    # only: x\n"
        "\n  - name: B\n",
    ),
    "without a gap where there is none": (
        "integrations:\n- name: A\n- name: B",
        "integrations:\n- name: A\n- name: N\n  paused: true  # by capi-sidecar\n- name: B",
    ),
    "the last one of a file without final newline": (
        "integrations:\n- name: B\n- name: A",
        "integrations:\n- name: B\n- name: A\n- name: N\n  paused: true  # by capi-sidecar",
    ),
    "in its quotation marks": (
        "integrations: [{name: 'A'}]\n",
        "integrations: [{name: 'A'}, {paused: true, name: 'N'}]\n",
    ),
    "on a line of its own": (
        "integrations: [\n  {name: A}  # c\n]\n",
        "integrations: [\n  {name: A},  # c\n  {paused: true, name: N}\n]\n",
    ),
    "paused, whatever the original is": (
        "integrations:\n  - name: A\n    paused: false # c\n",
        "integrations:\n  - name: A\n    paused: false # c\n  - name: N\n    paused: true # c\n",
    ),
    "a lone integration, which becomes a list": (
        "integrations:\n  # c\n  name: A\n  mapping:\n    sale: Purchase\n",
        "integrations:\n    # c\n  - name: A\n    mapping:\n      sale: Purchase\n"
        "    # c\n  - name: N\n    paused: true  # by capi-sidecar\n    mapping:\n      sale: Purchase\n",
    ),
    "with merge keys": (
        "x: &x {pixel_id: 1}\nintegrations:\n  - name: A\n    <<: *x\n",
        "x: &x {pixel_id: 1}\nintegrations:\n  - name: A\n    <<: *x\n"
        "  - name: N\n    paused: true  # by capi-sidecar\n    <<: *x\n",
    ),
}  # fmt: skip


@pytest.mark.parametrize("before, after", CLONED.values(), ids=CLONED)
def test_a_clone_stands(before: str, after: str) -> None:
    assert cloned(before, "A", "N") == after


DELETED = {
    "with the comments directly above and those indented below": (
        "integrations:\n  # stays\n\n  # goes\n  # too\n  - name: A\n    # goes\n\n  # of B\n  - name: B\n",
        "integrations:\n  # stays\n\n  # of B\n  - name: B\n",
    ),
    "but not the commented-out key of the one before": (
        "integrations:\n  - name: B\n    # only: x\n  - name: A\n",
        "integrations:\n  - name: B\n    # only: x\n",
    ),
    "from between two": (
        "integrations:\n  - name: B\n\n  - name: A\n\n  - name: C\n",
        "integrations:\n  - name: B\n\n  - name: C\n",
    ),
    "from the end": (
        "integrations:\n- name: B\n\n- name: A\n\n# end\nretention: {}",
        "integrations:\n- name: B\n\n# end\nretention: {}",
    ),
    "from the end of a file without final newline": (
        "integrations:\n- name: B\n\n- name: A",
        "integrations:\n- name: B",
    ),
    "as the only one": (
        "integrations: # all\n  - name: A\n    x: 1\n\nretention: {}\n",
        "integrations: [] # all\n\nretention: {}\n",
    ),
    "as a lone one": ("integrations:\n  name: A\n  x: 1\n", "integrations: []\n"),
    "as a lone one in flow style": ("integrations: {name: A} # c\n", "integrations: [] # c\n"),
    "as the only one in brackets": ("integrations: [{name: A},] # c\n", "integrations: [] # c\n"),
    "from the start of brackets": ("integrations: [{name: A}, {name: B}]\n", "integrations: [{name: B}]\n"),
    "from the end of brackets": ("integrations: [{name: B}, {name: A}]\n", "integrations: [{name: B}]\n"),
    "from a line of its own": (
        "integrations: [\n  {name: B}, # b\n  # a\n  {name: A}, # a\n  # c\n  {name: C}\n]\n",
        "integrations: [\n  {name: B}, # b\n  # c\n  {name: C}\n]\n",
    ),
    "with an alias for its last value": (
        "x: &x [a]\nintegrations:\n  - name: A\n    campaigns: *x  # c\n\n  - name: B\n",
        "x: &x [a]\nintegrations:\n  - name: B\n",
    ),
    "with a text that looks like a comment": (
        "integrations:\n  - name: A\n    token: |\n      x\n      # y\n  - name: B\n",
        "integrations:\n  - name: B\n",
    ),
}  # fmt: skip


@pytest.mark.parametrize("before, after", DELETED.values(), ids=DELETED)
def test_an_integration_is_deleted(before: str, after: str) -> None:
    assert deleted(before, "A") == after


RULES = {
    "its word": ("sale: Purchase # c\n", "sale", "Lead", "sale: Lead # c\n"),
    "its quoted word": ("sale: 'Purchase'\n", "sale", "Add it", "sale: 'Add it'\n"),
    "an alias's spelling": ("Reg: Lead\n", "registration", "X", "Reg: X\n"),
    "null": ("sale: Purchase # c\n", "sale", None, "sale: null # c\n"),
    "what was null": ("sale: null\n", "sale", "Lead", "sale: Lead\n"),
    "what was left blank": ("sale: # c\nlead: Lead\n", "sale", "Lead", "sale: Lead # c\nlead: Lead\n"),
    "its long form": (
        "sale: {event: Purchase, value: 50%} # c\n", "sale", "Lead", "sale: {event: Lead, value: 50%} # c\n",
    ),
    "its long form of several lines": (
        "sale:\n  value: 50%\n  event: Purchase # c\n", "sale", "Lead", "sale:\n  value: 50%\n  event: Lead # c\n",
    ),
    "its long form to null": (
        "sale:  # c\n  event: X\n  value: 5\nlead: L\n", "sale", None, "sale: null  # c\nlead: L\n",
    ),
    "a line more": ("sale: Purchase # c\n# end\n", "lead", "Lead", "sale: Purchase # c\nlead: Lead\n# end\n"),
    "a line more without final newline": ("sale: Purchase", "a: b", "on", 'sale: Purchase\n"a: b": "on"'),
    "one more in braces": ("{sale: Purchase}\n", "lead", None, "{sale: Purchase, lead: null}\n"),
    "the first one": ("{}\n", "lead", "Lead", "{lead: Lead}\n"),
    "a line less": ("lead: Lead\nsale: Purchase # c\nvip: X\n", "sale", "-", "lead: Lead\nvip: X\n"),
    "the last line": ("# c\nsale: Purchase\n", "sale", "-", "# c\n{}\n"),
    "one less in braces": ("{lead: Lead, sale: {event: Purchase}}\n", "sale", "-", "{lead: Lead}\n"),
    "none in braces": ("{ sale: Purchase } # c\n", "sale", "-", "{  } # c\n"),
    "nothing where it is so": ("reg: {event: Lead}\n", "registration", "Lead", "reg: {event: Lead}\n"),
    "nothing where there is none": ("sale: Purchase\n", "lead", "-", "sale: Purchase\n"),
    "what a merge key brings": (
        "<<: {sale: Purchase}\nlead: Lead\n", "sale", "X", "<<: {sale: Purchase}\nlead: Lead\nsale: X\n",
    ),
    "an alias": ("lead: &x Lead\nsale: *x\n", "sale", "X", "lead: &x Lead\nsale: X\n"),
}  # fmt: skip


@pytest.mark.parametrize("before, status, event, after", RULES.values(), ids=RULES)
def test_mapping_a_status_changes(before: str, status: str, event: str | None, after: str) -> None:
    assert ruled(before, status, event) == after
    windows = before.replace("\n", "\r\n")
    assert ruled(windows, status, event) == after.replace("\n", "\r\n" if "\n" in before else "\n")


def test_an_inline_mapping_is_edited_in_place() -> None:
    first = "  - name: A\n    mapping:  # c\n      sale: Purchase\n    pixel_id: 1\n"
    before = f"integrations:\n{first}  - {{name: B, mapping: {{sale: X}}}}\n"
    assert mapped(before, "A", "lead", "Lead") == before.replace("Purchase\n", "Purchase\n      lead: Lead\n")
    assert mapped(before, "A", "sale", "-") == before.replace("sale: Purchase", "{}")
    assert mapped(before, "B", "sale", None) == before.replace("sale: X", "sale: null")
    assert mapped(before, "B", "lead", "Lead") == before.replace("sale: X", "sale: X, lead: Lead")


IN_THE_WAY = "an anchor, a merge key or the way in which it is written stands in the way of this edit"
UNCLEAR = {
    "a pause that a merge key would carry on": (
        pause, "integrations:\n  - &a\n    name: A\n  - <<: *a\n    name: B\n",
        'an anchor or merge key would carry this edit into "B" too; edit it by hand',
    ),
    "a word that an alias repeats": (
        pause, "integrations:\n  - {name: A, paused: &p false}\n  - {name: B, paused: *p}\n",
        f"{IN_THE_WAY} (no YAML: found undefined alias); edit it by hand",
    ),
    "the deletion of what others use": (
        deleted, "integrations:\n  - {name: A, campaigns: &c [a]}\n  - {name: B, campaigns: *c}\n",
        f"{IN_THE_WAY} (no YAML: found undefined alias); edit it by hand",
    ),
    "a list that an alias stands for": (
        pause, "x: &s\n  - name: A\nintegrations: *s\n", f"{IN_THE_WAY}; edit it by hand",
    ),
    "a key with a question mark": (
        cloned_as_n, "integrations:\n  - ? name\n    : A\n",
        "line 2: the key and its colon stand apart; write KEY: VALUE first",
    ),
    "a name that a merge key brings": (
        pause, "b: &b {name: A}\nintegrations:\n  - <<: *b\n    pixel_id: 1\n",
        "line 3: the name comes in by a merge key; write it here first",
    ),
    "the line ends of old": (
        pause, "integrations:\r  - name: A\r", "a line ends in a carriage return alone; write line feeds first",
    ),
    "a lone pair that stands for a mapping": (
        pause, "integrations: [name: A]\n",
        'an anchor or merge key would carry this edit into "A" too; edit it by hand',
    ),
}  # fmt: skip


@pytest.mark.parametrize("edit, text, words", UNCLEAR.values(), ids=UNCLEAR)
def test_what_cannot_be_edited_in_place_is_refused(edit: object, text: str, words: str) -> None:
    assert callable(edit)
    with pytest.raises(Unclear) as refused:
        edit(text, "A")
    assert str(refused.value) == words


def test_a_rule_that_a_merge_key_brings_cannot_be_taken_away() -> None:
    with pytest.raises(Unclear, match='line 1: "sale" comes in by a merge key; take it away there, or map it to null'):
        ruled("<<: {sale: Purchase}\nlead: Lead\n", "sale", "-")


def test_an_anchor_cannot_be_cloned() -> None:
    with pytest.raises(Unclear, match="found duplicate anchor"):
        cloned("integrations:\n  - &a\n    name: A\n", "A", "B")


ODD = (
    "",
    " a",
    "a ",
    "a\nb",
    "~",
    "on",
    "!x",
    "&x",
    "?",
    "a:",
    ":a",
    "é\u0085",
    "%",
    "@",
    "---",
    "<<",
    "\x07",
    "\ufeff",
)


@pytest.mark.parametrize("name", NAMES + ODD, ids=repr)
def test_every_name_is_written_so_that_it_reads_back(name: str) -> None:
    for style in (None, '"', "'"):
        written = scalar(name, style)
        for text in (
            f"{{k: {written}, {written}: k}}",
            f"k: {written} # c\n{written}: k",
            f"k: {written}\r\n{written} : k",
        ):
            root = data(read("integrations: []\n", m=text).files["mappings/m.yaml"].at.node)
            assert root == {"k": ("tag:yaml.org,2002:str", name), name: ("tag:yaml.org,2002:str", "k")}


def test_a_byte_order_mark_stays() -> None:
    content = b"\xef\xbb\xbfintegrations:\n- name: A\n"
    each = sources({"integrations.yaml": content}).integrations["A"]
    edit = set_paused([each], True, None)
    assert edit.source.content_of(edit.text) == content + b"  paused: true  # by capi-sidecar\n"


def test_an_edit_of_500_integrations_takes_no_time() -> None:
    text = "integrations:\n" + "".join(
        f"  - name: N {number}\n    campaigns: [a{number}]\n    pixel_id: '1'\n\n" for number in range(500)
    )
    begin = time.perf_counter()
    assert pause(text, "N 250") != text
    assert time.perf_counter() - begin < 20  # an answer, not a pause; a busy machine is no fault
