"""What was expected against what is decided, as lines that differ where they do."""

from collections.abc import Sequence
from typing import Any

import pytest

from sidecar.core.click import Click
from sidecar.core.configuration import Configuration
from sidecar.core.story import NotSent, Story, Told, Wanted, tell
from tests.core.examples import CLICK, FBC, PIXEL, bare, configuration, integration, postback, rule, sale, sha


def told(
    expected: NotSent | Sequence[Wanted], config: Configuration | None = None, click: Click | None = CLICK
) -> Told:
    return tell(Story("a story", "a.yaml:1", postback(), click, expected), config or configuration())


def one(**wanted: Any) -> Told:
    return told([{name.replace("__", "."): value for name, value in wanted.items()}])


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("event", "Purchase"),
        ("event_name", "Purchase"),
        ("value", 2.61),
        ("currency", "USD"),
        ("event_id", "3sh8so4er3_sale"),
        ("pixel_id", PIXEL),
        ("integration", "Summer"),
        ("event_time", 1795010400),
        ("user_data.fbc", FBC),
        ("user_data.em", "example@gmail.com"),
        ("user_data.em", " Example@GMAIL.com"),
        ("user_data.em", ["example@gmail.com"]),
        ("user_data.em", sha("example@gmail.com")),
        ("user_data.em", [sha("example@gmail.com")]),
        ("user_data.em.0", sha("example@gmail.com")),
        ("user_data.ph", 71234567890),
        ("user_data.st", "California"),
        ("user_data.zp", None),
        ("custom_data.content_name", None),
        ("custom_data", {"value": 2.61, "currency": "USD"}),
    ],
)
def test_an_event_has_what_stands_at_a_path(path: str, value: Any) -> None:
    assert told([{path: value}]).is_true


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("event", "Lead"),
        ("value", 2.6),
        ("value", None),
        ("user_data.em", "other@gmail.com"),
        ("user_data.em", None),
        ("user_data.em", []),
        ("user_data.zp", "12345"),
        ("user_data.em.1", sha("example@gmail.com")),
        ("event_id.deeper", "3sh8so4er3_sale"),
        ("custom_data.value", True),
    ],
)
def test_an_event_that_is_otherwise_is_told(path: str, value: Any) -> None:
    assert not told([{path: value}]).is_true


def test_a_state_is_hashed_in_the_customers_country() -> None:
    click = bare(country="DE", region="CA", fbclid="IwAR0abc", ip="8.8.8.8")
    assert told([{"user_data.st": "CA"}], click=click).is_true
    assert not told([{"user_data.st": "California"}], click=click).is_true


def test_a_path_reaches_into_lists_and_names_with_dots() -> None:
    config = configuration(rule(custom_data={"contents": [{"id": "{subid}"}], "a.b": "c"}))
    assert told([{"custom_data.contents.0.id": "3sh8so4er3", "custom_data.a.b": "c"}], config).is_true


def test_only_what_differs_differs_in_the_lines() -> None:
    answer = one(event="Lead", value=2.61, user_data__em="a@b.cd", user_data__fbp=None)
    assert answer.expected == (
        'event: "Lead"',
        "value: 2.61",
        f'user_data.em: ["{sha("a@b.cd")}"]  # a@b.cd',
        "user_data.fbp: null",
    )
    assert answer.got == (
        'event: "Purchase"',
        "value: 2.61",
        f'user_data.em: ["{sha("example@gmail.com")}"]',
        'user_data.fbp: "fb.1.1795010000000.1234567890"',
    )


def test_a_value_that_no_event_can_carry_is_shown_as_it_was_written() -> None:
    assert one(user_data__em="nobody").expected == ('user_data.em: ["nobody"]',)


def test_what_is_not_sent_is_compared_by_its_reason() -> None:
    assert told(NotSent("no_click", "waiting"), click=None).is_true
    assert told(NotSent("no_click", "waiting")).got == ("accepted: sent",)
    assert told(NotSent("no_fbclid", "rejected"), click=None).expected == ("rejected: no_fbclid",)


def test_an_event_that_did_not_come_and_the_reason_are_told() -> None:
    answer = told([{"event": "Purchase", "user_data.em": "a@b.cd"}], click=None)
    assert answer.expected == ('event: "Purchase"', 'user_data.em: "a@b.cd"')
    assert answer.got == ("waiting: no_click",)


def test_several_events_are_found_by_their_integration_and_else_in_order() -> None:
    config = configuration(integration("A"), integration("B", pixel_id="2"), integration("C", pixel_id="3"))
    assert told([{"integration": "C", "pixel_id": "3"}, {"pixel_id": PIXEL}, {"pixel_id": "2"}], config).is_true
    missing = told([{"integration": "C"}, {"pixel_id": PIXEL}], config)
    assert missing.expected == ('- integration: "C"', f'- pixel_id: "{PIXEL}"')
    assert missing.got[2:] == ('- event: "Purchase"', '  integration: "B"', '  pixel_id: "2"')


def test_an_event_too_few_is_told() -> None:
    answer = told([{"event": "Purchase"}, {"integration": "Winter"}])
    assert answer.expected == ('- event: "Purchase"', '- integration: "Winter"')
    assert answer.got == ('- event: "Purchase"',)


def test_a_story_is_decided_when_its_postback_arrives() -> None:
    old = Story("a story", "a.yaml:1", sale(), CLICK, [{"event_time": 1795010400}])
    assert tell(old, configuration()).is_true
