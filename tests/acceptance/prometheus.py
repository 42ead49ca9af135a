"""Debian's Prometheus with the shipped rules, a minute for each of their hours."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import requests
import yaml

from tests.acceptance.parts import ROOT, Process, free_address, installed

RULES = ROOT / "contrib" / "prometheus" / "capi-sidecar.rules.yml"

#: The unit that a sixtieth of each is called.
_SIXTIETH = {"h": "m", "m": "s"}

_DURATION = re.compile(r"((?:\bfor: |\[)\d+)([hm])\b")


def hastened(rules: str) -> str:
    """The rules as they are, but with every `for` and every range a sixtieth as long: 30m is 30s, 1h is 1m."""
    return _DURATION.sub(lambda found: found[1] + _SIXTIETH[found[2]], rules)


class Prometheus(Process):
    """Scrapes each target every second as the job `capi-sidecar`; its name is the instance."""

    def __init__(self, directory: Path, targets: Mapping[str, str]):
        self.address = free_address()
        self.url = f"http://{self.address}"
        (directory / "rules.yml").write_text(hastened(RULES.read_text()))
        scrape = {
            "job_name": "capi-sidecar",
            "static_configs": [
                {"targets": [address], "labels": {"instance": name}} for name, address in targets.items()
            ],
        }
        config = {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": ["rules.yml"],
            "scrape_configs": [scrape],
        }
        (directory / "prometheus.yml").write_text(yaml.safe_dump(config))
        command = [installed("prometheus", "prometheus"), f"--config.file={directory}/prometheus.yml",
                   f"--storage.tsdb.path={directory}/data", f"--web.listen-address={self.address}"]  # fmt: skip
        super().__init__("prometheus", command, directory)

    def ready(self) -> bool:
        try:
            return requests.get(f"{self.url}/-/ready", timeout=5).status_code == 200
        except requests.ConnectionError:
            return False

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The samples of an instant query: `metric` (labels) and `value`."""
        answer = requests.get(f"{self.url}/api/v1/query", params={"query": expression}, timeout=30)
        answer.raise_for_status()
        found: list[dict[str, Any]] = answer.json()["data"]["result"]
        return found

    def firing(self) -> list[dict[str, Any]]:
        """Alerts that fire now, with `labels` and `annotations`."""
        alerts = requests.get(f"{self.url}/api/v1/alerts", timeout=30).json()["data"]["alerts"]
        return [alert for alert in alerts if alert["state"] == "firing"]

    def fired(self, instance: str) -> set[str]:
        """Names of all alerts that an instance ever had firing."""
        samples = self.query(f'last_over_time(ALERTS{{alertstate="firing",instance={json.dumps(instance)}}}[1h])')
        return {sample["metric"]["alertname"] for sample in samples}
