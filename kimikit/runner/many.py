"""Run requests, or jobs that ask, in their order: as many at once as a runner may."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from typing import TypeVar

from kimikit.display.progress import ANSWERS, move, progress_bar
from kimikit.errors import KimiError
from kimikit.runner.background import STOP_S, in_thread
from kimikit.runner.live import Runner, Stopped
from kimikit.runner.requests import Request
from kimikit.types import Reply, Watch

_T = TypeVar("_T")


def ask_all(
    runner: Runner,
    requests: Sequence[Request],
    *,
    failed: Callable[[Request, KimiError], bool] | None = None,
    watch: Watch | None = None,
    progress: str | None = None,
    then: Callable[[Sequence[Reply | KimiError | None]], Awaitable[None]] | None = None,
) -> list[Reply | KimiError | None]:
    """Ask requests and return what came of each, in their order.

    Args:
        runner: Asks.
        requests: What to ask, as many at once as their hosts are asked.
        failed: Told of a failure, which is a result then: whether only this request
            met it, as ``runner.failed`` tells. Else, and without it, it ends the work.
        watch: Called for each step of each answer, in the runner's thread.
        progress: Label of a progress bar, none if left out.
        then: Does what comes next in the runner's thread, given the results; it may
            ask more.

    Returns:
        The results; ``None`` for what an error, Stop or ``max_cost`` prevented. What
        ended the work is the runner's ``error``, for ``finished``.
    """
    came: list[Reply | KimiError | None] = [None] * len(requests)

    async def ask(index: int) -> None:
        try:
            came[index] = await runner.ask(requests[index], watch)
        except KimiError as error:
            if failed is None:
                raise
            came[index] = error
            if not failed(requests[index], error):
                raise

    async def work() -> None:
        hosts = {request.host for request in requests}
        at_once = sum(runner.endpoint(host).limiter.ceiling for host in hosts)
        await runner.each(range(len(requests)), ask, at_once=at_once)
        if then is not None and not runner.stopping:
            with contextlib.suppress(Stopped):
                await then(came)

    with _bar(runner, came, progress) as tell:
        runner.run(work, tell)
    return came


def run_jobs(
    runner: Runner,
    jobs: Sequence[Callable[[], _T]],
    *,
    concurrency: int,
    groups: Sequence[object] = (),
    progress: str | None = None,
    next_end: Callable[[Sequence[_T | None]], int] | None = None,
) -> list[_T | None]:
    """Run blocking jobs on threads of a runner and return their results in order.

    Args:
        runner: Whose clients the jobs ask.
        jobs: What to run; each sees the caller's context variables.
        concurrency: How many run at once, in each group.
        groups: For each job its group, such as the host it asks: a slow one keeps no
            other waiting. Without, all share one.
        progress: Label of a progress bar, none if left out.
        next_end: Given the results so far, says up to which job to go on; the work ends
            where that is no further. All jobs are run without it.

    Returns:
        The results; ``None`` where a job raised, or Stop or ``max_cost`` prevented it.
        The first error sends no more and is the runner's ``error``.
    """
    results: list[_T | None] = [None] * len(jobs)
    running: set[asyncio.Future[None]] = set()

    async def one(index: int) -> None:
        results[index] = await in_thread(_stopping, jobs[index])

    async def do(index: int) -> None:
        run = asyncio.ensure_future(one(index))
        running.add(run)
        run.add_done_callback(running.discard)
        await asyncio.shield(run)

    async def work() -> None:
        done, end = 0, len(jobs) if next_end is None else next_end(results)
        try:
            while done < end and not runner.stopping:
                await _grouped(runner, do, range(done, end), groups, concurrency)
                done, end = end, end if next_end is None else next_end(results)
        except asyncio.CancelledError:
            await _hung_up(runner, running)
            raise

    with _bar(runner, results, progress) as tell:
        runner.run(work, tell)
    return results


def _stopping(job: Callable[[], _T]) -> _T:
    """Run a job, whose Stop would end the loop of the others unheard."""
    try:
        return job()
    except KeyboardInterrupt as exc:
        raise Stopped from exc


async def _hung_up(runner: Runner, running: Collection[asyncio.Future[None]]) -> None:
    """Have calls hang up at Stop, and jobs take what had arrived for an answer."""
    for call in tuple(runner.asking):
        call.cancel()
    if running:
        await asyncio.wait(running, timeout=0.75 * STOP_S)


async def _grouped(
    runner: Runner,
    do: Callable[[int], Awaitable[None]],
    span: range,
    groups: Sequence[object],
    concurrency: int,
) -> None:
    """Do a span of jobs, so many at once of each group."""
    members: dict[object, list[int]] = {}
    for index in span:
        members.setdefault(groups[index] if groups else None, []).append(index)
    async with asyncio.TaskGroup() as tasks:
        for some in members.values():
            at_once = min(concurrency, len(some))
            tasks.create_task(runner.each(some, do, at_once=at_once))


@contextlib.contextmanager
def _bar(
    runner: Runner, results: Sequence[object], label: str | None
) -> Iterator[Callable[[], None]]:
    """Give what moves a progress bar to the number of results that are there."""
    total = len(results)
    silent = label is None or not runner.asks
    with progress_bar(total=total, desc=label, disable=silent, **ANSWERS) as bar:

        def tell() -> None:
            move(bar, total - results.count(None), note=runner.costs.so_far)

        yield tell
