"""Documents longer than a window: note what each part says, then answer from that."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from decimal import Decimal
from functools import partial
from typing import Any

import msgspec

from kimikit import html
from kimikit.crew import CrewClient, run_all
from kimikit.errors import BadInput
from kimikit.footer import spent
from kimikit.params import takes_chat_params
from kimikit.plain import short
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
from kimikit.prompting.history import Count, estimate_tokens, size
from kimikit.shown import Table
from kimikit.types import AnswerStore, ChatClient, Reply, Usage

NOTHING = "NOTHING"
MERGE = (
    "Put these notes together in at most 300 words. Keep each number such as [2] with "
    "its statement."
)
NOTE_TOKENS, ANSWER_TOKENS = 500, 2000
"""Tokens of a note on one part, at most, and of an answer without ``max_tokens``."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What a ``map_reduce`` will ask, known before it asks.

    Attributes:
        calls: Requests, that for the final answer included.
        usage: Tokens if every answer is as long as it may be, estimated.
        cost_usd: Dollars for them, ``None`` when unpriced.
    """

    calls: int
    usage: Usage
    cost_usd: Decimal | None = None

    def __str__(self) -> str:
        cost = html.money(self.cost_usd, estimated=True)
        return html.footer_line([f"{self.calls} calls", f"at most {self.usage}", cost])

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
    """

    notes: tuple[Reply | None, ...]
    merged: tuple[Reply, ...]
    plan: Plan
    reused: int

    def _parts(self) -> tuple[str, list[Table], str]:
        text, tables, foot = super()._parts()
        read = [note for note in self.notes if note is not None]
        remarks = [
            f"{len(read)} of {len(self.notes)} parts read",
            f"{self.reused} answers paid before" if self.reused else "",
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
    dry_run: bool = False,
    progress: bool = True,
    count: Count = estimate_tokens,
    **params: Any,
) -> Digest | Plan:
    """Note what each part says on a question, then answer it from the notes.

    Args:
        client: Anything with ``chat``.
        documents: A text, a ``Path`` to read, a list of these, these by title, or a
            data frame, each row of which is a document.
        question: What is to be found out.
        instructions: For the final answer: the reader, the form, the length.
        part_tokens: The most tokens in a part.
        window_tokens: The most tokens of notes to answer from at once; more of them
            are first put together group by group.
        concurrency: How many parts are asked at once.
        store: Where paid answers are found again under ``name``.
        name: Makes it resumable: what was paid is not asked again.
        dry_run: Return the ``Plan`` and ask nothing.
        progress: Whether to show a bar with the plan.
        count: Counts tokens; without it they are estimated.
        **params: What else ``chat`` takes.

    Returns:
        The answer with its notes; Stop keeps the notes that were complete.

    Raises:
        BadInput: If the question is empty or the window too small for two notes.

    Example:
        >>> asked = ["The pump failed.", "It rained."], "What failed?"
        >>> map_reduce(client, *asked, dry_run=True)
        3 calls · at most ~... tokens · $0.00
        >>> digest = map_reduce(client, *asked, max_tokens=16, progress=False)
        >>> len(digest.notes), len(digest.merged)
        (2, 1)
    """
    if not is_question(question) or window_tokens < 2 * NOTE_TOKENS:
        raise BadInput(
            f"question={short(question)}, window_tokens={window_tokens!r} are no use.",
            f"Give a question, and a window of {2 * NOTE_TOKENS} tokens or more.",
        )
    parts = split(documents, part_tokens=part_tokens, count=count)
    crew = CrewClient(client, "map_reduce", store=store, name=name)
    reading = [_about(part, question) for part in parts]
    orders = (instructions, RULES)
    asked = [*reading, _over([], question, *orders)]
    sent = sum(size(messages, count) for messages in asked)
    plan = _plan(crew, len(parts), sent, window_tokens, params)
    if dry_run:
        return plan
    read = partial(crew.chat, **{"max_tokens": NOTE_TOKENS, **params})
    notes = run_all(
        [partial(read, about) for about in reading],
        stop=crew.stop,
        concurrency=concurrency,
        progress=str(plan) if progress else None,
    )
    whole = [note.text for note in notes if note is not None and not note.partial]
    merged: list[Reply] = []
    if len(whole) == len(parts):
        ask = partial(crew.chat, **params)
        merged = _merged(ask, whole, question, orders, window_tokens, count)
    reply = merged[-1] if merged else Reply(partial=True)
    return Digest(
        reply=reply,
        citations=check_citations(reply.text, parts),
        notes=tuple(notes),
        merged=tuple(merged),
        plan=plan,
        reused=crew.reused,
    )


def _plan(
    crew: CrewClient, parts: int, sent: int, window: int, params: dict[str, Any]
) -> Plan:
    notes = parts * (params.get("max_tokens") or NOTE_TOKENS)
    answer = {**crew.defaults, **params}.get("max_tokens") or ANSWER_TOKENS
    usage = Usage(sent + min(window, notes), notes + answer, estimated=True)
    cost = None
    if crew.host is not None and crew.pricer is not None:
        model = params.get("model") or crew.host.model
        cost = crew.pricer(crew.host.name, model, usage, time.time())
    return Plan(calls=parts + 1, usage=usage, cost_usd=cost)


def _merged(
    ask: Callable[..., Reply],
    notes: list[str],
    question: str,
    orders: tuple[str, ...],
    window: int,
    count: Count,
) -> list[Reply]:
    """Return the replies that put the notes together, the final answer last."""
    notes = [note for note in notes if note.strip(" .\n*") != NOTHING]
    merged: list[Reply] = []
    while len(groups := _groups(notes, window, count)) > 1:
        replies = [ask(_over(group, question, MERGE)) for group in groups]
        notes = [reply.text for reply in replies]
        merged += replies
    final = _over(notes or ["No part bears on it."], question, *orders)
    return [*merged, ask(final)]


def _groups(notes: list[str], window: int, count: Count) -> list[list[str]]:
    """Fill groups up to the window; two notes at least, so that each round ends."""
    groups: list[list[str]] = [[]]
    room = window
    for note in notes:
        room -= count(note)
        if room < 0 and len(groups[-1]) > 1:
            groups.append([])
            room = window - count(note)
        groups[-1].append(note)
    return groups


def _about(part: Part, question: str) -> list[dict[str, Any]]:
    order = (
        f"Note in at most 150 words what part [{part.number}] says that bears on this. "
        f"End each statement with [{part.number}]. If it says nothing on it, answer "
        f"{NOTHING}."
    )
    return request(str(part), question, order)


def _over(notes: Sequence[str], *lines: str) -> list[dict[str, Any]]:
    body = "\n\n".join(["Notes on the numbered parts:", *notes])
    return request(body, *lines)
