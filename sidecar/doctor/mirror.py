"""Traps of the mirror: the copy of a postback that does not come, comes for everything, or stops the tracker.

Measured on nginx 1.22.1 and 1.26.3; what a directive does by itself is from nginx.org.
"""

from collections.abc import Iterator

from sidecar.doctor.finding import Found, Severity, Trap
from sidecar.doctor.parse import Directive
from sidecar.doctor.road import HANDLERS, Jump, find, handler, jumps, rewrites, road
from sidecar.doctor.scope import Scope, seconds, size
from sidecar.doctor.site import Server, Site, mirrors

#: Seconds that a copy may hold up the next request on its connection.
_PATIENCE = 1.0

#: Bytes of a postback's body that the intake takes.
_BODY = 1 << 20

#: Bytes up to which the journal should have a body.
_IN_MEMORY = 256 << 10

_TIMEOUTS = ("proxy_connect_timeout", "proxy_send_timeout", "proxy_read_timeout")

#: Without these a handler gives a request up when its client hangs up. uwsgi and scgi have their own of the same form.
_IGNORES = {name: f"{name.removesuffix('_pass')}_ignore_client_abort" for name in HANDLERS if name != "grpc_pass"}


def _never_fires(site: Site) -> Iterator[Found]:
    for server in site.servers:
        for location in server.mirroring:
            for jump in _leaving(server, location):
                if jump.certain:
                    yield Found(jump.directive.place, f"the mirror of `{location.title}` never fires: "
                                f"`{jump.directive.text}` takes the request away before")  # fmt: skip


def _fires_not_always(site: Site) -> Iterator[Found]:
    for server in site.servers:
        for location in server.mirroring:
            for jump in _leaving(server, location):
                if not jump.certain:
                    yield Found(jump.directive.place, f"the mirror of `{location.title}` does not fire where "
                                f"`{jump.directive.text}` in an `if` takes the request away")  # fmt: skip


def _denied(site: Site) -> Iterator[Found]:
    for location, denied, allowed in _denials(site):
        if not allowed:
            yield Found(
                denied.place, f"`deny all` holds in `{location.title}`: no postback is taken and none is copied"
            )


def _guarded(site: Site) -> Iterator[Found]:
    for location, denied, allowed in _denials(site):
        if allowed:
            yield Found(denied.place, f"`{location.title}` is open to some addresses only")
    for server in site.servers:
        for location in server.mirroring:
            for name in ("auth_basic", "auth_request"):
                if location.value(name) not in (None, "off"):
                    yield Found(location.where(name), f"`{location.title}` asks for a login ({name})")


def _for_clicks(site: Site) -> Iterator[Found]:
    for server in site.servers:
        for location in server.click.stations[-1:]:
            for line in location.effective("mirror"):
                if mirrors((line,)):
                    yield Found(line.place, f"`{line.text}` copies every click, through `{location.title}`")


def _without_location(site: Site) -> Iterator[Found]:
    for server in site.servers:
        for location in server.mirroring:
            for line in location.effective("mirror"):
                for uri in mirrors((line,)):
                    target = find(server.scope, uri)
                    if target is None or server.is_trackers(target):
                        whither = f"goes to `{target.title}`" if target else "goes nowhere"
                        yield Found(line.place, f"`{uri}` has no location of its own: the copy {whither}")


def _shadowed(site: Site) -> Iterator[Found]:
    """Judged only with the tracker's own key: a location may be made for it."""
    for server in site.servers:
        own = [each for each in server.mirroring if mirrors(each.own("mirror"))]
        roads = [road(server.scope, f"/{key}/postback") for key in site.given.keys]
        if own and roads and not any(station in own for each in roads for station in each.stations):
            taken = next((f"`{each.stations[0].title}`" for each in roads if each.stations), "another rule")
            yield Found(own[0].place, f"no postback comes to `{own[0].title}`: {taken} takes it")


def _open(site: Site) -> Iterator[Found]:
    for location in _copies(site):
        if not location.own("internal"):
            yield Found(location.place, f"`{location.title}` is open to everybody")


def _without_uri(site: Site) -> Iterator[Found]:
    for location in _copies(site):
        for line in location.own("proxy_pass"):
            if "$request_uri" not in "".join(line.arguments):
                yield Found(line.place, f"`{line.text}` does not pass on the postback's own address")


def _without_handler(site: Site) -> Iterator[Found]:
    for location in _copies(site):
        if not location.own("proxy_pass"):
            yield Found(location.place, f"`{location.title}` has no proxy_pass: the copy is thrown away")


def _without_body(site: Site) -> Iterator[Found]:
    for server in site.servers:
        for location in server.mirroring:
            if location.value("mirror_request_body") == "off":
                yield Found(location.where("mirror_request_body"), "the copy comes without the postback's body")


def _slow(site: Site) -> Iterator[Found]:
    for location in _copies(site):
        if missing := [name for name in _TIMEOUTS if location.value(name) is None]:
            yield Found(location.place, f"`{location.title}` has no {', '.join(missing)}: 60 s each")
        for name in _TIMEOUTS:
            value = location.value(name)
            if value is not None and seconds(value) > _PATIENCE:
                yield Found(location.where(name), f"{name} is {value}, and 1 s is much")


def _tries_on(site: Site) -> Iterator[Found]:
    for location in _copies(site):
        if location.value("proxy_next_upstream") != "off":
            yield Found(location.where("proxy_next_upstream"), "a copy that fails is tried again while a client waits")


def _without_id(site: Site) -> Iterator[Found]:
    for location in _copies(site):
        if _header(location, "x-request-id") != "$request_id":
            yield Found(_headers_place(location), "the copy does not carry X-Request-Id $request_id")


def _drops_headers(site: Site) -> Iterator[Found]:
    for location in _copies(site):
        if _header(location, "host") is None:
            yield Found(_headers_place(location), "the copy does not carry the postback's Host")


def _forged(site: Site) -> Iterator[Found]:
    for location in _copies(site):
        for line in location.effective("proxy_set_header"):
            if "$proxy_add_x_forwarded_for" in line.arguments:
                yield Found(line.place, f"`{line.text}` passes on what the client says of itself")


def _error_page(site: Site) -> Iterator[Found]:
    for server in site.servers:
        for location in server.copies:
            for line in location.effective("error_page"):
                page = line.arguments[-1] if line.arguments else ""
                if line not in location.own("error_page") and _is_asked(server, page):
                    yield Found(
                        line.place, f"`{line.text}` holds in `{location.title}` too, and the tracker answers it"
                    )


def _small_copy(site: Site) -> Iterator[Found]:
    for location in _copies(site):
        yield from _below(location, "client_max_body_size", _BODY, "a copy with a larger body is dropped")


def _client_abort(site: Site) -> Iterator[Found]:
    for server in site.servers:
        for location in server.mirroring:
            line = handler(location)
            name = _IGNORES.get(line.name) if line else None
            if line and name and location.value(name) != "on":
                where = location.where(name) if location.effective(name) else line.place
                yield Found(where, f"`{location.title}` has no `{name} on`", f"{name} on;  # in `{location.title}`")


def _small_buffer(site: Site) -> Iterator[Found]:
    for server in site.servers:
        for location in server.answering:
            yield from _below(location, "client_body_buffer_size", _IN_MEMORY, "no larger body is in the journal",
                              default="16k on 64-bit machines")  # fmt: skip


def _small_body(site: Site) -> Iterator[Found]:
    for server in site.servers:
        for location in server.answering:
            yield from _below(location, "client_max_body_size", _BODY, "a larger postback is refused with 413")


def _below(location: Scope, name: str, least: int, effect: str, default: str = "") -> Iterator[Found]:
    """A size that is too small; nothing is said of one whose default is enough. 0 is no limit."""
    value = location.value(name)
    if value is None and default:
        yield Found(location.place, f"`{location.title}` has no {name} ({default}): {effect}")
    elif value is not None and 0 < size(value) < least:
        yield Found(location.where(name), f"{name} is {value} in `{location.title}`: {effect}")


def _copies(site: Site) -> Iterator[Scope]:
    for server in site.servers:
        yield from server.copies


def _leaving(server: Server, location: Scope) -> Iterator[Jump]:
    """What takes a postback away from a location that mirrors it; for a `return` of the server, from every one."""
    path = f"/{server.key}/postback"
    yield from (jump for jump in rewrites(server.scope, path) if jump.certain and not jump.target)
    yield from (jump for jump in jumps(location, path) if jump.directive.name != "error_page")


def _denials(site: Site) -> Iterator[tuple[Scope, Directive, bool]]:
    """Where `deny all` holds for postbacks, and whether some addresses are allowed before it.

    allow and deny are one list: a lower level that has either replaces both.
    """
    for server in site.servers:
        for location in server.mirroring:
            level = next((each for each in location.above() if each.own("allow", "deny")), None)
            for line in level.own("deny") if level else ():
                if level and line.arguments == ("all",):
                    yield location, line, bool(level.own("allow"))


def _is_asked(server: Server, page: str) -> bool:
    """Whether the tracker answers an error page."""
    if page.startswith("@"):
        return any(handler(each) for each in server.scope.locations if each.directive.arguments[:1] == (page,))
    return page.startswith("/") and road(server.scope, page).end is not None


def _header(location: Scope, name: str) -> str | None:
    """What the copy's header says; None when the location does not set it."""
    found = [line.arguments for line in location.effective("proxy_set_header") if len(line.arguments) == 2]
    return next((value for header, value in found if header.lower() == name), None)


def _headers_place(location: Scope) -> str:
    """The last header of the location, beside which one is missing."""
    return location.where("proxy_set_header")


_LEAVES = "Nginx copies a request only where it is handed over in that very location; measured: 0 postbacks copied"

MIRROR: tuple[Trap[Site], ...] = (
    Trap("mirror-never-fires", Severity.WRONG, _never_fires, _LEAVES,
         "proxy_pass (or `rewrite ^ /index.php break;` and fastcgi_pass) in that location, instead of this line"),
    Trap("mirror-conditional", Severity.REMARK, _fires_not_always, _LEAVES,
         "nothing if no postback meets the condition; the journal has those that do"),
    Trap("mirror-denied", Severity.WRONG, _denied,
         "what is refused is not copied, and the tracker does not see it either",
         "allow ...;  # the networks' addresses before the deny, or no deny in this location"),
    Trap("mirror-guarded", Severity.REMARK, _guarded,
         "a network that is refused gets no conversion counted, and nothing is copied",
         "allow all; or auth_basic off;  # in the postback location, unless you want it so"),
    Trap("mirror-for-clicks", Severity.WRONG, _for_clicks,
         "each click makes a subrequest too, and with error_page two; the intake needs none of them",
         "mirror /capi-sidecar-mirror;  # in the postback location only"),
    Trap("mirror-location-missing", Severity.WRONG, _without_location,
         "without a location for the copy it is answered by the tracker or by nobody",
         "include capi-sidecar/capi-sidecar.server.conf;  # in this server"),
    Trap("mirror-shadowed", Severity.WRONG, _shadowed,
         "Nginx takes the first regular expression that fits, and an exact path before that",
         "move the postback location before the other one, or make its pattern fit /KEY/postback"),
    Trap("mirror-location-open", Severity.WRONG, _open,
         "anybody can then ask the intake for what is no copy of a postback, past the tracker",
         "internal;"),
    Trap("mirror-no-handler", Severity.WRONG, _without_handler,
         "the copy is for the intake, which speaks HTTP",
         "proxy_pass http://capi_sidecar$request_uri;"),
    Trap("mirror-uri", Severity.WRONG, _without_uri,
         "in the mirror's location $uri is that location's own, and the intake answers 404 to it",
         "proxy_pass http://capi_sidecar$request_uri;"),
    Trap("mirror-request-body", Severity.WRONG, _without_body,
         "a postback by POST carries its subid in the body",
         "mirror_request_body on;"),
    Trap("mirror-timeouts", Severity.WRONG, _slow,
         "the next request on the same connection waits for the copy; with a sidecar that hangs and 60 s, 8 requests "
         "were answered in 15 s instead of 10,079, and 84 % of fresh connections got a 500",
         "proxy_connect_timeout 100ms; proxy_send_timeout 250ms; proxy_read_timeout 250ms;"),
    Trap("mirror-next-upstream", Severity.REMARK, _tries_on,
         "the journal brings what the copy misses; a second try doubles the wait of the client's next request",
         "proxy_next_upstream off;"),
    Trap("mirror-request-id", Severity.WRONG, _without_id,
         "$request_id joins the copy with its journal line; without it each postback is stored twice. One "
         "proxy_set_header drops all that are inherited",
         "proxy_set_header X-Request-Id $request_id;"),
    Trap("mirror-host", Severity.REMARK, _drops_headers,
         "one proxy_set_header drops all that are inherited; the copy then names the upstream as its host",
         "proxy_set_header Host $host;"),
    Trap("mirror-forwarded-for", Severity.REMARK, _forged,
         "under realip the first element of $proxy_add_x_forwarded_for is the client's forgery",
         "proxy_set_header X-Real-IP $remote_addr;  # instead of X-Forwarded-For"),
    Trap("mirror-error-page", Severity.WRONG, _error_page,
         "when the sidecar is down each copy asks the tracker for the error page: a second request a postback",
         "error_page 599 /;  # in the mirror's location: one of its own, for a status that never comes"),
    Trap("mirror-body-size", Severity.WRONG, _small_copy,
         "a limit of the server holds for the copy too",
         "client_max_body_size 1m;  # in the mirror's location"),
    Trap("client-abort", Severity.WRONG, _client_abort,
         "when a network hangs up early the copy dies with its request",
         "proxy_ignore_client_abort on;"),
    Trap("body-buffer", Severity.WRONG, _small_buffer,
         "$request_body is there only while the body stays in memory",
         "client_body_buffer_size 256k;"),
    Trap("body-size", Severity.WRONG, _small_body,
         "the intake takes 1 MB; what Nginx refuses is lost to the tracker and to the sidecar",
         "client_max_body_size 1m;"),
)  # fmt: skip
