"""Documents longer than a window: note what each part says, then answer from that."""

from __future__ import annotations

import time
from collections.abc import Sequence
from decimal import Decimal
from functools import partial
from typing import Any

import msgspec

from kimikit import html
from kimikit.crew import CrewClient, run_all
from kimikit.errors import BadInput
from kimikit.prompting.documents import (
    RULES,
    Documents,
    Part,
    Report,
    check_citations,
    split,
)
from kimikit.prompting.history import Count, estimate_tokens, size
from kimikit.prompting.totals import spent
from kimikit.shown import Table
from kimikit.types import AnswerStore, ChatClient, Reply, Usage

NOTHING = "NOTHING"
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
        cost = html.money(self.cost_usd, estimated=self.cost_usd is not None)
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
        documents: A text, a ``Path`` to read, a list of these, or texts by title.
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
        params: What else ``chat`` takes.

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
    if not question.strip() or window_tokens < 2 * NOTE_TOKENS:
        raise BadInput(
            f"question={question!r}, window_tokens={window_tokens} cannot be done.",
            f"Give a question, and a window of {2 * NOTE_TOKENS} tokens or more.",
        )
    parts = split(documents, part_tokens=part_tokens, count=count)
    crew = CrewClient(client, "map_reduce", store=store, name=name)
    work = _Work(crew, question, instructions, window_tokens, count, params)
    plan = work.plan(parts)
    if dry_run:
        return plan
    notes = run_all(
        [partial(work.note, part) for part in parts],
        stop=crew.stop,
        concurrency=concurrency,
        progress=str(plan) if progress else None,
    )
    whole = [note for note in notes if note is not None and not note.partial]
    merged = [] if len(whole) < len(parts) else work.reduce([n.text for n in whole])
    reply = merged[-1] if merged else Reply(partial=True)
    return Digest(
        reply=reply,
        citations=check_citations(reply.text, parts),
        notes=tuple(notes),
        merged=tuple(merged),
        plan=plan,
        reused=crew.reused,
    )


class _Work(msgspec.Struct, frozen=True):
    """One question to many parts."""

    crew: CrewClient
    question: str
    instructions: str
    window: int
    count: Count
    params: dict[str, Any]

    def plan(self, parts: Sequence[Part]) -> Plan:
        params = {**self.crew.defaults, **self.params}
        answer = params.get("max_tokens") or ANSWER_TOKENS
        note = self.params.get("max_tokens") or NOTE_TOKENS
        sent = sum(size(self._about(part), self.count) for part in parts)
        sent += size(self._over([], final=True), self.count)
        usage = Usage(
            prompt_tokens=sent + min(self.window, note * len(parts)),
            completion_tokens=note * len(parts) + answer,
            estimated=True,
        )
        host, pricer, cost = self.crew.host, self.crew.pricer, None
        if host is not None and pricer is not None:
            model = self.params.get("model") or host.model
            cost = pricer(host.name, model, usage, time.time())
        return Plan(calls=len(parts) + 1, usage=usage, cost_usd=cost)

    def note(self, part: Part) -> Reply:
        params = {"max_tokens": NOTE_TOKENS, **self.params}
        return self.crew.chat(self._about(part), **params)

    def reduce(self, notes: list[str]) -> list[Reply]:
        """Return the replies that put the notes together, the final one last."""
        notes = [note for note in notes if note.strip(" .\n*") != NOTHING]
        replies: list[Reply] = []
        while len(groups := self._groups(notes)) > 1:
            merged = [
                self.crew.chat(self._over(group, final=False), **self.params)
                for group in groups
            ]
            replies += merged
            notes = [reply.text for reply in merged]
        final = self._over(notes or ["No part bears on it."], final=True)
        return [*replies, self.crew.chat(final, **self.params)]

    def _groups(self, notes: list[str]) -> list[list[str]]:
        """Fill groups up to the window; two notes at least, so that each round ends."""
        groups: list[list[str]] = [[]]
        room = self.window
        for note in notes:
            room -= self.count(note)
            if room < 0 and len(groups[-1]) > 1:
                groups.append([])
                room = self.window - self.count(note)
            groups[-1].append(note)
        return groups

    def _about(self, part: Part) -> list[dict[str, Any]]:
        return _messages(
            str(part),
            "Executive brief",
            self.question,
            f"Note in at most 150 words what part [{part.number}] says that bears on "
            f"this. End each statement with [{part.number}]. If it says nothing on it, "
            f"answer {NOTHING}.",
        )

    def _over(self, notes: Sequence[str], *, final: bool) -> list[dict[str, Any]]:
        merge = (
            "Put these notes together in at most 300 words. Keep each number such as "
            "[2] with its statement."
        )
        order = [self.instructions, RULES] if final else [merge]
        body = "\n\n".join(["Notes on the numbered parts:", *notes])
        return _messages(body, "Executive brief", self.question, *order)


def _messages(body: str, *brief: str) -> list[dict[str, Any]]:
    order = "\n".join(line for line in brief if line)
    return [{"role": "user", "content": text} for text in (body, order)]
