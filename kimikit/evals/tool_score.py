"""Score hosts by their tool calls: the K2 Vendor Verifier at the size of a notebook.

Trigger precision, recall, F1 and schema accuracy are defined as there
(MoonshotAI/K2-Vendor-Verifier, README): a response triggers if its ``finish_reason`` is
``tool_calls``; schema accuracy is the share of those responses whose calls all name a
declared tool and all pass its schema. It takes the official API's triggers as truth
over some 4,000 requests; here labels of our own are the truth, over 40.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, Literal, Unpack

import msgspec

from kimikit import html
from kimikit.display.footer import footer
from kimikit.display.renderable import Renderable, Table
from kimikit.errors import BadInput, HostError
from kimikit.evals.cells import not_asked
from kimikit.evals.tool_score_plot import figure
from kimikit.params import ScoreParams, takes_chat_params
from kimikit.runner import WorkOptions, run_jobs, runner_over
from kimikit.runner.rounds import done_by
from kimikit.sweeps.shares import wilson
from kimikit.tools import checks
from kimikit.types import AnswerStore, ChatClient, Reply, ToolCall, Wait

CASES = Path(__file__).parent.parent / "data" / "tool_cases.jsonl"
"""Forty cases of our own in nine kinds."""

_ID = re.compile(r"functions\.[\w.-]+:\d+")
_MARKERS = ("<|tool_call", "<|open|>")


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What one host did with one case.

    Attributes:
        host: The name it was given.
        case: The case's id.
        kind: The case's kind.
        expected: Names of the tools that should be called, in any order.
        reply: The answer, or ``None`` if the request failed.
        error: What failed.
        valid: Whether all calls pass their schemas; ``None`` without a trigger.
        leaked: Whether raw markers stood in the text, recovered or not.
        wrong_ids: Whether any id was not ``functions.name:index``.
        retries: Waits before the answer.
    """

    host: str
    case: str
    kind: str
    expected: tuple[str, ...]
    reply: Reply | None = None
    error: str = ""
    valid: bool | None = None
    leaked: bool = False
    wrong_ids: bool = False
    retries: int = 0

    @property
    def triggered(self) -> bool:
        """Whether the host said that it calls tools."""
        return self.reply is not None and self.reply.finish_reason == "tool_calls"

    @property
    def calls(self) -> tuple[ToolCall, ...]:
        """What it called."""
        return self.reply.tool_calls if self.reply else ()

    @property
    def right(self) -> bool:
        """Whether exactly the expected tools were called."""
        return sorted(call.name for call in self.calls) == sorted(self.expected)


class Rate(msgspec.Struct, frozen=True):
    """A share with its 95 % Wilson interval; ``value`` is ``None`` without cases."""

    hits: int
    n: int

    @property
    def value(self) -> float | None:
        """The share."""
        return self.hits / self.n if self.n else None

    @property
    def interval(self) -> tuple[float, float]:
        """Lowest and highest plausible share (Wilson 1927)."""
        return wilson(self.hits, self.n)


class F1(Rate, frozen=True):
    """The harmonic mean of precision and recall, 2J / (1 + J).

    J is the Jaccard share TP / (TP + FP + FN), a plain proportion whose Wilson interval
    this carries over, as the formula only rises.
    """

    @property
    def value(self) -> float | None:
        """F1."""
        return 2 * self.hits / (self.n + self.hits) if self.n else None

    @property
    def interval(self) -> tuple[float, float]:
        """Lowest and highest plausible F1."""
        low, high = Rate(self.hits, self.n).interval
        return 2 * low / (1 + low), 2 * high / (1 + high)


class ToolScores(Renderable, msgspec.Struct, frozen=True):
    """How each host did; shows as a table.

    Attributes:
        outcomes: Every case at every host.
        cases: How many cases each host was to be asked.
        reused: How many answers had been paid for before.
        stop_reason: ``done``, ``interrupted``, ``max_cost`` or ``error``.
    """

    outcomes: tuple[Outcome, ...]
    cases: int = 0
    reused: int = 0
    stop_reason: str = "done"

    def rates(self) -> dict[str, dict[str, Rate]]:
        """Return each host's rates by name."""
        return {host: rates_of(some) for host, some in self._by_host().items()}

    def _by_host(self) -> dict[str, list[Outcome]]:
        found: dict[str, list[Outcome]] = {}
        for one in self.outcomes:
            found.setdefault(one.host, []).append(one)
        return found

    def _parts(self) -> tuple[str, list[Table], str]:
        rates, hosts = self.rates(), self._by_host().values()
        lines: list[list[object]] = [
            [f"{name}, %", *(_percent(found[name]) for found in rates.values())]
            for name in rates_of([])
        ]
        lines += [
            ["Retries, n", *(sum(one.retries for one in some) for some in hosts)],
            ["Failed, n", *(sum(one.reply is None for one in some) for some in hosts)],
        ]
        note = (
            f"{self._cases()} cases per host, 95 % Wilson intervals; precision, "
            "recall, F1 and schema valid as in the K2 Vendor Verifier"
        )
        left = sum(max(0, self.cases - len(some)) for some in hosts)
        remarks = [
            note,
            not_asked(left, self.stop_reason),
            f"{self.reused} paid before" if self.reused else "",
        ]
        columns = ["", *rates]
        caption = html.footer_line(remarks)
        table = Table(columns, lines, range(1, len(columns)), caption)
        replies = [one.reply for one in self.outcomes if one.reply is not None]
        return "", [table], footer(replies)

    def plot(self, *, ax: Any = None) -> Any:
        """Draw each rate of each host with its interval and return the figure."""
        return figure(self.rates(), self._cases(), ax=ax)

    def _cases(self) -> int:
        return max(map(len, self._by_host().values()), default=0)


@takes_chat_params(hidden=("tools", "n"))
def score_tool_calls(
    clients: Mapping[str, ChatClient],
    cases: Iterable[Mapping[str, Any]] | None = None,
    *,
    concurrency: int = 4,
    store: AnswerStore | None = None,
    name: str | None = None,
    max_cost: Decimal | float | str | None = None,
    via: Literal["live", "batch"] = "live",
    poll_s: float | None = None,
    progress: bool = True,
    **params: Unpack[ScoreParams],
) -> Any:
    """Ask every host the same cases and count what it does with tools.

    Stop (the kernel's interrupt) ends the calls under way at their next token and keeps
    what has been answered.

    Args:
        clients: Hosts by the name to show.
        cases: Dicts with ``messages``, ``tools`` and ``calls``, the names of the tools
            that should be called; without, 40 of our own in nine kinds.
        concurrency: Requests at once to each host.
        store: Where paid answers are found again under ``name``.
        name: Makes it resumable: what was paid is not asked again.
        max_cost: US dollars that are not passed, by all hosts together: no more is
            asked then.
        via: ``live``, or ``batch`` for the hosts' batch APIs: within a day, at a lower
            price, a ``Job`` at once.
        poll_s: Seconds between two looks at a batch; 30 to 60 unless
            ``KIMIKIT_BATCH_POLL_S`` says otherwise.
        progress: Whether to show a progress bar.
        **params: Goes with every request, such as ``temperature=0.6``.

    Returns:
        The ``ToolScores``. By batch the ``Job``, whose ``wait()`` and ``collect()``
        return them.

    Raises:
        BadInput: If there are no clients, a case lacks something, or ``concurrency`` is
            not positive.
        KimiError: If no host can be asked, such as for a wrong key. What was finished
            is the error's ``scores``.

    Example:
        >>> def population(city: str) -> int:
        ...     "Number of people who live in a city."
        >>> case = {
        ...     "messages": [
        ...         {"role": "user", "content": "What is the population of Paris?"}
        ...     ],
        ...     "tools": [tool(population).schema],
        ...     "calls": ["population"],
        ... }
        >>> scores = score_tool_calls({"local": client}, [case], progress=False)
        >>> scores.rates()["local"]["Right tools"]
        Rate(hits=1, n=1)
    """
    if not isinstance(clients, Mapping) or not clients:
        raise BadInput(
            "There are no hosts to score.", 'Pass {"together": client, ...}.'
        )
    asked = cases_of(cases)
    options = WorkOptions(concurrency, name, store, max_cost)
    bar = "tool calls" if progress else None
    run = partial(_scored, clients, asked, {**params}, bar)
    return done_by(via, poll_s, clients, "score", options, run)


def _scored(
    clients: Mapping[str, ChatClient],
    asked: list[Mapping[str, Any]],
    params: dict[str, Any],
    bar: str | None,
    options: WorkOptions,
) -> ToolScores:
    """Ask every case of every host, by such a runner as the options have."""
    runner, asking = runner_over(clients, "score", options)
    work = [(host, case) for case in asked for host in clients]
    came = run_jobs(
        runner,
        [partial(_ask, host, asking[host], case, params) for host, case in work],
        concurrency=options.concurrency,
        groups=[host for host, _ in work],
        progress=bar,
    )
    found = ToolScores(
        tuple(outcome for outcome in came if outcome is not None),
        cases=len(asked),
        reused=runner.reused,
        stop_reason=runner.stop_reason,
    )
    return runner.finished(found, "scores")


def cases_of(
    cases: Iterable[Mapping[str, Any]] | None,
) -> list[Mapping[str, Any]]:
    """Return labelled cases, 40 of our own for none.

    Raises:
        BadInput: If a case lacks something.
    """
    if cases is None:
        cases = [msgspec.json.decode(row) for row in CASES.read_bytes().splitlines()]
    asked = list(cases)
    for index, case in enumerate(asked):
        if missing := {"messages", "tools", "calls"} - set(case):
            raise BadInput(
                f"Case {index} has no {sorted(missing)[0]}.",
                "Give messages, tools (request entries) and calls (names).",
            )
    return asked


def _ask(
    host: str, client: ChatClient, case: Mapping[str, Any], params: dict[str, Any]
) -> Outcome | None:
    waits: list[Wait] = []

    def watch(step: object) -> None:
        if isinstance(step, Wait):
            waits.append(step)

    tools = list(case["tools"])
    try:
        reply = client.chat(list(case["messages"]), tools=tools, watch=watch, **params)
    except HostError as exc:
        return Outcome(**_known(host, case), error=str(exc), retries=len(waits))
    if reply.partial:
        return None
    return judged(case, reply, host=host, retries=len(waits))


def _known(host: str, case: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "host": host,
        "case": str(case.get("id", "")),
        "kind": str(case.get("kind", "")),
        "expected": tuple(case["calls"]),
    }


def judged(
    case: Mapping[str, Any], reply: Reply, *, host: str, retries: int = 0
) -> Outcome:
    """Return what a host did with a case.

    Args:
        case: The case.
        reply: Its answer.
        host: What the host is called.
        retries: Waits before the answer.
    """
    tools = list(case["tools"])
    schemas = {t["function"]["name"]: t["function"].get("parameters") for t in tools}
    said = reply.text + reply.reasoning + str(reply.raw)
    # What the wire had to repair was not valid as the host sent it.
    repaired = any(note.startswith("The call of") for note in reply.notes)
    fits = [_fits(call, schemas) for call in reply.tool_calls]
    valid = bool(fits) and all(fits) and not repaired
    return Outcome(
        **_known(host, case),
        reply=reply,
        valid=valid if reply.finish_reason == "tool_calls" else None,
        leaked=any(marker in said for marker in _MARKERS),
        wrong_ids=any(not _ID.fullmatch(c.host_id or c.id) for c in reply.tool_calls),
        retries=retries,
    )


def _fits(call: ToolCall, schemas: Mapping[str, Any]) -> bool:
    if call.name not in schemas:
        return False
    try:
        arguments = call.parsed
    except msgspec.DecodeError:
        return False
    if not isinstance(arguments, dict):
        return False
    return not checks.problems(checks.validator(schemas[call.name] or {}), arguments)


def rates_of(outcomes: list[Outcome]) -> dict[str, Rate]:
    """Return the rates of one host's outcomes by name."""
    answered = [one for one in outcomes if one.reply is not None]
    triggered = [one for one in answered if one.triggered]
    expected = [one for one in answered if one.expected]
    called = [one for one in answered if one.calls]
    hits = sum(bool(one.expected) for one in triggered)
    told = [one for one in answered if one.triggered == bool(one.calls)]
    either = len(triggered) + len(expected) - hits
    return {
        "Precision": Rate(hits, len(triggered)),
        "Recall": Rate(hits, len(expected)),
        "F1": F1(hits, either),
        "Schema valid": Rate(sum(bool(one.valid) for one in answered), len(triggered)),
        "Right tools": Rate(sum(one.right for one in answered), len(answered)),
        "Finish told": Rate(len(told), len(answered)),
        "Leaked markers": Rate(sum(one.leaked for one in answered), len(answered)),
        "Wrong ids": Rate(sum(one.wrong_ids for one in called), len(called)),
    }


def _percent(rate: Rate) -> object:
    if rate.value is None:
        return "none"
    low, high = rate.interval
    return html.interval(*(f"{100 * share:.0f}" for share in (rate.value, low, high)))
