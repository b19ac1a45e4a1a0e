"""Ask hosts everything that shows whether they are what they say."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from kimikit.display.footer import total_usd
from kimikit.errors import BadInput, BudgetExceeded, nearest
from kimikit.evals.tool_score import cases_of
from kimikit.html import money
from kimikit.json_values import is_within
from kimikit.runner import RunnerClient, WorkOptions, run_jobs, runner_over
from kimikit.runner.costs import dollars, estimate_of
from kimikit.types import AnswerStore, ChatClient
from kimikit.verify import answering, calling, sampling
from kimikit.verify.asking import REFUSALS, Asker, Came, Facts, Planner
from kimikit.verify.findings import Finding, Verification, VerifyPlan
from kimikit.wire.options import joined

Check = Callable[[Asker], list[Finding]]


class Asked(NamedTuple):
    """What is asked together.

    Attributes:
        names: The checks that come of it.
        check: Asks and judges.
    """

    names: tuple[str, ...]
    check: Check


TIMED = "stream", "speed"
"""Checks that no other may slow down."""


CHECKS: Mapping[Callable[..., list[Finding]], tuple[str, ...]] = {
    answering.names: ("model", "usage in streams"),
    sampling.spreads: ("temperature", "top_p", "seed"),
    sampling.several: ("n",),
    sampling.stops: ("stop",),
    sampling.limits: ("max_tokens",),
    sampling.probabilities: ("logprobs",),
    sampling.formats: ("json_object", "json_schema"),
    calling.choices: (
        "tool_choice none",
        "tool_choice required",
        "tool_choice named",
    ),
    answering.counts: ("prompt tokens",),
    calling.ids: ("tool ids",),
    calling.scores: ("tool triggers", "tool schemas"),
    answering.thoughts: ("reasoning kept",),
    answering.window: ("context",),
    answering.speeds: ("stream", "speed"),
}
"""What is asked together, and the checks that come of it."""


def checks_of(
    wanted: Iterable[str] | None,
    cases: Iterable[Mapping[str, Any]] | None,
    context_tokens: int,
) -> list[Asked]:
    """Return what is to be asked for the checks that are wanted.

    Raises:
        BadInput: If there is no such check.
    """
    known = [name for names in CHECKS.values() for name in names]
    listed = [wanted] if isinstance(wanted, str) else list(wanted or known)
    for name in listed:
        if name not in known:
            raise BadInput(
                f"There is no check {name!r}.{nearest(str(name), known)}",
                f"Use some of {', '.join(known)}.",
            )
    if not is_within(context_tokens, 1_000):
        raise BadInput(
            f"context_tokens is {context_tokens!r}.", "Give 1,000 tokens or more."
        )
    more: dict[Any, dict[str, Any]] = {
        calling.scores: {"cases": cases_of(cases)},
        answering.window: {"context_tokens": context_tokens},
    }
    found = []
    for check, names in CHECKS.items():
        if some := tuple(each for each in names if each in listed):
            found.append(Asked(some, partial(check, **more.get(check, {}))))
    return found


def plan(
    clients: Mapping[str, ChatClient],
    facts: Mapping[str, Facts],
    checks: Sequence[Asked],
    store: AnswerStore | None = None,
) -> VerifyPlan:
    """Return what would be asked and what it costs, and ask nothing."""
    calls, bills = {}, []
    for label, client in clients.items():
        planner = Planner(facts[label])
        for _, check in checks:
            check(planner)
        calls[label] = len(planner.asked)
        host, tell = facts[label].host, estimate_of(client, store)
        if host is None or not host.stand_in:
            defaults, title = getattr(client, "defaults", {}), host.name if host else ""
            for messages, params in planner.asked:
                given = title, facts[label].model, joined(defaults, params), messages
                bills.append((None, None) if tell is None else tell(*given))
    likely, most = ([bill[end] for bill in bills] for end in (0, 1))
    return VerifyPlan(calls=calls, cost_usd=total_usd(likely), most_usd=total_usd(most))


class _Work:
    """The checks of one host; what is timed is asked alone, after all others.

    Args:
        client: Answers.
        facts: Of the host.
        checks: What to ask.
    """

    def __init__(
        self, client: RunnerClient, facts: Facts, checks: Sequence[Asked]
    ) -> None:
        self.came: list[Came] = []
        self.timed = [each for each in checks if each.names[0] in TIMED]
        self.others = [each for each in checks if each not in self.timed]
        self._client, self._facts = client, facts
        self._lock, self._left = threading.Lock(), len(self.others)

    def jobs(self) -> list[Callable[[], list[Finding]]]:
        """Return what can be done side by side."""
        some = self.others or [self.timed.pop()]
        return [partial(self._do, each) for each in some]

    def _do(self, asked: Asked) -> list[Finding]:
        found = self._asked(asked)
        with self._lock:
            self._left -= 1
            last = self._left == 0
        for each in self.timed if last else ():
            found += self._asked(each)
        return found

    def _asked(self, asked: Asked) -> list[Finding]:
        asker = Asker(self._client, self._facts)
        try:
            found = asked.check(asker)
        finally:
            self.came += asker.came
        return [finding for finding in found if finding.check in asked.names]


def verify(
    clients: Mapping[str, ChatClient],
    facts: Mapping[str, Facts],
    checks: Sequence[Asked],
    options: WorkOptions,
    *,
    progress: bool = True,
) -> Verification:
    """Ask every host and judge what comes.

    Args:
        clients: Hosts by the name to show.
        facts: What is known of each.
        checks: What to ask, of ``checks_of``.
        options: How it is asked.
        progress: Whether to show a bar.

    Raises:
        BudgetExceeded: If it is likely to cost more than it may.
        KimiError: If no host answers at all. What was found is its ``verification``.
    """
    limit = dollars(options.max_cost)
    likely = None if limit is None else plan(clients, facts, checks, options.store)
    if likely and limit is not None and (likely.cost_usd or 0) > limit:
        raise BudgetExceeded(
            f"This is likely to cost {money(likely.cost_usd)}, above max_cost.",
            "Leave checks out, or raise max_cost.",
        )
    runner, asking = runner_over(clients, "verify", options)
    work = {label: _Work(asking[label], facts[label], checks) for label in clients}
    jobs = [(label, job) for label, each in work.items() for job in each.jobs()]
    results = run_jobs(
        runner,
        [job for _, job in jobs],
        concurrency=options.concurrency,
        groups=[label for label, _ in jobs],
        progress="checks" if progress else None,
    )
    came = [one for each in work.values() for one in each.came]
    replies = tuple(one.reply for one in came if one.reply is not None)
    order = [name for each in checks for name in each.names]
    findings = [finding for result in results for finding in result or ()]
    findings.sort(key=lambda each: order.index(each.check))
    found = Verification(
        findings=tuple(findings),
        models={label: facts[label].model for label in clients},
        replies=replies,
        left=len(order) * len(clients) - len(findings),
        reused=runner.reused,
        stop_reason=runner.stop_reason,
    )
    errors = [one.error for one in came if one.error is not None]
    refused = any(isinstance(error, REFUSALS) for error in errors)
    if errors and not replies and not refused:
        runner.end(errors[0])
    return runner.finished(found, "verification")
