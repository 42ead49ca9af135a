"""Why conversions are not sent: each cause that Keitaro's page names is produced for real, and `explain` names it with
the next step, in words that whoever runs the ads understands."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.acceptance.keitaro import KEY as API_KEY
from tests.acceptance.keitaro import AdminApiStandIn
from tests.acceptance.parts import wait_until
from tests.acceptance.road import TOKEN, Road, yaml
from tests.examples import FBCLID, KEY, PIXEL, SUBID

POSTBACK = f"/{KEY}/postback?subid={SUBID}&status=sale&payout=2.61"


@dataclass(frozen=True)
class Cause:
    """What a visitor opened and which status the network sent, and what `explain` says: its first line, what is found,
    and the next step. `without` is taken out of the configuration."""

    reason: str
    found: str
    next: str
    link: str = f"/AbCd12?fbclid={FBCLID}"
    status: str = "sale"
    without: str = ""


#: "Error Diagnostics, Conversions Are Not Sent" of Keitaro's page, as far as the postback's own decision tells.
CAUSES = {
    "no click has an fbclid": Cause(
        "rejected: no_fbclid",
        "the click has no fbclid",
        "click the ad in Facebook, which adds fbclid to its link by itself, and look whether fbclid=... stands in the "
        "address; the ad's link must be that of the Keitaro campaign",
        link="/AbCd12?utm_source=facebook",
    ),
    "a literal {fbclid} in the ad's URL parameters": Cause(
        "rejected: literal_fbclid",
        "the fbclid is an unreplaced macro",
        "in Facebook Ads Manager, remove fbclid={fbclid} from the ad's URL parameters: Facebook adds the real one by "
        "itself; leave the campaign's template in Keitaro as it is",
        link="/AbCd12?fbclid=%7Bfbclid%7D&utm_source=facebook",
    ),
    "the integration is tied to another campaign": Cause(
        "ignored: campaign_without_integration",
        "click: from journal, campaign Winter9",
        "add the campaign to campaigns of the integration that is to report it: its alias, which stands after the "
        "domain in the campaign's link, or its domain",
        link=f"/Winter9?fbclid={FBCLID}",
    ),
    "the integration is tied to no campaign": Cause(
        "ignored: integration_without_campaign",
        "these have none at all: Summer",
        "add the campaign to campaigns of the integration: its alias, which stands after the domain in the campaign's "
        "link, or its domain",
        without="    campaigns: [AbCd12]\n",
    ),
    "the mapping does not know the status": Cause(
        "ignored: status_unmapped",
        "has no line for rebill",
        "add a line for this status to the mapping: the status, a colon and the Facebook event, such as Purchase",
        status="rebill",
    ),
    "the mapping says not to send it": Cause(
        "ignored: status_null",
        "says not to send rejected",
        "the mapping says not to send it; give the status an event to change that",
        status="rejected",
    ),
}


@pytest.mark.parametrize("cause", CAUSES.values(), ids=CAUSES)
def test_a_cause_is_named_with_the_next_step(start_road: Callable[[str], Road], cause: Cause) -> None:
    text = yaml()
    assert cause.without in text
    road = start_road(text.replace(cause.without, ""))
    road.click(target=cause.link)
    road.postback(POSTBACK.replace("sale", cause.status))
    reason = cause.reason.split(": ")[1]
    wait_until(lambda: road.reasons(SUBID) == [reason], f"explain says {reason}\n{road.daemon.explain(SUBID)}")
    first, *lines = explained(road)
    assert first.startswith(cause.reason)
    [step] = [line for line in lines if line.startswith("  next: ")]
    assert cause.next in step
    assert [line for line in lines if cause.found in line]
    assert road.standin.listing()["requests"] == 0


def test_an_integration_that_is_tied_to_no_campaign_is_a_problem_before_any_conversion_came(
    start_road: Callable[[str], Road],
) -> None:
    road = start_road(yaml().replace("    campaigns: [AbCd12]\n", ""))
    road.click()
    wait_until(lambda: len(problems(road)) == 1, "there is one problem, for the journal is there")
    [problem] = problems(road)
    assert problem.startswith("integration Summer (integrations.yaml:")
    assert "campaign" in problem


def test_a_campaign_without_the_facebook_templates_parameter_is_named(
    tmp_path: Path, running: ExitStack, start_road: Callable[[str], Road]
) -> None:
    """The tracker alone saw the click, and kept no fbclid of it: its campaign has no parameter for one."""
    api = running.enter_context(AdminApiStandIn(tmp_path))
    template = {"sub_id_1": {"name": "utm_campaign", "placeholder": "{{campaign.name}}"}}
    campaign = {"id": 7, "alias": "AbCd12", "name": "Summer", "parameters": template}
    click = {"sub_id": SUBID, "campaign_id": 7, "campaign": "Summer", "sub_id_1": "Summer sale", "ip": "8.8.8.8",
             "datetime": time.time() - 60}  # fmt: skip
    api.set(campaigns=[campaign], clicks=[click])
    road = start_road(yaml(admin_api=f'{{url: "{api.url}", key: "{API_KEY}"}}'))
    road.postback(POSTBACK)
    wait_until(lambda: road.reasons(SUBID) == ["no_fbclid"], "explain says no_fbclid")
    [remark] = [line for line in explained(road) if "remark: " in line]
    assert remark == (
        "  remark: no parameter of campaign AbCd12 has the placeholder {fbclid}, so Keitaro keeps no fbclid of its "
        "clicks; next: in Keitaro, open the campaign, choose the Facebook template as its traffic source, and save it"
    )

    # Done as told, the next conversion is sent.
    slots = {**template, "external_id": {"name": "fbclid", "placeholder": "{fbclid}"}}
    mended = click | {"sub_id": "4sh8so4er3", "external_id": FBCLID}
    api.set(campaigns=[campaign | {"parameters": slots}], clicks=[mended])
    road.daemon.restart()  # the campaigns are read again within ten minutes; nobody waits for that here
    road.postback(POSTBACK.replace(SUBID, "4sh8so4er3"))
    [event] = road.wait_for_events(1)
    assert event["event"]["user_data"]["fbc"].endswith(f".{FBCLID}")


@dataclass(frozen=True)
class Refusal:
    """How Meta answers, and what is said of it: its own words, what they mean, and the next step."""

    mode: str
    verdict: str
    words: str
    meaning: str
    next: str


#: The last two of the page: only Meta knows them.
REFUSALS = {
    "a wrong pixel id": Refusal(
        "invisible",
        "permission",
        "Unsupported post request. Object does not exist",
        "the pixel does not exist, or the token may not use it",
        "compare pixel_id with the number in Facebook Events Manager; if it is right, generate the token at that very "
        "pixel, or give it access in Business Manager: it is tried again by itself; if it was wrong, call the "
        "postbacks that came meanwhile once more, for no event moves to another pixel",
    ),
    "a token that is not valid": Refusal(
        "token",
        "token",
        "Error validating access token: Session has expired",
        "Meta refuses the token: it is wrong, has expired or was withdrawn",
        "generate a new token at the pixel in Facebook Events Manager and put it into its place; sending resumes by "
        "itself, and nothing is lost",
    ),
}


@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS)
def test_what_only_meta_can_say_is_named_with_the_next_step(
    start_road: Callable[[str], Road], refusal: Refusal
) -> None:
    road = start_road(yaml())
    road.standin.fail(mode=refusal.mode, pixel_id=PIXEL, token=TOKEN)
    road.click()
    road.postback(POSTBACK)
    wait_until(lambda: problems(road), "status names a problem")
    [attempt] = [line for line in explained(road) if "attempt 1, " in line]
    [problem] = problems(road)
    assert problem.startswith(f"{refusal.verdict}: pixel {PIXEL}, Summer (integrations.yaml:")
    said = (refusal.words, refusal.meaning, refusal.next)
    assert [part for part in said if part not in attempt or part not in problem] == []
    assert TOKEN not in attempt + problem


def test_a_mended_token_sends_what_waited(start_road: Callable[[str], Road]) -> None:
    road = start_road(yaml())
    road.standin.fail(mode="token", token=TOKEN)
    road.click()
    road.postback(POSTBACK)
    wait_until(lambda: problems(road), "status names a problem")
    road.daemon.configure(yaml().replace(TOKEN, "EAAmended-token"))
    road.wait_for_events(1)
    wait_until(lambda: not problems(road), "all is well")


def test_a_mended_pixel_id_takes_the_postback_that_is_called_once_more(start_road: Callable[[str], Road]) -> None:
    road = start_road(yaml())
    road.standin.fail(mode="invisible", pixel_id=PIXEL)
    road.click()
    road.postback(POSTBACK)
    wait_until(lambda: problems(road), "status names a problem")
    road.daemon.configure(yaml().replace(PIXEL, "6543210987654321"))
    wait_until(lambda: "configuration.loaded" in road.daemon.log, "the edit is in force")
    road.postback(POSTBACK)
    [event] = road.wait_for_events(1)
    assert (event["pixel_id"], event["event_id"]) == ("6543210987654321", f"{SUBID}_sale")


def explained(road: Road) -> list[str]:
    """What `explain --id SUBID` says to people."""
    return road.daemon.command_line("explain", "--id", SUBID).stdout.splitlines()


def problems(road: Road) -> list[str]:
    """What `status` says is wrong."""
    said = road.daemon.command_line("status").stdout.splitlines()
    return [line.removeprefix("PROBLEM ") for line in said if line.startswith("PROBLEM ")]
