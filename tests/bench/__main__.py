"""`make bench`: what the sidecar costs, as ratios to a bare aiohttp handler, from one run on this machine.

Load generator (wrk), servers, daemon and stand-in are processes of their own. These machines are noisy: what is
compared is measured in turn, and the median ratio is quoted.
"""

import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from tests.acceptance.ours import Daemon, StandIn
from tests.acceptance.parts import ROOT, Process, free_address, installed, listens, wait_until
from tests.bench import fairness, reload

ROUNDS = 5
SECONDS = 5
CONNECTIONS = 64
CLICKS = 50_000
ANSWER = 0.02
EVENTS = 100_000

#: A rate is steady when what was not delivered at the end would have taken less than this many seconds.
BACKLOG_SECONDS = 1.0

YAML = """
tracker: {postback_key: 2a76c2a}
integrations:
  - {name: Bench, campaigns: [AbCd12], pixel_id: "1", token: bench-token, mapping: {sale: Purchase}}
"""


class Server(Process):
    """One of `tests.bench.servers`."""

    def __init__(self, directory: Path, kind: str):
        self.address = free_address()
        command = [sys.executable, "-m", "tests.bench.servers", kind, self.address, str(directory)]
        super().__init__(kind, command, directory, env={"PYTHONPATH": str(ROOT)})

    def ready(self) -> bool:
        return listens(self.address)


def load(address: str, run: str, *, seconds: float = SECONDS, pause: int = 0) -> float:
    """Requests a second that were answered with 200; `pause` in milliseconds slows every connection down."""
    environment = {**os.environ, "CLICKS": str(CLICKS), "RUN": run, "PAUSE": str(pause)}
    script = str(Path(__file__).with_name("load.lua"))
    command = [installed("wrk", "wrk"), "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", script]
    command.append(f"http://{address}")
    printed = subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout
    if "Non-2xx" in printed or "Socket errors" in printed:
        raise SystemExit(f"bench: requests failed\n{printed}")
    return float(re.search(r"Requests/sec:\s+([\d.]+)", printed)[1])  # type: ignore[index]


def intake_against_bare(directory: Path) -> tuple[float, float]:
    """Requests/s of the bare handler, and the median ratio of the intake to it, measured in turn."""
    with Server(directory, "bare") as bare, Server(directory, "intake") as intake:
        pairs = [(load(bare.address, "bare"), load(intake.address, f"i{number}")) for number in range(ROUNDS)]
    return statistics.median(each for each, _ in pairs), statistics.median(b / a for a, b in pairs)


class EndToEnd:
    """Clicks from the journal, postbacks by HTTP, events to a stand-in that answers after 20 ms."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self.directory = directory
        journal = directory / "journal.ndjson"
        self.standin = stack.enter_context(StandIn(directory))
        self.standin.fail(mode="slow", seconds=ANSWER)
        self.daemon = stack.enter_context(Daemon(directory, YAML, journal=journal, graph=self.standin.url))
        write_clicks(journal)
        wait_until(lambda: self.daemon.status()["clicks"] == CLICKS, "all clicks are read", 120)
        self.runs = 0

    def load(self, pause: int, seconds: float = SECONDS) -> tuple[float, int]:
        """Postbacks a second, and how many of them were not delivered at the end."""
        self.runs += 1
        rate = load(self.daemon.intake, f"e{self.runs}", seconds=seconds, pause=pause)
        return rate, self.backlog()

    def backlog(self) -> int:
        status = self.daemon.status()
        return sum(row["count"] for row in status["postbacks"]) - status["deliveries"].get("delivered", 0)

    def drain(self) -> None:
        wait_until(lambda: self.backlog() == 0, "everything is delivered", 300)

    def steady_rate(self) -> tuple[float, int]:
        """The largest rate at which the queue does not grow, and its pause."""
        low, high = 1, 400
        best = (0.0, high)
        while low <= high:
            pause = (low + high) // 2
            rate, backlog = self.load(pause)
            self.drain()
            steady = backlog <= rate * BACKLOG_SECONDS
            print(f"    {rate:6.0f}/s: {backlog} left{'' if steady else ', grows'}", file=sys.stderr)
            if steady:
                best, high = (rate, pause), pause - 1
            else:
                low = pause + 1
        return best

    def cpu(self) -> float:
        """Seconds of CPU that the daemon has used."""
        fields = Path(f"/proc/{self.daemon.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self) -> float:
        """Resident megabytes of the daemon."""
        status = Path(f"/proc/{self.daemon.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024  # type: ignore[index]

    def size(self) -> int:
        """Bytes of the store, log included."""
        return sum(path.stat().st_size for path in self.daemon.state.glob("store.sqlite3*"))

    def delivered(self) -> int:
        return int(self.daemon.status()["deliveries"].get("delivered", 0))


def write_clicks(journal: Path) -> None:
    """Clicks as Nginx writes them, with the addresses and agents of visitors."""
    agent = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 [FBAN/FBIOS;FBAV/480.0]"
    fbclid = "IwZXh0bgNhZW0BMABhZGlkAasF" + "x" * 90
    with journal.open("w") as file:
        for number in range(CLICKS):
            line = {
                "v": "1", "event": "click", "id": f"{number:032x}", "time": f"{time.time():.3f}", "took": "0.010",
                "status": "302", "method": "GET", "scheme": "https", "host": "track.example.com",
                "uri": f"/AbCd12?fbclid={fbclid}&utm_campaign=summer&utm_source=fb&adset_id=120210000000000000",
                "ip": f"8.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}", "ua": agent,
                "referer": "https://l.facebook.com/", "fbp": "fb.1.1795000000000.1234567890",
                "subid": f"bench{number:08d}", "location": "https://offer.example.com/?o=1",
            }  # fmt: skip
            file.write(json.dumps(line) + "\n")


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="capi-bench-", dir=os.environ.get("BENCH_DIR")) as temporary:
        directory = Path(temporary)
        print("intake beside the bare handler ...", file=sys.stderr)
        bare, intake = intake_against_bare(directory)
        with ExitStack() as stack:
            print("end to end ...", file=sys.stderr)
            road = EndToEnd(directory, stack)
            road.daemon.restart()
            click_bytes = road.size() / CLICKS
            rate, pause = road.steady_rate()
            cpu, events = road.cpu(), road.delivered()
            road.load(pause * 2, 10)
            road.drain()
            cpu = (road.cpu() - cpu) / (road.delivered() - events)
            fill(road, EVENTS)
            road.drain()
            after = road.memory()
            delivered = road.delivered()
            road.daemon.restart()
            delivery_bytes = (road.size() - click_bytes * CLICKS) / delivered
            road.standin.fail(mode="token")
            fill(road, EVENTS + delivered)
            queued = road.memory()
    rows = [
        ("bare aiohttp handler, requests/s, 64 connections", f"{bare:.0f}", "1"),
        ("intake with its fsync, of the bare handler", f"{bare * intake:.0f}", f"{intake:.2f}"),
        ("end to end, steady (20 ms answers), of the bare handler", f"{rate:.0f}", f"{rate / bare:.2f}"),
        ("CPU of the daemon for an event, ms", f"{cpu * 1000:.2f}", ""),
        ("bytes on disk for a click", f"{click_bytes:.0f}", ""),
        ("bytes on disk for a postback with its delivery and attempt", f"{delivery_bytes:.0f}", ""),
        (f"memory after {delivered} events, MB", f"{after:.0f}", ""),
        ("memory with 100000 queued, MB", f"{queued:.0f}", ""),
        *fairness.main(),
        *reload.main(),
    ]
    print("| what | measured | ratio |\n|---|---|---|")
    for row in rows:
        print(f"| {' | '.join(row)} |")
    return 0


def fill(road: EndToEnd, count: int) -> None:
    """Sends until the daemon has taken and decided this many postbacks in all."""

    def decided() -> int:
        return sum(row["count"] for row in road.daemon.status()["postbacks"] if row["state"] == "decided")

    while decided() < count:
        road.load(10, 5)
        before = -1
        while (now := decided()) != before:
            before = now
            time.sleep(0.5)


if __name__ == "__main__":
    sys.exit(main())
