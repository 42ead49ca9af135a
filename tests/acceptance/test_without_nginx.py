"""docs/clicks.md, taken at its word: what stands in its examples is what runs here."""

import hashlib
import re
import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

import pytest
import requests
import yaml as pyyaml

from sidecar.config.load import load
from sidecar.config.secrets import Resolve
from sidecar.core.decide import decide
from sidecar.core.line import read_click
from sidecar.core.postback import Postback
from tests.acceptance.ours import Daemon, StandIn
from tests.acceptance.parts import ROOT, Nginx, PartFailed, Tracker, free_address, installed, wait_until
from tests.acceptance.road import CDN, Road
from tests.databases import SAN_FRANCISCO, write_database
from tests.examples import KEY

DOCS = (ROOT / "docs" / "clicks.md").read_text()

#: The fenced examples by name: "```LANGUAGE NAME".
EXAMPLES = {
    name: re.sub("(?m)^   ", "", text) if indent else text
    for indent, name, text in re.findall(r"(?ms)^( *)```\w+ (\S+)\n(.*?)^ *```$", DOCS)
}

FBCLID = "IwAR0Example_Click-Id-0123456789"
UUID = "0bc4ba11-688d-4de0-98b4-8b0d6e81cefa"
FBP = "fb.1.1795000000000.1234567890"

#: What Keitaro puts into its macros.
MACROS = {
    "subid": "3sh8so4er3",
    "status": "sale",
    "tid": "42",
    "revenue": "2.61",
    "external_id": FBCLID,
    "date:U": "1795564800",
    "ip": "203.0.114.7",
    "user_agent": "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0)",
    "country": "US",
    "city": "San Francisco",
    "referrer": "https://l.facebook.com/l.php?u=x&h=y",
    "campaign_id": "42",
}

INTEGRATION = f"""
tracker: {{postback_key: {KEY}}}
integrations:
  - name: Summer
    campaigns: [AbCd12, 42]
    pixel_id: "1234567890123456"
    token: token-of-summer
    mapping: {{sale: Purchase, lead: Lead}}
"""


def filled(example: str, **values: str) -> str:
    """An example's URL with its macros replaced, encoded as trackers and networks do."""
    return re.sub(r"\{([^}]+)\}", lambda macro: quote(values[macro[1]], safe=""), EXAMPLES[example].strip())


def target(url: str) -> str:
    """Path and query of a URL: what is asked of whichever address the test has."""
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}"


def sha(text: str) -> list[str]:
    return [hashlib.sha256(text.encode()).hexdigest()]


def configuration(example: str) -> str:
    """An example's YAML as it would run here: with a token on the spot, and the test's client as the CDN."""
    given = pyyaml.safe_load(EXAMPLES[example])
    given["tracker"]["cdn"] = ["127.0.0.0/8"]
    for each in given["integrations"]:
        each |= {"token": "token-of-a-test", "mapping": {"sale": "Purchase", "lead": "Lead"}}
    return pyyaml.safe_dump(given)


@pytest.fixture
def alone(tmp_path: Path, standin: StandIn, start_daemon: Callable[..., Daemon]) -> Daemon:
    """A daemon beside no Nginx, with the empty journal of the page."""
    (tmp_path / "no-journal").touch()
    return start_daemon(INTEGRATION, graph=standin.url, journal=tmp_path / "no-journal")


def call(daemon: Daemon, target: str) -> None:
    answer = requests.get(f"http://{daemon.intake}{target}", timeout=30)
    assert (answer.status_code, answer.content) == (200, b"")


def only_event(standin: StandIn, daemon: Daemon) -> dict[str, Any]:
    wait_until(standin.events, f"an event at Meta\n{daemon.log[-3000:]}")
    [accepted] = standin.events()
    return dict(accepted["event"])


# Every example is well-formed, and none is forgotten here.


def test_every_example_of_the_page_is_run_by_some_test() -> None:
    source = Path(__file__).read_text()
    assert [name for name in EXAMPLES if f'"{name}"' not in source] == []
    assert len(EXAMPLES) == DOCS.count("```") // 2


@pytest.mark.parametrize("name", ["admin-api", "update-config", "app", "other-tracker", "geoip"])
def test_every_yaml_of_the_page_is_a_valid_configuration(tmp_path: Path, name: str) -> None:
    (tmp_path / "mappings").mkdir()
    (tmp_path / "mappings" / "default.yaml").write_text("sale: Purchase\n")
    (tmp_path / "integrations.yaml").write_text(EXAMPLES[name])
    loaded = load(tmp_path, resolve=Resolve.NOTHING)
    assert [str(note) for note in loaded.notes.mistakes] == []


def test_every_link_within_the_page_leads_somewhere() -> None:
    lines = re.findall(r"(?m)^#+ (.*)", DOCS)
    headings = {re.sub("[^a-z0-9 -]", "", line.lower()).strip().replace(" ", "-") for line in lines}
    assert [link for link in re.findall(r"\(#([^)]+)\)", DOCS) if link not in headings] == []


# Keitaro's own S2S postback, straight to the intake.


@pytest.mark.parametrize("example", ["s2s-campaign", "s2s-source"])
def test_keitaros_s2s_postback_becomes_an_event_without_nginx_and_journal(
    alone: Daemon, standin: StandIn, example: str
) -> None:
    call(alone, target(filled(example, **MACROS)))
    event = only_event(standin, alone)
    assert (event["event_name"], event["event_id"]) == ("Purchase", "3sh8so4er3_sale_42")
    assert event["custom_data"] == {"value": 2.61, "currency": "USD"}
    assert event["event_source_url"] == sha(MACROS["referrer"])[0]
    assert event["user_data"] == {
        "fbc": f"fb.1.1795564800000.{FBCLID}",
        "client_ip_address": MACROS["ip"],
        "client_user_agent": MACROS["user_agent"],
        "country": sha("us"),
        "ct": sha("sanfrancisco"),
    }
    assert alone.command_line("status").returncode == 0


def test_a_macro_that_this_version_does_not_know_costs_only_its_own_value(alone: Daemon, standin: StandIn) -> None:
    unknown = {"date:U", "ip", "user_agent", "country", "city", "referrer", "tid"}
    given = {name: f"{{{name}}}" if name in unknown else value for name, value in MACROS.items()}
    call(alone, target(filled("s2s-campaign", **given)))
    event = only_event(standin, alone)
    assert event["event_id"] == "3sh8so4er3_sale"
    assert list(event["user_data"]) == ["fbc"]


def test_a_conversion_of_another_source_is_not_sent(alone: Daemon) -> None:
    call(alone, target(filled("s2s-campaign", **MACROS | {"external_id": ""})))
    wait_until(lambda: [each["reason"] for each in alone.explain("3sh8so4er3")] == ["no_click"], "it waits")


def test_the_same_url_shows_at_the_desk_what_would_become_of_it(alone: Daemon) -> None:
    said = alone.command_line("explain", filled("s2s-campaign", **MACROS))
    assert said.returncode == 0
    assert "Summer: sale is Purchase" in said.stdout


def test_fbp_and_fbc_that_the_landing_page_stored_go_along(alone: Daemon, standin: StandIn) -> None:
    [more] = re.findall(r"`(&fbp=\S+)`", DOCS)
    stored = {"sub_id_10": FBP, "sub_id_11": f"fb.1.1795564000000.{FBCLID}"}
    url = filled("s2s-campaign", **MACROS) + re.sub(r"\{([^}]+)\}", lambda macro: stored[macro[1]], more)
    call(alone, target(url))
    user_data = only_event(standin, alone)["user_data"]
    assert (user_data["fbp"], user_data["fbc"]) == (FBP, stored["sub_id_11"])


def test_the_networks_postback_brings_back_what_the_offers_url_gave_it(alone: Daemon, standin: StandIn) -> None:
    given = {"sub1": "3sh8so4er3", "sub2": FBCLID, "status": "lead", "payout": "7", "ip": "203.0.114.7"}
    call(alone, target(filled("network", **given, user_agent="Mozilla/5.0")))
    event = only_event(standin, alone)
    assert (event["event_name"], event["user_data"]["client_ip_address"]) == ("Lead", "203.0.114.7")
    assert event["user_data"]["fbc"].endswith(FBCLID)


# Through Nginx: landing pages, apps, another tracker.


@pytest.fixture
def start(
    start_nginx: Callable[..., Nginx], start_daemon: Callable[..., Daemon], standin: StandIn
) -> Callable[[str], Road]:
    """`start(example)`: the whole road with an example's configuration."""

    def started(example: str) -> Road:
        intake = free_address()
        daemon = start_daemon(configuration(example), graph=standin.url, intake=intake)
        return Road(start_nginx(intake), daemon, standin)

    return started


def ask(road: Road, target: str, **headers: str) -> requests.Response:
    return requests.get(road.nginx.url + target, headers={**CDN, **headers}, allow_redirects=False, timeout=30)


def test_what_the_landing_page_knows_is_added_to_its_click(start: Callable[[str], Road]) -> None:
    road = start("update-config")
    assert ask(road, f"/AbCd12?fbclid={FBCLID}&_test_subid=3sh8so4er3").status_code == 302
    values = {"SUBID": "3sh8so4er3", "FBP": FBP, "FBC": f"fb.1.1795564000000.{FBCLID}", "EMAIL": "Example@gmail.com"}
    url = re.sub("SUBID|FBP|FBC|EMAIL", lambda word: quote(values[word[0]]), EXAMPLES["update"].strip())
    assert ask(road, target(url)).status_code == 200
    wait_until(lambda: len(road.nginx.lines("click")) == 2, "the click and its update are in the journal")
    wait_until(lambda: road.daemon.status()["journals"][0].get("clicks") == 2, "both are read")
    road.postback(f"/{KEY}/postback?subid=3sh8so4er3&payout=2")
    user_data = road.wait_for_events(1)[0]["event"]["user_data"]
    assert (user_data["fbp"], user_data["fbc"]) == (FBP, values["FBC"])
    assert user_data["em"] == sha("example@gmail.com")


def test_the_script_asks_for_the_documented_url() -> None:
    """Run with what a browser has, and with the macro replaced."""
    try:
        node = installed("node", "nodejs")
    except PartFailed as missing:
        pytest.skip(str(missing))
    script = EXAMPLES["update-script"].replace("<script>", "").replace("</script>", "").replace("{subid}", "3sh8so4er3")
    browser = (
        f"var document = {{cookie: 'a=b; _fbp={FBP}; _fbc=fb.1.1.x'}};"
        "function Image() { return { set src(url) { console.log(url); } }; }"
    )
    said = subprocess.run([node, "-e", browser + script], capture_output=True, text=True, check=True, timeout=60)
    documented = dict(parse_qsl(urlsplit(EXAMPLES["update"].strip()).query))
    asked = dict(parse_qsl(urlsplit(said.stdout.strip()).query))
    assert asked == {"_update_tokens": "1", "sub_id": "3sh8so4er3", "sub_id_10": FBP, "sub_id_11": "fb.1.1.x"}
    assert asked.keys() < documented.keys()


def test_the_fbclid_of_an_app_is_found_under_its_own_name(start: Callable[[str], Road]) -> None:
    road = start("app")
    road.click("3sh8so4er3", target(filled("app-link", sub1=FBCLID)))
    road.click("4sh8so4er3", target(filled("app-link", sub1="banner7")))
    for subid in ("3sh8so4er3", "4sh8so4er3"):
        road.postback(f"/{KEY}/postback?subid={subid}&payout=2")
    assert road.wait_for_events(1)[0]["event"]["user_data"]["fbc"].endswith(f".{FBCLID}")
    wait_until(lambda: road.reasons("4sh8so4er3") == ["no_fbclid"], "what is no fbclid does not count")
    assert "sub1" in road.daemon.command_line("explain", "--id", "4sh8so4er3").stdout


def test_a_tracker_that_is_not_keitaros_with_the_shipped_nginx_files(
    tmp_path: Path, running: ExitStack, start_daemon: Callable[..., Daemon], standin: StandIn
) -> None:
    tracker = Tracker(tmp_path)
    tracker.command += ["--style", "uuid"]
    running.enter_context(tracker)
    intake = free_address()
    daemon = start_daemon(configuration("other-tracker"), graph=standin.url, intake=intake)
    block = EXAMPLES["other-tracker-nginx"]
    block = block.replace("/var/log/nginx/access.log", str(tmp_path / "access.log"))
    nginx = running.enter_context(Nginx(tmp_path, intake, tracker.address, server=block))
    road = Road(nginx, daemon, standin)

    answer = ask(road, f"/AbCd12?fbclid={FBCLID}", **{"User-Agent": "Mozilla/5.0"})
    assert (answer.status_code, "Set-Cookie" in answer.headers) == (302, False)
    subid = dict(parse_qsl(urlsplit(answer.headers["Location"]).query))["sub"]
    assert len(subid) == len(UUID)

    values = {"status": "approved", "transaction_id": "T1", "payout": "12.5", "currency": "eur"}
    url = target(filled("other-tracker-postback", sub=subid, **values))
    assert ask(road, url).status_code == 200
    event = only_event(standin, daemon)
    assert (event["event_name"], event["event_id"]) == ("Purchase", f"{subid}_sale_T1")
    assert event["custom_data"] == {"value": 12.5, "currency": "EUR"}
    assert event["user_data"]["client_ip_address"] == CDN["CF-Connecting-IP"]
    # By the intake and by the journal it is one postback.
    wait_until(lambda: daemon.status()["journals"][0].get("postbacks") == 1, "the journal brings it too")
    assert len(daemon.explain(subid)) == 1

    # While the intake is down the journal alone brings it.
    daemon.stop()
    assert ask(road, url.replace("T1", "T2")).status_code == 502
    daemon.start()
    assert [each["event_id"] for each in road.wait_for_events(2)] == [f"{subid}_sale_T1", f"{subid}_sale_T2"]


def test_clicks_of_one_path_are_told_apart_by_a_parameter(tmp_path: Path) -> None:
    [(campaigns, only)] = re.findall(r"`(campaigns: \[click\.php\])` and `(only: \{key: \[abc\]\})`", DOCS)
    text = INTEGRATION.replace("campaigns: [AbCd12, 42]", campaigns) + f"    {only}\n"
    (tmp_path / "integrations.yaml").write_text(text)
    loaded = load(tmp_path, resolve=Resolve.NOTHING)
    assert loaded.configuration
    reasons = []
    for key in ("abc", "other"):
        line = {
            "time": "1795564800",
            "uri": f"/click.php?key={key}&fbclid={FBCLID}",
            "host": "x.example",
            "subid": UUID,
        }
        click = read_click(line, loaded.configuration.tracker)
        postback = Postback("1" * 32, 1795564900, "GET", f"/{KEY}/postback?subid={UUID}")
        reasons.append(decide(postback, click, loaded.configuration, 1795564900).reason)
    assert reasons == ["sent", "only"]


def test_the_geoip_file_of_the_page_is_opened_by_check(tmp_path: Path) -> None:
    given = pyyaml.safe_load(EXAMPLES["geoip"])
    write_database(tmp_path / given["tracker"]["geoip"], {"8.8.8.0/24": SAN_FRANCISCO})
    text = INTEGRATION.replace(f"tracker: {{postback_key: {KEY}}}", EXAMPLES["geoip"])
    (tmp_path / "integrations.yaml").write_text(text)
    loaded = load(tmp_path, resolve=Resolve.ALL, environment={})
    assert loaded.configuration
    assert loaded.configuration.tracker.geoip == str(tmp_path / "GeoLite2-City.mmdb")
    assert loaded.notes.findings == []
