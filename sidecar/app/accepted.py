"""The last configuration that came into force, and those that the brake refused: kept over a restart."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

from sidecar.config.load import MAIN, Loaded, load
from sidecar.config.secrets import Resolve
from sidecar.store.state import ACCEPTED

#: Refused hashes that are remembered.
_REMEMBERED = 100


class Accepted:
    """STATE/accepted holds the YAML files (secrets are references in them), STATE/refused.json the refused hashes."""

    def __init__(self, state: Path) -> None:
        self._files = state / ACCEPTED
        self._refused = state / "refused.json"

    def keep(self, loaded: Loaded) -> None:
        """This text is in force now; that it was refused before is forgotten. Raises OSError."""
        fresh = self._files.with_suffix(".new")
        shutil.rmtree(fresh, ignore_errors=True)
        for name, text in loaded.texts.items():
            (fresh / name).parent.mkdir(parents=True, exist_ok=True)
            (fresh / name).write_bytes(text)
        old = self._files.with_suffix(".old")
        shutil.rmtree(old, ignore_errors=True)
        if self._files.exists():
            self._files.rename(old)
        fresh.rename(self._files)
        shutil.rmtree(old, ignore_errors=True)
        self._write([each for each in self.refused() if each != loaded.hash])

    def refuse(self, hash: str) -> None:
        """The brake refused this one. Raises OSError."""
        self._write([*(each for each in self.refused() if each != hash), hash][-_REMEMBERED:])

    def refused(self) -> list[str]:
        """The hashes that the brake refused."""
        try:
            found = json.loads(self._refused.read_text())
        except (OSError, ValueError):
            return []
        return [str(each) for each in found] if isinstance(found, list) else []

    def last(self, beside: Path, resolve: Resolve) -> Loaded | None:
        """The last accepted configuration, with secrets from beside the present one; None when there is none."""
        for directory in (self._files, self._files.with_suffix(".old")):
            if (directory / MAIN).exists():
                loaded = load(directory, resolve=resolve, secrets_beside=beside)
                if loaded.configuration is not None:
                    # Whatever repository the state directory lies in, this text is not of its commit.
                    return replace(loaded, configuration=replace(loaded.configuration, commit=""))
        return None

    def _write(self, hashes: list[str]) -> None:
        fresh = self._refused.with_suffix(".new")
        fresh.write_text(json.dumps(hashes))
        os.replace(fresh, self._refused)
