"""The templates, and what they may call."""

from functools import lru_cache
from importlib import resources
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined

from sidecar.config.shape import duration_of
from sidecar.core.times import iso


def render(template: str, **values: Any) -> str:
    """A page. Whatever is put into it is escaped."""
    return _environment().get_template(template).render(values)


@lru_cache
def asset(name: str) -> str:
    """The style sheet or the script."""
    return resources.files("sidecar.page").joinpath(name).read_text(encoding="utf-8")


def ago(moment: float, now: float) -> str:
    """How long ago, or in how long, in the largest unit that fits."""
    distance = abs(now - moment)
    if distance < 1:
        return "now"
    length = length_of(distance)
    return f"{length} ago" if moment < now else f"in {length}"


def length_of(seconds: float) -> str:
    """A span in the largest unit that fits."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length or (unit == "min" and seconds >= length):
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def number(value: int) -> str:
    """With narrow blanks between thousands."""
    return f"{value:,}".replace(",", "\u202f")


def clock(moment: float) -> str:
    """The time of day, UTC."""
    return iso(moment)[11:16]


def path_of(folder: str, name: str) -> str:
    """The address of one thing in a folder, whatever its name holds."""
    return f"/{folder}/{quote(name, safe='')}"


@lru_cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("sidecar.page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters |= {
        "ago": ago, "clock": clock, "duration": duration_of, "iso": iso, "length": length_of, "number": number,
    }  # fmt: skip
    environment.globals["path_of"] = path_of
    return environment
