"""Find jobs in the ledger whose work is not known any more, or not yet over."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

import msgspec

from kimikit.errors import BadInput
from kimikit.money import batch_rows
from kimikit.money.budget import Budget
from kimikit.money.jobs import JobRow, LineRow, ShardRow
from kimikit.runner.batch import Asked, Way, begin, call_of
from kimikit.runner.planning import failure
from kimikit.runner.results import Item, Results
from kimikit.types import Reply
from kimikit.wire import batches

CALLED = {
    "map": "kimi.map",
    "sweep": "kimi.sweep",
    "lab": "kimi.lab",
    "score": "score_tool_calls",
    "map_reduce": "map_reduce",
    "embed": "kimi.embed",
    "judge": "kimi.judge",
}
"""By the kind of a job the verb that began it."""


def ends(way: Way, rows: Sequence[JobRow]) -> dict[str, str | None]:
    """Return by the keys of requests that are over why they failed, as far as they did.

    The newest job has the last word.
    """
    found = dict[str, str | None]()
    for row in sorted(rows, key=lambda row: row.created):
        for key, state, error in way.ledger.jobs.ends(row.id):
            if state == "open":
                found.pop(key, None)
            else:
                found[key] = error if state == "failed" else None
    return found


def spent_on(way: Way, row: JobRow) -> list[Reply]:
    """Return the answers that were paid for in a job."""
    answers = way.ledger.answers(row.prefix)
    done = (key for key, state, _ in way.ledger.jobs.ends(row.id) if state == "done")
    return [answers[key] for key in done if key in answers]


def submit_again(way: Way, rows: list[JobRow], *, retry: bool) -> tuple[Budget, ...]:
    """Buy again what failed in jobs, from their requests as they were kept.

    Args:
        way: How batches are reached.
        rows: The jobs, to which the new one is added.
        retry: Whether to buy at all: nobody knows what answers lead to.

    Raises:
        BadInput: If a request was not kept whole.
    """
    row, store = rows[0], way.ledger.jobs
    answers = way.ledger.answers(row.prefix) if retry else {}
    found = {
        key: each
        for key, each in (_lines(way, rows) if retry else {}).items()
        if each[0].state == "failed" and key not in answers
    }
    for key in store.claimed(row.prefix) if found else ():
        found.pop(key, None)
    if not found:
        return ()
    client = way.client(row.host)
    about = batches.facts(client.host)
    stored = batch_rows.requests(way.ledger, [each.call for each, _ in found.values()])
    asked = []
    for line, shard in found.values():
        kept = stored.get(line.call, batch_rows.Kept())
        whole = batches.encode_line(line.custom_id, kept.body, kept.endpoint)
        if not kept.body or b"***" in whole:
            raise BadInput(
                "A request that failed is not kept whole.",
                f"Call {CALLED.get(row.kind, row.kind)} again with name={row.name!r}: "
                "it buys what is missing.",
            )
        call = call_of(line, shard, client.host, kept)
        call = msgspec.structs.replace(call, id=uuid.uuid4().hex)
        most = batch_rows.most(way.ledger, call, about)
        asked.append(Asked(call, kept.body, line.custom_id, whole, most))
    return begin(way, client, asked, rows, about=(row.kind, row.name, row.prefix))


def _lines(way: Way, rows: Sequence[JobRow]) -> dict[str, tuple[LineRow, ShardRow]]:
    """Return each request of jobs by its key, as the newest job has it."""
    store = way.ledger.jobs
    return {
        line.key: (line, shard)
        for row in sorted(rows, key=lambda row: row.created)
        for shard in store.shards(row.id)
        for line in store.lines(shard.id)
    }


def stored_results(way: Way, rows: Sequence[JobRow], _: str = "") -> Results:
    """Return what is known of a job's requests, in their order, from the ledger."""
    lines = [line for line, _ in _lines(way, rows).values()]
    answers = way.ledger.answers(rows[0].prefix)
    asked = batch_rows.requests(way.ledger, [line.call for line in lines])
    bodies = [asked.get(line.call, batch_rows.Kept()).body for line in lines]
    prompts = [body.get("messages") or body.get("input") or [] for body in bodies]
    items: list[Item] = []
    for line in lines:
        items.append(answers.get(line.key))
        if items[-1] is None and line.state == "failed":
            items[-1] = failure(line.error or "")
    shown = [{"prompt": prompt} for prompt in prompts]
    stand_in = rows[0].host == "local"
    return Results(items, prompts, shown, name=rows[0].name, stand_in=stand_in)
