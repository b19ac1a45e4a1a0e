"""Ask about a text longer than a window: note what each part says, then answer."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from decimal import Decimal
from functools import partial
from typing import Any, Literal, NamedTuple, TypeVar, Unpack

import msgspec

from kimikit import html
from kimikit.display.footer import spent
from kimikit.display.renderable import Table
from kimikit.errors import BadInput, BudgetExceeded, KimiError
from kimikit.json_values import is_count, short
from kimikit.params import LabParams, takes_chat_params
from kimikit.prompting.documents import (
    RULES,
    Documents,
    Part,
    Report,
    check_citations,
    is_question,
    request,
    split,
)
from kimikit.prompting.history import Count, check_options, estimate_tokens, size
from kimikit.runner import (
    Request,
    Runner,
    RunnerClient,
    Stopped,
    WorkOptions,
    ask_all,
    runner_over,
)
from kimikit.runner.costs import dollars
from kimikit.runner.rounds import done_by
from kimikit.types import AnswerStore, ChatClient, Reply, Usage, Watch

T = TypeVar("T")

NOTHING = "NOTHING"
MERGE = (
    "Put these notes together in at most 300 words. Keep each number such as [2] with "
    "its statement."
)
NOTE_TOKENS, ANSWER_TOKENS = 500, 2000
"""Tokens of a note on one part, at most, and of an answer without ``max_tokens``."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What a ``map_reduce`` is likely to ask, estimated before it asks.

    Each note is taken to be as long as it may be. It is no bound: the tokens of the
    documents are estimated, and nobody knows how well notes can be put together.

    Attributes:
        calls: Requests, those that put notes together and the final one included.
        usage: Tokens.
        cost_usd: Dollars for them, ``None`` when unpriced.
    """

    calls: int
    usage: Usage
    cost_usd: Decimal | None = None

    def __str__(self) -> str:
        cost = html.money(self.cost_usd, estimated=True)
        calls = f"about {html.many(self.calls, 'call')}"
        return html.footer_line([calls, str(self.usage), cost])

    __repr__ = __str__


class Digest(Report, frozen=True, kw_only=True):
    """An answer made from notes on all parts.

    Attributes:
        reply: The final answer; empty and ``partial`` when it was stopped before.
        citations: The parts it cites.
        notes: The note on each part, ``None`` where a stop came before it.
        merged: Answers that put notes together, the final one included.
        plan: What was estimated before.
        reused: How many answers had been paid for before.
        stop_reason: ``done``, ``interrupted``, ``max_cost`` or ``error``.
    """

    notes: tuple[Reply | None, ...]
    merged: tuple[Reply, ...]
    plan: Plan
    reused: int
    stop_reason: str = "done"

    def _parts(self) -> tuple[str, list[Table], str]:
        text, tables, foot = super()._parts()
        read = [note for note in self.notes if note is not None]
        remarks = [
            f"{len(read)} of {html.many(len(self.notes), 'part')} read",
            f"{html.many(self.reused, 'answer')} paid before" if self.reused else "",
            "max_cost reached" if self.stop_reason == "max_cost" else "",
            f"all together {spent([*read, *self.merged])}",
        ]
        return text, tables, html.footer_line([*remarks, foot])


@takes_chat_params(hidden=("tools", "n"), also=("watch", "meta"))
def map_reduce(
    client: ChatClient,
    documents: Documents,
    question: str,
    *,
    instructions: str = "",
    part_tokens: int = 8000,
    window_tokens: int = 32_000,
    concurrency: int = 4,
    store: AnswerStore | None = None,
    name: str | None = None,
    max_cost: Decimal | float | str | None = None,
    dry_run: bool = False,
    via: Literal["live", "batch"] = "live",
    poll_s: float | None = None,
    progress: bool = True,
    count: Count = estimate_tokens,
    **params: Unpack[LabParams],
) -> Any:
    """Note what each part says on a question, then answer it from the notes.

    Args:
        client: Anything with ``chat``.
        documents: A text, a ``Path``, a list of these, or by title; or a data frame.
        question: What is to be found out.
        instructions: For the final answer: the reader, the form, the length.
        part_tokens: The most tokens in a part.
        window_tokens: The most tokens of notes to answer from; more are put together.
        concurrency: How many parts are asked at once.
        store: Where paid answers are found again under ``name``.
        name: Makes it resumable: what was paid is not asked again.
        max_cost: US dollars that are not passed: no more is asked then.
        dry_run: Return the ``Plan`` and ask nothing.
        via: ``live``, or ``batch`` for the host's batch API, in rounds of a day.
        poll_s: Seconds between two looks at a batch, instead of 30 to 60.
        progress: Whether to show a bar with the plan.
        count: Counts tokens; without it they are estimated.
        **params: What else ``chat`` takes.

    Returns:
        The ``Digest``: the answer with its notes; Stop keeps whole notes. By batch a
        ``Job`` whose ``wait()`` has it.

    Raises:
        BadInput: If the question is empty or the window too small for two notes.
        KimiError: If a part cannot be asked; its ``digest`` has what was finished.

    Example:
        >>> asked = ["The pump failed.", "It rained."], "What failed?"
        >>> map_reduce(client, *asked, dry_run=True)
        about 3 calls · ~... tokens · $0.00
        >>> digest = map_reduce(client, *asked, max_tokens=4, progress=False)
        >>> len(digest.notes), len(digest.merged)
        (2, 1)
    """
    _check(question, window_tokens, instructions, count)
    parts = split(documents, part_tokens=part_tokens, count=count)
    asked = {"question": question, "window": window_tokens, "count": count}
    asked |= {"parts": parts, "orders": (instructions, RULES)}
    work = partial(_work, client, {**params}, asked)
    options = WorkOptions(concurrency, name, store, max_cost)
    if dry_run:
        return work(options).plan()
    if via == "batch":
        work(options).affordable(max_cost)
    run = lambda options: work(options).digest(progress=progress)  # noqa: E731
    return done_by(via, poll_s, {None: client}, "map_reduce", options, run)


def _work(
    client: ChatClient,
    params: dict[str, Any],
    asked: Mapping[str, Any],
    options: WorkOptions,
) -> _Work:
    """Return the work by such a runner as the options have."""
    runner, clients = runner_over({None: client}, "map_reduce", options)
    given = {name: value for name, value in params.items() if name != "watch"}
    watch = params.get("watch")
    return _Work(
        runner=runner, client=clients[None], watch=watch, params=given, **asked
    )


def _check(question: str, window_tokens: int, instructions: str, count: Count) -> None:
    check_options(instructions, None, count)
    if not is_question(question) or not is_count(window_tokens, 2 * NOTE_TOKENS):
        raise BadInput(
            f"question={short(question)}, window_tokens={window_tokens!r} are no use.",
            f"Give a question, and a window of {2 * NOTE_TOKENS} tokens or more.",
        )


class _Work(NamedTuple):
    """Asks for a note on every part, and for something made of the notes."""

    runner: Runner
    client: RunnerClient
    parts: tuple[Part, ...]
    question: str
    orders: tuple[str, ...]
    window: int
    count: Count
    watch: Watch | None
    params: dict[str, Any]

    def note(self, part: Part) -> list[dict[str, Any]]:
        """Return the messages that ask for a note on a part."""
        order = (
            f"Note in at most 150 words what part [{part.number}] says that bears on "
            f"this. End each statement with [{part.number}]. If it says nothing on it, "
            f"answer {NOTHING}."
        )
        return request(str(part), self.question, order)

    def over(self, notes: Sequence[str], *orders: str) -> list[dict[str, Any]]:
        """Return the messages that ask for something made of notes."""
        body = "\n\n".join(["Notes on the numbered parts:", *notes])
        return request(body, self.question, *orders)

    def plan(self) -> Plan:
        """Return what it is likely to take."""
        given = {**self.client.defaults, **self.params}
        answer = given.get("max_tokens") or ANSWER_TOKENS
        notes = [self.params.get("max_tokens") or NOTE_TOKENS] * len(self.parts)
        asked, merges, read, made = [*map(self.note, self.parts)], 0, 0, sum(notes)
        while len(groups := _groups(notes, self.window, int)) > 1:
            merges += len(groups)
            read += sum(notes)
            notes = [min(sum(some), answer) for some in groups]
            made += sum(notes)
        asked += [self.over([], MERGE)] * merges + [self.over([], *self.orders)]
        sent = sum(size(messages, self.count) for messages in asked)
        usage = Usage(sent + read + sum(notes), made + answer, estimated=True)
        cost, host = None, self.client.host
        if host is not None and self.client.pricer is not None:
            model = self.params.get("model") or host.model
            cost = self.client.pricer(host.name, model, usage, time.time())
        return Plan(calls=len(asked), usage=usage, cost_usd=cost)

    def affordable(self, max_cost: Any) -> None:
        """Refuse what is likely to pass ``max_cost`` before its first round.

        Raises:
            BudgetExceeded: If it is.
        """
        limit, plan = dollars(max_cost), self.plan()
        batch = getattr(self.client.host, "batch", None)
        if limit is None or plan.cost_usd is None or batch is None:
            return
        if (cost := plan.cost_usd * batch.price_most) > limit:
            raise BudgetExceeded(
                f"This may cost {html.money(cost, estimated=True)} in batches, above "
                f"max_cost ${limit}.",
                "Lower max_tokens, or raise max_cost.",
            )

    async def merge(self, notes: list[str]) -> AsyncIterator[Reply]:
        """Yield the replies that put the notes together, the final answer last."""
        notes = [note for note in notes if note.strip(" .\n*") != NOTHING]
        while len(groups := _groups(notes, self.window, self.count)) > 1:
            notes, stopped = [], None
            for group in groups:
                asked = self.request(self.over(group, MERGE))
                try:
                    reply = await self.runner.ask(asked, self.watch)
                except Stopped as exc:  # a batch asks all groups at once
                    stopped = exc
                    continue
                notes.append(reply.text)
                yield reply
            if stopped is not None:
                raise stopped
        final = self.over(notes or ["No part bears on it."], *self.orders)
        yield await self.runner.ask(self.request(final), self.watch)

    def request(self, messages: Any, **usual: Any) -> Request:
        """Return what is asked, with the user's parameters."""
        return self.client.request(messages, **{**usual, **self.params})

    def digest(self, *, progress: bool) -> Digest:
        """Have the parts noted and the notes put together."""
        plan, merged, ends = self.plan(), list[Reply](), False

        async def reduce(notes: Sequence[Reply | KimiError | None]) -> None:
            nonlocal ends
            whole = [n.text for n in notes if isinstance(n, Reply) and not n.partial]
            if len(whole) == len(self.parts):
                async for reply in self.merge(whole):
                    merged.append(reply)
                ends = True

        notes = ask_all(
            self.runner,
            [self.request(self.note(p), max_tokens=NOTE_TOKENS) for p in self.parts],
            watch=self.watch,
            progress=str(plan) if progress else None,
            then=reduce,
        )
        reply = merged[-1] if ends else Reply(partial=True)
        found = Digest(
            reply=reply,
            citations=check_citations(reply.text, self.parts),
            notes=tuple(note if isinstance(note, Reply) else None for note in notes),
            merged=tuple(merged),
            plan=plan,
            reused=self.runner.reused,
            stop_reason=self.runner.stop_reason,
        )
        return self.runner.finished(found, "digest")


def _groups(
    notes: Sequence[T], window: int, count: Callable[[T], int]
) -> list[list[T]]:
    """Fill groups up to the window; two notes at least, so that each round ends."""
    groups: list[list[T]] = [[]]
    room = window
    for note in notes:
        room -= count(note)
        if room < 0 and len(groups[-1]) > 1:
            groups.append([])
            room = window - count(note)
        groups[-1].append(note)
    return groups
