"""Asking the running daemon at its admin address."""

import http.client
import json
import socket
from pathlib import Path
from typing import Any

from sidecar.net import TcpAddress, UnixAddress, parse_address

#: Seconds that an answer may take.
_PATIENCE = 10.0


#: Seconds that a reload may take: it waits for git, and for the files to come to rest.
_RELOAD = 120.0


class NotRunning(Exception):
    """Nobody answers at the admin address; the text says so, and what to do."""


def ask(address: str, path: str, *, method: str = "GET", token: str = "", patience: float = _PATIENCE) -> Any:
    """The JSON at a path of the admin address. Raises NotRunning, or ValueError for an address that is none."""
    where = parse_address(address)
    connection = _Unix(where, patience) if isinstance(where, UnixAddress) else _tcp(where, patience)
    try:
        connection.request(method, path, headers={"Authorization": f"Bearer {token}"} if token else {})
        answer = connection.getresponse()
        if answer.status == 401:
            raise NotRunning(f"the daemon at {address} does not know this admin token; --admin-token names its file")
        if answer.status >= 500:
            raise NotRunning(f"the daemon at {address} answers {answer.status}; its log says why")
        return json.loads(answer.read())
    except TimeoutError:
        raise NotRunning(f"the daemon at {address} did not answer in {patience:g} s; it is there, but busy") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise NotRunning(f"no daemon answers at {address} ({reason}); is it running, with this --admin?") from None
    finally:
        connection.close()


def reload(options: Any, *, accept: bool) -> Any:
    """The verdict of a running daemon on the files as they are. Raises OSError, NotRunning or ValueError."""
    token = admin_token_file(options).read_text().strip()
    return ask(options.admin, "/api/reload" + "?accept" * accept, method="POST", token=token, patience=_RELOAD)


def admin_token_file(options: Any) -> Path:
    """Where the daemon's admin token stands."""
    return Path(getattr(options, "admin_token", None) or options.state / "admin.token")


def _tcp(address: TcpAddress, patience: float) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(address.host, address.port, timeout=patience)


class _Unix(http.client.HTTPConnection):
    def __init__(self, address: UnixAddress, patience: float) -> None:
        super().__init__("localhost", timeout=patience)
        self._path = address.path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)
