"""Looks at the house: files, sockets, disks and Nginx as they are now. Reads only, judges nothing."""

import contextlib
import ctypes
import os
import re
import shutil
import socket
import stat
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from glob import glob
from pathlib import Path

from sidecar.core.click import carried_click, is_subid, stands_alone
from sidecar.core.configuration import Configuration, Tracker
from sidecar.core.fbclid import has_fbclid
from sidecar.core.line import BadLine, Line, parse_line, read_click, read_postback
from sidecar.core.parameters import first_real
from sidecar.doctor.house import Disk, Journal
from sidecar.graph.proxy import parse_proxy
from sidecar.journal.files import files_of
from sidecar.net import UnixAddress, parse_address
from sidecar.store.contract import StoreRefused
from sidecar.store.reading import read_click as read_stored_click

#: Lines of a journal that are looked at, and bytes of one file at most.
_LINES = 5_000
_BYTES = 16 << 20

#: Subids that are looked for in the store, at most.
_ASKED = 500

#: Seconds for a connection, and for Nginx to print its configuration.
_CONNECT = 3.0
_NGINX = 30.0

#: What adjtimex(2) answers when the clock is not synchronised.
_TIME_ERROR = 5

_LOGROTATE = ("/etc/logrotate.conf", "/etc/logrotate.d/*")


@dataclass(frozen=True, slots=True)
class Printed:
    """What `nginx -T` printed, or why it did not; `refused` when Nginx finds a mistake in its configuration."""

    dump: str = ""
    fault: str = ""
    refused: bool = False
    version: tuple[int, ...] = ()


def nginx() -> Printed:
    """Asks the installed Nginx for its version and its whole configuration."""
    command = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/local/nginx/sbin")
    if command is None:
        return Printed(fault="nginx is not installed here")
    try:
        said = subprocess.run([command, "-v"], capture_output=True, text=True, errors="replace", timeout=_NGINX)
        done = subprocess.run([command, "-T"], capture_output=True, text=True, errors="replace", timeout=_NGINX)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Printed(fault=f"{command} -T: {getattr(error, 'strerror', None) or 'no answer'}")
    number = re.search(r"nginx/([\d.]+)", said.stderr)
    version = tuple(int(part) for part in number[1].split(".")) if number else ()
    if done.returncode == 0:
        return Printed(done.stdout, version=version)
    words = next((line for line in done.stderr.splitlines() if "[emerg]" in line), done.stderr.strip()[:200])
    denied = "Permission denied" in words or os.geteuid() != 0
    return Printed(fault=f"{command} -T: {words.removeprefix('nginx: ')}", refused=not denied, version=version)


def logrotate(files: Sequence[str]) -> dict[str, str]:
    """The texts of these files, else of the system's own. Raises OSError for one that is named."""
    if files:
        return {path: Path(path).read_text(errors="replace") for path in files}
    texts = {}
    for path in (each for pattern in _LOGROTATE for each in sorted(glob(pattern))):
        with contextlib.suppress(OSError):
            texts[path] = Path(path).read_text(errors="replace")
    return texts


def journal(path: Path, configuration: Configuration | None, store: Path, now: float) -> Journal:
    """A journal, with what its last lines say together; `store` is the file of the store."""
    try:
        directory_mode = stat.S_IMODE(path.parent.stat().st_mode)
        mode = stat.S_IMODE(path.stat().st_mode)
        raw = _last_lines(path)
    except OSError as error:
        return Journal(str(path), error.strerror or "not readable")
    lines, bad = [], ""
    for each in raw:
        bad = ""
        try:
            lines.append(parse_line(each))
        except BadLine as error:
            bad = str(error)
    tracker = configuration.tracker if configuration else Tracker()
    names = configuration.fbclid_names if configuration else ("fbclid",)
    clicks = [read_click(line, tracker) for line in lines if line["event"] == "click"][-_LINES:]
    known = [click for click in clicks if click]
    subids = {click.subid for click in known}
    postbacks = [line for line in lines if line["event"] == "postback"][-_LINES:]
    return Journal(
        str(path),
        mode=mode,
        directory_mode=directory_mode,
        age=max(0.0, now - float(lines[-1]["time"])) if lines else None,
        bad=bad,
        clicks=len(clicks),
        subids=len(known),
        fbclids=sum(has_fbclid(click, ("fbclid", *names)) for click in known),
        postbacks=len(postbacks),
        strangers=_strangers(postbacks, subids, tracker, store),
    )


def disk(directory: Path) -> Disk | None:
    """The file system of a directory, or of the one in which it would be made."""
    there = next((each for each in (directory.absolute(), *directory.absolute().parents) if each.is_dir()), None)
    if there is None:
        return None
    usage = shutil.disk_usage(there)
    return Disk(str(directory), usage.free, usage.total)


def clock_is_right() -> bool | None:
    """Whether the kernel believes its clock to be synchronised; None where it does not tell. Source: adjtimex(2)."""
    try:
        # A structure of zeros asks and changes nothing; it is 208 bytes long on 64-bit machines.
        state = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(512))
    except (OSError, AttributeError):
        return None
    return None if state < 0 else state != _TIME_ERROR


def unreachable(address: str) -> str:
    """Why nobody takes a connection at an address; empty when somebody does. Raises ValueError for no address."""
    where = parse_address(address)
    try:
        if isinstance(where, UnixAddress):
            with socket.socket(socket.AF_UNIX) as probe:
                probe.settimeout(_CONNECT)
                probe.connect(where.path)
        else:
            socket.create_connection((where.host, where.port), _CONNECT).close()
    except OSError as error:
        return error.strerror or "no answer"
    return ""


def dead_proxies(configuration: Configuration) -> tuple[tuple[str, str], ...]:
    """Host and port of each proxy that takes no connection, and why. No login is sent, and none is said."""
    places = list(dict.fromkeys(_proxies(configuration)))
    with ThreadPoolExecutor(16) as pool:
        faults = list(pool.map(_fault_of, places))
    return tuple((place, fault) for place, fault in zip(places, faults, strict=True) if fault)


def resolves(name: str) -> bool:
    """Whether this machine knows a name."""
    try:
        return bool(socket.getaddrinfo(name, None))
    except (OSError, UnicodeError):
        return False


def mode_of(path: Path) -> int:
    """The mode of a file; 0 when there is none."""
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return 0


def _last_lines(path: Path) -> list[bytes]:
    """The last lines of a journal, the oldest first, from its rotated files too. Raises OSError."""
    found: list[bytes] = []
    path.open("rb").close()
    for file in reversed(files_of(path)):
        with file.path.open("rb") as stream:
            stream.seek(max(0, file.size - _BYTES))
            lines = stream.read(_BYTES).split(b"\n")[:-1]
        found = (lines[1:] if file.size > _BYTES else lines) + found
        if len(found) >= _LINES:
            break
    return [line for line in found if line]


def _strangers(postbacks: Sequence[Line], subids: set[str], tracker: Tracker, store: Path) -> int:
    """Postbacks of ours whose click neither stands among these nor in the store."""
    unknown = [subid for line in postbacks if (subid := _lonely(line, tracker)) and subid not in subids]
    try:
        return sum(read_stored_click(store, subid) is None for subid in unknown[-_ASKED:])
    except (OSError, StoreRefused):
        return 0


def _lonely(line: Mapping[str, str], tracker: Tracker) -> str:
    """The subid of a postback that needs a click; empty for one of another key, or that brings its own."""
    postback = read_postback(line)
    keys = tracker.postback_keys
    subid = first_real(postback.parameters, ("subid", "sub_id"))
    if not is_subid(subid) or (keys is not None and postback.key not in [each.reveal() for each in keys]):
        return ""
    carried = carried_click(postback, subid)
    return "" if carried and stands_alone(carried) else subid


def _proxies(configuration: Configuration) -> Iterator[str]:
    for integration in configuration.integrations:
        for proxy in integration.proxies:
            with contextlib.suppress(ValueError):
                yield parse_proxy(proxy).place


def _fault_of(place: str) -> str:
    try:
        return unreachable(place)
    except ValueError:
        return "no address"
