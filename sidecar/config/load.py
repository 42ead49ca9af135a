"""From a directory of YAML to one configuration, or to all that is wrong with it."""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from sidecar.config import declaration
from sidecar.config.bytes import read_file
from sidecar.config.faults import key_fault, postback_key_fault, proxy_fault, token_fault, url_fault
from sidecar.config.git import commit_of, git_directory
from sidecar.config.parse import parse
from sidecar.config.secrets import Resolve, Secrets, Unreadable, has_bad_reference, has_reference
from sidecar.config.shape import MISSING, At, Given, Note, Notes, pairs, suggestion
from sidecar.core.configuration import (
    AdminApi,
    Brake,
    Canary,
    Configuration,
    DataProcessing,
    Graph,
    Integration,
    Retention,
    StatusMapping,
    Tracker,
)
from sidecar.core.meta import STANDARD_EVENTS
from sidecar.core.secret import NO_SECRET, Secret
from sidecar.core.status import KNOWN, Status, canonical, normalise
from sidecar.core.template import placeholders

MAIN = "integrations.yaml"
FOLDERS = ("integrations.d", "mappings")

#: Faults whose text begins so are a remark of `check`, and a finding with `--secrets`.
UNREADABLE = "secret cannot be read"

#: Keys of an integration that become its fields unchanged.
_AS_GIVEN = (
    "pixels", "campaigns", "paused", "test_event_code", "api_version", "event_source_url", "event_id", "fbclid_from",
    "fbp_from", "fbc_from", "only", "customer",
)  # fmt: skip

_PLAIN = "plain sends the visited address as Meta documents it; Keitaro sends its hash"
_NO_ID_OR_NAME = "looks like a campaign id or name; without tracker.admin_api only aliases and domains match"


@dataclass(frozen=True)
class Loaded:
    """A configuration with what there is to say about it; None when a mistake refuses it.

    `texts` are the YAML files by name; `files` are all that it was read from, secret files included: a change in one
    of them is a changed configuration.
    """

    configuration: Configuration | None
    notes: Notes
    files: tuple[Path, ...]
    hash: str
    texts: Mapping[str, bytes] = field(default_factory=dict)


def load(
    directory: Path,
    *,
    resolve: Resolve,
    environment: Mapping[str, str] | None = None,
    secrets_beside: Path | None = None,
) -> Loaded:
    """Reads integrations.yaml, integrations.d/*.yaml and mappings/*.yaml of a directory.

    A postback_key that is a reference and is not resolved accepts any key. Relative secret files are looked for beside
    the configuration, or in `secrets_beside` where what is read is a copy of it.
    """
    variables = os.environ if environment is None else environment
    secrets = Secrets(secrets_beside or directory, variables, resolve is Resolve.ALL)
    reading = _Reading(directory, secrets, resolve is not Resolve.NOTHING)
    configuration = reading.configuration()
    digest = reading.digest()
    if reading.notes.mistakes:
        configuration = None
    if configuration is not None:
        configuration = replace(configuration, hash=digest, commit=commit_of(directory))
    for notes in (reading.notes.mistakes, reading.notes.findings, reading.notes.remarks):
        notes[:] = sorted(set(notes))
    files = (*(directory / name for name in reading.texts), *sorted(reading.secrets.files))
    return Loaded(configuration, reading.notes, files, digest, reading.texts)


def yaml_files(directory: Path) -> list[str]:
    """The files of a configuration in the order in which they count, relative to its directory."""
    found = [MAIN]
    for folder in FOLDERS:
        found += sorted(f"{folder}/{path.name}" for path in (directory / folder).glob("*.yaml") if path.is_file())
    return found


@dataclass
class _Reading:
    directory: Path
    secrets: Secrets
    resolves_key: bool
    notes: Notes = field(default_factory=Notes)
    texts: dict[str, bytes] = field(default_factory=dict)
    #: The user_data key that each customer's parameter fills, and where that was first said.
    customer: dict[str, tuple[str, str]] = field(default_factory=dict)
    #: The words of tracker.statuses by the status that they become.
    statuses: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    #: By name; None for a file that has a mistake.
    mappings: dict[str, StatusMapping | None] = field(default_factory=dict)

    def configuration(self) -> Configuration | None:
        self._remark_on_yml()
        files = yaml_files(self.directory)
        roots = {name: self._parse(name) for name in files}
        for name, at in roots.items():
            if name.startswith("mappings/"):
                stem = Path(name).stem
                rules = declaration.rules(at) if at is not None else MISSING
                self.mappings[stem] = StatusMapping(stem, rules, name) if rules is not MISSING else None
        main = roots[MAIN]
        given = declaration.main_file(main) if main is not None else MISSING
        declared: list[Given] = list(given.get("integrations", ())) if given is not MISSING else []
        for name, at in roots.items():
            if name.startswith("integrations.d/") and at is not None:
                further = declaration.further_file(at)
                declared += further.get("integrations", ()) if further is not MISSING else ()
        if given is MISSING:
            return None
        tracker = given.get("tracker") or Given(given.where("tracker"))
        self.statuses = tracker.get("statuses", {})
        for name, at in roots.items():
            if at is not None and self.mappings.get(Path(name).stem) and name.startswith("mappings/"):
                self._check_reach(at)
        defaults = given.get("defaults") or Given(given.where("defaults"))
        integrations = self._integrations(declared, defaults, tracker)
        if "tracker" not in given:
            return None
        pairs = zip(declared, integrations, strict=True)
        if plain := next((own for own, each in pairs if each.event_source_url == "plain"), None):
            self.notes.remarks.append(_where(plain, defaults, "event_source_url").note(_PLAIN))
        brake = dict(given.get("brake", {}))
        if "share" in brake:
            brake["share"] = float(brake["share"])
        return Configuration(
            tracker=self._tracker(tracker),
            integrations=tuple(integrations),
            retention=Retention(**given.get("retention", {})),
            graph=Graph(**given.get("graph", {})),
            brake=Brake(**brake),
            canary=Canary(**{name: value for name, value in given.get("canary", {}).items() if value is not None}),
        )

    def digest(self) -> str:
        """The hash of everything that was read, secrets included."""
        total = hashlib.sha256()
        parts = [(name, hashlib.sha256(content).hexdigest()) for name, content in self.texts.items()]
        parts += sorted(self.secrets.digests.items())
        for name, digest in parts:
            total.update(f"{name}\0{digest}\0".encode("utf-8", "surrogateescape"))
        return total.hexdigest()[:16]

    def _parse(self, name: str) -> At | None:
        try:
            content = read_file(self.directory / name)
        except OSError as error:
            hint = f"; --config names the directory that holds {MAIN}" if name == MAIN else ""
            self.notes.mistakes.append(Note(name, 1, 1, "", f"cannot be read: {error.strerror}{hint}"))
            return None
        self.texts[name] = content
        return parse(name, content, self.notes)

    def _remark_on_yml(self) -> None:
        found = [self.directory / f"{Path(MAIN).stem}.yml"]
        for folder in (*FOLDERS, "tests"):
            found += (self.directory / folder).glob("*.yml")
        for path in filter(Path.is_file, found):
            name = path.relative_to(self.directory).as_posix()
            self.notes.remarks.append(Note(name, 1, 1, "", f"not read; rename it to {path.stem}.yaml, or move it away"))

    def _tracker(self, given: Given) -> Tracker:
        names = {"currency", "click_wait", "subid_from", "trusted", "cdn", "first_start", "waiting_max", "statuses"}
        own = {name: value for name, value in given.items() if name in names}
        if given.get("geoip"):
            own["geoip"] = self._geoip(given["geoip"], given.where("geoip"))
        if given.get("admin_api"):
            own["admin_api"] = self._admin_api(given["admin_api"])
        return Tracker(postback_keys=self._postback_keys(given), **own)

    def _postback_keys(self, given: Given) -> tuple[Secret, ...] | None:
        keys = given.get("postback_key", ())
        where = given.where("postback_key")
        if not self.resolves_key and any(map(has_reference, keys)):
            return None
        if "postback_key" in given and not keys:
            where.fail("the list of keys is empty; name the part before /postback in the tracker's postback URL")
        found = []
        for written, place in zip(keys, where.items(), strict=False):
            value = self._secret(written, place, resolve=True)
            if isinstance(value, Unreadable):
                place.fail(f"{UNREADABLE}: {value}; without the key no postback can be known")
            elif fault := postback_key_fault(value):
                place.fail(fault)
            else:
                found.append(Secret(value))
        return tuple(found)

    def _admin_api(self, given: Given) -> AdminApi:
        url, key, proxy = (self._of_admin_api(given, name) for name in ("url", "key", "proxy"))
        return AdminApi(url.reveal() if url else "", key or NO_SECRET, proxy)

    def _of_admin_api(self, given: Given, name: str) -> Secret | None:
        if given.get(name) is None:
            return None
        where = given.where(name)
        value = self._secret(given[name], where)
        if isinstance(value, Unreadable):
            where.fail(f"{UNREADABLE}: {value}")
            return None
        if self._is_resolved(given[name]) and (fault := _ADMIN_API_FAULTS[name](value)):
            where.fail(fault)
        return Secret(value)

    def _geoip(self, written: str, where: At) -> str:
        """The absolute path; a relative one is beside the configuration. Without its database events lack a place."""
        path = (self.secrets.directory / written).absolute()
        if self.secrets.resolve and (fault := _database_fault(path)):
            self.notes.findings.append(where.note(f"{path}: {fault}; events go without the place of the visitor"))
        return str(path)

    def _integrations(self, declared: list[Given], defaults: Given, tracker: Given) -> list[Integration]:
        names: dict[str, Given] = {}
        built = []
        for given in declared:
            name = given.get("name")
            if name is not None and names.setdefault(name, given) is not given:
                first = names[name].where("name")
                given.where("name").fail(f'an integration "{name}" stands in {first.place} too; names are unique')
            built.append(self._integration(given, defaults, tracker))
        return built

    def _integration(self, given: Given, defaults: Given, tracker: Given) -> Integration:
        """An integration; incomplete where a mistake was noted, which refuses it with all others."""
        shared = {name: tracker[name] for name in ("fbclid_from", "fbp_from", "fbc_from") if name in tracker}
        merged = {**shared, **defaults, **given}
        mapping = self._mapping(given, merged, defaults)
        self._check_pixel_id(given, merged, defaults)
        faults: list[str] = []
        token = self._token(given, merged, defaults, faults)
        proxies = self._proxies(given, merged, defaults, faults)
        if not merged.get("campaigns") and not _is_misread(given, defaults, "campaigns"):
            self._finding(given, "campaigns", "no campaign is named, so no conversion is sent", faults)
        processing = merged.get("data_processing") or {}
        integration = Integration(
            name=given.get("name", ""),
            pixel_id=merged.get("pixel_id", ""),
            mapping=mapping or StatusMapping("", {}),
            token=token,
            proxies=proxies,
            route=_route(merged.get("proxy")),
            data_processing=DataProcessing(**processing) if "options" in processing else None,
            error="; ".join(faults),
            place=given.at.place,
            token_place=_where(given, defaults, "token").place,
            proxy_place=_where(given, defaults, "proxy").place,
            **{name: merged[name] for name in _AS_GIVEN if merged.get(name) is not None},
        )
        self._check_templates(given, defaults, integration)
        self._check_customer(given, defaults, integration)
        self._remark_on(given, integration)
        if not tracker.get("admin_api"):
            self._remark_on_campaigns(given, integration)
        return integration

    def _check_pixel_id(self, given: Given, merged: Mapping[str, Any], defaults: Given) -> None:
        if "pixel_id" not in merged and not _is_misread(given, defaults, "pixel_id"):
            given.at.fail("pixel_id is missing")
        if placeholders(merged.get("pixel_id")) and not merged.get("pixels"):
            where = _where(given, defaults, "pixel_id")
            where.fail("a placeholder needs pixels: [...], the list of allowed pixel ids")

    def _mapping(self, given: Given, merged: Mapping[str, Any], defaults: Given) -> StatusMapping | None:
        where = _where(given, defaults, "mapping")
        mapping = merged.get("mapping")
        if mapping is None:
            if not _is_misread(given, defaults, "mapping"):
                given.at.fail("mapping is missing; name a file of mappings/ or write the rules here")
            return None
        if isinstance(mapping, dict):
            self._check_reach(where)
            return StatusMapping("inline", mapping, where.place)
        if mapping not in self.mappings:
            where.fail(f'no mapping "{mapping}"; {suggestion(mapping, self.mappings)}')
        return self.mappings.get(mapping)

    def _check_reach(self, rules: At) -> None:
        """A rule for a status that no word becomes. The known ones always come: by a list in the postback's URL."""
        for name, node in pairs(rules) if self.statuses else ():
            status = canonical(str(name.value).strip())
            other = _other_status(status, self.statuses)
            if status not in KNOWN and other:
                message = (
                    f'never used: tracker.statuses turns "{status}" into {other}; '
                    f"write the rule for {other}, or take {status} from that list"
                )
                self.notes.findings.append(rules.child(name, rules.under(str(name.value), node).path).note(message))

    def _token(self, given: Given, merged: Mapping[str, Any], defaults: Given, faults: list[str]) -> Secret:
        value = self._secret(merged.get("token") or "", _where(given, defaults, "token"))
        if isinstance(value, Unreadable):
            self._unreadable(given, "token", value, faults)
            return Secret("")
        if not value and not _is_misread(given, defaults, "token"):
            self._finding(given, "token", f"the token is {'empty' if 'token' in merged else 'missing'}", faults)
        if fault := token_fault(value):
            self._finding(given, "token", fault, faults)
        if value and not has_reference(merged["token"]) and git_directory(self.directory):
            message = "the token itself stands here, and git keeps it for ever; write ${file:PATH} or ${env:NAME}"
            self.notes.remarks.append(_where(given, defaults, "token").note(message))
        return Secret(value)

    def _proxies(
        self, given: Given, merged: Mapping[str, Any], defaults: Given, faults: list[str]
    ) -> tuple[Secret, ...]:
        """Only a missing or null proxy means direct; an empty one is a fault, never a way around."""
        declared = merged.get("proxy")
        if declared is None:
            return ()
        found = []
        if not declared:
            self._finding(given, "proxy", "the list of proxies is empty; write null for a direct way", faults)
        for written, where in zip(declared, _where(given, defaults, "proxy").items(), strict=False):
            value = self._secret(written, where)
            if isinstance(value, Unreadable):
                self._unreadable(given, "proxy", value, faults)
                continue
            fault = proxy_fault(value) if self._is_resolved(written) else ""
            if fault and (has_reference(written) or not value):
                self._finding(given, "proxy", fault, faults)
            elif fault:
                where.fail(fault)
            found.append(Secret(value))
        return tuple(found)

    def _is_resolved(self, written: str) -> bool:
        return self.secrets.resolve or not has_reference(written)

    def _secret(self, written: str, where: At, *, resolve: bool | None = None) -> str | Unreadable:
        if has_bad_reference(written):
            where.fail("no such reference; a secret is ${env:NAME} or ${file:PATH}")
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

    def _check_templates(self, given: Given, defaults: Given, integration: Integration) -> None:
        """A customer's parameter may stand in no text that Meta or a log sees unhashed."""
        personal = set().union(*integration.customer_names.values())
        for key in ("event_id", "event_source_url", "pixel_id"):
            if bad := sorted(placeholders(getattr(integration, key)) & personal):
                where = _where(given, defaults, key)
                where.fail(f"{{{bad[0]}}} is a customer's parameter and may not stand in {key}")
        for rule in integration.mapping.rules.values():
            if rule and (bad := sorted(placeholders(rule.custom_data) & personal)):
                message = f"{rule.place}: {{{bad[0]}}} is a customer's parameter and may not stand in custom_data"
                _where(given, defaults, "mapping").fail(message)

    def _check_customer(self, given: Given, defaults: Given, integration: Integration) -> None:
        """A stored value is the hash of one key's normal form: a parameter cannot be two of them."""
        for key, names in integration.customer_names.items():
            for name in names:
                other, place = self.customer.setdefault(name, (key, integration.place))
                if other != key:
                    message = f"parameter {name} is {key} here and {other} in {place}; it can be one of them only"
                    _where(given, defaults, "customer").fail(message)

    def _remark_on(self, given: Given, integration: Integration) -> None:
        for rule in filter(None, integration.mapping.rules.values()):
            if rule.event not in STANDARD_EVENTS and (near := get_close_matches(rule.event, STANDARD_EVENTS, 1, 0.8)):
                file, _, line = rule.place.rpartition(":")
                message = f"{rule.event} is no standard event of Meta's; did you mean {near[0]}?"
                self.notes.remarks.append(Note(file, int(line), 1, "", message))
        if integration.test_event_code:
            message = "Meta counts events with a test code like all others; remove it when the test is over"
            self.notes.findings.append(given.where("test_event_code").note(message))
        if self.secrets.resolve and 0 < len(integration.token.reveal()) < 6:
            self.notes.remarks.append(given.where("token").note("so short a token cannot be masked in logs"))

    def _remark_on_campaigns(self, given: Given, integration: Integration) -> None:
        for entry in integration.campaigns:
            if entry.isdecimal() or " " in entry:
                self.notes.remarks.append(given.where("campaigns").note(f'"{entry}" {_NO_ID_OR_NAME}'))
                return


def _where(given: Given, defaults: Given, name: str) -> At:
    """The place of a key of an integration: its own, or that of `defaults`."""
    return defaults.where(name) if name in defaults.places and name not in given.places else given.where(name)


def _other_status(status: str, statuses: Mapping[str, tuple[str, ...]]) -> str:
    """What becomes of the word for a status that neither it nor any other word becomes; else an empty text."""
    made = [normalise({"status": (word,)}, statuses, ()) for word in (status, *statuses.get(status, ()))]
    found = [each.name for each in made if isinstance(each, Status)]
    return found[0] if found and status not in found else ""


def _is_misread(given: Given, defaults: Given, name: str) -> bool:
    """Whether a key stands there with a mistake that was noted already."""
    source = given if name in given.places else defaults
    return name in source.places and name not in source


def _database_fault(path: Path) -> str:
    """What keeps a MaxMind database from being opened; empty when nothing does."""
    try:
        if not path.is_file() and path.exists():
            return "not a file"
        path.open("rb").close()
    except (OSError, ValueError) as error:
        return getattr(error, "strerror", None) or "no file can have this name"
    import maxminddb  # only for those who have a database: it would slow every check down

    try:
        maxminddb.open_database(path, maxminddb.MODE_FILE).close()
    except Exception:  # InvalidDatabaseError, and what else strange bytes make of a parser
        return "no MaxMind database; unpacked its name ends in .mmdb"
    return ""


def _route(declared: tuple[str, ...] | None) -> str:
    return hashlib.sha256("\0".join(declared).encode()).hexdigest()[:16] if declared else ""


#: What can be wrong with each text of tracker.admin_api.
_ADMIN_API_FAULTS = {"url": url_fault, "key": key_fault, "proxy": proxy_fault}
