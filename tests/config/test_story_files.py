"""What a file of stories says, and what is said of one with mistakes."""

import textwrap
from pathlib import Path

import pytest

from sidecar.config.load import load
from sidecar.config.secrets import Resolve
from sidecar.config.shape import Notes
from sidecar.config.story import CLICKED_AT, LATER, read_stories, story_files, written
from sidecar.core.click import Click
from sidecar.core.story import NotSent, Story
from tests.config.conftest import Read
from tests.examples import NOW, SUBID, YAML

TARGET = f"/2a76c2a/postback?subid={SUBID}"


def read_text(directory: Path, text: str) -> tuple[list[Story], list[str]]:
    """The stories, and what is said of the file without its name."""
    path = directory / "a.yaml"
    path.write_text(textwrap.dedent(text))
    notes = Notes()
    return read_stories(path, notes), [str(note).removeprefix(f"{path}:") for note in sorted(notes.mistakes)]


def only_one(directory: Path, text: str) -> Story:
    stories, mistakes = read_text(directory, text)
    assert mistakes == []
    (story,) = stories
    return story


def test_a_story_has_a_click_a_postback_and_what_is_expected(tmp_path: Path) -> None:
    text = f"""
    - name: a sale is a Purchase
      click:
        campaign: [AbCd12, 042]
        clicked_at: 2026-11-25T00:00:00Z
        fbclid: IwAR0
        ua: Mozilla
        country: NO
        parameters: {{ad: 0077, sub: [a, on]}}
      postback: {TARGET}
      received_at: 1795564890
      expect:
        event: Purchase
        value: 2.60
        currency: usd
        fields: {{user_data.em: a@example.com, user_data.fbc: null, custom_data.tags: [a, 1]}}
    """
    story = only_one(tmp_path, text)
    assert (story.name, story.place) == ("a sale is a Purchase", f"{tmp_path / 'a.yaml'}:2")
    assert story.click == Click(
        SUBID,
        campaign=("AbCd12", "042"),
        clicked_at=NOW,
        fbclid="IwAR0",
        user_agent="Mozilla",
        country="NO",
        parameters={"ad": ("0077",), "sub": ("a", "on")},
    )
    assert (story.postback.method, story.postback.uri, story.postback.received_at) == ("GET", TARGET, NOW + 90)
    assert story.expected == (
        {
            "event": "Purchase",
            "value": 2.6,
            "currency": "USD",
            "user_data.em": "a@example.com",
            "user_data.fbc": None,
            "custom_data.tags": ["a", 1],
        },
    )


@pytest.mark.parametrize(
    ("click", "target", "clicked_at"),
    [
        ("{clicked_at: 2026-11-25T00:00:00Z}", TARGET, NOW),
        ("{campaign: AbCd12}", f"{TARGET}&clicked_at=1795564800", NOW),
        ("{campaign: AbCd12}", TARGET, CLICKED_AT),
        ("null", TARGET, CLICKED_AT),
    ],
)
def test_a_postback_comes_a_minute_after_its_click_and_never_today(
    tmp_path: Path, click: str, target: str, clicked_at: float
) -> None:
    story = only_one(tmp_path, f"- {{name: a, click: {click}, postback: '{target}', expect: {{event: Lead}}}}")
    assert story.postback.received_at == clicked_at + LATER


def test_a_request_may_have_a_body_and_is_then_a_post(tmp_path: Path) -> None:
    text = """
    - name: a form
      postback: {url: /2a76c2a/postback, type: application/x-www-form-urlencoded, body: subid=3sh8so4er3}
      expect: {reason: no_click}
    """
    postback = only_one(tmp_path, text).postback
    assert (postback.method, postback.body) == ("POST", b"subid=3sh8so4er3")


def test_what_is_not_sent_has_the_decision_of_its_reason(tmp_path: Path) -> None:
    story = only_one(tmp_path, "- {name: a, postback: x, expect: {reason: no_fbclid}}")
    assert story.expected == NotSent("no_fbclid", "rejected")


def test_several_events_are_a_list(tmp_path: Path) -> None:
    text = "- {name: a, postback: x, expect: [{event: Lead, integration: A}, {event: Lead, integration: B}]}"
    assert only_one(tmp_path, text).expected == (
        {"event": "Lead", "integration": "A"},
        {"event": "Lead", "integration": "B"},
    )


def test_all_mistakes_of_a_file_are_told_with_their_places(tmp_path: Path) -> None:
    text = """\
    - name: wrong
      clik: {campaign: AbCd12}
      postback: {uri: x}
      received_at: soon
      expect: {event: Lead, value: much, fields: {user_data.emm: x, userdata.em: x}}
    - name: wrong
      click: {campaing: a, clicked_at: never}
      postback: x
      expect: {reason: status_nul, event: Lead}
    - postback: x
      expect: []
    - {name: a, postback: x, expect: {}}
    - {name: b, postback: x, expect: {reason: status_null, decision: rejected}}
    - {name: c, expect: {decision: rejected}}
    - d
    """
    stories, mistakes = read_text(tmp_path, text)
    assert stories == []
    assert mistakes == [
        '2:3: [0].clik: unknown key; did you mean "click"?',
        "3:13: [0].postback: url is missing",
        '3:14: [0].postback.uri: unknown key; did you mean "url"?',
        "4:16: [0].received_at: a moment is needed: Unix seconds, milliseconds or ISO 8601",
        '5:32: [0].expect.value: "much" is not an amount such as 2.61',
        '5:47: [0].expect.fields: user_data has no emm; did you mean "em"?',
        '5:65: [0].expect.fields: an event has no userdata; did you mean "user_data"?',
        "6:9: [1].name: a story of this name stands in line 1 too; names are unique in a file",
        '7:11: [1].click.campaing: unknown key; did you mean "campaign"?',
        "7:36: [1].click.clicked_at: a moment is needed: Unix seconds, milliseconds or ISO 8601",
        '9:20: [1].expect.reason: "status_nul" is unknown; did you mean "status_null"?',
        "9:32: [1].expect.event: unknown key; allowed are reason, decision",
        "10:3: [2]: name is missing",
        "11:11: [2].expect: the list of events is empty; write reason: WHY where nothing is sent",
        "12:34: [3].expect: nothing is expected here; write event: NAME, or reason: WHY where nothing is sent",
        "13:66: [4].expect.decision: status_null is ignored",
        "14:3: [5]: postback is missing",
        "14:21: [5].expect: reason is missing",
        "15:3: [6]: a lone value where a mapping (key: value) is needed",
    ]


def test_a_file_that_cannot_be_read_is_a_mistake(tmp_path: Path) -> None:
    notes = Notes()
    assert read_stories(tmp_path / "none.yaml", notes) == []
    assert [note.message for note in notes.mistakes] == ["cannot be read: No such file or directory"]


@pytest.mark.parametrize(
    "text", ["plain", "0123", "on", "2026-11-25", "{fbclid}", "a: b # c", "тест\u2028\x85\x00é", " "]
)
def test_what_is_written_reads_as_the_same(tmp_path: Path, text: str) -> None:
    click = {"campaign": text, "referrer": text, "parameters": {f"a{text}": [text, text]}}
    expected = {"event": "Lead", "fields": {"custom_data.x": text, "user_data.fbc": None}}
    document = {"name": f"a {text}", "click": click, "postback": f"/a{text}", "received_at": NOW, "expect": expected}
    story = only_one(tmp_path, written(document))
    assert story.click == Click("", (text,), referrer=text, parameters={f"a{text}": (text, text)})
    assert (story.name, story.postback.uri, story.postback.received_at) == (f"a {text}", f"/a{text}", NOW)
    assert story.expected == ({"event": "Lead", "custom_data.x": text, "user_data.fbc": None},)


def test_stories_are_no_part_of_what_the_daemon_loads(read: Read, tmp_path: Path) -> None:
    before = read(YAML)
    after = read({"integrations.yaml": YAML, "tests/a.yaml": "- no story: [", "tests/b.yaml": ""})
    assert story_files(tmp_path / "config") == [tmp_path / "config/tests/a.yaml", tmp_path / "config/tests/b.yaml"]
    assert (after.hash, after.files, after.notes) == (before.hash, before.files, before.notes)
    loaded = load(tmp_path / "config", resolve=Resolve.NOTHING)
    assert loaded.configuration is not None
    assert loaded.configuration.hash == before.hash
