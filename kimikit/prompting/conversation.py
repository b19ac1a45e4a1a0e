"""A conversation that can be edited, undone, forked, saved and priced."""

from __future__ import annotations

import copy
import os
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import msgspec

from kimikit.errors import BadInput, ContextTooLong, KimiError, nearest
from kimikit.prompting.history import Count, as_messages, estimate_tokens, legal, size
from kimikit.prompting.totals import spent, total_cost, total_usage, where
from kimikit.prompting.tree import State, Tree, Turn
from kimikit.types import ChatClient, Reply, Usage

ANSWER_ROOM = 1024
"""Tokens kept free for an answer when no ``max_tokens`` is given."""

TRIMMED = 0.75
"""How full a window is after turns were left out. The gap spares the host's prefix
cache, which a history cut anew each turn never matches."""

SUMMARISE = (
    "Summarise the conversation above for someone who continues it: what was asked, "
    "what was settled, names, numbers and open questions. At most 200 words."
)


class _Window(msgspec.Struct):
    """What stands for the beginning of a history, and the replies that summed it up."""

    left_out: int = 0
    summary: str = ""
    note: str = ""
    replies: tuple[Reply, ...] = ()


class _Branch(msgspec.Struct):
    system: str | None
    params: dict[str, Any]
    head: int | None = None


class _Book(msgspec.Struct):
    """All turns of a conversation and the branches that lead to them."""

    turns: list[Turn]
    branches: dict[str, _Branch]
    current: str = "main"
    kimikit_conversation: Literal[1] = 1


class Conversation:
    """A dialogue whose every turn stays, also when it is edited or undone.

    Args:
        client: Anything with ``chat``.
        system: The system message.
        context: Window in tokens; without it, what the client's host says of its model.
        overflow: What to do when the window fills: ``trim`` leaves the oldest turns
            out, ``summarise`` has the model sum them up. Either way a note says so.
        count: Counts tokens; without it they are estimated.
        params: Sent with every question, such as ``temperature``.

    Example:
        >>> talk = Conversation(client)
        >>> talk.say("What is the capital of Germany?").text
        'The capital of Germany is Berlin.'
        >>> other = talk.fork("other")
        >>> other.say("And of France?").text
        'The capital of France is Paris.'
        >>> len(talk.messages), len(other.messages)
        (2, 4)
    """

    def __init__(
        self,
        client: ChatClient,
        *,
        system: str | None = None,
        context: int | None = None,
        overflow: Literal["trim", "summarise"] = "trim",
        count: Count | None = None,
        **params: Any,
    ) -> None:
        if overflow not in ("trim", "summarise"):
            raise BadInput(
                f"overflow={overflow!r} is not known.", "Give 'trim' or 'summarise'."
            )
        self.name = "main"
        self.overflow = overflow
        self._client = client
        self._count = count or estimate_tokens
        self._context = context
        self._book = _Book([], {"main": _Branch(system, params)})

    def say(self, messages: Any, **params: Any) -> Reply:
        """Ask the next question and return its answer.

        A stopped answer with text becomes part of the history. One that failed does
        not: it is shown and priced in ``tree()``, and the same question can be asked
        again.

        Args:
            messages: A text, or messages such as the results of tool calls.
            params: For this question alone.

        Returns:
            The answer; its notes tell what was left out to fit the window.
        """
        asked = as_messages(messages)
        params = {**self._branch.params, **params}
        window = self._window(asked, params)
        while True:
            sent = self._sent(window, asked)
            try:
                reply = self._client.chat(sent, **params)
                break
            except ContextTooLong:
                # Our count was too low or the window unknown: learn from the refusal.
                self._context = int(size(sent, self._count) * TRIMMED)
                before, window = window, self._window(asked, params)
                window.replies = (*before.replies, *window.replies)
                if window.left_out == before.left_out:
                    raise
            except KimiError as exc:
                if partial := getattr(exc, "reply", None):
                    self._record(asked, partial, window, "failed")
                raise
        if window.note:
            reply = msgspec.structs.replace(reply, notes=(*reply.notes, window.note))
            if params.get("show") is not False:
                print(window.note)  # noqa: T201 - the view of the answer is closed
        ended: State = "cut off" if reply.truncated else "whole"
        self._record(asked, reply, window, "stopped" if reply.partial else ended)
        return reply

    def edit(self, index: int, text: str, **params: Any) -> Reply | None:
        """Change a message and go on from there; what followed stays in ``tree()``.

        Args:
            index: Position in ``messages``; negative ones count from the end.
            text: What it shall say.
            params: For the question, where one is asked.

        Returns:
            The new answer after a question was changed; ``None`` after a changed
            answer or system message, where nothing is asked.
        """
        places: list[tuple[Turn | None, int]] = [(None, 0)] if self.system else []
        for one in self._path():
            places += [(one, i) for i in range(len(one.asked) + 1)]
        kept = legal(self._all(_Window()))
        places = [p for p, m in zip(places, kept, strict=True) if m is not None]
        try:
            turn, position = places[index]
        except IndexError as exc:
            raise BadInput(
                f"There is no message {index}; the history has {len(places)}.",
                "See .messages for them all.",
            ) from exc
        if turn is None:
            self._branch.system = text
            return None
        if position == len(turn.asked):
            answer = {"role": "assistant", "content": text}
            free = {"usage": Usage(), "cost": Decimal(0), "state": "edited"}
            self._add(msgspec.structs.replace(turn, answer=answer, notes=(), **free))
            return None
        asked = [dict(message) for message in turn.asked]
        asked[position]["content"] = text
        before, self._branch.head = self._branch.head, turn.parent
        try:
            return self.say(asked, **params)
        finally:
            if self._branch.head == turn.parent:
                self._branch.head = before

    def fork(self, name: str | None = None) -> Conversation:
        """Return a second conversation that goes on from here on its own.

        Both share one ``tree()`` and are saved together.
        """
        branches = self._book.branches
        name = name or f"branch {len(branches) + 1}"
        if name in branches:
            raise BadInput(f"There is a branch {name!r}.", "Give it another name.")
        branches[name] = copy.deepcopy(self._branch)
        return self.branch(name)

    def branch(self, name: str) -> Conversation:
        """Return the branch with this name, to go on there."""
        if name not in self._book.branches:
            names = list(self._book.branches)
            raise BadInput(
                f"There is no branch {name!r}.{nearest(name, names)}",
                f"There are: {', '.join(names)}.",
            )
        twin = copy.copy(self)
        twin.name = name
        return twin

    def undo(self, turns: int = 1) -> None:
        """Take back the last question with its answer; ``tree()`` still has them."""
        path = self._path()
        if not 1 <= turns <= len(path):
            raise BadInput(
                f"{turns} turns cannot be undone; this branch has {len(path)}.",
                "Give a number from 1 to that.",
            )
        self._branch.head = path[-turns].parent

    @property
    def system(self) -> str | None:
        """The system message of this branch."""
        return self._branch.system

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The whole history of this branch, as a host would be sent it."""
        return copy.deepcopy(self._sent(_Window(), []))

    @property
    def usage(self) -> Usage:
        """Tokens of all that was asked on this branch since it began, undone too."""
        return total_usage(self._own())

    @property
    def cost(self) -> Decimal | None:
        """Dollars for the same; ``None`` when a turn is unpriced."""
        return total_cost(self._own())

    def tree(self) -> Tree:
        """Return all turns of all branches with what each cost."""
        heads = {name: branch.head for name, branch in self._book.branches.items()}
        return Tree(turns=tuple(self._book.turns), heads=heads, current=self.name)

    def save(self, path: str | Path) -> None:
        """Write all branches as JSON; a file that is there is replaced whole."""
        self._book.current = self.name
        target = Path(path)
        half = target.with_name(f".{target.name}.{os.getpid()}")
        data = msgspec.json.encode(self._book, enc_hook=_unsaveable)
        half.write_bytes(msgspec.json.format(data, indent=1))
        half.replace(target)

    @classmethod
    def load(cls, path: str | Path, client: ChatClient, **options: Any) -> Conversation:
        """Return a saved conversation on the branch it was saved from.

        Args:
            path: A file that ``save`` wrote.
            client: Anything with ``chat``.
            options: ``context``, ``overflow`` and ``count`` as for a new one.
        """
        talk = cls(client, **options)
        try:
            book = msgspec.json.decode(Path(path).read_bytes(), type=_Book)
            ends = [branch.head for branch in book.branches.values()]
            links = [
                *((t.parent, i) for i, t in enumerate(book.turns)),
                *((end, len(book.turns)) for end in ends),
            ]
            if any(link is not None and not 0 <= link < end for link, end in links):
                raise ValueError("its turns do not follow from each other")
        except (OSError, ValueError) as exc:
            raise BadInput(
                f"{path} holds no conversation: {exc}.",
                "Give a file that Conversation.save wrote.",
            ) from exc
        talk._book = book
        return talk.branch(book.current)

    def __repr__(self) -> str:
        n = len(self._path())
        turns = f"{n} turn{'s' * (n != 1)}"
        return f"Conversation {self.name} \u00b7 {turns} \u00b7 {spent(self._own())}"

    def _repr_html_(self) -> str:
        return self.tree()._repr_html_()

    @property
    def _branch(self) -> _Branch:
        return self._book.branches[self.name]

    def _own(self) -> list[Turn]:
        return [turn for turn in self._book.turns if turn.branch == self.name]

    def _path(self) -> list[Turn]:
        path, head = [], self._branch.head
        while head is not None:
            path.append(self._book.turns[head])
            head = path[-1].parent
        return path[::-1]

    def _add(self, turn: Turn) -> None:
        number = len(self._book.turns)
        self._book.turns.append(
            msgspec.structs.replace(turn, id=number, branch=self.name)
        )
        if turn.state != "failed":
            self._branch.head = number

    def _sent(
        self, window: _Window, asked: list[dict[str, Any]], until: int | None = None
    ) -> list[dict[str, Any]]:
        """Return the messages to send with a question."""
        every = legal([*self._all(window, until), *asked])
        return [message for message in every if message is not None]

    def _all(self, window: _Window, until: int | None = None) -> list[dict[str, Any]]:
        """Return system message, summary and the turns inside the window."""
        out = [{"role": "system", "content": self.system}] if self.system else []
        if window.summary:
            summary = f"Summary of our conversation so far: {window.summary}"
            out.append({"role": "user", "content": summary})
        for turn in self._path()[window.left_out : until]:
            out += [*turn.asked, turn.answer]
        return out

    def _window(self, asked: list[dict[str, Any]], params: dict[str, Any]) -> _Window:
        """Return which turns to leave out so that the question and answer fit."""
        path = self._path()
        last = path[-1] if path else Turn()
        window = _Window(last.left_out, last.summary)
        host = getattr(self._client, "host", None)
        model = params.get("model") or getattr(host, "model", "")
        known = [m.context for m in getattr(host, "models", ()) if m.id == model]
        context = self._context or next(iter(known), 0)
        limit = max(
            context - (params.get("max_tokens") or ANSWER_ROOM), int(context * 0.5)
        )
        needed = size(self._sent(window, asked), self._count)
        if not context or needed <= limit:
            return window
        left_out = window.left_out
        while left_out < len(path) and needed > limit * TRIMMED:
            turn = path[left_out]
            needed -= size([*turn.asked, turn.answer], self._count)
            left_out += 1
        if left_out == window.left_out:
            return window
        return self._cut(window, left_out, f"The window of {context:,} tokens is full")

    def _cut(self, window: _Window, left_out: int, why: str) -> _Window:
        many = left_out > 1
        turns = f"the oldest {left_out} turns were" if many else "the oldest turn was"
        cut = _Window(left_out, window.summary, f"{why}: {turns} left out.")
        if self.overflow == "summarise":
            ask = [{"role": "user", "content": SUMMARISE}]
            kept = {"model", "temperature", "show"} & self._branch.params.keys()
            reply = self._client.chat(
                self._sent(window, ask, until=left_out),
                **{name: self._branch.params[name] for name in kept},
            )
            cut.replies = (reply,)
            if reply.text and not reply.partial:
                cut.summary = reply.text
                cut.note = f"{why}: {turns} summed up ({spent([reply])})."
        return cut

    def _record(
        self,
        asked: list[dict[str, Any]],
        reply: Reply,
        window: _Window,
        state: State,
    ) -> None:
        whole = state == "whole"
        if not reply.text and not (whole and reply.tool_calls):
            state = "failed"
        answer = {"role": "assistant", "content": reply.text}
        replies = [reply, *window.replies]
        self._add(
            Turn(
                parent=self._branch.head,
                asked=copy.deepcopy(asked),
                answer=reply.message if whole else answer,
                state=state,
                source=where([reply]),
                usage=total_usage(replies),
                cost=total_cost(replies),
                notes=reply.notes,
                left_out=window.left_out,
                summary=window.summary,
            )
        )


def _unsaveable(value: Any) -> Any:
    raise BadInput(
        f"The parameter {value!r} cannot be saved as JSON.",
        "Give it to say() with each question instead.",
    )
