"""A state directory whose disk is full, for real: a file system of some megabytes."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from tests.acceptance.parts import wait_until
from tests.acceptance.road import Road, yaml
from tests.examples import KEY, SUBID


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    directory = tmp_path / "state"
    directory.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40m,mode=0700", "tmpfs", str(directory)], check=True)
    yield directory
    subprocess.run(["umount", "-l", str(directory)], check=True)


def fill(path: Path) -> None:
    """Takes every free byte."""
    with path.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
        while True:
            file.write(bytes(4096))


def test_on_a_full_disk_the_journal_waits_couriers_settle_and_all_recovers_by_itself(
    small_disk: Path, start_road: Callable[[str], Road]
) -> None:
    road = start_road(yaml())
    target = f"/{KEY}/postback?subid={SUBID}&payout=1&tid="
    road.click()
    road.standin.fail(mode="slow", seconds=4)
    road.postback(target + "1")
    wait_until(lambda: road.daemon.status()["deliveries"] == {"leased": 1}, "the event is on its way")
    fill(small_disk / "filler")
    intake = f"http://{road.daemon.intake}{target}"

    def refused() -> bool:
        return requests.get(intake + "2", timeout=30).status_code == 503

    wait_until(refused, "the intake refuses")
    wait_until(lambda: road.daemon.status()["deliveries"].get("delivered", 0) >= 1, "the courier settles")
    road.postback(target + "3")
    wait_until(lambda: len(road.nginx.lines("postback")) == 2, "the journal has the postback")
    assert refused()
    assert requests.get(f"http://{road.daemon.admin}/readyz", timeout=30).status_code == 503
    status = road.daemon.command_line("status")
    assert status.returncode == 1
    assert "the disk cannot take it" in status.stdout
    stored = {row["event_id"] for row in road.standin.events()}
    assert f"{SUBID}_sale_3" not in stored
    (small_disk / "filler").unlink()
    road.standin.fail(mode="none")
    wait_until(lambda: f"{SUBID}_sale_3" in {row["event_id"] for row in road.standin.events()}, "it is sent", 60)
    assert requests.get(f"http://{road.daemon.admin}/readyz", timeout=30).status_code == 200
