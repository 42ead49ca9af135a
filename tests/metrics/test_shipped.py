"""What is shipped for Prometheus and Grafana agrees with the code, with promtool and with its own page."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sidecar.cli.main import _parser
from sidecar.metrics.families import FAMILIES
from tests.acceptance.parts import ROOT, installed
from tests.metrics.rules import alerts

RULES = ROOT / "contrib" / "prometheus" / "capi-sidecar.rules.yml"
RULE_TESTS = ROOT / "contrib" / "prometheus" / "tests" / "capi-sidecar.test.yml"
DASHBOARD = ROOT / "contrib" / "grafana" / "capi-sidecar.json"
PAGE = ROOT / "docs" / "metrics.md"

_METRIC = re.compile(r"\b(?:capi_sidecar|process)_[a-z_]+\b")


def metric_rows() -> list[str]:
    """The table of docs/metrics.md."""
    return [
        f"| `{each.name}` | {each.type} | {' '.join(f'`{label}`' for label in each.labels) or '-'} | {each.meaning} |"
        for each in FAMILIES
    ]


def alert_rows() -> list[str]:
    """The alerts there."""
    return [
        f"| {each['alert']} | {each['labels']['severity']} | {each.get('for', 'at once')} | "
        f"`{each['annotations']['command'].replace(chr(123) * 2 + ' $labels.integration ' + chr(125) * 2, 'NAME')}` |"
        for each in alerts(RULES)
    ]


def rows_of(heading: str) -> list[str]:
    """The rows of the table under a heading of the page, without its head."""
    section = PAGE.read_text().split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return [line for line in section.splitlines() if line.startswith("| ")][1:]


def samples() -> set[str]:
    """Every name under which something is exported."""
    names = {each.name for each in FAMILIES}
    for each in FAMILIES:
        if each.type == "histogram":
            names |= {f"{each.name}_{suffix}" for suffix in ("bucket", "sum", "count")}
    return names | set(_METRIC.findall(PAGE.read_text().rpartition("And of the process itself")[2]))


def expressions(panels: list[dict[str, Any]]) -> Iterator[str]:
    for panel in panels:
        yield from (target["expr"] for target in panel.get("targets", ()))


def promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([installed("promtool", "prometheus"), *map(str, arguments)], capture_output=True, text=True)


def test_every_metric_is_documented_and_every_documented_one_exists() -> None:
    assert rows_of("Metrics") == metric_rows()


def test_every_alert_is_documented_with_its_command() -> None:
    assert rows_of("Alerts") == alert_rows()


def test_promtool_takes_the_rules_and_their_tests_hold() -> None:
    for arguments in (("check", "rules", RULES), ("test", "rules", RULE_TESTS)):
        done = promtool(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_test_of_its_own() -> None:
    tested = set(re.findall(r"- name: (CapiSidecar\w+)\n", RULE_TESTS.read_text()))
    assert tested == {each["alert"] for each in alerts(RULES)}


@pytest.mark.parametrize("alert", alerts(RULES), ids=lambda alert: str(alert["alert"]))
def test_an_alert_says_how_bad_it_is_and_which_command_explains_it(alert: dict[str, Any]) -> None:
    assert alert["labels"]["severity"] in ("critical", "warning")
    assert alert["annotations"]["summary"].endswith(".")
    program, *words = alert["annotations"]["command"].replace("'{{ $labels.integration }}'", "NAME").split()
    if program != "top":  # what takes the processor
        assert program == "capi-sidecar"
        _parser().parse_args(words)


def test_rules_and_dashboard_name_only_metrics_that_are_exported() -> None:
    dashboard = json.loads(DASHBOARD.read_text())
    texts = [each["expr"] for each in alerts(RULES)] + list(expressions(dashboard["panels"]))
    named = {name for text in texts for name in _METRIC.findall(re.sub(r'"[^"]*"', "", text))}
    assert named - samples() == set()


def test_the_dashboard_can_be_imported_anywhere() -> None:
    dashboard = json.loads(DASHBOARD.read_text())
    panels = [panel for panel in dashboard["panels"] if panel["type"] != "row"]
    assert dashboard["id"] is None
    assert all(panel["datasource"]["uid"] == "${datasource}" for panel in panels)
    assert all(panel["title"] and panel["description"] for panel in panels)
    places = [panel["gridPos"] for panel in dashboard["panels"]]
    assert len({(place["x"], place["y"]) for place in places}) == len(places)
    assert all(place["x"] + place["w"] <= 24 for place in places)
