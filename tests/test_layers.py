"""An import goes one way; a test reads them all."""

import ast
from pathlib import Path

import pytest

import sidecar

ROOT = Path(sidecar.__file__).parent

#: What each package may import of the others.
ALLOWED = {
    "core": set(),
    "net": set(),
    "log": set(),
    "pace": set(),
    "tap": set(),
    "config": {"core", "log"},
    "store": {"core", "log"},
    "sandbox": {"core", "net"},
    "graph": {"core", "sandbox", "log"},
    "keitaro": {"core", "graph", "log"},
    "clicks": {"core", "store", "keitaro", "log"},
    "silence": {"core", "store", "log"},
    "intake": {"core", "store"},
    "journal": {"core", "store", "log", "pace"},
    "resolver": {"core", "store", "clicks", "log", "pace", "tap"},
    "metrics": {"core"},
    "courier": {"core", "store", "graph", "metrics", "log", "tap"},
    "retention": {"core", "store", "log", "pace"},
    "doctor": {"core", "net", "store", "journal", "graph"},
    "explain": {"core", "store"},
    "page": {"core", "config", "store", "explain"},
    "admin": {"sandbox", "store", "tap"},
    "app": {"core", "net", "log", "config", "store", "sandbox", "graph", "intake", "journal", "resolver", "courier",
            "keitaro", "clicks", "silence", "retention", "metrics", "admin", "page",
            "tap"},
    "cli": {"core", "net", "log", "config", "store", "sandbox", "clicks", "keitaro", "journal", "app", "doctor",
            "explain"},
    "__main__": {"cli"},
}  # fmt: skip

#: What the pure part may use of the world: nothing that acts, knows the time or throws dice.
IMPURE = {"os", "sys", "random", "secrets", "socket", "asyncio", "threading", "sqlite3", "aiohttp", "logging",
          "pathlib", "subprocess", "requests", "yaml"}  # fmt: skip

MODULES = sorted(ROOT.rglob("*.py"))


def imports(path: Path) -> set[str]:
    """Every module that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {node.module or ""} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_an_import_goes_one_way(path: Path) -> None:
    package = path.relative_to(ROOT).parts[0].removesuffix(".py")
    if package == "__init__":
        return
    ours = {name.split(".")[1] for name in imports(path) if name.startswith("sidecar.")} - {"__version__"}
    assert ours - ALLOWED[package] - {package} == set()


@pytest.mark.parametrize("path", sorted((ROOT / "core").glob("*.py")), ids=lambda path: path.name)
def test_the_core_is_pure(path: Path) -> None:
    assert {name.split(".")[0] for name in imports(path)} & IMPURE == set()


def test_the_clock_chance_and_identity_are_decided_once() -> None:
    deciding = {
        path.relative_to(ROOT).as_posix()
        for path in MODULES
        if "time.time" in (source := path.read_text()) or "import random" in source or "token_hex" in source
    }
    # A command is a start of its own: it looks at the clock as the daemon's start does.
    assert {name for name in deciding if not name.startswith("cli/")} == {"app/daemon.py"}
