"""`capi-sidecar doctor`: names each trap in Nginx's configuration, and what else is wrong with the house."""

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from sidecar.cli.client import NotRunning, admin_token_file, ask
from sidecar.cli.exit import FOUND, OK, USAGE
from sidecar.config.load import UNREADABLE, Loaded, load
from sidecar.config.secrets import Resolve
from sidecar.doctor import look
from sidecar.doctor.finding import Finding, Severity, examine
from sidecar.doctor.house import HOUSE, House
from sidecar.doctor.logrotate import LOGROTATE, Rotation, parse_logrotate
from sidecar.doctor.parse import Tree, is_dump, parse_dump, parse_file
from sidecar.doctor.rules import NGINX
from sidecar.doctor.site import Given, Site, site_of
from sidecar.net import parse_address
from sidecar.store.contract import StoreRefused
from sidecar.store.reading import read_mode
from sidecar.store.state import FILE

#: The journal of a checkout, which no Nginx writes: nobody has said where it is.
_CHECKOUT = ["var/journal.ndjson"]

_NOT_LOOKED_AT = "no trap in it can be named"


@dataclass(frozen=True)
class Daemon:
    """What the running daemon says of itself, or why it says nothing."""

    status: dict[str, Any]
    fault: str = ""

    @property
    def journals(self) -> list[str]:
        return [each["path"] for each in self.status.get("journals", ())]


def run(options: argparse.Namespace) -> int:
    try:
        parse_address(options.intake)
        daemon = _ask(options.admin)
        loaded = load(options.config, resolve=Resolve.ALL)
        journals = _journals(options, daemon)
        asked = options.nginx or any(options.journal)
        findings, written = _nginx(options, loaded, journals) if asked else ([], [])
        paths = journals or written or [each for each in options.journal if each]
        findings += _house(options, loaded, daemon, paths)
    except OSError as error:
        print(f"doctor: {error.filename}: {error.strerror}", file=sys.stderr)
        return USAGE
    except ValueError as error:
        print(f"doctor: {error}", file=sys.stderr)
        return USAGE
    findings = [_masked(each, _keys(loaded)) for each in findings]
    if options.json:
        print(json.dumps([asdict(each) for each in findings]))
    else:
        print("\n".join(_told(findings)))
    return FOUND if any(each.severity is Severity.WRONG for each in findings) else OK


def _ask(admin: str) -> Daemon:
    try:
        return Daemon(ask(admin, "/api/status"))
    except NotRunning as error:
        return Daemon({}, str(error))


def _nginx(options: argparse.Namespace, loaded: Loaded, journals: list[str]) -> tuple[list[Finding], list[str]]:
    """What is wrong with Nginx's configuration and with logrotate's; and the journals that Nginx writes."""
    read = _read(options)
    if isinstance(read, Finding):
        findings, written = [read], journals
    else:
        tree, version = read
        site = site_of(tree, _given(options, loaded, journals, version))
        findings = [
            Finding(Severity.REMARK, "nginx-unread", each.place, each.what, _NOT_LOOKED_AT, "nginx -t")
            for each in tree.unread
        ]
        findings += examine(NGINX, site)
        written = _written(site)
    rules = parse_logrotate(look.logrotate(options.logrotate))
    return findings + examine(LOGROTATE, Rotation(rules, tuple(written or journals))), written


def _read(options: argparse.Namespace) -> tuple[Tree, tuple[int, ...]] | Finding:
    """The configuration with the version of Nginx where that is known; else why there is none."""
    if options.nginx:
        return _given_tree(options.nginx), ()
    printed = look.nginx()
    if printed.dump:
        return parse_dump(printed.dump), printed.version
    if printed.refused:
        why = "Nginx goes on with what it read before, and does not start again"
        return Finding(Severity.WRONG, "nginx-refused", "nginx", printed.fault, why, "nginx -t")
    then = "sudo capi-sidecar doctor, or sudo nginx -T | capi-sidecar doctor --nginx -"
    return Finding(Severity.REMARK, "nginx-unread", "nginx", printed.fault, _NOT_LOOKED_AT, then)


def _given_tree(name: str) -> Tree:
    """Raises OSError, and ValueError when standard input is no dump: includes cannot be found from there."""
    text = sys.stdin.read() if name == "-" else Path(name).read_text(errors="replace")
    if is_dump(text):
        return parse_dump(text)
    if name == "-":
        raise ValueError("--nginx -: the output of `nginx -T` is needed; a file is named by its path")
    return parse_file(Path(name))


def _journals(options: argparse.Namespace, daemon: Daemon) -> list[str]:
    """Absolute paths of the journals that the daemon reads; none when nobody says."""
    named = options.journal if options.journal != _CHECKOUT else daemon.journals
    return [os.path.abspath(each) for each in named if each]


def _given(options: argparse.Namespace, loaded: Loaded, journals: list[str], version: tuple[int, ...]) -> Given:
    return Given(
        keys=_keys(loaded),
        journals=tuple(journals),
        intake=options.intake,
        cdn=loaded.configuration.tracker.cdn if loaded.configuration else (),
        version=version,
        resolves=look.resolves,
    )


def _keys(loaded: Loaded) -> tuple[str, ...]:
    keys = loaded.configuration.tracker.postback_keys if loaded.configuration else None
    return tuple(key.reveal() for key in keys or ())


def _masked(finding: Finding, keys: tuple[str, ...]) -> Finding:
    """Without the postback key, which may stand in the name of a location."""
    what, then = finding.what, finding.type
    for key in keys:
        what, then = what.replace(key, "KEY"), then.replace(key, "KEY")
    return replace(finding, what=what, type=then)


def _written(site: Site) -> list[str]:
    return list(dict.fromkeys(each.arguments[0] for each in site.journal_lines if "$" not in each.arguments[0]))


def _house(options: argparse.Namespace, loaded: Loaded, daemon: Daemon, paths: list[str]) -> list[Finding]:
    configuration = loaded.configuration
    unreadable = [each for each in (*loaded.notes.mistakes, *loaded.notes.findings)
                  if each.message.startswith(UNREADABLE)]  # fmt: skip
    store, fault, mode = _store(options.state)
    journals = [Path(each) for each in paths]
    token = admin_token_file(options)
    directories = dict.fromkeys((options.state, *(each.parent for each in journals)))
    return examine(
        HOUSE,
        House(
            config=str(options.config),
            mistakes=sum(each not in unreadable for each in loaded.notes.mistakes),
            findings=sum(each not in unreadable for each in loaded.notes.findings),
            unreadable=tuple((f"{options.config / each.file}:{each.line}", each.message) for each in unreadable),
            may_read=os.geteuid() == 0 or os.access(store, os.R_OK),
            admin=options.admin,
            daemon=daemon.fault,
            problems=tuple(daemon.status.get("problems", ())),
            intake=options.intake,
            intake_fault=look.unreachable(options.intake),
            journals=tuple(look.journal(each, configuration, store, time.time()) for each in journals),
            store=str(options.state),
            store_fault=fault,
            store_mode=mode,
            token=str(token),
            token_mode=look.mode_of(token),
            disks=tuple(each for each in map(look.disk, directories) if each),
            clock=look.clock_is_right(),
            proxies=look.dead_proxies(configuration) if configuration else (),
        ),
    )


def _store(state: Path) -> tuple[Path, str, str]:
    """The store's file, why it cannot be read, and its mode."""
    try:
        mode = read_mode(state)
    except OSError as error:
        return state / FILE, f"cannot be read: {error.strerror}", ""
    except StoreRefused as error:
        return state / FILE, str(error), ""
    return state / FILE, "" if mode is not None else "there is no store", mode or ""


def _told(findings: list[Finding]) -> Iterator[str]:
    for each in findings:
        yield f"{each.severity.upper()} {each.place}: {each.what}"
        yield f"  {each.why}"
        yield "  type: " + each.type.replace("\n", "\n        ")
    wrong = sum(each.severity is Severity.WRONG for each in findings)
    remarks = len(findings) - wrong
    yield f"doctor: {wrong} wrong, {remarks} remark{'s' * (remarks != 1)}"
