"""Mask what no recording may hold: keys, and places on a disk that a text names.

A mask is as long as what it hides, three stars at least, so that the pieces of an
answer stay as they were.
In a question any number of stars counts as three, so that a question which quotes a
masked answer is found as the one that quoted the answer itself.
"""

from __future__ import annotations

import functools
import json
import os
import re
import tempfile
import unicodedata
from bisect import bisect_left
from collections.abc import Callable, Iterator
from itertools import accumulate
from pathlib import Path
from typing import Any

import msgspec

from kimikit.secrets import redact
from kimikit.wire.unpack import BadPacking, unpacker

Mask = Callable[[str], str]
Pieces = list[tuple[float, bytes]]
Headers = list[tuple[str, str]]

STARS = re.compile(r"\*{3,}")
_EVENT_END = re.compile(rb"\r\n\r\n|\n\n|\r\r")
_ESCAPE = re.compile(r"(?<=\\u)[0-9a-f]{4}")
_SHORTEST_PATH = 4


def mask_of(*keys: str) -> Mask:
    """Return what hides these keys, what looks like one, and places on this disk."""
    places = _places(os.getcwd(), tempfile.gettempdir())

    def mask(text: str) -> str:
        return redact(places.sub(_stars, text), *keys, fill=_fill)

    return mask


def mask_of_words(words: list[str]) -> Mask:
    """Return what hides words, wherever they stand."""
    found = {spelling for word in words for spelling in _spellings(word)}
    pattern = re.compile("|".join(map(re.escape, sorted(found, key=len)[::-1])))
    return functools.partial(pattern.sub, _stars)


def _spellings(word: str) -> set[str]:
    """Return how a text may stand in JSON, in JSON within it, and in bytes of UTF-8."""
    found = {word, *(unicodedata.normalize(form, word) for form in ("NFC", "NFD"))}
    for _ in range(2):
        found |= {
            json.dumps(s, ensure_ascii=a)[1:-1] for s in found for a in (False, True)
        }
    found |= {_ESCAPE.sub(lambda match: match[0].upper(), s) for s in found}
    raw = (each.encode("utf-8", "surrogateescape") for each in found)
    return found | {each.decode("latin-1") for each in raw}


def _fill(hidden: str) -> str:
    return "*" * max(3, len(hidden))


def _stars(match: re.Match[str]) -> str:
    return _fill(match[0])


@functools.lru_cache(8)
def _places(folder: str, temporary: str) -> re.Pattern[str]:
    """Return a pattern of the folders that tell of a person or change from run to run.

    In JSON the separator of Windows is written twice.
    """
    named = [folder, str(Path.home()), os.path.realpath(folder)]
    named = [each for p in named for each in _spellings(p)]
    some = [re.escape(p) for p in named if len(p) >= _SHORTEST_PATH]
    passing = re.escape(temporary) + r"[\\/]+tmp\w{6,10}"
    found = [passing, *sorted(set(some), key=len)[::-1]]
    doubled = [each.replace(r"\\", r"\\{1,2}") for each in found]
    return re.compile(rf"(?<![\w.~-])(?:{'|'.join(doubled)})(?![\w])")


def masked_answer(
    headers: Headers, pieces: Pieces, mask: Mask
) -> tuple[Headers, Pieces, bool]:
    """Return an answer without what the mask hides, and whether it failed by its words.

    An answer with nothing to hide is returned as it is, to the byte. In a stream, a
    word may be spread over many events: the same field of all of them is read as one
    text, and cut again where it was.
    """
    raw = b"".join(data for _, data in pieces)
    plain, packed = unpacked(headers, raw)
    events, failed = _events(plain) if b"data:" in plain else ([], False)
    changed = _hidden(events, mask) if events else False
    again = b"".join(event.text() for event in events) if changed else plain
    hidden = mask(again.decode("latin-1")).encode("latin-1")
    if hidden == plain:
        return headers, pieces, failed
    kept = [(n, v) for n, v in headers if n.lower() != "content-encoding"]
    if changed:
        lengths = [len(event.text()) for event in events]
        times = _times(events, pieces, packed=packed)
        return kept, _cut(hidden, lengths, times), failed
    if packed:
        return kept, [(pieces[-1][0], hidden)], failed
    times = [at for at, _ in pieces]
    return headers, _cut(hidden, [len(data) for _, data in pieces], times), failed


def unpacked(headers: Headers, raw: bytes) -> tuple[bytes, bool]:
    """Return a body as it is read, and whether it was packed."""
    unpack = unpacker({name.lower(): value for name, value in headers})
    if unpack is None:
        return raw, False
    try:
        return unpack.feed(raw), True
    except BadPacking:
        return raw, False


class _Event:
    """One event of a stream.

    Attributes:
        end: Where it ended in the stream.
    """

    def __init__(self, raw: bytes, end: int) -> None:
        self._raw = raw
        self.end = end
        self.value: Any = None
        self._changed = False
        start = raw.find(b"data:")
        line = raw[start + 5 :].strip() if start >= 0 else b""
        if line[:1] == b"{":
            try:
                self.value = msgspec.json.decode(line)
            except (ValueError, RecursionError):
                self.value = None

    def leaves(self) -> Iterator[tuple[Any, dict[str, Any], str]]:
        """Yield the name, the holder and the key of each text in it."""
        if isinstance(self.value, dict):
            yield from _leaves(self.value, ())

    def put(self, holder: dict[str, Any], key: str, text: str) -> None:
        """Replace a text."""
        holder[key], self._changed = text, True

    def text(self) -> bytes:
        """Return it as it is sent."""
        if not self._changed:
            return self._raw
        head = self._raw[: self._raw.find(b"data:")]
        text = json.dumps(self.value, ensure_ascii=False, separators=(",", ":"))
        return head + b"data: " + text.encode("utf-8", "replace") + b"\n\n"


def _leaves(
    value: dict[str, Any], at: tuple[Any, ...]
) -> Iterator[tuple[Any, dict[str, Any], str]]:
    for key, each in value.items():
        if isinstance(each, str):
            yield (*at, key), value, key
        elif isinstance(each, dict):
            yield from _leaves(each, (*at, key))
        elif isinstance(each, list):
            for number, item in enumerate(each):
                if isinstance(item, dict):
                    # Parts of one choice or call come in many events, by its index.
                    place = item.get("index", number)
                    known = place if isinstance(place, int) else number
                    yield from _leaves(item, (*at, key, known))


def _events(raw: bytes) -> tuple[list[_Event], bool]:
    events, start = [], 0
    for match in _EVENT_END.finditer(raw):
        events.append(_Event(raw[start : match.end()], match.end()))
        start = match.end()
    if start < len(raw):
        events.append(_Event(raw[start:], len(raw)))
    values = [event.value for event in events if isinstance(event.value, dict)]
    failed = b"event: error" in raw or any(v.get("error") for v in values)
    ended = b"[DONE]" in raw or any(map(_finish, values))
    return events, failed or not ended


def _finish(value: dict[str, Any]) -> bool:
    choices = value.get("choices")
    some = choices if isinstance(choices, list) else ()
    return any(isinstance(c, dict) and c.get("finish_reason") for c in some)


def _hidden(events: list[_Event], mask: Mask) -> bool:
    """Hide what is spread over events; tell whether there was something."""
    texts: dict[Any, list[tuple[_Event, dict[str, Any], str]]] = {}
    for event in events:
        for name, holder, key in event.leaves():
            texts.setdefault(name, []).append((event, holder, key))
    changed = False
    for parts in texts.values():
        whole = "".join(holder[key] for _, holder, key in parts)
        hidden = mask(whole)
        if hidden == whole:
            continue
        changed, at = True, 0
        for event, holder, key in parts:
            end = at + len(holder[key])
            last = holder is parts[-1][1]
            event.put(holder, key, hidden[at : None if last else end])
            at = end
    return changed


def _times(events: list[_Event], pieces: Pieces, *, packed: bool) -> list[float]:
    """Return for each event the seconds to the piece in which it ended."""
    if packed:
        return [pieces[-1][0]] * len(events)
    ends = list(accumulate(len(data) for _, data in pieces))
    return [pieces[min(bisect_left(ends, e.end), len(pieces) - 1)][0] for e in events]


def _cut(whole: bytes, lengths: list[int], times: list[float]) -> Pieces:
    starts = [0, *accumulate(lengths)]
    ends = [*starts[1:-1], len(whole)]
    return [
        (at, whole[start:end])
        for at, start, end in zip(times, starts, ends, strict=False)
    ]
