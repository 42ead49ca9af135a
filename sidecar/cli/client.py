"""Asking the running daemon at its admin address."""

import http.client
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sidecar.net import TcpAddress, UnixAddress, parse_address

#: Seconds that an answer may take.
_PATIENCE = 10.0

#: Seconds after which a stream in which not even empty lines come is given up.
_STILL_THERE = 60.0

#: Seconds that a reload may take: it waits for git, and for the files to come to rest.
_RELOAD = 120.0


class NotRunning(Exception):
    """Nobody answers at the admin address, or not to us; the text says so, and what to do."""


class Refused(Exception):
    """The daemon does not do what was asked; the text says why."""


def ask(
    address: str, path: str, *, method: str = "GET", token: str = "", body: Any = None, patience: float = _PATIENCE
) -> Any:
    """The JSON at a path of the admin address. Raises NotRunning, Refused, or ValueError for a bad address."""
    connection = _connection(address, patience)
    try:
        answer = _request(connection, address, path, method, token, body)
        return json.loads(answer.read())
    except TimeoutError:
        raise NotRunning(f"the daemon at {address} did not answer in {patience:g} s; it is there, but busy") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _not_there(address, error) from None
    finally:
        connection.close()


def follow(options: Any, path: str) -> Iterator[Any]:
    """The JSON objects that a path of the admin address sends line by line, until the daemon ends.

    Raises NotRunning, or ValueError for an address that is none.
    """
    connection = _connection(options.admin, _STILL_THERE)
    try:
        answer = _request(connection, options.admin, path, "GET", _token(options), None)
        yield from (json.loads(line) for line in answer if line.strip())
    except TimeoutError:
        raise NotRunning(f"the daemon at {options.admin} is silent") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _not_there(options.admin, error) from None
    finally:
        connection.close()


def act(options: Any, action: str, given: Any, patience: float = _PATIENCE) -> Any:
    """What the running daemon answers when told to do something. Raises NotRunning, Refused or ValueError."""
    return ask(options.admin, f"/api/{action}", method="POST", token=_token(options), body=given, patience=patience)


def reload(options: Any, *, accept: bool) -> Any:
    """The verdict of a running daemon on the files as they are. Raises OSError, NotRunning or ValueError."""
    token = admin_token_file(options).read_text().strip()
    return ask(options.admin, "/api/reload" + "?accept" * accept, method="POST", token=token, patience=_RELOAD)


def admin_token_file(options: Any) -> Path:
    """Where the daemon's admin token stands."""
    return Path(getattr(options, "admin_token", None) or options.state / "admin.token")


def _token(options: Any) -> str:
    path = admin_token_file(options)
    try:
        return path.read_text().strip()
    except OSError as error:
        raise NotRunning(f"{path}: {error.strerror}; --state or --admin-token names the daemon's") from None


def _connection(address: str, patience: float) -> http.client.HTTPConnection:
    where = parse_address(address)
    return _Unix(where, patience) if isinstance(where, UnixAddress) else _tcp(where, patience)


def _request(
    connection: http.client.HTTPConnection, address: str, path: str, method: str, token: str, body: Any
) -> http.client.HTTPResponse:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    connection.request(method, path, None if body is None else json.dumps(body), headers)
    answer = connection.getresponse()
    if answer.status == 401:
        raise NotRunning(f"the daemon at {address} does not know this admin token; --admin-token names its file")
    if 400 <= answer.status < 500:
        raise Refused(answer.read().decode(errors="replace").strip())
    if answer.status >= 500:
        raise NotRunning(f"the daemon at {address} answers {answer.status}; its log says why")
    return answer


def _not_there(address: str, error: Exception) -> NotRunning:
    reason = getattr(error, "strerror", None) or type(error).__name__
    return NotRunning(f"no daemon answers at {address} ({reason}); is it running, with this --admin?")


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
