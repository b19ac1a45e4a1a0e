"""Ask a grid by a runner, and keep what comes."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from kimikit import errors
from kimikit.errors import BadInput, KimiError
from kimikit.runner import Request, Runner, Stopped
from kimikit.runner.background import TELL_S, in_thread
from kimikit.runner.costs import Estimate
from kimikit.runner.live import OF_THE_PROMPT
from kimikit.sweeps import points
from kimikit.sweeps.folders import PART_ROWS
from kimikit.sweeps.grid import Grid
from kimikit.sweeps.judge import Judge
from kimikit.sweeps.notes import look_at
from kimikit.sweeps.points import HostPoints, Point, SweepCache, complete
from kimikit.sweeps.settled import buying, in_range, is_settled, rounds_of
from kimikit.sweeps.trial import Metric, Trial, trial_of
from kimikit.sweeps.values import Plan, Progress, costs_of_judges, in_order
from kimikit.types import Reply

if TYPE_CHECKING:  # numpy stands behind it
    from kimikit.sweeps.trial_writer import TrialWriter

PINNED = {"temperature", "top_p", "presence_penalty", "frequency_penalty"}
"""Parameters that hosts pin for some models (Moonshot, models overview)."""

BY_NAME = "kept by kimikit 0.3.0, which noted the name of a host and not its address"

GONE = "its stored answer is gone; ask again by the same name"

STORED_AT_ONCE = 100
"""Stored answers that wait to be judged at once, where a folder takes the rest."""


class Asking:
    """Asks the cells of a grid that have no answer yet.

    Args:
        runner: Asks.
        cache: The same cache that the runner finds paid answers in.
        grid: What to ask.
        seed: Seed of the shuffled order.
        metrics: What judges the answers, if anything does.
        omit: Whether a pinned parameter is left out, instead of ending the sweep.
        until: Half the width of intervals that ends it; ``None`` asks everything.
        writer: Takes what comes, instead of memory.

    Attributes:
        name: What the sweep is called again by.
        judge: Asks the metrics, ``None`` where there are none.
        hosts: What each host is asked, by the name that the grid gives it.
        trials: What has come so far, answers and failures, in no order; none where
            a writer takes them.
        upstreams: By what a host tells of itself, and its name, what it told.
        plan: What was known before.
        pinned: Whether a parameter was left out because a host pins it.
        buying: How much is bought until it is settled, if that ends it.
        repeats: Answers asked of each point by now.
    """

    def __init__(
        self,
        runner: Runner,
        cache: SweepCache,
        grid: Grid,
        seed: int,
        metrics: Mapping[str, Metric] | None,
        *,
        omit: bool,
        until: float | None = None,
        writer: TrialWriter | None = None,
    ) -> None:
        self.runner, self.grid, self.name, self.seed = runner, grid, cache.name, seed
        self.judge = Judge(metrics, {}) if metrics else None
        self._judges = bool(costs_of_judges(metrics or {}))
        self.hosts: dict[str | None, HostPoints] = {}
        self.trials: list[Trial] = []
        self.plan = Plan()
        self.pinned = False
        self.buying = None
        if until is not None:
            self.buying = buying(grid, until, self.judge.names if self.judge else ())
        self.repeats = grid.repeats
        self._question: Future[bool] | None = None
        self._cache, self._omit = cache, omit
        self._meta = {"sweep": cache.name}
        self.upstreams: dict[tuple[str, str], set[str]] = {}
        self.writer, self._writing = writer, asyncio.Lock()
        self._done = self._failed = 0
        # Stored answers that are read again to be judged, and how many they are.
        self._unjudged: Iterator[Trial] = iter(())
        self.unjudged = 0
        # For each point that something came of, its labels and how much.
        self._came_of: dict[int, list[Any]] = {}

    def prepare(self, *, estimate: Estimate | None, rpm: float | None) -> Plan:
        """Check and price what is to be asked; nothing is sent.

        Raises:
            BadInput: If a host takes no such parameter.
        """
        known: dict[str, Point] = {}
        for labels, params in self.grid.points():
            name = params.pop("host", None)
            if name not in self.hosts:
                endpoint = self.runner.endpoint(name)
                made = HostPoints(endpoint, self._cache, known, self.grid.repeats)
                self.hosts[name] = made
            self.hosts[name].add(labels, params)
        if not self._cache.empty:
            for host in self.hosts.values():
                self._take_stored(host)
            stored = [(point, bytes(point.taken)) for point in self._points]
            self._unjudged = self._again(stored)
        if by_name := self._cache.by_name:
            self.runner.notes[BY_NAME] = by_name
        self.plan = points.price(
            self.hosts.values(), estimate=estimate, rpm=rpm, stored=self._done
        )
        self.plan = msgspec.structs.replace(self.plan, judged=self._judges)
        if self.buying is not None:
            least = self.buying.first * len(known)
            self.plan = msgspec.structs.replace(self.plan, least_calls=least)
            asked = len({point.labels.get("prompt") for point in known.values()})
            if asked < len(self.grid.axes.get("prompt", "1")):
                raise BadInput(
                    "Two prompts ask the same, and until= counts each once a round.",
                    "Give each prompt once.",
                )
        return self.plan

    def _read(self, point: Point, repeat: int) -> Reply | None:
        """Return what is stored of a cell, if anything is."""
        return self._cache.get(self._cache.key(point.digest, repeat))

    def _take_stored(self, host: HostPoints) -> None:
        later = self.writer is not None and self.judge is not None
        for point in host.points:
            for repeat in range(self.grid.repeats):
                if (reply := self._read(point, repeat)) is None:
                    continue
                point.taken[repeat] = 1
                host.endpoint.take(point.model, reply, hold=True)
                trial = self._trial(point, repeat, reply, stored=True)
                if later:
                    self._count(trial)
                    self.unjudged += 1
                    continue
                self._put(trial)
                if self.writer is not None and self.writer.full:
                    self.writer.flush()

    def _again(self, places: Iterable[tuple[Point, bytes]]) -> Iterator[Trial]:
        """Yield what is stored of some places of points, read once more."""
        for point, taken in places:
            for repeat in itertools.compress(range(len(taken)), taken):
                reply = self._read(point, repeat)
                if reply is None:  # another kernel may have deleted it meanwhile
                    yield Trial(params=point.labels, repeat=repeat, error=GONE)
                else:
                    yield trial_of(point.labels, repeat, reply, stored=True)

    def take_unjudged(self, most: int | None = None) -> Iterator[Trial]:
        """Yield so many stored answers that nobody has judged yet, or all of them."""
        for trial in itertools.islice(self._unjudged, most):
            self.unjudged -= 1
            yield trial

    # The caller's thread.

    def run(self, tell: Callable[[Progress], None]) -> None:
        """Ask what is missing; on Stop, keep what is finished.

        Answers are judged here as they come, in the user's own thread.

        Args:
            tell: Called about four times per second, in the caller's thread.
        """

        def look() -> bool:
            busy = self._judge_for_a_moment()
            if not busy:
                self._answer()
            tell(self.progress())
            return busy

        self.runner.run(self._work, look)

    def _judge_for_a_moment(self) -> bool:
        """Judge answers; tell whether some are left to judge."""
        if self.judge is None or self.runner.error is not None:
            return False
        if self.unjudged and not self.judge.waiting:
            self.judge.waiting.extend(self.take_unjudged(STORED_AT_ONCE))
        self.judge.judge_for(TELL_S, self._judged)
        return bool(self.judge.waiting or self.unjudged)

    def _answer(self) -> None:
        """Tell the runner's thread whether it is settled, if it asks and all is judged.

        Of a figure beyond 0 to 1 it gets the error, which ends the sweep.
        """
        question = self._question
        if question is None or self.judge is None or self.buying is None:
            return
        self._question = None
        try:
            scores = self.judge.all(self.trials)[self.buying.metric]
            rounds = rounds_of(self.trials, scores, self.grid.axes)
            in_range(self.buying.metric, rounds)
            done = is_settled(self.buying.until, rounds)
            if done:
                self.runner.stop_reason = "settled"
            question.set_result(done)
        except Exception as error:
            question.set_exception(error)

    def _judged(self, trial: Trial) -> None:
        if self.writer is not None and self.judge is not None:
            self.writer.put(trial, self.judge.take(trial))

    def progress(self) -> Progress:
        """Return how far the sweep is."""
        done, calls = self._done, self.plan.calls
        bought = done - self.plan.stored
        spent_s = time.monotonic() - self.runner.began
        left_s = max(calls - done, 0) * spent_s / bought if bought > 0 else None
        return Progress(
            done=done - self._failed,
            failed=self._failed,
            calls=calls,
            cost=self.runner.costs.spent,
            seconds_left=left_s,
            upper_usd=self.plan.upper_usd,
            judged=self.judge.judged if self.judge else None,
        )

    @property
    def _points(self) -> list[Point]:
        """All points as they are now: a pinned parameter makes one of several."""
        return [point for host in self.hosts.values() for point in host.points]

    # The runner's thread.

    async def _work(self) -> None:
        if self.buying is None:
            await self._ask_all()
            return
        ceilings = (h.endpoint.limiter.ceiling for h in self.hosts.values())
        at_once = sum(ceilings) / len(self._points)
        self.repeats = done = complete(self._points)
        while done < self.grid.repeats and not (done and await self._is_settled()):
            self.repeats = self.buying.end(done, at_once)
            await self._ask_all(range(done, self.repeats))
            if self.runner.stopping:
                return
            before, done = done, complete(self._points)
            if done == before:  # a host is asked no more
                return

    async def _is_settled(self) -> bool:
        """Return what the caller's thread says, where metrics judge."""
        self._question = Future()
        self.runner.wake()
        return await asyncio.wrap_future(self._question)

    async def _ask_all(self, repeats: range | None = None) -> None:
        probe = not PINNED.isdisjoint(self.grid.axes)
        async with asyncio.TaskGroup() as tasks:
            for name, host in self.hosts.items():
                first = probe or host.endpoint.title == "openrouter"
                cells = host.cells(self.seed, repeats, probe=first)
                at_once = host.endpoint.limiter.ceiling
                ask = partial(self._ask, name, host)
                tasks.create_task(self.runner.each(cells, ask, at_once=at_once))

    async def _ask(self, name: str | None, host: HostPoints, cell: int) -> None:
        """Ask a cell, and again where its point was replaced meanwhile."""
        while True:
            point, repeat = host.at(cell)
            if point.taken[repeat]:
                return
            point.taken[repeat] = 1
            try:
                if await self._came(name, host, cell, point):
                    writer = self.writer
                    if writer is not None and (writer.full or self._judge_is_behind()):
                        await self._make_room(writer)
                    return
            except Stopped:
                point.taken[repeat] = 0
                if host.at(cell)[0] is point:
                    raise

    async def _make_room(self, writer: TrialWriter) -> None:
        """Write what has come, and wait where it comes faster than it is dealt with."""
        if writer.full:
            async with self._writing:  # one thread writes for all who wait
                if writer.full:
                    await in_thread(writer.flush)
        # The user's thread judges, and has no event of this loop to set. Once the work
        # has failed it judges no more.
        while not self.runner.stopping and self._judge_is_behind():  # noqa: ASYNC110
            await asyncio.sleep(TELL_S / 10)

    def _judge_is_behind(self) -> bool:
        return self.judge is not None and len(self.judge.waiting) > PART_ROWS

    async def _came(
        self, name: str | None, host: HostPoints, cell: int, point: Point
    ) -> bool:
        """Ask a cell and keep what comes; return ``False`` to ask it otherwise."""
        repeat = cell % self.grid.repeats
        request = Request(
            messages=point.params["prompt"],
            params=point.sent,
            host=name,
            model=point.model,
            key=host.key(cell),
            meta=self._meta,
            bill=point.bill,
        )
        paid = self._cache.get(request.key)
        try:
            reply = paid or await self.runner.ask(
                request, wanted=lambda: host.at(cell)[0] is point
            )
            self._put(self._trial(point, repeat, reply, stored=paid is not None))
        except KimiError as error:
            if self._omitted(host, point, error):
                return False
            others = "prompt" in self.grid.axes and isinstance(error, OF_THE_PROMPT)
            if self.runner.failed(request, error, others_may_do=others):
                end = f"{type(error).__name__}: {error.what}"
                came = getattr(error, "reply", None)
                self._put(
                    Trial(params=point.labels, repeat=repeat, error=end, partial=came)
                )
        return True

    def _omitted(self, host: HostPoints, point: Point, error: KimiError) -> bool:
        """Ask a model without the parameter it pins, if it does: one labelled point."""
        if not (self._omit and isinstance(error, errors.FixedTemperature)):
            return False
        if point.params.get(error.parameter) is None:
            return False
        self.pinned = True
        host.omit(point.model, error.parameter)
        now = {id(point.labels) for point in self._points}
        before = sum(n for id_, (_, n) in self._came_of.items() if id_ not in now)
        calls = before + len(now) * self.grid.repeats
        self.plan = msgspec.structs.replace(self.plan, calls=calls)
        value = "one value" if error.allowed is None else f"{error.allowed:g}"
        where = f"{host.endpoint.title} {point.model}".strip() or "the host"
        said = f"{where} pins {error.parameter} at {value}: asked without it"
        self.runner.notes[said] = 1
        return True

    def _trial(self, point: Point, repeat: int, reply: Reply, *, stored: bool) -> Trial:
        """Return an answer, or what is wrong with it; note what looks odd in it."""
        look_at(point.params, reply, self.runner.notes, self.upstreams)
        return trial_of(point.labels, repeat, reply, stored=stored)

    def _put(self, trial: Trial) -> None:
        self._count(trial)
        if self.judge is not None:
            self.judge.waiting.append(trial)
        if self.writer is None:
            self.trials.append(trial)
        elif self.judge is None:
            self.writer.put(trial)

    def _count(self, trial: Trial) -> None:
        self._done += 1
        self._failed += trial.reply is None
        labels = trial.params
        if (known := self._came_of.get(id(labels))) is None:
            known = self._came_of[id(labels)] = [labels, 0]
        known[1] += 1

    def in_order(self) -> tuple[Trial, ...]:
        """Return the trials in the order of the grid; an omitted one comes last."""
        return in_order(self.grid.axes, self.trials)
