"""Look at a batch of a job once, in any state, and take the answers that came."""

from __future__ import annotations

import time
from collections.abc import Sequence

import msgspec

from kimikit import errors
from kimikit.errors import BadInput, KimiError
from kimikit.money import batch_rows
from kimikit.money.jobs import JobRow, LineRow, ShardRow
from kimikit.runner.batch import End, Way, call_of, close, drop, named_few
from kimikit.wire import Client, batches
from kimikit.wire.files import GONE
from kimikit.wire.keys import address

LISTED_S = 60.0
"""Seconds after which a batch that was begun is on its host's list for certain."""

LATE_S = 3600.0
"""Seconds after the end of a batch's window in which files of its answers may come."""

SOME = 200
"""Answers that are written down together."""

UNLISTED = 404, 405, 501
"""What hosts answer that list no batches."""


def look(way: Way, job: JobRow, shard: ShardRow) -> None:
    """Look at one batch of a job, wherever its beginning was left.

    Raises:
        HostError: If the host does not tell.
        BadInput: If it was begun at another address of the host, and is not here.
    """
    client = way.client(job.host)
    if shard.state in ("planned", "uploaded"):
        if shard.orphaned:
            drop(way, shard, "Its process ended before the batch was begun.")
        return
    if shard.state == "creating":
        batch = _found(way, client, job, shard)
        if batch is None:
            return
        way.ledger.jobs.note(shard.id, state="submitted", batch_id=batch.id)
    else:
        try:
            batch = client.batches.get(shard.batch_id)
        except errors.StatusError as exc:
            if exc.status not in GONE:
                raise
            _check_is_here(client, job)
            if _is_young(shard) or _is_listed(client, shard):
                return  # not known everywhere yet, or by one of the host's machines
            why = f"The host does not know its batch: {exc.what}"
            return drop(way, shard, why, lost=True)
    way.ledger.jobs.note(
        shard.id,
        status=batch.status,
        done=batch.done,
        failed=batch.failed,
        words=batch.words,
    )
    if batch.over:
        late = time.time() > (shard.sent or 0) + job.window_s + LATE_S
        _harvest(way, client, shard, batch, late=late)


def _check_is_here(client: Client, job: JobRow) -> None:
    """Refuse to call a batch lost that was begun elsewhere.

    Raises:
        BadInput: If it was.
    """
    if (here := address(client.host)) != job.address:
        title = client.host.title or client.host.name
        raise BadInput(
            f"{title} is at {here or 'its own address'} and does not know the batch "
            f"that was begun at {job.address or 'its own address'}.",
            "Collect it by kimi.jobs() of a Kimi with that address.",
        )


def _is_young(shard: ShardRow) -> bool:
    return time.time() <= (shard.sent or 0) + LISTED_S


def _is_listed(client: Client, shard: ShardRow) -> bool:
    """Tell whether a host lists a batch; one that has no list does not."""
    try:
        return any(each.id == shard.batch_id for each in client.batches.list())
    except errors.StatusError as exc:
        if exc.status not in UNLISTED:
            raise
        return False


def _found(
    way: Way, client: Client, job: JobRow, shard: ShardRow
) -> batches.Batch | None:
    """Return the batch of a shard whose creation was not answered, if it was begun.

    If it was not, its requests are given free; ``None`` also while nobody knows.
    """
    if not shard.orphaned:
        return None  # who begins it is about to note it
    ours = way.ledger.jobs.known_batches()
    try:
        listed: list[batches.Batch] = client.batches.list()
    except errors.StatusError as exc:
        if exc.status not in UNLISTED:
            raise
        words = "The host lists no batches, so nobody knows whether this one was begun."
        way.ledger.jobs.note(shard.id, words=words)
        return None
    for batch in listed:
        if batch.metadata.get("kimikit") == shard.id:
            return batch
        if shard.file_id and batch.input_file_id == shard.file_id:
            return batch
    alike = [each for each in listed if each.id not in ours and _alike(each, shard)]
    if len(alike) == 1 and not shard.file_id:
        return alike[0]
    _check_is_here(client, job)
    if not alike and not _is_young(shard):
        drop(way, shard, "The host has no such batch, so it was not begun.")
    return None


def _alike(batch: batches.Batch, shard: ShardRow) -> bool:
    """Tell whether a batch may be an inline shard's: its model, size and time agree."""
    made = batch.raw.get("created_at")
    soon = not isinstance(made, int | float) or abs(made - (shard.sent or 0)) < 600
    model = str(batch.raw.get("model", shard.model)).partition(":batch")[0]
    return soon and model == shard.model and batch.total in (None, shard.total)


def _harvest(
    way: Way, client: Client, shard: ShardRow, batch: batches.Batch, *, late: bool
) -> None:
    """Take in what came of a batch that is over; done twice, it changes nothing."""
    about, host = batches.facts(client.host), client.host
    named = batch.output_file_id or batch.error_file_id or about.dialect == "inline"
    lines = way.ledger.jobs.lines(shard.id)
    waiting = {line.custom_id: line for line in lines if line.state == "open"}
    stored = batch_rows.requests(way.ledger, [each.call for each in waiting.values()])
    ends: list[End] = []
    if named:
        found = [*client.batches.lines(batch)]
    else:
        found = [batches.UNREADABLE] * (batch.status == "completed")
    for said in batches.answers_first(found):
        line = waiting.pop(said.custom_id, None)
        if line is None:
            continue  # a line that came before, or that is not ours
        kept = stored.get(line.call) or batch_rows.Kept(created=time.time())
        call = call_of(line, shard, host, kept)
        reply, error = None, None
        try:
            reply = batches.read_reply(call, said)
            cost = batch_rows.batch_cost(way.ledger, call, reply, about)
            reply = msgspec.structs.replace(reply, cost=cost)
        except KimiError as exc:
            error = exc.with_traceback(None)  # whose frames hold the client
        ends.append((line, reply, error))
        if len(ends) >= SOME:
            close(way, shard, ends)
            ends = []
    close(way, shard, ends)
    if waiting and not late and _is_part(lines, found, batch):
        sent = "sent a part of them, or something else" if named else "names no file"
        raise errors.ConnectionFailed(
            f"Answers of {batch.id} are missing: {host.title or host.name} {sent}. "
            f"{named_few(list(waiting), 'without an answer')}.",
            "Collect it again in a minute.",
            host=host.name,
        )
    _close_rest(way, shard, batch, list(waiting.values()))
    lines = way.ledger.jobs.lines(shard.id)
    done = sum(line.state == "done" for line in lines)
    way.ledger.jobs.note(
        shard.id, state="collected", done=done, failed=len(lines) - done
    )


def _is_part(
    lines: Sequence[LineRow], found: Sequence[batches.Line], batch: batches.Batch
) -> bool:
    """Tell whether more answers are to come, by how many the host says it has.

    A file that was cut between two lines looks whole.
    """
    if batches.UNREADABLE in found:
        return True
    count = batch.done
    if not batch.done and not batch.failed and batch.status == "completed":
        count = len(lines)  # a host that does not count
    came = {line.custom_id for line in lines} & {said.custom_id for said in found}
    return len(came) < count and batches.DELETED not in found


def _close_rest(
    way: Way, shard: ShardRow, batch: batches.Batch, left: Sequence[LineRow]
) -> None:
    """Give the requests free that a batch left without an answer."""
    why = f"The batch {batch.id} is {batch.status} and has no answer to this. "
    error: KimiError = errors.StatusError(
        why + batch.words, "Ask again by the same name: only what is missing is bought."
    )
    if batch.status == "completed":  # it may have been answered, and be billed
        error = errors.ConnectionFailed(error.what, error.remedy)
    close(way, shard, [(line, None, error) for line in left])
