"""Write answers as JSON of what is unusual about them, their texts apart, and read it.

Most of an answer's twenty fields are as empty as in any other, and its text stands in a
column of its own: without both it is a fourth as long, and so is all work on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec.structs import astuple

from kimikit.money.storable import to_json
from kimikit.types import Reply
from kimikit.usage import Usage


def _brief(kind: type[msgspec.Struct], *left_out: str) -> Any:
    """Return a twin of a class whose JSON lacks what is usual."""
    columns = [
        (f.name, Any, msgspec.field(default=f.default)
         if f.default_factory is msgspec.NODEFAULT
         else msgspec.field(default_factory=f.default_factory))
        for f in msgspec.structs.fields(kind)
        if f.name not in left_out
    ]  # fmt: skip
    return msgspec.defstruct(kind.__name__, columns, omit_defaults=True, gc=False)


_LAST = "sent"
"""The last field of an answer, which a file has no use for."""

_REPLY, _USAGE = _brief(Reply, _LAST), _brief(Usage)
assert Reply.__struct_fields__[-1] == _LAST
_encode = msgspec.json.Encoder(enc_hook=str).encode
_decode = msgspec.json.Decoder(Reply).decode


def bodies(
    replies: Sequence[Reply | None], apart: Sequence[str | None]
) -> list[bytes | None]:
    """Return each answer as JSON; its text is left out where it is kept apart."""
    return [
        None if reply is None else _body(reply, text)
        for reply, text in zip(replies, apart, strict=True)
    ]


def _body(reply: Reply, apart: str | None) -> bytes:
    brief = _REPLY(*astuple(reply)[:-1])
    brief.usage = _USAGE(*astuple(reply.usage))
    if apart is not None:
        brief.text = ""
    try:
        found: bytes = _encode(brief)
    except (ValueError, RecursionError, OverflowError):
        return to_json(reply).encode()  # with its text, as far as it can be written
    return found


def reply_of(body: bytes, apart: str | None) -> Reply:
    """Return the answer that such JSON is of.

    Raises:
        msgspec.MsgspecError: If it is of none.
    """
    reply = _decode(body)
    return msgspec.structs.replace(reply, text=apart) if apart else reply
