"""`make bench-nginx`: what mirror and journal cost the tracker's clients, as ratios to an Nginx with neither.

The same Nginx four times, before the same tracker: without our files, and with them and a sidecar that is up, down, or
hangs. All get the same load (wrk), in turn, round after round, so that the machine's noise meets all alike. Each ratio
is one of a round; their median is quoted. The tracker answers after the time that PHP takes, or at once: then nothing
hides our cost, and wrk, Nginx, tracker and sidecar compete for the machine's cores.
"""

import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from signal import SIGSTOP

from tests.acceptance.ours import Daemon
from tests.acceptance.parts import ROOT, Nginx, Process, free_address, installed, listens, wait_until

ROUNDS = 6
SECONDS = 2
#: Each asks again as soon as it has its answer: some 700 requests a second of a tracker that takes 10 ms.
CONNECTIONS = 8

#: One request in so many is a postback, the others are clicks.
POSTBACKS = 10

#: Seconds after which the tracker answers.
TRACKERS = {"after 10 ms": 0.01, "at once": 0.0}

#: What is measured beside an Nginx that has no files of ours.
SIDECARS = ("up", "down", "hung")

YAML = """
tracker: {postback_key: 2a76c2a}
integrations:
  - {name: Bench, campaigns: [AbCd12], pixel_id: "1", token: bench-token, mapping: {sale: Purchase}}
"""

#: For wrk: the load, and its result in a line.
SCRIPT = """
local postbacks = tonumber(os.getenv("POSTBACKS"))
local close = os.getenv("CLOSE") == "1" and { ["Connection"] = "close" } or {}
local number = 0
function request()
  number = number + 1
  if number % postbacks == 0 then
    return wrk.format("GET", "/2a76c2a/postback?subid=bench" .. number .. "&status=sale&payout=2.61", close)
  end
  return wrk.format("GET", "/AbCd12?fbclid=IwAR0Example_Click-Id&utm_campaign=summer&n=" .. number, close)
end
function done(summary, latency)
  local e = summary.errors
  print("RESULT", summary.requests / summary.duration * 1e6, latency:percentile(50), latency:percentile(99),
        e.connect + e.read + e.write + e.status + e.timeout)
end
"""


@dataclass(frozen=True)
class Measured:
    """Of one run: requests a second, microseconds, and how many requests failed."""

    rate: float
    p50: float
    p99: float
    failed: int


class FastTracker(Process):
    """Nginx, which answers at once: a click with a redirect and the cookie, a postback with a word."""

    def __init__(self, directory: Path):
        directory.mkdir()
        self.address = free_address()
        conf = directory / "nginx.conf"
        conf.write_text(f"""
daemon off; pid {directory}/nginx.pid; error_log {directory}/error.log; worker_processes 1;
events {{ worker_connections 2048; }}
http {{
    access_log off; client_body_temp_path {directory}; keepalive_requests 1000000;
    server {{
        listen {self.address};
        location / {{ add_header Set-Cookie "_subid=$request_id; Path=/"; return 302 https://offer.example.com/?o=1; }}
        location ~ /postback$ {{ return 200 Success; }}
    }}
}}""")
        super().__init__("tracker", [installed("nginx", "nginx"), "-p", str(directory), "-c", str(conf)], directory)

    def ready(self) -> bool:
        return listens(self.address)


class SlowTracker(Process):
    """The same after so many seconds; a process of its own, by `python -m tests.bench.nginx ADDRESS SECONDS`."""

    def __init__(self, directory: Path, seconds: float):
        directory.mkdir()
        self.address = free_address()
        command = [sys.executable, "-m", "tests.bench.nginx", self.address, str(seconds)]
        super().__init__("tracker", command, directory, env={"PYTHONPATH": str(ROOT)})

    def ready(self) -> bool:
        return listens(self.address)


class _Answering(asyncio.Protocol):
    """One request at a time on a connection, without a body: that is what Nginx sends here."""

    click = (
        b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: https://offer.example.com/?o=1\r\nSet-Cookie: _subid="
    )
    postback = b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nSuccess"
    number = 0

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        _Answering.number += 1
        answer = self.postback if b"/postback" in data else self.click + b"bench%08d\r\n\r\n" % self.number
        asyncio.get_running_loop().call_later(self._seconds, self._transport.write, answer)  # type: ignore[attr-defined]


async def answer_slowly(address: str, seconds: float) -> None:
    host, _, port = address.partition(":")
    server = await asyncio.get_running_loop().create_server(lambda: _Answering(seconds), host, int(port))
    await server.serve_forever()


class Stage:
    """Nginx without our files (`none`), and before each sidecar, with the journal that this one reads."""

    def __init__(self, directory: Path, seconds: float, stack: ExitStack) -> None:
        self.directory = directory
        directory.mkdir()
        (directory / "load.lua").write_text(SCRIPT)
        home = directory / "tracker"
        self.tracker = stack.enter_context(SlowTracker(home, seconds) if seconds else FastTracker(home))
        self.nginx = {name: self._nginx(name, stack) for name in ("none", *SIDECARS)}

    def round(self, number: int, fresh: bool) -> dict[str, Measured]:
        """Each measured once; every round begins with another one."""
        names = list(self.nginx)
        found = {}
        for name in names[number % len(names) :] + names[: number % len(names)]:
            found[name] = self._measure(name, fresh)
            self._settle()
        return found

    def _nginx(self, name: str, stack: ExitStack) -> Nginx:
        home = self.directory / name
        home.mkdir()
        intake = free_address()
        nginx = Nginx(home, intake, self.tracker.address, server="keepalive_requests 1000000;")
        if name == "none":
            _without_ours(home / "capi-sidecar/example-proxy.conf")
        if name in ("up", "hung"):
            daemon = stack.enter_context(Daemon(home, YAML, journal=nginx.journal, graph=None, intake=intake))
        if name == "up":
            self.daemon = daemon
        if name == "hung":
            daemon.signal(SIGSTOP)
            stack.callback(daemon.kill)
        return stack.enter_context(nginx)

    def _measure(self, name: str, fresh: bool) -> Measured:
        environment = {**os.environ, "POSTBACKS": str(POSTBACKS), "CLOSE": "1" if fresh else "0"}
        command = [installed("wrk", "wrk"), "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}s", "--timeout", "10s"]
        command += ["-s", str(self.directory / "load.lua"), self.nginx[name].url]
        printed = subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout
        rate, p50, p99, failed = printed.partition("RESULT")[2].split()
        return Measured(float(rate), float(p50), float(p99), int(failed))

    def _settle(self) -> None:
        """Until the sidecar that is up has done its work: it must not be charged to the next one."""

        def behind() -> bool:
            status = self.daemon.status()
            with self.nginx["up"].journal.open("rb") as journal:
                lines = sum(1 for _ in journal)
            waiting = sum(row["count"] for row in status["postbacks"] if row["state"] == "undecided")
            return status["journals"][0].get("lines", 0) < lines or waiting > 0

        wait_until(lambda: not behind(), "the sidecar has read its journal", 120)


def _without_ours(site: Path) -> None:
    kept = [line for line in site.read_text().splitlines() if "include" not in line or "http.conf" in line]
    site.write_text("\n".join(kept))


def rows(words: str, rounds: list[dict[str, Measured]]) -> Iterator[str]:
    """A line for Nginx without us, in absolute numbers, and one of ratios for each sidecar."""

    def middle(name: str, what: str, beside: str = "") -> float:
        return statistics.median(
            getattr(each[name], what) / (getattr(each[beside], what) if beside else 1) for each in rounds
        )

    failed = {name: sum(each[name].failed for each in rounds) for name in rounds[0]}
    rate, p50, p99 = (middle("none", what) for what in ("rate", "p50", "p99"))
    yield f"| {words} | none | {rate:.0f}/s | {p50 / 1000:.2f} ms | {p99 / 1000:.2f} ms | {failed['none']} |"
    for name in SIDECARS:
        ratios = " | ".join(f"{middle(name, what, 'none'):.2f}" for what in ("rate", "p50", "p99"))
        yield f"| | {name} | {ratios} | {failed[name]} |"


def main() -> int:
    table = [
        "| tracker answers, connections | sidecar | requests/s | p50 | p99 | failed |",
        "|---|---|---|---|---|---|",
    ]
    with tempfile.TemporaryDirectory(prefix="capi-bench-", dir=os.environ.get("BENCH_DIR")) as temporary:
        for words, seconds in TRACKERS.items():
            with ExitStack() as stack:
                stage = Stage(Path(temporary) / f"{seconds}", seconds, stack)
                for connections in ("keep-alive", "fresh"):
                    print(f"{words}, {connections} ...", file=sys.stderr)
                    rounds = [stage.round(number, connections == "fresh") for number in range(ROUNDS)]
                    table += rows(f"{words}, {connections}", rounds)
    print("\n".join(table))
    return 0


if __name__ == "__main__":
    if sys.argv[1:]:
        asyncio.run(answer_slowly(sys.argv[1], float(sys.argv[2])))
    sys.exit(main())
