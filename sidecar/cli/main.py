"""`capi-sidecar COMMAND ...`"""

import argparse
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import sidecar
from sidecar.cli.exit import OK, USAGE

#: Option, default and help of what every command takes. The environment's CAPI_SIDECAR_<OPTION> overrules the default.
_COMMON = {
    "config": ("config", "directory that holds integrations.yaml"),
    "state": ("var/state", "directory of the store"),
    "journal": ("var/journal.ndjson", "the log that Nginx writes; may be repeated, and is empty where there is none"),
    "admin": ("127.0.0.1:8191", "admin address: host:port or unix:/path"),
}

#: What `integrations` can do, with its help.
_VERBS = {
    "list": "name, status, campaigns, pixel, proxy, mapping, and how many events were sent",
    "show": "every key in force and where it is said",
    "pause": "accept and hold, send nothing",
    "resume": "send again, what was held first",
    "clone": "copy one with its mapping, paused",
    "delete": "take one away",
    "map": "change the event of a status",
}

#: What `queue` can do, with its help.
_QUEUE_VERBS = {
    "list": "deliveries, one a line: the open ones, or those that a filter names",
    "show": "all of a delivery: its event, its life and every attempt",
    "shape": "how many are how old, by integration, and what holds them",
    "retry": "send the same frozen event again now; a delivered one only by its id",
    "hold": "put aside until it is released",
    "release": "let go what is held by hand, and let what is parked ask at once",
    "delete": "discard for good; shows first, and does it with --yes",
}

#: Filters of `queue`.
_FILTERS = {
    "integration": ("NAME", "of this integration"),
    "in": ("STATE", "in this state: queued, held, leased, delivered or dead"),
    "reason": ("REASON", "why it is held or dead: parked, paused, by_hand, refused, deadline, ..."),
    "age": ("AGE", "2h (at least), 1h..2h or ..10m (at most)"),
    "subid": ("SUBID", "of this click"),
    "event": ("EVENT", "an event name or an event_id"),
}

#: The trackers for which `init nginx` has files; without a word of them it looks which one is there.
_TRACKERS = {
    "keitaro": "Keitaro's own Nginx, through the hooks that its upgrades keep",
    "php-fpm": "a tracker behind PHP-FPM with try_files",
    "proxy": "a tracker behind proxy_pass",
}

Command = Callable[[argparse.Namespace], int]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; the result is its exit code."""
    if (sys.argv[1:] if arguments is None else arguments)[:1] == ["run"]:
        # A reload may be asked for before anything is ready to take it; it must not end the daemon.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    parser = _parser()
    options = parser.parse_args(arguments)
    if not hasattr(options, "command"):
        parser.print_help()
        return USAGE
    if options.journal is None:
        options.journal = os.environ.get("CAPI_SIDECAR_JOURNAL", _COMMON["journal"][0]).split(":")
    try:
        return int(_load(options.command)(options))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except KeyboardInterrupt:
        return 130


def _load(name: str) -> Command:
    """The function that runs a command; imported only now, so that a small command starts at once."""
    module = __import__(f"sidecar.cli.{name}", fromlist=["run"])
    command: Command = module.run
    return command


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="capi-sidecar",
        description="Delivers Keitaro postbacks to Meta's Conversions API.",
        epilog="Exit status: 0 well, 1 found something, 2 usage, 78 bad configuration. "
        "Every option can also be given as CAPI_SIDECAR_<OPTION>.",
    )
    parser.add_argument("--version", action="version", version=sidecar.__version__)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")

    run = _command(commands, "run", "run the daemon")
    _option(run, "intake", "127.0.0.1:8190", "address for mirrored postbacks: host:port or unix:/path")
    _option(run, "graph", None, "send to this URL instead of https://graph.facebook.com")
    run.add_argument("--sandbox", action="store_true", default=_environment("sandbox") in ("1", "true", "yes"),
                     help="answer in Meta's place, inside the daemon; nothing leaves")  # fmt: skip
    _option(run, "admin-token", None, "file of the admin token (default: STATE/admin.token, made at first start)")

    _option(run, "log", None, "write facts as text, json, or journal: with fields for journalctl (default: journal "
            "where standard error leads there, else text)")  # fmt: skip
    _option(run, "log-level", "info", "debug, info, warning or error; debug tells of each postback and delivery")

    check = _command(commands, "check", "is the configuration valid? (nginx -t)")
    check.add_argument("--secrets", action="store_true", help="an unreadable secret is a finding, not a remark")
    check.add_argument("--online", action="store_true", help="ask Meta for each pixel through each proxy, sending no "
                       "event: is the proxy there, is the token taken? A failed read of the pixel proves nothing: "
                       "a token may send without reading. Needs the secrets, and no daemon")  # fmt: skip
    _option(check, "graph", None, "with --online: ask this URL instead of https://graph.facebook.com")
    _json(check)

    explain = _command(commands, "explain", "what becomes of a postback, and why")
    explain.add_argument("url", nargs="?", help="a postback URL, or - for one JSON object a line on standard input")
    explain.add_argument("--id", help="a stored postback: its request id, an event_id or a subid")
    explain.add_argument("--click", metavar="FILE", help="JSON of the click, with explain URL; - for standard input")
    _json(explain)

    test = _command(commands, "test", "do the stories beside the configuration still come out as they say?")
    test.add_argument("files", nargs="*", metavar="FILE", type=Path, help="story files (default: CONFIG/tests/*.yaml)")
    _json(test)

    capture = _command(commands, "capture", "make a story of a stored postback, with sample data for the customer's")
    capture.add_argument("id", metavar="ID", help="a request id, an event_id or a subid")
    capture.add_argument("--write", metavar="NAME", help="write it to CONFIG/tests/NAME.yaml, which must not exist")
    _json(capture)

    _json(_command(commands, "status", "is it well? asks the running daemon"))

    _integrations(commands)

    _queue(commands)

    tap = _command(commands, "tap", "what happens now: each decided postback, each tried delivery")
    _option(tap, "integration", None, "only deliveries of this integration")
    _option(tap, "subid", None, "only of this click")
    _admin_token(tap)
    _json(tap)

    replay = _command(commands, "replay", "decide postbacks that were not sent once more, by today's configuration")
    replay.add_argument("--since", metavar="T", required=True, help="a duration back from now (2d), or a moment")
    replay.add_argument("--reason", metavar="R", help="only those of this reason, such as status_unmapped")
    replay.add_argument("--dry-run", action="store_true", help="only show what would become of them")
    _admin_token(replay)
    _json(replay)

    reconcile = _command(commands, "reconcile", "is anything lost? the journals, and the tracker's log, against Meta")
    reconcile.add_argument("--since", metavar="T", required=True, help="a duration back from now (2d), or a moment")
    reconcile.add_argument("--inject", action="store_true", help="send what was missed to the daemon")
    _admin_token(reconcile)
    _json(reconcile)

    send_test = _command(commands, "send-test", "send one event without value to Meta now, and show its answer")
    send_test.set_defaults(command="send_test")
    send_test.add_argument("name", metavar="NAME", help="the integration")
    send_test.add_argument("--event", metavar="NAME", help="this event instead of CapiSidecarTest; Meta counts it")
    code = "of Events Manager, Test events (default: the integration's test_event_code)"
    send_test.add_argument("--test-event-code", metavar="CODE", help=code)
    _admin_token(send_test)
    _json(send_test)

    canary = _command(commands, "canary", "walk the whole road: a click and a postback by Nginx, a test event to Meta")
    canary.add_argument("name", metavar="NAME", help="the integration")
    canary.add_argument("--url", help="the tracker as visitors reach it (default: canary.url)")
    canary.add_argument("--test-event-code", metavar="CODE", help="of Events Manager, Test events; never without one")
    _admin_token(canary)
    _json(canary)

    plan = _command(commands, "plan", "what the files would change, for recent postbacks too")
    plan.add_argument("--against", metavar="REV", help="compare with a git revision, not with what the daemon runs")
    _json(plan)

    reload = _command(commands, "reload", "look at the configuration now, and say what became of it")
    reload.add_argument("--accept", action="store_true", help="let a change pass that the brake refused")
    _admin_token(reload)
    _json(reload)

    sandbox = _command(commands, "sandbox", "a strict stand-in for Meta over HTTP")
    _option(sandbox, "listen", "127.0.0.1:8192", "address: host:port or unix:/path")

    schema = _command(commands, "schema", "print the JSON Schema of a configuration file, for editors")
    schema.add_argument("file", nargs="?", choices=("integrations", "further", "mapping", "test"),
                        default="integrations", help="files of which kind (default: integrations)")  # fmt: skip

    _init(commands)

    _doctor(commands)

    _command(commands, "version", "print the version")
    return parser


def _doctor(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    doctor = _command(commands, "doctor", "each trap in Nginx's configuration, and what else is wrong with the house")
    doctor.add_argument("--nginx", metavar="FILE", help="output of `nginx -T` (- for standard input), or a "
                        "configuration file with its includes (default: ask nginx -T, as root)")  # fmt: skip
    doctor.add_argument("--logrotate", metavar="FILE", action="append", default=[],
                        help="a file of logrotate; may be repeated (default: the system's)")  # fmt: skip
    _option(doctor, "intake", "127.0.0.1:8190", "where the daemon takes mirrored postbacks")
    _json(doctor)


def _init(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    text = "The files that Nginx includes, with this machine's paths"
    parser = commands.add_parser("init", help=text, description=f"{text}.")
    nginx = _command(parser.add_subparsers(title="what", metavar="WHAT", required=True), "nginx", text.lower())
    nginx.set_defaults(command="init")
    kinds = nginx.add_mutually_exclusive_group()
    for kind, meaning in _TRACKERS.items():
        kinds.add_argument(f"--{kind}", dest="variant", action="store_const", const=kind, help=meaning)
    _option(nginx, "intake", "127.0.0.1:8190", "where the daemon takes mirrored postbacks: host:port or unix:/path")
    _option(nginx, "to", None, "write into this directory, that of nginx.conf, what is not there yet; print otherwise")
    nginx.add_argument("--dry-run", action="store_true", help="only say what would be written")


def _integrations(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    text = "Keitaro's list of integrations, at the YAML files"
    parser = commands.add_parser("integrations", help=text, description=f"{text}.")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", dest="verb", required=True)
    made = {}
    for verb, meaning in _VERBS.items():
        made[verb] = _command(verbs, verb, meaning)
        made[verb].set_defaults(command="integrations")
        if verb in ("list", "show"):
            _json(made[verb])
        else:
            made[verb].add_argument("--dry-run", action="store_true", help="only show what would change")
        if verb != "list":
            made[verb].add_argument("name", metavar="NAME", nargs="+" if verb in ("pause", "resume") else None)
    made["list"].add_argument("search", metavar="SEARCH", nargs="?", help="part of the name")
    made["clone"].add_argument("new", metavar="NEW", help="name of the copy, which is paused")
    made["map"].add_argument("status", metavar="STATUS", help="Keitaro's status")
    made["map"].add_argument("event", metavar="EVENT", help="Facebook event, null (not sent), or - for no line")
    made["map"].add_argument("--shared", action="store_true", help="change a mapping that others use too")


def _queue(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    text = "Deliveries: look at them, and steer them"
    parser = commands.add_parser("queue", help=text, description=f"{text}.")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", dest="verb", required=True)
    for verb, meaning in _QUEUE_VERBS.items():
        made = _command(verbs, verb, meaning)
        made.set_defaults(command="queue")
        made.add_argument("ids", metavar="ID", nargs="*",
                          help="a queue number (q17), an event_id, a request id or a subid; - for ids on standard "
                          "input; ALL")  # fmt: skip
        for name, (metavar, words) in _FILTERS.items():
            made.add_argument(f"--{name}", metavar=metavar, help=words)
        _json(made)
        if verb not in ("list", "show", "shape"):
            made.add_argument("--dry-run", action="store_true", help="only show what would be done")
            _admin_token(made)
        if verb == "release":
            made.add_argument("--to", metavar="NAME", help="an integration with the same pixel, to send from now on")
        if verb == "delete":
            made.add_argument("--yes", action="store_true", help="do it")


def _admin_token(parser: argparse.ArgumentParser) -> None:
    _option(parser, "admin-token", None, "file of the admin token (default: STATE/admin.token)")


def _command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, text: str
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
    for option, (default, meaning) in _COMMON.items():
        if option == "journal":
            parser.add_argument("--journal", action="append", metavar="FILE", help=f"{meaning} (default: {default})")
        else:
            _option(parser, option, default, meaning)
    parser.set_defaults(command=name)
    return parser


def _option(parser: argparse.ArgumentParser, name: str, default: str | None, meaning: str) -> None:
    shown = f" (default: {default})" if default else ""
    parser.add_argument(f"--{name}", default=_environment(name) or default, help=meaning + shown,
                        type=Path if name in ("config", "state") else str)  # fmt: skip


def _json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="for machines")


def _environment(option: str) -> str | None:
    return os.environ.get(f"CAPI_SIDECAR_{option.upper().replace('-', '_')}")
