"""What the YAML becomes."""

import ipaddress
import os
import time
from decimal import Decimal
from pathlib import Path

import pytest

from sidecar.app.child import Read as ChildRead
from sidecar.app.child import Task, in_child
from sidecar.config.load import Loaded, load, yaml_files
from sidecar.config.secrets import Resolve
from sidecar.core.configuration import (
    DAY,
    HOUR,
    NOTHING,
    PAYOUT,
    Brake,
    Configuration,
    DataProcessing,
    Graph,
    Integration,
    Retention,
    Rule,
    Tracker,
    Value,
)
from sidecar.core.secret import Secret
from tests.config.conftest import Read

CONTRACT = Path(__file__).parent / "contract"
SHIPPED = Path(__file__).parents[2] / "config"

#: An integration's last keys are added to it.
ONE = """
tracker: {postback_key: 2a76c2a}
integrations:
  - name: Summer
    campaigns: AbCd12
    pixel_id: "1234567890123456"
    token: token-of-summer
"""
COLON = "no YAML: mapping values are not allowed in this context"
SALE = "    mapping: {sale: Purchase}\n"


def loaded_well(loaded: Loaded) -> Configuration:
    assert loaded.configuration is not None, [str(note) for note in loaded.notes.mistakes]
    return loaded.configuration


def only_one(loaded: Loaded) -> Integration:
    (integration,) = loaded_well(loaded).integrations
    return integration


def rules(read: Read, text: str) -> dict[str, Rule | None]:
    return dict(only_one(read({"integrations.yaml": f"{ONE}    mapping: m\n", "mappings/m.yaml": text})).mapping.rules)


@pytest.fixture
def contract() -> Configuration:
    return loaded_well(load(CONTRACT, resolve=Resolve.NOTHING))


def test_every_key_of_the_tracker_becomes_its_value(contract: Configuration) -> None:
    tracker = contract.tracker
    assert tracker.postback_keys == (Secret("2a76c2a"),)
    assert tracker.admin_api is not None
    assert (tracker.admin_api.url, tracker.admin_api.proxy) == ("https://tracker.example.com", None)
    assert tracker.statuses == {"sale": ("approved", "billed")}
    assert tracker.geoip == str(CONTRACT / "GeoLite2-City.mmdb")
    assert (tracker.currency, tracker.click_wait, tracker.subid_from) == ("USD", 900.0, ("cookie",))
    assert (tracker.trusted, tracker.cdn, tracker.first_start, tracker.waiting_max) == ((), (), 0.0, 200_000)


def test_every_key_of_the_file_becomes_its_value(contract: Configuration) -> None:
    assert contract.retention == Retention()
    assert contract.graph == Graph(connect=5.0, total=30.0)
    assert contract.brake == Brake(share=0.5, least=200)
    assert contract.canary.every == 0.0


def test_every_key_of_an_integration_becomes_its_value(contract: Configuration) -> None:
    (integration,) = contract.integrations
    assert integration.name == "Summer sale US"
    assert integration.campaigns == ("AbCd12", "42", "shop.example.com")
    assert (integration.pixel_id, integration.pixels) == ("1234567890123456", ())
    assert integration.token == Secret("${file:/etc/capi-sidecar/secrets/summer}")
    assert integration.proxies == (Secret("http://a:3128"), Secret("socks5h://user:pw@b:1080"))
    assert integration.paused is False
    assert (integration.test_event_code, integration.event_id) == ("", "")
    assert (integration.api_version, integration.event_source_url) == ("v26.0", "hashed")
    assert integration.fbclid_from == ("fbclid", "sub1")
    assert integration.data_processing == DataProcessing(("LDU",), 1, 1000)
    assert integration.only == {"country": ("US", "CA")}
    assert integration.customer == {"em": ("em", "email"), "external_id": ("uid",)}
    assert (integration.error, integration.place) == ("", "integrations.yaml:21")


def test_every_line_of_a_mapping_becomes_its_rule(contract: Configuration) -> None:
    mapping = contract.integrations[0].mapping
    assert mapping.name == "nutra"
    assert mapping.rules == {
        "lead": Rule("Lead", place="mappings/nutra.yaml:2"),
        "registration": Rule("CompleteRegistration", place="mappings/nutra.yaml:3"),
        "deposit": Rule(
            "AddPaymentInfo",
            value=Value(share=Decimal("0.5")),
            delay=1800.0,
            skip_zero=True,
            custom_data={"content_name": "{campaign}"},
            place="mappings/nutra.yaml:4",
        ),
        "sale": Rule("Purchase", place="mappings/nutra.yaml:5"),
        "vip": Rule("Purchase", value=Value(amount=Decimal(120)), currency="EUR", place="mappings/nutra.yaml:6"),
        "rejected": None,
    }


def test_the_contract_has_no_finding_but_its_secrets() -> None:
    notes = load(CONTRACT, resolve=Resolve.NOTHING).notes
    assert (notes.mistakes, notes.findings, notes.remarks) == ([], [], [])


def test_the_shipped_configuration_is_valid() -> None:
    loaded = load(SHIPPED, resolve=Resolve.NOTHING)
    assert [each.mapping.name for each in loaded_well(loaded).integrations] == ["default", "nutra"]
    assert (loaded.notes.findings, loaded.notes.remarks) == ([], [])


def test_a_lone_value_stands_for_a_list_of_one(read: Read) -> None:
    text = """
tracker:
  postback_key: a
  subid_from: location:sub
  trusted: 172.16.0.0/12
  cdn: "2400:cb00::/32"
  statuses: {sale: approved}
integrations:
  name: Summer
  campaigns: AbCd12
  pixel_id: "{pixel}"
  pixels: 1234567890123456
  token: token-of-summer
  proxy: http://a:3128
  fbclid_from: sub1
  fbp_from: sub2
  fbc_from: sub3
  data_processing: {options: LDU}
  only: {country: US}
  customer: {em: email, ph: []}
  mapping: {sale: Purchase}
"""
    configuration = loaded_well(read(text))
    (integration,) = configuration.integrations
    assert configuration.tracker == Tracker(
        postback_keys=(Secret("a"),),
        subid_from=("location:sub",),
        trusted=(ipaddress.ip_network("172.16.0.0/12"),),
        cdn=(ipaddress.ip_network("2400:cb00::/32"),),
        statuses={"sale": ("approved",)},
    )
    assert integration.campaigns == ("AbCd12",)
    assert integration.pixels == ("1234567890123456",)
    assert integration.proxies == (Secret("http://a:3128"),)
    assert (integration.fbclid_from, integration.fbp_from, integration.fbc_from) == (("sub1",), ("sub2",), ("sub3",))
    assert integration.data_processing == DataProcessing(("LDU",))
    assert integration.only == {"country": ("US",)}
    assert integration.customer == {"em": ("email",), "ph": ()}


@pytest.mark.parametrize("word", ["0123456", "NO", "on", "12:34:56", "1e3", "0x1F", "2026-11-25", "1_000", "=", "true"])
def test_a_text_is_taken_as_it_is_written(read: Read, word: str) -> None:
    text = f"""
tracker: {{postback_key: {word}, statuses: {{{word}: {word}}}}}
integrations:
  - name: {word}
    campaigns: [{word}]
    pixel_id: "1234567890123456"
    token: {word}
    test_event_code: {word}
    fbclid_from: {word}
    only: {{{word}: {word}}}
    customer: {{em: {word}}}
    mapping: {{{word}: {word}}}
"""
    configuration = loaded_well(read(text))
    (integration,) = configuration.integrations
    assert configuration.tracker.postback_keys == (Secret(word),)
    assert configuration.tracker.statuses == {word: (word,)}
    assert (integration.name, integration.campaigns, integration.test_event_code) == (word, (word,), word)
    assert integration.token == Secret(word)
    assert integration.only == {word: (word,)}
    assert (integration.fbclid_from, integration.customer) == ((word,), {"em": (word,)})
    assert [(status, rule.event) for status, rule in integration.mapping.rules.items() if rule] == [(word, word)]


def test_a_pixel_id_keeps_its_leading_zeros(read: Read) -> None:
    text = f"{ONE}{SALE}".replace('"1234567890123456"', "0123456")
    assert only_one(read(text)).pixel_id == "0123456"


def test_a_mapping_of_that_name_may_be_a_number(read: Read) -> None:
    files = {"integrations.yaml": f"{ONE}    mapping: 007\n", "mappings/007.yaml": "sale: Purchase\n"}
    assert only_one(read(files)).mapping.name == "007"


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("payout", PAYOUT),
        ("none", NOTHING),
        ("50%", Value(share=Decimal("0.5"))),
        ("12.5%", Value(share=Decimal("0.125"))),
        ("120", Value(amount=Decimal(120))),
        ("0120", Value(amount=Decimal(120))),
        ("0.1", Value(amount=Decimal("0.1"))),
    ],
)
def test_a_value_is_the_payout_or_a_share_or_an_amount_or_nothing(read: Read, written: str, value: Value) -> None:
    rule = rules(read, f"sale: {{event: Purchase, value: {written}}}\n")["sale"]
    assert rule is not None
    assert rule.value == value


@pytest.mark.parametrize(
    ("written", "seconds"), [("0s", 0.0), ("90s", 90.0), ("15m", 900.0), ("1.5h", 1.5 * HOUR), ("6d", 6 * DAY)]
)
def test_a_delay_is_at_most_six_days(read: Read, written: str, seconds: float) -> None:
    rule = rules(read, f"sale: {{event: Purchase, delay: {written}}}\n")["sale"]
    assert rule is not None
    assert rule.delay == seconds


def test_custom_data_keeps_numbers_and_truth_and_texts_as_they_are_written(read: Read) -> None:
    text = """
sale:
  event: Purchase
  custom_data:
    {whole: 3, part: 0.5, minus: -2, yes_: true, no_: false, none_: null, quoted: "3", zero: 0123, day: 2026-11-25,
     country: NO, time: 12:34:56, long: 12345678901234567890, list: [1, a, {b: 2}], forced: !!str 3}
"""
    rule = rules(read, text)["sale"]
    assert rule is not None
    assert rule.custom_data == {
        "whole": 3,
        "part": 0.5,
        "minus": -2,
        "yes_": True,
        "no_": False,
        "none_": None,
        "quoted": "3",
        "zero": "0123",
        "day": "2026-11-25",
        "country": "NO",
        "time": "12:34:56",
        "long": "12345678901234567890",
        "list": [1, "a", {"b": 2}],
        "forced": "3",
    }


def test_keitaros_short_words_are_its_statuses_and_other_words_match_exactly(read: Read) -> None:
    assert list(rules(read, "Reg: Lead\ndep: Purchase\nSALE: Purchase\nVip: Vip\nvip: Vip\n")) == [
        "registration",
        "deposit",
        "sale",
        "Vip",
        "vip",
    ]


def test_an_anchor_and_a_merge_key_spare_repetition_and_what_is_written_wins(read: Read) -> None:
    text = """
tracker: {postback_key: a}
integrations:
  - &summer
    name: Summer
    campaigns: &campaigns [AbCd12]
    pixel_id: "1234567890123456"
    token: token-of-summer
    mapping: {sale: &sale {event: Purchase, delay: 1h}, deposit: {<<: *sale, delay: 2h}}
  - <<: [*summer, {paused: true, name: never}]
    name: Winter
    campaigns: *campaigns
"""
    summer, winter = loaded_well(read(text)).integrations
    assert (winter.name, winter.paused, winter.pixel_id) == ("Winter", True, summer.pixel_id)
    assert {status: rule and (rule.event, rule.delay) for status, rule in winter.mapping.rules.items()} == {
        "sale": ("Purchase", HOUR),
        "deposit": ("Purchase", 2 * HOUR),
    }


def test_defaults_give_any_key_and_the_integration_wins(read: Read) -> None:
    text = """
tracker: {postback_key: a, fbclid_from: [sub1], fbp_from: sub2}
defaults: {proxy: "http://a:3128", fbclid_from: [sub3], paused: true, only: {country: US}, mapping: {sale: Purchase}}
integrations:
  - {name: Summer, campaigns: a, pixel_id: 1, token: token-1}
  - {name: Winter, campaigns: a, pixel_id: 1, token: token-2, proxy: null, fbclid_from: fbclid, paused: false, only: {}}
"""
    summer, winter = loaded_well(read(text)).integrations
    assert (summer.fbclid_from, summer.fbp_from) == (("sub3",), ("sub2",))
    assert (summer.proxies, summer.paused, summer.only) == ((Secret("http://a:3128"),), True, {"country": ("US",)})
    assert winter.fbclid_from == ("fbclid",)
    assert (winter.proxies, winter.paused, winter.only) == ((), False, {})
    assert (summer.error, winter.error) == ("", "")


def test_files_count_in_their_order(read: Read) -> None:
    more = "integrations:\n  - {name: %s, campaigns: a, pixel_id: 1, token: token-1, mapping: {sale: Purchase}}\n"
    files = {
        "integrations.d/b.yaml": more % "B",
        "integrations.yaml": ONE + SALE,
        "integrations.d/a.yaml": more % "A",
        "integrations.d/c.yaml.off": "[",
        "mappings/m.yaml": "sale: Purchase\n",
    }
    loaded = read(files)
    assert [each.name for each in loaded_well(loaded).integrations] == ["Summer", "A", "B"]
    directory = loaded.files[0].parent
    assert loaded.files == tuple(directory / name for name in yaml_files(directory))


def test_an_integration_without_campaigns_stands_in_error_and_the_others_run(read: Read) -> None:
    second = "  - {name: Winter, campaigns: b, pixel_id: 1, token: token-1, mapping: {sale: Purchase}}\n"
    summer, winter = loaded_well(read(f"{ONE}{SALE}{second}".replace("AbCd12", "[]"))).integrations
    assert summer.error == "campaigns: no campaign is named, so no conversion is sent"
    assert winter.error == ""


def test_a_directory_that_does_not_exist_is_a_mistake(tmp_path: Path) -> None:
    (mistake,) = load(tmp_path / "none", resolve=Resolve.ALL).notes.mistakes
    assert str(mistake).startswith("integrations.yaml:1:1: cannot be read: No such file or directory; --config names")


def test_a_file_where_a_directory_is_needed_is_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "config").write_text("")
    (mistake,) = load(tmp_path / "config", resolve=Resolve.ALL).notes.mistakes
    assert "cannot be read: Not a directory" in str(mistake)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("# schön\n# schön\n".encode("latin-1"), "integrations.yaml:1:6: not UTF-8"),
        (b"\xef\xbb\xbf# sch\xc3\xb6n \xff", "integrations.yaml:1:9: not UTF-8"),
        ("a: b".encode("utf-16"), "integrations.yaml:1:1: not UTF-8"),
        (b"\xef\xbb\xbf", "integrations.yaml:1:1: the file is empty"),
        ("a: b\u2028\u2028c: d: e".encode(), f"integrations.yaml:3:5: {COLON}"),
        (b"a: b\rc: d: e", f"integrations.yaml:2:5: {COLON}"),
        (b"\0", "integrations.yaml:1:1: the character U+0000 is not allowed"),
    ],
)
def test_bytes_that_are_no_text_are_a_mistake(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "integrations.yaml").write_bytes(content)
    assert [str(note) for note in load(tmp_path, resolve=Resolve.ALL).notes.mistakes] == [message]


def test_windows_line_ends_and_a_byte_order_mark_do_no_harm(tmp_path: Path) -> None:
    (tmp_path / "integrations.yaml").write_bytes(b"\xef\xbb\xbf" + f"{ONE}{SALE}".replace("\n", "\r\n").encode())
    assert only_one(load(tmp_path, resolve=Resolve.ALL)).name == "Summer"


async def test_a_child_process_reads_the_same(read: Read) -> None:
    text = f'{ONE}{SALE}    only: {{country: US}}\n    data_processing: {{options: LDU}}\n    proxy: "http://a:1"\n'
    here = read(text, environment=os.environ)
    there = await in_child(Task(here.files[0].parent, Resolve.ALL))
    assert there == ChildRead(here)


def test_five_hundred_integrations_are_read_in_a_blink(read: Read) -> None:
    one = '  - {{name: "{0}", campaigns: [a{0}, {0}.com], pixel_id: {0}, token: "${{env:TOKEN}}", mapping: m}}\n'
    text = "tracker: {postback_key: a}\nintegrations:\n" + "".join(one.format(number) for number in range(500))
    files = {"integrations.yaml": text, "mappings/m.yaml": "sale: Purchase\n"}
    begin = time.process_time()
    configuration = loaded_well(read(files, environment={"TOKEN": "token-1"}))
    assert time.process_time() - begin < 5  # far more than it needs; what is quadratic takes longer still
    assert len(configuration.by_name) == 500
