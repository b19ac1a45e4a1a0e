"""Ask a grid: a fixed crew of workers on an event loop in a thread of its own.

The crew works beside whatever the cell does, so that a sweep runs in any notebook, and
Stop, which reaches only the main thread, ends it within a second.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import inspect
import threading
from collections import deque
from collections.abc import Callable

from kimikit.errors import (
    AuthenticationFailed,
    BadInput,
    BadRequest,
    BudgetExceeded,
    ConnectionFailed,
    ContentFiltered,
    ContextTooLong,
    FixedTemperature,
    KimiError,
    LocalHostError,
    ModelNotFound,
    NoBalance,
    Overloaded,
    RateLimited,
    TimedOut,
)
from kimikit.sweeps.lanes import Cell, Lane, Orders, lay_out, omit, price
from kimikit.sweeps.record import Record
from kimikit.sweeps.values import Progress
from kimikit.types import AsyncChatClient, Delta, Wait

CREW = 4
"""Workers that share a client: httpx looks at all of a pool's connections at a request,
so a pool of 16 costs half as much again as one of 4, and a pool of 100 ten times."""

TRIES = 5
"""Times a call that met a rate limit is asked, beyond the client's own retries."""

LONGEST_WAIT_S = 300.0
"""A host that asks for a longer wait than this ends the sweep."""

PINNED = {"temperature", "top_p", "presence_penalty", "frequency_penalty"}
"""Parameters that hosts pin for some models (Moonshot, models overview)."""

OF_THE_SWEEP = (
    FixedTemperature,
    AuthenticationFailed,
    NoBalance,
    ModelNotFound,
    BadInput,
    BudgetExceeded,
    LocalHostError,
)
"""Errors that every other cell would meet too."""


class Engine:
    """Runs one sweep.

    Attributes:
        record: What has come of it so far.
        error: What ended it before its time, if anything did.
        stop_reason: ``done``, ``interrupted`` or ``max_cost``.
    """

    def __init__(self, orders: Orders) -> None:
        self.orders = orders
        self.record = Record()
        self.lanes: dict[str | None, Lane] = {}
        self.error: BaseException | None = None
        self.stop_reason = "done"
        self._taken: set[str] = set()
        self._under_way = 0
        self._stopping = False
        self._finished = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None

    # ---- the caller's thread

    def run(self, tell: Callable[[Progress], None] | None) -> None:
        """Work through the grid; on Stop, cancel the crew and keep what is finished.

        Args:
            tell: Called about four times a second, in the caller's thread.
        """
        context = contextvars.copy_context()  # tags and budgets of the caller hold
        crew = threading.Thread(
            target=lambda: context.run(asyncio.run, self._main()),
            name="kimikit-sweep",
            daemon=True,
        )
        tell = tell or (lambda progress: None)
        try:
            crew.start()  # the first call may be on its way before this returns
            # A wait without a time limit cannot be interrupted on Windows.
            while not self._finished.wait(0.25):
                tell(self.record.progress())
            tell(self.record.progress())
        except KeyboardInterrupt:
            self._stop()
        except BaseException:
            self._stop()
            raise

    def _stop(self) -> None:
        """Cancel the crew and give it a moment to close its connections."""
        self.stop_reason, self._stopping = "interrupted", True
        loop, task = self._loop, self._task
        if loop is not None and task is not None:
            with contextlib.suppress(RuntimeError):  # it may just have ended
                loop.call_soon_threadsafe(task.cancel)
        with contextlib.suppress(KeyboardInterrupt):
            self._finished.wait(0.8)

    # ---- the crew's thread

    async def _main(self) -> None:
        self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        try:
            self.lanes = lay_out(self.orders)
            for lane in self.lanes.values():
                self._take_stored(lane)
            stored = len(self.record.trials)
            self.record.plan = price(self.orders, self.lanes, stored=stored)
            if not self.orders.dry_run:
                await self._crew()
        except asyncio.CancelledError:
            self.stop_reason = "interrupted"
        except Exception as error:  # raised again in the caller's thread
            self.error = error
        finally:
            await self._close()
            self._finished.set()

    async def _close(self) -> None:
        for client in [c for lane in self.lanes.values() for c in lane.clients]:
            close = getattr(client, "aclose", None) or getattr(client, "close", None)
            with contextlib.suppress(Exception, asyncio.CancelledError):
                if inspect.iscoroutinefunction(close):
                    await asyncio.wait_for(close(), 0.2)

    def _take_stored(self, lane: Lane) -> None:
        """Take the answers that are paid for already."""
        cells, lane.cells = lane.cells, deque()
        for cell in cells:
            reply = self.orders.shelf.get(cell.key)
            if reply is None:
                lane.cells.append(cell)
            elif cell.key not in self._taken:
                self._taken.add(cell.key)
                self.record.keep(lane, cell, reply, stored=True)

    async def _crew(self) -> None:
        """Ask all cells, but one of each host and model first where that must be.

        A pinned temperature so costs one request and not the whole grid, and OpenRouter
        shows its upstream. The first step of an answer is proof enough: a long answer
        holds nobody up. Where nothing is swept that hosts pin, the wait would be lost.
        """
        lanes = self.lanes.values()
        pinnable = not PINNED.isdisjoint(self.orders.grid.axes)
        groups = {
            (lane, lane.model(cell))
            for lane in lanes
            for cell in lane.cells
            if pinnable or lane.title == "openrouter"
        }
        tasks = [asyncio.create_task(self._probe(*group)) for group in groups]
        try:
            for lane in lanes:  # clients are made while the probes are on their way
                while len(lane.clients) * CREW < lane.workers:
                    await asyncio.sleep(0)
                    lane.clients.append(self.orders.make_client(lane.name))
            for lane, model in groups:
                await lane.heard[model].wait()
            tasks += [
                asyncio.create_task(self._work(lane, lane.clients[number // CREW]))
                for lane in lanes
                for number in range(lane.workers)
            ]
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        dead = [lane.dead for lane in lanes if lane.dead]
        if dead and len(dead) == len(lanes):
            self._end(dead[0])

    def _end(self, error: Exception) -> None:
        """Let calls under way finish, send no more, and raise in the end."""
        self.error = self.error or error
        self._stopping = True

    async def _probe(self, lane: Lane, model: str) -> None:
        try:
            while not self._stopping:
                mine = [cell for cell in lane.cells if lane.model(cell) == model]
                # Hosts that pin a temperature pin it at 1 or 0.6: another value tells.
                mine.sort(key=lambda cell: cell.params.get("temperature") in (1, 0.6))
                if not mine or await self._turn(lane, lane.clients[0], mine[0]):
                    break
        except Exception as error:  # raised again in the caller's thread
            self._end(error)
        finally:
            lane.heard[model].set()

    async def _work(self, lane: Lane, client: AsyncChatClient) -> None:
        while lane.cells and not self._stopping and lane.dead is None:
            try:
                await self._turn(lane, client, None)
            except Exception as error:  # raised again in the caller's thread
                self._end(error)

    async def _turn(
        self, lane: Lane, client: AsyncChatClient, cell: Cell | None
    ) -> bool:
        """Ask ``cell``, or the lane's next one, when its turn comes.

        Returns:
            Whether the cell is settled: answered, or failed for good.
        """
        await lane.pace.enter()
        try:
            if not lane.cells or self._stopping or not self._affordable():
                return False
            cell = cell or lane.cells[0]
            lane.cells.remove(cell)
            if cell.key in self._taken:  # two cells became one when one was omitted
                return True
            self._taken.add(cell.key)
            self._under_way += 1
            try:
                return await self._ask(lane, client, cell)
            finally:
                self._under_way -= 1
        finally:
            lane.pace.leave()

    def _affordable(self) -> bool:
        """Whether another call would likely stay within ``max_cost``."""
        limit = self.orders.max_cost
        reserved = self.record.dearest * (self._under_way + 1)
        if limit is None or self.record.spent + reserved <= limit:
            return True
        self.stop_reason, self._stopping = "max_cost", True
        return False

    async def _ask(self, lane: Lane, client: AsyncChatClient, cell: Cell) -> bool:
        heard = lane.heard[lane.model(cell)]

        def watch(event: Delta | Wait) -> None:
            if isinstance(event, Wait):
                lane.pace.slow(event.seconds, event.reason)
            elif not heard.is_set():
                heard.set()

        params = {**lane.pins.get(lane.model(cell), {}), **cell.params}
        prompt = params.pop("prompt")
        meta = {"key": cell.key, "sweep": self.orders.shelf.name}
        try:
            reply = await client.chat(prompt, watch=watch, meta=meta, **params)
        except (RateLimited, Overloaded) as error:
            wait_s = error.retry_after_s if isinstance(error, RateLimited) else None
            lane.pace.slow(wait_s, f"{error.host_message} {error.what}")
            cell.tries += 1
            if (wait_s or 0) > LONGEST_WAIT_S:
                raise
            if cell.tries < TRIES:
                return self._put_back(lane, cell)
            return self.record.fail(lane, cell, error)
        except KimiError as error:
            return self._refused(lane, cell, error)
        lane.pace.succeed()
        return self.record.keep(lane, cell, reply)

    def _put_back(self, lane: Lane, cell: Cell) -> bool:
        self._taken.discard(cell.key)
        lane.cells.appendleft(cell)
        return False

    def _refused(self, lane: Lane, cell: Cell, error: KimiError) -> bool:
        """Raise what every cell would meet, mend what can be, keep the rest as failed.

        Returns:
            Whether the cell is settled; if not, it has been put back.
        """
        model, orders = lane.model(cell), self.orders
        if isinstance(error, FixedTemperature):
            sent = cell.params.get(error.parameter) is not None
            if orders.on_fixed == "omit" and sent:
                self._put_back(lane, cell)
                self._omit(lane, model, error)
                return False
        elif isinstance(error, BadRequest | ModelNotFound) and lane.pins.get(model):
            lane.pins[model] = {}
            self.record.notes["the upstream could not be pinned"] += 1
            return self._put_back(lane, cell)
        of_prompt = isinstance(error, ContextTooLong | ContentFiltered)
        everywhere = isinstance(error, ConnectionFailed | TimedOut | BadRequest)
        if of_prompt and "prompt" in orders.grid.axes:
            everywhere = False
        first = model not in lane.answered
        if isinstance(error, OF_THE_SWEEP) or (first and everywhere):
            raise error
        return self.record.fail(lane, cell, error)

    def _omit(self, lane: Lane, model: str, error: FixedTemperature) -> None:
        """Ask this model without the parameter it pins: one labelled point."""
        self.record.pinned = True
        omit(lane, model, error.parameter, self.orders.shelf)
        self._take_stored(lane)
        keys = {cell.key for each in self.lanes.values() for cell in each.cells}
        self.record.expect(len(keys | self._taken))
        value = "one value" if error.allowed is None else f"{error.allowed:g}"
        where = f"{lane.title} {model}".strip() or "the host"
        said = f"{where} pins {error.parameter} at {value}: asked without it"
        self.record.notes[said] = 1
