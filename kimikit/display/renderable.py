"""Show one content in several forms: as text, as HTML and as Markdown."""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, TypeVar

from kimikit import html

T = TypeVar("T")


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

    @property
    def markdown(self) -> str:
        """The same as Markdown, inert: every mark in a cell is written as a number."""
        aligned = ["--:" if i in self.numeric else "---" for i in range(len(self[0]))]
        shown = self.rows[: html.ROWS_KEPT]
        lines = [[html.in_line(html.cut(str(c))) for c in row] for row in shown]
        heads = [html.in_line(head) or " " for head in self.columns]
        grid = [f"| {' | '.join(line)} |" for line in (heads, aligned, *lines)]
        notes = filter(None, [self.caption, html.left_out(self.rows)[2:]])
        below = [html.in_line(note) for note in notes]
        return "\n\n".join([*(["\n".join(grid)] if self.rows else []), *below])


Section = Table | html.Cell
"""What stands below another in a result."""


class Renderable:
    """A result that is shown as an answer, some sections and a footer.

    ``_parts`` returns these three; an answer is a model's Markdown. All forms are made
    of them here.
    """

    __slots__ = ()

    @abstractmethod  # for mypy: ABCMeta is at odds with a Struct's own metaclass
    def _parts(self) -> tuple[str, Sequence[Section], str]:
        """Return the answer, the sections and the footer."""

    def _plain(self) -> str:
        """Return the whole as plain text."""
        text, sections, foot = self._parts()
        blocks = [html.clean(text)] if text else []
        blocks += [each.text for each in sections if each.text]
        # All of it is cleaned once more: a foot holds names that a host chose.
        return html.clean("\n\n".join([*blocks, foot]).strip("\n"))

    def __str__(self) -> str:
        return self._plain()

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        text, sections, foot = self._parts()
        blocks = [_answer(text)] if text else []
        blocks += [each.rich for each in sections]
        return html.wrap(*blocks, html.footer(foot) if foot else "")

    def _repr_mimebundle_(
        self,
        include: Any = None,
        exclude: Any = None,
    ) -> dict[str, Any]:
        return {"text/plain": self._plain(), "text/html": self._repr_html_()}

    def to_markdown(self) -> str:
        """Return the whole as Markdown that shows the same everywhere."""
        from kimikit.markdown import safe

        text, sections, foot = self._parts()
        blocks = [safe(text)] if text else []
        for each in sections:
            text = each.text if isinstance(each, html.Cell) else ""
            lines = (html.in_line(line) for line in text.split("\n"))
            blocks.append(
                each.markdown if isinstance(each, Table) else "\\\n".join(lines)
            )
        return "\n\n".join(filter(None, [*blocks, html.in_line(foot)]))

    def beside(self) -> tuple[str, str]:
        """Return its sections alone, as text and as finished HTML."""
        _, sections, _ = self._parts()
        text = "\n\n".join(each.text for each in sections if each.text)
        return html.clean(text), "".join(each.rich for each in sections)


def by_label(items: Iterable[tuple[str, T]]) -> dict[str, T]:
    """Return items by their labels, the second of a label as ``label (2)``."""
    out: dict[str, T] = {}
    often: Counter[str] = Counter()
    for label, item in items:
        unique = label
        while unique in out:
            often[label] += 1
            unique = f"{label} ({often[label] + 1})"
        out[unique] = item
    return out


def _answer(text: str) -> str:
    # The parser takes 70 ms to import.
    from kimikit.markdown import as_html

    return as_html(text)


def call_text(name: str, arguments: str) -> str:
    """Return a tool call as one would write it, also while its JSON is unfinished."""
    import jiter

    try:
        value: Any = jiter.from_json(
            arguments.encode() or b"{}", partial_mode="trailing-strings"
        )
    except ValueError:
        value = None
    if not isinstance(value, dict):
        return f"{name}({arguments})"
    pairs = [f"{key}={item!r}" for key, item in value.items()]
    line = f"{name}({', '.join(pairs)})"
    if len(line) <= 88:
        return line
    return "\n".join([f"{name}(", *(f"    {pair}," for pair in pairs), ")"])
