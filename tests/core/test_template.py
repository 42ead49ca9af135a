import pytest

from sidecar.core.template import fill, placeholders


def test_the_placeholders_of_a_structure_are_those_of_all_its_texts() -> None:
    assert placeholders({"a": "{x}-{y}", "b": ["{z}", 3, {"c": "{x}"}], "d": ("{w}",)}) == {"x", "y", "z", "w"}


@pytest.mark.parametrize("template", ["", "plain", "{}", "{a b}", "{a.b}", 3, None])
def test_what_names_no_parameter_is_no_placeholder(template: object) -> None:
    assert placeholders(template) == set()
    assert fill(template, lambda name: "never") == template


def test_a_structure_is_filled_and_its_numbers_stay() -> None:
    assert fill({"a": "{x}_{y}", "b": ["{x}", 2.5, True]}, str.upper) == {"a": "X_Y", "b": ["X", 2.5, True]}


def test_a_value_that_looks_like_a_placeholder_is_not_filled_again() -> None:
    assert fill("{x}", lambda name: "{y}") == "{y}"
