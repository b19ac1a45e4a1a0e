"""Compare ways to prompt on one labelled set: right answers, tokens, time, money."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from decimal import Decimal
from functools import partial
from typing import Any, Literal, NamedTuple, Unpack

from kimikit import errors
from kimikit.evals.judging import Grader
from kimikit.evals.named import Metrics, scorers_of
from kimikit.evals.outcomes import Looking, Outcome
from kimikit.evals.patterns import PATTERNS, Meter, Pattern, as_written
from kimikit.evals.result import Lab
from kimikit.evals.scorers import Embed, Score, Scorer, answer_of
from kimikit.evals.task import Task
from kimikit.json_values import short
from kimikit.params import LabParams, takes_chat_params
from kimikit.runner import Runner, Stopped, WorkOptions, run_jobs, runner_over
from kimikit.runner.rounds import done_by
from kimikit.sweeps.judge import as_score
from kimikit.types import AnswerStore, ChatClient, Reply


class Way(NamedTuple):
    """How the questions are asked.

    Attributes:
        name: What it is called.
        pattern: Asks.
        task: The task, or the variant of it.
        variant: The variant's name, empty for none.
    """

    name: str
    pattern: Pattern
    task: Task
    variant: str = ""


def _ways(task: Task, patterns: Mapping[str, Pattern] | None) -> dict[str, Way]:
    """Return each variant of the task asked by each pattern, the baseline first."""
    if not isinstance(task, Task):
        raise errors.BadInput(
            f"{short(task)} is no task.",
            "Make one of a file, a frame or a list of dicts by evals.Task.load(...).",
        )
    if patterns is None:
        patterns = {"as written": as_written} if task.written else PATTERNS
    if not isinstance(patterns, Mapping) or not all(map(callable, patterns.values())):
        raise errors.BadInput(
            f"patterns is {short(patterns)}.",
            "Give functions by name, such as some of evals.PATTERNS: "
            f"{', '.join(PATTERNS)}.",
        )
    variants = task.variants or {"": task}
    rows = {len(each.rows) for each in variants.values()}
    if not min(rows, default=0) or not patterns:
        raise errors.BadInput(
            f"{len(task.rows)} rows in {len(patterns)} ways are nothing to compare.",
            "Give a task with rows, and at least one pattern.",
        )
    if len(rows) > 1:
        raise errors.BadInput(
            "The task's variants have different numbers of rows.",
            "Ask the same rows in each: Task.load(..., prompt={'name': ...}).",
        )
    ways = [
        Way(_titled(variant, name, len(patterns)), pattern, each, variant)
        for variant, each in variants.items()
        for name, pattern in patterns.items()
    ]
    return {way.name: way for way in ways}


def _titled(variant: str, pattern: str, patterns: int) -> str:
    """Return what a way is called: a lone pattern need not be told from others."""
    if not variant:
        return pattern
    return variant if patterns == 1 else f"{variant} · {pattern}"


class _Asking:
    """What all questions of a lab share."""

    def __init__(
        self,
        client: ChatClient,
        params: dict[str, Any],
        scorers: Mapping[str, Scorer | Grader],
        judges: Mapping[str, ChatClient],
    ) -> None:
        self.client, self.params = client, params
        self.scorers, self.judges = scorers, judges
        self.stopped: list[Outcome] = []
        self.errors: dict[str, list[str]] = {}
        self._lock = threading.Lock()

    def ask(self, way: Way, row: int) -> Outcome | None:
        """Ask one question; what Stop ended is no outcome, but has its cost."""
        question, truth = way.task.rows[row]
        meter = Meter(self.client)
        # Part of the key: step by step and a vote ask the same, and share no answers.
        meta = {**self.params.get("meta", {}), "pattern": way.name, "row": row}

        def made(**fields: Any) -> Outcome:
            fields |= {"pattern": way.name, "row": row, "variant": way.variant}
            return Outcome(paid=tuple(meter.paid), **fields)

        asked = {**self.params, "meta": meta}
        try:
            reply = way.pattern(meter, way.task, question, **asked)
        except errors.InvalidAnswer as exc:
            # Nothing of the type is wrong; what else is asked of the text can be told.
            first, *others = self.scorers or [""]
            told = {name: self.of_text(name, exc.reply, truth) for name in others}
            scores = {first: False, **told}
            return made(right=False, reply=exc.reply, scores=scores)
        except (errors.AuthenticationFailed, errors.NoBalance, errors.ModelNotFound):
            raise
        except errors.HostError as exc:
            return made(error=f"{type(exc).__name__}: {exc.what}")
        except (KeyboardInterrupt, Stopped):
            if meter.paid:
                self.stopped.append(made())
            raise
        if reply.partial:
            self.stopped.append(made())
            return None
        judges = {name: Meter(client) for name, client in self.judges.items()}

        def score(name: str) -> Score:
            scorer = self.scorers[name]
            if isinstance(scorer, Grader):
                asks = partial(scorer.grade, judges[name], question, meta=meta)
                return self.score(name, asks, reply, truth)
            return self.score(name, scorer, reply, truth)

        scores = {name: score(name) for name in self.scorers}
        said = next(iter(scores.values()), None)
        return made(
            answer=answer_of(reply, way.task),
            right=said if isinstance(said, bool) else None,
            reply=reply,
            scores=scores,
            judged=tuple(one for judge in judges.values() for one in judge.paid),
        )

    def of_text(self, name: str, reply: Reply | None, truth: Any) -> Score:
        """Return what a scorer says of a reply of no type; no judge is paid for it."""
        scorer = self.scorers[name]
        if reply is None or isinstance(scorer, Grader):
            return None
        return self.score(name, scorer, reply, truth)

    def score(self, name: str, scorer: Scorer, reply: Reply, truth: Any) -> Score:
        """Return what a scorer says; one that fails costs no answer."""
        try:
            value = as_score(scorer(reply, truth))
            first = next(iter(self.scorers)) == name
            if first and not isinstance(value, bool | None):
                raise TypeError(f"{value:g} is neither true nor false, as the first is")
            return value
        except (KeyboardInterrupt, Stopped):
            return None  # a judge was stopped: the answer is there
        except Exception as error:  # a user's code: the answer is paid for
            said = f"{type(error).__name__}: {error}"
            with self._lock:
                self.errors.setdefault(name, []).append(said)
            return None


def _over(
    clients: Mapping[str | None, ChatClient],
    scorers: Mapping[str, Scorer | Grader],
    options: WorkOptions,
    params: dict[str, Any],
) -> tuple[Runner, _Asking]:
    """Return what asks the questions, and the judges of the answers, by one runner."""
    runner, asking = runner_over(clients, "lab", options)
    graders = [name for name, one in scorers.items() if isinstance(one, Grader)]
    judges = {name: asking.get(name, asking[None]) for name in graders}
    judged = scorers if runner.judges else {name: scorers[name] for name in graders}
    return runner, _Asking(asking[None], params, judged, judges)


def _order(
    ways: Mapping[str, Way], until: float | None, concurrency: int
) -> tuple[Looking | None, list[tuple[str, int]]]:
    """Return what is asked in which order, and what says how far to go on."""
    rows = len(next(iter(ways.values())).task.rows)
    if until is None:
        return None, [(way, row) for way in ways for row in range(rows)]
    looking = Looking(until, tuple(ways), rows, concurrency)
    return looking, [(way, row) for row in looking.order for way in ways]


@takes_chat_params(hidden=("tools", "n"), also=("watch", "meta"))
def lab(
    client: ChatClient,
    task: Task,
    patterns: Mapping[str, Pattern] | None = None,
    *,
    metrics: Metrics | None = None,
    embed: Embed | None = None,
    concurrency: int = 4,
    store: AnswerStore | None = None,
    name: str | None = None,
    max_cost: Decimal | float | str | None = None,
    until: float | None = None,
    via: Literal["live", "batch"] = "live",
    poll_s: float | None = None,
    progress: bool = True,
    **params: Unpack[LabParams],
) -> Any:
    """Ask every question of a labelled set in several ways.

    Args:
        client: Anything with ``chat``.
        task: The labelled set.
        patterns: Ways to ask by name, the baseline first; ``PATTERNS`` by default.
        metrics: Names of scorers, or functions by name; the first says what is right.
        embed: From texts to vectors, for ``similarity``.
        concurrency: How many questions are asked at once.
        store: Where paid answers are found again under ``name``.
        name: Makes it resumable: what was paid is not asked again.
        max_cost: US dollars that are not passed: no more is asked then.
        until: Ask in rounds until each share is known so well; see ``Kimi.lab``.
        via: ``live``, or ``batch`` for the hosts' batch APIs: a ``Job`` at once.
        poll_s: Seconds between two looks at a batch, instead of 30 to 60.
        progress: Whether to show a bar.
        **params: What else ``chat`` takes, the same for every pattern.

    Returns:
        One table: answers of no type are wrong, and what a host failed is left out. By
        batch the ``Job`` that collects it.

    Raises:
        BadInput: If there is nothing to ask.
        StatusError: If the host refuses all; its ``lab`` has what was finished.

    Example:
        >>> rows = [("Capital of France?", "Paris")]
        >>> task = Task(instruction="Name the city.", rows=rows)
        >>> found = lab(client, task, {"typed": PATTERNS["structured"]}, progress=False)
        >>> [(point["pattern"], point["right"]) for point in found.summary()]
        [('typed', 1)]
    """
    ways = _ways(task, patterns)
    scorers = scorers_of(metrics, task, embed=embed)
    options = WorkOptions(concurrency, name, store, max_cost)
    if until is not None and via == "batch":
        raise errors.BadInput(
            "until= looks at answers as they come, and a batch has none for hours.",
            "Leave one of them out.",
        )
    asked: dict[str | None, ChatClient] = {None: client}
    graders = {n: one for n, one in scorers.items() if isinstance(one, Grader)}
    asked |= {n: one.client for n, one in graders.items() if one.client is not None}
    bar = task.name if progress else None
    run = partial(_asked, asked, task, ways, scorers, {**params}, until, bar)
    return done_by(via, poll_s, asked, "lab", options, run)


def _asked(
    clients: Mapping[str | None, ChatClient],
    task: Task,
    ways: Mapping[str, Way],
    scorers: Mapping[str, Scorer | Grader],
    params: dict[str, Any],
    until: float | None,
    bar: str | None,
    options: WorkOptions,
) -> Lab:
    """Ask every question in every way, by such a runner as the options have."""
    runner, asking = _over(clients, scorers, options, params)
    concurrency = options.concurrency
    looking, asked = _order(ways, until, concurrency)
    came = run_jobs(
        runner,
        [partial(asking.ask, ways[way], row) for way, row in asked],
        concurrency=concurrency,
        progress=bar,
        next_end=looking,
    )
    settled = looking is not None and looking.settled and not runner.stopping
    found = Lab(
        task=task,
        patterns=tuple(ways),
        outcomes=tuple(one for one in came if one is not None),
        reused=runner.reused,
        stop_reason="settled" if settled else runner.stop_reason,
        stopped=tuple(asking.stopped),
        metrics=tuple(scorers),
        metric_errors=asking.errors,
        until=until,
    )
    return runner.finished(found, "lab")
