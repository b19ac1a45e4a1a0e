"""Find text and reasoning in a host's message, under whichever names they come."""

from __future__ import annotations

from typing import Any

from kimikit.wire.coerce import as_dict, as_list, as_str

_THOUGHTS = ("thinking", "reasoning", "reasoning_text", "thought")
"""Types of content parts that hold reasoning."""
_NAMES = ("reasoning_content", "reasoning", "reasoning_text", "thinking")
"""Names under which hosts send it beside the content, the first that has some."""


_OPENAI = frozenset({"stop", "length", "tool_calls", "content_filter"})
_FINISHES = {
    # Anthropic's, Gemini's, Cohere's and Mistral's, which gateways hand on.
    **dict.fromkeys(("max_tokens", "max_output_tokens", "model_length"), "length"),
    **dict.fromkeys(("max_length", "max_new_tokens", "token_limit"), "length"),
    "function_call": "tool_calls",
    # Zhipu's, Gemini's and Anthropic's.
    **dict.fromkeys(("sensitive", "safety", "refusal"), "content_filter"),
}

BROKEN_OFF = frozenset(
    {"abort", "aborted", "cancelled", "interrupted", "timeout", "time_limit"}
    | {"insufficient_system_resource", "network_error"}
)
"""Ends that a host made and no model: vLLM's and SGLang's, DeepSeek's, Zhipu's."""


def thought(part: dict[str, Any]) -> str:
    """Return the reasoning of a delta once, under whichever names it comes."""
    if said := next(filter(None, (_told(part.get(name)) for name in _NAMES)), ""):
        return said
    details = map(as_dict, as_list(part.get("reasoning_details")))
    told = "".join(as_str(d.get("text") or d.get("summary")) for d in details)
    return told or "".join(
        _inner(piece) for piece in _parts(part.get("content")) if _is_thought(piece)
    )


def _told(value: object) -> str:
    """Return reasoning that came as a text, as an object that holds it, or in parts."""
    return value if isinstance(value, str) else "".join(map(_inner, _parts(value)))


def text_of(content: object) -> str:
    """Return the visible text of a message's content: a text, or parts of one."""
    if isinstance(content, str):
        return content
    if isinstance(content, int | float) and not isinstance(content, bool):
        return str(content)  # a gateway that reads each token as JSON
    return "".join(
        as_str(piece.get("text")) for piece in _parts(content) if not _is_thought(piece)
    )


def calls_of(part: dict[str, Any]) -> object:
    """Return the pieces of calls in a delta, also OpenAI's first shape of one."""
    old = as_dict(part.get("function_call"))
    # Gateways send an empty one with every chunk.
    return part.get("tool_calls") or (old if any(old.values()) else None)


def _parts(content: object) -> list[dict[str, Any]]:
    return [as_dict(p) for p in (content if isinstance(content, list) else [content])]


def _is_thought(piece: dict[str, Any]) -> bool:
    return piece.get("type") in _THOUGHTS


def _inner(piece: dict[str, Any]) -> str:
    """Return what a part of reasoning says: text, or parts again (Mistral)."""
    for key in ("thinking", "reasoning", "text", "summary", "content"):
        value = piece.get(key)
        if isinstance(value, str) and value:
            return value
        if isinstance(value, list):
            return "".join(as_str(each.get("text")) for each in _parts(value))
    return ""


def finish_of(word: str) -> str:
    """Return the word for the end of an answer in OpenAI's terms, or as it came."""
    lower = word.lower()
    return _FINISHES.get(lower, lower if lower in _OPENAI else word)
