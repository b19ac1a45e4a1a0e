"""The cells of a sweep sorted by host, and how fast each host is asked."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from typing import Any

import msgspec

from kimikit.errors import BudgetExceeded, FixedTemperature, KimiError
from kimikit.plain import digest
from kimikit.runner import limits
from kimikit.runner.costs import Bill
from kimikit.runner.endpoint import SHARED
from kimikit.runner.limits import AT_ONCE, SMALL_HOSTS
from kimikit.sweeps.grid import Grid, Label, Shelf
from kimikit.sweeps.values import Plan
from kimikit.types import AsyncChatClient, Host, Reply
from kimikit.wire import keys
from kimikit.wire.requests import as_messages, check_params

LOOK_S = 0.05
"""Seconds after which a worker that waits for its turn looks again."""

LONGEST_LOOK_S = 0.5
"""Seconds after which it looks again whether the host is asked at all."""

MakeClient = Callable[[str | None], AsyncChatClient]

Estimate = Callable[[str, str, dict[str, Any], Any], Bill]
"""From host, model, parameters and prompt of one call to its ``Bill``."""


class Orders(msgspec.Struct, frozen=True, kw_only=True):
    """How a grid is to be asked; ``sweep`` explains each."""

    make_client: MakeClient
    grid: Grid
    shelf: Shelf
    seed: int
    concurrency: int | None = None
    rpm: float | None = None
    on_fixed: str = "raise"
    max_cost: Decimal | None = None
    estimate: Estimate | None = None
    dry_run: bool = False


class Cell(msgspec.Struct, eq=False):
    """One answer to be had, the key it is stored by, and its bill."""

    labels: dict[str, Label]
    params: dict[str, Any]
    repeat: int
    model: str
    key: str
    tries: int = 0
    bill: Bill = (None, None)


class Pace(limits.Pace):
    """The pace of one host, for workers that look now and then."""

    def __init__(self, at_once: int, rpm: float | None) -> None:
        super().__init__(at_once, rpm)
        self._active = 0

    async def turn(self, ended: Callable[[], bool] = lambda: False) -> None:
        """Wait until a call may begin, or until ``ended`` says that none will.

        Who has finished a call takes the next turn at once, so that those who wait
        need only look now and then.
        """
        while (wait_s := self._wait_s()) > 0 and not ended():  # noqa: ASYNC110
            await asyncio.sleep(min(wait_s, LONGEST_LOOK_S))

    def _wait_s(self) -> float:
        hold_s = self._ready_at - time.monotonic()
        return max(hold_s, LOOK_S) if self._active >= int(self.allowed) else hold_s

    @contextlib.contextmanager
    def call(self) -> Iterator[None]:
        """Count a call that begins now, until it ends."""
        self._active += 1
        self._ready_at = time.monotonic() + self.distance_s
        try:
            yield
        finally:
            self._active -= 1


class Lane:
    """One host: its clients, its pace, and the cells still to ask it.

    Attributes:
        models: Models that it is asked for.
        pins: For a model, parameters that hold it to one upstream.
        answered: Models that have answered at least once.
        heard: For a model, whether its first answer has begun.
        streak: Calls in a row that found the host unreachable.
        dead: The error after which the host is no longer asked.
    """

    def __init__(self, name: str | None, orders: Orders) -> None:
        self._orders = orders
        self.name = name
        self.clients: list[AsyncChatClient] = []
        client = self.client(0)
        self.defaults: dict[str, Any] = getattr(client, "defaults", {})
        self.host: Host | None = getattr(client, "host", None)
        self.title = self.host.name if self.host else name or ""
        self.cells: list[Cell] = []
        self.models: set[str] = set()
        self.pins: dict[str, dict[str, Any]] = {}
        self.answered: set[str] = set()
        self.heard: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self.streak = 0
        self.dead: KimiError | None = None
        at_once = orders.concurrency or SMALL_HOSTS.get(self.title, AT_ONCE)
        self.pace = Pace(at_once, orders.rpm)

    def client(self, worker: int) -> AsyncChatClient:
        """Return the client that a worker shares with a few others."""
        while len(self.clients) <= worker // SHARED:
            self.clients.append(self._orders.make_client(self.name))
        return self.clients[worker // SHARED]

    def make_cells(
        self, labels: dict[str, Label], params: dict[str, Any], repeats: Iterable[int]
    ) -> list[Cell]:
        """Return the cells of a point; their keys follow from all they ask, and whom.

        Pictures were read when the grid was made, and their content is in the key.
        """
        model = str(params.get("model") or (self.host.model if self.host else ""))
        self.models.add(model)
        shelf, image = self._orders.shelf, params.get("image")
        leave_out = {"model", *keys.PATIENCE}
        asked = {k: v for k, v in params.items() if k not in leave_out}
        asked = {**self.defaults, **asked}
        old = digest(self.title, model, showing(asked, "name"))
        own = keys.address(self.host)
        new = digest(
            self.title, model, showing(asked, "content"), *([own] if own else [])
        )
        if new != old and (not own or keys.named_by_user(self.host)):
            since = max((each.changed for each in keys.pictures(image)), default=0.0)
            shelf.older[new] = old, since
        return [
            Cell(labels, params, repeat, model, shelf.key(new, repeat))
            for repeat in repeats
        ]

    def take(self, cell: Cell, reply: Reply) -> None:
        """Note that a model answers, and hold OpenRouter to the upstream that did.

        Upstreams differ in quantisation and defaults, which would pass for an effect
        of the parameter that is swept.
        """
        provider = reply.raw.get("provider")
        self.answered.add(cell.model)
        self.streak = 0
        if self.title == "openrouter" and provider and cell.model not in self.pins:
            only = {"only": [provider], "allow_fallbacks": False}
            self.pins[cell.model] = {"provider": only}

    def omit(self, model: str, parameter: str) -> None:
        """Take a pinned parameter out of a model's cells; many become alike by it."""
        none = {parameter: None}  # it leaves out also the default of the client
        for place, cell in enumerate(self.cells):
            if cell.model == model and parameter in cell.params:
                labels, params = cell.labels | none, cell.params | none
                (made,) = self.make_cells(labels, params, [cell.repeat])
                made.bill = cell.bill
                self.cells[place] = made


def showing(params: dict[str, Any], attribute: str) -> dict[str, Any]:
    """Return parameters with one attribute in place of each picture."""
    image = params.get("image")
    if not keys.pictures(image):
        return params
    return {**params, "image": keys.each_picture(image, attribute)}


def lay_out(orders: Orders) -> dict[str | None, Lane]:
    """Make a client for each host, and a cell for each answer.

    The order is shuffled with the recorded seed, so that a host that changes while
    the sweep runs does not pass for an effect of a parameter; what failed before
    comes first.
    """
    lanes: dict[str | None, Lane] = {}
    for labels, params in orders.grid.points():
        name = params.pop("host", None)
        if name not in lanes:
            lanes[name] = Lane(name, orders)
        lane = lanes[name]
        if lane.host is not None:
            model = params.get("model") or lane.host.model
            with contextlib.suppress(FixedTemperature):  # on_fixed says what then
                check_params(params, lane.host, model)
        repeats = range(orders.grid.repeats)
        lane.cells += lane.make_cells(labels, params, repeats)
    for lane in lanes.values():
        random.Random(orders.seed).shuffle(lane.cells)
        lane.cells.sort(key=lambda cell: cell.key not in orders.shelf.failed)
    return lanes


def price(orders: Orders, lanes: Iterable[Lane], *, stored: int) -> Plan:
    """Return what the missing cells will cost, and refuse what ``max_cost`` forbids."""
    queues = [lane.cells for lane in lanes]
    left = sum(map(len, queues))
    bills = [bill for lane in lanes for bill in _bills(orders, lane)]
    known = all(None not in bill for bill in bills)
    likely = sum((low for low, _ in bills if low is not None), Decimal(0))
    upper = sum((high for _, high in bills if high is not None), Decimal(0))
    plan = Plan(
        calls=left + stored,
        stored=stored,
        likely_usd=likely if known else None,
        upper_usd=upper if known else None,
        minutes=max(map(len, queues)) / orders.rpm if orders.rpm else None,
    )
    limit = orders.max_cost
    if limit is not None and not orders.dry_run and left:
        if not known:
            raise BudgetExceeded(
                "max_cost cannot be held, because a price is not known.",
                "Leave max_cost out, or set the model's price first.",
            )
        if likely > limit:
            raise BudgetExceeded(
                f"The sweep would likely cost ${likely:.4f}, above max_cost ${limit}.",
                "Ask fewer repeats or points, set max_tokens, or raise max_cost.",
            )
    return plan


def _bills(orders: Orders, lane: Lane) -> Iterator[Bill]:
    """Yield what each cell will cost, and note it there.

    The repeats of a point cost the same.
    """
    known: dict[int, Bill] = {}
    for cell in lane.cells:
        point = id(cell.params)
        if point not in known:
            body = {key: value for key, value in cell.params.items() if key != "prompt"}
            prompt, image = cell.params["prompt"], cell.params.get("image")
            if image is not None:
                image = keys.each_picture(image, "url")
                prompt = as_messages(prompt, system=None, image=image)
            asked = lane.title, cell.model, body, prompt
            known[point] = orders.estimate(*asked) if orders.estimate else (None, None)
        cell.bill = known[point]
        yield cell.bill
