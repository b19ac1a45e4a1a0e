"""Hold the tool that Needle is asked about, in few tokens.

A local host decides on the same question once, so tests that may ask any ask these.
"""

from __future__ import annotations

from typing import Any

FUNCTION: dict[str, Any] = {
    "name": "get_weather",
    "description": "Weather in a city.",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
    },
}
TOOL: Any = {"type": "function", "function": FUNCTION}


def user(said: str) -> Any:
    """Return the messages of one question."""
    return [{"role": "user", "content": said}]


PARIS = user("Weather in Paris?")
BOTH = user("Weather in Lagos and Paris?")
