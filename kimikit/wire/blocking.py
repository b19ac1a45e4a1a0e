"""Run coroutines whose steps block, so that one text serves both kinds of client."""

from __future__ import annotations

import functools
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from typing import Any, Concatenate, ParamSpec, TypeVar

_T = TypeVar("_T")
_P = ParamSpec("_P")


def at_once(coroutine: Coroutine[Any, Any, _T]) -> _T:
    """Return what a coroutine returns whose steps block, so that it never waits."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        value: _T = done.value
        return value
    raise RuntimeError("A step of a blocking client waited.")


def each_at_once(steps: AsyncGenerator[_T, None]) -> Iterator[_T]:
    """Yield what an async generator yields whose steps block."""

    async def following() -> _T:
        return await anext(steps)

    try:
        while True:
            yield at_once(following())
    except StopAsyncIteration:
        return
    finally:
        at_once(steps.aclose())


def blocking(
    plan: Callable[Concatenate[Any, _P], Coroutine[Any, Any, _T]],
) -> Callable[Concatenate[Any, _P], _T]:
    """Return a method that is awaited as one that blocks.

    Its object is what steps block in, or holds that as ``_awaited``.
    """

    @functools.wraps(plan)
    def method(self: Any, /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        return at_once(plan(getattr(self, "_awaited", self), *args, **kwargs))

    return method


async def sleep(seconds: float) -> None:
    """Sleep, and let no event loop run: there is none."""
    time.sleep(seconds)  # noqa: ASYNC251
