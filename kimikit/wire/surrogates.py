"""Join characters that a gateway cut in two, half in each of two chunks.

JavaScript and Java count in units of 16 bits, and cut an emoji in its middle.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from kimikit.wire.coerce import mend

_Path = tuple[int | str, ...]


class Halves:
    """First halves that wait for the next text at their place; false if there is none.

    Deltas repeat their shape, so that a place is known by its keys, an entry of a list
    by its ``index``. Tokens of ``logprobs`` follow one another at one place. Other
    halves become U+FFFD: they could be shown, but never written down.
    """

    def __init__(self) -> None:
        self._waiting: dict[_Path, str] = {}

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def join(
        self, chunks: list[dict[str, Any]], *, last: bool = False
    ) -> list[dict[str, Any]]:
        """Return chunks mended; the first half at the end of a text is kept for later.

        Args:
            chunks: What may hold halves; what is nested too deep is left out.
            last: Whether nothing follows, so that none is kept.
        """
        joined = []
        for chunk in chunks:
            with contextlib.suppress(RecursionError):
                joined.append(self._join(chunk, () if not last else ("last",)))
        return joined

    def _join(self, value: Any, path: _Path) -> Any:
        if isinstance(value, dict):
            return {mend(k): self._join(v, (*path, k)) for k, v in value.items()}
        if isinstance(value, list):
            tokens = path[-2:] == ("logprobs", "content")
            return [
                self._join(each, (*path, 0 if tokens else _place(each, number)))
                for number, each in enumerate(value)
            ]
        if not isinstance(value, str):
            return mend(value)
        if value and path[0] == "choices" and "top_logprobs" not in path:
            value = self._waiting.pop(path, "") + value
            if "\ud800" <= value[-1] <= "\udbff":
                self._waiting[path] = value[-1]
                value = value[:-1]
        return mend(value)

    def left(self) -> Iterator[dict[str, Any]]:
        """Yield, at an end, a chunk for each half that never found its other half."""
        while self._waiting:
            path, _ = self._waiting.popitem()
            value: Any = "\ufffd"
            for key in reversed(path):
                if isinstance(key, str):
                    value = {key: value}
                else:
                    value = [
                        {"index": key, **value} if isinstance(value, dict) else value
                    ]
            if "logprobs" not in path:
                yield value


def _place(entry: object, number: int) -> int:
    index = entry.get("index") if isinstance(entry, dict) else None
    return index if isinstance(index, int) else number
