"""The rest of the house, as facts, and what is wrong with them. No fact holds a secret or a customer's value."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sidecar.doctor.finding import Found, Severity, Trap

#: Lines of one kind from which on their shares say something.
_ENOUGH = 20

#: Shares of clicks without a subid, and of postbacks without a click, that are worth a word.
_FEW = 0.5
_SOME = 0.1

#: Seconds of silence after which a journal is remarked on.
_SILENCE = 3600.0

#: Bytes and share of a disk that must be free.
_FREE = 200 << 20
_FREE_SHARE = 0.05


@dataclass(frozen=True, slots=True)
class Journal:
    """A journal's file; `fault` says why it cannot be read, `bad` why its last line is none of ours.

    `clicks` and `postbacks` count its last lines; `subids` and `fbclids` those clicks that have one; `strangers` are
    postbacks whose subid neither had a line among them nor is in the store.
    """

    path: str
    fault: str = ""
    mode: int = 0
    directory_mode: int = 0
    age: float | None = None
    bad: str = ""
    clicks: int = 0
    subids: int = 0
    fbclids: int = 0
    postbacks: int = 0
    strangers: int = 0


@dataclass(frozen=True, slots=True)
class Disk:
    """The file system of a directory, in bytes."""

    directory: str
    free: int
    total: int


@dataclass(frozen=True, slots=True)
class House:
    """What was seen; a fault is a text, empty where there is none.

    `configuration` are numbers of mistakes and findings; `unreadable` the places of secrets that cannot be read, which
    count if `may_read` says that we should be able to. `proxies` are host:port and the fault of those that do not
    answer. `clock` is None where the kernel does not tell.
    """

    config: str = ""
    mistakes: int = 0
    findings: int = 0
    unreadable: tuple[tuple[str, str], ...] = ()
    may_read: bool = False
    admin: str = ""
    daemon: str = ""
    problems: tuple[str, ...] = ()
    intake: str = ""
    intake_fault: str = ""
    journals: tuple[Journal, ...] = ()
    store: str = ""
    store_fault: str = ""
    store_mode: str = ""
    token: str = ""
    token_mode: int = 0
    disks: tuple[Disk, ...] = ()
    clock: bool | None = True
    proxies: tuple[tuple[str, str], ...] = ()


def _journal_unreadable(house: House) -> Iterator[Found]:
    for each in house.journals:
        if each.fault:
            yield Found(each.path, f"the journal cannot be read: {each.fault}")


def _journal_for_all(house: House) -> Iterator[Found]:
    for each in house.journals:
        if each.mode & 0o007:
            yield Found(each.path, f"everybody on this machine may use the journal: mode {each.mode:04o}",
                        f"chmod 0640 {each.path}")  # fmt: skip


def _journal_directory(house: House) -> Iterator[Found]:
    for each in house.journals:
        if not each.fault and not each.directory_mode & 0o2000:
            yield Found(_directory(each.path), f"the journal's directory has no setgid: mode {each.directory_mode:04o}",
                        f"chmod 2750 {_directory(each.path)}")  # fmt: skip


def _journal_silent(house: House) -> Iterator[Found]:
    for each in house.journals:
        if each.age is not None and each.age > _SILENCE:
            yield Found(each.path, f"the journal's last line is {_ago(each.age)} old")


def _journal_foreign(house: House) -> Iterator[Found]:
    for each in house.journals:
        if each.bad:
            yield Found(each.path, f"the journal's last line is none of capi-sidecar's: {each.bad}")


def _no_clicks(house: House) -> Iterator[Found]:
    for each in house.journals:
        if each.postbacks >= _ENOUGH and not each.clicks:
            yield Found(each.path, f"{each.postbacks} postbacks stand in the journal, and no click")


def _no_subids(house: House) -> Iterator[Found]:
    for each in house.journals:
        if each.clicks >= _ENOUGH and not each.subids:
            yield Found(each.path, f"of the last {each.clicks} clicks none has a subid")


def _few_subids(house: House) -> Iterator[Found]:
    for each in house.journals:
        if each.clicks >= _ENOUGH and 0 < each.subids < _FEW * each.clicks:
            yield Found(each.path, f"of the last {each.clicks} clicks {each.subids} have a subid")


def _no_fbclids(house: House) -> Iterator[Found]:
    for each in house.journals:
        if each.clicks >= _ENOUGH and not each.fbclids:
            yield Found(each.path, f"of the last {each.clicks} clicks none has an fbclid")


def _strangers(house: House) -> Iterator[Found]:
    for each in house.journals:
        if each.postbacks >= _ENOUGH and each.strangers > _SOME * each.postbacks:
            yield Found(
                each.path, f"of the last {each.postbacks} postbacks {each.strangers} have a subid without a click"
            )


def _mistakes(house: House) -> Iterator[Found]:
    if house.mistakes:
        yield Found(house.config, f"the configuration has {_counted(house.mistakes, 'mistake')} and is refused",
                    f"capi-sidecar check --config {house.config}")  # fmt: skip


def _findings(house: House) -> Iterator[Found]:
    if house.findings:
        yield Found(house.config, f"the configuration has {_counted(house.findings, 'finding')}",
                    f"capi-sidecar check --config {house.config}")  # fmt: skip


def _secrets(house: House) -> Iterator[Found]:
    yield from (Found(place, what) for place, what in house.unreadable if house.may_read)


def _secrets_unseen(house: House) -> Iterator[Found]:
    yield from (Found(place, what) for place, what in house.unreadable if not house.may_read)


def _daemon(house: House) -> Iterator[Found]:
    if house.daemon:
        yield Found(house.admin, house.daemon)


def _not_ready(house: House) -> Iterator[Found]:
    yield from (Found(house.admin, f"the daemon is not ready: {problem}") for problem in house.problems)


def _intake(house: House) -> Iterator[Found]:
    if house.intake_fault:
        yield Found(house.intake, f"nobody takes mirrored postbacks: {house.intake_fault}")


def _store(house: House) -> Iterator[Found]:
    if house.store_fault:
        yield Found(house.store, house.store_fault)


def _stand_in(house: House) -> Iterator[Found]:
    if house.store_mode not in ("", "live"):
        yield Found(house.store, f"the store is in mode {house.store_mode}: nothing is sent to Meta")


def _token(house: House) -> Iterator[Found]:
    if house.token_mode & 0o077:
        yield Found(house.token, f"others than the owner may use the admin token: mode {house.token_mode:04o}",
                    f"chmod 0600 {house.token}")  # fmt: skip


def _disks(house: House) -> Iterator[Found]:
    for each in house.disks:
        if each.free < _FREE or each.free < _FREE_SHARE * each.total:
            share = 100 * each.free // max(each.total, 1)
            yield Found(each.directory, f"{each.free >> 20} MB are free, {share} % of the disk")


def _clock(house: House) -> Iterator[Found]:
    if house.clock is False:
        yield Found("clock", "the kernel says that the clock is not synchronised")


def _proxies(house: House) -> Iterator[Found]:
    yield from (Found(place, f"the proxy does not answer: {fault}") for place, fault in house.proxies)


def _directory(path: str) -> str:
    return path.rpartition("/")[0] or "/"


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


def _ago(seconds: float) -> str:
    return f"{seconds / 86400:.0f} days" if seconds >= 2 * 86400 else f"{seconds / 3600:.0f} h"


HOUSE: Sequence[Trap[House]] = (
    Trap("journal-unreadable", Severity.WRONG, _journal_unreadable,
         "without it no click is known, and what the mirror misses is lost",
         "--journal FILE that Nginx writes; create 0640 www-data capi-sidecar in logrotate"),
    Trap("journal-world-readable", Severity.WRONG, _journal_for_all,
         "it holds e-mails, addresses and the postback key",
         "chmod 0640 JOURNAL"),
    Trap("journal-directory", Severity.REMARK, _journal_directory,
         "a journal that Nginx makes by itself then has a group that cannot read it",
         "install -d -m 2750 -o www-data -g capi-sidecar DIRECTORY"),
    Trap("journal-silent", Severity.REMARK, _journal_silent,
         "no click and no postback came, or Nginx writes another file",
         "capi-sidecar tap, and click an ad's link"),
    Trap("journal-foreign", Severity.REMARK, _journal_foreign,
         "such lines are set aside and counted",
         "access_log /var/log/capi-sidecar/journal.ndjson capi_sidecar if=$capi_sidecar_event;"),
    Trap("clicks-missing", Severity.WRONG, _no_clicks,
         "a postback without its click is not sent",
         "include capi-sidecar/capi-sidecar.location.conf;  # in the tracker's location"),
    Trap("clicks-without-subid", Severity.WRONG, _no_subids,
         "a click is found by its subid; it stands in the cookie or in a parameter of the redirect",
         "subid_from: [cookie, location:NAME]  # in tracker: of integrations.yaml"),
    Trap("clicks-few-subids", Severity.REMARK, _few_subids,
         "other redirects of the site stand among the clicks, or the subid is elsewhere",
         "subid_from: [cookie, location:NAME]  # in tracker: of integrations.yaml"),
    Trap("clicks-without-fbclid", Severity.REMARK, _no_fbclids,
         "Keitaro and capi-sidecar report only conversions of clicks with an fbclid",
         "compare the ad's link with fbclid_from of the integration"),
    Trap("postbacks-without-click", Severity.REMARK, _strangers,
         "clicks by the Click API, KClient JS and PHP never pass Nginx, and older ones came before the journal",
         "tracker.admin_api in integrations.yaml, or `campaign` and `fbclid` in the postback's URL"),
    Trap("configuration", Severity.WRONG, _mistakes,
         "the last good one stays in force, and the daemon does not start without one",
         "capi-sidecar check"),
    Trap("configuration-findings", Severity.WRONG, _findings,
         "an integration in error holds its events",
         "capi-sidecar check"),
    Trap("secrets", Severity.WRONG, _secrets,
         "the integration stands in error and holds its events",
         "install -D -m 0640 -g capi-sidecar FILE /etc/capi-sidecar/secrets/NAME"),
    Trap("secrets-unseen", Severity.REMARK, _secrets_unseen,
         "secrets are often readable only by the service",
         "sudo capi-sidecar doctor, or capi-sidecar check --secrets as the service's user"),
    Trap("daemon", Severity.WRONG, _daemon,
         "nothing is delivered; what Nginx writes to the journal waits",
         "systemctl status capi-sidecar, or capi-sidecar run"),
    Trap("daemon-not-ready", Severity.WRONG, _not_ready,
         "postbacks are not taken or not delivered",
         "capi-sidecar status"),
    Trap("intake", Severity.WRONG, _intake,
         "mirrored postbacks are lost there; the journal brings them later",
         "the same address as --intake of `capi-sidecar run` (CAPI_SIDECAR_INTAKE)"),
    Trap("store", Severity.WRONG, _store,
         "postbacks, clicks and deliveries are there and nowhere else",
         "--state DIR of `capi-sidecar run`, read as its owner"),
    Trap("store-mode", Severity.REMARK, _stand_in,
         "a store keeps the mode in which it was made",
         "capi-sidecar run with another --state, without --sandbox and --graph"),
    Trap("admin-token", Severity.WRONG, _token,
         "whoever has it sees subids and steers the queue",
         "chmod 0600 STATE/admin.token"),
    Trap("disk-space", Severity.WRONG, _disks,
         "on a full disk no postback is taken and the journal loses lines",
         "df -h, and make room"),
    Trap("clock", Severity.REMARK, _clock,
         "Meta refuses events of the future and those older than seven days",
         "timedatectl set-ntp true"),
    Trap("proxy", Severity.WRONG, _proxies,
         "nothing goes around a proxy: its integrations wait",
         "capi-sidecar check --online  # asks Meta through each of them"),
)  # fmt: skip
