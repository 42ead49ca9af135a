"""`make demo`: the shipped Nginx files, a stand-in tracker and the daemon in sandbox; one click, one postback."""

import shutil
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import requests

from tests.acceptance.ours import Daemon
from tests.acceptance.parts import ROOT, Nginx, PartFailed, Tracker, free_address, wait_until

SUBID = "3sh8so4er3"
CLICK = f"/AbCd12?fbclid=IwAR0Example_Click-Id&_test_subid={SUBID}"
POSTBACK = (
    f"/2a76c2a/postback?subid={SUBID}&status=sale&payout=2.61&em=example@gmail.com&fn=John&ln=Snow&ph=+71234567890"
)


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="capi-demo-") as temporary, ExitStack() as stack:
        directory = Path(temporary)
        directory.chmod(0o755)  # Nginx's workers are another user
        shutil.copytree(ROOT / "config", directory / "config")
        intake = free_address()
        yaml = (ROOT / "config" / "integrations.yaml").read_text()
        try:
            tracker = stack.enter_context(Tracker(directory))
            daemon = stack.enter_context(
                Daemon(directory, yaml, journal=directory / "journal.ndjson", graph=None, intake=intake)
            )
            nginx = stack.enter_context(Nginx(directory, intake, tracker.address))
        except PartFailed as error:
            print(f"demo: {error}", file=sys.stderr)
            return 1
        show(nginx, daemon)
    return 0


def show(nginx: Nginx, daemon: Daemon) -> None:
    """What a visitor and an affiliate network do, and what became of it."""
    print(f"Nginx {nginx.url} stands before a tracker, with the shipped files of nginx/; the daemon runs in sandbox.\n")
    print(f"1. A visitor clicks the ad:\n   GET {CLICK.partition('&_test')[0]}")
    headers = {"Referer": "https://l.facebook.com/", "User-Agent": "Mozilla/5.0 (demo)"}
    cookies = {"_fbp": "fb.1.1795000000000.1234567890"}
    answer = requests.get(nginx.url + CLICK, headers=headers, cookies=cookies, allow_redirects=False, timeout=30)
    print(
        f"   {answer.status_code} to {answer.headers['Location']}, with the cookie _subid={answer.cookies['_subid']}\n"
    )
    print(f"2. The visitor buys, and the affiliate network calls the tracker's postback URL:\n   GET {POSTBACK}")
    print(f"   {requests.get(nginx.url + POSTBACK, timeout=30).status_code}\n")
    wait_until(lambda: daemon.status()["deliveries"].get("delivered") == 1, "the event is delivered")
    print("3. What capi-sidecar made of it (capi-sidecar explain --id 3sh8so4er3):\n")
    print(daemon.command_line("explain", "--id", SUBID).stdout)
    print("4. How it is (capi-sidecar status):\n")
    print(daemon.command_line("status").stdout)


if __name__ == "__main__":
    sys.exit(main())
