"""Real parts on free loopback ports: Nginx with the shipped files, Squid, the stand-in tracker.

Each is a context manager that starts on entry and is stopped on exit; none outlives the test run.
"""

import asyncio
import contextlib
import os
import pwd
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Self
from urllib.parse import quote

from sidecar.core.line import Line, parse_line

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "nginx"

#: Seconds until a wait gives up: far more than any state needs, so that a busy machine fails no test.
LIMIT = 30.0

#: Seconds in which Squid writes what it has to log, even on a busy machine.
_LOG_AT_REST = 0.3

_given: set[int] = set()


class PartFailed(AssertionError):
    """A part is missing, did not start or did not reach a state; the text says what to do or what its log says."""


def free_address() -> str:
    """A loopback address nobody listens on, below the ports that outgoing connections are given."""
    for _ in range(1000):
        port = random.randrange(15_000, 32_000)
        with socket.socket() as probe:
            if port not in _given and probe.connect_ex(("127.0.0.1", port)) != 0:
                _given.add(port)
                return f"127.0.0.1:{port}"
    raise PartFailed("no free port on 127.0.0.1")


def listens(address: str) -> bool:
    """Whether somebody accepts connections on host:port or unix:/path."""
    family = socket.AF_UNIX if address.startswith("unix:") else socket.AF_INET
    host, _, port = address.rpartition(":")
    with socket.socket(family) as probe:
        probe.settimeout(1)
        return probe.connect_ex(port if family == socket.AF_UNIX else (host, int(port))) == 0


def wait_until(condition: Callable[[], object], what: str, limit: float = LIMIT) -> None:
    """Until the condition holds; `what` completes "not reached: ..."."""
    end = time.monotonic() + limit
    while not condition():
        if time.monotonic() > end:
            raise PartFailed(f"not reached in {limit:.0f} s: {what}")
        time.sleep(0.02)


async def eventually(condition: Callable[[], object], what: str, limit: float = LIMIT) -> None:
    """`wait_until` for a test whose own event loop must go on."""
    end = time.monotonic() + limit
    while not condition():
        if time.monotonic() > end:
            raise PartFailed(f"not reached in {limit:.0f} s: {what}")
        await asyncio.sleep(0.02)


def installed(command: str, package: str) -> str:
    """The command's path; PartFailed says which package has it."""
    path = shutil.which(command, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if path is None:
        raise PartFailed(f"{command} is not installed: apt-get install {package} (or run tests/install-parts.sh)")
    return path


class Process:
    """A command of ours with its log; a subclass says when it is ready."""

    def __init__(self, name: str, command: Sequence[str], directory: Path, env: Mapping[str, str] | None = None):
        self.name = name
        self.command = [str(word) for word in command]
        self.directory = directory
        self.log_file = directory / f"{name}.log"
        self.env = {**os.environ, **(env or {})}
        #: Descriptors that it inherits, under their own numbers.
        self.descriptors: tuple[int, ...] = ()
        self._popen: subprocess.Popen[bytes] | None = None
        self._group: int | None = None

    def ready(self) -> bool:
        """Whether it does its work; asked until it says so."""
        return True

    @property
    def log(self) -> str:
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    @property
    def running(self) -> bool:
        return self._popen is not None and self._popen.poll() is None

    @property
    def pid(self) -> int:
        if self._popen is None:
            raise PartFailed(f"{self.name} was never started")
        return self._popen.pid

    @property
    def returncode(self) -> int | None:
        return None if self._popen is None else self._popen.poll()

    def start(self, limit: float = LIMIT) -> Self:
        """Start it and wait until it is ready. From the main thread: it is ended when the thread that began it ends."""
        self._begin()
        with self._explained():
            wait_until(self._settled, f"{self.name} is ready", limit)
        return self

    async def start_beside(self, limit: float = LIMIT) -> Self:
        """`start` for a part that needs a server of the test's own event loop to become ready."""
        self._begin()
        with self._explained():
            await eventually(self._settled, f"{self.name} is ready", limit)
        return self

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def stop(self, limit: float = LIMIT) -> int | None:
        """SIGTERM, and SIGKILL for what is left after the limit; the exit status."""
        if self._popen is None:
            return None
        if self.running:
            self.signal(signal.SIGTERM)
            try:
                self._popen.wait(limit)
            except subprocess.TimeoutExpired:
                self.kill()
        self._kill_group()
        return self._popen.returncode

    def kill(self) -> None:
        """SIGKILL, to its children too."""
        self._kill_group()
        if self._popen is not None:
            self._popen.wait()

    def restart(self) -> Self:
        self.stop()
        return self.start()

    def __enter__(self) -> Self:
        return self if self.running else self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _begin(self) -> None:
        if self.running:
            raise PartFailed(f"{self.name} is already running")
        # The kernel ends it when the test run dies, however that dies; what it starts itself is in its group.
        command = [installed("setpriv", "util-linux"), "--pdeathsig", "TERM", *self.command]
        with self.log_file.open("ab") as log:
            self._popen = subprocess.Popen(
                command,
                cwd=self.directory,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=self.descriptors,
            )
        self._group = self._popen.pid

    def _settled(self) -> bool:
        return not self.running or self.ready()

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except PartFailed as error:
            self.kill()
            raise PartFailed(f"{error}\n{self._tail()}") from None
        if not self.running:
            raise PartFailed(f"{self.name} ended with {self.returncode} before it was ready\n{self._tail()}")

    def _kill_group(self) -> None:
        """Once only: the number of a group that is gone may be given to another."""
        if self._group is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._group, signal.SIGKILL)
            self._group = None

    def _tail(self) -> str:
        return f"{' '.join(self.command)}\n{self.log[-4000:] or '(its log is empty)'}"


class Tracker(Process):
    """The stand-in tracker, without Nginx."""

    def __init__(self, directory: Path, address: str | None = None):
        self.address = address or free_address()
        program = str(Path(__file__).with_name("tracker.py"))
        super().__init__("tracker", [sys.executable, program, "--listen", self.address], directory)

    def ready(self) -> bool:
        return listens(self.address)


class Nginx(Process):
    """Nginx with the shipped files; only what they mark with `# edit` is changed.

    `server` is added to the server block as it stands. `journal` is the live file; `access_log` the site's own. With
    `http` that stands at http level, and the shipped files are laid by whoever says it.
    """

    def __init__(
        self,
        directory: Path,
        intake: str,
        tracker: str,
        *,
        workers: int = 2,
        server: str = "",
        address: str | None = None,
        journal: Path | None = None,
        http: str = "",
    ):
        self.address = address or free_address()
        self.url = f"http://{self.address}"
        self.journal = journal or directory / "journal.ndjson"
        self.access_log = directory / "access.log"
        self.error_log = directory / "error.log"
        edits = {
            "server 127.0.0.1:8190": f"server {intake}",
            "server 127.0.0.1:8080": f"server {tracker}",
            "/var/log/capi-sidecar/journal.ndjson": str(self.journal),
            "/var/log/nginx/access.log": str(self.access_log),
            "listen 80;": f"listen {self.address};",
            "server_name tracker.example.com;": f"server_name tracker.example.com;\n{server}",
        }
        if not http:
            render(directory, edits)
        main = directory / "nginx.conf"
        http = http or "include capi-sidecar/example-proxy.conf;"
        main.write_text(_main_conf(directory, self.error_log, workers, http))
        super().__init__("nginx", [installed("nginx", "nginx"), "-p", str(directory), "-c", str(main)], directory)

    def ready(self) -> bool:
        return listens(self.address)

    def workers(self) -> set[int]:
        """Process ids of the workers, those that end gracefully too."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
        return {int(word) for word in children.split()}

    def reload(self) -> None:
        """Read the configuration again; returns when a new worker is there."""
        before = self.workers()
        self.signal(signal.SIGHUP)
        wait_until(lambda: self.workers() - before, f"nginx has a new worker\n{self._tail()}")

    def rotate(self) -> Path:
        """As logrotate with nocompress: rename and USR1; the renamed file, into which workers still write a little."""
        older = sorted(self.journal.parent.glob(f"{self.journal.name}.*"), key=_generation, reverse=True)
        for path in older:
            path.rename(self.journal.with_name(f"{self.journal.name}.{_generation(path) + 1}"))
        renamed = self.journal.rename(self.journal.with_name(f"{self.journal.name}.1"))
        self.signal(signal.SIGUSR1)
        wait_until(self.journal.exists, "nginx has opened a new journal")
        return renamed

    def kill_worker(self) -> int:
        """SIGKILL one worker, as the kernel does when memory is short; its process id."""
        victim = min(self.workers())
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: self.workers() - {victim}, "nginx has another worker")
        return victim

    def raw_lines(self) -> list[bytes]:
        """Finished lines of all journals, the oldest file first."""
        older = sorted(self.journal.parent.glob(f"{self.journal.name}.*"), key=_generation, reverse=True)
        return [
            line
            for path in (*older, self.journal)
            if path.exists()
            for line in path.read_bytes().split(b"\n")[:-1]
        ]  # fmt: skip

    def lines(self, event: str = "") -> list[Line]:
        """Journal lines as the program reads them, all or those of one event (`click`, `postback`)."""
        parsed = [parse_line(raw) for raw in self.raw_lines()]
        return [line for line in parsed if not event or line.get("event") == event]


class Squid(Process):
    """Debian's Squid: plain and CONNECT to any port, for one user, who must say the password.

    Squid refuses to run as root, so its files lie in a directory of its own; `requests()` is its access log. A CONNECT
    is logged when its tunnel ends.
    """

    def __init__(self, directory: Path, user: str = "proxy", password: str = "secret", *, address: str | None = None):
        self.address = address or free_address()
        self.user, self.password = user, password
        self.url = f"http://{quote(user, safe='')}:{quote(password, safe='')}@{self.address}"
        self.home = Path(tempfile.mkdtemp(prefix="capi-squid-"))
        self.access_log = self.home / "access.log"
        conf = self.home / "squid.conf"
        conf.write_text(_squid_conf(self.home, self.address))
        (self.home / "users").write_text(f"{user}:{_hashed(password)}\n")
        command = [installed("squid", "squid"), "-N", "-f", str(conf)]
        if os.geteuid() == 0:
            account = pwd.getpwnam("proxy")
            for path in (self.home, *self.home.iterdir()):
                os.chown(path, account.pw_uid, account.pw_gid)
            command = ["setpriv", "--reuid=proxy", "--regid=proxy", "--clear-groups", "--pdeathsig=TERM", *command]
        super().__init__("squid", command, directory)

    def ready(self) -> bool:
        return listens(self.address)

    @property
    def log(self) -> str:
        cache_log = self.home / "cache.log"
        return super().log + (cache_log.read_text(errors="replace") if cache_log.exists() else "")

    def requests(self) -> list[tuple[str, str, int, str]]:
        """(method, target, status, user or `-`) of each finished request; connections that asked nothing left out.

        Squid writes a line a moment after its answer: the log is read when it has come to rest.
        """
        before, text = None, ""
        while text != before:
            before, text = text, self.access_log.read_text(errors="replace") if self.access_log.exists() else ""
            time.sleep(_LOG_AT_REST)
        rows = [line.split(" ") for line in text.splitlines()]
        return [(method, target, int(status), user) for method, target, status, user in rows if method != "-"]

    def stop(self, limit: float = LIMIT) -> int | None:
        """At once: Squid takes two seconds to end by itself, and has nothing to save."""
        self.kill()
        return self.returncode

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        shutil.rmtree(self.home, ignore_errors=True)


def render(directory: Path, edits: Mapping[str, str]) -> None:
    """The shipped files into DIRECTORY/capi-sidecar; each edit must meet a marked line, and only such a line."""
    target = directory / "capi-sidecar"
    target.mkdir(exist_ok=True)
    met: set[str] = set()
    for source in SHIPPED.glob("*.conf"):
        lines = []
        for line in source.read_text().splitlines():
            for old, new in edits.items():
                if old in line:
                    if not _EDIT.search(line):
                        raise PartFailed(f"{source.name}: {old!r} stands in a line without the mark `# edit`: {line}")
                    line = line.replace(old, new)
                    met.add(old)
            lines.append(line)
        (target / source.name).write_text("\n".join(lines) + "\n")
    if missing := edits.keys() - met:
        raise PartFailed(f"nginx/*.conf have no line with {sorted(missing)}")


_EDIT = re.compile(r"# edit\b")


def _main_conf(directory: Path, error_log: Path, workers: int, http: str) -> str:
    temporary = "\n".join(
        f"    {kind}_temp_path {directory}/tmp_{kind};"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )  # fmt: skip
    user = "user root;" if os.geteuid() == 0 else ""
    return f"""{user}
daemon off;
worker_processes {workers};
pid {directory}/nginx.pid;
error_log {error_log} warn;
events {{ worker_connections 1024; }}
http {{
{temporary}
    {http}
}}
"""


def _squid_conf(home: Path, address: str) -> str:
    return f"""http_port {address}
auth_param basic program /usr/lib/squid/basic_ncsa_auth {home}/users
auth_param basic children 2
auth_param basic realm acceptance
acl known proxy_auth REQUIRED
http_access allow known
http_access deny all
cache deny all
via off
forwarded_for delete
strip_query_terms off
logformat short %rm %ru %>Hs %un
access_log stdio:{home}/access.log short
cache_log {home}/cache.log
pid_filename none
coredump_dir {home}
max_filedescriptors 4096
shutdown_lifetime 0 seconds
pinger_enable off
visible_hostname squid.test
"""


def _hashed(password: str) -> str:
    command = [installed("openssl", "openssl"), "passwd", "-apr1", "-stdin"]
    return subprocess.run(command, input=password, capture_output=True, text=True, check=True).stdout.strip()


def _generation(path: Path) -> int:
    suffix = path.suffix.removeprefix(".")
    return int(suffix) if suffix.isdigit() else 0
