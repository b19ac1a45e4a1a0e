"""Sweeps by the batch APIs of hosts."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any

from kimikit.errors import BadInput
from kimikit.money.jobs import JobRow, new_id
from kimikit.money.store import dollars
from kimikit.runner.batch import Planner, Way, submit
from kimikit.runner.cache import prefix_of
from kimikit.runner.costs import dollars as limit_of
from kimikit.runner.jobs import Job, catch_up, failures, seconds
from kimikit.sweeps import ask_grid
from kimikit.sweeps.result import Sweep

if TYPE_CHECKING:
    from kimikit.money.budget import Budget
    from kimikit.runner.endpoint import ClientFor


def batch_sweep(
    way: Way,
    make_client: ClientFor,
    prompt: Any,
    given: Mapping[str, Any],
    grid: Mapping[str, Any],
    poll_s: float | None,
) -> Job[Sweep]:
    """Ask what is missing of a sweep by batches, one job per host; see ``Kimi.sweep``.

    Raises:
        BadInput: If a host does not take one of the requests; nothing is sent to it.
        BudgetExceeded: If ``max_cost`` or a budget refuses it.
    """
    pause_s, limit = seconds(poll_s), limit_of(given["max_cost"])
    if given["fresh"]:
        raise BadInput(
            "fresh=True and a batch do not go together.", "Give the sweep another name."
        )
    if given["until"] is not None:
        raise BadInput(
            "until= looks at answers as they come, and a batch has none for hours.",
            'Leave via="batch" out, or plan repeats= by sweep.plan_for(...).',
        )
    name = given["name"] or new_id("sweep")
    given = {**given, "name": name, "max_cost": None, "progress": False}
    rows = catch_up(way, prefix_of("sweep", name))
    # Metrics judge what came, and that is not here yet.
    plan = {**given, "metrics": None, "results": None}
    _, runner = ask_grid(Planner, make_client, prompt, plan, grid)
    assert isinstance(runner, Planner)
    held: list[Budget] = []
    # A batch answers in an order of its own; in this one a replay finds the same file.
    planned = sorted(runner.planned, key=lambda request: request.key)
    for host in dict.fromkeys(request.host for request in planned):
        row, budgets = submit(
            way,
            way.client(host),
            [request for request in planned if request.host == host],
            kind="sweep",
            name=name,
            prefix=runner.cache.prefix,
            max_cost=limit,
        )
        if limit is not None:
            limit = max(limit - dollars(way.ledger.jobs.held(row.id)[0]), Decimal(0))
        held += budgets
        rows.insert(0, row)
    if not rows:
        client = way.client(None)
        rows = [JobRow.nothing("sweep", name, runner.cache.prefix, client.host)]

    def finish() -> Sweep:
        known = partial(Planner, failures=failures(way, rows))
        return ask_grid(known, make_client, prompt, given, grid)[0]

    return Job(way, rows, finish, poll_s=pause_s, held=held)
