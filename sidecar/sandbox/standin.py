"""The stand-in: takes requests as Meta would, and remembers what it took. It does no I/O."""

import json
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sidecar.sandbox.failure import EVENTS_ONLY, READS_ONLY, Failures, Order, answer_instead, read_orders
from sidecar.sandbox.reply import GraphError, Reply, json_reply, trace_id
from sidecar.sandbox.rules import check, check_path, decode, warnings

__all__ = ["Reply", "StandIn"]

#: (pixel_id, event_name, event_id, event_time); an event without an id has a number, for it equals no other.
_Key = tuple[str, str, str | int, int]

_NO_TOKEN = GraphError("An access token is required to request this resource.", 104)


class StandIn:
    """A Conversions API with a memory of the last `keep` events; `clock` gives Unix seconds. Keeps no token."""

    def __init__(self, clock: Callable[[], float], keep: int = 1_000_000) -> None:
        self._clock = clock
        self._keep = keep
        self._failures = Failures()
        self._traces = 0
        self.forget()

    def receive(self, version: str, pixel_id: str, body: bytes) -> Reply:
        """The answer to `POST /{version}/{pixel_id}/events`."""
        self._requests += 1
        self._traces += 1
        trace = trace_id(self._traces)
        payload = check_path(version, pixel_id) or decode(body)
        if isinstance(payload, GraphError):
            return self._refuse(payload.reply(trace))
        token = payload.get("access_token") if isinstance(payload, dict) else None
        order = self._failures.draw(pixel_id, token, READS_ONLY)
        reply = (answer_instead(order, trace) if order else None) or check(payload, self._clock())
        if isinstance(reply, GraphError):
            reply = reply.reply(trace)
        reply = self._refuse(reply) if reply else self._accept(pixel_id, payload["data"], order, trace)
        return replace(reply, seconds=order.wait) if order and order.wait else reply

    def read(self, version: str, pixel_id: str, token: str) -> Reply:
        """The answer to `GET /{version}/{pixel_id}?fields=id,name` with this token, which is empty when none came."""
        self._reads += 1
        self._traces += 1
        trace = trace_id(self._traces)
        if error := check_path(version, pixel_id) or (None if token else _NO_TOKEN):
            return error.reply(trace)
        order = self._failures.draw(pixel_id, token, EVENTS_ONLY)
        instead = answer_instead(order, trace) if order else None
        reply = instead or json_reply(200, {"id": pixel_id, "name": f"Pixel {pixel_id}"})
        if order is None:
            return reply
        return replace(reply, seconds=order.wait, reset=reply.reset or order.mode == "reset_after")

    def fail(self, order: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> None:
        """Fails from now on as told, in place of any order before; ValueError says what is wrong with the order."""
        self._failures = Failures(read_orders(order))

    def listing(self) -> dict[str, Any]:
        """Each event that was taken, once, with its repeats beside it; how many requests came and were refused,
        and how often a pixel was read."""
        return {
            "events": [
                {
                    "pixel_id": key[0],
                    "event_name": key[1],
                    "event_id": key[2] if isinstance(key[2], str) else "",
                    "event_time": key[3],
                    "repeats": self._repeats[key],
                    "event": json.loads(text),
                }
                for key, text in self._events.items()
            ],
            "requests": self._requests,
            "refused": self._refused,
            "reads": self._reads,
        }

    def forget(self) -> None:
        """Forgets all events and counts; an order to fail stays."""
        self._events: OrderedDict[_Key, str] = OrderedDict()
        self._repeats: Counter[_Key] = Counter()
        self._requests = self._refused = self._reads = self._nameless = 0

    def _refuse(self, reply: Reply) -> Reply:
        self._refused += 1
        return reply

    def _accept(self, pixel_id: str, events: Sequence[dict[str, Any]], order: Order | None, trace: str) -> Reply:
        mode = order.mode if order else ""
        taken = events[: max(len(events) - order.events, 0)] if order and mode == "partial" else events
        for event in taken:
            self._remember(pixel_id, event)
        body = {"events_received": len(taken), "messages": warnings(taken), "fbtrace_id": trace}
        return replace(json_reply(200, body), reset=mode == "reset_after")

    def _remember(self, pixel_id: str, event: dict[str, Any]) -> None:
        key = pixel_id, event["event_name"], event.get("event_id") or self._number(), event["event_time"]
        if key in self._events:
            self._repeats[key] += 1
            return
        self._events[key] = json.dumps(event, separators=(",", ":"))
        if len(self._events) > self._keep:
            oldest, _ = self._events.popitem(last=False)
            self._repeats.pop(oldest, None)

    def _number(self) -> int:
        self._nameless += 1
        return self._nameless
