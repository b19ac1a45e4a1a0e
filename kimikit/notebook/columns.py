"""Stream answers side by side, each to be looked at while it grows."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any

from kimikit import html
from kimikit.errors import KimiError
from kimikit.runner import Request, Runner, Stopped
from kimikit.types import Delta, Reply, Wait, Watch
from kimikit.wire import AsyncClient, AsyncStream

_ASKING: ContextVar[Column] = ContextVar("kimikit_column")
"""The column that the running task asks for."""


class Column:
    """One request, and its answer while it streams.

    Attributes:
        request: What is asked.
        over: Whether the answer has ended.
        error: What it failed with.
        stream: The stream, ``None`` before it begins.
    """

    def __init__(self, request: Request) -> None:
        self.request = request
        self.over = False
        self.error: Exception | None = None
        self.stream: AsyncStream | None = None
        self._wait: Wait | None = None

    @property
    def reply(self) -> Reply:
        """The answer, whole or as far as it came."""
        return self.stream.reply if self.stream is not None else Reply()

    @property
    def line(self) -> str:
        """What it is doing or how it ended, how fast, and at what cost."""
        reply, doing = self.reply, self.state
        if not self.over and self._wait is not None:
            doing = f"{doing} {self._wait.seconds:.0f} s"
        elif doing == "waiting":
            doing = f"{doing} ... {reply.duration_s:.0f} s"
        first, speed, _, cost = figures(reply)
        first, speed = first and f"first token {first}", speed and f"{speed} tokens/s"
        return html.footer_line([doing, first, speed, cost])

    @property
    def state(self) -> str:
        """What it is doing or how it ended, in words that seldom change."""
        reply = self.reply
        if self.over:
            return ended(reply, self.error)
        if self._wait is not None:
            return f"{self._wait.reason}, waiting"
        if reply.text or reply.reasoning:
            return "answering" if reply.text else "thinking"
        return "waiting"

    def watch(self, step: Delta | Wait) -> None:
        """Note whether it waits."""
        self._wait = step if isinstance(step, Wait) else None


class _Growing:
    """A client whose answer a column holds while it grows."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self.host, self.defaults = client.host, client.defaults
        self.close = client.close

    async def chat(
        self, messages: Any, *, watch: Watch, meta: dict[str, Any], **params: Any
    ) -> Reply:
        asked = self._client.stream(messages, watch=watch, meta=meta, **params)
        _ASKING.get().stream = asked
        async with asked:
            async for _ in asked:
                pass
        return asked.reply


class Columns:
    """Asks several requests at once, each host at its own pace.

    Args:
        requests: What to ask, by the name of its column.
        client_for: Makes a client of a host by its name.

    Attributes:
        by_name: The columns.
    """

    def __init__(
        self,
        requests: Mapping[str, Request],
        client_for: Callable[[str | None], AsyncClient],
    ) -> None:
        self.by_name = {name: Column(request) for name, request in requests.items()}
        self._runner = Runner(lambda host: _Growing(client_for(host)))

    def run(self, draw: Callable[[], float]) -> None:
        """Ask, and draw meanwhile; on Stop, each column keeps what has arrived.

        Args:
            draw: Draws the columns as they are, in the caller's thread; returns the
                seconds until the next time at least.
        """
        due = 0.0

        def tell() -> None:
            nonlocal due
            if time.monotonic() >= due:
                due = time.monotonic() + 1
                with contextlib.suppress(Exception):  # the answer is paid for
                    due = time.monotonic() + draw()

        async def work() -> None:
            columns = self.by_name.values()
            await self._runner.each(columns, self._ask, at_once=len(columns))

        self._runner.run(work, tell)

    def stop(self) -> None:
        """Close all connections, from any thread."""
        self._runner.stop()

    async def _ask(self, column: Column) -> None:
        _ASKING.set(column)
        try:
            await self._runner.ask(column.request, column.watch)
        except Stopped:
            column.error = self._runner.endpoint(column.request.host).dead
            raise
        except Exception as exc:  # whatever goes wrong in one column stays in it
            column.error = exc
        finally:
            column.over = True


def figures(reply: Reply) -> tuple[str, str, str, str]:
    """Return first token, tokens per second, tokens and cost, empty where unknown."""
    usage = reply.usage
    if not usage.completion_tokens:
        return "", "", "", ""
    return (
        "" if reply.first_token_s is None else f"{reply.first_token_s:.2f} s",
        "" if reply.tokens_per_s is None else f"{reply.tokens_per_s:.0f}",
        f"{'~' if usage.estimated else ''}{usage.completion_tokens:,}",
        html.money(reply.cost, estimated=usage.estimated),
    )


def ended(reply: Reply, error: Exception | None) -> str:
    """Return how an answer ended, in the host's word or a sentence."""
    if error is not None:
        return error.what if isinstance(error, KimiError) else repr(error)
    word = reply.finish_reason or ("cut off" if reply.truncated else "")
    return "stopped" if reply.partial or not word else word
