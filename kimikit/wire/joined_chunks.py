"""Join the chunks of an HTTP body that came together, without I/O.

Hosts write each event as a chunk. What reads HTTP takes many steps for each, although
those of a busy moment are read as one.
"""

from __future__ import annotations

import re

_HEAD_END = re.compile(rb"\n\r?\n")
_CHUNKED = re.compile(rb"(?i)\ntransfer-encoding:[ \t]*chunked[ \t]*\r?\n")
_WITH_BODY = re.compile(rb"HTTP/1\.1 (?!204|304)")
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,7})\r\n")
_PART_OF_SIZE = re.compile(rb"[0-9A-Fa-f]{0,7}\r?")
_MOST_HEAD = 2**16


class Chunks:
    r"""Joins the chunks of a body that came together, so that each is not read alone.

    Only how the bytes are cut changes. What does not look as hosts write it passes as
    it is, for httpcore to judge.

    Example:
        >>> from kimikit.wire.joined_chunks import Chunks
        >>> chunks = Chunks()
        >>> head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        >>> chunks.feed(head + b"2\r\nHe\r\n3\r\nllo\r\n").removeprefix(head)
        b'5\r\nHello\r\n'
    """

    def __init__(self) -> None:
        self._step = self._head
        self._seen = bytearray()  # of the head
        self._size = b""  # the start of a line
        self._left = 0  # bytes of the chunk that has begun
        self._ends = 0  # and of its line's end
        self._owed = False  # whether what was given still needs the end of its line

    def feed(self, data: bytes) -> bytes:
        """Take what was read; return it with fewer cuts, or nothing for now."""
        return self._step(data)

    def finish(self) -> bytes:
        """Return what was held back when nothing more comes."""
        held, self._size = self._size, b""
        return held

    def _as_it_is(self, data: bytes) -> bytes:
        return data

    def _head(self, data: bytes) -> bytes:
        """Pass what is before the body, of any number of responses before the real."""
        before = len(self._seen)
        self._seen += data
        end = _HEAD_END.search(self._seen, max(0, before - 2))
        if end is None:
            if len(self._seen) > _MOST_HEAD:
                self._step = self._as_it_is
            return data
        head, at = bytes(self._seen[: end.end()]), end.end() - before
        self._seen.clear()
        if not head.startswith(b"HTTP/1.1 1"):  # not "100 Continue"
            known = _WITH_BODY.match(head) and _CHUNKED.search(head)
            self._step = self._body if known else self._as_it_is
        return data[:at] + (self._step(data[at:]) if data[at:] else b"")

    def _body(self, data: bytes) -> bytes:
        """Return the chunks in ``data`` as one, and what is no chunk as it is."""
        data, self._size = self._size + data, b""
        found: list[bytes] = []
        at, rest = 0, b""
        while at < len(data):
            if self._left:
                found.append(data[at : at + self._left])
                at += len(found[-1])
                self._left -= len(found[-1])
            elif self._ends:
                end = b"\r\n"[-self._ends :]
                given = data[at : at + self._ends]
                if not end.startswith(given):
                    rest = b"\r\n"[: -self._ends] + data[at:]
                    self._step = self._as_it_is
                    break
                at, self._ends = at + len(given), self._ends - len(given)
            elif (size := _SIZE.match(data, at)) and (number := int(size[1], 16)):
                at, end_at = size.end(), size.end() + number
                if data[end_at : end_at + 2] == b"\r\n":
                    found.append(data[at:end_at])
                    at = end_at + 2
                else:
                    self._left, self._ends = number, 2
            else:
                rest = data[at:]
                if not size and _PART_OF_SIZE.fullmatch(rest):
                    self._size, rest = rest, b""
                else:
                    self._step = self._as_it_is  # the last one, or none of the known
                break
        return self._framed(b"".join(found)) + rest

    def _framed(self, joined: bytes) -> bytes:
        """Return bytes as a chunk, whose line ends where that of the host has ended."""
        made = b""
        if joined:
            line = b"\r\n" if self._owed else b""
            made, self._owed = b"%b%x\r\n%b" % (line, len(joined), joined), True
        if self._owed and not self._left and not self._ends:
            made, self._owed = made + b"\r\n", False
        return made
