"""Show answers that are there, and ask for them again."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Unpack

from kimikit.errors import BadInput
from kimikit.params import CompletionParams
from kimikit.session.connection import Session
from kimikit.types import Reply
from kimikit.types.sent import Sent

if TYPE_CHECKING:
    from kimikit.markdown.fences import Code
    from kimikit.notebook.screen import View


class Answers(Session):
    """The verbs that begin with an answer."""

    _images: bool

    def _ask_again(
        self,
        asked: Any,
        *,
        of: Sent,
        join: Callable[[Reply], Reply] | None = None,
        show: bool | None = None,
        **params: Unpack[CompletionParams],
    ) -> Reply:
        """Ask as another answer of this host was asked; see ``reply.continue_``.

        Args:
            asked: Messages, or the text to complete.
            of: How the other answer was asked.
            join: Makes what is shown and returned out of the new answer.
            show: ``True`` or ``False`` forces or forbids the display.
            **params: The parameters, all of them.
        """
        if of.endpoint == "complete":
            return self.client._ask_again(asked, of=of, join=join, **params)
        with self._view(show) as view:
            given: dict[str, Any] = {**params}
            reply = self.client.chat(asked, watch=view, **given)
            reply = join(reply) if join else reply
            view.finish(reply)
        return reply

    def to_cell(self, answer: Reply | Code | str) -> None:
        r"""Put the code of an answer into the next cell, to be read and then run.

        Args:
            answer: An answer, whose Python is taken, or one block of ``reply.code``.

        Raises:
            BadInput: If there is no code, or no notebook.

        Example:
            >>> reply = Reply(text="~~~python\nprint(6 * 7)\n~~~")
            >>> kimi.to_cell(reply)  # a notebook has its next cell filled
            Traceback (most recent call last):
            kimikit.errors.BadInput: There is no notebook and no IPython here. ...
        """
        from kimikit.notebook.next_cell import fill

        fill(answer)

    def _view(self, show: bool | None) -> View:  # noqa: FBT001 - as in chat(show=)
        from kimikit.notebook.stream_view import answer_view

        costs = self.ledger
        return answer_view(
            self._show if show is None else show,
            total=lambda: costs.session_total(costs.session).known_text,
            at_most=lambda _: costs.calls(1, session=costs.session)[0].at_most,
            images=self._images,
        )


def refuse_many(messages: Any) -> None:
    """Refuse a list of texts, which would be asked as the turns of one user."""
    several = isinstance(messages, list | tuple) and len(messages) > 1
    if several and all(isinstance(each, str) for each in messages):
        raise BadInput(
            f"These are {len(messages)} texts, and chat asks one question.",
            "kimi.map(texts) asks each by itself; for one conversation give messages, "
            "such as {'role': 'user', 'content': ...}.",
        )
