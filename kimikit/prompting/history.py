"""Lists of messages: what hosts accept as one, and how long it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from kimikit.errors import BadInput
from kimikit.types import Message

Count = Callable[[str], int]
"""From a text to its number of tokens."""

TOKENS_A_MESSAGE = 4
"""What a chat template adds around each message, about."""


def estimate_tokens(text: str) -> int:
    """Return a rough token count: one for every four bytes of UTF-8.

    English comes out some 10 % high for Kimi's tokenizer and Chinese near it; give a
    ``count`` of your own where that matters.
    """
    return -(-len(text.encode(errors="replace")) // 4)


def as_messages(messages: Any) -> list[dict[str, Any]]:
    """Return a text, a dict, a ``Message`` or a list of them as a list of dicts.

    Raises:
        BadInput: If it is empty or something else.
    """
    several = messages if isinstance(messages, list | tuple) else [messages]
    return [_as_dict(one) for one in several or [messages]]


def _as_dict(message: Any) -> dict[str, Any]:
    match message:
        case {"role": _}:
            return dict(message)
        case Message():
            return message.to_dict()
        case str() if message:
            return {"role": "user", "content": message}
    raise BadInput(
        f"{message!r} cannot be sent as a message.",
        "Give a text, a dict with a role, a Message, or a list of these.",
    )


def legal(messages: Sequence[dict[str, Any]]) -> dict[int, dict[str, Any]]:
    """Return the messages that may be sent by their positions.

    Hosts insist on calls and results in pairs. So a call that was never answered goes,
    and so does a result whose call was left out and an answer with nothing in it.
    """
    answered = {m.get("tool_call_id") for m in messages if m["role"] == "tool"}
    called: set[Any] = set()
    kept = {}
    for position, message in enumerate(messages):
        ids = {call["id"] for call in message.get("tool_calls") or ()}
        if not ids <= answered:
            message = {"role": "assistant", "content": message.get("content")}
            ids = set()
        called |= ids
        orphan = message["role"] == "tool" and message.get("tool_call_id") not in called
        empty = message["role"] == "assistant" and not (ids or message.get("content"))
        if not (orphan or empty):
            kept[position] = message
    return kept


def size(messages: Sequence[dict[str, Any]], count: Count) -> int:
    """Return about how many tokens the messages are."""
    held = [m.get(key) for m in messages for key in ("content", "tool_calls")]
    texts = [
        value if isinstance(value, str) else msgspec.json.encode(value).decode()
        for value in held
        if value
    ]
    return sum(map(count, texts)) + TOKENS_A_MESSAGE * len(messages)
