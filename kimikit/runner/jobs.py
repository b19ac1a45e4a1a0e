"""Look at, wait for, collect or cancel work that a host's batches answer."""

from __future__ import annotations

import contextlib
import copy
import os
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Generic, Protocol, Self, TypeVar

from kimikit import errors, html
from kimikit.display.footer import STAND_IN, day
from kimikit.display.progress import ANSWERS, move, progress_bar
from kimikit.display.renderable import Renderable, Table
from kimikit.errors import BadInput, BudgetExceeded, KimiError
from kimikit.json_values import is_within, short
from kimikit.money import batch_rows
from kimikit.money.budget import Budget
from kimikit.money.jobs import UNDER_WAY, JobRow, ShardRow
from kimikit.money.storable import dollars
from kimikit.runner.batch import Way
from kimikit.runner.batch_looks import look
from kimikit.runner.cache import prefix_of
from kimikit.runner.live import LONGEST_WAIT_S
from kimikit.runner.results import Results
from kimikit.runner.stored_jobs import (
    CALLED,
    ends,
    spent_on,
    stored_results,
    submit_again,
)

POLL_S = "KIMIKIT_BATCH_POLL_S"
"""Variable with the seconds between two looks at a batch."""

USUAL_POLL_S = 30.0
"""What hosts ask for; each look that finds no change makes the next one later."""

LONGEST_POLL_S = 60.0
STAND_IN_POLL_S = 1.0

T = TypeVar("T")
U = TypeVar("U")


Finish = Callable[[Sequence[JobRow], str], T]
"""Makes of the answers to some jobs, and of why nothing more is bought, what their work
returns."""


class Buy(Protocol):
    """Buys what is to be asked next, or again; adds its job to those so far."""

    def __call__(self, rows: list[JobRow], *, retry: bool) -> tuple[Budget, ...]:
        """Return the budgets that hold what it may cost."""


class Job(Renderable, Generic[T]):
    """Batches under way for one piece of work; it survives the kernel.

    Args:
        way: How batches are reached.
        rows: The job, and those of the same work that are not over yet.
        finish: Makes of the answers what the work returns.
        buy: Buys what answers lead to, and what failed.
        poll_s: Seconds between two looks.
        held: Budgets that hold what it may cost.
        restored: Whether only its requests are known, and not what they are for.

    Attributes:
        id: Our id of it.
        name: What the work is called; asking by it again returns this job.
        kind: What sort of work it is.

    Example:
        >>> job = kimi.map(["Name a colour."], via="batch", max_tokens=8, poll_s=0.1)
        >>> replies = job.wait()
        >>> job.done, len(replies.replies)
        (True, 1)
    """

    def __init__(
        self,
        way: Way,
        rows: Sequence[JobRow],
        finish: Finish[T],
        *,
        buy: Buy,
        poll_s: float | None = None,
        held: Sequence[Budget] = (),
        restored: bool = False,
    ) -> None:
        self.id, self.name, self.kind = rows[0].id, rows[0].name, rows[0].kind
        self._way, self._rows, self._made, self._buy = way, [*rows], finish, buy
        self._poll_s, self._held = seconds(poll_s), tuple(held)
        self._restored, self._ended = restored, ""

    @property
    def shards(self) -> list[ShardRow]:
        """Its batches, each with one model, as far as they are known."""
        store = self._way.ledger.jobs
        return [shard for row in self._rows for shard in store.shards(row.id)]

    @property
    def done(self) -> bool:
        """Whether nothing more will come; no host is asked for it."""
        return not any(shard.state in UNDER_WAY for shard in self.shards)

    @property
    def failed(self) -> dict[str, str]:
        """Why requests failed, by their keys."""
        found = ends(self._way, self._rows)
        return {key: why for key, why in found.items() if why is not None}

    def refresh(self) -> None:
        """Look at its batches once, and take in what is over.

        Raises:
            HostError: If the host does not tell.
        """
        for row in self._rows:
            for shard in self._way.ledger.jobs.shards(row.id):
                if shard.state in UNDER_WAY:
                    look(self._way, row, shard)
        if self._held and self.done:
            self._settle()

    def collect(self) -> T:
        """Return what has come by now; asked again, the work buys what is missing."""
        self.refresh()
        return self._finish()

    def then(self, make: Callable[[T], U]) -> Job[U]:
        """Return this job, which ends in what is made of its result.

        Args:
            make: Makes it.

        Example:
            >>> job = kimi.map(["Name a lake."], via="batch", max_tokens=8, poll_s=0.1)
            >>> job.then(len).wait()
            1
        """
        job: Any = copy.copy(self)
        made = self._made
        job._made = lambda rows, reason: make(made(rows, reason))
        found: Job[U] = job
        return found

    def retry(self) -> Self:
        """Buy in a new batch what failed, expired or was cancelled; return the job.

        What is paid for, or in a batch that is under way, is not bought again.

        Raises:
            BadInput: If a request is not kept; asked again by its name, the work
                buys it.
            BudgetExceeded: If ``max_cost`` or a budget refuses it.

        Example:
            >>> job = kimi.map(["Name a sea."], via="batch", max_tokens=8, poll_s=0.1)
            >>> replies = job.wait()
            >>> job.retry().done  # nothing has failed
            True
        """
        self.refresh()
        self._ended = ""
        self._held += self._buy(self._rows, retry=True)
        return self

    def wait(self, timeout_s: float | None = None) -> T:
        """Wait for the end, and return what came; Stop returns what is there.

        Where answers lead to more questions, as notes do to what is made of them, it
        goes on in another batch, until nothing is left to ask.

        Args:
            timeout_s: Seconds after which what is there is returned too.

        Raises:
            BadInput: If it is no number of seconds.
        """
        if not (timeout_s is None or is_within(timeout_s, 0)):
            raise BadInput(f"timeout_s is {short(timeout_s)}.", "Give seconds, as 60.")
        began, pause_s = time.monotonic(), self._pause()
        shards = self.shards
        total = sum(shard.total for shard in shards)
        with (
            contextlib.suppress(KeyboardInterrupt),
            progress_bar(
                total=total, desc=self.name, disable=self.done, **ANSWERS
            ) as bar,
        ):
            while True:
                before = self.shards
                wait_s = self._refreshed(pause_s)
                shards = self.shards
                over = sum(each.done + each.failed for each in shards)
                move(bar, over, total=sum(each.total for each in shards))
                passed = time.monotonic() - began
                late = timeout_s is not None and passed >= timeout_s
                if late or (self.done and not self._goes_on()):
                    break
                if shards == before and self._poll_s is None:
                    pause_s = min(1.2 * pause_s, LONGEST_POLL_S)
                wait_s *= not self._replayed  # what is over need not be waited for
                left_s = wait_s if timeout_s is None else timeout_s - passed
                time.sleep(max(min(wait_s, left_s), 0.0))
        return self._finish()

    def _finish(self) -> T:
        return self._made(self._rows, self._ended or "done")

    def _goes_on(self) -> bool:
        """Buy what the answers lead to; return whether there is anything."""
        if self._ended:
            return False
        before = len(self._rows)
        try:
            self._held += self._buy(self._rows, retry=False)
        except BudgetExceeded as exc:
            self._ended = "max_cost"
            errors.warn(f"The next batch was not begun. {exc.what} {exc.remedy}")
        return len(self._rows) > before

    def _refreshed(self, pause_s: float) -> float:
        """Look once; return the seconds until the next look, as the host wants it."""
        try:
            self.refresh()
        except (errors.RateLimited, errors.Overloaded) as exc:
            asked_s = getattr(exc, "retry_after_s", None) or 0.0
            return max(pause_s, min(asked_s, LONGEST_WAIT_S))
        except (errors.ConnectionFailed, errors.TimedOut):
            return pause_s  # the batch goes on without us
        return pause_s

    @property
    def _replayed(self) -> bool:
        """Whether a recording answers, and no host."""
        recorder = self._way.client(self._rows[0].host).recorder
        return recorder is not None and recorder.offline

    def _pause(self) -> float:
        if self._poll_s is not None:
            return self._poll_s
        stand_in = self._way.client(self._rows[0].host).host.stand_in
        return STAND_IN_POLL_S if stand_in else USUAL_POLL_S

    def cancel(self) -> T:
        """End its batches; return what came. What was answered by then is paid for.

        Nothing more is asked then, unless ``retry`` does.

        Raises:
            NotSupported: If the host has no way to.
        """
        self._ended = "done"
        for row in self._rows:
            client = self._way.client(row.host)
            for shard in self._way.ledger.jobs.shards(row.id):
                if shard.state != "submitted":
                    continue
                try:
                    client.batches.cancel(shard.batch_id)
                except errors.StatusError as exc:
                    if exc.status not in (400, 404, 409):  # it is over already
                        raise
        return self.collect()

    def _settle(self) -> None:
        """Turn what budgets hold into what came of it."""
        for row in self._rows:
            batch_rows.settle(self._held, row.id, spent_on(self._way, row))
        self._held = ()

    def _parts(self) -> tuple[str, list[Table], str]:
        heads = ["", "model", "batch", "status", "done", "failed", "of"]
        rows = [
            [
                n, s.model, s.batch_id or s.state, s.status or s.state,
                s.done, s.failed, s.total,
            ]
            for n, s in enumerate(self.shards)
        ]  # fmt: skip
        words = [shard.words for shard in self.shards if shard.words]
        table = Table(heads, rows, (0, 4, 5, 6), html.footer_line(words[:3]))
        return "", [table], html.footer_line(list(self._told()))

    def _told(self) -> Iterator[str]:
        row = self._rows[0]
        yield f"{self.kind} {self.name}"
        yield row.host
        if self._restored and self.kind != "map":
            verb = CALLED.get(self.kind, self.kind)
            yield f"for its result call {verb} again with name={self.name!r}"
        if self.done:
            yield "done: .collect() returns the answers"
        else:
            store = self._way.ledger.jobs
            held = [store.held(row.id) for row in self._rows]
            unknown = sum(count for _, count in held)
            most = html.money(dollars(sum(some for some, _ in held)))
            stand_in = row.host == "local"
            yield "" if stand_in else f"{most} held at most"
            yield "" if stand_in or not unknown else f"{unknown:,} unpriced"
            left_s = max(each.created + each.window_s for each in self._rows)
            left_s -= time.time()
            yield f"at most {left_s / 3600:.1f} h left" if left_s > 0 else "overdue"
        yield STAND_IN if row.host == "local" else ""


class Jobs(Renderable, list[Job[Any]]):
    """Jobs, the newest first."""

    def _parts(self) -> tuple[str, list[Table], str]:
        heads = ["", "name", "kind", "host", "begun", "state", "done", "failed", "of"]
        rows = [[n, *_summary(job)] for n, job in enumerate(self)]
        return "", [Table(heads, rows, (0, 6, 7, 8))], html.many(len(self), "job")

    __repr__ = Renderable.__repr__
    __str__ = Renderable.__str__


def _summary(job: Job[Any]) -> list[object]:
    shards = job.shards
    begun = day(job._rows[0].created, "%Y-%m-%d %H:%M")
    state = "done" if job.done else "under way"
    sums = [sum(getattr(s, n) for s in shards) for n in ("done", "failed", "total")]
    return [job.name, job.kind, job._rows[0].host, begun, state, *sums]


def catch_up(way: Way, kind: str, name: object) -> list[JobRow]:
    """Take in what batches of a named work have answered; return those under way.

    A host that does not tell keeps nobody from working elsewhere: what it was asked
    stays claimed.
    """
    rows = list[JobRow]()
    if not (isinstance(name, str) and name):
        return rows
    for row in way.ledger.jobs.jobs(prefix=prefix_of(kind, name)):
        job = _stored(way, row)
        if not job.done:
            try:
                job.refresh()
            except BadInput:
                continue  # it is at another address, where nothing is asked now
            except KimiError:
                pass
            if not job.done:
                rows.append(row)
    return rows


def all_jobs(way: Way) -> Jobs:
    """Return all jobs of a ledger, of this kernel and of others."""
    return Jobs(_stored(way, row) for row in way.ledger.jobs.jobs())


def _stored(way: Way, row: JobRow) -> Job[Results]:
    """Return a job as the ledger has it: what its requests are for is not known."""
    finish, buy = partial(stored_results, way), partial(submit_again, way)
    return Job(way, [row], finish, buy=buy, restored=True)


def seconds(poll_s: Any) -> float | None:
    """Return ``poll_s=``, or what the environment says, ``None`` for neither.

    Raises:
        BadInput: If it is no number above 0.
    """
    given = os.environ.get(POLL_S) or None if poll_s is None else poll_s
    if given is None:
        return None
    try:
        number = float(given)
    except (TypeError, ValueError):
        number = 0.0
    if not 0 < number < 1e6:
        raise BadInput(f"poll_s is {given!r}.", "Give seconds above 0, such as 30.")
    return number
