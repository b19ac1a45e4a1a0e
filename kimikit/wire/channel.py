"""Tell whether a text that still arrives ends in code so far."""

from __future__ import annotations

import re

_FENCE = re.compile(rb"[\s>*+-]*(?:\d+\. +)?(`{3,}|~{3,})(.*)", re.DOTALL)
_LINE_START = 400
"""Bytes of a line in which a fence is looked for."""


class Channel:
    """A text that grows, and whether its end stands in code; each byte is read once."""

    def __init__(self, text: bytearray) -> None:
        self.text = text
        self._new: list[str] = []
        self.restart()

    def restart(self) -> None:
        """Forget what was read, as the text begins anew."""
        self._read = 0
        self._fence = b""
        self._begin_line()

    def _begin_line(self) -> None:
        self._line = bytearray()
        self._runs = 0
        self._tick = False

    def add(self, text: str) -> None:
        """Let the text grow."""
        if text:
            self.text.extend(text.encode())
            self._new.append(text)

    def take(self) -> str:
        """Return what was added since it was last asked."""
        new = "".join(self._new)
        self._new.clear()
        return new

    def cut(self, characters: str) -> None:
        """Take the last characters away, which hold neither line ends nor ticks."""
        del self.text[-len(characters.encode()) :]
        self._read = min(self._read, len(self.text))

    def in_code(self) -> bool:
        """Say whether the end stands in a fence or in inline code."""
        new = self.text[self._read :]
        self._read = len(self.text)
        *lines, last = new.split(b"\n")
        for line in lines:
            self._read_line(line)
            if fence := self._opens():
                if not self._fence:
                    self._fence = fence[1]
                elif fence[1].startswith(self._fence) and not fence[2].strip():
                    self._fence = b""
            self._begin_line()
        self._read_line(last)
        return bool(self._fence or self._runs % 2 or self._opens())

    def _read_line(self, piece: bytes | bytearray) -> None:
        if piece:
            self._line += piece[: _LINE_START - len(self._line)]
            self._runs += len(re.findall(b"`+", piece))
            self._runs -= self._tick and piece.startswith(b"`")
            self._tick = piece.endswith(b"`")

    def _opens(self) -> re.Match[bytes] | None:
        """Return the fence that the line is; its info holds no tick."""
        fence = _FENCE.match(self._line)
        ticks = fence is not None and fence[1].startswith(b"`")
        return fence if self._runs == ticks else None
