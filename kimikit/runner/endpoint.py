"""Give a runner one host: its clients, its pace, and whether it answers."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from kimikit.errors import (
    ConnectionFailed,
    KimiError,
    Overloaded,
    RateLimited,
    TimedOut,
)
from kimikit.runner.limits import AT_ONCE, SMALL_HOSTS, RateLimiter
from kimikit.types import AsyncChatClient, Host, Reply

SHARED = 4
"""Calls at once that share a client: httpx looks at all connections of a pool for each
request, so a pool of 16 costs half as much again as one of 4, and one of 100 ten times.
"""

UNREACHABLE = ConnectionFailed, TimedOut, Overloaded

PATIENCE_S = {Overloaded: 120.0, RateLimited: 600.0}
"""A host that refuses for longer and has answered nothing yet is given up. Some start
when they are asked, which takes a minute or two; limits are often per minute."""

ClientFor = Callable[[str | None], AsyncChatClient]
"""Makes a client of a host by its name; ``None`` is the default host."""


class Gate:
    """Lets one request of a model through at a time, until an answer has begun.

    Attributes:
        clear: Whether all go through, and nobody waits who came before.
    """

    def __init__(self) -> None:
        self.clear = self._open = self._busy = self._woken = False
        self._waiting: list[asyncio.Future[None]] = []

    async def enter(self) -> bool:
        """Wait for a turn; return whether this request goes alone, and then leaves."""
        if self._woken:
            await asyncio.sleep(0)  # those who have waited go first
        while not self._open:
            if not self._busy:
                self._busy = True
                return True
            turn = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            await turn
        return False

    def leave(self, *, answered: bool) -> None:
        """Let the next one through or, where there is an answer, all."""
        self._busy, self._open = False, self._open or answered
        waiting, self._waiting = self._waiting, []
        for turn in waiting:
            if not turn.done():
                turn.set_result(None)
        self._woken = True
        asyncio.get_running_loop().call_soon(self._passed)

    def _passed(self) -> None:
        self._woken, self.clear = False, self._open


class Endpoint:
    """One host: its clients and how fast it may be asked.

    Attributes:
        name: What the host is called in requests, ``None`` for the default one.
        host: The host, ``None`` where a client does not tell.
        title: The host's name, empty where it is not known.
        defaults: What its clients ask every call with, as far as they tell.
        limiter: How fast it is asked.
        answered: Models that have answered at least once.
        pins: For a model, parameters that hold it to one upstream.
        gates: For a model, what holds back all but its first request.
        dead: The error after which it is no longer asked.
    """

    def __init__(
        self,
        name: str | None,
        client_for: ClientFor,
        concurrency: int | None,
        rpm: float | None,
    ) -> None:
        self.name = name
        self._client_for = client_for
        self._active: dict[AsyncChatClient, int] = {}
        client = client_for(name)
        self._active[client] = 0
        self.host: Host | None = getattr(client, "host", None)
        self.title = self.host.name if self.host else name or ""
        self.defaults: dict[str, Any] = getattr(client, "defaults", {})
        at_once = concurrency or SMALL_HOSTS.get(self.title, AT_ONCE)
        self.limiter = RateLimiter(at_once, rpm)
        self.answered: set[str] = set()
        self.pins: dict[str, dict[str, Any]] = {}
        self.gates: defaultdict[str, Gate] = defaultdict(Gate)
        self.dead: KimiError | None = None
        recorder = getattr(client, "recorder", None)
        self._replayed = recorder is not None and recorder.offline
        self._streak = 0
        self._refused_at: float | None = None
        self._free = [client]

    def lend(self) -> AsyncChatClient:
        """Return a client that few others use at the same time; see ``give_back``."""
        while self._free and self._active[self._free[-1]] >= SHARED:
            self._free.pop()
        if not self._free:
            made = self._client_for(self.name)
            self._active.setdefault(made, 0)
            self._free.append(made)
        client = self._free[-1]
        self._active[client] += 1
        return client

    def give_back(self, client: AsyncChatClient) -> None:
        """Take a client back from a call that has ended."""
        self._active[client] -= 1
        if self._active[client] == SHARED - 1:
            self._free.append(client)

    def slow(self, wait_s: float, words: str) -> None:
        """Ask more slowly after a refusal; a recorded host need not be spared."""
        if not self._replayed:
            self.limiter.slow(wait_s, words)

    def take(self, model: str, reply: Reply, *, hold: bool) -> None:
        """Note that a model answers; hold OpenRouter to the upstream that did.

        Upstreams differ in quantisation and defaults, which would pass for an effect
        of what is compared.
        """
        self.answered.add(model)
        self._streak = 0
        provider = reply.raw.get("provider")
        if hold and self.title == "openrouter" and provider and model not in self.pins:
            only = {"only": [provider], "allow_fallbacks": False}
            self.pins[model] = {"provider": only}

    def fail(self, error: KimiError) -> bool:
        """Note a failure; return whether the host is given up by it."""
        unreachable = isinstance(error, UNREACHABLE)
        self._streak = self._streak + 1 if unreachable else 0
        if self._streak > self.limiter.ceiling and self.dead is None:
            self.give_up(error)
            return True
        return False

    def refuses(self, error: Overloaded | RateLimited) -> bool:
        """Note that it did; return whether it does from the first, for too long."""
        now = time.monotonic()
        if self._refused_at is None:
            self._refused_at = now
        allowed_s = (s for kind, s in PATIENCE_S.items() if isinstance(error, kind))
        too_long = now - self._refused_at > next(allowed_s)
        return too_long and not self.answered

    def give_up(self, error: KimiError) -> None:
        """Ask this host no more."""
        self.dead = error
        self.limiter.lift()

    async def close(self) -> None:
        """Close all connections; a fake may have nothing to close."""
        for client in self._active:
            with contextlib.suppress(Exception, asyncio.CancelledError):
                await asyncio.wait_for(client.close(), 0.2)  # type: ignore[attr-defined]
