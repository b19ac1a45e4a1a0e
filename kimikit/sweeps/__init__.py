"""Sweep parameters with statistics, which show what temperature really does.

Enter at ``sweep``. ``grid`` checks what is asked, ``points`` sorts it by host and says
what it costs and which answers are paid for, ``asking`` asks it by a runner. A
``Sweep`` (``result``) holds the ``values``: figures are made in ``metrics``,
``intervals`` and ``summary``, said in ``verdict``, shown in ``views`` and ``plots``.
"""

from __future__ import annotations

import itertools
import os
import zlib
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any

from kimikit.display.progress import ANSWERS, move, progress_bar
from kimikit.errors import BadInput, KimiError
from kimikit.json_values import check_count
from kimikit.sweeps.grid import Grid, label, make_grid
from kimikit.sweeps.result import Sweep
from kimikit.sweeps.trial import Metric, Trial
from kimikit.sweeps.values import (
    Embed,
    Plan,
    Progress,
    check_callable,
    check_metrics,
)
from kimikit.types import AnswerStore
from kimikit.wire.hosts import model_facts

if TYPE_CHECKING:
    from kimikit.runner import Runner
    from kimikit.runner.costs import Estimate
    from kimikit.runner.endpoint import ClientFor
    from kimikit.sweeps.asking import Asking
    from kimikit.sweeps.trial_writer import TrialWriter

__all__ = ["Plan", "Progress", "Sweep", "Trial", "sweep"]


def sweep(
    make_client: ClientFor,
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
    until: float | None = None,
    store: AnswerStore | None = None,
    estimate: Estimate | None = None,
    results: str | os.PathLike[str] | None = None,
    **grid: Any,
) -> Sweep:
    """Ask a prompt at every point of a grid and measure how the answers differ.

    Args:
        make_client: Makes a client of a host by its name; see ``ClientFor``.
        prompt: A text or a conversation; a list or a dict of named ones is an axis.
        repeats: Answers of each point, each asked by itself.
        concurrency: Calls at once per host; 8, or fewer where hosts serve few.
        rpm: Requests per minute per host; a host that says its limit is believed.
        name: Makes the sweep resumable: asked again, only missing answers are bought.
        on_fixed: Where a host pins a parameter: ``raise``, or ``omit`` it.
        max_cost: US dollars; what likely costs more is refused, or ends before.
        dry_run: Return only the plan: calls, cost and minutes.
        progress: One line of progress, or a function that is given it.
        fresh: Start a named sweep over.
        metrics: Judgements of an answer, ``fn(reply)`` or ``fn(reply, params)``.
        embed: From texts to vectors, for similarity and entropy of meaning.
        order_seed: Seed of the order, else a fixed one; ``seed=`` is the model's.
        until: Buy repeats until the first metric is settled; see ``Kimi.sweep``.
        store: Where paid answers are found again: the ledger.
        estimate: The likely and highest cost of one call.
        results: A folder that answers are written into, as Parquet, instead of memory.
        **grid: Parameters; any that holds a list is an axis.

    Returns:
        The sweep, with what was finished if Stop or ``max_cost`` ended it.

    Raises:
        BadInput: Before anything is sent.
        BudgetExceeded: If a budget or ``max_cost`` refuses it.
        FixedTemperature: After one request, if the host pins the temperature.
        KimiError: If a host refuses every cell; its ``sweep`` has what was finished.
    """
    # asyncio is not for every import of kimikit to pay.
    from kimikit.runner import Runner

    given = options(locals())
    return ask_grid(Runner, make_client, prompt, given, grid)[0]


OPTIONS = (
    "repeats", "concurrency", "rpm", "name", "on_fixed", "max_cost", "dry_run",
    "progress", "fresh", "metrics", "embed", "order_seed", "until", "store", "estimate",
    "results",
)  # fmt: skip


def options(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a verb was given of the options of ``sweep``."""
    return {name: given[name] for name in OPTIONS if name in given}


def ask_grid(
    kind: Callable[..., Runner],
    make_client: ClientFor,
    prompt: Any,
    given: Mapping[str, Any],
    grid: Mapping[str, Any],
) -> tuple[Sweep, Runner]:
    """Ask a grid by a runner of a kind; return what came, and the runner.

    Args:
        kind: Makes the runner.
        make_client: As for ``sweep``.
        prompt: As for ``sweep``.
        given: The other options of ``sweep``, each of them.
        grid: As for ``sweep``.
    """
    from kimikit.runner.costs import dollars
    from kimikit.sweeps.asking import PINNED, Asking
    from kimikit.sweeps.points import SweepCache, check_limit

    rpm, metrics, dry_run = given["rpm"], given["metrics"], given["dry_run"]
    asked = make_grid(prompt, given["repeats"], grid)
    _check_options(given["on_fixed"], given["concurrency"], given["order_seed"], rpm)
    _check_functions(given["progress"], given["embed"], metrics, asked)
    fingerprint, fresh = asked.fingerprint(), given["fresh"]
    cache = SweepCache(given["store"], given["name"], fingerprint, fresh=fresh)
    runner = kind(
        make_client,
        cache=cache,
        concurrency=given["concurrency"],
        rpm=rpm,
        max_cost=dollars(given["max_cost"]),
        # Where nothing is swept that hosts pin, the wait for the first would be lost.
        probe=not PINNED.isdisjoint(asked.axes),
        hold_upstream=True,
    )
    seed, omit = given["order_seed"], given["on_fixed"] == "omit"
    # The same each time, so that a replay gives each repeat its own answer again.
    seed = zlib.crc32(fingerprint.encode()) if seed is None else seed
    until = given["until"]
    if until is not None and given["results"] is not None:
        raise BadInput(
            "until= looks at all answers in memory, and results= keeps none there.",
            "Leave one of them out.",
        )
    writer = None if dry_run else _writer(given["results"], cache.name, asked, metrics)
    options: dict[str, Any] = {"omit": omit, "until": until, "writer": writer}
    asking = Asking(runner, cache, asked, seed, metrics, **options)
    plan = asking.prepare(estimate=given["estimate"], rpm=rpm)
    if not dry_run:
        check_limit(plan, runner.costs.usd)
        _run(asking, progress=given["progress"])
    reason = "dry_run" if dry_run else runner.stop_reason
    embed = given["embed"]
    found = _found(asking, stop_reason=reason, metrics=metrics, embed=embed)
    found.__dict__["silent"] = given["progress"] is not True
    if runner.error is not None:
        raise _with_what_was_finished(runner.error, found)
    return found, runner


def check_end(prompt: Any, given: Mapping[str, Any], grid: Mapping[str, Any]) -> None:
    """Refuse what only the end of a sweep would meet, before anything is bought.

    Raises:
        BadInput: If a metric is none, or the folder of ``results`` takes no sweep.
    """
    asked, metrics = make_grid(prompt, given["repeats"], grid), given["metrics"]
    _check_functions(given["progress"], given["embed"], metrics, asked)
    _writer(given["results"], given["name"], asked, metrics)


def _writer(
    folder: Any, name: str, grid: Grid, metrics: Mapping[str, Metric] | None
) -> TrialWriter | None:
    """Return what writes trials into a folder, ``None`` where none is given."""
    if folder is None:
        return None
    from kimikit.sweeps.trial_writer import TrialWriter

    axes = {name: tuple(values) for name, values in grid.axes.items()}
    fixed = {name: label(name, value) for name, value in grid.fixed.items()}
    return TrialWriter(folder, name, axes, fixed, list(metrics or {}))


def _on_disk(found: Sweep, asking: Asking, writer: TrialWriter) -> Sweep:
    """Return the sweep with its trials in their folder."""
    judge = asking.judge
    fields: dict[str, Any] = {f: getattr(found, f) for f in found.__struct_fields__}
    errors: dict[str, list[str]] = {}
    if judge is not None:
        errors = judge.errors
        if left := len(judge.waiting) + asking.unjudged:
            said = f"{left:,} answers came too late to be judged: see from_results()."
            fields["notes"] = (*found.notes, said)
        for trial in itertools.chain(judge.waiting, asking.take_unjudged()):
            writer.put(trial)
            if writer.full:
                writer.flush()
    kept = {**fields, "trials": (), "metrics": list(found.metrics), "embed": None}
    trials = writer.written(kept, errors)
    fields |= {"trials": trials, "axes": trials.axes, "fixed": trials.fixed}
    return Sweep(**fields)


def _with_what_was_finished(error: BaseException, found: Sweep) -> BaseException:
    """Return what ended a sweep, which says how to go on."""
    error.sweep = found  # type: ignore[attr-defined]
    if found.trials:
        kept = f"{found.answered} answers are in this error's .sweep"
        error.add_note(f"{kept}; name={found.name!r} goes on from there.")
    return error


def _run(asking: Asking, *, progress: bool | Callable[[Progress], None]) -> None:
    """Ask the grid with a line of progress, or telling a function."""
    silent = progress is not True
    total = asking.plan.calls
    with progress_bar(total=total, desc="sweep", disable=silent, **ANSWERS) as bar:

        def tell(now: Progress) -> None:
            move(bar, now.done + now.failed, total=now.calls, note=now.note)
            if callable(progress):
                progress(now)

        asking.run(tell)


def _check_options(on_fixed: Any, concurrency: Any, seed: Any, rpm: Any) -> None:
    """Refuse what no sweep can do."""
    from kimikit.runner.limits import check_pace

    check_pace(concurrency, rpm)
    if on_fixed not in ("raise", "omit"):
        raise BadInput(f"on_fixed is {on_fixed!r}.", "Give on_fixed 'raise' or 'omit'.")
    if seed is not None:
        check_count("order_seed", seed, 0)


def _check_functions(progress: Any, embed: Any, metrics: Any, grid: Grid) -> None:
    """Refuse what cannot be called, and metrics that would hide another figure."""
    wanted = {} if isinstance(progress, bool) else {"progress": progress}
    check_callable(wanted if embed is None else wanted | {"embed": embed})
    check_metrics(metrics, {*grid.axes, *grid.fixed})


def _found(
    asking: Asking,
    *,
    stop_reason: Any,
    metrics: Mapping[str, Metric] | None,
    embed: Embed | None,
) -> Sweep:
    """Return what was finished as a value."""
    from kimikit.sweeps.batch_files import requests_of
    from kimikit.sweeps.notes import remarks

    grid, runner = asking.grid, asking.runner
    asked = [
        (points.endpoint.host, model)
        for points in asking.hosts.values()
        for model in points.models
        if points.endpoint.host is not None
    ]
    made = {model_facts(host, model).temperature for host, model in asked}
    trials = asking.in_order()
    found = Sweep(
        trials=trials,
        axes={name: tuple(values) for name, values in grid.axes.items()},
        fixed={name: label(name, value) for name, value in grid.fixed.items()},
        repeats=asking.repeats,
        name=asking.name,
        seed=asking.seed,
        plan=asking.plan,
        stop_reason="error" if runner.error else stop_reason,
        notes=tuple(remarks(runner.notes, asking.upstreams, grid)),
        pinned=asking.pinned,
        stand_in=any(host.stand_in for host, _ in asked),
        maker_temperature=made.pop() if len(made) == 1 else None,
        metrics=dict(metrics or {}),
        embed=embed,
        until=asking.buying.until if asking.buying else None,
    )
    if asking.writer is not None:
        try:
            found = _on_disk(found, asking, asking.writer)
        except KimiError:  # the disk is full, and may have ended the sweep already
            if runner.error is None:
                raise
    requests = partial(requests_of, asking.hosts.values(), grid.repeats)
    found.__dict__["requests"] = requests
    if asking.judge is not None:
        found.__dict__.update(judge=asking.judge, metric_errors=asking.judge.errors)
    return found
