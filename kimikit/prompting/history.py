"""Read lists of messages: what hosts take as one, and how long it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from kimikit.errors import BadInput
from kimikit.json_values import check_count, plain, short
from kimikit.wire import requests
from kimikit.wire.weigh import PER_MESSAGE, pieces
from kimikit.wire.weigh import PER_MESSAGE as TOKENS_A_MESSAGE  # noqa: F401 - as in 0.3.0

Count = Callable[[str], int]
"""From a text to its number of tokens."""

MEDIA_TOKENS = {"image": 1024, "video": 8192, "audio": 1024, "file": 4096}
"""About what a part that is no text counts as, whatever its size in bytes: hosts count
pixels and seconds, and no host says how."""

DATA_CHARS = 256
"""From so many characters on, a text without a space in a part of a kind that is not
known is taken for data."""


def estimate_tokens(text: str) -> int:
    """Return a rough token count: one for every four bytes of UTF-8.

    It grows with the text, as cutting one into parts needs. English comes out some
    10 % high for Kimi's tokenizer and Chinese near it; give a ``count`` of your own
    where that matters.
    """
    return -(-len(text.encode(errors="replace")) // 4)


def as_messages(messages: Any) -> list[dict[str, Any]]:
    """Return a text, a dict, a ``Message`` or a list of them as a list of dicts.

    Raises:
        BadInput: If it is empty or something else.
    """
    if messages is None or isinstance(messages, str):  # an array has no truth
        messages = messages or []
    return [plain(turn, "a message") for turn in requests.turns_of(messages)]


def with_picture(messages: list[dict[str, Any]], image: Any) -> list[dict[str, Any]]:
    """Return messages with a picture in the last question, so that it stays there."""
    if image is None:
        return messages
    turns = requests.turns_of(messages)
    requests.attach(turns, image)
    return turns


def changed(content: Any, text: Any) -> Any:
    """Return the content of a message that says another text; other parts stay."""
    if not isinstance(content, list) or not isinstance(text, str):
        return text
    others = [part for part in content if not is_text(part)]
    first = next((i for i, part in enumerate(content) if is_text(part)), 0)
    ahead = sum(not is_text(part) for part in content[:first])
    said = [{"type": "text", "text": text}] if text else []
    return [*others[:ahead], *said, *others[ahead:]]


def is_text(part: Any) -> bool:
    """Tell whether a part of a message is text."""
    return isinstance(part, str) or (isinstance(part, dict) and "text" in part)


def kind_of(part: Any) -> str:
    """Return what a part of a message is: ``text``, ``image``, ``video`` and so on."""
    if is_text(part):
        return "text"
    named = str(part.get("type", "")) if isinstance(part, dict) else ""
    return next((kind for kind in MEDIA_TOKENS if kind in named), named or "part")


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
    """Return about how many tokens the messages are.

    A picture counts as a picture, not as the letters that its bytes are sent as.
    """
    tokens = PER_MESSAGE * len(messages)
    for message in messages:
        content = message.get("content")
        for part in content if isinstance(content, list) else [content]:
            kind = kind_of(part)
            if kind in MEDIA_TOKENS:
                tokens += MEDIA_TOKENS[kind]
            else:
                whole = kind == "text"
                tokens += sum(
                    count(t) for t in pieces(part, {"type"}) if whole or not _is_data(t)
                )
        for key in ("tool_calls", "reasoning_content", "tools"):
            tokens += sum(map(count, pieces(message.get(key), {"type"})))
    return tokens


def _is_data(text: str) -> bool:
    """Tell whether a text is bytes in letters: a ``data:`` URL or bare base64."""
    if text.startswith("data:") and ";base64," in text[:200]:
        return True
    start = text[:DATA_CHARS]
    return (
        len(start) == DATA_CHARS
        and start.isascii()
        and not any(letter in start for letter in " \n\t{}<>.,")
    )


def check_options(words: object, window: object, count: object) -> None:
    """Refuse options that no question could be asked with.

    Args:
        words: Of the system or for the task; ``None`` for none.
        window: Tokens at most; ``None`` for any number.
        count: Counts the tokens of a text; ``None`` for an estimate.

    Raises:
        BadInput: If one is of another kind.
    """
    if words is not None and not isinstance(words, str):
        said = f"{short(words)} is no system message or instructions."
        raise BadInput(said, "Give a text, or leave it out.")
    if window is not None:
        check_count("The number of tokens at most", window)
    if count is not None and not callable(count):
        remedy = "Give a function from a text to its number of tokens."
        raise BadInput(f"count is {short(count)}.", remedy)
