"""These tests boot a machine: they run only when they are asked for by name (`make test-system`)."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.machine import Machine


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    return None if any("tests/system" in argument for argument in config.args) else True


@pytest.fixture(scope="session")
def machine() -> Iterator[Machine]:
    with Machine() as machine:
        yield machine
