"""Named SQL: each statement of a .sql file stands under `-- name: NAME` and a comment that says what it is for."""

import re
from functools import lru_cache
from importlib import resources

_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


@lru_cache
def statements(file: str) -> dict[str, str]:
    """The statements of a file of this package by name, comments taken out."""
    parts = _NAME.split(text(file))
    return {name: _without_comments(body) for name, body in zip(parts[1::2], parts[2::2], strict=True)}


def text(file: str) -> str:
    """A file of this package."""
    return resources.files("sidecar.store").joinpath(file).read_text(encoding="utf-8")


def _without_comments(body: str) -> str:
    return "\n".join(line for line in body.splitlines() if not line.startswith("--")).strip().rstrip(";")
