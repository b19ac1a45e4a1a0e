"""Limit how fast a host is asked: how many calls at once, and per minute."""

from __future__ import annotations

import asyncio
import math
import re
import time
from collections import deque

from kimikit.errors import BadInput
from kimikit.json_values import check_count, is_number, short

AT_ONCE = 8
"""Calls at once per host, unless the user says otherwise."""

SMALL_HOSTS = {"local": 4, "ollama": 2, "llamacpp": 4, "nvidia": 4, "moonshot": 4}
"""Calls at once for hosts that serve few; the local host has four slots."""

# Moonshot names the limit of the account's tier in its 429: "request reached
# organization max RPM: 3" or "max concurrency: 1".
_TOLD_RPM = re.compile(r"\bRPM\b\D{0,12}(\d{1,9})", re.IGNORECASE)
_TOLD_AT_ONCE = re.compile(r"concurrency\D{0,12}(\d{1,9})", re.IGNORECASE)


def check_pace(concurrency: object, rpm: object = None) -> None:
    """Refuse a pace at which no host can be asked; ``None`` leaves it to the host.

    Raises:
        BadInput: Naming the option.
    """
    if concurrency is not None:
        check_count("concurrency", concurrency)
    if rpm is not None and not (is_number(rpm) and 0 < rpm < math.inf):
        raise BadInput(
            f"rpm is {short(rpm)}.", "Give requests per minute, a number above 0."
        )


class RateLimiter:
    """Admits calls to one host in their order, at a pace that it learns from answers.

    Use it as an async context manager around each call.

    Additive increase and multiplicative decrease, as TCP does (Chiu and Jain 1989): a
    refusal halves the calls at once and holds all of them for the wait it names;
    each success adds a part of one, up to the ceiling. With one call at once left, it
    is the distance between calls that doubles.

    One call begins per turn of the event loop. A hundred that begin in one turn are all
    sent when the last one is ready, and their answers then come at once too, while the
    loop had nothing to do; one after another, the first is answered meanwhile.

    Args:
        at_once: Calls at once at most.
        rpm: Requests per minute at most, if there is such a limit.

    Attributes:
        ceiling: Calls at once that are never exceeded.
        allowed: Calls at once allowed now.
        distance_s: Seconds between the starts of two calls.
    """

    def __init__(self, at_once: int, rpm: float | None = None) -> None:
        self.ceiling = at_once
        self.allowed = float(at_once)
        self.distance_s = self._least_s = 60 / rpm if rpm else 0.0
        self._ready_at = 0.0
        self._calm_at = 0.0
        self._active = 0
        self._begun = self._lifted = False
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def slow(self, wait_s: float | None, words: str) -> None:
        """Take a refusal into account.

        Args:
            wait_s: The wait that the host or the client named, in seconds.
            words: What was said, which may name the account's limits.
        """
        now, hold_s = time.monotonic(), wait_s or 1.0
        if told := _TOLD_RPM.search(words):
            self._least_s = max(self._least_s, 60 / max(int(told[1]), 1))
        if told := _TOLD_AT_ONCE.search(words):
            self.ceiling = min(self.ceiling, max(int(told[1]), 1))
        if now >= self._calm_at:  # calls that were under way together count once
            self._calm_at = now + hold_s
            if self.allowed < 2:
                self.distance_s = min(max(2 * self.distance_s, 0.1), 60.0)
            self.allowed = max(1.0, self.allowed / 2)
        self.allowed = min(self.allowed, float(self.ceiling))
        self.distance_s = max(self.distance_s, self._least_s)
        self._ready_at = max(self._ready_at, now + hold_s)

    def succeed(self) -> None:
        """Take an answer into account: recover a little."""
        self.allowed = min(float(self.ceiling), self.allowed + 1 / self.allowed)
        self.distance_s *= 0.8
        if self.distance_s < max(self._least_s, 0.01):
            self.distance_s = self._least_s

    async def __aenter__(self) -> None:
        if self._waiting or not self._begin():
            turn = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            self._admit()
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self._end()  # it was its turn, and it no longer wants it
                raise

    async def __aexit__(self, *_: object) -> None:
        self._end()

    def _begin(self) -> bool:
        """Count a call that begins now, if one may."""
        now = time.monotonic()
        full = self._begun or self._active >= int(self.allowed)
        if (full or now < self._ready_at) and not self._lifted:
            return False
        self._active += 1
        self._ready_at = now + self.distance_s
        self._begun = True
        asyncio.get_running_loop().call_soon(self._turn)
        return True

    def _turn(self) -> None:
        self._begun = False
        self._admit()

    def _end(self) -> None:
        self._active -= 1
        self._admit()

    def _admit(self) -> None:
        """Let those begin whose turn it is, and look again when the next one's is."""
        if self._begun and not self._lifted:
            return  # the next turn looks again
        while self._waiting:
            if self._waiting[0].done():  # cancelled meanwhile
                self._waiting.popleft()
            elif self._begin():
                self._waiting.popleft().set_result(None)
            else:
                break
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._waiting and not self._begun and self._active < int(self.allowed):
            wait_s = max(self._ready_at - time.monotonic(), 0.0)
            self._timer = asyncio.get_running_loop().call_later(wait_s, self._admit)

    def lift(self) -> None:
        """Let all go who wait, to learn that nothing more is sent."""
        self._lifted = True
        self._admit()
