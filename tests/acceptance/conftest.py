"""Real parts for each test, stopped with it. Which intake stands behind Nginx is the test's own choice."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.ours import Daemon, StandIn
from tests.acceptance.parts import Nginx, Squid, Tracker, free_address
from tests.acceptance.road import Road


@pytest.fixture
def running() -> Iterator[ExitStack]:
    """What a test starts: entered parts stop in reverse order."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def tracker(tmp_path: Path, running: ExitStack) -> Tracker:
    return running.enter_context(Tracker(tmp_path))


@pytest.fixture
def start_nginx(tmp_path: Path, running: ExitStack, tracker: Tracker) -> Callable[..., Nginx]:
    """`start_nginx(intake, **options of Nginx)`: Nginx before the tracker, mirroring to that intake."""

    def start(intake: str, **options: Any) -> Nginx:
        return running.enter_context(Nginx(tmp_path, intake, tracker.address, **options))

    return start


@pytest.fixture
def start_squid(tmp_path: Path, running: ExitStack) -> Callable[..., Squid]:
    """`start_squid(user, password)`: a proxy that asks for them."""

    def start(user: str = "proxy", password: str = "secret") -> Squid:
        return running.enter_context(Squid(tmp_path, user, password))

    return start


@pytest.fixture
def standin(tmp_path: Path, running: ExitStack) -> StandIn:
    return running.enter_context(StandIn(tmp_path))


@pytest.fixture
def start_daemon(tmp_path: Path, running: ExitStack) -> Callable[..., Daemon]:
    """`start_daemon(yaml, graph=..., intake=...)`: the daemon, which follows the journal of Nginx."""

    def start(yaml: str, **options: Any) -> Daemon:
        options.setdefault("journal", tmp_path / "journal.ndjson")
        return running.enter_context(Daemon(tmp_path, yaml, **options))

    return start


@pytest.fixture
def start_road(
    start_nginx: Callable[..., Nginx], start_daemon: Callable[..., Daemon], standin: StandIn
) -> Callable[[str], Road]:
    """`start_road(yaml)`: everything from the client to the stand-in for Meta."""

    def start(yaml: str) -> Road:
        intake = free_address()
        daemon = start_daemon(yaml, graph=standin.url, intake=intake)
        return Road(start_nginx(intake), daemon, standin)

    return start
