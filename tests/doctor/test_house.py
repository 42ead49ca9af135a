"""What is wrong with the rest of the house, from facts; and the facts, from a real journal."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from sidecar.doctor import look
from sidecar.doctor.finding import Severity, Trap, examine
from sidecar.doctor.house import HOUSE, Disk, House, Journal
from tests.examples import FBCLID, NOW, TARGET, configuration

PATH = "/var/log/capi-sidecar/journal.ndjson"
WELL_JOURNAL = Journal(PATH, mode=0o640, directory_mode=0o2750, age=60, clicks=100, subids=90, fbclids=80, postbacks=40)
WELL = House(
    config="config", admin="127.0.0.1:8191", intake="127.0.0.1:8190", journals=(WELL_JOURNAL,), store="state",
    store_mode="live", token="state/admin.token", token_mode=0o600, disks=(Disk("state", 90 << 30, 100 << 30),),
)  # fmt: skip

#: Each check with facts that make it speak.
ILL = {
    "journal-unreadable": {"journals": (Journal(PATH, fault="Permission denied"),)},
    "journal-world-readable": {"journals": (replace(WELL_JOURNAL, mode=0o644),)},
    "journal-directory": {"journals": (replace(WELL_JOURNAL, directory_mode=0o755),)},
    "journal-silent": {"journals": (replace(WELL_JOURNAL, age=7200),)},
    "journal-foreign": {"journals": (replace(WELL_JOURNAL, bad="no JSON object"),)},
    "clicks-missing": {"journals": (replace(WELL_JOURNAL, clicks=0, subids=0, fbclids=0),)},
    "clicks-without-subid": {"journals": (replace(WELL_JOURNAL, subids=0),)},
    "clicks-few-subids": {"journals": (replace(WELL_JOURNAL, subids=20),)},
    "clicks-without-fbclid": {"journals": (replace(WELL_JOURNAL, fbclids=0),)},
    "postbacks-without-click": {"journals": (replace(WELL_JOURNAL, strangers=20),)},
    "configuration": {"mistakes": 1},
    "configuration-findings": {"findings": 2},
    "secrets": {"unreadable": (("integrations.yaml:7", "secret cannot be read"),), "may_read": True},
    "secrets-unseen": {"unreadable": (("integrations.yaml:7", "secret cannot be read"),)},
    "daemon": {"daemon": "no daemon answers"},
    "daemon-not-ready": {"problems": ("store: the disk cannot take it",)},
    "intake": {"intake_fault": "Connection refused"},
    "store": {"store_fault": "there is no store"},
    "store-mode": {"store_mode": "sandbox"},
    "admin-token": {"token_mode": 0o644},
    "disk-space": {"disks": (Disk("state", 1 << 30, 100 << 30),)},
    "clock": {"clock": False},
    "proxy": {"proxies": (("10.0.0.5:3128", "Connection refused"),)},
}


def test_a_well_house_has_no_finding() -> None:
    assert examine(HOUSE, WELL) == []


@pytest.mark.parametrize("trap", HOUSE, ids=lambda trap: trap.name)
def test_each_check_speaks_of_its_own_fault_only(trap: Trap[House]) -> None:
    [finding] = examine(HOUSE, replace(WELL, **ILL[trap.name]))
    assert (finding.check, finding.severity) == (trap.name, trap.severity)
    assert finding.place and finding.what and finding.why and finding.type


def test_a_disk_with_little_left_is_wrong_however_small_it_is() -> None:
    [finding] = examine(HOUSE, replace(WELL, disks=(Disk("state", 150 << 20, 1 << 30),)))
    assert (finding.severity, finding.what) == (Severity.WRONG, "150 MB are free, 14 % of the disk")


def line(event: str, uri: str, number: int, **more: str) -> str:
    fields = {"v": "1", "event": event, "id": f"{number:032x}", "time": str(NOW), "uri": uri, **more}
    return "{" + ",".join(f'"{name}":"{value}"' for name, value in fields.items()) + "}\n"


def test_the_journal_is_counted_over_its_rotated_files(tmp_path: Path) -> None:
    journal = tmp_path / "journal.ndjson"
    older = tmp_path / "journal.ndjson.1"
    older.write_text(line("click", f"/AbCd12?fbclid={FBCLID}", 1, subid="3sh8so4er3") + line("click", "/x", 2))
    journal.write_text(
        line("click", "/AbCd12", 3, subid="abcdef123456")
        + line("postback", TARGET, 4)
        + line("postback", TARGET.replace("3sh8so4er3", "unknown12345"), 5)
        + line("postback", "/wrong77/postback?subid=unknown12345", 6)
        + line("postback", "/2a76c2a/postback?subid=unknown12345&campaign=AbCd12&fbclid=IwAR0", 7)
        + "none of ours\n"
    )
    os.utime(older, (NOW, NOW))
    seen = look.journal(journal, configuration(tmp_path / "config"), tmp_path / "absent.sqlite3", NOW + 60)
    assert (seen.clicks, seen.subids, seen.fbclids, seen.postbacks) == (3, 2, 1, 4)
    assert (seen.fault, seen.bad, seen.age) == ("", "no JSON object", 60)


def test_a_journal_that_is_not_there_is_a_fault(tmp_path: Path) -> None:
    assert look.journal(tmp_path / "none", None, tmp_path / "store", NOW).fault == "No such file or directory"
