"""The shipped rules as values."""

from pathlib import Path
from typing import Any

import yaml


def alerts(path: Path) -> list[dict[str, Any]]:
    """Every alert of a file of rules."""
    groups = yaml.safe_load(path.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]
