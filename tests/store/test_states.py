"""The tables of the core hold in SQL: every UPDATE of a state names the state that it expects, and only known steps."""

import re

import pytest

from sidecar.core.life import DELIVERY, POSTBACK
from sidecar.store.statements import statements

TABLES = {"postback": POSTBACK, "delivery": DELIVERY}

UPDATES = {name: sql for name, sql in statements("queries.sql").items() if re.match(r"UPDATE \w+ SET state\b", sql)}


@pytest.mark.parametrize("name", UPDATES)
def test_an_update_of_a_state_names_what_it_expects_and_is_a_step_of_the_table(name: str) -> None:
    sql = UPDATES[name]
    table = re.match(r"UPDATE (\w+)", sql)
    assert table
    new = re.search(r"SET state = ('\w+'|:state)", sql)
    expected = re.search(r"WHERE .*?\bstate (?:= ('\w+'|:expected)|IN \(([^)]*)\))", sql, re.DOTALL)
    assert new and expected
    if ":" in new[1] + (expected[1] or ""):
        return  # both are given by the caller, which the store's own tests hold
    for before in re.findall(r"\w+", expected[1] or expected[2]):
        after = new[1].strip("'")
        assert after == before or after in TABLES[table[1]][before]


def test_there_are_such_updates() -> None:
    assert {"lease", "settle", "bury", "withdraw", "release_leases", "wait", "decide"} <= set(UPDATES)
