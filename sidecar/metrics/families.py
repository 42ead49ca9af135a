"""Every metric: its name, type, labels and meaning, and how it is read from a snapshot.

Names by Prometheus's conventions ("Metric and label naming"): base units, `_total` for what only grows. Values of a
label are bounded: names of the configuration, and words of the program's own tables.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

from sidecar.core.story import NOT_SENT
from sidecar.metrics.histogram import Histogram
from sidecar.metrics.snapshot import MOST, Queued, Snapshot

#: Values of the labels, and what was measured with them.
Sample = tuple[tuple[str, ...], float | Histogram]


@dataclass(frozen=True, slots=True)
class Family:
    """One metric. `type` is counter, gauge or histogram."""

    name: str
    type: str
    labels: tuple[str, ...]
    meaning: str
    read: Callable[[Snapshot], Iterable[Sample]]


#: Digits of the configuration's hash that a gauge holds without a loss.
_HASH_DIGITS = 12

#: The reasons of the contract that a postback can be decided with. Each stands at 0 from the start on: of a counter
#: that appears with its first count, Prometheus does not see that it grew.
_DECIDED = (
    ("accepted", "sent"),
    *((decision, reason) for reason, decision in NOT_SENT.items() if decision != "waiting"),
    ("ignored", "same_pixel"),
    ("ignored", "duplicate"),
    ("rejected", "click_expired"),
    ("rejected", "too_old"),
    ("rejected", "before_first_start"),
)

_INTAKE = ("stored", "repeated", "unavailable", "wrong_key", "too_large", "too_slow")
_LINES = {"click": "clicks", "postback": "postbacks", "wrong_key": "wrong_key", "without_subid": "without_subid",
          "too_long": "too_long"}  # fmt: skip
_VERDICTS = ("accepted", "mismatch", "transient", "throttled", "blocked", "token", "permission", "proxy", "refused",
             "unknown")  # fmt: skip
_LANE_STATES = ("active", "parked", "throttled", "failing")
_RELOADS = ("loaded", "unchanged", "refused", "braked")
_ENDS = ("delivered", "refused")


def _one(value: float | None) -> Iterator[Sample]:
    if value is not None:
        yield (), float(value)


def _of(names: Iterable[str], counts: Mapping[str, float], prefix: str = "") -> Iterator[Sample]:
    """One label's values, those that were not counted too."""
    for name in names:
        yield (name,), counts.get(f"{prefix}{name}", 0)


def _added(samples: Iterable[tuple[tuple[str, ...], float]]) -> Iterator[Sample]:
    found: dict[tuple[str, ...], float] = {}
    for labels, value in samples:
        found[labels] = found.get(labels, 0) + value
    yield from found.items()


def _intake(snapshot: Snapshot) -> Iterator[Sample]:
    return _of(_INTAKE, snapshot.intake)


def _conflicts(snapshot: Snapshot) -> Iterator[Sample]:
    yield ("intake",), snapshot.intake.get("conflicting", 0)
    yield ("journal",), sum(journal.get("conflicting", 0) for journal in snapshot.journals)


def _lines(snapshot: Snapshot) -> Iterator[Sample]:
    for journal in snapshot.journals:
        for kind, name in _LINES.items():
            yield (journal["path"], kind), journal.get(name, 0)
        yield (journal["path"], "bad"), sum(count for name, count in journal.items() if name.startswith("bad: "))


def _journal(name: str) -> Callable[[Snapshot], Iterator[Sample]]:
    return lambda snapshot: (((journal["path"],), float(journal[name])) for journal in snapshot.journals)


def _is_present(snapshot: Snapshot) -> Iterator[Sample]:
    return (((journal["path"],), float(not journal["missing"])) for journal in snapshot.journals)


def _is_readable(snapshot: Snapshot) -> Iterator[Sample]:
    return (((journal["path"],), float(not journal["error"])) for journal in snapshot.journals)


def _decided(snapshot: Snapshot) -> Iterator[Sample]:
    yield from ((each, snapshot.decided.get(each, 0)) for each in _DECIDED)


def _pending(snapshot: Snapshot) -> Iterator[Sample]:
    if snapshot.counted:
        yield from _of(("undecided", "waiting"), snapshot.counted.postbacks)


def _queue(snapshot: Snapshot) -> tuple[Queued, ...]:
    return tuple(snapshot.counted.queue) if snapshot.counted else ()


def _depth(snapshot: Snapshot) -> Iterator[Sample]:
    if snapshot.counted is None:
        return iter(())
    empty = (((snapshot.name(name), "ready"), 0.0) for name in snapshot.integrations)
    counted = (((snapshot.name(each.integration), each.state), float(each.count)) for each in _queue(snapshot))
    return _added((*empty, *counted))


def _oldest(snapshot: Snapshot) -> Iterator[Sample]:
    if snapshot.counted is None:
        return
    oldest = {(snapshot.name(name), "ready"): 0.0 for name in snapshot.integrations}
    for each in _queue(snapshot):
        labels = snapshot.name(each.integration), each.state
        oldest[labels] = max(oldest.get(labels, 0.0), each.age)
    yield from oldest.items()


def _left(snapshot: Snapshot) -> Iterator[Sample]:
    least: dict[tuple[str, ...], float] = {}
    for each in _queue(snapshot):
        labels = (snapshot.name(each.integration),)
        least[labels] = min(least.get(labels, each.left), each.left)
    yield from least.items()


def _attempts(snapshot: Snapshot) -> Iterator[Sample]:
    return _added(
        ((snapshot.name(integration), verdict, whose or "nobody"), float(count))
        for (integration, verdict, whose), count in snapshot.attempts.items()
    )


def _ended(snapshot: Snapshot) -> Iterator[Sample]:
    empty = (((snapshot.name(name), end), 0.0) for name in snapshot.integrations for end in _ENDS)
    counted = (((snapshot.name(name), end), float(count)) for (name, end), count in snapshot.ended.items())
    return _added((*empty, *counted))


def _lanes(snapshot: Snapshot) -> Iterator[Sample]:
    states = [lane["state"] for lane in snapshot.lanes]
    return (((state,), float(states.count(state))) for state in _LANE_STATES)


def _held(snapshot: Snapshot) -> Iterator[Sample]:
    held = (lane for lane in snapshot.lanes if lane["state"] != "active")
    return _added(((snapshot.name(name), lane["why"]), 1.0) for lane in held for name in lane["integrations"])


def _states(snapshot: Snapshot) -> Iterator[Sample]:
    return (((name, state), 1.0) for name, state in islice(snapshot.integrations.items(), MOST))


def _proxies(snapshot: Snapshot) -> Iterator[Sample]:
    return (((place,), float(is_up)) for place, is_up in islice(sorted(snapshot.proxies.items()), MOST))


def _admin_api(name: str) -> Callable[[Snapshot], Iterator[Sample]]:
    return lambda snapshot: _one(snapshot.admin_api[name] if snapshot.admin_api else None)


def _admin_api_is_up(snapshot: Snapshot) -> Iterator[Sample]:
    return _one(not snapshot.admin_api["trouble"] if snapshot.admin_api else None)


def _silent(snapshot: Snapshot) -> Iterator[Sample]:
    silent: dict[tuple[str, ...], float] = {}
    for row in snapshot.silence:
        labels = (snapshot.name(row["integration"]),)
        silent[labels] = max(silent.get(labels, 0.0), float(row["silent"]))
    yield from silent.items()


def _last_postbacks(snapshot: Snapshot) -> Iterator[Sample]:
    return _newest(snapshot, ((row["integration"], row["last_at"]) for row in snapshot.silence
                              if row["what"] == "postbacks"))  # fmt: skip


def _landed(snapshot: Snapshot) -> Iterator[Sample]:
    return (((row["integration"],), float(row["ok"])) for row in snapshot.canary[:MOST])


def _last_landed(snapshot: Snapshot) -> Iterator[Sample]:
    return _newest(snapshot, ((row["integration"], row["last_success_at"]) for row in snapshot.canary))


def _newest(snapshot: Snapshot, moments: Iterable[tuple[str, float | None]]) -> Iterator[Sample]:
    newest: dict[tuple[str, ...], float] = {}
    for integration, at in moments:
        if at:
            labels = (snapshot.name(integration),)
            newest[labels] = max(newest.get(labels, 0.0), at)
    yield from newest.items()


def _legs(snapshot: Snapshot) -> Iterator[Sample]:
    return (((row["integration"], leg["leg"]), leg["seconds"]) for row in snapshot.canary[:MOST] for leg in row["legs"])


def _files(snapshot: Snapshot) -> Iterator[Sample]:
    return (((name,), float(size)) for name, size in (snapshot.disk.files if snapshot.disk else {}).items())


FAMILIES = (
    Family("capi_sidecar_build_info", "gauge", ("version", "mode"),
           "Always 1; the version that runs, and its mode (live, sandbox or graph=URL).",
           lambda snapshot: [((snapshot.version, snapshot.mode), 1)]),
    Family("capi_sidecar_ready", "gauge", (),
           "1 when store and journals are usable, as /readyz says.",
           lambda snapshot: _one(snapshot.is_ready)),
    Family("capi_sidecar_event_loop_delay_seconds", "histogram", (),
           "How late work that was due came to its turn.",
           lambda snapshot: [((), snapshot.loop_delay)]),

    Family("capi_sidecar_intake_requests_total", "counter", ("outcome",),
           "Mirrored postbacks by answer: stored, repeated (stored before), unavailable (503), wrong_key (404), "
           "too_large, too_slow.",
           _intake),
    Family("capi_sidecar_conflicts_total", "counter", ("source",),
           "Ids that came a second time with other content, by intake or journal.",
           _conflicts),

    Family("capi_sidecar_journal_lines_total", "counter", ("journal", "kind"),
           "Lines read, by what they were: click, postback, wrong_key, without_subid, too_long, bad.",
           _lines),
    Family("capi_sidecar_journal_unread_bytes", "gauge", ("journal",),
           "Bytes that stood in the files at the last look and are not stored yet.",
           _journal("unread")),
    Family("capi_sidecar_journal_read_to_end_timestamp_seconds", "gauge", ("journal",),
           "The latest moment at which all that stood in the files was stored; 0 before the first.",
           _journal("read_to_end_at")),
    Family("capi_sidecar_journal_last_line_timestamp_seconds", "gauge", ("journal",),
           "When something was last read; 0 while nothing was since the start.",
           _journal("last_line_at")),
    Family("capi_sidecar_journal_present", "gauge", ("journal",),
           "1 while the file that Nginx writes is there.",
           _is_present),
    Family("capi_sidecar_journal_readable", "gauge", ("journal",),
           "1 while the files can be read.",
           _is_readable),

    Family("capi_sidecar_postbacks_decided_total", "counter", ("decision", "reason"),
           "Decisions by the reasons of explain; a replay decides once more.",
           _decided),
    Family("capi_sidecar_postbacks_pending", "gauge", ("state",),
           "Postbacks without a decision: undecided, or waiting for their click.",
           _pending),

    Family("capi_sidecar_admin_api_up", "gauge", (),
           "1 while Keitaro's Admin API answers. Only where it is configured.",
           _admin_api_is_up),
    Family("capi_sidecar_admin_api_subids_wanted", "gauge", (),
           "Subids that it is still to be asked for.",
           _admin_api("wanted")),
    Family("capi_sidecar_admin_api_subids_asked_total", "counter", (),
           "Subids that it was asked for.",
           _admin_api("asked")),
    Family("capi_sidecar_admin_api_subids_found_total", "counter", (),
           "Subids of which it knew the click.",
           _admin_api("found")),
    Family("capi_sidecar_geoip_up", "gauge", (),
           "1 while the geo database can be read. Only where it is configured.",
           lambda snapshot: _one(None if snapshot.geoip is None else not snapshot.geoip)),

    Family("capi_sidecar_queue_deliveries", "gauge", ("integration", "state"),
           "Deliveries that are not at their end: ready (due, or to be tried later), leased, or held: paused, parked, "
           "throttled, in_error, integration_gone, by_hand.",
           _depth),
    Family("capi_sidecar_queue_oldest_age_seconds", "gauge", ("integration", "state"),
           "For how long the oldest of them could have been sent: since its postback came, or its rule's delay ended.",
           _oldest),
    Family("capi_sidecar_queue_time_left_seconds", "gauge", ("integration",),
           "Until the first of them is too old for Meta, and lost. Absent while nothing waits.",
           _left),
    Family("capi_sidecar_queue_counted_timestamp_seconds", "gauge", (),
           "When postbacks without a decision and the queue were counted; a large queue is counted more rarely.",
           lambda snapshot: _one(snapshot.counted.counted_at if snapshot.counted else None)),

    Family("capi_sidecar_graph_requests_total", "counter", ("verdict",),
           "Requests to Meta by what the answer meant: accepted, mismatch, transient, throttled, blocked, token, "
           "permission, proxy, refused, unknown.",
           lambda snapshot: _of(_VERDICTS, snapshot.requests, "verdict ")),
    Family("capi_sidecar_attempts_total", "counter", ("integration", "verdict", "whose"),
           "Events in these requests, each once a try; whose fault it was: nobody, event, meta, token, permission, "
           "proxy.",
           _attempts),
    Family("capi_sidecar_deliveries_ended_total", "counter", ("integration", "end"),
           "Deliveries that Meta took (delivered) or will never take (refused).",
           _ended),
    Family("capi_sidecar_deliveries_expired_total", "counter", (),
           "Deliveries that were lost: Meta takes no event that is older than 7 days.",
           lambda snapshot: _one(snapshot.expired)),
    Family("capi_sidecar_delivery_delay_seconds", "histogram", (),
           "From the postback's arrival, or the end of its rule's delay, until Meta took the event.",
           lambda snapshot: [((), snapshot.delay)]),

    Family("capi_sidecar_lanes", "gauge", ("state",),
           "Lanes (pixel, token, proxies) by state: active, parked, throttled, failing.",
           _lanes),
    Family("capi_sidecar_lanes_held", "gauge", ("integration", "why"),
           "Lanes of an integration that do not send, by why: token, permission, proxy, throttled, blocked, "
           "transient, mismatch, unknown. Absent while all send.",
           _held),
    Family("capi_sidecar_integration_state", "gauge", ("integration", "state"),
           "Always 1; the state is active, paused or error.",
           _states),
    Family("capi_sidecar_proxy_up", "gauge", ("proxy",),
           "0 from a proxy's fault until an answer comes through it; host:port, all of its logins together.",
           _proxies),

    Family("capi_sidecar_integration_silent", "gauge", ("integration",),
           "1 while it has fallen silent: no postbacks, or no events, for longer than its rhythm explains.",
           _silent),
    Family("capi_sidecar_last_postback_timestamp_seconds", "gauge", ("integration",),
           "When its last conversion came that was to be sent.",
           _last_postbacks),
    Family("capi_sidecar_canary_successful", "gauge", ("integration",),
           "1 when the last canary arrived. Absent before the first.",
           _landed),
    Family("capi_sidecar_canary_last_success_timestamp_seconds", "gauge", ("integration",),
           "When a canary last arrived. Absent before that.",
           _last_landed),
    Family("capi_sidecar_canary_leg_duration_seconds", "gauge", ("integration", "leg"),
           "Of the last canary: click, journal, postback, decision, meta; of one that was lost, as far as it came.",
           _legs),

    Family("capi_sidecar_config_last_reload_successful", "gauge", (),
           "1 while the files are what runs; 0 after a version that was refused or braked.",
           lambda snapshot: _one(not snapshot.configuration["error"])),
    Family("capi_sidecar_config_braked", "gauge", (),
           "1 while the brake refuses the files: the change would stop too many postbacks.",
           lambda snapshot: _one(snapshot.configuration["outcome"] == "braked")),
    Family("capi_sidecar_config_last_reload_success_timestamp_seconds", "gauge", (),
           "Since when the configuration that runs has been in force.",
           lambda snapshot: _one(snapshot.configuration["loaded_at"])),
    Family("capi_sidecar_config_hash", "gauge", (),
           f"The first {_HASH_DIGITS} digits of its hash, as a number: it changes when what runs does.",
           lambda snapshot: _one(int(snapshot.configuration["hash"][:_HASH_DIGITS] or "0", 16))),
    Family("capi_sidecar_config_reloads_total", "counter", ("outcome",),
           "Looks at changed files by what became of them: loaded, unchanged, refused, braked.",
           lambda snapshot: _of(_RELOADS, snapshot.configuration)),

    Family("capi_sidecar_store_failing", "gauge", (),
           "1 while the disk cannot take anything.",
           lambda snapshot: _one(snapshot.store_failing)),
    Family("capi_sidecar_store_size_bytes", "gauge", ("file",),
           "The database and its log.",
           _files),
    Family("capi_sidecar_store_disk_free_bytes", "gauge", (),
           "What is free on its disk.",
           lambda snapshot: _one(snapshot.disk.free if snapshot.disk else None)),
)  # fmt: skip
