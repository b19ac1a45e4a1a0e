"""Work that a host's batches answer: looked at, waited for, collected, cancelled."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Generic, TypeVar

from kimikit import errors, html
from kimikit.display.footer import STAND_IN
from kimikit.display.progress import ANSWERS, move, progress_bar
from kimikit.display.renderable import Renderable, Table
from kimikit.errors import BadInput, KimiError
from kimikit.money import batch_rows
from kimikit.money.budget import Budget
from kimikit.money.jobs import UNDER_WAY, JobRow, ShardRow
from kimikit.money.store import dollars
from kimikit.runner.batch import Way, failure
from kimikit.runner.batch_looks import look
from kimikit.runner.live import LONGEST_WAIT_S
from kimikit.runner.results import Item, Results

POLL_S = "KIMIKIT_BATCH_POLL_S"
"""Variable with the seconds between two looks at a batch."""

USUAL_POLL_S = 30.0
"""What hosts ask for; each look that finds no change makes the next one later."""

LONGEST_POLL_S = 60.0
STAND_IN_POLL_S = 1.0

T = TypeVar("T")


class Job(Renderable, Generic[T]):
    """Batches under way for one piece of work; it survives the kernel.

    Args:
        way: How batches are reached.
        rows: The job, and those of the same work that are not over yet.
        finish: Makes of the answers what the work returns.
        poll_s: Seconds between two looks.
        held: Budgets that hold what it may cost.

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
        finish: Callable[[], T],
        *,
        poll_s: float | None = None,
        held: Sequence[Budget] = (),
    ) -> None:
        self.id, self.name, self.kind = rows[0].id, rows[0].name, rows[0].kind
        self._way, self._rows, self._finish = way, tuple(rows), finish
        self._poll_s, self._held = seconds(poll_s), tuple(held)

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
        return failures(self._way, self._rows)

    def refresh(self) -> None:
        """Look at its batches once, and take in what is over.

        Raises:
            HostError: If the host does not tell.
        """
        for row in self._rows:
            for shard in self._way.ledger.jobs.shards(row.id):
                if shard.state in UNDER_WAY:
                    look(self._way, self._way.client(row.host), shard)
        if self._held and self.done:
            self._settle()

    def collect(self) -> T:
        """Return what has come by now; asked again, the work buys what is missing."""
        self.refresh()
        return self._finish()

    def wait(self, timeout_s: float | None = None) -> T:
        """Wait for the end, and return what came; Stop returns what is there.

        Args:
            timeout_s: Seconds after which what is there is returned too.
        """
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
                move(bar, sum(each.done + each.failed for each in shards))
                passed = time.monotonic() - began
                if self.done or (timeout_s is not None and passed >= timeout_s):
                    break
                if shards == before and self._poll_s is None:
                    pause_s = min(1.2 * pause_s, LONGEST_POLL_S)
                wait_s *= not self._replayed  # what is over need not be waited for
                left_s = wait_s if timeout_s is None else timeout_s - passed
                time.sleep(max(min(wait_s, left_s), 0.0))
        return self._finish()

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

        Raises:
            NotSupported: If the host has no way to.
        """
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
        store = self._way.ledger.jobs
        for row in self._rows:
            answers = self._way.ledger.answers(row.prefix)
            lines = [x for shard in store.shards(row.id) for x in store.lines(shard.id)]
            done = [line.key for line in lines if line.state == "done"]
            spent = [answers[key] for key in done if key in answers]
            batch_rows.settle(self._held, row.id, spent)
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
        return "", [Table(heads, rows, (0, 6, 7, 8))], f"{len(self)} jobs"

    __repr__ = Renderable.__repr__
    __str__ = Renderable.__str__


def _summary(job: Job[Any]) -> list[object]:
    shards = job.shards
    begun = time.strftime("%Y-%m-%d %H:%M", time.localtime(job._rows[0].created))
    state = "done" if job.done else "under way"
    sums = [sum(getattr(s, n) for s in shards) for n in ("done", "failed", "total")]
    return [job.name, job.kind, job._rows[0].host, begun, state, *sums]


def failures(way: Way, rows: Sequence[JobRow]) -> dict[str, str]:
    """Return why requests of jobs failed, by their keys, as the newest job says."""
    store, found = way.ledger.jobs, dict[str, str]()
    for row in sorted(rows, key=lambda row: row.created):
        found |= store.errors(row.id)
    return found


def catch_up(way: Way, prefix: str) -> list[JobRow]:
    """Take in what is over of the work of a prefix; return its jobs that are not.

    A host that does not tell keeps nobody from working elsewhere: what it was asked
    stays claimed.
    """
    store, rows = way.ledger.jobs, list[JobRow]()
    for row in store.jobs(prefix=prefix):
        job = Job(way, [row], lambda: None)
        if not job.done:
            with contextlib.suppress(KimiError):
                job.refresh()
            if not job.done:
                rows.append(row)
    return rows


def all_jobs(way: Way, poll_s: float | None = None) -> Jobs:
    """Return all jobs of a ledger, of this kernel and of others."""
    return Jobs(
        Job(way, [row], partial(stored_results, way, [row]), poll_s=poll_s)
        for row in way.ledger.jobs.jobs()
    )


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


def stored_results(way: Way, rows: Sequence[JobRow]) -> Results:
    """Return what is known of a job's requests, in their order, from the ledger."""
    store = way.ledger.jobs
    lines = [
        line
        for row in rows
        for shard in store.shards(row.id)
        for line in store.lines(shard.id)
    ]
    answers = way.ledger.answers(rows[0].prefix)
    asked = batch_rows.requests(way.ledger, [line.call for line in lines])
    prompts = [asked.get(line.call, (0.0, {}))[1].get("messages", []) for line in lines]
    items: list[Item] = []
    for line in lines:
        items.append(answers.get(line.key))
        if items[-1] is None and line.state == "failed":
            items[-1] = failure(line.error or "")
    shown = [{"prompt": prompt} for prompt in prompts]
    stand_in = rows[0].host == "local"
    return Results(items, prompts, shown, name=rows[0].name, stand_in=stand_in)
