"""Decode bytes to server-sent events, without I/O.

Lines end at LF, CR or CRLF alone: U+2028, U+2029 and U+0085 are ordinary characters
inside JSON, which ``str.splitlines`` and httpx's ``iter_lines`` would cut there. Bytes
are never decoded here, so a character cut in the middle cannot be damaged.
Rules: WHATWG HTML, section 9.2.6, but an event that no blank line ends is kept.
"""

from __future__ import annotations

import re

BOM = b"\xef\xbb\xbf"
DONE = b"[DONE]"
STRAY_LIMIT = 2000
_LINE_END = rb"\r\n|\n|\r"


class Decoder:
    """Turns bytes, cut anywhere, into the data of events.

    Attributes:
        done: Whether ``[DONE]`` was seen; all bytes after it are ignored.
        error: The data of an event named ``error`` (Groq sends them), which ends all.
        stray: The first lines that are no part of any event, such as a proxy's words.
    """

    def __init__(self) -> None:
        self.done = False
        self.error = b""
        self.stray = b""
        self._started = False
        self._after_cr = False
        self._between = False
        self._name = b""
        self._data: list[bytes] = []
        self._partial: list[bytes] = []

    def feed(self, chunk: bytes) -> list[bytes]:
        """Return the data of each event that ``chunk`` completes."""
        # Most hosts send one event per chunk; the rest of this class is for the others.
        if (
            self._between
            and chunk.startswith(b"data: {")
            and chunk.find(b"\n") == len(chunk) - 2
            and chunk[-1] == 10
            and b"\r" not in chunk
        ):
            return [chunk[6:-2]]
        if self._after_cr and chunk:
            self._after_cr = False
            chunk = chunk.removeprefix(b"\n")
        if self.done or not chunk:
            return []
        self._after_cr = chunk[-1:] == b"\r"
        lines = re.split(_LINE_END, chunk) if b"\r" in chunk else chunk.split(b"\n")
        if len(lines) == 1:
            self._partial += lines
            self._between = False
            return []
        if self._partial:
            lines[0] = b"".join(self._partial) + lines[0]
        self._partial = [lines[-1]] if lines[-1] else []
        events = self._take(lines[:-1])
        pending = self._partial or self._data or self._name or self._after_cr
        self._between = not (pending or self.done)
        return events

    def finish(self) -> list[bytes]:
        """Return the event that no blank line ended, if there is one."""
        lines, self._partial = [b"".join(self._partial), b""], []
        return [] if self.done else self._take(lines)

    def _take(self, lines: list[bytes]) -> list[bytes]:
        events: list[bytes] = []
        for line in lines:
            if not self._started:
                self._started = True
                line = line.removeprefix(BOM)
            if line[:5] == b"data:" or line == b"data":
                self._data.append(line[6:] if line[5:6] == b" " else line[5:])
            elif line[:6] == b"event:":
                self._name = line[6:].strip()
            elif not line and (self._data or self._name):
                data = b"\n".join(self._data)
                self._data.clear()
                name, self._name = self._name, b""
                if data.strip() == DONE:
                    self.done = True
                elif name == b"error":
                    self.error = data or b"{}"
                    self.done = True
                elif data:
                    events.append(data)
                if self.done:
                    break
            elif line and not line.startswith((b":", b"id", b"retry", b"event")):
                self.stray = (self.stray + line + b"\n")[:STRAY_LIMIT]
        return events
