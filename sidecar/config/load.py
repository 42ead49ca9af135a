"""From a directory of YAML to one configuration, or to all that is wrong with it."""

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from sidecar.config import declaration
from sidecar.config.git import commit_of
from sidecar.config.secrets import Resolve, Secrets, Unreadable, bad_reference, has_reference
from sidecar.config.shape import MISSING, At, Given, Note, Notes, suggestion
from sidecar.core.configuration import (
    AdminApi,
    Brake,
    Configuration,
    DataProcessing,
    Graph,
    Integration,
    Retention,
    StatusMapping,
    Tracker,
)
from sidecar.core.secret import Secret
from sidecar.core.template import placeholders

MAIN = "integrations.yaml"

#: Faults whose text begins so are a remark of `check`, and a finding with `--secrets`.
UNREADABLE = "secret cannot be read"

_CONFLICT = re.compile(r"^(<<<<<<<|>>>>>>>) ", re.MULTILINE)
_PROXY_SCHEMES = ("http", "https", "socks5", "socks5h", "socks4")

#: Keys of an integration that become its fields unchanged.
_AS_GIVEN = (
    "pixel_id", "pixels", "campaigns", "paused", "test_event_code", "api_version", "event_source_url", "event_id",
    "fbclid_from", "fbp_from", "fbc_from", "only", "customer",
)  # fmt: skip

_NO_ID_OR_NAME = "looks like a campaign id or name; without tracker.admin_api only aliases and domains match"

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class Loaded:
    """A configuration with what there is to say about it; None when a mistake refuses it.

    `files` are all that it was read from, secret files included: a change in one of them is a changed configuration.
    """

    configuration: Configuration | None
    notes: Notes
    files: tuple[Path, ...]
    hash: str


def load(directory: Path, *, resolve: Resolve, environment: Mapping[str, str] | None = None) -> Loaded:
    """Reads integrations.yaml, integrations.d/*.yaml and mappings/*.yaml of a directory.

    A postback_key that is a reference and is not resolved accepts any key.
    """
    secrets = Secrets(directory, os.environ if environment is None else environment, resolve is Resolve.ALL)
    reading = _Reading(directory, secrets, resolve is not Resolve.NOTHING)
    configuration = reading.configuration()
    digest = reading.digest()
    if reading.notes.mistakes:
        configuration = None
    if configuration is not None:
        configuration = replace(configuration, hash=digest, commit=commit_of(directory))
    for notes in (reading.notes.mistakes, reading.notes.findings, reading.notes.remarks):
        notes.sort()
    files = (*(directory / name for name in reading.texts), *reading.secrets.files)
    return Loaded(configuration, reading.notes, files, digest)


def yaml_files(directory: Path) -> list[str]:
    """The files of a configuration in the order in which they count, relative to its directory."""
    found = [MAIN]
    for folder in ("integrations.d", "mappings"):
        found += sorted(f"{folder}/{path.name}" for path in (directory / folder).glob("*.yaml") if path.is_file())
    return found


@dataclass
class _Reading:
    directory: Path
    secrets: Secrets
    resolves_key: bool
    notes: Notes = field(default_factory=Notes)
    texts: dict[str, bytes] = field(default_factory=dict)
    mappings: dict[str, StatusMapping] = field(default_factory=dict)

    def configuration(self) -> Configuration | None:
        files = yaml_files(self.directory)
        roots = {name: self._parse(name) for name in files}
        for name, at in roots.items():
            if name.startswith("mappings/") and at is not None:
                stem = Path(name).stem
                self.mappings[stem] = StatusMapping(stem, declaration.rules(at), name)
        main = roots[MAIN]
        given = declaration.main_file(main) if main is not None else MISSING
        if given is MISSING:
            return None
        declared: list[Given] = list(given.get("integrations", ()))
        for name, at in roots.items():
            if name.startswith("integrations.d/") and at is not None:
                further = declaration.further_file(at)
                declared += further.get("integrations", ()) if further is not MISSING else ()
        tracker = given.get("tracker")
        defaults = given.get("defaults", {})
        integrations = self._integrations(declared, defaults, tracker or {})
        if tracker is None:
            return None
        self._remark_on_names(integrations, tracker)
        brake = dict(given.get("brake", {}))
        if "share" in brake:
            brake["share"] = float(brake["share"])
        return Configuration(
            tracker=self._tracker(tracker),
            integrations=tuple(integrations),
            retention=Retention(**given.get("retention", {})),
            graph=Graph(**given.get("graph", {})),
            brake=Brake(**brake),
            canary_every=given.get("canary", {}).get("every", 0.0),
        )

    def digest(self) -> str:
        """The hash of everything that was read, secrets included."""
        total = hashlib.sha256()
        parts = [(name, hashlib.sha256(content).hexdigest()) for name, content in self.texts.items()]
        parts += [(str(path), digest) for path, digest in sorted(self.secrets.files.items())]
        for name, value in sorted(self.secrets.variables.items()):
            parts.append((name, hashlib.sha256(value.encode("utf-8", "surrogateescape")).hexdigest()))
        for name, digest in parts:
            total.update(f"{name}\0{digest}\0".encode("utf-8", "surrogateescape"))
        return total.hexdigest()[:16]

    def _parse(self, name: str) -> At | None:
        try:
            content = (self.directory / name).read_bytes()
        except OSError as error:
            self._mistake(name, f"cannot be read: {error.strerror}; --config names the directory that holds {MAIN}")
            return None
        self.texts[name] = content
        try:
            written = content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = content[: error.start].count(b"\n") + 1
            self._mistake(name, "not UTF-8", line)
            return None
        if conflict := _CONFLICT.search(written):
            line = written[: conflict.start()].count("\n") + 1
            self._mistake(name, "a merge conflict was left unresolved; finish the merge", line)
            return None
        return self._compose(name, written)

    def _compose(self, name: str, written: str) -> At | None:
        try:
            node = yaml.compose(written, Loader=_Loader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            tab = mark and "\t" in written.split("\n")[mark.line][: mark.column + 1]
            problem = "a tab; YAML is indented with blanks" if tab else f"no YAML: {error.problem or error.context}"
            self._mistake(name, problem, mark.line + 1 if mark else 1, mark.column + 1 if mark else 1)
            return None
        except (yaml.YAMLError, RecursionError):
            self._mistake(name, "no YAML")
            return None
        if node is None:
            self._mistake(name, "the file is empty")
            return None
        return At(name, node, "", self.notes)

    def _mistake(self, name: str, message: str, line: int = 1, column: int = 1) -> None:
        self.notes.mistakes.append(Note(name, line, column, "", message))

    def _tracker(self, given: Given) -> Tracker:
        names = {"currency", "click_wait", "subid_from", "trusted", "cdn", "first_start", "waiting_max", "statuses"}
        own = {name: value for name, value in given.items() if name in names}
        if given.get("geoip"):
            own["geoip"] = given["geoip"]
        if given.get("admin_api"):
            own["admin_api"] = self._admin_api(given["admin_api"])
        return Tracker(postback_keys=self._postback_keys(given), **own)

    def _postback_keys(self, given: Given) -> tuple[Secret, ...] | None:
        keys = given.get("postback_key", ())
        where = given.where("postback_key")
        if not self.resolves_key and any(map(has_reference, keys)):
            return None
        found = []
        for written in keys:
            value = self._secret(written, where, resolve=True)
            if isinstance(value, Unreadable):
                where.fail(f"{UNREADABLE}: {value}; without the key no postback can be known")
            elif not value:
                where.fail("the key is empty")
            else:
                found.append(Secret(value))
        return tuple(found)

    def _admin_api(self, given: Given) -> AdminApi | None:
        values = {}
        for name in ("key", "proxy"):
            if given.get(name) is None:
                continue
            value = self._secret(given[name], given.where(name))
            if isinstance(value, Unreadable):
                given.where(name).fail(f"{UNREADABLE}: {value}")
            else:
                values[name] = Secret(value)
        return AdminApi(given.get("url", ""), values.get("key", Secret("")), values.get("proxy"))

    def _integrations(
        self, declared: list[Given], defaults: Mapping[str, Any], tracker: Mapping[str, Any]
    ) -> list[Integration]:
        names: dict[str, Given] = {}
        built = []
        for given in declared:
            name = given.get("name")
            if name is None:
                continue
            if name in names:
                first = names[name].where("name")
                given.where("name").fail(f'an integration "{name}" stands in {first.place} too; names are unique')
                continue
            names[name] = given
            if integration := self._integration(given, defaults, tracker):
                built.append(integration)
        return built

    def _integration(self, given: Given, defaults: Any, tracker: Mapping[str, Any]) -> Integration | None:
        shared = {name: tracker[name] for name in ("fbclid_from", "fbp_from", "fbc_from") if name in tracker}
        merged = {**shared, **defaults, **given}
        mapping = self._mapping(given, merged, defaults)
        if "pixel_id" not in merged:
            if "pixel_id" not in given.places:
                given.at.fail("pixel_id is missing")
            return None
        if placeholders(merged["pixel_id"]) and not merged.get("pixels"):
            given.where("pixel_id").fail("a placeholder needs pixels: [...], the list of allowed pixel ids")
        faults: list[str] = []
        token = self._token(given, merged, faults)
        proxies = self._proxies(given, merged, faults)
        if not merged.get("campaigns"):
            self._finding(given, "campaigns", "no campaign is named, so no conversion is sent", faults)
        if mapping is None:
            return None
        processing = merged.get("data_processing")
        integration = Integration(
            name=given["name"],
            mapping=mapping,
            token=token,
            proxies=proxies,
            route=_route(merged.get("proxy")),
            data_processing=DataProcessing(**processing) if processing else None,
            error="; ".join(faults),
            place=given.at.place,
            **{name: merged[name] for name in _AS_GIVEN if name in merged},
        )
        self._check_templates(given, integration)
        self._remark_on(given, integration)
        return integration

    def _mapping(self, given: Given, merged: Mapping[str, Any], defaults: Any) -> StatusMapping | None:
        where = given.where("mapping")
        if "mapping" not in given and isinstance(defaults, Given) and "mapping" in defaults:
            where = defaults.where("mapping")
        mapping = merged.get("mapping")
        if mapping is None:
            if "mapping" not in given.places:
                given.at.fail("mapping is missing; name a file of mappings/ or write the rules here")
            return None
        if isinstance(mapping, dict):
            return StatusMapping("inline", mapping, where.place)
        if mapping not in self.mappings:
            if not any(name == f"mappings/{mapping}.yaml" for name in self.texts):
                where.fail(f'no mapping "{mapping}"; {suggestion(mapping, self.mappings)}')
            return None
        return self.mappings[mapping]

    def _token(self, given: Given, merged: Mapping[str, Any], faults: list[str]) -> Secret:
        value = self._secret(merged.get("token", ""), given.where("token"))
        if isinstance(value, Unreadable):
            self._unreadable(given, "token", value, faults)
            return Secret("")
        if not value:
            self._finding(given, "token", "the token is empty", faults)
        return Secret(value)

    def _proxies(self, given: Given, merged: Mapping[str, Any], faults: list[str]) -> tuple[Secret, ...]:
        """Only a missing or null proxy means direct; an empty one is a fault, never a way around."""
        declared = merged.get("proxy")
        if declared is None:
            return ()
        found = []
        if not declared:
            self._finding(given, "proxy", "the list of proxies is empty; write null for a direct way", faults)
        for written in declared:
            value = self._secret(written, given.where("proxy"))
            if isinstance(value, Unreadable):
                self._unreadable(given, "proxy", value, faults)
            elif not value:
                self._finding(given, "proxy", "the proxy is empty; write null for a direct way", faults)
            elif self.secrets.resolve or not has_reference(written):
                if fault := _proxy_fault(value):
                    if has_reference(written):
                        self._finding(given, "proxy", fault, faults)
                    else:
                        given.where("proxy").fail(fault)
                found.append(Secret(value))
            else:
                found.append(Secret(value))
        return tuple(found)

    def _secret(self, written: str, where: At, *, resolve: bool | None = None) -> str | Unreadable:
        if wrong := bad_reference(written):
            where.fail(f"{wrong.partition(':')[0][:20]}: a secret is ${{env:NAME}} or ${{file:PATH}}")
        try:
            return self.secrets.value(written, self.secrets.resolve if resolve is None else resolve)
        except Unreadable as error:
            return error

    def _unreadable(self, given: Given, name: str, error: Unreadable, faults: list[str]) -> None:
        faults.append(f"{name}: {UNREADABLE}")
        self.notes.findings.append(given.where(name).note(f"{UNREADABLE}: {error}"))

    def _finding(self, given: Given, name: str, message: str, faults: list[str]) -> None:
        faults.append(f"{name}: {message}")
        self.notes.findings.append(given.where(name).note(message))

    def _check_templates(self, given: Given, integration: Integration) -> None:
        """A customer's parameter may stand in no text that Meta or a log sees unhashed."""
        personal = set().union(*integration.customer_names.values())
        if bad := sorted(placeholders(integration.event_id) & personal):
            given.where("event_id").fail(f"{{{bad[0]}}} is a customer's parameter and may not stand in event_id")
        for rule in integration.mapping.rules.values():
            if rule and (bad := sorted(placeholders(rule.custom_data) & personal)):
                message = f"{rule.place}: {{{bad[0]}}} is a customer's parameter and may not stand in custom_data"
                given.where("mapping").fail(message)

    def _remark_on(self, given: Given, integration: Integration) -> None:
        if integration.test_event_code:
            message = "Meta counts events with a test code like all others; remove it when the test is over"
            self.notes.findings.append(given.where("test_event_code").note(message))
        if self.secrets.resolve and 0 < len(integration.token.reveal()) < 6:
            self.notes.remarks.append(given.where("token").note("so short a token cannot be masked in logs"))

    def _remark_on_names(self, integrations: list[Integration], tracker: Given) -> None:
        if any(each.event_source_url == "plain" for each in integrations):
            message = "event_source_url: plain sends the visited address as Meta documents it; Keitaro sends its hash"
            self.notes.remarks.append(tracker.at.note(message))
        if tracker.get("admin_api"):
            return
        for each in integrations:
            entry = next((entry for entry in each.campaigns if entry.isdecimal() or " " in entry), "")
            if entry:
                file, _, line = each.place.rpartition(":")
                self.notes.remarks.append(Note(file, int(line), 1, each.name, f'"{entry}" {_NO_ID_OR_NAME}'))


def _route(declared: tuple[str, ...] | None) -> str:
    return hashlib.sha256("\0".join(declared).encode()).hexdigest()[:16] if declared else ""


def _proxy_fault(url: str) -> str:
    """What is wrong with a proxy's URL, without the URL: it may hold a password."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "no proxy URL; write scheme://user:password@host:port"
    if parts.scheme not in _PROXY_SCHEMES:
        return f"unknown proxy scheme; allowed are {', '.join(_PROXY_SCHEMES)}"
    return "" if parts.hostname and port else "a proxy needs host and port: scheme://host:port"
