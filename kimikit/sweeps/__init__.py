"""Parameter sweeps with statistics: what temperature really does."""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any

from kimikit.bars import progress_bar
from kimikit.errors import BadInput
from kimikit.sweeps.grid import Grid, Shelf, label, make_grid
from kimikit.sweeps.result import Sweep
from kimikit.sweeps.values import TAKEN, Embed, Metric, Plan, Progress, Trial
from kimikit.types import AnswerStore
from kimikit.wire.hosts import model_facts

if TYPE_CHECKING:
    from kimikit.sweeps.engine import Engine
    from kimikit.sweeps.lanes import Estimate, MakeClient

__all__ = ["Plan", "Progress", "Sweep", "Trial", "sweep"]


def sweep(
    make_client: MakeClient,
    prompt: Any,
    *,
    repeats: int = 5,
    concurrency: int | None = None,
    rpm: float | None = None,
    name: str | None = None,
    on_fixed: str = "raise",
    max_cost: Decimal | float | str | None = None,
    dry_run: bool = False,
    progress: bool | Callable[[Progress], None] = True,
    fresh: bool = False,
    metrics: Mapping[str, Metric] | None = None,
    embed: Embed | None = None,
    order_seed: int | None = None,
    store: AnswerStore | None = None,
    estimate: Estimate | None = None,
    **grid: Any,
) -> Sweep:
    """Ask a prompt at every point of a grid and measure how the answers differ.

    Args:
        make_client: Makes a client of a host by its name (``None`` is the default
            host); called in the sweep's own thread, for at most 16 workers each.
        prompt: A text or a conversation; a list or a dict of named ones is an axis.
        repeats: Answers of each point, each asked by itself.
        concurrency: Calls at once per host; 8, or fewer where hosts serve few.
        rpm: Requests a minute per host; a host that says its limit is believed.
        name: Makes the sweep resumable: asked again, only missing answers are bought.
        on_fixed: At a host that pins a parameter: ``raise``, or ``omit`` it, which
            makes one point of many.
        max_cost: US dollars. A sweep likely to cost more is refused, and none goes on
            when the next call would likely pass it.
        dry_run: Return only the plan: calls, cost and minutes.
        progress: One line of progress, or a function that is given it.
        fresh: Start a named sweep over.
        metrics: Judgements of one answer, ``fn(reply)`` or ``fn(reply, params)``,
            true or false or a number.
        embed: From texts to vectors, for similarity and entropy of meaning.
        order_seed: Seed of the shuffled order; ``seed=`` goes to the model.
        store: Where paid answers are found again: the ledger.
        estimate: The likely and highest cost of one call.
        **grid: Parameters; any that holds a list is an axis.

    Returns:
        The sweep, with what was finished if Stop or ``max_cost`` ended it.

    Raises:
        BadInput: Before anything is sent.
        BudgetExceeded: If a budget or ``max_cost`` refuses it.
        FixedTemperature: After one request, if the host pins the temperature.
        KimiError: If the host refuses what every cell asks. What was finished is the
            error's ``sweep``.
    """
    # asyncio is not for every import of kimikit to pay.
    from kimikit.sweeps.engine import Engine
    from kimikit.sweeps.judge import Judge
    from kimikit.sweeps.lanes import Orders

    asked = make_grid(prompt, repeats, grid)
    _check_options(on_fixed, concurrency, order_seed, rpm)
    _check_functions(progress, embed, metrics, asked)
    orders = Orders(
        make_client=make_client,
        grid=asked,
        shelf=Shelf(store, name, asked.fingerprint(), fresh=fresh),
        seed=secrets.randbits(32) if order_seed is None else order_seed,
        concurrency=concurrency,
        rpm=rpm,
        on_fixed=on_fixed,
        max_cost=_dollars(max_cost),
        estimate=estimate,
        dry_run=dry_run,
    )
    engine = Engine(orders, Judge(metrics, {}) if metrics else None)
    _run(engine, progress=progress)
    found = _found(engine, dict(metrics or {}), embed)
    if engine.error is not None:
        engine.error.sweep = found  # type: ignore[attr-defined]
        if found.trials:
            kept = f"{len(found.replies)} answers are in this error's .sweep"
            engine.error.add_note(f"{kept}; name={found.name!r} goes on from there.")
        raise engine.error
    return found


def _run(engine: Engine, *, progress: bool | Callable[[Progress], None]) -> None:
    """Work through the grid with a line of progress, or telling a function."""
    dry_run = engine.orders.dry_run
    silent = dry_run or progress is not True
    with progress_bar(bar_format="{desc} {bar:20}", disable=silent) as bar:

        def tell(now: Progress) -> None:
            bar.total, bar.n = now.calls, now.done + now.failed
            bar.set_description_str(str(now))
            if callable(progress) and not dry_run:
                progress(now)

        engine.run(tell)


def _check_options(on_fixed: Any, concurrency: Any, seed: Any, rpm: Any) -> None:
    """Refuse what no sweep can do."""
    for name, value, fits, remedy in (
        ("on_fixed", on_fixed, on_fixed in ("raise", "omit"), "'raise' or 'omit'"),
        ("concurrency", concurrency, _is(int, concurrency, 0), "a whole number from 1"),
        ("order_seed", seed, _is(int, seed, -1), "a whole number from 0"),
        ("rpm", rpm, _is(int | float, rpm, 0), "requests a minute, a number above 0"),
    ):
        if not fits:
            raise BadInput(f"{name} is {value!r}.", f"Give {name} {remedy}.")


def _is(kind: Any, value: Any, above: int) -> bool:
    """Whether an option is left out or a number of this kind above a limit."""
    number = isinstance(value, kind) and not isinstance(value, bool)
    return value is None or (number and above < value < math.inf)


def _check_functions(progress: Any, embed: Any, metrics: Any, grid: Grid) -> None:
    """Refuse what cannot be called, and metrics that would hide another figure."""
    if not isinstance(metrics, dict | None):
        raise BadInput(
            f"metrics is {metrics!r}.", "Give a dict of names and functions of a reply."
        )
    wanted = {f"metrics[{name!r}]": metric for name, metric in (metrics or {}).items()}
    wanted |= {} if isinstance(progress, bool) else {"progress": progress}
    wanted |= {} if embed is None else {"embed": embed}
    for name, value in wanted.items():
        if not callable(value):
            raise BadInput(
                f"{name} is {value!r}, which cannot be called.", "Give a function."
            )
    taken = {*TAKEN, *grid.axes, *grid.fixed}
    for name in metrics or {}:
        if not isinstance(name, str) or name in taken:
            raise BadInput(
                f"metrics holds {name!r}, which is no text or names another figure.",
                "Give the metric a name of its own, such as 'right'.",
            )


def _dollars(max_cost: Any) -> Decimal | None:
    try:
        limit = None if max_cost is None else Decimal(str(max_cost))
        if limit is None or 0 <= limit < math.inf:
            return limit
    except ArithmeticError:  # no number, or none that compares
        pass
    raise BadInput(f"max_cost is {max_cost!r}.", "Give US dollars as a number.")


def _found(engine: Engine, metrics: dict[str, Any], embed: Embed | None) -> Sweep:
    """Return what an engine has finished as a value."""
    orders, grid, record = engine.orders, engine.orders.grid, engine.record
    axes = {name: tuple(values) for name, values in grid.axes.items()}
    asked = [
        (lane.host, model)
        for lane in engine.lanes.values()
        for model in lane.models
        if lane.host is not None
    ]
    made = {model_facts(host, model).temperature for host, model in asked}
    stop_reason = "dry_run" if orders.dry_run else engine.stop_reason
    found = Sweep(
        trials=tuple(sorted(record.trials.values(), key=partial(_place, axes))),
        axes=axes,
        fixed={name: label(name, value) for name, value in grid.fixed.items()},
        repeats=grid.repeats,
        name=orders.shelf.name,
        seed=orders.seed,
        plan=record.plan,
        stop_reason="error" if engine.error else stop_reason,  # type: ignore[arg-type]
        notes=tuple(record.remarks(grid)),
        pinned=record.pinned,
        stand_in=any(host.stand_in for host, _ in asked),
        maker_temperature=made.pop() if len(made) == 1 else None,
        metrics=dict(metrics),
        embed=embed,
    )
    if engine.judge is not None:
        found.__dict__.update(judge=engine.judge, metric_errors=engine.judge.errors)
    return found


def _place(axes: dict[str, tuple[Any, ...]], trial: Trial) -> list[int]:
    """Return where a trial stands in the grid; an omitted parameter comes last."""
    shown = ((axis, trial.params[name]) for name, axis in axes.items())
    at = [axis.index(value) if value in axis else len(axis) for axis, value in shown]
    return [*at, trial.repeat]
