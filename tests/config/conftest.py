"""Configurations on disk, read as the daemon reads them."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from sidecar.config.load import Loaded, load
from sidecar.config.secrets import Resolve

Read = Callable[..., Loaded]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Writes these files (a lone text is integrations.yaml) into the test's directory `config` and loads it."""

    def read_it(
        files: Mapping[str, str] | str = "",
        *,
        resolve: Resolve = Resolve.ALL,
        environment: Mapping[str, str] | None = None,
    ) -> Loaded:
        directory = tmp_path / "config"
        for name, text in ({"integrations.yaml": files} if isinstance(files, str) else files).items():
            (directory / name).parent.mkdir(parents=True, exist_ok=True)
            (directory / name).write_text(text)
        return load(directory, resolve=resolve, environment=environment or {})

    return read_it
