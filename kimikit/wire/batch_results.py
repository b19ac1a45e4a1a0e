"""Read what a host tells of a batch, and what came of its requests."""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import msgspec

from kimikit import errors
from kimikit.secrets import redact
from kimikit.types import Call, Reply
from kimikit.wire.answer import Answer
from kimikit.wire.coerce import as_count, as_dict, as_object, as_str
from kimikit.wire.endpoints import UNFIT, packed, vectors_of

OVER = ("completed", "failed", "expired", "cancelled")
"""The statuses in which a batch stays."""

CALLED = {
    "canceling": "cancelling",
    "canceled": "cancelled",
    **dict.fromkeys(("done", "ended", "success", "succeeded"), "completed"),
    "error": "failed",
    **dict.fromkeys(("timeout", "timed_out", "timeout_exceeded"), "expired"),
}
"""What hosts call these statuses too."""

_OK = 200

WORDS = 500
"""Characters of a host's words on a batch that are kept."""


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """A batch as its host tells of it.

    Attributes:
        id: The host's id of it.
        status: In small letters: ``validating``, ``in_progress`` and so on.
        total: Requests it has, ``None`` where the host does not tell.
        done: Requests that were answered.
        failed: Requests that failed.
        output_file_id: Where answers are, empty for nowhere.
        error_file_id: Where failures are, empty for nowhere.
        input_file_id: Where its requests are.
        metadata: What was noted with it.
        words: What the host says is wrong with it.
        raw: All that it said.
    """

    id: str
    status: str = "validating"
    total: int | None = None
    done: int = 0
    failed: int = 0
    output_file_id: str = ""
    error_file_id: str = ""
    input_file_id: str = ""
    metadata: dict[str, Any] = {}
    words: str = ""
    raw: dict[str, Any] = {}

    @property
    def over(self) -> bool:
        """Whether nothing more comes."""
        return self.status in OVER


class Line(NamedTuple):
    """What came of one request.

    Attributes:
        custom_id: Which.
        status: HTTP status, 0 where it was not asked.
        body: The JSON of the answer or of the error.
    """

    custom_id: str
    status: int
    body: dict[str, Any]


UNREADABLE = Line("", 0, {})
"""Stands for what a host sent in the place of answers, and for a part of a line."""

DELETED = Line("", 410, {})
"""Stands for a file of answers that is there no more: what was in it is lost."""


def answers_first(lines: Iterable[Line]) -> list[Line]:
    """Return lines so that an answer comes before a failure of the same request."""
    return sorted(lines, key=lambda line: line.status != _OK)


def read_reply(call: Call, line: Line) -> Reply:
    """Return the answer in a line of a batch.

    Args:
        call: The request as it was asked.
        line: What came of it.

    Raises:
        HostError: If it is no answer.
    """
    with Answer(call) as answer:
        if not line.status:
            raise _unasked(call, line)
        if line.status != _OK:
            raise answer.refused(line.status, line.body)
        answer.begin({})
        if call.endpoint == "embed":
            kept = _vector_in(answer, line.body)
        else:
            answer.feed(msgspec.json.encode(line.body))
            answer.finish()
            answer.check()
            kept = {}
    # How long it took in the host's queue says nothing of the model.
    reply, kept = answer.reply, {"duration_s": 0.0, **kept}
    return msgspec.structs.replace(reply, **kept)


def _vector_in(answer: Answer, body: dict[str, Any]) -> dict[str, Any]:
    """Take the one vector of an answer; return what is kept of it in the reply."""
    try:
        (vector,) = vectors_of(body, 1)
    except UNFIT as exc:
        raise answer.no_answer(msgspec.json.encode(body)) from exc
    answer.take(body)
    row = {"object": "embedding", "index": 0, "embedding": packed(vector)}
    return {"raw": {**answer.reply.raw, "data": [row]}}


def _unasked(call: Call, line: Line) -> errors.StatusError:
    """Return the error of a request that its batch did not come to."""
    error = as_dict(line.body.get("error"))
    said = [redact(as_str(error.get(part))[:WORDS]) for part in ("code", "message")]
    words = ": ".join(filter(None, said)) or "no reason given"
    host = call.host
    return errors.StatusError(
        f"{host.title or host.name} did not answer this in its batch ({words}).",
        "Ask again by the same name: only what is missing is bought.",
        host=host.name,
        host_message=words,
    )


def line_of(entry: dict[str, Any]) -> Line | None:
    """Return what a result says, of whatever version of the format."""
    name = as_str(entry.get("custom_id"))
    if not name:
        return None
    response = as_dict(_read(entry.get("response")))
    body = _read(response.get("body", response if _answers(response) else None))
    status = as_count(response.get("status_code"), 599)
    if _answers(body):
        return Line(name, _OK if not status or 200 <= status < 300 else status, body)
    if entry.keys().isdisjoint(("response", "error")):
        return None  # a request
    error = entry.get("error") or as_dict(body).get("error") or response.get("error")
    if isinstance(error, str):
        error = {"message": error}
    said = {"error": error} if error else as_dict(body)
    return Line(name, status if status and status >= 400 else 0, said)


def lines_in(content: bytes) -> list[Line]:
    """Return what the lines of a file say, but for those that say nothing.

    ``UNREADABLE`` is the last of them if the file ends within a line, and the only one
    of a file that says nothing of any request.
    """
    said = [*map(as_object, objects_in(content))]
    found = [line for line in map(line_of, said) if line is not None]
    cut = said and not said[-1] and not content.endswith(b"\n")
    return [*found, UNREADABLE] if cut or (said and not found) else found


def objects_in(content: bytes) -> list[bytes]:
    """Return the lines of a file that hold something; editors put a mark before it."""
    lines = content.removeprefix(codecs.BOM_UTF8).split(b"\n")
    return [line for line in lines if line.strip()]


def _read(said: Any) -> Any:
    """Return JSON that a host wrote as a text."""
    return as_object(said.encode("utf-8", "replace")) if isinstance(said, str) else said


def _answers(body: Any) -> bool:
    """Tell whether a body has what an answer has, vectors or choices."""
    found = isinstance(body, dict) and not body.get("error")
    return found and ("choices" in body or "data" in body)


def words_of(said: Mapping[str, Any]) -> str:
    """Return what a host says is wrong with a batch."""
    found = said.get("errors") or said.get("error")
    if isinstance(found, dict):
        found = found.get("data") or found.get("message") or found
    parts = found if isinstance(found, list) else [found]
    words = [as_str(as_dict(each).get("message")) or as_str(each) for each in parts[:5]]
    return "; ".join(word[:WORDS] for word in words if word)
