"""`capi-sidecar schema`, run as an editor's person runs it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from sidecar.cli.schema import FILES

ROOT = Path(__file__).parents[2]


def schema(*arguments: str) -> tuple[int, str]:
    """Exit code and what was printed."""
    command = [sys.executable, "-m", "sidecar", "schema", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout


@pytest.mark.parametrize("kind", FILES)
def test_the_shipped_schema_is_what_the_command_prints(kind: str) -> None:
    code, printed = schema(kind)
    assert code == 0
    assert printed == (ROOT / f"config/schema/{kind}.json").read_text(), "make schema writes it anew"


def test_without_a_name_it_is_that_of_integrations() -> None:
    assert schema() == schema("integrations")


def test_another_name_is_a_usage_error() -> None:
    assert schema("nginx") == (2, "")


def test_a_schema_tells_its_draft() -> None:
    assert json.loads(schema("mapping")[1])["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_check_builds_no_schema() -> None:
    code = "import sys; from sidecar.cli.main import main; main(['check']); print('sidecar.cli.schema' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
