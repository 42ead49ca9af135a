"""What systemd is told: that the daemon is ready, how it is, that it still turns. Source: sd_notify(3)."""

import asyncio
import contextlib
import socket
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

#: Seconds between two status lines.
_STATUS = 15.0

#: Characters of a status line, at most: it is one line of `systemctl status`.
_LONGEST = 200


class Notify:
    """Speaks to the parent's socket, or to nobody where there is none; that nobody listens is no fault of ours."""

    def __init__(self, environment: MutableMapping[str, str], pid: int) -> None:
        """Our children must not speak for us: the variables are removed."""
        address = environment.pop("NOTIFY_SOCKET", "")
        watched, for_pid = environment.pop("WATCHDOG_USEC", ""), environment.pop("WATCHDOG_PID", str(pid))
        #: An @ stands for the zero byte of an abstract name. Source: sd_notify(3).
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        #: Seconds after which the parent gives up whoever is silent; 0 when it does not watch us.
        self._patience = int(watched) / 1e6 if watched.isdecimal() and for_pid == str(pid) else 0.0

    @property
    def is_heard(self) -> bool:
        """Whether anybody wants to know."""
        return bool(self._address)

    def ready(self) -> None:
        """Callers are served from now on."""
        self._send("READY=1")

    def stopping(self) -> None:
        """What is under way is still ended."""
        self._send("STOPPING=1\nSTATUS=stopping")

    async def beat(self) -> None:
        """Says again and again that the event loop turns: a loop that hangs is silent, and systemd restarts it."""
        while self.is_heard and self._patience:
            self._send("WATCHDOG=1")
            await asyncio.sleep(self._patience / 2)

    async def tell(self, status: Callable[[], Awaitable[Mapping[str, Any]]]) -> None:
        """Keeps the status line, from the JSON of `capi-sidecar status`."""
        while self.is_heard:
            try:
                line = status_line(await status())
            except Exception as error:  # whatever it is, it is no reason to end
                line = f"how it is cannot be told: {type(error).__name__}"
            self._send(f"STATUS={line}")
            await asyncio.sleep(_STATUS)

    def _send(self, text: str) -> None:
        if self.is_heard:
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as speaker:
                speaker.setblocking(False)
                speaker.sendto(text.encode(errors="replace"), self._address)


def status_line(status: Mapping[str, Any]) -> str:
    """`3 integrations, 2 events waiting; 1 lane parked: token`; what is wrong stands at the end."""
    parts = ["sandbox"] if status["mode"] == "sandbox" else []
    waiting = sum(status["deliveries"].get(state, 0) for state in ("queued", "leased"))
    parts.append(f"{_counted(len(status['integrations']), 'integration')}, {_counted(waiting, 'event')} waiting")
    if faulty := [each["name"] for each in status["integrations"] if each["status"].startswith("error")]:
        parts.append(f"in error: {', '.join(faulty)}")
    held = Counter((lane["state"], lane["why"]) for lane in status["lanes"] if lane["state"] != "active")
    parts += [f"{_counted(count, 'lane')} {state}: {why}" for (state, why), count in held.items()]
    if status["configuration"]["error"]:
        parts.append("configuration refused, the last good one runs: capi-sidecar check")
    parts += status["problems"]
    line = " ".join("; ".join(parts).split())
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
