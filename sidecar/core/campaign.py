"""Keitaro's campaigns: what each is called, and which of its parameters holds the fbclid.

Source: the Admin API, `GET /campaigns`. A campaign has an id (a number), an alias (a code, unique, case counts) and a
name (a label, not unique); people use any of them. The fbclid has no column of its own: it is in whatever parameter
the campaign gives the placeholder `{fbclid}`.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self
from urllib.parse import urlsplit

from sidecar.core.click import Click
from sidecar.core.fbclid import FBCLID
from sidecar.core.parameters import clean, is_macro, last_real
from sidecar.core.rows import Row, rows_of, text_of

#: How often parameters that are JSON within JSON are unwrapped; live trackers encode them up to twice.
_WRAPPED = 3

#: What a slot's name, placeholder or alias says of what it holds.
_SIGNS = {
    "fbclid": frozenset({"{fbclid}", "fbclid"}),
    "fbp": frozenset({"fbp", "_fbp", "{fbp}", "{_fbp}"}),
    "fbc": frozenset({"fbc", "_fbc", "{fbc}", "{_fbc}"}),
}


@dataclass(frozen=True, slots=True)
class Slot:
    """One of a campaign's parameters: `name` in the click's URL (`sub1`), the traffic source's `placeholder` for it
    (`{fbclid}`), and the `alias` that reports show."""

    name: str = ""
    placeholder: str = ""
    alias: str = ""

    def holds(self, what: str) -> bool:
        """Whether it is declared to hold an fbclid, fbp or fbc."""
        return not _SIGNS[what].isdisjoint((self.name, self.placeholder, self.alias))


@dataclass(frozen=True)
class Campaign:
    """A campaign of the tracker; `slots` by Keitaro's own name of each (`sub_id_3`, `external_id`); `remark` says why
    there are none, where they could not be read."""

    id: str
    alias: str
    name: str
    slots: Mapping[str, Slot] = field(default_factory=dict)
    remark: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """Alias, id and name, as far as it has them."""
        return tuple(name for name in (self.alias, self.id, self.name) if name)

    def as_json(self) -> dict[str, Any]:
        """Plain JSON, for keeping."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """What `as_json` made."""
        return cls(**{**value, "slots": {slot: Slot(**each) for slot, each in value["slots"].items()}})


def campaigns_of(body: Any) -> tuple[Campaign, ...]:
    """The campaigns of the JSON that `GET /campaigns` answers; ValueError, in words, when it is no list."""
    found = (_campaign(row) for row in rows_of(body))
    return tuple(campaign for campaign in found if campaign.names)


def with_campaigns(click: Click, campaigns: Iterable[Campaign]) -> Click:
    """The click of these campaigns (several only where a name is not unique): with all their names after its own, and
    with fbclid, fbp and fbc from the parameters that their slots declare, where the click has none of its own."""
    campaigns = tuple(campaigns)
    names = tuple(dict.fromkeys((*click.campaign, *(name for each in campaigns for name in each.names))))
    declared: dict[str, Any] = {what: _declared(click, campaigns, what) for what in _SIGNS}
    return replace(click, campaign=names, **{what: value for what, value in declared.items() if value})


class Campaigns:
    """The campaigns of a tracker by id, alias and name. A domain finds none: which campaign is bound to it, no answer
    of the Admin API says."""

    def __init__(self, campaigns: Iterable[Campaign] = ()) -> None:
        campaigns = tuple(campaigns)
        self._by_id = {each.id: each for each in campaigns if each.id}
        self._by_alias = {each.alias: each for each in campaigns if each.alias}
        self._by_name: dict[str, tuple[Campaign, ...]] = {}
        for each in filter(lambda campaign: campaign.name, campaigns):
            self._by_name[each.name] = (*self._by_name.get(each.name, ()), each)

    def of_id(self, id: str) -> Campaign | None:
        """The campaign with this id."""
        return self._by_id.get(id)

    def of(self, click: Click) -> tuple[Campaign, ...]:
        """The campaigns that the first known of the click's names means: as an alias, else as an id, else as a name.

        Only the first: a click that has all names of its campaign must not be given those of its namesake.
        """
        host = _host(click.url)
        named = (self._called(name) for name in click.campaign if name.lower() != host)
        return next(filter(None, named), ())

    def named(self, click: Click) -> Click:
        """The click with every name of its campaign, and with what the campaign's slots declare; see
        `with_campaigns`."""
        found = self.of(click)
        return with_campaigns(click, found) if found else click

    def remarks(self, click: Click) -> tuple[str, ...]:
        """What could not be read of the click's campaigns, what stands in a slot for an fbclid and is none, and that
        no slot is for one."""
        found = self.of(click)
        unread = [each.remark for each in found if each.remark]
        if _own(click, "fbclid"):
            return tuple(dict.fromkeys(unread))
        return tuple(dict.fromkeys((*unread, *_unused(click, found), *_without_template(found))))

    def _called(self, name: str) -> tuple[Campaign, ...]:
        if campaign := self._by_alias.get(name) or self._by_id.get(name):
            return (campaign,)
        return self._by_name.get(name, ())


def _campaign(row: Row) -> Campaign:
    id, alias, name = (text_of(row.get(key)) for key in ("id", "alias", "name"))
    slots = _slots(row.get("parameters"))
    remark = "" if slots is not None else f"the parameters of campaign {alias or id or name} cannot be read"
    return Campaign(id, alias, name, slots or {}, remark)


def _slots(parameters: Any) -> dict[str, Slot] | None:
    """The slots of an object, or of JSON that is one, even twice; None when there is no reading them."""
    for _ in range(_WRAPPED):
        if not isinstance(parameters, str) or not parameters:
            break
        try:
            parameters = json.loads(parameters)
        except (ValueError, RecursionError):
            return None
    if not parameters:
        return {}  # PHP writes an empty object as []
    if not isinstance(parameters, dict):
        return None
    declared = {clean(slot): each for slot, each in parameters.items() if isinstance(each, Mapping)}
    return {slot: Slot(*(text_of(each.get(key)) for key in _SLOT)) for slot, each in declared.items()}


_SLOT = ("name", "placeholder", "alias")


def _own(click: Click, what: str) -> str:
    """What the click itself has: under that very name."""
    return last_real((*click.parameters.get(what, ()), getattr(click, what)))


def _declared(click: Click, campaigns: Iterable[Campaign], what: str) -> str:
    """The value of a slot that is declared to hold it; empty where the click has its own, or where no slot has one."""
    if _own(click, what):
        return ""
    found = (last_real(values) for _, values in _declaring(click, campaigns, what))
    return next((value for value in found if value and (what != "fbclid" or FBCLID.fullmatch(value))), "")


def _declaring(click: Click, campaigns: Iterable[Campaign], what: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The click's parameters, with their values, that a slot declares to hold it."""
    for campaign in campaigns:
        for slot, declared in campaign.slots.items():
            if declared.holds(what):
                for name in dict.fromkeys((declared.name, slot)):
                    if name in click.parameters:
                        yield name, click.parameters[name]


def _unused(click: Click, campaigns: Iterable[Campaign]) -> Iterator[str]:
    for name, values in _declaring(click, campaigns, "fbclid"):
        value = last_real(values)
        if value and not FBCLID.fullmatch(value):
            yield f"the value of {name} does not look like an fbclid and is not used"
        elif not value and any(map(is_macro, values)):
            yield f"a macro stands in {name}, where the campaign expects the fbclid"


def _without_template(campaigns: tuple[Campaign, ...]) -> Iterator[str]:
    """Of campaigns whose parameters can be read, and none of which keeps an fbclid."""
    if campaigns and not any(each.remark or _keeps_fbclid(each) for each in campaigns):
        yield _NO_TEMPLATE.format(", ".join(each.names[0] for each in campaigns))


def _keeps_fbclid(campaign: Campaign) -> bool:
    return any(slot.holds("fbclid") for slot in campaign.slots.values())


_NO_TEMPLATE = (
    "no parameter of campaign {} has the placeholder {{fbclid}}, so Keitaro keeps no fbclid of its clicks; next: in "
    "Keitaro, open the campaign, choose the Facebook template as its traffic source, and save it"
)


def _host(url: str) -> str:
    try:
        return urlsplit(url).netloc.lower()
    except ValueError:
        return ""
