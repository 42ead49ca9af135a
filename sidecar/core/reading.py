"""What the answer to a question for a pixel proves.

Only a well answer, a refused token and a way that does not lead to Meta are certain. A token made in Events Manager may
send events and not read the pixel, so that a failed read proves nothing. Source: Meta, "Handling Errors", and recorded
live calls.
"""

from dataclasses import dataclass

from sidecar.core.advice import ANSWER
from sidecar.core.judge import Answer, Fault, Verdict, judge

#: The fields that are asked for.
FIELDS = "id,name"

#: Words for a proxy that does not take the login, however it says so.
LOGIN = "login: user or password is wrong; correct them in the proxy's URL"


@dataclass(frozen=True, slots=True)
class Reading:
    """`kind` is `well`, `token` (refused), `way` (it does not lead to Meta), `unreadable` (the token may not see the
    pixel) or `later` (no verdict now); the words say what is there and what to do.
    """

    kind: str
    words: str = ""

    @property
    def is_proven(self) -> bool:
        """Whether something must be mended, for certain."""
        return self.kind in ("token", "way")

    @property
    def is_answer(self) -> bool:
        """Whether Meta itself has answered about the token or the pixel."""
        return self.kind in ("well", "token", "unreadable")


def reading_of(answer: Answer | Fault, pixel_id: str) -> Reading:
    """The reading of an answer to `GET /{version}/{pixel_id}`: by its numbers, as for a delivery."""
    if isinstance(answer, Fault):
        return Reading("way", answer.words)
    if answer.status == 200 and answer.body is not None and answer.body.get("id") == pixel_id:
        return Reading("well")
    verdict = judge(answer, 0, 0.0)
    kind, words = _MEANINGS[verdict.kind]
    return Reading(kind, words.format(numbers=_numbers(verdict), pixel_id=pixel_id))


def _numbers(verdict: Verdict) -> str:
    """Meta's code and subcode, else the HTTP status; none of its words, which may repeat a token."""
    if verdict.code is None:
        return f"HTTP {verdict.http_status}"
    return f"{verdict.code}/{verdict.subcode}" if verdict.subcode is not None else f"{verdict.code}"


_UNREADABLE = (
    "the token may not read pixel {pixel_id} ({numbers}); a token made in Events Manager may send without reading: "
    "this proves nothing; capi-sidecar send-test NAME tells"
)
_LATER = "pixel {{pixel_id}} could not be asked: {} ({{numbers}}); this proves nothing, ask again later"

#: By the kind of verdict that the same answer would be for a delivery.
_MEANINGS = {
    "proxy": ("way", LOGIN),
    "token": ("token", "Meta refuses the token ({numbers}); put a new one into its place"),
    "permission": ("unreadable", _UNREADABLE),
    "refused": ("unreadable", _UNREADABLE),
    **{kind: ("later", _LATER.format(ANSWER[kind][0])) for kind in ("throttled", "blocked", "transient", "unknown")},
    **{kind: ("later", _LATER.format("the answer is none of Meta's")) for kind in ("accepted", "mismatch")},
}
