"""Addresses that a part listens on: `host:port`, `unix:/path`, or a socket that the parent process holds."""

import os
import re
import socket
from collections.abc import MutableMapping
from dataclasses import dataclass

from aiohttp import web

#: Bytes of a unix socket's path, at most. Source: unix(7), sun_path, less its closing zero.
_UNIX_PATH = 107

_TCP = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.]+(?:%[\w.-]+)?)\]|(?P<host>[A-Za-z0-9._-]+)):(?P<port>[0-9]{1,5})")


@dataclass(frozen=True, slots=True)
class TcpAddress:
    """An IP address or host name without brackets, and a port; port 0 lets the system choose."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class UnixAddress:
    """The absolute path of a unix socket."""

    path: str

    def __str__(self) -> str:
        return f"unix:{self.path}"


@dataclass(frozen=True, slots=True)
class InheritedAddress:
    """A socket on which the parent process, such as systemd, listens for us: callers wait in its backlog while we
    restart, and nobody is refused."""

    descriptor: int

    def __str__(self) -> str:
        return f"inherited:{self.descriptor}"


Address = TcpAddress | UnixAddress | InheritedAddress

#: The first descriptor that a parent hands over. Source: sd_listen_fds(3), as are the names of the variables.
_FIRST = 3


def inherited(environment: MutableMapping[str, str], pid: int) -> InheritedAddress | None:
    """The socket that the parent hands over to this process, if it does. Our children must not take it for theirs: the
    variables are removed. ValueError when there is more than one."""
    count, for_pid = environment.pop("LISTEN_FDS", "0"), environment.pop("LISTEN_PID", "")
    environment.pop("LISTEN_FDNAMES", None)
    if for_pid != str(pid) or not count.isdecimal() or count == "0":
        return None
    if count != "1":
        raise ValueError(f"the parent hands over {count} sockets; one is needed, for the intake")
    return InheritedAddress(_FIRST)


def parse_address(text: str) -> TcpAddress | UnixAddress:
    """The address that is meant; ValueError says what is wrong with it."""
    if text.startswith("unix:"):
        return _unix(text)
    match = _TCP.fullmatch(text)
    if not match:
        raise ValueError(f'address "{text}": {_why_not(text)}')
    port = int(match["port"])
    if port > 65535:
        raise ValueError(f'address "{text}": the port must be from 0 to 65535')
    return TcpAddress(match["six"] or match["host"], port)


async def listen(runner: web.BaseRunner, address: Address) -> Address:
    """Opens the address for a runner that is set up; the result has the port that the system chose.

    OSError when the address is in use or not this machine's.
    """
    if isinstance(address, InheritedAddress):
        # The parent may have left it blocking; inheritance by our own children ends here.
        listener = socket.socket(fileno=address.descriptor)
        listener.setblocking(False)
        os.set_inheritable(address.descriptor, False)
        await web.SockSite(runner, listener).start()
        name = listener.getsockname()
        return UnixAddress(name) if isinstance(name, str) else TcpAddress(*name[:2])
    if isinstance(address, UnixAddress):
        await web.UnixSite(runner, address.path).start()
        return address
    before = len(runner.addresses)
    await web.TCPSite(runner, address.host, address.port).start()
    return TcpAddress(address.host, runner.addresses[before][1])


def _unix(text: str) -> UnixAddress:
    path = text.removeprefix("unix:")
    if not path.startswith("/"):
        raise ValueError(f'address "{text}": the path must be absolute, as in unix:/run/capi-sidecar/intake.sock')
    if len(path.encode()) > _UNIX_PATH:
        raise ValueError(f'address "{text}": the path must not be longer than {_UNIX_PATH} bytes')
    return UnixAddress(path)


def _why_not(text: str) -> str:
    if "://" in text:
        return "is a URL; write host:port or unix:/path"
    if text.count(":") > 1 and not text.startswith("["):
        return "write an IPv6 address in brackets, as in [::1]:8190"
    if text.startswith(":"):
        return f"has no host; write 127.0.0.1{text}, or 0.0.0.0{text} for all interfaces"
    return "must be host:port or unix:/path"
