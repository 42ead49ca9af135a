"""A Debian 12 of the test's own, booted with its systemd: systemd-nspawn on a tree that debootstrap made."""

import fcntl
import hashlib
import os
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import IO, Self

from tests.acceptance.parts import PartFailed, installed, wait_until

#: What stands on it beside the smallest Debian: what the package depends on, and the Nginx and git that it works with.
PACKAGES = (
    "systemd", "systemd-sysv", "dbus", "init-system-helpers", "python3", "ca-certificates", "logrotate", "nginx-light",
    "git",
)  # fmt: skip

#: Seconds until the machine has booted, or a command on it has ended.
PATIENCE = 120.0

_CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "capi-sidecar"

_NEEDED = (
    "A machine cannot be booted here: that needs root with all capabilities, and a /sys/fs/cgroup that can be written "
    "(in a container: --privileged)"
)

_ENVIRONMENT = ("env", "-i", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8",
                "HOME=/root", "SYSTEMD_PAGER=", "DEBIAN_FRONTEND=noninteractive")  # fmt: skip


class Machine:
    """Booted on entry, gone on exit. One at a time on a host: they share a control group."""

    def __init__(self) -> None:
        self._needs()
        _CACHE.mkdir(parents=True, exist_ok=True)
        self._lock: IO[str] = (_CACHE / "lock").open("w")
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        for left in _CACHE.glob("machine-*"):  # by a run that was killed
            shutil.rmtree(left, ignore_errors=True)
        self.root = Path(tempfile.mkdtemp(prefix="machine-", dir=_CACHE))
        self.root.chmod(0o755)
        self._nspawn: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        subprocess.run(["cp", "-a", "--reflink=auto", f"{_base()}/.", self.root], check=True)
        self._console = (self.root / "console.log").open("wb")
        # With no systemd on the host there is nobody to register with, and no unit of its own to be given.
        bare = [] if Path("/run/systemd/system").exists() else ["--keep-unit"]
        # The kernel ends it when the test run dies, however that dies.
        command = ["setpriv", "--pdeathsig", "TERM", "systemd-nspawn", "--quiet", "--register=no", *bare, "--boot",
                   "--private-network", "--console=pipe", f"--directory={self.root}"]  # fmt: skip
        self._nspawn = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=self._console, stderr=self._console, start_new_session=True
        )
        try:
            wait_until(self._leader, "nspawn has started a machine", PATIENCE)
            wait_until(lambda: self.run("systemctl", "is-system-running", check=False).stdout.strip() in
                       ("running", "degraded"), "its systemd has booted", PATIENCE)  # fmt: skip
        except PartFailed as error:
            told = (self.root / "console.log").read_text(errors="replace")[-2000:]
            self.__exit__()
            raise PartFailed(f"{error}\n{_NEEDED}. systemd-nspawn says:\n{told}") from None
        return self

    def __exit__(self, *_: object) -> None:
        if self._nspawn:
            for _again in range(2):  # the second SIGTERM ends it without waiting for its services
                self._nspawn.terminate()
                try:
                    self._nspawn.wait(10)
                    break
                except subprocess.TimeoutExpired:
                    continue
            self._nspawn.kill()
            self._nspawn.wait()
            self._console.close()
        shutil.rmtree(self.root, ignore_errors=True)
        self._lock.close()

    def run(self, *command: str, check: bool = True, input: str = "") -> subprocess.CompletedProcess[str]:
        """A command as root on the machine. AssertionError with its words when it fails."""
        done = subprocess.run(
            [*self._entered(), *command], capture_output=True, text=True, input=input, timeout=PATIENCE
        )
        assert not check or done.returncode == 0, (
            f"{shlex.join(command)}: {done.returncode}\n{done.stdout}{done.stderr}"
        )
        return done

    def out(self, *command: str) -> str:
        """What a command prints."""
        return self.run(*command).stdout

    def begin(self, *command: str) -> subprocess.Popen[str]:
        """A command that goes on while the test does something else."""
        return subprocess.Popen(
            [*self._entered(), *command], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True
        )

    def write(self, path: str, text: str) -> None:
        """As an editor does: beside the file, then renamed over it, with the old one's owner and mode."""
        self.run("sh", "-ec", 'mkdir -p "${0%/*}"; [ ! -e "$0" ] || cp -p "$0" "$0~"; cat >"$0~"; mv "$0~" "$0"', path,
                 input=text)  # fmt: skip

    def read(self, path: str) -> str:
        return self.out("cat", path)

    def _entered(self) -> list[str]:
        return ["nsenter", "--target", str(self._leader()), "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup",
                *_ENVIRONMENT]  # fmt: skip

    def _leader(self) -> int:
        """The machine's first process, as the host counts; 0 when there is none yet."""
        assert self._nspawn
        if self._nspawn.poll() is not None:
            raise PartFailed(f"systemd-nspawn ended with {self._nspawn.returncode}")
        children = Path(f"/proc/{self._nspawn.pid}/task/{self._nspawn.pid}/children").read_text().split()
        return int(children[0]) if children else 0

    def _needs(self) -> None:
        if os.geteuid() != 0:
            raise PartFailed("tests/system boots a machine, which only root can: run `make test-system` as root")
        for command, package in (("systemd-nspawn", "systemd-container"), ("debootstrap", "debootstrap"),
                                 ("nsenter", "util-linux")):  # fmt: skip
            installed(command, package)


def _base() -> Path:
    """The tree that machines are copied from; made once, and again when another list of packages is needed."""
    base = _CACHE / f"bookworm-{hashlib.sha256(' '.join(PACKAGES).encode()).hexdigest()[:12]}"
    if not base.exists():
        fresh = base.with_suffix(".new")
        shutil.rmtree(fresh, ignore_errors=True)
        command = [installed("debootstrap", "debootstrap"), "--variant=minbase", f"--include={','.join(PACKAGES)}",
                   "bookworm", str(fresh), *_mirror()]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise PartFailed(f"debootstrap: {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-1000:]}")
        fresh.rename(base)
    return base


def _mirror() -> list[str]:
    """The mirror from which this host's apt-get has Debian 12, if it has; else debootstrap's own."""
    command = ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages", "Codename: bookworm"]
    return subprocess.run(command, capture_output=True, text=True).stdout.split()[:1]
