"""Keep the turns of a conversation as a tree with what each branch cost."""

from __future__ import annotations

import codecs
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec.structs import replace

from kimikit import html
from kimikit.display.footer import spent
from kimikit.display.renderable import Renderable, Table
from kimikit.errors import BadInput
from kimikit.json_values import plain, saved, short
from kimikit.paths import path_of, writing
from kimikit.prompting.history import kind_of
from kimikit.secrets import stripped
from kimikit.types import Usage
from kimikit.types.pickling import Travels
from kimikit.usage import check_usd

State = Literal["whole", "stopped", "cut off", "failed", "edited"]


class Turn(Travels, msgspec.Struct, frozen=True, kw_only=True):
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

    def __post_init__(self) -> None:
        check_usd(self.cost)

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The question and its answer."""
        return [*self.asked, self.answer]


class Branch(msgspec.Struct, frozen=True):
    """One way through a conversation.

    Attributes:
        system: Its system message.
        params: Sent with every question.
        head: Its last turn, ``None`` before the first.
    """

    system: str | None
    params: dict[str, Any]
    head: int | None = None


class Tree(Renderable, msgspec.Struct, frozen=True, kw_only=True):
    """All turns of a conversation, to be shown and saved.

    Attributes:
        turns: In the order they were asked.
        branches: The ways through them by name.
        current: The branch this was asked of.
    """

    turns: list[Turn]
    branches: dict[str, Branch]
    current: str = "main"
    kimikit_conversation: Literal[1] = 1

    @property
    def heads(self) -> dict[str, int | None]:
        """The last turn of each branch."""
        return {name: branch.head for name, branch in self.branches.items()}

    def path(self, head: int | None) -> list[Turn]:
        """Return the turns that lead to one, that one last."""
        path: list[Turn] = []
        while head is not None:
            path.append(self.turns[head])
            head = path[-1].parent
        return path[::-1]

    def write(self, path: str | Path) -> None:
        """Write it as JSON; a file that is there is replaced whole.

        Raises:
            BadInput: If a parameter of a branch is no JSON, or the file cannot be
                written.
        """
        branches = {
            name: replace(branch, params=_saved(branch.params))
            for name, branch in self.branches.items()
        }
        data = saved(replace(self, branches=branches))
        text = html.without_secrets(msgspec.json.format(data, indent=1).decode())
        with writing(path) as fresh:
            fresh.write_text(text, encoding="utf-8")

    @classmethod
    def read(cls, path: str | Path) -> Tree:
        """Return what ``write`` wrote.

        Raises:
            BadInput: If the file holds something else.
        """
        source = path_of(path)
        try:
            data = source.read_bytes().removeprefix(codecs.BOM_UTF8)
            tree = msgspec.json.decode(data, type=cls)
            links = [(turn.parent, i) for i, turn in enumerate(tree.turns)]
            links += [(head, len(tree.turns)) for head in tree.heads.values()]
            if any(link is not None and not 0 <= link < end for link, end in links):
                raise ValueError("its turns do not follow from each other")
            if tree.current not in tree.branches:
                raise ValueError(f"it has no branch {short(tree.current)}")
            for place, turn in enumerate(tree.turns):
                none = not turn.answer and turn.state == "failed"
                said = [*turn.asked, *([] if none else [turn.answer])]
                msgspec.convert(said, list[_Message])
                if turn.id != place or not turn.asked:
                    raise ValueError(f"its turn {place} is none")
        except (OSError, ValueError, RecursionError) as exc:
            raise BadInput(
                f"{path} holds no conversation: {exc}.",
                "Give a file that Conversation.save wrote.",
            ) from exc
        return tree

    def _parts(self) -> tuple[str, list[Table], str]:
        live = {turn.id for head in self.heads.values() for turn in self.path(head)}
        rows: list[list[object]] = []
        for place, turn in self._walk():
            ends = [name for name, end in self.heads.items() if end == turn.id]
            how = "summed up" if turn.summary else "left out"
            remarks = [
                *(f"\u2190\u00a0{name}" for name in ends),
                "" if turn.state == "whole" else turn.state,
                "" if turn.id in live or turn.state == "failed" else "set aside",
                f"{turn.left_out} {how}" if turn.left_out else "",
            ]
            said = [_text(turn.asked[-1]), _text(turn.answer)]
            note = ", ".join(remark for remark in remarks if remark)
            rows.append([place, *said, spent([turn]), note])
        turns = Table(["turn", "question", "answer", "took", ""], rows, (3,))
        rows = []
        for name in [*self.branches, None]:
            own = [turn for turn in self.turns if name in (turn.branch, None)]
            mark = " (this one)" if name == self.current else ""
            rows.append([f"{name or 'all'}{mark}", len(own), spent(own)])
        branches = Table(["branch", "turns asked", "took"], rows, (1, 2))
        sources = dict.fromkeys(turn.source for turn in self.turns if turn.source)
        return "", [turns, branches], "; ".join(sources)

    def _walk(self) -> Iterator[tuple[str, Turn]]:
        """Yield the turns depth first; only where ways part does the indent grow."""
        after = Counter(turn.parent for turn in self.turns)
        for way in sorted([t.id for t in self.path(turn.id)] for turn in self.turns):
            parted = [after[number] > 1 for number in way[:-1]]
            mark = "\u2514" if parted[-1:] == [True] else "\u00a0" * any(parted)
            place = "\u00a0\u00a0" * sum(parted) + f"{mark}{way[-1] + 1}"
            yield place, self.turns[way[-1]]


class _Function(msgspec.Struct):
    name: str
    arguments: str = ""


class _Call(msgspec.Struct):
    id: str
    function: _Function


class _Message(msgspec.Struct):
    """What every message of a file must be, whatever else it has."""

    role: str
    content: str | list[Any] | None = None
    tool_calls: list[_Call] | None = None
    tool_call_id: str | None = None


def _saved(params: dict[str, Any]) -> dict[str, Any]:
    try:
        kept = {name: plain(value, name) for name, value in params.items()}
    except BadInput as exc:
        raise BadInput(
            f"A parameter cannot be saved as JSON: {exc.what}",
            "Give it to say() with each question instead.",
        ) from exc
    return dict(stripped(kept))  # stars would be sent as a key


def _text(message: dict[str, Any]) -> html.Cell | str:
    content = message.get("content") or ""
    if isinstance(content, list):
        content = " ".join(_shown(part) for part in content)
    if not content and message.get("tool_calls"):
        names = [call["function"]["name"] for call in message["tool_calls"]]
        content = f"calls {', '.join(names)}"
    return html.opening(html.clean(str(content)), 48)


def _shown(part: Any) -> str:
    if isinstance(part, dict) and "text" in part:
        return str(part["text"])
    return part if isinstance(part, str) else f"[{kind_of(part)}]"
