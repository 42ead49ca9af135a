"""`capi-sidecar integrations`, run as a person runs it, on real files."""

import http.server
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sidecar.config.edit.file import NotPut, put
from sidecar.config.load import load
from sidecar.config.secrets import Resolve

ROOT = Path(__file__).parents[2]

MAIN = """\
tracker: {postback_key: "${env:NO_SUCH_KEY}"}   # the key
defaults: {mapping: plain}

integrations:
  # Summer, all of it
  - name: Summer sale US
    campaigns: [AbCd12, shop.example.com]
    pixel_id: "1234567890123456"
    token: "${file:secrets/no-such-file}"
    proxy: ["http://user:pass-word@10.0.0.5:3128", "${env:NO_SUCH_PROXY}"]
    only: {country: US}

  - {name: "Nutra: DE", campaigns: NuTra7, pixel_id: "2", token: literal-token, paused: false, mapping: nutra}   # DE
"""
MORE = """\
integrations:
- name: Été 😀
  pixel_id: "3"
  token: t-of-more
  mapping:
    sale: Purchase
"""
PLAIN = "sale: Purchase\nlead: Lead   # a lead\n"
NUTRA = "sale: {event: Purchase, value: 50%, delay: 30m}\nrejected: null\n"
FILES = {
    "integrations.yaml": MAIN,
    "integrations.d/more.yaml": MORE,
    "mappings/plain.yaml": PLAIN,
    "mappings/nutra.yaml": NUTRA,
}
MARKED = "paused: true  # by capi-sidecar\n"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    directory = tmp_path / "config"
    for name, text in FILES.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(text)
    return directory


def run(config: Path, *arguments: str, admin: str = "unix:/no/such/socket") -> tuple[int, str, str]:
    """Exit code, rows and remarks."""
    command = [sys.executable, "-m", "sidecar", "integrations", *arguments]
    options = ["--config", str(config), "--admin", admin]
    done = subprocess.run([*command, *options], cwd=ROOT, capture_output=True, check=False)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def contents(config: Path) -> dict[str, str]:
    return {
        path.relative_to(config).as_posix(): path.read_bytes().decode() for path in config.rglob("*") if path.is_file()
    }


@pytest.fixture
def daemon() -> Iterator[str]:
    """Answers /api/status as the daemon does."""

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            numbers = {"status": "error: token: secret cannot be read", "sent": 12, "waiting": 3, "failed": 1}
            body = json.dumps({"integrations": [{"name": "Summer sale US", **numbers}]}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_the_list_shows_every_integration_without_daemon_and_secrets(config: Path) -> None:
    code, rows, remarks = run(config, "list")
    assert (code, len(remarks.splitlines())) == (0, 1)
    assert "no daemon answers at unix:/no/such/socket" in remarks
    assert rows.splitlines() == [
        "NAME            CAMPAIGNS   PIXEL             PROXY           MAPPING  SENT  WAITING  FAILED  STATUS",
        "Summer sale US  AbCd12, s…  1234567890123456  10.0.0.5:3128…  plain       -        -       -  active",
        "Nutra: DE       NuTra7      2                 direct          nutra       -        -       -  active",
        "Été 😀          -           3                 direct          inline      -        -       -  "
        "error: campaigns: no campaign is named, so no conversion is sent",
    ]


def test_the_list_fits_100_columns_where_it_can(config: Path) -> None:
    (config / "integrations.d/more.yaml").unlink()
    code, rows, _ = run(config, "list")
    assert code == 0
    assert max(map(len, rows.splitlines())) <= 100


def test_the_search_is_a_part_of_the_name_in_any_case(config: Path) -> None:
    code, rows, _ = run(config, "list", "SALE", "--json")
    assert (code, [row["name"] for row in json.loads(rows)]) == (0, ["Summer sale US"])
    code, rows, remarks = run(config, "list", "winter")
    assert (code, rows) == (0, "")
    assert remarks.endswith("integrations: none has this in its name\n")


def test_the_list_says_what_the_daemon_knows(config: Path, daemon: str) -> None:
    code, rows, remarks = run(config, "list", "--json", admin=daemon)
    assert (code, remarks) == (0, "")
    summer, nutra, _ = json.loads(rows)
    assert [summer[name] for name in ("sent", "waiting", "failed")] == [12, 3, 1]
    assert summer["status"] == "error: token: secret cannot be read"
    assert (nutra["sent"], nutra["status"]) == (None, "active")


@pytest.mark.parametrize("verb", [["list"], ["show", "Summer sale US"], ["show", "Nutra: DE"]])
@pytest.mark.parametrize("json_too", [[], ["--json"]])
def test_no_login_and_no_token_is_ever_shown(config: Path, verb: list[str], json_too: list[str]) -> None:
    code, rows, remarks = run(config, *verb, *json_too)
    assert code == 0
    assert not [word for word in ("pass-word", "user:", "literal-token", "t-of-more") if word in rows + remarks]


def test_show_says_what_is_in_force_and_where_it_is_said(config: Path) -> None:
    code, rows, remarks = run(config, "show", "Summer sale US")
    assert (code, remarks) == (0, "")
    lines = [" ".join(line.split()) for line in rows.splitlines()]
    assert lines[0] == "Summer sale US active integrations.yaml:6"
    for line in (
        "campaigns AbCd12, shop.example.com integrations.yaml:7",
        "token (secret) integrations.yaml:9",
        "proxy http://(secret)@10.0.0.5:3128, (secret) integrations.yaml:10",
        "mapping plain integrations.yaml:2 (defaults)",
        "only country: US integrations.yaml:11",
        "paused false default",
        "api_version v26.0 default",
        "mapping plain mappings/plain.yaml",
        "sale Purchase, value payout mappings/plain.yaml:1",
        "lead Lead, value payout mappings/plain.yaml:2",
    ):
        assert line in lines


def test_show_gives_all_of_it_to_machines(config: Path) -> None:
    code, rows, _ = run(config, "show", "Nutra: DE", "--json")
    shown = json.loads(rows)
    assert (code, shown["name"], shown["at"], shown["status"]) == (0, "Nutra: DE", "integrations.yaml:13", "active")
    assert shown["keys"]["paused"] == {"value": False, "from": "integrations.yaml:13"}
    sale, rejected = shown["mapping"]["rules"]
    assert rejected == {"status": "rejected", "at": "mappings/nutra.yaml:2", "event": None}
    assert (sale["event"], sale["value"], sale["delay"]) == ("Purchase", "50%", "30m")


EDITS = {
    "pause": (
        ["pause", "Summer sale US"],
        "integrations.yaml", "  - name: Summer sale US\n", f"  - name: Summer sale US\n    {MARKED}",
    ),
    "pause in flow style": (["pause", "Nutra: DE"], "integrations.yaml", "paused: false", "paused: true"),
    "pause in a further file": (
        ["pause", "Été 😀"], "integrations.d/more.yaml", "- name: Été 😀\n", f"- name: Été 😀\n  {MARKED}",
    ),
    "clone": (
        ["clone", "Nutra: DE", "It's #2"],
        "integrations.yaml", "nutra}   # DE\n",
        "nutra}   # DE\n\n  - {name: \"It's #2\", campaigns: NuTra7, pixel_id: \"2\", token: literal-token, "
        "paused: true, mapping: nutra}   # DE\n",
    ),
    "delete": (["delete", "Été 😀"], "integrations.d/more.yaml", MORE, "integrations: []\n"),
    "map": (["map", "Nutra: DE", "Sale", "Lead"], "mappings/nutra.yaml", "event: Purchase", "event: Lead"),
    "map to null": (["map", "Summer sale US", "lead", "null"], "mappings/plain.yaml", "lead: Lead", "lead: null"),
    "map to no line": (["map", "Summer sale US", "lead", "-"], "mappings/plain.yaml", "lead: Lead   # a lead\n", ""),
    "map inline": (
        ["map", "Été 😀", "vip", "Subscribe"],
        "integrations.d/more.yaml", "    sale: Purchase\n", "    sale: Purchase\n    vip: Subscribe\n",
    ),
}  # fmt: skip


@pytest.mark.parametrize("arguments, name, before, after", EDITS.values(), ids=EDITS)
def test_an_edit_changes_its_place_and_nothing_else(
    config: Path, arguments: list[str], name: str, before: str, after: str
) -> None:
    wanted = {**FILES, name: FILES[name].replace(before, after)}
    code, planned, remarks = run(config, *arguments, "--dry-run")
    assert (code, remarks, contents(config)) == (0, "", FILES)
    code, diff, remarks = run(config, *arguments)
    assert (code, diff, len(remarks.splitlines())) == (0, planned, 1)
    assert contents(config) == wanted
    assert load(config, resolve=Resolve.NOTHING).notes.mistakes == []
    assert diff.startswith(f"--- {config / name}\n+++ {config / name}\n@@ ")


def test_the_diff_can_be_undone_with_patch(config: Path) -> None:
    (config / "integrations.yaml").write_bytes(MAIN.rstrip("\n").replace("\n", "\r\n").encode())
    before = contents(config)
    _, diff, _ = run(config, "pause", "Summer sale US", "Nutra: DE")
    assert diff.count("\\ No newline at end of file\n") == 2
    command = ["patch", "--binary", "-R", str(config / "integrations.yaml")]
    subprocess.run(command, input=diff.encode(), check=True, capture_output=True)
    assert contents(config) == before


def test_resume_gives_back_what_pause_took(config: Path) -> None:
    names = ["Summer sale US", "Nutra: DE", "Été 😀"]
    code, diff, remarks = run(config, "pause", *names)
    assert (code, diff.count("\n+++ ")) == (0, 2)
    assert "capi-sidecar integrations resume 'Summer sale US' 'Nutra: DE' 'Été 😀'" in remarks
    assert all(each.paused for each in load_well(config).integrations)
    assert run(config, "resume", *names)[0] == 0
    assert contents(config) == FILES


def load_well(config: Path) -> Any:
    return load(config, resolve=Resolve.NOTHING).configuration


def test_a_clone_is_paused_and_says_why(config: Path) -> None:
    code, _, remarks = run(config, "clone", "Summer sale US", "Winter sale")
    assert code == 0
    assert "would send the same events; change it, then: capi-sidecar integrations resume 'Winter sale'" in remarks
    one, other = (load_well(config).by_name[name] for name in ("Summer sale US", "Winter sale"))
    assert (one.paused, other.paused) == (False, True)
    assert (one.campaigns, one.pixel_id, one.mapping) == (other.campaigns, other.pixel_id, other.mapping)
    assert contents(config)["integrations.yaml"].count("# Summer, all of it") == 2


NOTHING = {
    "pause": (["pause", "Summer sale US"], 'integrations: "Summer sale US": paused already; nothing to change\n'),
    "resume": (["resume", "Nutra: DE"], 'integrations: "Nutra: DE": not paused; nothing to change\n'),
    "map": (["map", "Nutra: DE", "sale", "Purchase"], "integrations: sale: it is so already; nothing to change\n"),
    "no line": (["map", "Nutra: DE", "vip", "-"], "integrations: vip: it is so already; nothing to change\n"),
}


@pytest.mark.parametrize("arguments, said", NOTHING.values(), ids=NOTHING)
def test_nothing_to_change_is_said_and_is_well(config: Path, arguments: list[str], said: str) -> None:
    if arguments[0] == "pause":
        run(config, "pause", "Summer sale US")
    before = contents(config)
    assert run(config, *arguments) == (0, "", said)
    assert contents(config) == before


REFUSED = {
    "an unknown name": (["pause", "Sumer sale US"], 'no integration "Sumer sale US"; did you mean "Summer sale US"?'),
    "one unknown name among others": (
        ["pause", "Nutra: DE", "Nutra: DX"], 'no integration "Nutra: DX"; did you mean "Nutra: DE"?',
    ),
    "a name to show": (["show", "Nutra DE"], 'no integration "Nutra DE"; did you mean "Nutra: DE"?'),
    "a name that is taken": (
        ["clone", "Nutra: DE", "Été 😀"],
        'an integration "Été 😀" stands in integrations.d/more.yaml:2 already; names are unique',
    ),
}  # fmt: skip


@pytest.mark.parametrize("arguments, said", REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_done_is_exit_1_and_changes_nothing(config: Path, arguments: list[str], said: str) -> None:
    assert run(config, *arguments) == (1, "", f"integrations: {said}\n")
    assert contents(config) == FILES


def test_a_shared_mapping_changes_for_all_only_when_asked(config: Path) -> None:
    run(config, "clone", "Summer sale US", "Winter sale")
    before = contents(config)
    code, diff, remarks = run(config, "map", "Summer sale US", "sale", "Subscribe")
    assert (code, diff, contents(config)) == (1, "", before)
    assert remarks == (
        'integrations: the mapping in mappings/plain.yaml:1 is that of "Winter sale" too; '
        "to change it for all, add --shared\n"
    )
    assert run(config, "map", "Summer sale US", "sale", "Subscribe", "--shared")[0] == 0
    assert contents(config)["mappings/plain.yaml"] == PLAIN.replace("Purchase", "Subscribe")


def test_inline_rules_that_others_use_by_an_anchor_are_shared_too(config: Path) -> None:
    text = MAIN.replace("mapping: nutra", "mapping: &m {sale: Lead}").replace("only: {country: US}", "mapping: *m")
    lines = text.split("  # Summer")
    first, second = lines[1].split("\n\n")
    text = f"{lines[0]}{second}\n  # Summer{first}\n"
    (config / "integrations.yaml").write_text(text)
    code, _, remarks = run(config, "map", "Nutra: DE", "sale", "Purchase")
    assert (code, 'is that of "Summer sale US" too' in remarks) == (1, True)
    assert run(config, "map", "Nutra: DE", "sale", "Purchase", "--shared")[0] == 0
    assert contents(config)["integrations.yaml"] == text.replace("sale: Lead", "sale: Purchase")


def test_an_edit_that_an_anchor_would_carry_on_is_refused(config: Path) -> None:
    text = MORE.replace("- name", "- &e\n  name") + "- <<: *e\n  name: Other\n"
    (config / "integrations.d/more.yaml").write_text(text)
    code, rows, remarks = run(config, "pause", "Été 😀")
    assert (code, rows) == (1, "")
    assert remarks == (
        "integrations: integrations.d/more.yaml: an anchor or merge key would carry this edit into "
        '"Other" too; edit it by hand\n'
    )
    assert contents(config)["integrations.d/more.yaml"] == text


def test_a_result_that_is_no_valid_configuration_is_not_put_in_place(config: Path) -> None:
    code, rows, remarks = run(config, "map", "Nutra: DE", "sale", "x" * 51)
    assert (code, rows, contents(config)) == (78, "", FILES)
    assert remarks.splitlines()[0].startswith("mappings/nutra.yaml:1:15: sale.event: ")
    assert remarks.endswith("nothing was changed, since the configuration would not be valid\n")


def test_a_broken_file_is_left_alone(config: Path) -> None:
    (config / "mappings/plain.yaml").write_text("sale: [\n")
    for arguments in (["pause", "Nutra: DE"], ["list"], ["show", "Nutra: DE"]):
        code, rows, remarks = run(config, *arguments)
        assert (code, rows, remarks.startswith("mappings/plain.yaml:2:1: no YAML")) == (78, "", True)
    assert contents(config)["integrations.yaml"] == MAIN


def test_no_directory_is_a_bad_configuration(config: Path) -> None:
    for arguments in (["pause", "A"], ["list"], ["show", "A"]):
        assert run(config / "none", *arguments)[0] == 78


def test_a_link_is_followed_and_mode_and_owner_stay(config: Path, tmp_path: Path) -> None:
    target = tmp_path / "elsewhere" / "real.yaml"
    target.parent.mkdir()
    (config / "integrations.yaml").rename(target)
    (config / "integrations.yaml").symlink_to(target)
    target.chmod(0o640)
    before = target.stat()
    assert run(config, "pause", "Summer sale US")[0] == 0
    after = target.stat()
    assert (config / "integrations.yaml").is_symlink()
    assert MARKED in target.read_text()
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
    assert after.st_ino != before.st_ino
    assert os.listdir(target.parent) == ["real.yaml"]


def test_a_file_that_changed_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("new")
    with pytest.raises(NotPut, match="the file changed meanwhile; look at it and try again"):
        put(file, b"old", b"edited")
    assert (os.listdir(tmp_path), file.read_text()) == (["a.yaml"], "new")


def test_a_file_that_is_gone_is_not_made_anew(tmp_path: Path) -> None:
    with pytest.raises(NotPut, match="No such file or directory"):
        put(tmp_path / "a.yaml", b"old", b"edited")
    assert os.listdir(tmp_path) == []


def test_a_verb_is_needed(config: Path) -> None:
    assert run(config)[0] == 2
    assert run(config, "rename", "A")[0] == 2


def test_an_edit_among_500_answers_at_once(config: Path) -> None:
    one = '\n  - name: Integration {}\n    campaigns: [a{}]\n    pixel_id: "7"\n    token: t\n'
    (config / "integrations.yaml").write_text(MAIN + "".join(one.format(n, n) for n in range(500)))
    for arguments in (["pause", "Integration 250"], ["delete", "Integration 100"], ["list"]):
        begin = time.perf_counter()
        assert run(config, *arguments)[0] == 0
        assert time.perf_counter() - begin < 20  # an answer, not a pause; a busy machine is no fault
