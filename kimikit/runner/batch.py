"""Ask by a host's batch API: requests are planned, priced, cut and begun.

A step is noted before and after it is taken, so that whatever kills the process,
the next one knows what was bought: see ``JobStore``.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec

from kimikit import errors
from kimikit.errors import BadInput, BudgetExceeded, KimiError
from kimikit.money import batch_rows
from kimikit.money.batch_rows import Most
from kimikit.money.budget import Budget, Budgets
from kimikit.money.jobs import JobRow, LineRow, ShardRow, new_id, this_process
from kimikit.money.ledger import Ledger
from kimikit.money.storable import pico
from kimikit.runner.live import LONGEST_WAIT_S, TRIES
from kimikit.runner.requests import Request
from kimikit.types import Call, Reply
from kimikit.types.host import HostBatch
from kimikit.wire import Client, batches
from kimikit.wire.endpoints import embedding
from kimikit.wire.hosts import model_facts, profiles
from kimikit.wire.keys import address

LEASE_S = 1200.0
"""Seconds that a step of a batch's beginning may take, an upload of 100 MB included."""

_SHOWN = 3
"""Ids that a message names."""

_HOURS = re.compile(r"(\d{1,4})h")


class Way(NamedTuple):
    """How batches are asked and paid for.

    Attributes:
        client: Makes the client of a host by its name, of the default one by none.
        ledger: Where rows and jobs are written.
        budgets: The limits in force.
    """

    client: Callable[[str | None], Client]
    ledger: Ledger
    budgets: Budgets | None = None


class Asked(NamedTuple):
    """A request as the host will get it, and what it takes at most."""

    call: Call
    body: dict[str, Any]
    custom_id: str
    line: bytes
    most: Most


def custom_id(key: str) -> str:
    """Return a request's key as batches take it: at most 64 plain characters."""
    if len(key) <= batches.LONGEST_ID and re.fullmatch(r"[\w/.-]+", key, re.ASCII):
        return key
    return hashlib.sha256(key.encode()).hexdigest()[:40]


def named_few(ids: Sequence[str], what: str) -> str:
    """Return how many requests are so, and the ids of the first; empty for none."""
    more = ", ..." if len(ids) > _SHOWN else ""
    return f"{len(ids)} {what}: {', '.join(ids[:_SHOWN])}{more}" if ids else ""


def submit(
    way: Way,
    client: Client,
    planned: Sequence[Request],
    rows: list[JobRow],
    *,
    about: tuple[str, str, str],
    max_cost: Decimal | None = None,
    budgets: Sequence[Budget] = (),
) -> tuple[Budget, ...]:
    """Begin batches for requests; return the budgets that hold for them.

    Args:
        way: How batches are asked and paid for.
        client: Asks.
        planned: The requests.
        rows: Gets the new job as its first as soon as that is noted.
        about: The kind of the work, its name, and what its keys begin with.
        max_cost: US dollars that are not passed.
        budgets: Limits that hold beside those in force now.

    Raises:
        BadInput: If the host does not take one of them in a batch; nothing is sent.
        BudgetExceeded: If ``max_cost`` or a budget refuses it; nothing is sent.
        HostError: If the host does not take a batch; what was begun is the error's
            ``job``, and is not bought again under the name.
    """
    facts = batches.facts(client.host)
    asked = [_asked(client, way.ledger, facts, each) for each in planned]
    _hold_to(asked, max_cost)
    return begin(way, client, asked, rows, about=about, budgets=budgets)


def begin(
    way: Way,
    client: Client,
    asked: Sequence[Asked],
    rows: list[JobRow],
    *,
    about: tuple[str, str, str],
    budgets: Sequence[Budget] = (),
) -> tuple[Budget, ...]:
    """Begin batches for requests that are made; as ``submit``."""
    facts = batches.facts(client.host)
    kind, name, prefix = about
    job = JobRow(
        id=new_id("job"),
        kind=kind,
        name=name,
        prefix=prefix,
        host=client.host.name,
        address=address(client.host),
        created=time.time(),
        window_s=_window_s(facts),
    )
    shards = [
        (_shard(job, number, some), some)
        for number, some in enumerate(_cut(asked, facts))
    ]
    held: tuple[Budget, ...] = ()
    if way.budgets is not None:
        most = [each.most for each in asked]
        held = batch_rows.hold(way.budgets, job.id, most, budgets)
    try:
        way.ledger.jobs.begin(job, [(shard, _rows(some)) for shard, some in shards])
    except BaseException:
        batch_rows.settle(held, job.id, [])
        raise
    rows.insert(0, job)
    try:
        calls = [(each.call, each.most) for each in asked]
        batch_rows.open_all(way.ledger, way.budgets, calls)
        for shard, some in shards:
            _begin(way, client, shard, some)
    except BaseException as exc:
        for shard in way.ledger.jobs.shards(job.id):
            if shard.state in ("planned", "uploaded"):
                drop(way, shard, "It was not begun.")
        if isinstance(exc, KimiError):
            exc.job = job.id  # type: ignore[attr-defined]
        raise
    return held


def _asked(client: Client, ledger: Ledger, about: HostBatch, request: Request) -> Asked:
    """Return a request as it goes into a batch, checked."""
    params = {**request.params}
    if params.pop("extra_headers", None):
        raise BadInput(
            "extra_headers cannot go with the requests of a batch.",
            "Pass it to Kimi(...), or ask live.",
        )
    meta = {**request.meta, "key": request.key}
    if request.endpoint == "embed":
        made = embedding(client, [request.messages], **params)
        answer = client.answer("embed", made.body, meta=meta, own=made.own)
    else:
        params["stream"] = False
        answer = client.prepared(request.messages, meta=meta, **params)
    call, body = answer.call, answer.sent.body
    if call.prefill:
        raise BadInput(
            "prefill cannot go with the requests of a batch.", "Ask live, or without."
        )
    _refuse(client, about, call, body)
    name = custom_id(request.key)
    line = batches.encode_line(name, body, call.endpoint)
    return Asked(call, body, name, line, batch_rows.most(ledger, call, about))


def _refuse(client: Client, about: HostBatch, call: Call, body: dict[str, Any]) -> None:
    """Refuse before the upload what the host would refuse after it.

    Raises:
        NotSupported: With the hosts that take it.
    """
    where = client.host.title or client.host.name
    family = model_facts(client.host, call.model).family
    if about.families and family not in about.families:
        raise errors.NotSupported(
            f"{where} does not take {call.model} in a batch.",
            f"It takes {', '.join(about.families)}.",
        )
    refused = [name for name in about.refuses if body.get(name) is not None]
    if refused:
        free = [n for n, h in profiles().items() if h.batch and not h.batch.refuses]
        raise errors.NotSupported(
            f"{where} does not take {', '.join(refused)} in a batch.",
            f"Leave it out, ask live, or ask one of {', '.join(free)}.",
        )
    if about.dialect == "inline" and b'"image_url"' in msgspec.json.encode(body):
        raise errors.NotSupported(
            f"{where} takes text alone in a batch.", "Ask for pictures live."
        )


def _hold_to(asked: Sequence[Asked], limit: Decimal | None) -> None:
    """Refuse what may pass ``max_cost``: a batch cannot be stopped between two calls.

    Raises:
        BudgetExceeded: If it may, or nobody knows.
    """
    if limit is None:
        return
    known = [each.most.usd for each in asked if each.most.usd is not None]
    if len(known) < len(asked):
        raise BudgetExceeded(
            "max_cost cannot be held: what a batch costs at most is not known.",
            "Pass max_tokens=..., and set the price with kimi.set_price(...).",
        )
    if (total := sum(known, Decimal(0))) > limit:
        raise BudgetExceeded(
            f"{len(asked):,} requests cost up to ${total:.4f} in a batch, above "
            f"max_cost ${limit}.",
            "Ask fewer, lower max_tokens, or raise max_cost.",
        )


def _cut(asked: Sequence[Asked], about: HostBatch) -> Iterator[list[Asked]]:
    """Yield what goes into one batch each: one model, no more than the host takes."""
    models = dict.fromkeys(each.call.model for each in asked)
    for model in models:
        some: list[Asked] = []
        size = 0
        for each in (one for one in asked if one.call.model == model):
            if some and (
                len(some) == about.requests or size + len(each.line) > about.bytes
            ):
                yield some
                some, size = [], 0
            some.append(each)
            size += len(each.line)
        yield some


def _shard(job: JobRow, number: int, some: Sequence[Asked]) -> ShardRow:
    return ShardRow(
        id=f"{job.id}-{number}",
        job=job.id,
        number=number,
        model=some[0].call.model,
        state="planned",
        total=len(some),
        owner=this_process(),
        lease=time.time() + LEASE_S,
    )


def _rows(some: Sequence[Asked]) -> list[LineRow]:
    return [
        LineRow(n, a.custom_id, a.call.meta["key"], a.call.id, held=pico(a.most.usd))
        for n, a in enumerate(some)
    ]


def _window_s(about: HostBatch) -> float:
    hours = _HOURS.fullmatch(about.window)
    return 3600.0 * int(hours[1]) if hours else 86400.0


def _begin(way: Way, client: Client, shard: ShardRow, some: Sequence[Asked]) -> None:
    """Upload a shard and begin its batch, noting each step."""
    jobs, file = way.ledger.jobs, ""
    inline = batches.facts(client.host).dialect == "inline"
    if not inline:
        lines = [each.line for each in some]
        file = client.batches.upload(lines, f"{shard.id}.jsonl")
        lease = time.time() + LEASE_S
        jobs.note(shard.id, state="uploaded", file_id=file, lease=lease)
    lease = time.time() + LEASE_S
    jobs.note(shard.id, state="creating", sent=time.time(), lease=lease)
    bodies = [(each.custom_id, each.body) for each in some] if inline else ()
    try:
        made = _created(client, shard, file, bodies, some[0].call.endpoint)
    except BaseException as exc:
        status = getattr(exc, "status", None)
        if isinstance(exc, errors.StatusError) and status and 400 <= status < 500:
            # Refused for certain: nothing was begun, and nothing is paid.
            jobs.note(shard.id, state="uploaded", words=exc.what[:500])
        else:  # whether it was begun, the host's list will tell
            jobs.note(shard.id, lease=0)
        raise
    jobs.note(shard.id, state="submitted", batch_id=made.id, status=made.status)


def _created(
    client: Client, shard: ShardRow, file: str, bodies: Any, endpoint: str
) -> batches.Batch:
    """Begin a batch, again where the host says that it was too soon."""
    for attempt in range(TRIES):
        try:
            made: batches.Batch = client.batches.create(
                shard.model,
                file=file,
                requests=bodies,
                label=shard.id,
                endpoint=endpoint,
            )
            return made
        except errors.RateLimited as exc:
            wait_s = exc.retry_after_s or 2.0**attempt
            if attempt + 1 == TRIES or wait_s > LONGEST_WAIT_S:
                raise
            time.sleep(wait_s)
    raise AssertionError


def drop(way: Way, shard: ShardRow, why: str, *, lost: bool = False) -> None:
    """Give the requests of a batch free that was never begun, or that was lost."""
    lines = way.ledger.jobs.lines(shard.id)
    kind = errors.ConnectionFailed if lost else errors.StatusError  # it may be billed
    error = kind(why, "Ask again by the same name.")
    close(way, shard, [(line, None, error) for line in lines if line.state == "open"])
    told = {"state": "collected", "words": why[:500]} if lost else {"state": "dropped"}
    way.ledger.jobs.note(shard.id, **told)


End = tuple[LineRow, Reply | None, KimiError | None]


def close(way: Way, shard: ShardRow, ends: Sequence[End]) -> None:
    """Write down what requests came to: the ledger first, then their claims' end.

    Killed in between, it is done once more, which changes nothing.
    """
    if not ends:
        return
    host = way.client(way.ledger.jobs.jobs(shard.job)[0].host).host
    stored = batch_rows.requests(way.ledger, [line.call for line, _, _ in ends])
    rows = []
    for line, reply, error in ends:
        if line.call in stored:
            call = call_of(line, shard, host, stored[line.call])
            rows.append((call, reply, error))
    batch_rows.close_all(way.ledger, rows)
    said = [
        (line.number, "failed" if reply is None else "done", str(error or "")[:1000])
        for line, reply, error in ends
    ]
    way.ledger.jobs.settle(shard.id, said)


def call_of(line: LineRow, shard: ShardRow, host: Any, kept: batch_rows.Kept) -> Call:
    """Return the call of a request as it was written down."""
    return Call(
        id=line.call,
        endpoint=kept.endpoint,
        host=host,
        model=shard.model,
        body=kept.body,
        created=kept.created,
        meta={"key": line.key},
        prefill="",
    )
