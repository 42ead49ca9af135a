"""What is wrong with a running daemon, told from its status: where, since when, and what to do."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from shlex import quote
from typing import Any

from sidecar.core.advice import ANSWER
from sidecar.core.times import iso


@dataclass(frozen=True)
class Problem:
    """What is wrong, and in words what to do where the first does not say it.

    `since`, and `until` at which it is tried again, are Unix seconds, None where nobody knows; `integrations` are those
    that it concerns, and `commands` what to type.
    """

    what: str
    then: str = ""
    since: float | None = None
    until: float | None = None
    integrations: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()

    @property
    def line(self) -> str:
        """All of it in one line."""
        again = f"tried again at {iso(self.until)}" if self.until else ""
        return "; ".join(filter(None, (self.what, self.then, again)))


def problems(status: Mapping[str, Any]) -> Iterator[Problem]:
    """Of the JSON of `/api/status`."""
    yield from map(Problem, status["problems"])
    yield from _of_configuration(status["configuration"])
    loaded_at = status["configuration"]["loaded_at"]
    for each in status["integrations"]:
        yield from _of_integration(each, loaded_at)
    if (api := status["admin_api"]) and api["trouble"]:
        yield Problem(f"admin_api: {api['trouble']}", "what the store knows does not wait for it")
    yield from (_of_silence(each) for each in status["silence"] if each["silent"])
    yield from (_of_canary(flight) for flight in status["canary"] if not flight["ok"])
    yield from (_of_lane(lane) for lane in status["lanes"] if lane["state"] != "active")
    for journal in status["journals"]:
        yield from _of_journal(journal, status["mode"])
    if wrong_keys(status) and not status["postbacks"]:
        yield Problem("intake: every postback had another key than tracker.postback_key")


def wrong_keys(status: Mapping[str, Any]) -> int:
    """How many postbacks came with another key, and were not stored."""
    journals = sum(journal.get("wrong_key", 0) for journal in status["journals"])
    return int(status["intake"].get("wrong_key", 0) + journals)


def _of_configuration(configuration: Mapping[str, Any]) -> Iterator[Problem]:
    if error := configuration["error"]:
        braked = error.startswith("brake: ")
        yield Problem(
            f"configuration refused, the last good one runs: {error}",
            "capi-sidecar check tells all",
            since=configuration.get("refused_at"),
            commands=("capi-sidecar plan", "capi-sidecar reload --accept") if braked else ("capi-sidecar check",),
        )


def _of_integration(each: Mapping[str, Any], loaded_at: float) -> Iterator[Problem]:
    name, names = each["name"], (each["name"],)
    if each["status"].startswith("error"):
        words = f"integration {name} ({each['at']}): {each['status'].removeprefix('error: ')}"
        yield Problem(words, since=loaded_at, integrations=names, commands=("capi-sidecar check --secrets",))
    elif each["status"] == "gone" and each["waiting"]:
        words = f"integration {name} is gone, and {each['waiting']} events still wait for it"
        release = f"capi-sidecar queue release --integration {quote(name)} --to NAME"
        yield Problem(words, integrations=names, commands=(release,))
    if "integration_gone" in each["held"] and each["status"] != "gone":
        words = f"integration {name}: events wait for a pixel that it no longer has"
        yield Problem(
            words, "give the pixel back, or delete them and call their postbacks once more", integrations=names,
            commands=(f"capi-sidecar queue list --integration {quote(name)} --reason integration_gone",),
        )  # fmt: skip
    if "by_hand" in each["held"]:
        words = f"integration {name}: events were put aside after answers that nobody knows"
        command = f"capi-sidecar queue show --integration {quote(name)} --reason by_hand"
        yield Problem(words, integrations=names, commands=(command,))


def _of_silence(each: Mapping[str, Any]) -> Problem:
    return Problem(
        f"silent: {each['integration']}, {each['what']}: {each['words']}",
        "does the network still call?",
        since=each["last_at"],
        integrations=(each["integration"],),
    )


def _of_canary(flight: Mapping[str, Any]) -> Problem:
    lost = flight["legs"][-1]
    name = flight["integration"]
    return Problem(
        f"canary {name}: lost at {lost['leg']}: {lost['words']}",
        since=flight["at"],
        integrations=(name,),
        commands=(f"capi-sidecar canary {quote(name)}",),
    )


def _of_lane(lane: Mapping[str, Any]) -> Problem:
    meaning, then = ANSWER.get(lane["why"], (lane["why"], ""))
    words = f" ({lane['words']})" if lane["words"] else ""
    names = ", ".join(lane["integrations"])
    return Problem(
        f"{lane['why']}: pixel {lane['pixel_id']}, {names} ({lane['at']}): {meaning}{words}",
        then,
        since=lane["since"],
        until=lane["until"],
        integrations=tuple(lane["integrations"]),
        commands=tuple(command.format(quote(lane["integrations"][0])) for command in _OF_FAULT.get(lane["why"], ())),
    )


_ASK_NOW = "capi-sidecar queue release --integration {}"

#: What to type about a fault of a lane; {} is an integration of it.
_OF_FAULT = {
    "token": ("capi-sidecar check --online", _ASK_NOW),
    "permission": ("capi-sidecar check --online", _ASK_NOW),
    "proxy": ("capi-sidecar check --online", _ASK_NOW),
    "unknown": ("capi-sidecar queue show --integration {}",),
}


def _of_journal(journal: Mapping[str, Any], mode: str) -> Iterator[Problem]:
    where = f"journal {journal['path']}"
    if journal["missing"] and mode != "sandbox":
        yield Problem(
            f"{where}: there is no such file",
            "does Nginx write it, and is --journal right?",
            commands=("capi-sidecar doctor",),
        )
    if bad := sum(count for name, count in journal.items() if name.startswith("bad: ")):
        yield Problem(
            f"{where}: {bad} lines are none of capi-sidecar's log_format, version 1", commands=("capi-sidecar doctor",)
        )
