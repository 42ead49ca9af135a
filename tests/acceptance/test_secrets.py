"""Nothing that the program can print holds a secret or a customer's value."""

from collections.abc import Callable, Iterator
from pathlib import Path

import requests

from tests.acceptance.ours import Daemon, StandIn
from tests.acceptance.parts import Squid, wait_until
from tests.examples import FBCLID, PIXEL, SUBID

KEY = "canarykey77"
TOKEN = "EAAcanaryTOKENcanary"
PASSWORD = "canarypassword"
CUSTOMER = {"em": "canary.customer@example.com", "ph": "+15550177777", "fn": "Canaryfirst", "ln": "Canarylast"}

YAML = f"""
tracker: {{postback_key: "${{file:secrets/key}}"}}
integrations:
  - name: Summer
    campaigns: [AbCd12]
    pixel_id: "{PIXEL}"
    token: "${{file:secrets/token}}"
    proxy: "PROXY"
    mapping: {{sale: Purchase, rejected: null}}
  - name: Broken
    campaigns: [Other1]
    pixel_id: "2"
    token: "${{file:secrets/nobody}}"
    mapping: {{sale: Purchase}}
"""


def everything(daemon: Daemon) -> Iterator[tuple[str, str]]:
    """What each command prints, with and without --json."""
    url = f"/{KEY}/postback?subid={SUBID}&status=sale&" + "&".join(f"{key}={value}" for key, value in CUSTOMER.items())
    commands = [
        ("check",), ("check", "--secrets"), ("status",), ("plan",), ("reload",), ("schema",), ("version",),
        ("explain", url), ("explain", "--id", SUBID), ("explain", "--id", f"{SUBID}_sale"),
        ("integrations", "list"), ("integrations", "show", "Summer"), ("integrations", "show", "Broken"),
        ("test",), ("capture", SUBID),
    ]  # fmt: skip
    for command in commands:
        for further in ((), ("--json",)):
            if further and command[0] in ("version", "schema"):
                continue
            done = daemon.command_line(*command, *further)
            assert "Traceback" not in done.stderr, done.stderr
            yield " ".join((*command[:1], *further)), done.stdout + done.stderr
    line = f'{{"url": "{url}", "click": {{"campaign": "AbCd12", "fbclid": "{FBCLID}"}}}}\n'
    yield "explain -", daemon.command_line("explain", "-", input=line).stdout


def test_no_command_no_log_and_no_answer_holds_a_secret_or_a_customers_value(
    tmp_path: Path, standin: StandIn, start_daemon: Callable[..., Daemon], start_squid: Callable[..., Squid]
) -> None:
    squid = start_squid("user", PASSWORD)
    secrets = tmp_path / "config" / "secrets"
    secrets.mkdir(parents=True)
    (secrets / "key").write_text(KEY)
    (secrets / "token").write_text(TOKEN)
    (secrets / "proxy").write_text(squid.url)
    daemon = start_daemon(YAML.replace("PROXY", "${file:secrets/proxy}"), graph=standin.url)
    query = "&".join(f"{key}={value}" for key, value in CUSTOMER.items())
    common = f"campaign=AbCd12&fbclid={FBCLID}&{query}"

    def send(target: str) -> None:
        assert requests.get(f"http://{daemon.intake}/{KEY}/postback?{target}", timeout=30).status_code == 200

    send(f"subid={SUBID}&payout=1&{common}")
    wait_until(lambda: daemon.status()["deliveries"] == {"delivered": 1}, "it is delivered through the proxy")
    for mode in ("html", "unknown"):
        standin.fail(mode=mode, count=1)
        send(f"subid={SUBID}&tid={mode}&{common}")
    (secrets / "proxy").write_text(squid.url.replace(PASSWORD, f"{PASSWORD}-wrong"))
    wait_until(lambda: "configuration.loaded" in daemon.log, "a changed secret is a changed configuration")
    send(f"subid={SUBID}&tid=login&{common}")
    send(f"subid=nobody0001&{query}")
    wait_until(lambda: "proxy login" in daemon.command_line("status").stdout, "the proxy's fault is told")
    admin_token = (daemon.state / "admin.token").read_text().strip()
    seen = dict(everything(daemon))
    seen |= {path: requests.get(f"http://{daemon.admin}{path}", timeout=30).text for path in ("/api/status", "/readyz")}
    seen |= {"log": daemon.log, "proxy's log": squid.access_log.read_text()}
    canaries = [KEY, TOKEN, PASSWORD, admin_token, *CUSTOMER.values(), CUSTOMER["ph"].strip("+")]
    assert {(name, canary) for name, text in seen.items() for canary in canaries if canary in text} == set()
    environment = Path(f"/proc/{daemon.pid}/cmdline").read_bytes()
    assert [canary for canary in canaries if canary.encode() in environment] == []
