"""`${env:NAME}` and `${file:PATH}`: where secrets come from."""

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from urllib.parse import quote

from sidecar.config.bytes import read_file

_REFERENCE = re.compile(r"\$\{(env|file):([^}]+)\}")

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
    """Resolves references; remembers which files were read, and a digest of what each reference stood for."""

    directory: Path
    environment: Mapping[str, str]
    resolve: bool = True
    files: set[Path] = field(default_factory=set)
    digests: dict[str, str] = field(default_factory=dict)

    def value(self, text: str, resolve: bool) -> str:
        """The text with its references replaced; unchanged where they are not to be resolved. Raises Unreadable.

        Within a URL's login a secret is written as the URL needs it: a password may hold any character.
        """
        if not resolve:
            return text
        return _REFERENCE.sub(self._one, text).strip()

    def _one(self, reference: re.Match[str]) -> str:
        before, after = reference.string[: reference.start()], reference.string[reference.end() :]
        value = self._resolved(reference)
        if "://" not in before or "@" not in after:
            return value
        stands_alone = before.endswith("://") and after.startswith("@")  # user:password
        return quote(value, safe=":" if stands_alone else "")

    def _resolved(self, reference: re.Match[str]) -> str:
        kind, name = reference.groups()
        self.digests[reference[0]] = ""
        raw = self._variable(name) if kind == "env" else self._file(name)
        self.digests[reference[0]] = hashlib.sha256(raw).hexdigest()
        try:
            return raw.decode().strip()
        except UnicodeDecodeError:
            raise Unreadable(f"{name}: not UTF-8") from None

    def _variable(self, name: str) -> bytes:
        if name not in self.environment:
            raise Unreadable(f"the environment has no {name}")
        return os.fsencode(self.environment[name])

    def _file(self, name: str) -> bytes:
        path = self._path(name)
        self.files.add(path)
        try:
            return read_file(path, _LARGEST)
        except OSError as error:
            raise Unreadable(f"{path}: {error.strerror}") from None
        except ValueError:
            raise Unreadable("no file can have this name") from None

    def _path(self, name: str) -> Path:
        """A relative file is looked for among systemd's credentials, then beside the configuration."""
        credentials = self.environment.get("CREDENTIALS_DIRECTORY")
        if credentials and not os.path.isabs(name) and os.path.isfile(Path(credentials, name)):
            return Path(credentials, name)
        return self.directory / name


def has_reference(text: str) -> bool:
    """Whether a text stands for a secret elsewhere."""
    return _REFERENCE.search(text) is not None


def has_bad_reference(text: str) -> bool:
    """Whether something looks like a reference, and is none of the two kinds."""
    return "${" in _REFERENCE.sub("", text)
