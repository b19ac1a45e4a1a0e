"""Sweep by the batch APIs of hosts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from kimikit.errors import BadInput
from kimikit.money.jobs import new_id
from kimikit.runner import Runner
from kimikit.runner.batch import Way
from kimikit.runner.costs import dollars
from kimikit.runner.jobs import Job
from kimikit.runner.rounds import Rounds
from kimikit.sweeps import ask_grid, check_end
from kimikit.sweeps.result import Sweep

if TYPE_CHECKING:
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
    limit = dollars(given["max_cost"])
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
    given = {**given, "name": name, "max_cost": None}
    check_end(prompt, given, grid)
    given["progress"] = False
    # Metrics judge what came, and while one plans that is not here.
    plan = {**given, "metrics": None, "results": None}

    def run(make: Callable[..., Runner], *, judges: bool) -> Sweep:
        asked = given if judges else plan
        return ask_grid(make, make_client, prompt, asked, grid)[0]

    rounds = Rounds(
        way,
        kind="sweep",
        name=name,
        run=run,
        client_of=way.client,
        max_cost=limit,
        once=True,
    )
    return rounds.job(way.client(None).host, poll_s)
