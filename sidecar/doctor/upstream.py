"""Traps of the way from Nginx to the intake: a circuit breaker that never opens, names, another address."""

from collections.abc import Iterator

from sidecar.doctor.finding import Found, Severity, Trap
from sidecar.doctor.parse import Directive
from sidecar.doctor.road import handler
from sidecar.doctor.scope import Scope
from sidecar.doctor.site import Site, Target, host_of, is_address
from sidecar.net import TcpAddress, UnixAddress, parse_address

_BREAKER = ("max_fails", "fail_timeout")

#: Hosts that mean every address of the machine, or this one.
_EVERY = frozenset({"0.0.0.0", "::", ""})
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


def _single(site: Site) -> Iterator[Found]:
    for target in site.targets:
        if target.upstream and len(target.servers) == 1:
            [server] = target.servers
            yield Found(server.place, f"`{server.text}` is the only server of its upstream",
                        f"{server.text};  # the same line a second time")  # fmt: skip
        elif not target.upstream and target.addresses and _is_fixed(target):
            yield Found(target.directive.place, f"`{target.directive.text}` has no upstream with a circuit breaker")


def _breaker_off(site: Site) -> Iterator[Found]:
    for server in _servers(site):
        for name in _BREAKER:
            if _parameter(server, name) in ("0", "0s", "0ms"):
                yield Found(server.place, f"`{server.text}`: {name}=0 never takes the intake out of service")


def _breaker_default(site: Site) -> Iterator[Found]:
    for server in _servers(site):
        if missing := [name for name in _BREAKER if _parameter(server, name) is None]:
            yield Found(server.place, f"`{server.text}` says no {' and no '.join(missing)}")


def _zone(site: Site) -> Iterator[Found]:
    for target in site.targets:
        if target.upstream and not target.of_upstream("zone"):
            yield Found(target.upstream.place, f"`{target.upstream.text}` has no zone")


def _keepalive(site: Site) -> Iterator[Found]:
    for target in site.targets:
        line = target.of_upstream("keepalive")
        if not line:
            continue
        headers = [each.arguments for each in target.location.effective("proxy_set_header")]
        if target.location.value("proxy_http_version") not in ("1.1", "2"):
            yield Found(target.location.where("proxy_http_version"), "keepalive without `proxy_http_version 1.1`")
        if ("connection", "") not in [(words[0].lower(), words[-1]) for words in headers if words]:
            yield Found(target.location.where("proxy_set_header"), 'keepalive without `proxy_set_header Connection ""`')


def _unresolvable(site: Site) -> Iterator[Found]:
    for line, address in _names(site):
        if not site.given.resolves(host_of(address)):
            yield Found(line.place, f"`{line.text}`: the name does not resolve")


def _no_resolver(site: Site) -> Iterator[Found]:
    for location in _handing(site):
        target = site.target(location)
        if target is None or "$" not in target.written or location.effective("resolver"):
            continue
        if target.upstream is None and not is_address(target.value):
            yield Found(target.directive.place, f"`{target.directive.text}`: a variable, and no resolver")


def _elsewhere(site: Site) -> Iterator[Found]:
    if not site.given.intake:
        return
    for target in site.targets:
        for line, address in target.addresses:
            if not _same(address, site.given.intake):
                yield Found(
                    line.place, f"the copies go to {address}, and the sidecar takes them at {site.given.intake}"
                )


def _servers(site: Site) -> Iterator[Directive]:
    for target in site.targets:
        yield from target.servers


def _parameter(server: Directive, name: str) -> str | None:
    return next((each.partition("=")[2] for each in server.arguments[1:] if each.startswith(f"{name}=")), None)


def _handing(site: Site) -> Iterator[Scope]:
    """Locations that hand to the intake, or postbacks and clicks to the tracker."""
    for server in site.servers:
        ends = [each for each in (server.postback.end, server.click.end) if each]
        yield from dict.fromkeys((*server.copies, *server.answering, *ends))


def _names(site: Site) -> Iterator[tuple[Directive, str]]:
    """What Nginx looks up once, when it starts: a `resolve` of an upstream is looked up as it runs."""
    for location in _handing(site):
        target = site.target(location)
        for line, address in target.addresses if target and (target.upstream or "$" not in target.written) else ():
            if not is_address(address) and "resolve" not in line.arguments:
                yield line, address
        asked = handler(location)
        if asked and asked.name != "proxy_pass" and asked.arguments and _is_name(site, asked.arguments[0]):
            yield asked, asked.arguments[0]


def _is_fixed(target: Target) -> bool:
    """Whether a target needs no look-up as Nginx runs."""
    return "$" not in target.written or is_address(target.value)


def _is_name(site: Site, address: str) -> bool:
    return "$" not in address and address not in site.upstreams and not is_address(address)


def _same(address: str, intake: str) -> bool:
    """Whether a server of an upstream leads to the intake's address; of what is neither, nothing is said."""
    try:
        here, there = parse_address(address), parse_address(intake)
    except ValueError:
        return True
    if isinstance(here, UnixAddress) or isinstance(there, UnixAddress):
        return here == there
    return here.port == there.port and _same_host(here, there)


def _same_host(here: TcpAddress, there: TcpAddress) -> bool:
    return here.host == there.host or there.host in _EVERY or {here.host, there.host} <= _LOOPBACK


WAY: tuple[Trap[Site], ...] = (
    Trap("upstream-single", Severity.WRONG, _single,
         "nginx ignores max_fails of a single server: while the sidecar hangs every copy waits for its time-out. With "
         "the server twice, 0.96 of the requests were answered",
         "include capi-sidecar/capi-sidecar.http.conf;  # and proxy_pass http://capi_sidecar$request_uri;"),
    Trap("upstream-breaker-off", Severity.WRONG, _breaker_off,
         "without a circuit breaker every copy waits for its time-out while the sidecar hangs",
         "max_fails=1 fail_timeout=5s"),
    Trap("upstream-breaker", Severity.REMARK, _breaker_default,
         "nginx's own values hold, one failure in 10 s; measured were these",
         "max_fails=1 fail_timeout=5s"),
    Trap("upstream-zone", Severity.REMARK, _zone,
         "without it each worker has to find out by itself, with a client's wait, that the sidecar hangs",
         "zone capi_sidecar 64k;"),
    Trap("upstream-keepalive", Severity.REMARK, _keepalive,
         "the connection to the intake is closed after each copy",
         'proxy_http_version 1.1; proxy_set_header Connection "";'),
    Trap("unresolvable", Severity.WRONG, _unresolvable,
         "a name that does not resolve stops nginx from starting",
         "an address, such as 127.0.0.1:8190, or unix:/path"),
    Trap("resolver-missing", Severity.WRONG, _no_resolver,
         "with a variable and no resolver every request to that name is dropped",
         "an address or an upstream instead of the variable, or resolver 127.0.0.53;"),
    Trap("mirror-elsewhere", Severity.WRONG, _elsewhere,
         "a copy that goes elsewhere never comes to the sidecar",
         "the same address in the upstream and as --intake of `capi-sidecar run` (CAPI_SIDECAR_INTAKE)"),
)  # fmt: skip
