"""The cells of a sweep sorted by host, before and while they are asked."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import defaultdict, deque
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec

from kimikit.errors import BudgetExceeded, FixedTemperature, KimiError
from kimikit.sweeps.grid import Grid, Label, digest
from kimikit.sweeps.limits import AT_ONCE, SMALL_HOSTS, Pace
from kimikit.sweeps.store import Shelf
from kimikit.sweeps.values import Plan
from kimikit.types import AsyncChatClient, Host, Reply
from kimikit.wire.requests import check_params

MakeClient = Callable[[str | None], AsyncChatClient]

Bill = tuple[Decimal | None, Decimal | None]
"""Likely and highest cost in US dollars, ``None`` where a price is unknown."""

Estimate = Callable[[str, str, dict[str, Any], Any], "Bill | None"]
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
    """One answer to be had."""

    labels: dict[str, Label]
    params: dict[str, Any]
    repeat: int
    key: str = ""
    tries: int = 0


class Lane:
    """One host: its clients, its pace, and the cells still to ask it.

    Attributes:
        pins: For a model, parameters that hold it to one upstream.
        answered: Models that have answered at least once.
        heard: For a model, whether its first answer has begun.
        streak: Calls in a row that found the host unreachable.
        dead: The error after which the host is no longer asked.
    """

    def __init__(self, name: str | None, client: AsyncChatClient) -> None:
        self.name = name
        self.clients = [client]
        found = getattr(client, "host", None)
        self.host: Host | None = found if isinstance(found, Host) else None
        self.title = self.host.name if self.host else str(name or "")
        self.free = self.host is not None and self.host.stand_in
        self.cells: deque[Cell] = deque()
        self.pins: dict[str, dict[str, Any]] = {}
        self.answered: set[str] = set()
        self.heard: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self.streak = 0
        self.dead: KimiError | None = None
        self.pace = Pace(1, None)

    @property
    def workers(self) -> int:
        """How many workers serve this host."""
        return min(self.pace.ceiling, len(self.cells))

    def model(self, cell: Cell) -> str:
        """Return the model a cell asks for, the host's own unless it says."""
        return str(cell.params.get("model") or (self.host.model if self.host else ""))

    def assign_key(self, cell: Cell, shelf: Shelf) -> None:
        """Give a cell the key of its answer: all it asks, and of whom."""
        asked = {key: value for key, value in cell.params.items() if key != "model"}
        defaults = getattr(self.clients[0], "defaults", None)
        if isinstance(defaults, dict):
            asked = {**defaults, **asked}
        cell.key = shelf.key(digest(self.title, self.model(cell), asked), cell.repeat)

    def take(self, cell: Cell, reply: Reply) -> None:
        """Note that a model answers, and hold OpenRouter to the upstream that did.

        Upstreams differ in quantisation and defaults, which would pass for an effect
        of the parameter that is swept.
        """
        model, provider = self.model(cell), reply.raw.get("provider")
        self.answered.add(model)
        self.streak = 0
        if self.title == "openrouter" and provider and model not in self.pins:
            only = {"only": [provider], "allow_fallbacks": False}
            self.pins[model] = {"provider": only}

    def check(self, params: dict[str, Any]) -> None:
        """Refuse what the host is known not to take, before anything is sent."""
        if self.host is not None:
            model = str(params.get("model") or self.host.model)
            with contextlib.suppress(FixedTemperature):  # on_fixed says what then
                check_params(params, self.host, model)


def lay_out(orders: Orders) -> dict[str | None, Lane]:
    """Make a client for each host, and a cell with its key for each answer.

    The order is shuffled with the recorded seed, so that a host that changes while
    the sweep runs does not pass for an effect of a parameter.
    """
    lanes: dict[str | None, Lane] = {}
    orders.shelf.open(orders.grid.fingerprint())
    for labels, params in orders.grid.points():
        name = params.pop("host", None)
        if name not in lanes:
            lanes[name] = Lane(name, orders.make_client(name))
        lane = lanes[name]
        lane.check(params)
        for repeat in range(orders.grid.repeats):
            lane.cells.append(Cell(labels, params, repeat))
    for lane in lanes.values():
        at_once = orders.concurrency or SMALL_HOSTS.get(lane.title, AT_ONCE)
        lane.pace = Pace(at_once, orders.rpm)
        cells = list(lane.cells)
        random.Random(orders.seed).shuffle(cells)
        for cell in cells:
            lane.assign_key(cell, orders.shelf)
        cells.sort(key=lambda cell: cell.key not in orders.shelf.failed)
        lane.cells = deque(cells)
    return lanes


def price(orders: Orders, lanes: dict[str | None, Lane], *, stored: int) -> Plan:
    """Return what the missing cells will cost, and refuse what ``max_cost`` forbids."""
    likely, upper, known = Decimal(0), Decimal(0), True
    minutes: list[float] = []
    for lane in lanes.values():
        minutes += [len(lane.cells) / orders.rpm] if orders.rpm else []
        bills: dict[int, Bill] = {}
        for cell in () if lane.free else lane.cells:
            point = id(cell.params)
            if point not in bills:
                bills[point] = _bill(orders, lane, cell)
            low, high = bills[point]
            known = known and low is not None and high is not None
            likely += low or 0
            upper += high or 0
    left = sum(len(lane.cells) for lane in lanes.values())
    plan = Plan(
        calls=left + stored,
        stored=stored,
        likely_usd=likely if known else None,
        upper_usd=upper if known else None,
        minutes=max(minutes, default=None),
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


def _bill(orders: Orders, lane: Lane, cell: Cell) -> Bill:
    if orders.estimate is None:
        return None, None
    body = {key: value for key, value in cell.params.items() if key != "prompt"}
    model, prompt = lane.model(cell), cell.params["prompt"]
    return orders.estimate(lane.title, model, body, prompt) or (None, None)


def omit(lane: Lane, model: str, parameter: str, shelf: Shelf) -> None:
    """Take a pinned parameter out of a model's cells; many get the same key by it."""
    points: dict[str, tuple[dict[str, Label], dict[str, Any]]] = {}
    for cell in lane.cells:
        if lane.model(cell) != model or parameter not in cell.params:
            continue
        # None leaves out also the default that a client would send.
        params, labels = (
            {**cell.params, parameter: None},
            {**cell.labels, parameter: None},
        )
        cell.labels, cell.params = points.setdefault(digest(params), (labels, params))
        lane.assign_key(cell, shelf)
