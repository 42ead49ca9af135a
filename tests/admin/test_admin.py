from base64 import b64encode
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from sidecar.admin import admin_token, application
from sidecar.net import listen, parse_address
from sidecar.sandbox.standin import StandIn

TOKEN = "the-admin-token"


class Shown:
    """A daemon with whatever problems the test gives it."""

    def __init__(self) -> None:
        self.problems: list[str] = []

    def unready(self) -> list[str]:
        return self.problems

    async def status(self) -> dict[str, Any]:
        return {"version": "1"}

    async def metrics(self) -> bytes:
        return b"up 1\n"


@pytest.fixture
def shown() -> Shown:
    return Shown()


@pytest.fixture
async def client(shown: Shown) -> AsyncIterator[aiohttp.ClientSession]:
    runner = web.AppRunner(application(shown, TOKEN, StandIn(lambda: 0.0)))
    await runner.setup()
    address = await listen(runner, parse_address("127.0.0.1:0"))
    async with aiohttp.ClientSession(f"http://{address}") as client:
        yield client
    await runner.cleanup()


async def test_health_readiness_and_status_are_open(client: aiohttp.ClientSession) -> None:
    for path in ("/healthz", "/readyz", "/api/status", "/metrics"):
        async with client.get(path) as answer:
            assert answer.status == 200


async def test_readiness_says_what_is_wrong(client: aiohttp.ClientSession, shown: Shown) -> None:
    shown.problems = ["store: the disk cannot take it"]
    async with client.get("/readyz") as answer:
        assert (answer.status, await answer.text()) == (503, "store: the disk cannot take it\n")
    async with client.get("/healthz") as answer:
        assert answer.status == 200


@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        ("", 401),
        (f"Bearer {TOKEN}", 200),
        (f"bearer {TOKEN}", 200),
        ("Bearer wrong", 401),
        ("Basic " + b64encode(f"anybody:{TOKEN}".encode()).decode(), 200),
        ("Basic " + b64encode(b"anybody:wrong").decode(), 401),
        ("Basic ???", 401),
        ("Digest x", 401),
    ],
)
async def test_what_shows_a_subid_needs_the_token(
    client: aiohttp.ClientSession, authorization: str, status: int
) -> None:
    async with client.get("/_events", headers={"Authorization": authorization}) as answer:
        assert answer.status == status
    async with client.put("/_fail", json={"mode": "none"}, headers={"Authorization": authorization}) as answer:
        assert answer.status == status


async def test_a_token_in_the_url_counts_for_nothing(client: aiohttp.ClientSession) -> None:
    async with client.get(f"/_events?token={TOKEN}") as answer:
        assert answer.status == 401


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8191", "127.0.0.1.evil.example", "localhost.evil"])
async def test_a_foreign_host_is_refused(client: aiohttp.ClientSession, host: str) -> None:
    async with client.get("/healthz", headers={"Host": host}) as answer:
        assert answer.status == 421


@pytest.mark.parametrize("host", ["localhost", "localhost:8191", "127.0.0.1", "[::1]:8191", "192.0.2.1:80"])
async def test_an_address_or_localhost_is_its_own_host(client: aiohttp.ClientSession, host: str) -> None:
    async with client.get("/healthz", headers={"Host": host}) as answer:
        assert answer.status == 200


async def test_an_order_that_is_none_is_told_why(client: aiohttp.ClientSession) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    for body in ("no json", '{"mode": "explode"}'):
        async with client.put("/_fail", data=body, headers=headers) as answer:
            assert answer.status == 400


def test_the_token_is_made_once_and_is_the_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "admin.token"
    token = admin_token(path)
    assert len(token) >= 32
    assert path.stat().st_mode & 0o777 == 0o600
    assert admin_token(path) == token


def test_an_empty_token_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "admin.token"
    path.write_text("\n")
    with pytest.raises(ValueError, match="the admin token is empty"):
        admin_token(path)
