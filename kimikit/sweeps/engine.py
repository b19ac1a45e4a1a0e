"""Ask a grid: a fixed crew of workers on an event loop in a thread of its own.

The crew works beside whatever the cell does, so that a sweep runs in any notebook, and
Stop, which reaches only the main thread, ends it within a second.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import threading
from collections.abc import Callable
from typing import Any

import msgspec

from kimikit import errors
from kimikit.errors import KimiError
from kimikit.runner.live import FATAL, LONGEST_WAIT_S, OF_THE_HOST, TRIES
from kimikit.sweeps.judge import Judge
from kimikit.sweeps.lanes import LOOK_S, Cell, Lane, Orders, lay_out, price, showing
from kimikit.sweeps.record import Record
from kimikit.sweeps.values import Progress
from kimikit.types import Delta, Reply, Wait
from kimikit.wire.quota import is_used_up

TELL_S = 0.25
"""Seconds between two lines of progress."""

PINNED = {"temperature", "top_p", "presence_penalty", "frequency_penalty"}
"""Parameters that hosts pin for some models (Moonshot, models overview)."""

BY_NAME = "kept by kimikit 0.3.0, which noted the name of a host and not its address"


class Engine:
    """Runs one sweep.

    Attributes:
        record: What has come of it so far.
        error: What ended it before its time, if anything did.
        stop_reason: ``done``, ``interrupted`` or ``max_cost``.
    """

    def __init__(self, orders: Orders, judge: Judge | None = None) -> None:
        self.orders = orders
        self.judge = judge
        self.record = Record(judge)
        self.lanes: dict[str | None, Lane] = {}
        self.error: BaseException | None = None
        self.stop_reason = "done"
        self._under_way: dict[str, Cell] = {}
        self._stopping = False
        self._finished = threading.Event()
        self._cancel: Callable[[], object] = lambda: None

    # ---- the caller's thread

    def run(self, tell: Callable[[Progress], None]) -> None:
        """Work through the grid; on Stop, cancel the crew and keep what is finished.

        Answers are judged here as they come, in the user's own thread.

        Args:
            tell: Called about four times a second, in the caller's thread.
        """
        context = contextvars.copy_context()  # tags and budgets of the caller hold
        crew = threading.Thread(
            target=lambda: context.run(asyncio.run, self._main()),
            name="kimikit-sweep",
            daemon=True,
        )
        try:
            crew.start()  # the first call may be on its way before this returns
            # A wait without a time limit cannot be interrupted on Windows.
            while not self._finished.wait(0 if self._judge() else TELL_S):
                tell(self.record.progress())
            while self.error is None and self._judge():
                tell(self.record.progress())
            tell(self.record.progress())
        except BaseException as error:
            self._stop()
            if not isinstance(error, KeyboardInterrupt):
                raise

    def _judge(self) -> bool:
        """Judge answers for a moment; tell whether some are left to judge."""
        if self.judge is None:
            return False
        self.judge.judge_for(TELL_S)
        return bool(self.judge.waiting)

    def _stop(self) -> None:
        """Cancel the crew and give it a moment to close its connections."""
        self.stop_reason, self._stopping = "interrupted", True
        with contextlib.suppress(RuntimeError):  # it may just have ended
            self._cancel()
        with contextlib.suppress(KeyboardInterrupt):
            self._finished.wait(0.8)

    # ---- the crew's thread

    async def _main(self) -> None:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        if task is not None:
            self._cancel = functools.partial(loop.call_soon_threadsafe, task.cancel)
        try:
            self.lanes = lay_out(self.orders)
            for lane in self.lanes.values():
                self._take_stored(lane)
            stored = len(self.record.trials)
            if by_name := self.orders.shelf.by_name:
                self.record.notes[BY_NAME] = by_name
            self.record.plan = price(self.orders, self.lanes.values(), stored=stored)
            if not self.orders.dry_run:
                await asyncio.gather(*map(self._serve, self.lanes.values()))
                dead = [lane.dead for lane in self.lanes.values() if lane.dead]
                if len(dead) == len(self.lanes):
                    self._end(dead[0])
        except asyncio.CancelledError:
            self.stop_reason = "interrupted"
        except Exception as error:  # raised again in the caller's thread
            self._end(error)
        finally:
            await self._close()
            self._finished.set()

    async def _close(self) -> None:
        clients: list[Any] = [c for lane in self.lanes.values() for c in lane.clients]
        for client in clients:  # a fake may have nothing to close
            with contextlib.suppress(Exception, asyncio.CancelledError):
                await asyncio.wait_for(client.close(), 0.2)

    def _take_stored(self, lane: Lane) -> None:
        """Take the answers that are paid for, and one of the cells that are alike."""
        cells, lane.cells = lane.cells, []
        queued = {each.key for other in self.lanes.values() for each in other.cells}
        seen = queued | self._under_way.keys() | self.record.trials.keys()
        for cell in cells:
            if cell.key in seen:
                continue
            seen.add(cell.key)
            reply = self.orders.shelf.get(cell.key)
            if reply is None:
                lane.cells.append(cell)
            else:
                self.record.keep(lane, cell, reply, stored=True)

    async def _serve(self, lane: Lane) -> None:
        """Ask a host's cells, but one of each model first where that must be.

        A pinned temperature so costs one request and not the whole grid, and OpenRouter
        shows its upstream. The first step of an answer is proof enough: a long answer
        holds nobody up. Where nothing is swept that hosts pin, the wait would be lost.
        """
        pinnable = not PINNED.isdisjoint(self.orders.grid.axes)
        probed = pinnable or lane.title == "openrouter"
        models = dict.fromkeys(cell.model for cell in lane.cells if probed)
        async with asyncio.TaskGroup() as crew:
            for model in models:
                crew.create_task(self._probe(lane, model))
            for model in models:
                await lane.heard[model].wait()
            for number in range(min(lane.pace.ceiling, len(lane.cells))):
                crew.create_task(self._work(lane, number))

    def _end(self, error: Exception) -> None:
        """Let calls under way finish, send no more, and raise in the end."""
        self.error = self.error or error
        self._stopping = True

    async def _probe(self, lane: Lane, model: str) -> None:
        """Ask cells of a model until one is answered, or has failed for good."""
        while not self._over(lane):
            mine = [cell for cell in lane.cells if cell.model == model]
            # Hosts that pin a temperature pin it at 1 or 0.6: another value tells.
            mine.sort(key=lambda cell: cell.params.get("temperature") in (1, 0.6))
            if not mine:
                break
            await self._turn(lane, 0, mine[0])
            if mine[0].key in self.record.trials:
                break
        lane.heard[model].set()

    async def _work(self, lane: Lane, number: int) -> None:
        while lane.cells and not self._over(lane):
            await self._turn(lane, number)

    def _over(self, lane: Lane) -> bool:
        """Tell whether a host is asked no more."""
        return self._stopping or lane.dead is not None

    async def _turn(self, lane: Lane, number: int, cell: Cell | None = None) -> None:
        """Ask ``cell``, or the lane's next one, when its turn comes."""
        await lane.pace.turn(lambda: self._over(lane))
        if not lane.cells or self._over(lane):
            return
        cell = cell or lane.cells[0]
        if not self._affordable(cell):
            if self._under_way:  # what they leave of their reserve may do for it
                await asyncio.sleep(LOOK_S)
            else:
                self.stop_reason, self._stopping = "max_cost", True
            return
        lane.cells.remove(cell)
        self._under_way[cell.key] = cell
        try:
            with lane.pace.call():
                reply = await self._ask(lane, number, cell)
            lane.pace.succeed()
            self.record.keep(lane, cell, reply)
        except KimiError as error:
            self._refused(lane, cell, error)
        except Exception as error:  # raised again in the caller's thread
            self._end(error)
        finally:
            self._under_way.pop(cell.key, None)

    def _affordable(self, cell: Cell) -> bool:
        """Whether ``cell`` beside the calls under way likely keeps to ``max_cost``."""
        limit = self.orders.max_cost
        if limit is None:
            return True
        reserved = self.record.reserve(cell, self._under_way.values())
        return self.record.spent + reserved <= limit

    async def _ask(self, lane: Lane, number: int, cell: Cell) -> Reply:
        def watch(event: Delta | Wait) -> None:
            if isinstance(event, Wait):
                lane.pace.slow(event.seconds, event.reason)
            else:
                heard.set()

        heard = lane.heard[cell.model]
        params = {**lane.pins.get(cell.model, {}), **cell.params}
        params = showing(params, "url")
        prompt = params.pop("prompt")
        meta = {"key": cell.key, "sweep": self.orders.shelf.name}
        return await lane.client(number).chat(prompt, watch=watch, meta=meta, **params)

    def _refused(self, lane: Lane, cell: Cell, error: KimiError) -> None:
        """Mend what can be, end at what all would meet, keep the rest as failed."""
        pin = lane.pins.get(cell.model)
        if isinstance(error, errors.RateLimited | errors.Overloaded):
            wait_s = getattr(error, "retry_after_s", None) or 0.0
            lane.pace.slow(wait_s, f"{error.host_message} {error.what}")
            cell.tries += 1
            used_up = is_used_up(f"{error.host_message} {error.what}")
            last = cell.tries >= TRIES
            if wait_s > LONGEST_WAIT_S or (used_up and (last or not wait_s)):
                self._give_up(lane, error)
            elif not last:
                return self._put_back(lane, cell)
        elif isinstance(error, errors.FixedTemperature):
            sent = cell.params.get(error.parameter) is not None
            if self.orders.on_fixed == "omit" and sent:
                return self._omit(lane, cell, error)
        elif pin and isinstance(error, errors.BadRequest | errors.ModelNotFound):
            lane.pins[cell.model] = {}
            self.record.notes["the upstream could not be pinned"] += 1
            return self._put_back(lane, cell)
        of_prompt = isinstance(error, errors.ContextTooLong | errors.ContentFiltered)
        others_may_do = of_prompt and "prompt" in self.orders.grid.axes
        first = cell.model not in lane.answered
        everywhere = isinstance(error, OF_THE_HOST) and first and not others_may_do
        if isinstance(error, FATAL) or everywhere:
            return self._end(error)
        return self.record.fail(lane, cell, error)

    def _give_up(self, lane: Lane, error: KimiError) -> None:
        """Ask a host no more today; where it is the only one, the sweep ends."""
        lane.dead = error
        self.record.notes[f"{lane.title or 'the host'} has no quota left for now"] = 1
        error.add_note("Ask for the rest by the sweep's name when its quota is back.")

    def _put_back(self, lane: Lane, cell: Cell) -> None:
        del self._under_way[cell.key]
        lane.cells.insert(0, cell)

    def _omit(self, lane: Lane, cell: Cell, error: errors.FixedTemperature) -> None:
        """Ask this model without the parameter it pins: one labelled point."""
        self.record.pinned = True
        self._put_back(lane, cell)
        lane.omit(cell.model, error.parameter)
        self._take_stored(lane)
        left = sum(len(each.cells) for each in self.lanes.values())
        calls = len(self.record.trials) + len(self._under_way) + left
        self.record.plan = msgspec.structs.replace(self.record.plan, calls=calls)
        value = "one value" if error.allowed is None else f"{error.allowed:g}"
        where = f"{lane.title} {cell.model}".strip() or "the host"
        said = f"{where} pins {error.parameter} at {value}: asked without it"
        self.record.notes[said] = 1
