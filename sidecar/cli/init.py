"""`capi-sidecar init nginx`: the files of nginx/ with this machine's paths, printed or written, never over another."""

import argparse
import pwd
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import sidecar
from sidecar.cli.exit import FOUND, OK, USAGE
from sidecar.net import parse_address

#: Where Keitaro keeps the files that its upgrades leave alone, in Nginx's directory.
HOOKS = Path("conf.d/local/keitaro")

#: Where the files may lie: in a checkout, beside an installed package, in a Debian package.
_SOURCES = (
    Path(sidecar.__file__).parents[1] / "nginx",
    Path(sys.prefix) / "share/capi-sidecar/nginx",
    Path("/usr/share/capi-sidecar/nginx"),
)

_OURS = Path("capi-sidecar")
_SHARED = {
    name: _OURS / name
    for name in (
        "capi-sidecar.http.conf",
        "capi-sidecar.server.conf",
        "capi-sidecar.location.conf",
        "capi-sidecar.postback.conf",
        "logrotate",
    )
}

#: What each kind of tracker needs: a file of nginx/, and where it belongs in Nginx's directory.
VARIANTS: dict[str, dict[str, Path]] = {
    "keitaro": {
        **_SHARED,
        "keitaro/00-capi-sidecar.conf": Path("conf.d/00-capi-sidecar.conf"),
        "keitaro/tracker.inc": HOOKS / "tracker.inc",
        "keitaro/server.inc": HOOKS / "server.inc",
    },
    "php-fpm": {**_SHARED, "example-php-fpm.conf": _OURS / "example-php-fpm.conf"},
    "proxy": {**_SHARED, "example-proxy.conf": _OURS / "example-proxy.conf"},
}

#: What the files say before they are filled in.
_INTAKE = "127.0.0.1:8190"
_JOURNAL = "/var/log/capi-sidecar/journal.ndjson"
_USER = "www-data"
_PID = "/run/nginx.pid"
_SOCKET = "/run/php/php-fpm.sock"

#: The journal of a checkout: the default of the other commands, and no place for Nginx.
_CHECKOUT = "var/journal.ndjson"

#: A path that Nginx, logrotate and a shell take as it stands.
_PLAIN = re.compile(r"/[\w./@:+-]+")


@dataclass(frozen=True, slots=True)
class Machine:
    """What is known of this machine's Nginx and PHP; `socket` is PHP-FPM's, empty when there is none."""

    directory: Path
    user: str
    pid: str
    socket: str


class State(StrEnum):
    """How a file stands that is to be written."""

    ABSENT = "absent"
    EMPTY = "empty"
    THERE = "there"
    DIFFERS = "differs"


def run(options: argparse.Namespace) -> int:
    """Prints, or with --to writes what is not there; 1 when a file is there that says something else."""
    journal = _JOURNAL if options.journal[0] == _CHECKOUT else str(Path(options.journal[0]).absolute())
    if mistake := _mistake(options.intake, journal):
        print(mistake, file=sys.stderr)
        return USAGE
    sources = next((path for path in _SOURCES if (path / "capi-sidecar.http.conf").is_file()), None)
    if sources is None:
        print(f"init nginx: its files are in none of {', '.join(map(str, _SOURCES))}", file=sys.stderr)
        return FOUND
    machine = look()
    directory = Path(options.to).absolute() if options.to else machine.directory
    variant = options.variant or detect(directory, machine)
    files = dict(fill(sources, directory, variant, machine, options.intake, journal))
    code = _write(files, options.dry_run) if options.to or options.dry_run else _print(files)
    print(_next(directory, variant, machine, journal), file=sys.stderr)
    return code


def look(root: Path = Path("/")) -> Machine:
    """Reads `nginx -V`, nginx.conf, the system's users and PHP-FPM's sockets."""
    built = _built()
    conf = root / built.get("conf-path", "/etc/nginx/nginx.conf").lstrip("/")
    text = conf.read_text(errors="replace") if conf.is_file() else ""
    # `php-fpm.sock`, which stays over PHP's upgrades, comes before `php8.2-fpm.sock`.
    sockets = sorted((root / "run/php").glob("*.sock"))
    return Machine(
        directory=conf.parent,
        user=_said(text, "user") or built.get("user") or _known_user(),
        pid=_said(text, "pid") or built.get("pid-path") or _PID,
        socket=str(sockets[0]) if sockets else "",
    )


def detect(directory: Path, machine: Machine) -> str:
    """The kind of tracker that this machine seems to have."""
    if (directory / HOOKS).is_dir():
        return "keitaro"
    return "php-fpm" if machine.socket else "proxy"


def fill(
    sources: Path, directory: Path, variant: str, machine: Machine, intake: str, journal: str
) -> Iterator[tuple[Path, str]]:
    """Each file's place and text."""
    edits = {
        f"server {_INTAKE} ": f"server {intake} ",
        _JOURNAL: journal,
        f" {_USER} ": f" {machine.user} ",
        _PID: machine.pid,
        _SOCKET: machine.socket or _SOCKET,
    }
    for name, place in VARIANTS[variant].items():
        yield directory / place, _edited((sources / name).read_text(), edits)


def state(path: Path, text: str) -> State:
    """THERE also when the file has each of our lines among others: a hook of Keitaro may do more."""
    try:
        found = path.read_text(errors="replace")
    except FileNotFoundError:
        return State.ABSENT
    if not found.strip():
        return State.EMPTY
    return State.DIFFERS if _lacking(found, text) else State.THERE


def _mistake(intake: str, journal: str) -> str:
    try:
        parse_address(intake)
    except ValueError as mistake:
        return f"--intake: {mistake}"
    if not _PLAIN.fullmatch(journal):
        return f"--journal: {journal}: of this path Nginx takes letters, digits and ./@:+_-"
    return ""


def _edited(text: str, edits: Mapping[str, str]) -> str:
    for old, new in edits.items():
        text = text.replace(old, new)
    return text


def _built() -> dict[str, str]:
    """The options with which Nginx was built: conf-path, pid-path, user, ..."""
    nginx = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if nginx is None:
        return {}
    said = subprocess.run([nginx, "-V"], capture_output=True, text=True, check=False, timeout=30).stderr
    return dict(re.findall(r"--([a-z-]+)=(\S+)", said))


def _said(conf: str, directive: str) -> str:
    found = re.search(rf"^\s*{directive}\s+([^\s;]+)", conf, re.MULTILINE)
    return found[1] if found else ""


def _known_user() -> str:
    """Debian's packages run the workers as www-data, nginx.org's as nginx."""
    names = {account.pw_name for account in pwd.getpwall()}
    return next((name for name in (_USER, "nginx") if name in names), _USER)


def _print(files: Mapping[Path, str]) -> int:
    for path, text in files.items():
        print(f"# ==> {path} <==\n{text}")
    return OK


def _write(files: Mapping[Path, str], dry: bool) -> int:
    code = OK
    for path, text in files.items():
        try:
            found = state(path, text)
            print(_told(found, path, text, dry))
            if found in (State.ABSENT, State.EMPTY) and not dry:
                _put(path, text, found)
        except OSError as fault:
            print(f"init nginx: {path}: {fault.strerror}", file=sys.stderr)
            return FOUND
        if found is State.DIFFERS:
            code = FOUND
    return code


def _put(path: Path, text: str, found: State) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Neither mode takes away what somebody else wrote meanwhile.
    with path.open("x" if found is State.ABSENT else "a") as file:
        file.write(text)


def _told(found: State, path: Path, text: str, dry: bool) -> str:
    match found:
        case State.ABSENT | State.EMPTY:
            return f"{'would write' if dry else 'wrote'}  {path}"
        case State.THERE:
            return f"has it  {path}"
        case State.DIFFERS:
            lacking = "".join(f"\n    lacks: {line}" for line in _lacking(path.read_text(errors="replace"), text))
            return f"differs, left as it is  {path}{lacking}"


def _lacking(found: str, text: str) -> list[str]:
    """Lines of a text that do something and do not stand in what was found."""
    there = {line.strip() for line in found.splitlines()}
    ours = [line.strip() for line in text.splitlines()]
    return [line for line in ours if line and not line.startswith("#") and line not in there]


def _next(directory: Path, variant: str, machine: Machine, journal: str) -> str:
    """What is left to do, as commands."""
    ours = directory / _OURS
    own = {
        "keitaro": [f"# In {directory / HOOKS} add by hand what was said to be lacking."],
        "php-fpm": _server(ours / "example-php-fpm.conf", directory),
        "proxy": _server(ours / "example-proxy.conf", directory),
    }
    return "\n".join(
        (
            "\nNext:",
            f"install -d -m 2750 -o {machine.user} -g capi-sidecar {Path(journal).parent}",
            # Else `nginx -t` makes it, for everybody to read.
            f"touch {journal} && chmod 0640 {journal} && chown {machine.user}:capi-sidecar {journal}",
            f"cp {ours / 'logrotate'} /etc/logrotate.d/capi-sidecar",
            *own[variant],
            "nginx -t && nginx -s reload",
            "capi-sidecar doctor",
            "# Switch off Keitaro's own Facebook Conversions integration for the same campaigns: else all goes twice.",
        )
    )


def _server(example: Path, directory: Path) -> list[str]:
    return [
        f"# Into your tracker's server, take over what {example} shows.",
        "# If it has none yet, begin with that file, and edit the lines that end with `# edit`:",
        f"cp {example} {directory / 'conf.d/tracker.conf'}",
    ]
