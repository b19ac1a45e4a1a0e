"""Hold what came of many prompts, in their order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, overload

from kimikit import html
from kimikit.display.footer import Paid, footer
from kimikit.display.renderable import Renderable, Table
from kimikit.errors import KimiError
from kimikit.files import pandas
from kimikit.json_values import writable
from kimikit.types import Reply

Item = Reply | KimiError | None
"""An answer, the error that came instead, or ``None`` where nothing was asked."""

SHOWN = 10
"""Answers in the table of a view: as many as one reads."""

WIDTH = 100
"""Characters of a cell of it; it opens to the whole."""


class Results(Paid, Renderable, Sequence[Item]):
    """Answers in the order of their prompts; an error stands in its answer's place.

    Args:
        items: For each prompt what came of it.
        prompts: What was asked.
        rows: The columns of the input for each.
        frame: The pandas frame that they were made of, if one was given.
        name: What the work is called, empty for nothing.
        reused: How many answers had been paid for before.
        stop_reason: ``done``, ``interrupted`` or ``max_cost``.
        notes: What looked odd.
        stand_in: Whether the local stand-in was asked.

    Attributes:
        prompts: The same, as are the others below.

    Example:
        >>> replies = kimi.map(["Name a colour.", "Name a fruit."], progress=False)
        >>> len(replies), len(replies.failed)
        (2, 0)
        >>> [type(reply).__name__ for reply in replies]
        ['Reply', 'Reply']
    """

    def __init__(
        self,
        items: Sequence[Item],
        prompts: Sequence[Any],
        rows: Sequence[dict[str, Any]],
        *,
        frame: Any = None,
        name: str = "",
        reused: int = 0,
        stop_reason: str = "done",
        notes: Sequence[str] = (),
        stand_in: bool = False,
    ) -> None:
        self._items, self._rows, self._frame = items, rows, frame
        self.prompts = prompts
        self.name, self.reused, self.stop_reason = name, reused, stop_reason
        self.notes, self.stand_in = tuple(notes), stand_in

    def __len__(self) -> int:
        return len(self._items)

    @overload
    def __getitem__(self, place: int) -> Item: ...
    @overload
    def __getitem__(self, place: slice) -> Results: ...
    def __getitem__(self, place: int | slice) -> Item | Results:
        """Return what came of a prompt, or of several."""
        if not isinstance(place, slice):
            return self._items[place]
        return Results(
            self._items[place],
            self.prompts[place],
            self._rows[place],
            frame=None if self._frame is None else self._frame.iloc[place],
            name=self.name,
            stop_reason=self.stop_reason,
            notes=self.notes,
            stand_in=self.stand_in,
        )

    @property
    def replies(self) -> list[Reply]:
        """The answers that came."""
        return [item for item in self._items if isinstance(item, Reply)]

    @property
    def texts(self) -> list[str | None]:
        """The text of each answer, ``None`` where none came."""
        return [i.text if isinstance(i, Reply) else None for i in self._items]

    @property
    def parsed(self) -> list[Any]:
        """What ``into=`` made of each answer, ``None`` where there is none."""
        return [i.parsed if isinstance(i, Reply) else None for i in self._items]

    @property
    def failed(self) -> dict[int, KimiError]:
        """The errors, by the positions of their prompts."""
        some = enumerate(self._items)
        return {n: item for n, item in some if isinstance(item, KimiError)}

    @property
    def missing(self) -> list[int]:
        """Positions of prompts that were not asked, or whose answer was stopped."""
        return [place for place, item in enumerate(self._items) if item is None]

    @property
    def _paid(self) -> list[Reply]:
        """All answers that a host may charge for, whole or not."""
        some = (getattr(i, "reply", None) or i for i in self._items)
        return [reply for reply in some if isinstance(reply, Reply)]

    def to_pandas(self) -> Any:
        """Return the input's columns and beside them what came, a row per prompt.

        A column that the input has already gets the prefix ``reply_``.

        Raises:
            MissingDependency: If pandas is not installed.
        """
        pd = pandas()
        if self._frame is not None:
            frame = self._frame.copy()
        else:
            frame = pd.DataFrame(writable(list(self._rows)))
        taken = set(map(str, frame.columns))
        found: dict[str, list[Any]] = {}
        for item in self._items:
            for name, value in _columns(item).items():
                found.setdefault(name, []).append(writable(value))
        if all(value is None for value in found.get("parsed", ())):
            found.pop("parsed", None)
        for name, values in found.items():
            column = name
            while column in taken:
                column = f"reply_{column}"
            taken.add(column)
            kind = None if name in ("cost", "tokens", "seconds") else object
            frame[column] = pd.Series(values, index=frame.index, dtype=kind)
        return frame

    def _parts(self) -> tuple[str, list[Table], str]:
        rows = [
            [place, _cell(self._asked(place)), _cell(_said(item))]
            for place, item in enumerate(self._items[:SHOWN])
        ]
        hidden = len(self) - len(rows)
        table = Table(["", "asked", "answer"], rows, (0,), self._caption(hidden))
        reasons = {"interrupted": "stopped", "max_cost": "stopped at max_cost"}
        before = [reasons.get(self.stop_reason, "")]
        if len(self._paid) == 1:
            before.append("1 answer")
        foot = footer(self._paid, before=before, stand_in=self.stand_in)
        return "", [table], foot

    def _asked(self, place: int) -> str:
        prompt = self.prompts[place]
        if isinstance(prompt, str):
            return prompt
        last = prompt[-1] if isinstance(prompt, list | tuple) and prompt else prompt
        content = last.get("content") if isinstance(last, dict) else last
        return str(getattr(content, "content", content))

    def _caption(self, hidden: int) -> str:
        failed, missing = len(self.failed), len(self.missing)
        return html.footer_line(
            [
                f"n = {len(self):,}",
                f"the first {SHOWN} are shown" if hidden else "",
                f"{failed:,} failed: see .failed" if failed else "",
                f"{missing:,} missing" if missing else "",
                f"{self.reused:,} paid before" if self.reused else "",
                *self.notes,
            ]
        )


def _said(item: Item) -> str:
    if isinstance(item, KimiError):
        return f"{type(item).__name__}: {item.what}"
    if item is None:
        return ""
    if item.parsed is None:
        return item.text
    return str(item.parsed)


def _cell(text: str) -> html.Cell | str:
    return html.opening(text, WIDTH)


def _columns(item: Item) -> dict[str, Any]:
    """Return what a frame has of one answer or error."""
    reply = item if isinstance(item, Reply) else getattr(item, "reply", None)
    error = f"{type(item).__name__}: {item}" if isinstance(item, KimiError) else None
    return {
        "answer": reply.text if reply else None,
        "parsed": reply.parsed if reply else None,
        "error": error,
        "finish_reason": reply.finish_reason if reply else None,
        "model": reply.model if reply else None,
        "cost": None if reply is None or reply.cost is None else float(reply.cost),
        "tokens": reply.usage.completion_tokens if reply else None,
        "seconds": reply.duration_s if reply else None,
    }
