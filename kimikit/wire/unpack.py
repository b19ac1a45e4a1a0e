"""Unpack bodies to bytes: by what they are, all members, and never without end."""

from __future__ import annotations

import zlib
from collections.abc import Mapping

FREE = 32 * 2**20
"""Bytes that any body may unpack to."""
RATIO = 30
"""Times its own size that a larger one may; JSON packs to a tenth, a bomb to 1/1000."""
_STEP = 2**20
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_STARTS = (b"data:", b"event:", b"id:", b"retry:", b"\xef\xbb\xbf")
_TEXT = b'{[<:"\r\n\t '


class BadPacking(Exception):
    """A body that cannot be unpacked; its text goes on "The host sent ..."."""


def unpacker(headers: Mapping[str, str]) -> Unpacker | None:
    """Return what unpacks a body with these headers, ``None`` if it is not packed."""
    said = headers.get("content-encoding", "").lower().split(",")
    codings = [c.strip() for c in said if c.strip() not in ("", "identity")]
    if not codings:
        return None
    return Unpacker(", ".join(codings)[:40])


def is_packed(start: bytes | bytearray) -> bool:
    """Say whether a body begins as gzip does, whatever its headers say."""
    return start.startswith(_GZIP)


class Unpacker:
    """Unpacks gzip and deflate by their first bytes, not by what the header says.

    Args:
        coding: What the header says.

    Raises:
        BadPacking: From ``feed``, if it is another packing, damaged, or a bomb.
    """

    def __init__(self, coding: str) -> None:
        self._coding = coding
        self._begun = b""
        self._plain = self._over = self._again = False
        self._unzip: zlib._Decompress | None = None
        self._taken = self._given = 0

    def feed(self, data: bytes) -> bytes:
        """Return what more bytes unpack to."""
        if self._plain:
            return data
        self._taken += len(data)
        data, self._begun = self._begun + data, b""
        out: list[bytes] = []
        while data and not self._over:
            if self._unzip is None:
                if len(data) < 2:
                    self._begun = data
                    break
                self._begin(data)
                if self._plain:
                    return data
                if self._unzip is None:
                    break
            data = self._unpack(self._unzip, data, out)
        return b"".join(out)

    def _unpack(self, unzip: zlib._Decompress, data: bytes, out: list[bytes]) -> bytes:
        """Unpack a step; return what is left of the data."""
        try:
            made = unzip.decompress(data, _STEP)
        except zlib.error as exc:
            raise BadPacking(f"{self._coding} that is damaged ({exc})") from exc
        self._given += len(made)
        if self._given > max(FREE, RATIO * self._taken):
            raise BadPacking(
                f"{self._taken:,} bytes that unpack to more than {self._given:,}"
            )
        out.append(made)
        if not unzip.eof:
            return unzip.unconsumed_tail
        self._unzip, self._again = None, True
        return unzip.unused_data

    def _begin(self, data: bytes) -> None:
        word = int.from_bytes(data[:2], "big")
        if is_packed(data):
            self._unzip = zlib.decompressobj(zlib.MAX_WBITS | 16)
        elif self._again:
            self._over = True  # padding after the last member
        elif data[0] & 0x0F == 8 and word % 31 == 0 and data[:1] not in _TEXT:
            self._unzip = zlib.decompressobj()
        elif "gzip" in self._coding:
            raise BadPacking("plain bytes where it said gzip")
        elif data[:1] in _TEXT or any(
            data.startswith(start[: len(data)]) for start in _STARTS
        ):
            self._plain = True
        elif self._coding == "deflate":
            self._unzip = zlib.decompressobj(-zlib.MAX_WBITS)
        else:
            name = "zstd" if data.startswith(_ZSTD) else self._coding
            raise BadPacking(f"a body packed as {name}, which it was not asked for")
