"""Our own processes, as a sysadmin starts them: the daemon and the stand-in for Meta."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import requests

from tests.acceptance.parts import Process, free_address

COMMAND = [sys.executable, "-m", "sidecar"]


class StandIn(Process):
    """`capi-sidecar sandbox --listen`."""

    def __init__(self, directory: Path):
        self.address = free_address()
        self.url = f"http://{self.address}"
        super().__init__("standin", [*COMMAND, "sandbox", "--listen", self.address], directory)

    def ready(self) -> bool:
        return "listening" in self.log

    def fail(self, **order: Any) -> None:
        """Tells it to fail; `mode="none"` makes it well again."""
        requests.put(f"{self.url}/_fail", json=order, timeout=30).raise_for_status()

    def listing(self) -> dict[str, Any]:
        listing: dict[str, Any] = requests.get(f"{self.url}/_events", timeout=30).json()
        return listing

    def events(self) -> list[dict[str, Any]]:
        """What it accepted, each once."""
        events: list[dict[str, Any]] = self.listing()["events"]
        return events


class Daemon(Process):
    """`capi-sidecar run` with a configuration and a state directory of its own."""

    def __init__(
        self,
        directory: Path,
        yaml: str | None,
        *,
        journal: Path,
        graph: str | None,
        intake: str | None = None,
        config: Path | None = None,
    ):
        self.config = config or directory / "config"
        self.state = directory / "state"
        self.journal = journal
        self.intake = intake or free_address()
        self.admin = free_address()
        if yaml is not None:
            (self.config / "mappings").mkdir(parents=True, exist_ok=True)
            self.configure(yaml)
        where = ["--graph", graph] if graph else ["--sandbox"]
        super().__init__("daemon", [*COMMAND, "run", *self.options, "--intake", self.intake, *where], directory)

    @property
    def options(self) -> list[str]:
        return ["--config", str(self.config), "--state", str(self.state), "--journal", str(self.journal),
                "--admin", self.admin]  # fmt: skip

    def configure(self, yaml: str) -> None:
        """Writes the configuration as an editor does: beside the file, then renamed over it."""
        fresh = self.config / ".integrations.yaml.swp"
        fresh.write_text(yaml)
        fresh.rename(self.config / "integrations.yaml")

    def ready(self) -> bool:
        """Its own process answers: not one that still holds the port."""
        return self.log.count("daemon.started") > self._begun and self._ask("/readyz") == 200

    def _begin(self) -> None:
        self._begun = self.log.count("daemon.started")
        super()._begin()

    def _ask(self, path: str) -> int:
        try:
            return requests.get(f"http://{self.admin}{path}", timeout=5).status_code
        except requests.ConnectionError:
            return 0

    def status(self) -> dict[str, Any]:
        """What `status --json` prints."""
        status: dict[str, Any] = json.loads(self.command_line("status", "--json").stdout)
        return status

    def explain(self, name: str) -> list[dict[str, Any]]:
        """What `explain --id NAME --json` prints."""
        return [json.loads(line) for line in self.command_line("explain", "--id", name, "--json").stdout.splitlines()]

    def command_line(self, command: str, *arguments: str, input: str = "") -> subprocess.CompletedProcess[str]:
        """Runs a command of ours beside the daemon."""
        verbs = 1 if command in ("integrations", "queue") else 0
        words = [command, *arguments[:verbs], *self.options, *arguments[verbs:]]
        return subprocess.run([*COMMAND, *words], capture_output=True, text=True, input=input, timeout=60)
