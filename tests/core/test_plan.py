from pathlib import Path

import pytest

from sidecar.core.configuration import Configuration
from sidecar.core.plan import Change, Seen, braked, changes, effects, missing_parameters
from tests.examples import KEY, SUBID, YAML, click, configuration, postback

TWO = (
    YAML
    + """
  - {name: Winter, campaigns: [Winter1], pixel_id: "2", token: token-of-winter, mapping: {sale: Purchase}}
"""
)


def of(directory: Path, text: str) -> Configuration:
    return configuration(directory / str(abs(hash(text))), text)


def seen(count: int, status: str = "sale", campaign: str = "AbCd12") -> list[Seen]:
    known = click(campaign=(campaign,))
    return [
        Seen(postback(number, f"/{KEY}/postback?subid={SUBID}&status={status}&payout=2&tid={number}"), known)
        for number in range(count)
    ]


def test_the_same_configuration_changes_nothing(tmp_path: Path) -> None:
    one = of(tmp_path, TWO)
    assert changes(one, one) == []
    found = effects(one, one, seen(3))
    assert (dict(found.kinds), found.stopped.total()) == ({"same": 3}, 0)


def test_a_moved_line_is_no_change(tmp_path: Path) -> None:
    assert changes(of(tmp_path, YAML), of(tmp_path, "# a comment\n" + YAML)) == []


def test_integrations_are_added_removed_and_altered_field_by_field(tmp_path: Path) -> None:
    altered = YAML.replace("sale: Purchase", "sale: Subscribe").replace("token-of-summer", "another-token")
    assert changes(of(tmp_path, TWO), of(tmp_path, altered)) == [
        Change("removed", "Winter"),
        Change("altered", "Summer", "mapping",
               "inline {lead: Lead, sale: Purchase, deposit: Purchase, rejected: null, slow: Late (delay=3600.0)}",
               "inline {lead: Lead, sale: Subscribe, deposit: Purchase, rejected: null, slow: Late (delay=3600.0)}"),
        Change("altered", "Summer", "token", "(secret)", "(secret)"),
    ]  # fmt: skip
    assert changes(of(tmp_path, YAML), of(tmp_path, TWO)) == [Change("added", "Winter")]


def test_a_changed_tracker_is_told_without_its_key(tmp_path: Path) -> None:
    new = of(tmp_path, YAML.replace("currency: USD", "currency: EUR").replace("2a76c2a", "other00"))
    assert changes(of(tmp_path, YAML), new) == [
        Change("altered", "tracker", "postback_keys", "(secret)", "(secret)"),
        Change("altered", "tracker", "currency", "USD", "EUR"),
    ]


@pytest.mark.parametrize(
    ("old", "new", "kind", "example"),
    [
        ("", "sale: null", "no longer sent", "3sh8so4er3: Purchase 2 USD by Summer -> status_null"),
        ("sale: null", "", "newly sent", "3sh8so4er3: status_null -> Purchase 2 USD by Summer"),
        ("", "sale: Lead", "sent otherwise", "3sh8so4er3: Purchase 2 USD by Summer -> Lead 2 USD by Summer"),
        ("sale: null", "sale: null", "same (not sent)", ""),
    ],
)
def test_each_effect_is_counted_with_an_example(tmp_path: Path, old: str, new: str, kind: str, example: str) -> None:
    before, after = (of(tmp_path, YAML.replace("sale: Purchase", rule or "sale: Purchase")) for rule in (old, new))
    found = effects(before, after, seen(5))
    assert dict(found.kinds) == {kind: 5}
    assert found.examples.get(kind, [])[:1] == ([example] if example else [])


def test_neither_pausing_nor_a_rotated_key_nor_a_renamed_integration_stops_anything(tmp_path: Path) -> None:
    old = of(tmp_path, YAML)
    for new in (
        YAML.replace("campaigns:", "paused: true\n    campaigns:"),
        YAML.replace("2a76c2a", "other00"),
        YAML.replace("name: Summer", "name: Autumn"),
    ):
        assert effects(old, of(tmp_path, new), seen(5)).stopped.total() == 0


def test_another_order_of_integrations_is_a_change(tmp_path: Path) -> None:
    head = "tracker: {postback_key: 2a76c2a}\nintegrations:\n"
    one, two = (
        f'  - {{name: {name}, campaigns: [AbCd12], pixel_id: "1", token: token-{name}, mapping: {{sale: Purchase}}}}\n'
        for name in ("one", "two")
    )
    old, new = of(tmp_path, head + one + two), of(tmp_path, head + two + one)
    assert changes(old, new) == [Change("altered", "order", "", "one, two", "two, one")]
    assert dict(effects(old, new, seen(1)).kinds) == {"sent otherwise": 1}


def test_the_brake_takes_a_small_change_and_refuses_a_large_one(tmp_path: Path) -> None:
    old = of(tmp_path, TWO)
    without_sales = of(tmp_path, TWO.replace("deposit: Purchase", "deposit: null"))
    few = effects(old, without_sales, seen(100) + seen(99, "deposit"))
    many = effects(old, without_sales, seen(99) + seen(101, "deposit"))
    assert braked(few, without_sales, 1.0) == []
    # 101 of 200 is more than half, and 200 is enough to judge by.
    assert braked(many, without_sales, 1.0) == [
        "50% of all: 101 of 200 would stop being sent",
        "50% of Summer: 101 of 200 would stop being sent",
    ]
    assert braked(effects(old, without_sales, seen(199, "deposit")), without_sales, 1.0) == []


def test_one_integration_that_stops_is_braked_though_the_others_go_on(tmp_path: Path) -> None:
    old, new = of(tmp_path, TWO), of(tmp_path, YAML)
    found = effects(old, new, seen(1000) + seen(200, campaign="Winter1"))
    assert braked(found, new, 1.0) == ["100% of Winter: 200 of 200 would stop being sent"]


def test_a_sample_counts_for_those_that_it_stands_for(tmp_path: Path) -> None:
    old, new = of(tmp_path, TWO), of(tmp_path, YAML)
    found = effects(old, new, seen(20, campaign="Winter1"))
    assert braked(found, new, 9.0) == []
    assert len(braked(found, new, 10.0)) == 2


def test_the_share_and_the_least_are_settings_of_the_new_one(tmp_path: Path) -> None:
    brake = "brake: {share: 10%, least: 10}\n"
    old, new = of(tmp_path, YAML), of(tmp_path, brake + YAML.replace("deposit: Purchase", "deposit: null"))
    assert len(braked(effects(old, new, seen(18) + seen(2, "deposit")), new, 1.0)) == 0
    assert len(braked(effects(old, new, seen(17) + seen(3, "deposit")), new, 1.0)) == 2


def test_a_rule_that_needs_what_is_no_longer_kept_is_named(tmp_path: Path) -> None:
    custom = YAML.replace("sale: Purchase", 'sale: {event: Purchase, custom_data: {a: "{shop}", b: "{sub_id_3}"}}')
    assert missing_parameters(of(tmp_path, YAML), of(tmp_path, custom)) == ["shop"]
