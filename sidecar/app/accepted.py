"""The last configuration that came into force, and those that the brake refused: kept over a restart."""

import json
import os
import shutil
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
        shutil.rmtree(self._files, ignore_errors=True)
        fresh.rename(self._files)
        self._write([each for each in self.refused() if each != loaded.hash])

    def refuse(self, hash: str) -> None:
        """The brake refused this one."""
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
        if not (self._files / MAIN).exists():
            return None
        loaded = load(self._files, resolve=resolve, secrets_beside=beside)
        return loaded if loaded.configuration else None

    def _write(self, hashes: list[str]) -> None:
        fresh = self._refused.with_suffix(".new")
        fresh.write_text(json.dumps(hashes))
        os.replace(fresh, self._refused)
