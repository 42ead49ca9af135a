"""What an editor is told is what the loader says, as far as a schema can see."""

import json
import random
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator, ValidationError

from sidecar.cli.schema import FILES
from sidecar.config.load import load
from sidecar.config.parse import parse
from sidecar.config.secrets import Resolve
from sidecar.config.shape import Note, Notes, document
from tests.config.conftest import Read
from tests.config.test_hostile import spoiled
from tests.config.test_mistakes import CASES, sections_of

ROOT = Path(__file__).parents[2]
CONTRACT = Path(__file__).parent / "contract"
SHIPPED = sorted((ROOT / "config").rglob("*.yaml"))
EXAMPLES = [*SHIPPED, *sorted(CONTRACT.rglob("*.yaml"))]

#: The mistakes that no schema sees, by their messages, and why.
UNSEEN = {
    r"no YAML: |a tab; ": "the editor's own parser says it",
    r"a merge conflict |not UTF-8|the character U\+|the file is empty|cannot be read": "no YAML, so there is no value",
    r"unknown tag |an alias stands inside |aliases make |more than 40 levels ": "about how it is written, not what",
    r"key .* stands here twice": "the editor's own parser says it",
    r".* are one; keep one of them": "a schema cannot compare keys",
    r"a key must be a plain text": "JSON has no other keys",
    r"(pixel_id|mapping) is missing": "defaults may hold it",
    r"a placeholder needs pixels": "defaults may hold them",
    r"no mapping ": "that is another file",
    r"an integration .* names are unique": "a schema cannot compare the members of a list",
    r".* is a customer's parameter|parameter .* can be one of them only": "depends on customer, in any integration",
    r"a currency is allowed only beside a numeric value": "depends on another key",
    r".* is not an ISO 4217 currency code": "the list changes with its library; the form is seen",
    r"a duration of at (least|most) ": "a pattern does not calculate",
    r'"([0-9.]+[eExo][0-9]+|[0-9]{13,})" is not ': "of a number only type and sign are seen, not how it is written",
    r"a network such as ": "a pattern does not count to 255; the form is seen",
    r"secret cannot be read|no such reference": "only the loader reads secrets",
    r"the key is (empty|only the part before)|the list of keys is empty": "judged once secrets are read",
    r"no URL|no proxy URL|unknown proxy scheme|a proxy needs host": "judged once secrets are read",
}  # fmt: skip

#: Texts that YAML takes for something else.
WORDS = ["0123456", "NO", "on", "12:34:56", "1e3", "0x1F", "2026-11-25", "1_000", "=", "true", "-7", ".5", ".inf"]

VALIDATORS = {kind: Draft202012Validator(document(*known)) for kind, known in FILES.items()}

Scalar = Callable[[yaml.ScalarNode], Any]


def as_yaml_1_1(node: yaml.ScalarNode) -> Any:
    """What an editor sees that reads YAML as PyYAML does; JSON has no dates."""
    try:
        value = yaml.SafeLoader("").construct_object(node)
    except (yaml.YAMLError, ValueError, KeyError, OverflowError):
        return node.value
    return value if value is None or isinstance(value, bool | int | float) else node.value


def as_yaml_1_2(node: yaml.ScalarNode) -> Any:
    """What an editor sees that reads the core schema of YAML 1.2, as yaml-language-server does."""
    if node.style:
        return node.value
    if re.fullmatch(r"~|null|Null|NULL|", node.value):
        return None
    if re.fullmatch(r"true|True|TRUE|false|False|FALSE", node.value):
        return node.value.lower() == "true"
    if re.fullmatch(r"[-+]?[0-9]+", node.value):
        return int(node.value)
    if re.fullmatch(r"0o[0-7]+|0x[0-9a-fA-F]+", node.value):
        return int(node.value, 0)
    if re.fullmatch(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", node.value):
        return float(node.value)
    return float("inf") if re.fullmatch(r"[-+]?\.(inf|Inf|INF)", node.value) else node.value


READINGS = pytest.mark.parametrize("scalar", [as_yaml_1_1, as_yaml_1_2])


def as_seen(node: yaml.Node, scalar: Scalar) -> Any:
    """The value that an editor asks the schema about."""
    if isinstance(node, yaml.SequenceNode):
        return [as_seen(item, scalar) for item in node.value]
    if not isinstance(node, yaml.MappingNode):
        return scalar(node)
    own: dict[str, Any] = {}
    merged: dict[str, Any] = {}
    for name, item in node.value:
        if name.tag == "tag:yaml.org,2002:merge":
            sources = as_seen(item, scalar)
            for source in sources if isinstance(sources, list) else [sources]:
                merged = {**(source if isinstance(source, dict) else {name.value: source}), **merged}
        elif isinstance(name, yaml.ScalarNode):
            own.setdefault(name.value, as_seen(item, scalar))
    return {**merged, **own}


def alarms(name: str, text: str, scalar: Scalar) -> list[ValidationError]:
    """What the schema of that file says against this text; nothing where it is no YAML."""
    root = parse(name, text.encode(), Notes())
    return list(VALIDATORS[kind_of(name)].iter_errors(as_seen(root.node, scalar))) if root else []


def kind_of(name: str) -> str:
    folders = {"integrations.d": "further", "mappings": "mapping", "tests": "test"}
    return folders.get(Path(name).parent.name, "integrations")


def places(errors: Iterable[ValidationError]) -> Iterator[str]:
    """Where something is said, as the loader writes it: integrations[0].mapping."""
    for error in errors:
        parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.absolute_path)
        yield "".join(parts).removeprefix(".")
        yield from places(error.context or ())


def is_unseen(note: Note) -> bool:
    return any(re.match(message, note.message) for message in UNSEEN)


def is_seen(note: Note, where: set[str]) -> bool:
    """An unknown key is a fault of the mapping that holds it."""
    is_unknown = note.message.startswith("unknown key")
    return (note.path.rpartition(".")[0] if is_unknown else note.path) in where


@pytest.mark.parametrize("kind", FILES)
def test_a_schema_is_a_schema(kind: str) -> None:
    Draft202012Validator.check_schema(VALIDATORS[kind].schema)


@READINGS
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_example_is_valid(path: Path, scalar: Scalar) -> None:
    assert alarms(str(path), path.read_text(), scalar) == []


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_shipped_file_names_its_schema_for_editors(path: Path) -> None:
    named = re.match(r"# yaml-language-server: \$schema=(\S+)\n", path.read_text())
    assert named
    assert (path.parent / named[1]).resolve() == ROOT / f"config/schema/{kind_of(str(path))}.json"


@READINGS
@pytest.mark.parametrize("case", CASES, ids=[case.stem for case in CASES])
def test_the_schema_refuses_nothing_that_the_loader_reads(case: Path, tmp_path: Path, scalar: Scalar) -> None:
    files, mistakes = loaded(case, tmp_path)
    refused = {name for name, text in files.items() if name.endswith(".yaml") and alarms(name, text, scalar)}
    assert refused <= {mistake.file for mistake in mistakes}


@READINGS
@pytest.mark.parametrize("case", CASES, ids=[case.stem for case in CASES])
def test_the_schema_sees_every_mistake_of_form_at_its_place(case: Path, tmp_path: Path, scalar: Scalar) -> None:
    files, mistakes = loaded(case, tmp_path)
    where = {name: set(places(alarms(name, text, scalar))) for name, text in files.items()}
    assert [str(note) for note in mistakes if not is_unseen(note) and not is_seen(note, where[note.file])] == []


def test_what_is_said_to_be_unseen_is_unseen(tmp_path: Path) -> None:
    needed = set()
    for case in CASES:
        files, mistakes = loaded(case, tmp_path / case.stem)
        where = {name: set(places(alarms(name, text, as_yaml_1_2))) for name, text in files.items()}
        unseen = [note.message for note in mistakes if not is_seen(note, where.get(note.file, set()))]
        needed |= {row for row in UNSEEN for message in unseen if re.match(row, message)}
    assert needed == set(UNSEEN)


def loaded(case: Path, directory: Path) -> tuple[dict[str, str], list[Note]]:
    """The files of a case, and the loader's mistakes."""
    files = sections_of(case)[0]
    for name, text in files.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(text)
    return files, load(directory, resolve=Resolve.ALL, environment={}).notes.mistakes


@READINGS
@pytest.mark.parametrize("word", WORDS)
def test_a_text_that_yaml_takes_for_something_else_is_valid(read: Read, word: str, scalar: Scalar) -> None:
    text = f"""
tracker: {{postback_key: {word}, statuses: {{{word}: {word}}}}}
integrations:
  - name: {word}
    campaigns: [{word}, 42]
    pixel_id: 0123456
    pixels: [0123456]
    token: {word}
    test_event_code: {word}
    fbclid_from: {word}
    only: {{{word}: {word}, country: NO}}
    customer: {{em: {word}}}
    mapping: {{{word}: {word}, sale: {{event: {word}, value: 0120}}}}
    paused: NO
"""
    assert read(text).notes.mistakes == []
    assert alarms("integrations.yaml", text, scalar) == []


@pytest.mark.parametrize(
    ("key", "message"),
    [('paused: "yes"', "true or false is needed"), ('data_processing: {options: LDU, country: "2"}', "a whole number")],
)
def test_quotes_are_seen_by_the_loader_alone(read: Read, key: str, message: str) -> None:
    least = 'name: a, campaigns: a, pixel_id: "1", token: token-1, mapping: {sale: Purchase}'
    text = f"tracker: {{postback_key: a}}\nintegrations: {{{least}, {key}}}\n"
    (mistake,) = read(text).notes.mistakes
    assert mistake.message.startswith(message)
    assert alarms("integrations.yaml", text, as_yaml_1_2) == []


@pytest.mark.parametrize(
    "key", ["currency: dollars", "currency: 7", "cdn: bridge", "trusted: [1.2.3]", "click_wait: 15"]
)
def test_of_what_is_unseen_by_its_value_the_form_is_seen(key: str) -> None:
    assert alarms("integrations.yaml", f"tracker: {{postback_key: a, {key}}}\n", as_yaml_1_2) != []


@READINGS
@pytest.mark.parametrize("seed", range(8))
def test_no_slip_of_the_hand_causes_a_false_alarm(tmp_path: Path, seed: int, scalar: Scalar) -> None:
    chance = random.Random(seed)
    (tmp_path / "mappings").mkdir()
    whole = {name: (CONTRACT / name).read_text() for name in ("integrations.yaml", "mappings/nutra.yaml")}
    (tmp_path / "mappings/default.yaml").write_text("lead: Lead\n")
    for _ in range(40):
        texts = {name: spoiled(text, chance) for name, text in whole.items()}
        for name, text in texts.items():
            (tmp_path / name).write_text(text)
        faulty = {note.file for note in load(tmp_path, resolve=Resolve.NOTHING, environment={}).notes.mistakes}
        for name, text in texts.items():
            assert name in faulty or alarms(name, text, scalar) == [], text


@pytest.mark.parametrize("seed", range(8))
def test_what_the_model_makes_is_judged_alike_whole_and_spoiled(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    names = {"integrations": "integrations.yaml", "further": "integrations.d/a.yaml", "mapping": "mappings/b.yaml"}
    for name in names.values():
        (tmp_path / name).parent.mkdir(exist_ok=True)
    for turn in range(40):
        trees = {name: made(VALIDATORS[kind].schema, VALIDATORS[kind].schema, chance) for kind, name in names.items()}
        texts = {name: json.dumps(spoiled_tree(tree, chance) if turn % 4 else tree) for name, tree in trees.items()}
        for name, text in texts.items():
            (tmp_path / name).write_text(text)
        mistakes = load(tmp_path, resolve=Resolve.NOTHING, environment={}).notes.mistakes
        for name, text in texts.items():
            said = [note for note in mistakes if note.file == name]
            seen = alarms(name, text, as_yaml_1_2)
            where = set(places(seen))
            assert [str(note) for note in said if not is_unseen(note) and not is_seen(note, where)] == [], text
            assert said or not seen, (text, seen)
            assert turn % 4 or not seen


def made(schema: dict[str, Any], root: dict[str, Any], chance: random.Random) -> Any:
    """A value of this schema."""
    if "$ref" in schema:
        return made(root["$defs"][schema["$ref"].rpartition("/")[2]], root, chance)
    if "anyOf" in schema:
        return made(chance.choice(schema["anyOf"]), root, chance)
    if suggested := schema.get("enum", schema.get("examples")):
        return chance.choice(suggested)
    kinds = schema.get("type", "null")
    if kinds == "object":
        wanted = {name: each for name, each in schema.get("properties", {}).items()
                  if name in schema.get("required", ()) or chance.random() < 0.5}  # fmt: skip
        return {name: made(each, root, chance) for name, each in wanted.items()}
    if kinds == "array":
        return [made(schema["items"], root, chance) for _ in range(chance.randint(1, 2))]
    values = [None, True, False, 7, 1, 0, "1", "AbCd12", "1234567890123456"]
    return chance.choice([each for each in values if Draft202012Validator(schema).is_valid(each)])


#: Values that belong nowhere, or only here and there.
_ODD = [None, True, 7, 0.5, -3, 10**12, "", " ", "odd", "15m", "50%", [], ["odd"], [[]], [None], {}, {"odd": "odd"}]


def spoiled_tree(tree: Any, chance: random.Random) -> Any:
    """The tree with a key or member less, more or renamed, or with another value, somewhere."""
    holders = [each for each in _holders(tree) if each]
    if not holders or chance.random() < 0.02:
        return chance.choice(_ODD)
    holder = chance.choice(holders)
    key = chance.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
    value = holder[key]
    action = chance.choice(["delete", "rename", "add", "swap", "swap", "swap"])
    if action in ("delete", "rename"):
        del holder[key]
    if action in ("rename", "add") and isinstance(holder, dict):
        holder[f"{key}x" if action == "rename" else "odd"] = value
    if action == "swap":
        holder[key] = chance.choice(_ODD)
    return tree


def _holders(tree: Any) -> Iterator[Any]:
    if isinstance(tree, dict | list):
        yield tree
        for item in tree.values() if isinstance(tree, dict) else tree:
            yield from _holders(item)


def test_the_defaults_that_an_editor_shows_are_those_in_force(read: Read) -> None:
    schema = VALIDATORS["integrations"].schema
    own = defaults_in(schema["$defs"]["integration"])
    rule = defaults_in(schema["$defs"]["rule"]["anyOf"][1])
    given = {"name": "a", "campaigns": "a", "pixel_id": "1", "token": "token-1", "data_processing": {"options": "LDU"}}
    bare = {**given, "mapping": {"lead": {"event": "Lead"}}}
    processing = schema["$defs"]["integration"]["properties"]["data_processing"]["anyOf"][0]
    full = {**given, **own, "mapping": {"lead": {"event": "Lead", **rule}}}
    full["data_processing"] = {"options": "LDU", **defaults_in(processing)}
    shown = {name: defaults_in(each) for name, each in schema["properties"].items() if name != "integrations"}
    shown["tracker"]["postback_key"] = "a"
    written_out = read(json.dumps({**shown, "integrations": full})).configuration
    left_out = read(json.dumps({"tracker": {"postback_key": "a"}, "integrations": bare})).configuration
    assert written_out is not None
    assert left_out is not None
    assert replace(written_out, hash="") == replace(left_out, hash="")
    assert {*shown["tracker"], *own, *rule} >= {"click_wait", "waiting_max", "api_version", "fbclid_from", "delay"}


def defaults_in(schema: dict[str, Any]) -> dict[str, Any]:
    """The keys of a mapping for which a default is shown."""
    return {name: key["default"] for name, key in schema.get("properties", {}).items() if "default" in key}


@pytest.mark.parametrize("kind", FILES)
def test_every_key_is_described_in_one_line(kind: str) -> None:
    schema = VALIDATORS[kind].schema
    records = [
        each for each in _holders(schema) if isinstance(each, dict) and each.get("additionalProperties") is False
    ]
    keys = {name: key for each in records for name, key in each["properties"].items()}
    assert [name for name, key in keys.items() if not re.fullmatch(r".{3,120}", key.get("description", ""))] == []
