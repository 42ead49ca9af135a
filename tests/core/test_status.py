import pytest

from sidecar.core.parameters import parse_query
from sidecar.core.status import NoStatus, Status, normalise


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("", "sale"),
        ("status=", "sale"),
        ("status=Lead", "lead"),
        ("status=+REG+", "registration"),
        ("status=dep", "deposit"),
        ("status=Vip", "Vip"),
        ("status=Approved&sale_status=confirmed,approved", "sale"),
        ("status=hold&lead_status=pending%252Chold", "lead"),
        ("status=ok&reg_status=ok", "registration"),
        ("status=gold&vip_status=gold", "vip"),
        ("status=approved&order_status=approved", "approved"),
        ("status=paid", "rebill"),
        ("status=paid&sale_status=paid", "sale"),
        ("status=sale&lead_status=sale", "lead"),
    ],
)
def test_a_networks_word_becomes_keitaros_status(query: str, name: str) -> None:
    status = normalise(parse_query(query), {"rebill": ["PAID"]}, {"vip"})
    assert isinstance(status, Status)
    assert status.name == name


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("status={status}", "status_macro"),
        ("status=Test&ignore_status=hold,test", "ignore_status"),
        ("status=hold&ignore=hold&sale_status=hold", "ignore_status"),
    ],
)
def test_a_postback_without_a_status_says_why(query: str, reason: str) -> None:
    status = normalise(parse_query(query), {}, ())
    assert isinstance(status, NoStatus)
    assert status.reason == reason
