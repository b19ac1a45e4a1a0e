"""Find out what is to be bought, by a runner that asks nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from kimikit import errors
from kimikit.errors import KimiError
from kimikit.runner.endpoint import ClientFor
from kimikit.runner.live import IN_A_BATCH, Runner, Stopped
from kimikit.runner.requests import Request
from kimikit.types import Reply, Watch


class Planner(Runner):
    """Answers from the cache, and keeps what else was to be asked.

    Args:
        client_for: As for ``Runner``, as are the options.
        known: Requests that are over in batches of this work, by their keys, with why
            they failed, as far as they did; those are not planned.
        judges: Whether what comes is judged: nothing need be while one only plans.
        stop_reason: Why nothing more is bought.

    Attributes:
        planned: The requests that have no answer yet.
        asked: The keys of those that are known and were asked again.
    """

    asks = False

    def __init__(
        self,
        client_for: ClientFor,
        *,
        known: Mapping[str, str | None] | None = None,
        judges: bool = False,
        stop_reason: str = "done",
        **options: Any,
    ) -> None:
        super().__init__(client_for, **options)
        self.planned: list[Request] = []
        self.asked: set[str] = set()
        self.judges, self.stop_reason = judges, stop_reason
        self._seen: set[str] = set()
        self._known = known or {}

    async def ask(
        self,
        request: Request,
        watch: Watch | None = None,
        wanted: Callable[[], bool] = lambda: True,
    ) -> Reply:
        """Return an answer that is paid for, or note what to buy."""
        if request.key in self._known:
            self.asked.add(request.key)
        if (paid := self.cache.get(request.key)) is not None:
            self.reused += request.key not in self._known  # else it is ours
            return paid
        if (why := self._known.get(request.key)) is not None:
            raise failure(why)
        if request.key not in self._seen:  # a sweep may come to a cell twice
            if request.key in self.cache.claimed:
                self.notes[IN_A_BATCH] += 1
            else:
                self.planned.append(request)
        self._seen.add(request.key)
        raise Stopped


def failure(said: str) -> KimiError:
    """Return the error of a request that failed in a batch."""
    remedy = "Ask again by the same name: only what is missing is bought."
    what = said.removesuffix(remedy).strip() or "It failed in its batch."
    return errors.StatusError(what, remedy)
