"""A machine's life with the package, from installation to purge: each test goes on where the one before has ended."""

import json
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

import sidecar
from tests.acceptance.parts import ROOT, PartFailed, wait_until
from tests.examples import FBCLID, KEY, SUBID, TARGET
from tests.system.machine import Machine

SERVICE = "capi-sidecar.service"
YAML = "/etc/capi-sidecar/integrations.yaml"
STATE = "/var/lib/capi-sidecar/sandbox"
INTAKE = "http://127.0.0.1:8190"
TRACKER = "http://127.0.0.1"

#: The exposure that `systemd-analyze security` may find, at most, in tenths.
EXPOSED = 15

#: What stands in the place of the tracker: Nginx itself, on the port that the shipped files name.
STANDIN = """
server {
    listen 127.0.0.1:8080;
    location ~ /postback { return 200 Success; }
    location / { add_header Set-Cookie "_subid=$arg__test_subid; Path=/"; return 302 https://offer.example.com/; }
}
"""

SANDBOX = f"CAPI_SIDECAR_SANDBOX=1\nCAPI_SIDECAR_STATE={STATE}\nCAPI_SIDECAR_LOG_LEVEL=debug\n"


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The package of this tree, and the one before it: the same tree with an older version."""
    return build(ROOT, tmp_path_factory.mktemp("new")), build(_older(tmp_path_factory), tmp_path_factory.mktemp("old"))


@pytest.fixture(scope="session")
def before(machine: Machine) -> set[str]:
    """Every file of the machine before the package came."""
    return files(machine)


def build(tree: Path, out: Path) -> Path:
    command = [tree / "packaging" / "build-deb", ROOT / ".venv" / "bin", out]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


def _older(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tree = tmp_path_factory.mktemp("older") / "tree"
    ignored = shutil.ignore_patterns("__pycache__")
    for name in ("sidecar", "packaging", "systemd", "nginx", "config", "docs", "contrib"):
        if (ROOT / name).exists():
            shutil.copytree(ROOT / name, tree / name, ignore=ignored)
    for name in ("README.md", "CHANGELOG.md", "LICENSE", "requirements.lock", "pyproject.toml"):
        shutil.copy(ROOT / name, tree / name)
    version = tree / "sidecar" / "__init__.py"
    version.write_text(version.read_text().replace(sidecar.__version__, "0.0.1"))
    return tree


def files(machine: Machine) -> set[str]:
    """What a package could have left: without what the system itself writes all the time."""
    var = "tmp|cache|log/(journal|apt|dpkg|nginx)|lib/(dpkg|apt|systemd|nginx|logrotate)"
    skipped = re.compile(rf"/(proc|sys|dev|run|tmp|root|console\.log|var/({var}))\b")
    found = machine.out("find", "/", "-xdev", "-printf", "%p\n").splitlines()
    return {path for path in found if not skipped.match(path)}


def install(machine: Machine, package: Path) -> str:
    shutil.copy(package, machine.root / "root" / package.name)
    done = machine.run("apt-get", "install", "-y", "--no-install-recommends", f"/root/{package.name}")
    return done.stdout + done.stderr


def shown(machine: Machine, name: str) -> str:
    """A property of the service."""
    return machine.out("systemctl", "show", "--value", "--property", name, SERVICE).strip()


def status(machine: Machine) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(machine.run("capi-sidecar", "status", "--json", check=False).stdout or "{}")
    return found


def delivered(machine: Machine) -> int:
    return int(status(machine).get("deliveries", {}).get("delivered", 0))


def facts(machine: Machine, *filters: str) -> list[dict[str, Any]]:
    """The journal's entries for these fields, the oldest first."""
    done = machine.run("journalctl", "--quiet", "--output=json", *filters, check=False)  # 1 where nothing matches
    return [json.loads(line) for line in done.stdout.splitlines()]


def call(machine: Machine, url: str) -> int:
    """The HTTP status of a GET; 0 for none."""
    program = (
        "import sys, http.client, urllib.parse as p\n"
        "u = p.urlsplit(sys.argv[1]); c = http.client.HTTPConnection(u.netloc, timeout=60)\n"
        "c.request('GET', u.path + '?' + u.query, headers={'User-Agent': 'Mozilla/5.0', 'Cookie': '_fbp=fb.1.1.1'})\n"
        "print(c.getresponse().status)"
    )
    return int(machine.run("python3", "-c", program, url, check=False).stdout or 0)


def click(machine: Machine, subid: str) -> None:
    assert call(machine, f"{TRACKER}/AbCd12?fbclid={FBCLID}&_test_subid={subid}") == 302


def edit(machine: Machine, old: str, new: str) -> None:
    text = machine.read(YAML)
    assert old in text
    machine.write(YAML, text.replace(old, new))


def become_active(machine: Machine, limit: float = 60.0) -> None:
    try:
        wait_until(lambda: shown(machine, "ActiveState") == "active" and status(machine), "it is active", limit)
    except PartFailed as error:
        raise PartFailed(f"{error}\n{machine.out('journalctl', '--unit', SERVICE, '--lines=30')}") from None


def begin_calls(machine: Machine, name: str, rate: int, seconds: int, *bases: str) -> subprocess.Popen[str]:
    """See load.py."""
    machine.write("/root/load.py", (ROOT / "tests" / "system" / "load.py").read_text())
    return machine.begin("python3", "/root/load.py", name, str(rate), str(seconds), *bases)


def end_calls(calls: subprocess.Popen[str]) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(calls.communicate(timeout=180)[0])
    return told


class Load:
    """A hundred postbacks a second, half of them through Nginx, half straight to the intake."""

    def __init__(self, machine: Machine, name: str, seconds: int) -> None:
        self._machine = machine
        self._before = delivered(machine)
        self.sent = 100 * seconds
        self._calls = begin_calls(machine, name, 100, seconds, TRACKER, INTAKE)

    def end(self) -> float:
        """Everybody was answered, and every postback is one event; the longest that anybody waited, in seconds."""
        told = end_calls(self._calls)
        assert told["answers"] == {"200": self.sent}
        wait_until(lambda: delivered(self._machine) >= self._before + self.sent, "each postback is an event", 60)
        time.sleep(2)
        assert delivered(self._machine) == self._before + self.sent
        return float(told["longest"])


def test_a_fresh_installation_runs_and_can_send_nothing(
    machine: Machine, before: set[str], packages: tuple[Path, Path]
) -> None:
    install(machine, packages[1])
    become_active(machine)
    assert machine.out("systemctl", "is-enabled", "capi-sidecar.socket", SERVICE).split() == ["enabled", "enabled"]
    wait_until(lambda: "in error: Summer sale US, Nutra DE" in shown(machine, "StatusText"), "the status line says why")
    assert machine.run("capi-sidecar", "check", "--secrets", check=False).returncode == 1
    modes = ("stat", "--format", "%n %a %U %G", "/etc/capi-sidecar/secrets", "/var/log/capi-sidecar",
             "/var/lib/capi-sidecar")  # fmt: skip
    assert machine.out(*modes).splitlines() == [
        "/etc/capi-sidecar/secrets 2750 root capi-sidecar",
        "/var/log/capi-sidecar 2750 www-data capi-sidecar",
        "/var/lib/capi-sidecar 700 capi-sidecar capi-sidecar",
    ]


def test_the_package_holds_no_place_of_its_making_and_is_whole(machine: Machine) -> None:
    assert machine.out("dpkg", "--verify", "capi-sidecar") == ""
    places = ("grep", "-rlE", f"/tmp/tmp|{ROOT}/", "/usr/lib/capi-sidecar/pyvenv.cfg",
              "/usr/bin/capi-sidecar", "/usr/lib/capi-sidecar/lib/python3.11/site-packages/sidecar")  # fmt: skip
    assert machine.run(*places, check=False).stdout == ""
    machine.run("capi-sidecar", "version")
    assert machine.run("find", "/usr/lib/capi-sidecar", "-newer", "/var/lib/dpkg/info/capi-sidecar.list").stdout == ""
    completed = (
        "source /usr/share/bash-completion/completions/capi-sidecar; COMP_WORDS=(capi-sidecar re); COMP_CWORD=1; "
    )
    found = machine.out("bash", "-c", completed + '_shtab_sidecar; echo "${COMPREPLY[@]}"').split()
    assert {"replay", "reconcile", "reload"} <= set(found)


def test_a_click_and_a_postback_become_an_event(machine: Machine) -> None:
    machine.write("/etc/default/capi-sidecar", SANDBOX)
    machine.run("capi-sidecar", "init", "nginx", "--proxy", "--to", "/etc/nginx")
    machine.run("rm", "/etc/nginx/sites-enabled/default")
    machine.run("cp", "/etc/nginx/capi-sidecar/example-proxy.conf", "/etc/nginx/conf.d/tracker.conf")
    machine.write("/etc/nginx/conf.d/standin.conf", STANDIN)
    machine.run("nginx", "-t")
    machine.run("systemctl", "reload", "nginx")
    machine.run("systemctl", "restart", SERVICE)
    become_active(machine)
    wait_until(lambda: call(machine, f"{TRACKER}/robots.txt"), "nginx has the new configuration")
    click(machine, SUBID)
    assert call(machine, TRACKER + TARGET) == 200
    wait_until(lambda: delivered(machine) == 1, "the event is delivered")
    told = machine.out("capi-sidecar", "explain", "--id", SUBID)
    assert "Purchase" in told and "2.61" in told


def test_the_sandbox_of_systemd_is_tight_and_says_nothing(machine: Machine) -> None:
    machine.run("systemd-analyze", "security", f"--threshold={EXPOSED}", SERVICE)
    assert "capi-sidecar" not in re.sub("(?m)^.*Command 'man .*$", "", machine.run(
        "systemd-analyze", "verify", SERVICE, "capi-sidecar.socket", check=False).stderr)  # fmt: skip


def test_the_journal_is_filtered_by_field_and_shows_nothing_personal_above_debug(machine: Machine) -> None:
    [started] = facts(machine, f"_SYSTEMD_UNIT={SERVICE}", "CAPI_FACT=daemon.started", "CAPI_MODE=sandbox")
    assert (started["PRIORITY"], started["SYSLOG_IDENTIFIER"]) == ("6", "capi-sidecar")
    [tried] = facts(machine, "CAPI_FACT=delivery.tried", f"CAPI_SUBID={SUBID}")
    assert (tried["CAPI_INTEGRATION"], tried["CAPI_EVENT_ID"], tried["PRIORITY"]) == (
        "Summer sale US", f"{SUBID}_sale", "7",
    )  # fmt: skip
    [decided] = facts(machine, "CAPI_INTEGRATION=Summer sale US", f"CAPI_SUBID={SUBID}")
    assert decided == tried
    above = str(facts(machine, f"_SYSTEMD_UNIT={SERVICE}", "--priority=info"))
    assert SUBID not in above
    everything = str(facts(machine, f"_SYSTEMD_UNIT={SERVICE}"))
    assert "example@gmail.com" not in everything and FBCLID not in everything
    token = machine.read(f"{STATE}/admin.token").strip()
    assert token not in everything


def test_an_edit_is_in_force_and_git_is_asked_within_the_sandbox(machine: Machine) -> None:
    commands = """
        cd /etc/capi-sidecar
        git init -q; echo secrets >.gitignore; git add -A
        git -c user.name=t -c user.email=t@example.com commit -qm first
        chown -R nobody .git  # another's repository, as a deployed one is
    """
    machine.run("sh", "-ec", commands)
    head = machine.out("git", "-c", "safe.directory=*", "-C", "/etc/capi-sidecar", "rev-parse", "HEAD").strip()
    machine.run("systemctl", "reload", SERVICE)
    assert status(machine)["configuration"]["commit"] == head
    edit(machine, "campaigns: [AbCd12]", "campaigns: [AbCd12, Winter9]")
    wait_until(lambda: status(machine)["configuration"]["commit"] == f"{head}-dirty", "the edit is in force")
    assert "Winter9" in str(status(machine)["integrations"])


def test_a_mistake_fails_the_reload_with_its_place_and_the_service_goes_on(machine: Machine) -> None:
    pid = shown(machine, "MainPID")
    edit(machine, "mapping: default", "mapping: defualt")
    done = machine.run("systemctl", "reload", SERVICE, check=False)
    assert done.returncode != 0
    told = " ".join(str(fact["MESSAGE"]) for fact in facts(machine, f"_SYSTEMD_UNIT={SERVICE}", "--since=-20s"))
    assert re.search(r'refused: .* runs .*integrations.yaml:\d+:\d+: .*no mapping "defualt"', told)
    assert (shown(machine, "MainPID"), shown(machine, "ActiveState")) == (pid, "active")
    assert machine.run("capi-sidecar", "reload", check=False).returncode == 78
    wait_until(lambda: "configuration refused" in shown(machine, "StatusText"), "the status line says it")
    edit(machine, "mapping: defualt", "mapping: default")
    machine.run("systemctl", "reload", SERVICE)
    assert shown(machine, "MainPID") == pid


def test_a_configuration_refused_at_the_start_comes_up_when_it_is_mended(machine: Machine) -> None:
    edit(machine, "mapping: default", "mapping: defualt")
    machine.run("systemctl", "restart", SERVICE, check=False)
    calls = begin_calls(machine, "refused", 20, 1, INTAKE)
    wait_until(lambda: int(shown(machine, "NRestarts")) >= 2, "it was tried again", 60)
    assert shown(machine, "ActiveState") == "activating"
    assert machine.out("systemctl", "is-active", "capi-sidecar.socket").strip() == "active"
    assert facts(machine, "SYSLOG_IDENTIFIER=capi-sidecar", "--since=-30s", "--grep=no mapping .defualt")
    edit(machine, "mapping: defualt", "mapping: default")
    become_active(machine)
    # Who called meanwhile has waited in the socket.
    assert end_calls(calls)["answers"] == {"200": 20}


def test_a_restart_under_load_loses_nothing(machine: Machine) -> None:
    load = Load(machine, "restart", 12)
    for _ in range(3):
        time.sleep(3)
        machine.run("systemctl", "restart", SERVICE)
    assert load.end() < 15


def test_a_hung_service_is_restarted_by_its_watchdog(machine: Machine) -> None:
    pid = shown(machine, "MainPID")
    began = time.monotonic()
    machine.run("systemctl", "kill", "--kill-whom=main", "--signal=SIGSTOP", SERVICE)
    calls = begin_calls(machine, "watchdog", 10, 1, INTAKE)
    wait_until(lambda: shown(machine, "MainPID") not in (pid, "0"), "another process has begun", 90)
    become_active(machine)
    assert time.monotonic() - began < 60
    assert facts(machine, f"UNIT={SERVICE}", "--grep=Watchdog timeout")
    assert facts(machine, f"_SYSTEMD_UNIT={SERVICE}", "--grep=Fatal Python error: Aborted")  # and where it stood
    # The hung process has taken nobody off the socket.
    assert end_calls(calls)["answers"] == {"200": 10}


def test_a_rotation_loses_no_click(machine: Machine) -> None:
    machine.run("logrotate", "--force", "/etc/logrotate.d/capi-sidecar")
    wait_until(lambda: machine.run("test", "-e", "/var/log/capi-sidecar/journal.ndjson.1", check=False).returncode == 0,
               "the journal is rotated")  # fmt: skip
    had = delivered(machine)
    click(machine, "rotated1")
    assert call(machine, f"{TRACKER}/{KEY}/postback?subid=rotated1&status=sale") == 200
    wait_until(lambda: delivered(machine) == had + 1, "the event of a click after the rotation")
    assert machine.out("stat", "--format", "%a %U %G", "/var/log/capi-sidecar/journal.ndjson").strip() == (
        "640 www-data capi-sidecar"
    )


def test_a_secret_that_only_root_can_read_comes_as_a_credential(machine: Machine) -> None:
    machine.run("install", "-D", "-m", "600", "/dev/stdin", "/root/secrets/key", input="7c7c7c7c\n")
    machine.write(f"/etc/systemd/system/{SERVICE}.d/credentials.conf",
                  "[Service]\nLoadCredential=postback-key:/root/secrets/key\n")  # fmt: skip
    edit(machine, f"postback_key: {KEY}", 'postback_key: "${file:postback-key}"')
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "restart", SERVICE)
    become_active(machine)
    assert call(machine, f"{INTAKE}/7c7c7c7c/postback?subid=x&status=sale") == 200
    assert call(machine, f"{INTAKE}/{KEY}/postback?subid=x&status=sale") == 404
    assert "7c7c7c7c" not in str(facts(machine, f"_SYSTEMD_UNIT={SERVICE}"))
    edit(machine, 'postback_key: "${file:postback-key}"', f"postback_key: {KEY}")
    machine.run("rm", "-r", f"/etc/systemd/system/{SERVICE}.d", "/root/secrets")
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "restart", SERVICE)
    become_active(machine)


def test_an_upgrade_under_load_keeps_everything_and_loses_nothing(
    machine: Machine, packages: tuple[Path, Path]
) -> None:
    assert status(machine)["version"] == "0.0.1"
    yaml, default = machine.read(YAML), machine.read("/etc/default/capi-sidecar")
    load = Load(machine, "upgrade", 20)
    install(machine, packages[0])
    wait_until(lambda: status(machine).get("version") == sidecar.__version__, "the new one runs")
    load.end()
    assert (machine.read(YAML), machine.read("/etc/default/capi-sidecar")) == (yaml, default)
    assert "rotated1" in machine.out("capi-sidecar", "explain", "--id", "rotated1")


def sql(machine: Machine, script: str) -> str:
    """Runs statements on the sandbox's store as the service's user; the rows of the last one."""
    program = (
        "import sqlite3, sys\n"
        f"c = sqlite3.connect('{STATE}/store.sqlite3')\n"
        "*first, last = sys.stdin.read().strip().rstrip(';').split(';;')\n"
        "for each in first: c.executescript(each)\n"
        "print(c.execute(last).fetchall()); c.commit()\n"
    )
    return machine.run("setpriv", "--reuid=capi-sidecar", "--regid=capi-sidecar", "--clear-groups", "python3", "-c",
                       program, input=script).stdout.strip()  # fmt: skip


def test_a_newer_store_is_refused_and_an_older_program_touches_nothing(machine: Machine) -> None:
    schema = sql(machine, "SELECT value FROM meta WHERE name = 'schema'")
    machine.run("systemctl", "stop", "capi-sidecar.socket")
    sql(machine, "UPDATE meta SET value = '999' WHERE name = 'schema'")
    machine.run("systemctl", "start", SERVICE, check=False)
    wait_until(lambda: facts(machine, "SYSLOG_IDENTIFIER=capi-sidecar", "--since=-30s", "--grep=schema 999, here"),
               "it says why it does not start")  # fmt: skip
    sql(machine, f"UPDATE meta SET value = '{schema.strip('[](),').strip(chr(39))}' WHERE name = 'schema'")
    become_active(machine)


def test_an_older_store_is_migrated_in_place_after_a_copy(machine: Machine) -> None:
    machine.run("systemctl", "stop", "capi-sidecar.socket")
    machine.run("sh", "-ec", f"rm -f {STATE}/store.sqlite3*")
    old = (ROOT / "tests" / "store" / "schema-1.sql").read_text()
    meta = "INSERT INTO meta VALUES ('schema', '1'), ('mode', 'sandbox'), ('created_at', '1795564800')"
    journal = "INSERT INTO journal VALUES ('/var/log/capi-sidecar/kept', 1795564800)"
    sql(machine, f"{old};;{meta};;{journal};;SELECT 1")
    machine.run("systemctl", "start", SERVICE)
    become_active(machine)
    assert facts(machine, "CAPI_FACT=store.migrating", "CAPI_SCHEMA=1")
    machine.run("test", "-s", f"{STATE}/store.sqlite3.schema-1")
    assert sql(machine, "SELECT value FROM meta WHERE name = 'schema'") != "[('1',)]"
    assert "kept" in sql(machine, "SELECT path FROM journal")


def test_a_removal_keeps_what_is_the_users_and_can_be_undone(machine: Machine, packages: tuple[Path, Path]) -> None:
    machine.run("apt-get", "remove", "-y", "capi-sidecar")
    assert machine.run("systemctl", "is-active", "capi-sidecar.socket", SERVICE, check=False).returncode != 0
    for path in (YAML, f"{STATE}/store.sqlite3", "/var/log/capi-sidecar/journal.ndjson"):
        machine.run("test", "-e", path)
    machine.run("nginx", "-t")
    install(machine, packages[0])
    become_active(machine)


def test_a_purge_leaves_nginx_the_directory_that_it_still_names(machine: Machine) -> None:
    done = machine.run("apt-get", "purge", "-y", "capi-sidecar")
    assert "/etc/nginx still names /var/log/capi-sidecar" in done.stdout + done.stderr
    assert machine.out("find", "/var/log/capi-sidecar", "-printf", "%P %U %m\n") == " 0 2750\n"
    machine.run("nginx", "-t")  # the tracker must still come up


def test_a_purge_leaves_nothing_behind(machine: Machine, before: set[str], packages: tuple[Path, Path]) -> None:
    machine.run("sh", "-ec", "rm -rf /etc/nginx/capi-sidecar /etc/nginx/conf.d/*; systemctl reload nginx")
    install(machine, packages[0])
    become_active(machine)
    machine.run("apt-get", "purge", "-y", "capi-sidecar")
    for database in ("passwd", "group"):
        assert machine.run("getent", database, "capi-sidecar", check=False).returncode == 2
    assert {path for path in files(machine) - before if not path.endswith("-")} == set()  # passwd-: how it was before
    assert machine.out("systemctl", "list-units", "--all", "--no-legend", "capi-sidecar*") == ""
