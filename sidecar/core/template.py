"""Texts with placeholders, such as `{subid}_{status}`."""

import re
from collections.abc import Callable
from typing import Any

_PLACEHOLDER = re.compile(r"\{([A-Za-z0-9_]+)\}")


def placeholders(template: Any) -> set[str]:
    """The names that a template, or a structure of templates, needs."""
    if isinstance(template, str):
        return set(_PLACEHOLDER.findall(template))
    if isinstance(template, dict):
        return set().union(*map(placeholders, template.values()))
    if isinstance(template, list | tuple):
        return set().union(*map(placeholders, template))
    return set()


def fill(template: Any, value_of: Callable[[str], str]) -> Any:
    """The template, or the structure of templates, with each placeholder replaced by its value."""
    if isinstance(template, str):
        return _PLACEHOLDER.sub(lambda match: value_of(match[1]), template)
    if isinstance(template, dict):
        return {name: fill(item, value_of) for name, item in template.items()}
    if isinstance(template, list | tuple):
        return [fill(item, value_of) for item in template]
    return template
