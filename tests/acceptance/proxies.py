"""Real proxies of every kind, Meta's TLS, and the ways in which a proxy breaks.

Squid and Nginx speak TLS with certificates of an authority that only the test trusts (`SSL_CERT_FILE`). A proxy that
hangs or resets is a socket server of the test's own: it stands for a broken network.
"""

import os
import pwd
import re
import shutil
import socket
import struct
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from tests.acceptance.parts import Process, Squid, free_address, installed, listens


class Authority:
    """A certificate authority of the test's own; `file` is what `SSL_CERT_FILE` must name for it to be trusted."""

    def __init__(self, directory: Path, name: str = "authority") -> None:
        self._directory, self._name = directory, name
        self.file = directory / f"{name}.pem"
        self._openssl("req", "-x509", *_NEW_KEY, "-keyout", f"{name}.key", "-out", self.file.name, "-days", "2",
                      "-subj", f"/CN={name} of the test")  # fmt: skip

    def certificate(self, name: str, names: str = "DNS:localhost,IP:127.0.0.1,IP:::1") -> Path:
        """A file with a key and a certificate for these subject alternative names."""
        further = self._directory / f"{name}.ext"
        further.write_text(f"subjectAltName={names}\n")
        self._openssl("req", *_NEW_KEY, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        self._openssl("x509", "-req", "-in", f"{name}.csr", "-CA", self.file.name, "-CAkey", f"{self._name}.key",
                      "-CAcreateserial", "-days", "2", "-extfile", further.name, "-out", f"{name}.crt")  # fmt: skip
        both = self._directory / f"{name}.both"
        both.write_text("".join((self._directory / f"{name}.{kind}").read_text() for kind in ("key", "crt")))
        return both

    def _openssl(self, *words: str) -> None:
        command = [installed("openssl", "openssl"), *words]
        subprocess.run(command, cwd=self._directory, check=True, capture_output=True)


_NEW_KEY = ("-newkey", "rsa:2048", "-nodes")


class TlsFront(Process):
    """Nginx that speaks TLS before the stand-in for Meta: what is sent to it goes through a tunnel."""

    def __init__(self, directory: Path, certificate: Path, backend: str, name: str = "front") -> None:
        self.address = free_address()
        self.url = f"https://{self.address}"
        home = directory / name
        home.mkdir()
        conf = home / "nginx.conf"
        conf.write_text(_front_conf(home, self.address, certificate, backend))
        super().__init__(name, [installed("nginx", "nginx"), "-p", str(home), "-c", str(conf)], directory)

    def ready(self) -> bool:
        return listens(self.address)


class FurtherSquid(Squid):
    """Squid with TLS before it, on IPv6, or with names that only it knows (`hosts`: name -> address)."""

    def __init__(
        self,
        directory: Path,
        user: str = "proxy",
        password: str = "secret",
        *,
        address: str | None = None,
        certificate: Path | None = None,
        hosts: dict[str, str] | None = None,
    ) -> None:
        super().__init__(directory, user, password, address=address)
        conf = self.home / "squid.conf"
        text = conf.read_text()
        if certificate:
            text = text.replace(f"http_port {self.address}", f"https_port {self.address} tls-cert={self.home}/tls.both")
            self._give(Path(shutil.copy(certificate, self.home / "tls.both")))
            self.url = f"https{self.url.removeprefix('http')}"
        if hosts:
            known = self.home / "hosts"
            known.write_text("".join(f"{address} {name}\n" for name, address in hosts.items()))
            self._give(known)
            text += f"hosts_file {known}\n"
        conf.write_text(text)

    @staticmethod
    def _give(path: Path) -> None:
        if os.geteuid() == 0:
            account = pwd.getpwnam("proxy")
            os.chown(path, account.pw_uid, account.pw_gid)

    def ready(self) -> bool:
        host, _, port = self.address.rpartition(":")
        with socket.socket(socket.AF_INET6 if "[" in host else socket.AF_INET) as probe:
            probe.settimeout(1)
            return probe.connect_ex((host.strip("[]"), int(port))) == 0


class Microsocks(Process):
    """Debian's microsocks: SOCKS5 for one user, who must say the password. `names()` are the hosts and ports it was
    asked for, as they were written."""

    def __init__(
        self, directory: Path, user: str = "proxy", password: str = "secret", *, address: str | None = None
    ) -> None:
        self.address = address or free_address()
        self.login = f"{quote(user, safe='')}:{quote(password, safe='')}"
        host, _, port = self.address.rpartition(":")
        command = [
            installed("microsocks", "microsocks"),
            "-i",
            host.strip("[]"),
            "-p",
            port,
            "-u",
            user,
            "-P",
            password,
        ]
        super().__init__(f"microsocks-{port}", command, directory)

    def url(self, scheme: str) -> str:
        return f"{scheme}://{self.login}@{self.address}"

    def ready(self) -> bool:
        if "[" not in self.address:
            return listens(self.address)
        host, _, port = self.address.rpartition(":")
        with socket.socket(socket.AF_INET6) as probe:
            return probe.connect_ex((host.strip("[]"), int(port))) == 0

    def names(self) -> list[str]:
        return re.findall(r"connected to (\S+)", self.log)


class Dante(Process):
    """Debian's Dante, for SOCKS4, whose user has no password. It lets nothing through to `forbidden`, a port;
    `passed()` and `blocked()` are how many connections it let through and not."""

    def __init__(self, directory: Path, forbidden: int = 9) -> None:
        self.address = free_address()
        conf = directory / "danted.conf"
        conf.write_text(_dante_conf(self.address, forbidden))
        super().__init__("danted", [installed("danted", "dante-server"), "-f", str(conf)], directory)

    def ready(self) -> bool:
        return listens(self.address)

    def passed(self) -> int:
        return len(re.findall(r"pass\(\d+\): tcp/connect \[", self.log))

    def blocked(self) -> int:
        return len(re.findall(r"block\(\d+\): tcp/connect", self.log))


class Broken:
    """A proxy that is broken; `asked` counts its connections."""

    def __init__(self, server: socket.socket) -> None:
        self._server = server
        host, port = server.getsockname()[:2]
        self.address = f"{host}:{port}"
        self.asked = 0
        self._open: list[socket.socket] = []

    def serve(self, answer: bytes | None) -> None:
        """Until its socket is closed: None hangs; no byte resets at once; else the answer to whatever is asked."""
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            self.asked += 1
            self._open.append(connection)
            if answer is not None:
                self._end(connection, answer)

    @staticmethod
    def _end(connection: socket.socket, answer: bytes) -> None:
        if answer:
            connection.recv(65536)
            connection.sendall(answer)
        else:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()

    def close(self) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        for connection in self._open:
            connection.close()


@contextmanager
def hanging(address: str = "127.0.0.1:0") -> Iterator[Broken]:
    """Accepts, and says nothing."""
    with _broken(address, None) as broken:
        yield broken


@contextmanager
def resetting(address: str = "127.0.0.1:0") -> Iterator[Broken]:
    """Accepts, and resets the connection."""
    with _broken(address, b"") as broken:
        yield broken


@contextmanager
def answering(answer: bytes) -> Iterator[Broken]:
    """Says this to whatever it is asked, and hangs up."""
    with _broken("127.0.0.1:0", answer) as broken:
        yield broken


@contextmanager
def _broken(address: str, answer: bytes | None) -> Iterator[Broken]:
    host, _, port = address.rpartition(":")
    broken = Broken(socket.create_server((host, int(port)), backlog=64))
    thread = threading.Thread(target=broken.serve, args=(answer,), daemon=True)
    thread.start()
    try:
        yield broken
    finally:
        broken.close()
        thread.join()


def _front_conf(home: Path, address: str, certificate: Path, backend: str) -> str:
    temporary = "\n".join(
        f"    {kind}_temp_path {home}/tmp_{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    user = "user root;" if os.geteuid() == 0 else ""
    return f"""{user}
daemon off;
worker_processes 1;
pid {home}/nginx.pid;
error_log {home}/error.log warn;
events {{ worker_connections 256; }}
http {{
{temporary}
    access_log off;
    server {{
        listen {address} ssl;
        ssl_certificate {certificate};
        ssl_certificate_key {certificate};
        location / {{ proxy_pass http://{backend}; }}
    }}
}}
"""


def _dante_conf(address: str, forbidden: int) -> str:
    host, port = address.split(":")
    me = pwd.getpwuid(os.geteuid()).pw_name
    return f"""logoutput: stdout
internal: {host} port = {port}
external: lo
clientmethod: none
socksmethod: none
user.privileged: {me}
user.unprivileged: {me}
client pass {{
    from: 127.0.0.0/8 to: 0.0.0.0/0
}}
socks block {{
    from: 127.0.0.0/8 to: 0.0.0.0/0 port = {forbidden}
    log: connect error
}}
socks pass {{
    from: 127.0.0.0/8 to: 0.0.0.0/0
    protocol: tcp
    log: connect error
}}
"""
