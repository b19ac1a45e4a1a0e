"""The turns of a conversation as a tree with what each branch cost."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any, Literal

import msgspec

from kimikit import html
from kimikit.prompting.totals import spent
from kimikit.shown import Shown, Table
from kimikit.types import Usage

State = Literal["whole", "stopped", "cut off", "failed", "edited"]


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """A question with its answer, and what it took.

    Attributes:
        id: Position among all turns.
        parent: The turn it follows, ``None`` for a first one.
        branch: The branch it was asked on.
        asked: The messages of the question.
        answer: The assistant's message.
        state: How the answer ended. A failed one is in no history.
        source: Who answered.
        usage: Tokens, those of a summary made for this turn included.
        cost: Dollars for them, ``None`` where unpriced.
        notes: What its reply noted.
        left_out: How many turns at the beginning were not sent with the question.
        summary: What was sent in their place.
    """

    id: int = 0
    parent: int | None = None
    branch: str = "main"
    asked: list[dict[str, Any]] = []
    answer: dict[str, Any] = {}
    state: State = "whole"
    source: str = ""
    usage: Usage = msgspec.field(default_factory=Usage)
    cost: Decimal | None = None
    notes: tuple[str, ...] = ()
    left_out: int = 0
    summary: str = ""


class Tree(Shown, msgspec.Struct, frozen=True, kw_only=True):
    """All turns of a conversation, to be shown.

    Attributes:
        turns: In the order they were asked.
        heads: The last turn of each branch.
        current: The branch this was asked of.
    """

    turns: tuple[Turn, ...]
    heads: dict[str, int | None]
    current: str

    def _parts(self) -> tuple[str, list[Table], str]:
        rows: list[list[object]] = []
        live = self._live()
        for turn, place in self._walk():
            ends = [
                f"\u2190\u00a0{n}" for n, end in self.heads.items() if end == turn.id
            ]
            aside = "" if turn.id in live or turn.state == "failed" else "set aside"
            how = "summed up" if turn.summary else "left out"
            cut = f"{turn.left_out} {how}" if turn.left_out else ""
            remarks = [*ends, "" if turn.state == "whole" else turn.state, aside, cut]
            took = spent([turn])
            asked = _text(turn.asked[-1] if turn.asked else {})
            note = ", ".join(remark for remark in remarks if remark)
            rows.append([place, asked, _text(turn.answer), took, note])
        turns = Table(["turn", "question", "answer", "took", ""], rows, (3,))
        rows = []
        for name in [*self.heads, None]:
            own = [turn for turn in self.turns if name in (turn.branch, None)]
            mark = " (this one)" if name == self.current else ""
            rows.append([f"{name or 'all'}{mark}", len(own), spent(own)])
        branches = Table(["branch", "turns asked", "took"], rows, (1, 2))
        sources = dict.fromkeys(turn.source for turn in self.turns if turn.source)
        return "", [turns, branches], "; ".join(sources)

    def _live(self) -> set[int]:
        """Return the turns that lead to the end of a branch."""
        live: set[int] = set()
        for turn in reversed(self.turns):
            if turn.id in self.heads.values() or turn.id in live:
                live |= {turn.id} if turn.parent is None else {turn.id, turn.parent}
        return live

    def _walk(self) -> Iterator[tuple[Turn, str]]:
        """Yield the turns depth first; only where ways part does the indent grow."""
        children: dict[int | None, list[Turn]] = {}
        for turn in self.turns:
            children.setdefault(turn.parent, []).append(turn)
        stack = [(turn, 0, "") for turn in reversed(children.get(None, []))]
        while stack:
            turn, indent, mark = stack.pop()
            yield turn, "\u00a0\u00a0" * indent + f"{mark}{turn.id + 1}"
            after = children.get(turn.id, [])
            parting = len(after) > 1
            mark = "\u2514" if parting else "\u00a0" * bool(indent)
            stack += [(one, indent + parting, mark) for one in reversed(after)]


def _text(message: dict[str, Any]) -> html.Cell | str:
    content = message.get("content") or ""
    if isinstance(content, list):
        content = " ".join(str(part.get("text", "[image]")) for part in content)
    if not content and message.get("tool_calls"):
        names = [call["function"]["name"] for call in message["tool_calls"]]
        content = f"calls {', '.join(names)}"
    return html.opening(html.clean(str(content)), 48)
