"""A host that answers each prompt with a function of it, over HTTP."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from support.sweeps import ColourHost

Said = str | tuple[int, dict[str, Any]]


class EchoHost(ColourHost):
    """Answers the last message: with a text, or with a status and a body.

    Attributes:
        asked: The last message of each request.
    """

    def __init__(
        self, answer: Callable[[str], Said] = "Re: {}".format, *, wait_s: float = 0.0
    ) -> None:
        super().__init__("obeys", wait_s=wait_s)
        self.answer = answer

    @property
    def asked(self) -> list[str]:
        return [body["messages"][-1]["content"] for body in self.requests]

    def _judge(self, body: dict[str, Any]) -> tuple[int, dict[str, Any], str]:
        said = self.answer(body["messages"][-1]["content"])
        if not isinstance(said, str):
            return *said, ""
        message = {"role": "assistant", "content": said}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        used = {"prompt_tokens": 9, "completion_tokens": 6, "total_tokens": 15}
        answer = {"id": "x", "object": "chat.completion", "model": body["model"]}
        return 200, {**answer, "choices": [choice], "usage": used}, ""


def refused(status: int, message: str) -> Said:
    """Return an error as hosts write it."""
    return status, {"error": {"message": message, "type": "invalid_request_error"}}
