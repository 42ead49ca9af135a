"""Mirrored postbacks: stored, then answered. Nothing is looked up, and nothing is interpreted but the key."""

import asyncio
import re
from collections import Counter
from collections.abc import Callable

from aiohttp import web

from sidecar.core.configuration import Configuration
from sidecar.core.conversion import accepts_key
from sidecar.core.networks import within
from sidecar.core.parameters import clean
from sidecar.core.postback import Postback, key_of
from sidecar.store.contract import Store, StoreUnavailable

#: Bytes of a body that are taken at most.
LARGEST_BODY = 1 << 20

#: Bytes of the request line and of one header; Nginx's own limit is 32 KB.
LARGEST_LINE = 1 << 17

#: Seconds in which a body must be here.
SLOWEST_BODY = 10.0

_REQUEST_ID = re.compile(r"[0-9a-f]{32}")


class Intake:
    """Answers ANY /KEY/postback: 200 and no content once the postback is on disk.

    404 for another path or key, 413 for too large a body, 503 when the store cannot take it now (Nginx's journal
    still has it). `counts` by outcome.
    """

    def __init__(
        self,
        store: Store,
        configuration: Callable[[], Configuration],
        clock: Callable[[], float],
        new_id: Callable[[], str],
        stored: Callable[[], None],
    ) -> None:
        self._store = store
        self._configuration = configuration
        self._clock = clock
        self._new_id = new_id
        self._stored = stored
        #: Whether each answer is the last on its connection: another process is about to take over.
        self.ending = False
        self.counts: Counter[str] = Counter()

    def server(self) -> web.Server:
        """What answers requests, on whichever socket."""
        return web.Server(
            self.answer,
            access_log=None,
            max_line_size=LARGEST_LINE,
            max_field_size=LARGEST_LINE,
            keepalive_timeout=75.0,
        )

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """The answer to one request."""
        received_at = self._clock()
        configuration = self._configuration()
        uri = request.raw_path
        if not accepts_key(configuration, key_of(uri)):
            return self._respond("wrong_key", 404)
        try:
            body = await _body(request) if request.can_read_body else b""
        except web.HTTPRequestEntityTooLarge:
            return self._respond("too_large", 413)
        except TimeoutError:
            return self._respond("too_slow", 408)
        type = clean(request.headers.get("Content-Type", "")) if body else ""
        id = self._id(request, configuration)
        postback = Postback(id, received_at, request.method, uri, type, body)
        try:
            stored = await self._store.add(postback)
        except StoreUnavailable:
            return self._respond("unavailable", 503)
        self._stored()
        if stored.conflicting:
            self.counts["conflicting"] += 1
        return self._respond("stored" if stored.new else "repeated", 200)

    def _id(self, request: web.BaseRequest, configuration: Configuration) -> str:
        """Nginx's own id, from whoever may give one; an id from elsewhere could hide another postback."""
        given = request.headers.get("X-Request-Id", "")
        if _REQUEST_ID.fullmatch(given) and _is_trusted(request.remote, configuration):
            return given
        return self._new_id()

    def _respond(self, outcome: str, status: int) -> web.Response:
        self.counts[outcome] += 1
        # Nginx keeps its connection only for a 200 with Content-Length: 0.
        response = web.Response(status=status)
        if self.ending:
            response.force_close()
        return response


async def _body(request: web.BaseRequest) -> bytes:
    async with asyncio.timeout(SLOWEST_BODY):
        return await request.read()


def _is_trusted(remote: str | None, configuration: Configuration) -> bool:
    """Loopback, a unix socket (which has no address) or a network of `tracker.trusted`."""
    if not remote or remote in ("127.0.0.1", "::1"):
        return True
    return remote.startswith("127.") or within(remote, configuration.tracker.trusted)
