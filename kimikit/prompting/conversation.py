"""Hold a conversation that can be edited, undone, forked, saved and priced."""

from __future__ import annotations

import contextlib
import copy
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, Unpack

from msgspec.structs import replace

from kimikit import html
from kimikit.display.footer import source, spent, total_cost, total_usage
from kimikit.errors import BadInput, ContextTooLong, KimiError, nearest
from kimikit.json_values import is_count, short
from kimikit.params import OF_A_VIEW, SayParams, TalkParams, takes_chat_params
from kimikit.prompting.history import (
    Count,
    as_messages,
    changed,
    check_options,
    estimate_tokens,
    is_text,
    legal,
    size,
    with_picture,
)
from kimikit.prompting.tree import Branch, State, Tree, Turn
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


class Conversation:
    """A dialogue whose every turn stays, also when it is edited or undone.

    Args:
        client: Anything with ``chat``.
        system: The system message.
        context: Window in tokens; without it, what the client's host says of its model.
        overflow: What to do when the window fills: ``trim`` leaves the oldest turns
            out, ``summarise`` has the model sum them up. Either way a note says so.
        count: Counts tokens; without it they are estimated.
        **params: Sent with every question, such as ``temperature``.

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

    @takes_chat_params(also=OF_A_VIEW)
    def __init__(
        self,
        client: ChatClient,
        *,
        system: str | None = None,
        context: int | None = None,
        overflow: Literal["trim", "summarise"] = "trim",
        count: Count | None = None,
        **params: Unpack[TalkParams],
    ) -> None:
        if overflow not in ("trim", "summarise"):
            raise BadInput(
                f"overflow={overflow!r} is not known.", "Give 'trim' or 'summarise'."
            )
        check_options(system, context, count)
        self.name = "main"
        self.overflow = overflow
        self._client = client
        self._count = count or estimate_tokens
        self._context = context
        self._book = Tree(turns=[], branches={"main": Branch(system, {**params})})

    @takes_chat_params(also=OF_A_VIEW)
    def say(
        self, messages: Any, *, file: Any = None, **params: Unpack[SayParams]
    ) -> Reply:
        """Ask the next question and return its answer.

        A stopped answer with text becomes part of the history. One that failed does
        not: it is shown and priced in ``tree()``, and the same question can be asked
        again.

        Args:
            messages: A text, or messages such as the results of tool calls.
            file: Files to ask about, as for ``Kimi.chat``; they stay in the history.
            **params: For this question alone; pictures given as ``image`` stay in the
                history.

        Returns:
            The answer; its notes tell what was left out to fit the window.
        """
        if file is not None:
            attach = getattr(self._client, "_with_files", None)
            if attach is None:
                raise BadInput(
                    f"A {type(self._client).__name__} takes no file=.",
                    "Begin the conversation with kimi.conversation().",
                )
            messages = attach(messages, file, params.get("model"))
        return self._ask(as_messages(messages), self._branch.head, {**params})

    @takes_chat_params(also=OF_A_VIEW)
    def edit(self, index: int, text: str, **params: Unpack[SayParams]) -> Reply | None:
        """Change a message and go on from there; what followed stays in ``tree()``.

        Its pictures and other parts stay, unless ``image`` gives others.

        Args:
            index: Position in ``messages``; negative ones count from the end.
            text: What it shall say.
            **params: For the question, where one is asked.

        Returns:
            The new answer after a question was changed; ``None`` after a changed
            answer or system message, where nothing is asked.
        """
        places: list[tuple[Turn | None, int]] = [(None, 0)] if self.system else []
        for one in self._path():
            places += [(one, i) for i in range(len(one.messages))]
        kept = list(legal(self._all(Turn(parent=self._branch.head))))
        try:
            turn, position = places[kept[index]]
        except (IndexError, TypeError) as exc:
            raise BadInput(
                f"There is no message {short(index)}; the history has {len(kept)}.",
                "See .messages for them all.",
            ) from exc
        if not isinstance(text, str | list):
            raise BadInput(f"text is {short(text)}.", "Give what it shall say.")
        if turn is None:
            self._change(system=text)
            return None
        if position == len(turn.asked):
            said = changed(turn.answer.get("content"), text)
            answer = {"role": "assistant", "content": said}
            free = replace(turn, usage=Usage(), cost=Decimal(0), notes=())
            self._add(free, answer=answer, state="edited")
            return None
        asked = [dict(message) for message in turn.asked]
        before = asked[position].get("content")
        if params.get("image") is not None and isinstance(before, list):
            before = [part for part in before if is_text(part)]
        asked[position]["content"] = changed(before, text)
        return self._ask(asked, turn.parent, {**params})

    def fork(self, name: str | None = None) -> Conversation:
        """Return a second conversation that goes on from here on its own.

        Both share one ``tree()`` and are saved together.
        """
        branches = self._book.branches
        name = name or f"branch {len(branches) + 1}"
        if not isinstance(name, str) or name in branches:
            said = "There is a branch" if isinstance(name, str) else "No name is"
            raise BadInput(f"{said} {short(name)}.", "Give another name, a text.")
        branches[name] = self._branch
        return self.branch(name)

    def branch(self, name: str) -> Conversation:
        """Return the branch with this name, to go on there."""
        names = list(self._book.branches)
        if name not in names:
            raise BadInput(
                f"There is no branch {short(name)}.{nearest(str(name), names)}",
                f"There are: {', '.join(html.one_line(each, 80) for each in names)}.",
            )
        twin = copy.copy(self)
        twin.name = name
        return twin

    def undo(self, turns: int = 1) -> None:
        """Take back the last question with its answer; ``tree()`` still has them."""
        path = self._path()
        if not is_count(turns) or turns > len(path):
            raise BadInput(
                f"{short(turns)} turns cannot be undone; this branch has {len(path)}.",
                "Give a number from 1 to that.",
            )
        self._change(head=path[-turns].parent)

    @property
    def system(self) -> str | None:
        """The system message of this branch."""
        return self._branch.system

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The whole history of this branch, as a host would be sent it."""
        return copy.deepcopy(self._sent(Turn(parent=self._branch.head)))

    @property
    def usage(self) -> Usage:
        """Tokens of all that was asked on this branch since it began, undone too."""
        return total_usage(self._own())

    @property
    def cost(self) -> Decimal | None:
        """US dollars of the same turns; ``None`` when one is unpriced."""
        return total_cost(self._own())

    def tree(self) -> Tree:
        """Return all turns of all branches with what each cost."""
        turns, branches = list(self._book.turns), dict(self._book.branches)
        return Tree(turns=turns, branches=branches, current=self.name)

    def save(self, path: str | Path) -> None:
        """Write all branches as JSON; a file that is there is replaced whole.

        It holds no secrets: parameters with one, such as a header's, are left out and
        have to be passed again, and a key in use is cut out of what was said.
        """
        self.tree().write(path)

    @classmethod
    def load(cls, path: str | Path, client: ChatClient, **options: Any) -> Conversation:
        """Return a saved conversation on the branch it was saved from.

        Args:
            path: A file that ``save`` wrote.
            client: Anything with ``chat``.
            options: ``context``, ``overflow`` and ``count`` as for a new one.
        """
        talk = cls(client, **options)
        book = Tree.read(path)
        talk._book = book
        return talk.branch(book.current)

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise BadInput(
            "A conversation holds its client, which is not pickled.",
            "Use save(path), and Conversation.load(path, client) where it goes on.",
        )

    def __deepcopy__(self, memo: dict[int, Any]) -> Conversation:
        """Return a conversation with turns of its own and the same client."""
        twin = copy.copy(self)
        twin._book = copy.deepcopy(self._book, memo)
        return twin

    def __copy__(self) -> Conversation:
        twin = object.__new__(type(self))
        twin.__dict__.update(self.__dict__)
        return twin

    def __repr__(self) -> str:
        n = len(self._path())
        own = self._own()
        sources = dict.fromkeys(turn.source for turn in own)
        title, turns = f"Conversation {self.name}", html.many(n, "turn")
        return html.footer_line([title, turns, *sources, spent(own)])

    def _repr_html_(self) -> str:
        return self.tree()._repr_html_()

    @property
    def _branch(self) -> Branch:
        return self._book.branches[self.name]

    def _change(self, **changes: Any) -> None:
        self._book.branches[self.name] = replace(self._branch, **changes)

    def _own(self) -> list[Turn]:
        return [turn for turn in self._book.turns if turn.branch == self.name]

    def _path(self) -> list[Turn]:
        return self._book.path(self._branch.head)

    def _ask(
        self, asked: list[dict[str, Any]], parent: int | None, params: dict[str, Any]
    ) -> Reply:
        """Ask after a turn; only an answer that may be gone on from moves the head."""
        params = {**self._branch.params, **params}
        asked = with_picture(asked, params.pop("image", None))
        last = Turn() if parent is None else self._book.turns[parent]
        turn = Turn(parent=parent, asked=copy.deepcopy(asked), cost=Decimal(0))
        turn = replace(turn, left_out=last.left_out, summary=last.summary)
        turn = self._fit(turn, params)
        while True:
            sent = self._sent(turn)
            try:
                reply = self._client.chat(sent, **params)
                break
            except ContextTooLong:
                # Our count was too low or the window unknown: learn from the refusal.
                self._context = int(size(sent, self._count) * TRIMMED)
                before, turn = turn, self._fit(turn, params)
                if turn.left_out == before.left_out:
                    raise
            except KimiError as exc:
                if partial := getattr(exc, "reply", None):
                    self._record(turn, partial, "failed")
                raise
        if turn.notes and params.get("show") is not False:
            with contextlib.suppress(Exception):  # the view of the answer is closed
                print(*map(html.clean, turn.notes))  # noqa: T201
        reply = replace(reply, notes=(*reply.notes, *turn.notes))
        self._record(turn, reply, _ending(reply))
        return reply

    def _record(self, turn: Turn, reply: Reply, state: State) -> None:
        answer = {"role": "assistant", "content": reply.text}
        self._add(
            turn,
            answer=reply.message if state == "whole" else answer,
            state=state,
            source=source(reply),
            usage=total_usage([turn, reply]),
            cost=total_cost([turn, reply]),
            notes=reply.notes,
        )

    def _add(self, turn: Turn, **changes: Any) -> None:
        number = len(self._book.turns)
        added = replace(turn, id=number, branch=self.name, **changes)
        self._book.turns.append(added)
        if added.state != "failed":
            self._change(head=number)

    def _sent(self, turn: Turn) -> list[dict[str, Any]]:
        return list(legal(self._all(turn)).values())

    def _all(self, turn: Turn) -> list[dict[str, Any]]:
        """Return system message, summary, the turns inside the window, the question."""
        out = [{"role": "system", "content": self.system}] if self.system else []
        if turn.summary:
            summary = f"Summary of our conversation so far: {turn.summary}"
            out.append({"role": "user", "content": summary})
        for one in self._book.path(turn.parent)[turn.left_out :]:
            out += one.messages
        return [*out, *turn.asked]

    def _window(self, params: dict[str, Any]) -> int:
        """Return the tokens of the model's window, 0 if unknown."""
        host = getattr(self._client, "host", None)
        model = params.get("model") or getattr(host, "model", "")
        known = [m.context for m in getattr(host, "models", ()) if m.id == model]
        return self._context or next(iter(known), 0)

    def _fit(self, turn: Turn, params: dict[str, Any]) -> Turn:
        """Leave out the oldest turns, or sum them up, so that question and answer fit.

        What is left out stays out for the turns that follow.
        """
        context = self._window(params)
        room = max(context - (params.get("max_tokens") or ANSWER_ROOM), context // 2)
        needed = size(self._sent(turn), self._count)
        if not context or needed <= room:
            return turn
        path, left_out = self._book.path(turn.parent), turn.left_out
        while left_out < len(path) and needed > room * TRIMMED:
            needed -= size(path[left_out].messages, self._count)
            left_out += 1
        if left_out == turn.left_out:
            return turn
        many = left_out > 1
        turns = f"the oldest {left_out} turns were" if many else "the oldest turn was"
        why = f"The window of {context:,} tokens is full: {turns}"
        cut = replace(turn, left_out=left_out, notes=(f"{why} left out.",))
        if self.overflow == "trim":
            return cut
        ask = [{"role": "user", "content": SUMMARISE}]
        old = replace(turn, asked=ask, parent=path[left_out - 1].id)
        kept = {"model", "temperature", "show"} & params.keys()
        how = {name: params[name] for name in kept}
        reply = self._client.chat(self._sent(old), **how)
        usage, cost = total_usage([turn, reply]), total_cost([turn, reply])
        cut = replace(cut, usage=usage, cost=cost)
        if not reply.text or reply.partial:
            return cut
        note = f"{why} summed up ({spent([reply])})."
        return replace(cut, summary=reply.text, notes=(note,))


def _ending(reply: Reply) -> State:
    whole = not (reply.partial or reply.truncated)
    if not (reply.text or (whole and reply.tool_calls)):
        return "failed"
    return "whole" if whole else "stopped" if reply.partial else "cut off"
