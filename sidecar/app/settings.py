"""How a daemon was called."""

from dataclasses import dataclass
from pathlib import Path

from sidecar.net import Address

GRAPH = "https://graph.facebook.com"


@dataclass(frozen=True)
class Settings:
    """The options of `run`, read; `graph` is None for Meta itself."""

    config: Path
    state: Path
    journals: tuple[Path, ...]
    intake: Address
    admin: Address
    graph: str | None
    sandbox: bool
    admin_token: Path

    @property
    def mode(self) -> str:
        """What the state directory is marked with, so that no other kind of run takes it up."""
        if self.sandbox:
            return "sandbox"
        return f"graph={self.graph}" if self.graph else "live"
