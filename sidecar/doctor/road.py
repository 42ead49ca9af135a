"""The road of a request through the locations of a server: where it begins, whither it jumps, who answers it.

Source: nginx.org, ngx_http_core_module, `location`; the order of a location's phases was measured.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from sidecar.doctor.parse import Directive
from sidecar.doctor.scope import Scope

#: Who answers in the end.
HANDLERS = ("proxy_pass", "fastcgi_pass", "uwsgi_pass", "scgi_pass", "grpc_pass")

#: Jumps after which Nginx answers 500. Source: nginx.org, `internal`: 10 internal redirects.
_JUMPS = 10

#: A condition that a tracker's address always meets: there is no such file.
_NO_FILE = re.compile(r"!-[efd]")


@dataclass(frozen=True, slots=True)
class Jump:
    """What takes a request out of a location, always (`certain`) or only if a condition holds."""

    directive: Directive
    certain: bool
    target: str = ""


@dataclass(frozen=True, slots=True)
class Road:
    """The locations that a request comes through, in their order."""

    stations: tuple[Scope, ...] = ()

    @property
    def end(self) -> Scope | None:
        """Where it is answered; None when no location of this server has a handler for it."""
        last = self.stations[-1] if self.stations else None
        return last if last and handler(last) else None


def road(server: Scope, path: str) -> Road:
    """The road of a request whose path is that of no file on the disk."""
    for jump in rewrites(server, path):
        if jump.certain and not jump.target:
            return Road()
        path = jump.target if jump.certain else path
    stations: list[Scope] = []
    here = find(server, path)
    while here and len(stations) <= _JUMPS:
        stations.append(here)
        leaving = next((each for each in jumps(here, path) if each.certain), None)
        if leaving is None or not leaving.target:
            break
        path = leaving.target
        here = _named(server, path) if path.startswith("@") else find(server, path)
    return Road(tuple(stations))


def find(level: Scope, path: str) -> Scope | None:
    """The location that Nginx chooses for a path."""
    return _find(level, path)[0]


def jumps(location: Scope, path: str) -> Iterator[Jump]:
    """What leads away from a location before its handler is asked, in the order in which Nginx comes by."""
    yield from rewrites(location, path)
    for each in location.own("try_files"):
        yield Jump(each, True, _path_of(each.arguments[-1]) if each.arguments else "")
    if not handler(location) and not location.own("try_files"):
        for each in location.effective("error_page"):
            if "404" in each.arguments[:-1]:
                yield Jump(each, True, _path_of(each.arguments[-1]))


def rewrites(level: Scope, path: str) -> Iterator[Jump]:
    """`return`, and each `rewrite` that leaves: only `break` stays."""
    for each in level.directive.block or ():
        if each.name == "if" and each.block is not None:
            inner = Scope(each, level)
            sure = bool(_NO_FILE.match("".join(each.arguments)))
            yield from (Jump(jump.directive, sure and jump.certain, jump.target) for jump in rewrites(inner, path))
        elif each.name == "return":
            yield Jump(each, True)
            return
        elif each.name == "rewrite" and len(each.arguments) > 1 and matches(each.arguments[0], path):
            if each.arguments[-1] == "break":
                return
            yield Jump(each, True, _target(each))


def handler(location: Scope) -> Directive | None:
    """The directive that hands a request over, also from within an `if`."""
    for level in (location, *(child for child in location.children if child.name != "location")):
        if found := level.own(*HANDLERS):
            return found[0]
    return None


def matches(pattern: str, path: str, *, fold: bool = False) -> bool:
    """Whether a regular expression of Nginx's fits; one that only PCRE knows does not."""
    try:
        return re.search(re.sub(r"\(\?<(?=\w)", "(?P<", pattern), path, re.IGNORECASE if fold else 0) is not None
    except re.error:
        return False


def kind_of(location: Scope) -> tuple[str, str]:
    """Modifier (`=`, `^~`, `~`, `~*`, `@` or nothing) and path or pattern, written apart or together."""
    words = location.directive.arguments
    if len(words) > 1:
        return words[0], words[1]
    word = words[0] if words else ""
    modifier = next((each for each in ("=", "^~", "~*", "~", "@") if word.startswith(each)), "")
    return modifier, word.removeprefix(modifier)


def _find(level: Scope, path: str) -> tuple[Scope | None, bool]:
    """The chosen location, and whether the search ends there: a prefix gives way to a regular expression outside."""
    kinds = [(*kind_of(each), each) for each in level.locations]
    if exact := next((each for modifier, text, each in kinds if modifier == "=" and text == path), None):
        return exact, True
    prefixes = [(len(text), modifier, each) for modifier, text, each in kinds
                if modifier in ("", "^~") and path.startswith(text)]  # fmt: skip
    _, modifier, prefix = max(prefixes, key=lambda each: each[0], default=(0, "", None))
    best = prefix
    if prefix:
        inner, sure = _find(prefix, path)
        if sure:
            return inner, True
        best = inner or prefix
    if modifier != "^~":
        for kind, pattern, each in kinds:
            if kind in ("~", "~*") and matches(pattern, path, fold=kind == "~*"):
                return _find(each, path)[0] or each, True
    return best, False


def _named(server: Scope, name: str) -> Scope | None:
    return next((each for each in server.locations if each.directive.arguments[:1] == (name,)), None)


def _target(rewrite: Directive) -> str:
    """Where a rewrite leads within the server; nothing for another site."""
    leaves = rewrite.arguments[-1] in ("redirect", "permanent")
    return "" if leaves else _path_of(rewrite.arguments[1])


def _path_of(text: str) -> str:
    """The path of a target that may go on with a query or variables; nothing for a code or another site."""
    path = re.split(r"[?$]", text, maxsplit=1)[0]
    return path if path.startswith(("/", "@")) else ""
