"""Make requests of a grid's points, and tell which answers are paid for."""

from __future__ import annotations

import contextlib
import random
import secrets
import time
from array import array
from collections.abc import Collection, Iterable, Iterator
from decimal import Decimal
from typing import Any

import msgspec

from kimikit.errors import BadInput, BudgetExceeded, FixedTemperature
from kimikit.json_values import digest
from kimikit.runner.cache import RequestCache, prefix_of
from kimikit.runner.costs import Bill, Estimate, unpriced
from kimikit.runner.endpoint import Endpoint
from kimikit.sweeps.grid import Label, difference
from kimikit.sweeps.values import Plan
from kimikit.types import AnswerStore, Reply
from kimikit.wire import keys
from kimikit.wire.requests import as_messages, check_params


class SweepCache(RequestCache):
    """The stored answers of one sweep.

    A key reads ``sweep/name/edition/grid/point/repeat``: the grid in the key lets a
    name be recognised with another grid from the answers alone, and ``fresh`` opens
    a new edition, so that a sweep started over and killed resumes its new answers.

    Args:
        store: The ledger, if there is one.
        name: The sweep's name, if it has one.
        grid: The fingerprint of the grid now asked.
        fresh: Whether to start over.

    Attributes:
        name: The sweep's name; one is made up where none was given, so that an
            unnamed sweep too can be continued by it.
        failed: Keys whose last call failed, to be asked first.
        older: For a point's digest the one that version 0.3.0 gave it, and the Unix
            time from which on its answer is to the same files.
        by_name: How many answers were found by the name of their host alone.

    Raises:
        BadInput: If the name holds another grid and ``fresh`` was not asked.
    """

    def __init__(
        self, store: AnswerStore | None, name: str | None, grid: str, *, fresh: bool
    ) -> None:
        if name is not None and store is None:
            raise BadInput(
                f"The sweep is named {name!r}, but there is no ledger to keep it in.",
                "Sweep with kimi.sweep(...), or give a store.",
            )
        self.older: dict[str, tuple[str, float]] = {}
        self.by_name = 0
        made_up = time.strftime("%Y%m%d-%H%M%S-") + secrets.token_hex(2)
        self.name = made_up if name is None else name
        root = prefix_of("sweep", self.name)
        known = None if name is None else store
        super().__init__(known, root)
        editions: dict[int, str] = {}
        for key in self._answers:
            edition, stored_grid, *_ = key.removeprefix(root).split("/")
            editions[int(edition)] = stored_grid
        latest = max(editions, default=0)
        if fresh:
            latest += 1
        elif editions and editions[latest] != grid:
            raise BadInput(
                f"The name {self.name!r} belongs to a sweep with another grid: "
                f"{difference(editions[latest], grid)}.",
                "Give another name, or fresh=True to start this one over.",
            )
        self.prefix = f"{root}{latest}/{grid}/"
        self.failed: Collection[str] = (
            () if known is None else known.failed(self.prefix)
        )

    @property
    def empty(self) -> bool:
        """Whether no answer can be found here."""
        return not self._answers

    def key(self, digest: str, repeat: int) -> str:
        """Return the key of one answer: ``digest`` is of all its point asks."""
        return f"{self.prefix}{digest}/{repeat}"

    def get(self, key: str) -> Reply | None:
        """Return the stored answer, if it is whole."""
        reply = super().get(key)
        if reply is None and self.older and self._answers:
            digest, repeat = key.rsplit("/", 2)[1:]
            was, since = self.older.get(digest, ("", 0.0))
            reply = super().get(self.key(was, int(repeat)))
            if reply is not None and reply.created < since:
                return None  # a file was written since
            self.by_name += reply is not None and since == 0
        return reply


class Point(msgspec.Struct, eq=False):
    """One point of a grid at one host.

    Attributes:
        labels: Its parameters as tables show them.
        params: Its parameters, the prompt among them.
        model: The model that is asked.
        digest: Equal for points that ask the same of the same model.
        taken: For each repeat whether it is asked or answered, a byte each.
        bill: What one answer will cost, likely and at most.
    """

    labels: dict[str, Label]
    params: dict[str, Any]
    model: str
    digest: str
    taken: bytearray
    bill: Bill = (None, None)

    @property
    def sent(self) -> dict[str, Any]:
        """The parameters to send, pictures by their bytes and without the prompt."""
        image = self.params.get("image")
        params = self.params if image is None else showing(self.params, "url")
        return {name: value for name, value in params.items() if name != "prompt"}


class HostPoints:
    """The points of a grid that one host is asked.

    A cell is one answer to be had: its number is ``repeats`` times the place of its
    point, plus its repeat. No object stands for it before it is asked.

    Args:
        endpoint: The host.
        cache: Where paid answers are found; it learns the digests of version 0.3.0.
        known: All points of the sweep by digest: of points alike one is asked.
        repeats: Answers per point.

    Attributes:
        points: The points by their place; a point that another one replaces stands
            at several.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        cache: SweepCache,
        known: dict[str, Point],
        repeats: int,
    ) -> None:
        self.endpoint = endpoint
        self.points: list[Point] = []
        self._cache, self._known, self._repeats = cache, known, repeats

    @property
    def models(self) -> dict[str, None]:
        """The models that are asked, each once."""
        return dict.fromkeys(point.model for point in self.points)

    def add(self, labels: dict[str, Label], params: dict[str, Any]) -> None:
        """Add a point, unless one that asks the same is there.

        Raises:
            BadInput: If the host takes no such parameter.
        """
        if (files := params.pop("file", None)) is not None:
            params["prompt"] = files.before(params["prompt"], self.endpoint.title)
        if self.endpoint.host is not None:
            model = params.get("model") or self.endpoint.host.model
            with contextlib.suppress(FixedTemperature):  # on_fixed says what then
                check_params(params, self.endpoint.host, model)
        before = len(self._known)
        point = self._point(labels, params)
        if len(self._known) > before:
            self.points.append(point)

    def _point(self, labels: dict[str, Label], params: dict[str, Any]) -> Point:
        """Return the point that asks this; its digest is of all it asks, and whom.

        Pictures were read when the grid was made, and their content is in the digest.
        """
        host, title = self.endpoint.host, self.endpoint.title
        model = str(params.get("model") or (host.model if host else ""))
        leave_out = {"model", *keys.PATIENCE}
        asked = {k: v for k, v in params.items() if k not in leave_out}
        asked = {**self.endpoint.defaults, **asked}
        old = digest(title, model, showing(asked, "name"))
        own = keys.address(host)
        new = digest(title, model, showing(asked, "content"), *([own] if own else []))
        if new != old and (not own or keys.named_by_user(host)):
            pictures = keys.pictures(params.get("image"))
            since = max((each.changed for each in pictures), default=0.0)
            self._cache.older[new] = old, since
        if new not in self._known:
            taken = bytearray(self._repeats)
            self._known[new] = Point(labels, params, model, new, taken)
        return self._known[new]

    def cells(
        self, seed: int, repeats: range | None = None, *, probe: bool
    ) -> Iterator[int]:
        """Yield the numbers of the cells in the order in which they are asked.

        The order is shuffled with the recorded seed, so that a host that changes while
        the sweep runs does not pass for an effect of a parameter; what failed before
        comes first.

        Args:
            seed: The seed.
            repeats: Those to be asked now, one after the other, so that whole rounds
                are there early; all of them at once if left out.
            probe: Whether one cell of each model goes before all others.
        """
        every, count = self._repeats, len(self.points)
        order = array("L", range(count * every))
        if repeats is not None:
            cells = (place * every + r for place in range(count) for r in repeats)
            order = array("L", cells)
        random.Random(seed).shuffle(order)
        if repeats is not None:
            order = array("L", sorted(order, key=lambda cell: cell % every))
        if failed := self._cache.failed:
            order = array("L", sorted(order, key=lambda c: self.key(c) not in failed))
        if probe:
            yield from self._probes(order)
        yield from order

    def _probes(self, order: Iterable[int]) -> list[int]:
        """Return one cell of each model that shows whether a temperature is pinned.

        Hosts that pin one pin it at 1 or 0.6: another value tells.
        """
        left = [point for point in self.points if 0 in point.taken]
        telling = {point.model for point in left if _tells(point)}
        models = {point.model for point in left}
        probes: dict[str, int] = {}
        for cell in order:
            if len(probes) == len(models):
                break
            point, repeat = self.at(cell)
            fits = _tells(point) or point.model not in telling
            if fits and not point.taken[repeat]:
                probes.setdefault(point.model, cell)
        return list(probes.values())

    def at(self, cell: int) -> tuple[Point, int]:
        """Return the point of a cell as it is now, and its repeat."""
        place, repeat = divmod(cell, self._repeats)
        return self.points[place], repeat

    def key(self, cell: int) -> str:
        """Return the key that a cell's answer is kept by."""
        point, repeat = self.at(cell)
        return self._cache.key(point.digest, repeat)

    def omit(self, model: str, parameter: str) -> None:
        """Take a pinned parameter out of a model's points; many are alike then."""
        none = {parameter: None}  # it leaves out also the default of the client
        for place, point in enumerate(self.points):
            if point.model == model and parameter in point.params:
                made = self._point(point.labels | none, point.params | none)
                made.bill = point.bill
                self.points[place] = made


def _tells(point: Point) -> bool:
    return point.params.get("temperature") not in (1, 0.6)


def showing(params: dict[str, Any], attribute: str) -> dict[str, Any]:
    """Return parameters with one attribute in place of each picture."""
    image = params.get("image")
    if not keys.pictures(image):
        return params
    return {**params, "image": keys.each_picture(image, attribute)}


def complete(points: Iterable[Point]) -> int:
    """Return how many repeats, from the first on, are there of all points."""
    firsts = ((point.taken.find(0), len(point.taken)) for point in points)
    return min((all_ if at < 0 else at for at, all_ in firsts), default=0)


def left(points: Iterable[Point]) -> int:
    """Return how many cells of some points are not asked yet."""
    return sum(point.taken.count(0) for point in points)


def price(
    hosts: Iterable[HostPoints],
    *,
    estimate: Estimate | None,
    rpm: float | None,
    stored: int,
) -> Plan:
    """Return what the missing cells will cost, and note it at their points."""
    calls, most, known = 0, 0, True
    likely = upper = Decimal(0)
    for host in hosts:
        for point in host.points:
            if not (count := left([point])):
                continue
            low, high = point.bill = _bill(host.endpoint.title, point, estimate)
            known = known and not (low is None or high is None)
            likely += count * (low or 0)
            upper += count * (high or 0)
        calls += left(host.points)
        most = max(most, left(host.points))
    return Plan(
        calls=calls + stored,
        stored=stored,
        likely_usd=likely if known else None,
        upper_usd=upper if known else None,
        minutes=most / rpm if rpm else None,
    )


def _bill(title: str, point: Point, estimate: Estimate | None) -> Bill:
    if estimate is None:
        return None, None
    body = {key: value for key, value in point.params.items() if key != "prompt"}
    prompt, image = point.params["prompt"], point.params.get("image")
    if image is not None:
        image = keys.each_picture(image, "url")
        prompt = as_messages(prompt, image=image)
    return estimate(title, point.model, body, prompt)


def check_limit(plan: Plan, limit: Decimal | None) -> None:
    """Refuse a sweep that would likely pass ``max_cost``.

    One that buys until it is settled may end there; it is refused where it could settle
    nothing before.

    Raises:
        BudgetExceeded: If it would, or a price is not known.
    """
    if limit is None or plan.calls == plan.stored:
        return
    if plan.likely_usd is None:
        raise unpriced()
    likely = plan.likely_usd
    if plan.least_calls is not None:
        likely *= Decimal(max(0, plan.least_calls - plan.stored))
        likely /= plan.calls - plan.stored
    if likely > limit:
        raise BudgetExceeded(
            f"The sweep would likely cost ${likely:.4f}, above max_cost ${limit}.",
            "Ask fewer repeats or points, set max_tokens, or raise max_cost.",
        )
