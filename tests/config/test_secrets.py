"""Where secrets come from, who misses one, and that none is ever told."""

import json
import os
from pathlib import Path

import pytest

from sidecar.config.load import Loaded, load
from sidecar.config.secrets import Resolve, Secrets, Unreadable
from sidecar.core.configuration import Integration
from sidecar.core.secret import Secret
from tests.config.conftest import Read

TEXT = """
tracker: {postback_key: "${env:KEY}"}
integrations:
  - name: Summer
    campaigns: a
    pixel_id: 1
    token: "${file:secrets/token}"
    proxy: ["http://${env:USER_NAME}:${file:secrets/password}@10.0.0.5:3128", "socks5h://b:1080"]
    mapping: {sale: Purchase}
  - name: Winter
    campaigns: b
    pixel_id: 1
    token: token-of-winter
    mapping: {sale: Purchase}
"""
ENVIRONMENT = {"KEY": "2a76c2a", "USER_NAME": "bob"}
FILES = {"integrations.yaml": TEXT, "secrets/token": "token-of-summer\n", "secrets/password": "canary-pw\n"}


def integrations(loaded: Loaded) -> tuple[Integration, ...]:
    assert loaded.configuration is not None, [str(note) for note in loaded.notes.mistakes]
    return loaded.configuration.integrations


def findings(loaded: Loaded) -> list[str]:
    return [str(note) for note in loaded.notes.findings]


def one(token: str = "token-1", proxy: str = "null") -> str:
    keys = f"name: Summer, campaigns: a, pixel_id: 1, token: {token}, proxy: {proxy}, mapping: {{sale: Purchase}}"
    return f"tracker: {{postback_key: a}}\nintegrations:\n  - {{{keys}}}\n"


def test_a_secret_is_a_variable_or_a_file_or_a_part_of_a_text(read: Read) -> None:
    loaded = read(FILES, environment=ENVIRONMENT)
    summer, winter = integrations(loaded)
    assert loaded.configuration is not None
    assert loaded.configuration.tracker.postback_keys == (Secret("2a76c2a"),)
    assert summer.token == Secret("token-of-summer")
    assert summer.proxies == (Secret("http://bob:canary-pw@10.0.0.5:3128"), Secret("socks5h://b:1080"))
    assert winter.token == Secret("token-of-winter")
    assert (findings(loaded), summer.error, winter.error) == ([], "", "")


def test_the_files_of_a_configuration_are_those_of_its_secrets_too(read: Read, tmp_path: Path) -> None:
    files = read(FILES, environment=ENVIRONMENT).files
    assert {str(path.relative_to(tmp_path / "config")) for path in files} == set(FILES)


def test_a_relative_file_is_looked_up_among_the_credentials_and_then_beside_the_configuration(
    read: Read, tmp_path: Path
) -> None:
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "token").write_text("token-of-systemd")
    files = {"integrations.yaml": one('"${file:token}"'), "token": "token-beside"}
    (credential,) = integrations(read(files, environment={"CREDENTIALS_DIRECTORY": str(credentials)}))
    (credentials / "token").unlink()
    (beside,) = integrations(read(files, environment={"CREDENTIALS_DIRECTORY": str(credentials)}))
    assert (credential.token, beside.token) == (Secret("token-of-systemd"), Secret("token-beside"))


def test_an_absolute_file_is_looked_up_nowhere_else(read: Read, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("token-elsewhere")
    text = one(f'"${{file:{tmp_path}/token}}"')
    (integration,) = integrations(read(text, environment={"CREDENTIALS_DIRECTORY": "/"}))
    assert integration.token == Secret("token-elsewhere")


def test_who_misses_a_secret_stands_in_error_and_the_others_run(read: Read, tmp_path: Path) -> None:
    loaded = read(TEXT, environment=ENVIRONMENT)
    summer, winter = integrations(loaded)
    unreadable = f"secret cannot be read: {tmp_path}/config/secrets"
    assert findings(loaded) == [
        f"integrations.yaml:7:12: integrations[0].token: {unreadable}/token: No such file or directory",
        f"integrations.yaml:8:12: integrations[0].proxy: {unreadable}/password: No such file or directory",
    ]
    assert summer.error == "token: secret cannot be read; proxy: secret cannot be read"
    assert (winter.error, winter.token) == ("", Secret("token-of-winter"))


@pytest.mark.parametrize(
    ("reference", "why"),
    [
        ("${env:NONE}", "the environment has no NONE"),
        ("${file:/}", "/: is no regular file"),
        (f"${{file:/{'x' * 300}}}", "File name too long"),
        ("${file:a\\0b}", "no file can have this name"),
        ("${file:latin}", "latin: not UTF-8"),
        ("${env:LATIN}", "LATIN: not UTF-8"),
    ],
)
@pytest.mark.parametrize("credentials", [{}, {"CREDENTIALS_DIRECTORY": "/nowhere"}])
def test_why_a_secret_cannot_be_read_is_told(
    read: Read, tmp_path: Path, reference: str, why: str, credentials: dict[str, str]
) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config/latin").write_bytes(b"\xff")
    loaded = read(one(f'"{reference}"'), environment={"LATIN": "\udcff", **credentials})
    (finding,) = findings(loaded)
    assert finding.startswith("integrations.yaml:3:54: integrations[0].token: secret cannot be read: ")
    assert finding.endswith(why)
    assert integrations(loaded)[0].error == "token: secret cannot be read"


@pytest.mark.parametrize("empty", ["", " ", "\n"])
def test_an_empty_token_is_a_finding(read: Read, empty: str) -> None:
    loaded = read(one('"${env:TOKEN}"'), environment={"TOKEN": empty})
    assert findings(loaded) == ["integrations.yaml:3:54: integrations[0].token: the token is empty"]
    assert integrations(loaded)[0].error == "token: the token is empty"


@pytest.mark.parametrize("empty", ["", " ", "\n"])
@pytest.mark.parametrize("proxy", ['"${env:PROXY}"', '["${env:PROXY}"]', '["http://a:3128", "${env:PROXY}"]'])
def test_an_empty_proxy_is_a_finding_and_never_the_direct_way(read: Read, proxy: str, empty: str) -> None:
    loaded = read(one(proxy=proxy), environment={"PROXY": empty})
    (integration,) = integrations(loaded)
    assert [note.message for note in loaded.notes.findings] == ["the proxy is empty; write null for a direct way"]
    assert integration.error == "proxy: the proxy is empty; write null for a direct way"
    assert integration.proxies


@pytest.mark.parametrize("value", ["a:3128", "http://a", "gopher://a:1", "http://a:1\nhttp://b:1", "http://u:p@x:y"])
def test_a_wrong_proxy_in_a_secret_is_a_finding_of_its_integration(read: Read, value: str) -> None:
    loaded = read(one(proxy='"${env:PROXY}"'), environment={"PROXY": value})
    assert [note.path for note in loaded.notes.findings] == ["integrations[0].proxy"]
    assert integrations(loaded)[0].error.startswith("proxy: ")


def test_a_null_proxy_and_a_missing_one_are_the_direct_way(read: Read) -> None:
    text = one().replace("integrations:", 'defaults: {proxy: "${env:NONE}"}\nintegrations:')
    loaded = read(text)
    assert (integrations(loaded)[0].proxies, findings(loaded)) == ((), [])
    assert integrations(read(one().replace("proxy: null, ", "")))[0].proxies == ()


def test_nothing_resolved_reads_no_secret_and_accepts_any_key(read: Read) -> None:
    loaded = read({**FILES, "secrets/password": "canary-pw"}, resolve=Resolve.NOTHING, environment=ENVIRONMENT)
    assert loaded.configuration is not None
    assert loaded.configuration.tracker.postback_keys is None
    assert [path.name for path in loaded.files] == ["integrations.yaml"]
    assert integrations(loaded)[0].token == Secret("${file:secrets/token}")
    assert (findings(loaded), integrations(loaded)[0].error) == ([], "")


def test_nothing_resolved_keeps_a_key_that_is_no_secret(read: Read) -> None:
    loaded = read(one(), resolve=Resolve.NOTHING)
    assert loaded.configuration is not None
    assert loaded.configuration.tracker.postback_keys == (Secret("a"),)


def test_a_sandbox_resolves_the_key_and_nothing_else(read: Read) -> None:
    api = 'admin_api: {url: "${env:URL}", key: "${env:NONE}", proxy: "${env:NONE}"}'
    text = TEXT.replace('{postback_key: "${env:KEY}"}', f'{{postback_key: "${{env:KEY}}", {api}}}')
    loaded = read(text, resolve=Resolve.KEY_ONLY, environment=ENVIRONMENT)
    assert loaded.configuration is not None
    assert loaded.configuration.tracker.postback_keys == (Secret("2a76c2a"),)
    assert (findings(loaded), integrations(loaded)[0].token) == ([], Secret("${file:secrets/token}"))


@pytest.mark.parametrize("resolve", [Resolve.ALL, Resolve.KEY_ONLY])
@pytest.mark.parametrize(
    ("environment", "why"),
    [
        ({}, "secret cannot be read: the environment has no KEY; without the key no postback can be known"),
        ({"KEY": " "}, "the key is empty"),
    ],
)
def test_without_its_key_nothing_runs(read: Read, resolve: Resolve, environment: dict[str, str], why: str) -> None:
    loaded = read(one().replace("a}", '[b, "${env:KEY}"]}', 1), resolve=resolve, environment=environment)
    assert [str(note) for note in loaded.notes.mistakes] == [f"integrations.yaml:1:29: tracker.postback_key[1]: {why}"]


def test_the_admin_api_is_resolved_in_all_its_texts(read: Read) -> None:
    api = 'admin_api: {url: "https://${env:HOST}", key: "${env:API}", proxy: "http://u:${env:PW}@p:1"}'
    environment = {"HOST": "tracker.example.com", "API": "api-key-1", "PW": "pw"}
    configuration = read(one().replace("a}", f"a, {api}}}", 1), environment=environment).configuration
    assert configuration is not None
    assert configuration.tracker.admin_api is not None
    assert configuration.tracker.admin_api.url == "https://tracker.example.com"
    assert configuration.tracker.admin_api.key == Secret("api-key-1")
    assert configuration.tracker.admin_api.proxy == Secret("http://u:pw@p:1")


@pytest.mark.parametrize("resolve", Resolve)
@pytest.mark.parametrize(
    "text",
    [
        one(token="canary-1", proxy="http://u:canary-1@x"),
        one(token="canary-1", proxy='["http://u:canary-1@x:y", "ftp://u:canary-1@x:1"]'),
        one(token="canary-1", proxy='["u:canary-1@x:1", "http://u:canary-1 @x:1"]'),
        one(token="{canary: canary-1}", proxy="{canary: canary-1}"),
        one(token='["canary-1"]', proxy='"http://u:${canary-1}@x:1"'),
        one(token='"${env:CANARY}"', proxy='"${env:CANARY}"'),
        one(token='"${env:CANARY}"', proxy='"http://u:${env:CANARY}@x"'),
        one(token='"${file:canary-file}"', proxy='"${file:canary-file}"'),
        one().replace("a}", "a, admin_api: {url: 'u:canary-1@x', key: canary-1, proxy: 'http://u:canary-1@x'}}", 1),
        one().replace("a}", "a, admin_api: {url: 'http://u:canary-1@x', key: [canary-1], proxy: [canary-1]}}", 1),
        one().replace("postback_key: a}", 'postback_key: ["", canary-1, "canary-1${x}"]}', 1),
    ],
)
def test_no_secret_stands_in_a_note(read: Read, text: str, resolve: Resolve) -> None:
    files = {"integrations.yaml": text, "canary-file": "canary-1"}
    loaded = read(files, resolve=resolve, environment={"CANARY": "canary-1"})
    assert "canary-1" not in " ".join(map(str, vars(loaded.notes).values()))
    assert "canary-1" not in repr(loaded.configuration)


def test_the_hash_changes_with_a_secrets_content_and_with_nothing_else(read: Read, tmp_path: Path) -> None:
    first = read(FILES, environment=ENVIRONMENT).hash
    assert read(FILES, environment={**ENVIRONMENT, "OTHER": "x"}).hash == first
    assert read({**FILES, "secrets/other": "x"}, environment=ENVIRONMENT).hash == first
    changes: list[tuple[dict[str, str], dict[str, str]]] = [
        ({"secrets/token": "token-of-autumn\n"}, {}),
        ({"secrets/password": "other"}, {}),
        ({"integrations.yaml": f"{TEXT}# a comment\n"}, {}),
        ({"mappings/m.yaml": "sale: Purchase\n"}, {}),
        ({}, {"KEY": "other"}),
    ]
    hashes = [read({**FILES, **files}, environment={**ENVIRONMENT, **more}).hash for files, more in changes]
    assert len({first, *hashes}) == 1 + len(changes)
    (tmp_path / "config/mappings/m.yaml").unlink()
    assert read(FILES, environment=ENVIRONMENT).hash == first


def test_a_secret_that_comes_or_goes_changes_the_hash(read: Read) -> None:
    without = read(TEXT, environment=ENVIRONMENT)
    assert read(FILES, environment=ENVIRONMENT).hash != without.hash
    assert without.configuration is not None
    assert without.configuration.hash == without.hash


def test_the_hash_is_the_same_by_whatever_way_the_directory_is_named(read: Read, tmp_path: Path) -> None:
    first = read(FILES, environment=ENVIRONMENT).hash
    (tmp_path / "link").symlink_to(tmp_path / "config")
    assert load(tmp_path / "link", resolve=Resolve.ALL, environment=ENVIRONMENT).hash == first


def test_a_note_as_json_has_no_secret_either(read: Read) -> None:
    loaded = read(one(proxy='"http://u:canary-1@x"'))
    assert "canary-1" not in json.dumps([vars(note) for note in loaded.notes.mistakes])


def test_a_pipe_or_a_device_is_no_secret_and_nobody_waits_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        secrets = Secrets(tmp_path, {}, resolve=True)
        with pytest.raises(Unreadable, match="is no regular file"):
            secrets.value(f"${{file:{path}}}", True)


@pytest.mark.parametrize(
    ("written", "secret", "url"),
    [
        ("http://user:${env:S}@h:1", "p@s/s#%41:", "http://user:p%40s%2Fs%23%2541%3A@h:1"),
        ("http://${env:S}:pw@h:1", "u:ser", "http://u%3Aser:pw@h:1"),
        ("http://${env:S}@h:1", "user:p@ss", "http://user:p%40ss@h:1"),
        ("http://user:pw@${env:S}", "10.0.0.5:3128", "http://user:pw@10.0.0.5:3128"),
        ("${env:S}", "http://user:p%40ss@h:1", "http://user:p%40ss@h:1"),
        ("${env:S}", "EAA@b/c", "EAA@b/c"),
    ],
)
def test_within_a_urls_login_a_secret_may_hold_any_character(
    tmp_path: Path, written: str, secret: str, url: str
) -> None:
    assert Secrets(tmp_path, {"S": secret}).value(written, True) == url


def test_a_directory_is_no_secret_and_leaves_nothing_open(tmp_path: Path) -> None:
    before = os.listdir("/proc/self/fd")
    for _ in range(3):
        with pytest.raises(Unreadable):
            Secrets(tmp_path, {}).value(f"${{file:{tmp_path}}}", True)
    assert len(os.listdir("/proc/self/fd")) == len(before)
