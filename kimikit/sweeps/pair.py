"""Two answers side by side, with what differs marked."""

from __future__ import annotations

from typing import Any

import msgspec

from kimikit import html
from kimikit.display.footer import footer
from kimikit.display.renderable import Renderable, Section
from kimikit.errors import BadInput
from kimikit.sweeps.side_by_side import differing, marked
from kimikit.types import Reply

SHOWN = 20_000
"""Characters of each of the two."""


class Diff(Renderable, msgspec.Struct, frozen=True):
    """Two answers and where they differ.

    Attributes:
        first: One of them.
        second: The other.
    """

    first: Reply
    second: Reply

    @property
    def same(self) -> bool:
        """Whether both say the same, word for word."""
        return self.first.text == self.second.text

    def _parts(self) -> tuple[str, list[Section], str]:
        one, other = (
            html.clean(html.cut(r.text, SHOWN)) for r in (self.first, self.second)
        )
        heads = [_head(reply) or name for name, reply in self._named()]
        if self.same:
            return self.first.text, [], footer(self._asked(), before=["no difference"])
        table = html.table(heads, [[html.Cell("", marked(other, one)),
                                    html.Cell("", marked(one, other))]])  # fmt: skip
        note = "Marked words stand in one answer alone."
        return (
            "",
            [
                html.Cell(differing(one, other), table),
                html.Cell("", html.footer(note)),
            ],
            footer(self._asked()),
        )

    def _named(self) -> list[tuple[str, Reply]]:
        return [("first", self.first), ("second", self.second)]

    def _asked(self) -> list[Reply]:
        return [reply for _, reply in self._named() if reply.created]


def _head(reply: Reply) -> str:
    temperature = reply.request.get("temperature")
    told = "" if temperature is None else f"temperature {temperature}"
    return html.footer_line([reply.host, reply.model, told])


def diff(first: Reply | str, second: Reply | str) -> Diff:
    """Compare two answers word by word.

    Args:
        first: An answer, or a text.
        second: The other.

    Returns:
        A view that lays them side by side and marks what only one of them says; as
        text, ``[-words-]`` stand in the first alone, ``{+words+}`` in the second.

    Raises:
        BadInput: If one is neither.

    Example:
        >>> print(diff("The sky is blue.", "The sky was blue."))
        The sky [-is-]{+was+} blue.
    """
    return Diff(_as_reply(first), _as_reply(second))


def _as_reply(given: Any) -> Reply:
    if isinstance(given, str):
        return Reply(text=given)
    if not isinstance(given, Reply):
        raise BadInput(
            f"diff() was given a {type(given).__name__}.", "Pass replies or texts."
        )
    return given
