"""The points that a host is asked in a sweep, and the order of their repeats."""

from __future__ import annotations

import contextlib
import random
from array import array
from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Any

import msgspec

from kimikit.errors import BudgetExceeded, FixedTemperature
from kimikit.json_values import digest
from kimikit.runner.costs import Bill, Estimate, unpriced
from kimikit.runner.endpoint import Endpoint
from kimikit.sweeps.cache import SweepCache
from kimikit.sweeps.grid import Label
from kimikit.sweeps.values import Plan
from kimikit.wire import keys
from kimikit.wire.requests import as_messages, check_params


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
        prompt = as_messages(prompt, system=None, image=image)
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
