"""Take out what a host leaves in the text: thinking tags, raw tool markers.

Markers are held back until it is clear what they are. A leak has two signs, a marker
and the call that it announces; prose that only names a marker is shown as it came, and
so is all that stands in code. A marker that is neither is never shown.

All work is linear in the text, whatever it holds: nothing is searched, copied or
decoded again with each piece.
"""

from __future__ import annotations

import re

from kimikit.wire.channel import Channel
from kimikit.wire.leaks import ARGUMENTS, CALL_END, K2_END
from kimikit.wire.leaks import calls_in as calls_in  # as in 0.3.0
from kimikit.wire.leaks import name_in as name_in  # as in 0.3.0

_THINKS = {
    "<think>": "</think>",
    "<thinking>": "</thinking>",
    "\u25c1think\u25b7": "\u25c1/think\u25b7",  # Kimi-VL's
}
"""Tags of thinking; but for the first, both only where one begins an answer."""
_LONGEST_THINK = max(map(len, _THINKS))
_FIXED = [
    *(f"<|tool_call{s}_section_{x}|>" for s in ("", "s") for x in ("begin", "end")),
    *(f"<|tool_call_{x}|>" for x in ("begin", "argument_begin", "end")),
    *("<|im_end|>", "<|end_of_msg|>", "<think>", *_THINKS.values()),
]
_TAG = r"<\|(?:open|close)\|> ?"
_NAMES = r"(?:tools|response|think|message|call|argument|json)\b"
_ATTRIBUTES = r"(?:(?!<\|)[^\n]){0,300}"
_TOKEN = re.compile(
    "|".join(map(re.escape, _FIXED))
    + rf"|{_TAG}{_NAMES}{_ATTRIBUTES}<\|sep\|>"
    + rf"|<\|close\|>{_NAMES}(?=<\|open\|>|\n)"  # K3 may leave the separator out
)
_PREFIXES = frozenset(
    token[:n]
    for token in (*_FIXED, "<|open|>", "<|close|>")
    for n in range(1, len(token))
) | {"<|open|>", "<|close|>"}
_LONGEST = max(map(len, _FIXED))
_STARTS = re.compile("[<\u25c1]")
_TAG_PIECE = re.compile(
    rf"{_TAG}(?:{_NAMES}{_ATTRIBUTES}|\w{{0,8}})"
    r"(?:<(?:\|(?:s(?:e(?:p\|?)?)?|o(?:p(?:e(?:n\|?)?)?)?)?)?)?\Z"
)
_TAG_REACH = 340
_TURN_ENDS = ("<|im_end|>", "<|end_of_msg|>")
_K2_SIGN = (
    r"(?P<sign>(?:[^\s<>|{}\"']|<\|tool_call_begin\|>)\s*"
    r"<\|tool_call_argument_begin\|>)"
)
_K2_SECTION_END = r"<\|tool_calls?_section_end\|>"
_K3_SIGN = rf"(?P<sign><\|open\|> ?call{_ATTRIBUTES}<\|sep\|>)"
_K3_END = r"<\|close\|> ?{} ?<\|sep\|>"
_ID_BEFORE = re.compile(r"(?:functions\.)?[\w.-]{1,100}:\d+[ \t]*\Z")
_SECTION = r"<\|tool_calls?_section_begin\|>"
_HALF = r"(?:<(?:\|[\w|]*)?)?"
_CUT_SHORT = re.compile(
    rf"{_SECTION}\s*{_HALF}"
    rf"|(?:{_SECTION}[^<]*)?<\|tool_call_begin\|>\s*(?:[\w:-][\w.:@-]*\s*)?{_HALF}"
    r"|<\|open\|> ?tools ?<\|sep\|>\s*(?:<(?:\|.*)?)?",
    re.DOTALL,
)
"""Calls that ended before they said what they call."""
_BLANKS = re.compile(r"\s*")
SIGN_WITHIN = 460
"""Characters from a marker in which a call must show; longer, and it is prose."""
LONGEST_LEAK = 1_000_000
_INDENT = 200
_LOOK_AHEAD = 20


class Filter:
    """Splits the text of one channel into what is shown, thought and leaked.

    Attributes:
        plain: Whether text without ``<`` needs no look.
        leaks: The raw blocks taken out.
        unopened: Whether thinking ended that no tag had begun.
        thinking: Whether a think tag is open.
    """

    def __init__(
        self, shown: bytearray, thought: bytearray | None, *, lead: bool = True
    ) -> None:
        self.plain = not lead
        self.leaks: list[str] = []
        self.unopened = False
        self.thinking = False
        self._shown = Channel(shown)
        self._thought = self._shown if thought is None else Channel(thought)
        self._mode = "lead" if lead else "scan"
        self._opened = not lead
        self._closes = "</think>"
        self._named: set[str] = set()
        self._held, self._at = "", 0
        self._pieces: list[str] = []
        self._size, self._tail = 0, ""
        self._ends = re.compile("")
        self._last = self._ended = False
        self._spans: list[tuple[int, int]] = []

    def feed(
        self, text: str, *, last: bool = False, ended: bool = False
    ) -> tuple[str, str]:
        """Take text, cut anywhere; return what is now shown and what was thought.

        Args:
            text: The next piece.
            last: Whether it ends the channel, so that nothing is held back.
            ended: Whether the model itself came to its end there: then half a marker
                is one, and no text that was cut.
        """
        self._last, self._ended = last, ended
        if not self._pieces:
            self._held += text
        elif not self._goes_on(text):
            return "", ""
        while self._at < len(self._held) and getattr(self, f"_{self._mode}")():
            pass
        self._held, self._at = self._held[self._at :], 0
        waits = self._held or self._pieces
        self.plain = self._mode == "scan" and not self.thinking and not waits
        return self._shown.take(), self._thought.take()

    def unclosed(self) -> str:
        """Move what a think tag that never closed holds to what is shown; return it.

        After a call that was made inside the tag, only what follows the call.
        """
        if not self.thinking or self._thought is self._shown:
            return ""
        thought = self._thought.text
        text = b"".join(thought[a:b] for a, b in self._spans).decode().strip()
        for start, end in reversed(self._spans) if text else ():
            del thought[start:end]
        self.thinking, self._spans = False, []
        self._thought.restart()
        self._shown.add(text)
        return self._shown.take()

    def _emit(self, text: str) -> None:
        if not self.thinking:
            self._shown.add(text)
        elif text:
            start = len(self._thought.text)
            self._thought.add(text)
            if self._spans and self._spans[-1][1] == start:
                start = self._spans.pop()[0]
            self._spans.append((start, len(self._thought.text)))

    @property
    def _channel(self) -> Channel:
        return self._thought if self.thinking else self._shown

    def _pass(self, end: int, *, show: bool) -> bool:
        """Go on after a marker."""
        if show:
            self._emit(self._held[self._at : end])
        self._at = end
        return True

    def _lead(self) -> bool:
        """Drop what Kimi puts before an answer: blank lines or a space, a think tag."""
        held = self._held
        start = _BLANKS.match(held, self._at).end()  # type: ignore[union-attr]
        indent = max(self._at, held.rfind("\n", self._at, start) + 1)
        rest = held[start : start + _LONGEST_THINK]
        tags = () if self._opened else _THINKS
        for tag in tags:
            if rest.startswith(tag):
                self._closes = _THINKS[tag]
                self._open(start + len(tag))
                return True
        begun = any(tag.startswith(rest) for tag in tags)
        if not self._last and (rest in ("", "<") or begun):
            self._at = max(indent, start - _INDENT)
            return False
        indents = rest and start - indent > 1 and not rest.startswith("<|")
        self._mode = "scan"
        self._at = indent if indents else start
        return True

    def _open(self, end: int) -> None:
        self._opened = self.thinking = True
        self._spans = []
        self._mode, self._at = "scan", end

    def _scan(self) -> bool:
        held, at = self._held, self._at
        found = _TOKEN.search(held, at)
        if found is None:
            kept = self._ended or not self._last
            self._at = _piece(held, at) if kept else len(held)
            self._emit(held[at : self._at])
            if self._last and self._at < len(held):
                self._half(held[self._at :])
            return False
        self._emit(held[at : found.start()])
        self._at = found.start()
        if self._channel.in_code():
            return self._pass(found.end(), show=True)
        return self._token(found)

    def _half(self, piece: str) -> None:
        """Drop the half of a marker with which a model ended, but not a lone ``<``."""
        closes = piece.startswith(("</thi", "\u25c1/")) and (
            "</think>".startswith(piece) or self._ends_thinking(piece)
        )
        if self._channel.in_code() or not (closes or piece.startswith("<|")):
            self._emit(piece)
        elif closes or piece.startswith("<|c"):
            self.thinking = False
        self._at = len(self._held)

    def _token(self, found: re.Match[str]) -> bool:
        token, end = found[0], found.end()
        tag = re.match(r"<\|(open|close)\|> ?(\w+)", token)
        kind = f"{tag[1]} {tag[2]}" if tag else token
        if kind in ("</think>", "close think"):
            return self._close(end)
        if kind in _THINKS.values():
            closes = self._ends_thinking(kind)
            return self._close(end) if closes else self._pass(end, show=True)
        if kind == "<think>":
            self._named.add("think")
            return self._pass(end, show=True)
        if kind in _TURN_ENDS:
            prose = self._is_prose(end)
            return False if prose is None else self._pass(end, show=prose)
        if kind == "open think":
            self._open(end)
        elif kind == "open response":
            self.thinking = False
            self._mode, self._at = "lead", end
        elif "begin|>" in kind or kind in ("open tools", "open call"):
            self._mode = "block"
        else:
            return self._pass(end, show="marker" in self._named)
        return True

    def _ends_thinking(self, piece: str) -> bool:
        return self.thinking and self._closes.startswith(piece)

    def _close(self, end: int) -> bool:
        """End the thinking; what came before may be thinking that no tag opened."""
        if self.thinking:
            self.thinking, self._spans = False, []
        elif self._shown.text and (
            self._opened or self._thought.text or "think" in self._named
        ):
            self._opened = True
            prose = "think" in self._named or self._is_prose(end)
            return False if prose is None else self._pass(end, show=prose)
        elif self._shown.text.strip():
            self.unopened = True
            self._thought.text.extend(self._shown.text)
            self._shown.text.clear()
            self._shown.restart()
        self._opened = True
        self._mode, self._at = "lead", end
        return True

    def _is_prose(self, end: int) -> bool | None:
        """Say whether a sentence names the marker here; ``None`` until it is clear."""
        rest, line_end, _ = self._held[end : end + _LOOK_AHEAD].partition("\n")
        after = rest.strip()
        if after in ("", "<") and not (
            line_end or self._last or len(rest) == _LOOK_AHEAD
        ):
            return None
        before = self._channel.text[-1:]
        begins = not before or before in b" \t\n\"'`([{*_" or before > b"\x7f"
        glued = rest[:1].isascii() and (rest[:1].isalnum() or rest[:1] == "{")
        return begins and bool(after) and not after.startswith("<|") and not glued

    def _block(self) -> bool:
        """Decide what a marker begins, once enough has come."""
        held, at = self._held, self._at
        token = _TOKEN.match(held, at)
        assert token is not None
        prefix = ""
        if token[0] == ARGUMENTS:
            # Only the tail leaked: the id went before it as text.
            before = _ID_BEFORE.search(
                bytes(self._channel.text[-200:]).decode(errors="replace")
            )
            if before is None:
                self._mode = "scan"
                return self._pass(token.end(), show="marker" in self._named)
            prefix = before[0]
        sign, ends = _K2_SIGN, K2_END
        if token[0].startswith("<|open|>"):
            sign, ends = _K3_SIGN, _K3_END.format("(?:tools|message)")
            if "call" in token[0][:13]:
                ends = _K3_END.format("(?:call|tools|message)")
        elif "section" in token[0]:
            ends = _K2_SECTION_END
        first = re.compile(f"{sign}|{ends}").search(held, at, at + SIGN_WITHIN)
        if prefix or (first and first["sign"]):
            return self._wait(re.compile(ends), prefix, token.end())
        if first and not held[token.end() : first.start()].strip():
            return self._leaked("", first.end())
        if first is None and len(held) - at < SIGN_WITHIN:
            if not self._last:
                return False
            if _CUT_SHORT.fullmatch(held, at):
                return self._leaked("", len(held))
        prose = self._is_prose(token.end())
        if prose is None:
            return False
        if prose:
            self._named.add("marker")
        self._mode = "scan"
        return self._pass(token.end(), show=prose)

    def _wait(self, ends: re.Pattern[str], prefix: str, start: int) -> bool:
        """Look for the end of a call that has begun, in what is there and will come."""
        if end := ends.search(self._held, start):
            return self._leaked(prefix, end.end())
        if self._last:
            ended = (CALL_END, "<|close|>call<|sep|>")
            done = max(self._held.rfind(e, self._at) + len(e) for e in ended)
            known = any(e in self._held[self._at :] for e in ended)
            return self._leaked(prefix, done if known else len(self._held))
        if len(self._held) - self._at > LONGEST_LEAK:
            self._mode = "scan"
            return self._pass(len(self._held), show=True)
        self._ends = ends
        self._pieces = [self._held[self._at :]]
        self._size = len(self._pieces[0])
        self._tail = self._pieces[0][-_TAG_REACH:]
        self._at = len(self._held)
        return False

    def _goes_on(self, text: str) -> bool:
        """Take more of a call; say whether its end may be there."""
        window = self._tail + text
        self._pieces.append(text)
        self._size += len(text)
        over = self._last or self._size > LONGEST_LEAK
        if not over and not self._ends.search(window):
            self._tail = window[-_TAG_REACH:]
            return False
        self._held, self._pieces = "".join(self._pieces), []
        return True

    def _leaked(self, prefix: str, end: int) -> bool:
        if prefix:
            self._channel.cut(prefix)
        self._spans = []
        self.leaks.append(prefix + self._held[self._at : end])
        self._mode, self._at = "scan", end
        return True


def _piece(text: str, at: int) -> int:
    """Return where a piece begins at the end that may become a marker, or the end."""
    reach = max(at, len(text) - _TAG_REACH)
    tag = max(text.rfind("<|open|>", reach), text.rfind("<|close|>", reach))
    if tag >= 0 and _TAG_PIECE.match(text, tag):
        return tag
    starts = _STARTS.finditer(text, max(at, len(text) - _LONGEST))
    places = (found.start() for found in starts)
    return next((s for s in places if text[s:] in _PREFIXES), len(text))
