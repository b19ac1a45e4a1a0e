"""Take blind votes on answers that stand side by side, and count them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import ipywidgets as w

from kimikit import html
from kimikit.evals.preferences import Vote, preferences
from kimikit.notebook.controls import button

_HEADS = ("", "votes", "preferred to another")


class Ballot:
    """Asks which answer is best, once for each row of answers.

    Args:
        rows: For each row who answered, in the order in which the answers stand.
        voted: Called with all votes when the last one is given.

    Attributes:
        box: The buttons.
        votes: The vote on each row, as far as they are given.
    """

    def __init__(
        self,
        rows: Sequence[Sequence[str]],
        voted: Callable[[], None],
    ) -> None:
        self.votes: dict[int, Vote] = {}
        self._rows, self._voted = rows, voted
        self.box = w.VBox([self._row(index) for index in range(len(rows))])

    @property
    def open(self) -> bool:
        """Whether a vote is missing."""
        return len(self.votes) < len(self._rows)

    def _row(self, index: int) -> w.HBox:
        first = 1 + sum(map(len, self._rows[:index]))
        names = enumerate(self._rows[index], first)
        given = [(f"Answer {number} is best", name) for number, name in names]
        buttons = [
            button(text, "Vote; the names are shown then", self._vote(index, name))
            for text, name in [*given, ("All are alike", None)]
        ]
        return w.HBox(buttons, layout=w.Layout(flex_flow="row wrap"))

    def _vote(self, index: int, best: str | None) -> Callable[[], None]:
        def vote() -> None:
            if index in self.votes:
                return
            self.votes[index] = Vote(tuple(self._rows[index]), best)
            self.box.children[index].layout.display = "none"
            if not self.open:
                self._voted()

        return vote


def scores(votes: Sequence[Vote], titles: Mapping[str, str]) -> tuple[str, str]:
    """Return what the votes among some say of each, as text and as HTML.

    Args:
        votes: All votes; those among others do not count.
        titles: By who answered, how that is shown.
    """
    counted = [vote for vote in votes if titles.keys() >= {*vote.among}]
    rows = [
        (
            titles[name],
            f"{found.won:g} of {found.votes}",
            html.interval(
                *(f"{share:.0%}" for share in (found.share, found.low, found.high))
            ),
        )
        for name, found in preferences(counted).items()
    ]
    rows.sort(key=lambda row: row[0])  # by the letters of their columns
    many = "1 blind vote" if len(counted) == 1 else f"{len(counted)} blind votes"
    note = f"{many}; Bradley-Terry scores with 95 % intervals"
    table = html.table(_HEADS, rows, caption=note, numeric=(1, 2))
    return f"{html.text_table(_HEADS, rows)}\n{note}", table
