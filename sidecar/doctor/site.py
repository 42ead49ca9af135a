"""What of Nginx's configuration concerns us: the servers of the tracker, the journal, the mirror, the way to us."""

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from sidecar.core.configuration import Network
from sidecar.doctor.parse import Directive, Tree
from sidecar.doctor.road import Road, find, handler, road
from sidecar.doctor.scope import Scope, http_of

#: The name of the shipped log_format.
FORMAT = "capi_sidecar"

#: How a line of the journal begins, whatever its format is called.
_BEGINNING = '{"v":'

#: A path that a tracker answers as a click: a campaign's alias.
CLICK = "/AbCd12"

#: A key like Keitaro's, for whoever's configuration cannot be read.
_KEY = "0a1b2c3"

#: Host and port of a proxy_pass, or its unix socket.
_TARGET = re.compile(r"(\$?\w+://)?(?P<server>unix:[^:]+|\[[^]]*\](:\d+)?|[^/?$]+|\$\{?\w+\}?[^/?$]*)")


@dataclass(frozen=True)
class Given:
    """What is known besides Nginx's configuration; empty where it is not.

    `journals` are absolute paths that the daemon reads, `intake` is where it takes postbacks, `version` is Nginx's.
    """

    keys: tuple[str, ...] = ()
    journals: tuple[str, ...] = ()
    intake: str = ""
    cdn: tuple[Network, ...] = ()
    version: tuple[int, ...] = ()
    resolves: Callable[[str], bool] = lambda name: True


@dataclass(frozen=True, eq=False)
class Server:
    """One server of the tracker, and the roads through it."""

    scope: Scope
    given: Given

    @cached_property
    def click(self) -> Road:
        return road(self.scope, CLICK)

    @property
    def key(self) -> str:
        """The tracker's own where it is known: a location may be made for it. It is shown to nobody."""
        return self.given.keys[0] if self.given.keys else _KEY

    @cached_property
    def postback(self) -> Road:
        return road(self.scope, f"/{self.key}/postback")

    @cached_property
    def mirroring(self) -> tuple[Scope, ...]:
        """Locations whose requests are copied: they say so, or a postback's road begins there under a mirror above."""
        own = [each for each in self.scope.walk() if each.name == "location" and mirrors(each.own("mirror"))]
        return tuple(dict.fromkeys((*own, *(each for each in self.postback.stations[:1] if mirror_of(each)))))

    @cached_property
    def answering(self) -> tuple[Scope, ...]:
        """Where postbacks are handed to the tracker."""
        found = [each for each in self.mirroring if handler(each) and not self.is_trackers(each)]
        return tuple(dict.fromkeys((*found, *(each for each in (self.postback.end,) if each))))

    @cached_property
    def copies(self) -> tuple[Scope, ...]:
        """Where the copies go: the locations that the mirrors name and that are not the tracker's own."""
        uris = [uri for each in self.mirroring for uri in mirror_of(each)]
        found = [place for uri in uris if (place := find(self.scope, uri))]
        return tuple(each for each in dict.fromkeys(found) if not self.is_trackers(each))

    def is_trackers(self, location: Scope) -> bool:
        """Whether a visitor's request comes through this location."""
        return location in self.click.stations


@dataclass(frozen=True, eq=False)
class Site:
    """The whole configuration as far as it concerns us."""

    http: Scope
    given: Given

    @cached_property
    def servers(self) -> tuple[Server, ...]:
        """Servers in which a journal or a mirror is named; with one above them, those that hand clicks over."""
        every = [Server(each, self.given) for each in self.http.children if each.name == "server"]
        named = [each for each in every if any(self._names_us(level) for level in each.scope.walk())]
        above = [each for each in every if each.click.end] if self._names_us(self.http) else []
        return tuple(each for each in every if each in named or each in above)

    @cached_property
    def journal_lines(self) -> tuple[Directive, ...]:
        """Every access_log line of ours."""
        return tuple(each for level in self.http.walk() for each in level.own("access_log") if self.is_journal(each))

    @cached_property
    def formats(self) -> dict[str, Directive]:
        """Every log_format by its name."""
        return {each.arguments[0]: each for each in self.http.own("log_format") if each.arguments}

    @cached_property
    def upstreams(self) -> dict[str, Directive]:
        """Every upstream by its name."""
        return {each.arguments[0]: each for each in self.http.own("upstream") if each.arguments}

    @cached_property
    def targets(self) -> "tuple[Target, ...]":
        """Where the copies of every server go."""
        return tuple(target for server in self.servers for each in server.copies if (target := self.target(each)))

    def is_journal(self, line: Directive) -> bool:
        """Whether an access_log is ours: by its file, its format's name, or how its lines begin."""
        path, name = [*line.arguments, "", ""][:2]
        begins = name in self.formats and format_text(self.formats[name]).startswith(_BEGINNING)
        return name == FORMAT or begins or path in self.given.journals

    def journal_of(self, location: Scope) -> tuple[Directive, ...]:
        """The lines of ours that hold in a location."""
        return tuple(each for each in location.effective("access_log") if self.is_journal(each))

    def target(self, location: Scope) -> "Target | None":
        """Where the proxy_pass of a location leads."""
        found = location.own("proxy_pass")
        match = _TARGET.match(" ".join(found[0].arguments)) if found else None
        if match is None:
            return None
        server = match["server"]
        value = _value(location, server) if "$" in server else server
        return Target(location, found[0], server, value, self.upstreams.get(value))

    def _names_us(self, level: Scope) -> bool:
        return bool(mirrors(level.own("mirror"))) or any(map(self.is_journal, level.own("access_log")))


@dataclass(frozen=True, eq=False)
class Target:
    """Where a proxy_pass leads: as written, as it is when its variable is set beside it, and its upstream."""

    location: Scope
    directive: Directive
    written: str
    value: str
    upstream: Directive | None

    @property
    def servers(self) -> tuple[Directive, ...]:
        """The server lines of its upstream."""
        return tuple(each for each in (self.upstream.block if self.upstream else None) or () if each.name == "server")

    def of_upstream(self, name: str) -> Directive | None:
        """A line of its upstream."""
        block = (self.upstream.block if self.upstream else None) or ()
        return next((each for each in block if each.name == name), None)

    @property
    def addresses(self) -> tuple[tuple[Directive, str], ...]:
        """Each address or name with the line that says it."""
        if self.upstream:
            return tuple((each, each.arguments[0]) for each in self.servers if each.arguments)
        return ((self.directive, self.value),) if self.value and "$" not in self.value else ()


def site_of(tree: Tree, given: Given) -> Site:
    """The part of a configuration that concerns us."""
    return Site(http_of(tree), given)


def mirror_of(location: Scope) -> tuple[str, ...]:
    """The URIs to which requests of a location are copied."""
    return mirrors(location.effective("mirror"))


def mirrors(directives: tuple[Directive, ...]) -> tuple[str, ...]:
    return tuple(uri for each in directives for uri in each.arguments[:1] if uri != "off")


def is_address(text: str) -> bool:
    """Whether host and port, or a unix socket, need no look-up."""
    if text.startswith("unix:"):
        return True
    try:
        ipaddress.ip_address(host_of(text).strip("[]"))
    except ValueError:
        return False
    return True


def host_of(text: str) -> str:
    """The host of host:port; IPv6 stays in its brackets."""
    match = re.fullmatch(r"(\[[^]]*\]|[^:]*)(:\d+)?", text)
    return match[1] if match else text


def format_text(log_format: Directive) -> str:
    """The lines that a log_format makes, as it writes them."""
    return "".join(each for each in log_format.arguments[1:] if not each.startswith("escape="))


def _value(location: Scope, variable: str) -> str:
    """What a `set` beside or above says of a variable; the variable itself when none does."""
    name = variable.strip("${}")
    for level in location.above():
        for each in level.own("set"):
            if each.arguments[:1] == (f"${name}",) and len(each.arguments) > 1:
                return re.sub(r"^\w+://", "", each.arguments[1])
    return variable
