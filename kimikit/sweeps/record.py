"""What comes of a sweep while it runs: answers, failures, money, and what looks odd."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Any

import msgspec

from kimikit.errors import ConnectionFailed, KimiError, Overloaded, TimedOut
from kimikit.sweeps.grid import Grid
from kimikit.sweeps.judge import Judge
from kimikit.sweeps.lanes import Cell, Lane
from kimikit.sweeps.values import Plan, Progress, Trial
from kimikit.types import Reply

RAW_KEPT = ("provider", "system_fingerprint", "temperature", "generation_settings")
"""What is kept of ``Reply.raw``: enough to see a clamp or another upstream."""


class Record:
    """Takes what the crew brings.

    Attributes:
        trials: Finished trials by key.
        plan: What was known before.
        notes: What looked odd, with how often.
        pinned: Whether a parameter was left out because a host pins it.
        spent: US dollars of this run.
        dearest: The highest cost of a call that was thought to cost nothing.
        factor: The most that a call cost for each dollar it was likely to, 0 before.

    Args:
        judge: Who is to judge the answers, if there are metrics.
    """

    def __init__(self, judge: Judge | None = None) -> None:
        self.judge = judge
        self.trials: dict[str, Trial] = {}
        self.plan = Plan()
        self.notes: Counter[str] = Counter()
        self.pinned = False
        self.spent = self.dearest = self.factor = Decimal(0)
        self._failed = 0
        self._began = time.monotonic()

    def progress(self) -> Progress:
        """Return how far the sweep is."""
        done, calls = len(self.trials), self.plan.calls
        bought, spent_s = done - self.plan.stored, time.monotonic() - self._began
        left_s = max(calls - done, 0) * spent_s / bought if bought > 0 else None
        return Progress(
            done=done - self._failed,
            failed=self._failed,
            calls=calls,
            cost=self.spent,
            seconds_left=left_s,
            upper_usd=self.plan.upper_usd,
            judged=self.judge.judged if self.judge else None,
        )

    def keep(
        self, lane: Lane, cell: Cell, reply: Reply, *, stored: bool = False
    ) -> None:
        """Take an answer, or what is wrong with it, without the heavy raw parts."""
        lane.take(cell, reply)
        raw = {key: reply.raw[key] for key in RAW_KEPT if key in reply.raw}
        reply = msgspec.structs.replace(reply, raw=raw)
        try:
            self.notes.update(oddities(cell.params, reply))
        except Exception as error:  # what is odd about an answer never costs it
            self.notes[f"an answer could not be checked ({type(error).__name__})"] += 1
        if reply.partial or reply.truncated:
            end = "stopped before its end" if reply.partial else "cut off, no finish"
            self._put(cell, error=end, partial=reply)
        else:
            self._put(cell, reply=reply, stored=stored)

    def fail(self, lane: Lane, cell: Cell, error: KimiError) -> None:
        """Take a failure; give up on a host that nobody can reach any more."""
        end = f"{type(error).__name__}: {error.what}"
        self._put(cell, error=end, partial=getattr(error, "reply", None))
        unreachable = isinstance(error, ConnectionFailed | TimedOut | Overloaded)
        lane.streak = lane.streak + 1 if unreachable else 0
        if lane.streak > lane.pace.ceiling:
            lane.dead = error
            self.notes[f"{lane.title or 'the host'} stopped answering"] = 1

    def _put(self, cell: Cell, **came: Any) -> None:
        trial = Trial(params=cell.labels, repeat=cell.repeat, **came)
        self.trials[cell.key] = trial
        if self.judge is not None:
            self.judge.waiting.append(trial)
        self._failed += trial.reply is None
        paid = trial.reply or trial.partial
        if paid is not None and paid.cost is not None and not trial.stored:
            self.spent += paid.cost
            if cell.bill[0]:
                self.factor = max(self.factor, Decimal(1), paid.cost / cell.bill[0])
            else:
                self.dearest = max(self.dearest, paid.cost)

    def reserve(self, cell: Cell, under_way: Iterable[Cell]) -> Decimal:
        """Return the US dollars to set aside for one more call, and for others.

        A call is taken to go as badly as the worst one so far. Before there is one,
        those under way are taken at the most they can cost.
        """
        known = self.factor or self.dearest

        def likely(one: Cell) -> Decimal:
            return (one.bill[0] or Decimal(0)) * (self.factor or 1) or self.dearest

        most = (likely(c) if known else c.bill[1] or Decimal(0) for c in under_way)
        return sum(most, start=likely(cell))

    def remarks(self, grid: Grid) -> Iterator[str]:
        """Yield what looked odd as sentences, with how many answers it was seen in."""
        for note, count in self.notes.most_common():
            often = f" ({count} answers)" if count > 1 else ""
            yield f"{note[:1].upper()}{note[1:].rstrip('.')}{often}."
        for key, what in (("provider", "upstreams"), ("system_fingerprint", "builds")):
            seen: dict[str, set[str]] = {}
            for reply in (trial.reply for trial in self.trials.values()):
                if reply is not None and reply.raw.get(key):
                    seen.setdefault(reply.host, set()).add(str(reply.raw[key]))
            for host, names in seen.items():
                if len(names) > 1:
                    yield (
                        f"{host} answered from {len(names)} {what} "
                        f"({', '.join(sorted(names)[:4])}), which may differ as much "
                        "as the points do."
                    )
        if grid.fixed.get("seed") is not None and grid.repeats > 1:
            yield "One seed for all repeats makes them alike; vary it or leave it out."


def oddities(params: dict[str, Any], reply: Reply) -> Iterator[str]:
    """Yield what an answer tells of the host not doing as it was asked."""
    yield from reply.notes
    settings = reply.raw.get("generation_settings")
    echo = settings if isinstance(settings, dict) else reply.raw
    asked, used = params.get("temperature"), echo.get("temperature")
    if asked is not None and isinstance(used, int | float) and abs(used - asked) > 1e-3:
        yield f"temperature {asked:g} was clamped: the host used {used:g}"
    if reply.finish_reason == "length":
        yield "the answer ended at max_tokens"
