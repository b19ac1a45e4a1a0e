"""List the figures of a summary once, for tables, plots and checks.

A new figure has a row here, and is measured in ``metrics``.
"""

from __future__ import annotations

import msgspec


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """How a figure is called and shown.

    Attributes:
        name: In rows of a summary.
        head: In tables, the name with spaces if left out.
        title: Beside a plot, the head if left out.
        digits: After the point.
        share: Whether it lies between 0 and 1; the others are at least 0.
        short: Whether it is in the short table; the fold below has all.
        drawn: Whether that has a bar of it too.
    """

    name: str
    head: str = ""
    title: str = ""
    digits: int = 2
    share: bool = False
    short: bool = False
    drawn: bool = False


_ALL = (
    Figure(
        name="diversity",
        title="Diversity (1 − similarity)",
        share=True,
        short=True,
        drawn=True,
    ),
    Figure(
        name="agreement",
        title="Agreement (modal share)",
        share=True,
        short=True,
        drawn=True,
    ),
    Figure(name="words", title="Length (words)", digits=1, short=True),
    Figure(name="tokens", title="Answer (tokens)", digits=0),
    Figure(name="seconds", digits=1),
    Figure(name="unique_share", share=True),
    Figure(name="exact_match", share=True),
    Figure(name="entropy"),
    Figure(name="distinct_1", head="distinct-1", share=True),
    Figure(name="distinct_2", head="distinct-2", share=True),
    Figure(name="self_bleu", head="self-BLEU", share=True),
    Figure(name="compression_ratio"),
    Figure(name="similarity", share=True),
    Figure(name="semantic_similarity", share=True),
    Figure(name="semantic_entropy"),
    Figure(name="cost_each", title="Cost of 1,000 answers (US dollars)"),
)
FIGURES = {figure.name: figure for figure in _ALL}
"""Our own, by name; a user's metrics are beside them."""

SHARES = frozenset(figure.name for figure in _ALL if figure.share)
"""Names of those that lie between 0 and 1."""

SHORT = tuple(figure.name for figure in _ALL if figure.short)
"""Names of the figures of the short table."""


def figure_named(name: str) -> Figure:
    """Return one of ours, or what a user's metric is taken for."""
    return FIGURES.get(name) or Figure(name=name)
