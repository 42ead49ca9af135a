"""`capi-sidecar doctor` beside a running Nginx and daemon."""

import json
import subprocess
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.acceptance.ours import COMMAND, Daemon
from tests.acceptance.parts import SHIPPED, Nginx, Tracker, free_address, installed, wait_until
from tests.acceptance.road import TOKEN, Road, yaml
from tests.examples import FBCLID, KEY, SUBID


class House:
    """Nginx with the tracker and the daemon in sandbox, a click and a postback behind them."""

    def __init__(self, directory: Path, running: ExitStack) -> None:
        self.directory = directory
        log = directory / "log"
        log.mkdir()
        log.chmod(0o2750)
        intake = free_address()
        (directory / "nginx").mkdir()
        tracker = running.enter_context(Tracker(directory))
        journal = log / "journal.ndjson"
        journal.touch(0o640)
        self.nginx = running.enter_context(Nginx(directory / "nginx", intake, tracker.address, journal=journal))
        self.daemon = running.enter_context(Daemon(directory, yaml(), journal=journal, graph=None, intake=intake))
        self.rotation = directory / "logrotate"
        self.rotation.write_text(
            (SHIPPED / "logrotate").read_text().replace("/var/log/capi-sidecar/journal.ndjson", str(journal))
        )

    def call(self, *options: str, nginx: str = "", input: str = "") -> subprocess.CompletedProcess[str]:
        words = ["doctor", *self.daemon.options, "--intake", self.daemon.intake, "--logrotate", str(self.rotation)]
        words += ["--nginx", nginx or str(self.nginx.directory / "nginx.conf"), *options]
        return subprocess.run([*COMMAND, *words], capture_output=True, text=True, timeout=60, input=input)

    def wrong(self, **options: Any) -> list[str]:
        found = json.loads(self.call("--json", **options).stdout)
        return [each["check"] for each in found if each["severity"] == "wrong"]

    def dump(self) -> str:
        command = [installed("nginx", "nginx"), "-T", *self.nginx.command[-4:]]
        return subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout


def test_a_running_house_is_well_until_its_daemon_stops(tmp_path: Path) -> None:
    with ExitStack() as running:
        house = House(tmp_path, running)
        road = Road(house.nginx, house.daemon, None)  # type: ignore[arg-type]
        road.click()
        road.postback()
        wait_until(lambda: road.daemon.status()["journals"][0].get("postbacks"), "the journal is read")
        done = house.call()
        assert (done.returncode, done.stderr) == (0, ""), done.stdout
        assert done.stdout.splitlines()[-1].startswith("doctor: 0 wrong, ")
        assert house.wrong(nginx="-", input=house.dump()) == []
        seen = done.stdout + house.call("--json").stdout
        assert [word for word in (KEY, SUBID, FBCLID, TOKEN, "example@gmail.com") if word in seen] == []

        house.nginx.journal.chmod(0o644)
        mirror = house.nginx.directory / "capi-sidecar/capi-sidecar.server.conf"
        mirror.write_text(mirror.read_text().replace("    internal;\n", ""))
        done = house.call()
        assert done.returncode == 1
        number = 1 + mirror.read_text().splitlines().index("location = /capi-sidecar-mirror {")
        assert f"WRONG {mirror}:{number}: `location = /capi-sidecar-mirror` is open to everybody\n  " in done.stdout
        assert "  type: internal;\n" in done.stdout
        assert f"  type: chmod 0640 {house.nginx.journal}\n" in done.stdout

        site = house.nginx.directory / "capi-sidecar/example-proxy.conf"
        site.write_text(
            site.read_text().replace("location ~ ^/[^/]+/postback/?$ {", f"location = /{KEY}/postback {{ deny all;")
        )
        found = json.loads(house.call("--json").stdout)
        assert [each["what"] for each in found if each["check"] == "mirror-denied"] == [
            "`deny all` holds in `location = /KEY/postback`: no postback is taken and none is copied"
        ]
        site.write_text(site.read_text().replace("deny all;", ""))

        house.daemon.stop()
        assert house.wrong() == ["mirror-location-open", "journal-world-readable", "daemon", "intake"]


def test_a_file_that_is_not_there_is_a_usage_error(tmp_path: Path) -> None:
    words = ["doctor", "--nginx", str(tmp_path / "none.conf"), "--config", str(tmp_path), "--state", str(tmp_path)]
    done = subprocess.run([*COMMAND, *words], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (2, f"doctor: {tmp_path}/none.conf: No such file or directory\n")


def test_without_the_right_to_ask_nginx_the_rest_of_the_house_is_looked_at(tmp_path: Path) -> None:
    nobody = [installed("setpriv", "util-linux"), "--reuid=65534", "--regid=65534", "--clear-groups"]
    words = ["doctor", "--json", "--config", "/nowhere", "--state", "/nowhere", "--admin", free_address()]
    done = subprocess.run([*nobody, *COMMAND, *words], capture_output=True, text=True, timeout=60)
    found = {each["check"]: each for each in json.loads(done.stdout)}
    assert done.returncode == 1
    assert found["nginx-unread"]["severity"] == "remark"
    assert "sudo nginx -T | capi-sidecar doctor --nginx -" in found["nginx-unread"]["type"]
    assert {"daemon", "store", "configuration"} <= set(found)


def test_where_there_is_no_journal_nginx_is_not_asked(tmp_path: Path) -> None:
    words = ["doctor", "--json", "--journal", "", "--config", str(tmp_path), "--state", str(tmp_path)]
    done = subprocess.run([*COMMAND, *words], capture_output=True, text=True, timeout=60)
    checks = {each["check"] for each in json.loads(done.stdout)}
    assert {each for each in checks if each.startswith(("nginx", "journal", "logrotate"))} == set()
