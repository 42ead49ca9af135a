"""Traps of the journal: lines that are not written, are lost, or cannot be read. And whose address stands in them."""

import json
import re
from collections.abc import Iterator
from ipaddress import ip_network

from sidecar.core.configuration import Network
from sidecar.doctor.finding import Found, Severity, Trap
from sidecar.doctor.parse import Directive
from sidecar.doctor.scope import Scope
from sidecar.doctor.site import FORMAT, Server, Site, format_text

#: Keys without which a line is set aside. Source: the contract, "Journal line, v1".
_REQUIRED = ("v", "event", "id", "time", "uri")

#: What must stand in a key, whatever else is added: the values that the program reads.
_VALUES = {"id": "$request_id", "time": "$msec", "uri": "$request_uri"}

#: Variables that a visitor can set at will.
_FORGEABLE = ("$proxy_add_x_forwarded_for", "$http_x_forwarded_for", "$http_x_real_ip", "$http_cf_connecting_ip")

#: The first nginx that has all that the shipped files use. Source: nginx/capi-sidecar.http.conf.
_OLDEST = (1, 15, 3)

#: All addresses there are.
_ANYONE = frozenset({"0.0.0.0/0", "::/0"})


def _none(site: Site) -> Iterator[Found]:
    if not site.journal_lines:
        yield Found(site.http.place, "no access_log writes the journal")


def _not_for_postbacks(site: Site) -> Iterator[Found]:
    for server in _with_journal(site):
        for location in server.answering:
            if not site.journal_of(location):
                yield _lacking(location, "postbacks")


def _not_for_clicks(site: Site) -> Iterator[Found]:
    for server in _with_journal(site):
        location = server.click.end
        if location and not site.journal_of(location):
            yield _lacking(location, "clicks")


def _alone(site: Site) -> Iterator[Found]:
    for server in site.servers:
        for level in server.scope.walk():
            lines = level.own("access_log")
            above = level.parent.effective("access_log") if level.parent else ()
            if lines and all(map(site.is_journal, lines)) and (others := _others(site, above)):
                yield Found(lines[0].place, f"`{level.title}` no longer writes {others[0].arguments[0]}",
                            f"{others[0].text};  # beside the journal's line")  # fmt: skip


def _buffered(site: Site) -> Iterator[Found]:
    for line in site.journal_lines:
        if bad := [each for each in line.arguments[1:] if re.match(r"(buffer=|gzip\b|flush=)", each)]:
            yield Found(line.place, f"the journal is written with {' '.join(bad)}", _without(line, bad))


def _moving(site: Site) -> Iterator[Found]:
    for line in site.journal_lines:
        if "$" in line.arguments[0]:
            yield Found(line.place, f"{line.arguments[0]}: the journal's path holds a variable")


def _always(site: Site) -> Iterator[Found]:
    for line in site.journal_lines:
        if not any(each.startswith("if=") for each in line.arguments):
            yield Found(line.place, "the journal has a line for every request", f"{line.text} if=$capi_sidecar_event;")


def _elsewhere(site: Site) -> Iterator[Found]:
    for line in site.journal_lines if site.given.journals else ():
        path = line.arguments[0]
        if path not in site.given.journals and "$" not in path:
            read = ", ".join(site.given.journals)
            yield Found(line.place, f"Nginx writes {path}, and the sidecar reads {read}", f"--journal {path}")


def _no_format(site: Site) -> Iterator[Found]:
    for line in site.journal_lines:
        name = _format_name(line)
        if name not in site.formats:
            yield Found(line.place, f"the journal is written as `{name}`, which is no format of capi-sidecar's",
                        f"access_log {line.arguments[0]} {FORMAT} if=$capi_sidecar_event;")  # fmt: skip


def _escape(site: Site) -> Iterator[Found]:
    for each in _formats(site):
        if each.arguments[1:2] != ("escape=json",):
            yield Found(each.place, f"log_format {each.arguments[0]} is not written with escape=json")


def _keys(site: Site) -> Iterator[Found]:
    for each in _formats(site):
        if missing := [key for key in _REQUIRED if f'"{key}":' not in format_text(each)]:
            yield Found(each.place, f"log_format {each.arguments[0]} lacks {', '.join(missing)}")


def _quotes(site: Site) -> Iterator[Found]:
    for each in _formats(site):
        if bare := re.findall(r'"(\w+)":\s*(?!")', format_text(each)):
            yield Found(each.place, f"log_format {each.arguments[0]}: without quotes: {', '.join(bare)}")
        elif not _is_json(format_text(each)):
            yield Found(each.place, f"log_format {each.arguments[0]} makes no JSON")


def _values(site: Site) -> Iterator[Found]:
    for each in _formats(site):
        said = dict(re.findall(r'"(\w+)":\s*"([^"]*)"', format_text(each)))
        for key, value in _VALUES.items():
            if said.get(key, value) != value:
                yield Found(each.place, f'log_format {each.arguments[0]}: "{key}" is {said[key]}', f'"{key}":"{value}"')


def _forgeable(site: Site) -> Iterator[Found]:
    for each in _formats(site):
        said = dict(re.findall(r'"(\w+)":\s*"([^"]*)"', format_text(each)))
        if (value := said.get("ip", "")) in _FORGEABLE:
            yield Found(each.place, f'log_format {each.arguments[0]}: "ip" is {value}, which a visitor can forge')


def _cdn_untrusted(site: Site) -> Iterator[Found]:
    for server in site.servers if site.given.cdn else ():
        location = server.click.end or server.scope
        trusted = _networks(location)
        missing = [each for each in site.given.cdn if not any(_covers(other, each) for other in trusted)]
        if missing:
            yield Found(location.where("set_real_ip_from"), f"realip does not trust the CDN: {_listed(missing)}",
                        "\n".join(f"set_real_ip_from {each};" for each in missing[:3]))  # fmt: skip
        elif location.value("real_ip_header") is None:
            yield Found(location.where("set_real_ip_from"), "realip has no real_ip_header")


def _anyone(site: Site) -> Iterator[Found]:
    for server in site.servers:
        for line in (server.click.end or server.scope).effective("set_real_ip_from"):
            if line.arguments[:1] and line.arguments[0] in _ANYONE:
                yield Found(line.place, f"`{line.text}` believes everybody's word for his address")


def _version(site: Site) -> Iterator[Found]:
    if site.given.version and site.given.version < _OLDEST:
        yield Found("nginx", f"nginx {_dotted(site.given.version)} is too old, {_dotted(_OLDEST)} is needed")


def _with_journal(site: Site) -> Iterator[Server]:
    """The servers; nothing of each one is said when there is no journal at all."""
    if site.journal_lines:
        yield from site.servers


def _lacking(location: Scope, what: str) -> Found:
    lines = location.effective("access_log")
    replaced = f": `{lines[0].text}` replaces it" if lines else ""
    place = lines[0].place if lines else location.place
    return Found(place, f"`{location.title}`, where {what} are answered, does not write the journal{replaced}")


def _others(site: Site, lines: tuple[Directive, ...]) -> list[Directive]:
    return [each for each in lines if not site.is_journal(each) and each.arguments[:1] != ("off",)]


def _without(line: Directive, words: list[str]) -> str:
    return " ".join((line.name, *(each for each in line.arguments if each not in words))) + ";"


def _format_name(line: Directive) -> str:
    words = [each for each in line.arguments[1:2] if "=" not in each and each != "gzip"]
    return words[0] if words else "combined"


def _formats(site: Site) -> Iterator[Directive]:
    """The formats in which the journal is written."""
    for name in dict.fromkeys(map(_format_name, site.journal_lines)):
        if name in site.formats:
            yield site.formats[name]


def _is_json(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False


def _networks(location: Scope) -> list[Network]:
    found: list[Network] = []
    for line in location.effective("set_real_ip_from"):
        try:
            found += [ip_network(word, strict=False) for word in line.arguments[:1]]
        except ValueError:
            continue  # `unix:`, or a name
    return found


def _covers(network: Network, other: Network) -> bool:
    if network.version == 4 and other.version == 4:
        return other.subnet_of(network)
    return network.version == 6 and other.version == 6 and other.subnet_of(network)


def _listed(networks: list[Network]) -> str:
    more = f" and {len(networks) - 3} more" if len(networks) > 3 else ""
    return ", ".join(map(str, networks[:3])) + more


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


_OURS = "access_log /var/log/capi-sidecar/journal.ndjson capi_sidecar if=$capi_sidecar_event;"
_REPLACES = "an access_log of a lower level replaces those of the upper levels, so ours stands beside each one"

JOURNAL: tuple[Trap[Site], ...] = (
    Trap("journal-missing", Severity.WRONG, _none,
         "the journal is the truth: it brings every click, and every postback that the mirror misses",
         "capi-sidecar init nginx"),
    Trap("journal-not-for-postbacks", Severity.WRONG, _not_for_postbacks, _REPLACES, _OURS),
    Trap("journal-not-for-clicks", Severity.WRONG, _not_for_clicks,
         f"without its click no postback can be sent; {_REPLACES}", _OURS),
    Trap("journal-alone", Severity.REMARK, _alone,
         "an access_log of a lower level replaces those of the upper levels: the site's own log has gaps",
         "the site's own access_log beside the journal's"),
    Trap("journal-buffered", Severity.WRONG, _buffered,
         "a crash loses up to a buffer, and the sidecar reads late; unbuffered costs nothing at load",
         _OURS),
    Trap("journal-variable", Severity.WRONG, _moving,
         "such a journal writes nothing, silently, when the workers cannot write the directory or root does not exist; "
         "a fixed path fails in nginx -t",
         _OURS),
    Trap("journal-unconditional", Severity.REMARK, _always,
         "lines that are neither click nor postback are read for nothing, and counted as bad",
         _OURS),
    Trap("journal-elsewhere", Severity.WRONG, _elsewhere,
         "the sidecar reads the files that --journal names, and no other",
         "--journal FILE, or CAPI_SIDECAR_JOURNAL"),
    Trap("journal-no-format", Severity.WRONG, _no_format,
         "the sidecar reads JSON lines, and sets every other line aside",
         _OURS),
    Trap("format-escape", Severity.WRONG, _escape,
         "without it a quote in a visitor's header breaks the line; with it 10,000 fuzzed requests were read",
         "log_format capi_sidecar escape=json ..."),
    Trap("format-keys", Severity.WRONG, _keys,
         "a line without one of v, event, id, time, uri is set aside",
         "include capi-sidecar/capi-sidecar.http.conf;"),
    Trap("format-quotes", Severity.WRONG, _quotes,
         "an absent value without quotes breaks the line: quote every variable, numbers too",
         '"NAME":"$VARIABLE"'),
    Trap("format-values", Severity.WRONG, _values,
         "$uri is /index.php after try_files, and only $request_id and $msec join a line with its copy",
         "include capi-sidecar/capi-sidecar.http.conf;"),
    Trap("format-address", Severity.WRONG, _forgeable,
         "the click's address goes to Meta; realip decides which header may be believed",
         '"ip":"$remote_addr"'),
    Trap("realip-cdn", Severity.REMARK, _cdn_untrusted,
         "behind a CDN $remote_addr is right only if realip trusts the peer: the tracker sees the CDN's address; "
         "the sidecar itself reads cf_ip from the networks of tracker.cdn",
         "set_real_ip_from NETWORK; real_ip_header CF-Connecting-IP;"),
    Trap("realip-anyone", Severity.WRONG, _anyone,
         "any visitor can then choose the address that goes to Meta",
         "set_real_ip_from with the CDN's networks only"),
    Trap("nginx-version", Severity.WRONG, _version,
         "the shipped files need what older ones do not have",
         "apt-get install nginx"),
)  # fmt: skip
