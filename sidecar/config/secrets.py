"""`${env:NAME}` and `${file:PATH}`: where secrets come from."""

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

_REFERENCE = re.compile(r"\$\{([a-z]+):([^}]+)\}")
_ANY_REFERENCE = re.compile(r"\$\{[^}]*\}")

#: Bytes of a secret file that are read at most.
_LARGEST = 65536


class Resolve(Enum):
    """Which references are replaced: all, only that of the postback key (a sandbox needs no token), or none."""

    ALL = "all"
    KEY_ONLY = "key_only"
    NOTHING = "nothing"


class Unreadable(Exception):
    """A secret that cannot be had; the text says which and why, never what is in it."""


@dataclass
class Secrets:
    """Resolves references; remembers which files were read, and a digest of all that was found."""

    directory: Path
    environment: Mapping[str, str]
    resolve: bool = True
    files: dict[Path, str] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)

    def value(self, text: str, resolve: bool) -> str:
        """The text with its references replaced; unchanged where they are not to be resolved. Raises Unreadable."""
        if not resolve:
            return text
        return _REFERENCE.sub(lambda match: self._one(match[1], match[2]), text)

    def _one(self, kind: str, name: str) -> str:
        if kind == "env":
            self.variables[name] = self.environment.get(name, "")
            if name not in self.environment:
                raise Unreadable(f"the environment has no {name}")
            return self.environment[name]
        return self._file(name)

    def _file(self, name: str) -> str:
        path = self._path(name)
        self.files[path] = ""
        try:
            with path.open("rb") as file:
                raw = file.read(_LARGEST)
        except OSError as error:
            raise Unreadable(f"{path}: {error.strerror}") from None
        self.files[path] = hashlib.sha256(raw).hexdigest()
        try:
            return raw.decode().strip()
        except UnicodeDecodeError:
            raise Unreadable(f"{path}: not UTF-8") from None

    def _path(self, name: str) -> Path:
        """A relative file is looked for among systemd's credentials, then beside the configuration."""
        credentials = self.environment.get("CREDENTIALS_DIRECTORY")
        if credentials and not os.path.isabs(name) and (path := Path(credentials) / name).is_file():
            return path
        return self.directory / name


def has_reference(text: str) -> bool:
    """Whether a text stands for a secret elsewhere."""
    return _REFERENCE.search(text) is not None


def bad_reference(text: str) -> str:
    """The first reference of an unknown kind; empty when there is none."""
    known = ("${env:", "${file:")
    wrong = (match[0] for match in _ANY_REFERENCE.finditer(text) if not match[0].startswith(known))
    return next(wrong, "")
