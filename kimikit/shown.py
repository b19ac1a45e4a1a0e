"""Results with one content in two forms, plain text and HTML."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from kimikit import html


class Table(NamedTuple):
    """A table of plain values and ``html.Cell``s.

    Attributes:
        columns: The heads.
        rows: The cells.
        numeric: Indexes of columns to align right.
        caption: The line below.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[object]]
    numeric: Sequence[int] = ()
    caption: str = ""

    @property
    def text(self) -> str:
        """The table and its caption as plain text; no heads over no rows."""
        grid = [html.text_table(self.columns, self.rows)] if self.rows else []
        return "\n".join([*grid, self.caption]).strip("\n")

    @property
    def rich(self) -> str:
        """The same as finished HTML."""
        return html.table(
            self.columns, self.rows, caption=self.caption, numeric=self.numeric
        )


Section = Table | html.Cell
"""What stands below another in a result."""


class Shown:
    """A result that is shown as a text, some tables and a foot."""

    __slots__ = ()

    def _parts(self) -> tuple[str, Sequence[Section], str]:
        raise NotImplementedError

    def __str__(self) -> str:
        text, tables, foot = self._parts()
        blocks = [html.clean(text)] if text else []
        blocks += [table.text for table in tables if table.text]
        # All of it is cleaned once more: a foot holds names that a host chose.
        return html.clean("\n\n".join([*blocks, foot]).strip("\n"))

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        text, tables, foot = self._parts()
        blocks = [html.pre(text)] if text else []
        blocks += [table.rich for table in tables]
        return html.wrap(*blocks, html.footer(foot) if foot else "")

    def beside(self) -> tuple[str, str]:
        """Return its tables alone, as text and as finished HTML."""
        _, tables, _ = self._parts()
        text = "\n\n".join(table.text for table in tables if table.text)
        return html.clean(text), "".join(table.rich for table in tables)
