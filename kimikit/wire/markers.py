"""What a host leaves in the text: thinking tags and raw tool markers of K2 and K3.

Markers are held back until it is clear what they are. A leak has two signs, a marker
and the call that it announces; prose that only names a marker is shown as it came, and
so is all that stands in code.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import Any

import msgspec

from kimikit.types import ToolCall
from kimikit.wire.calls import decoded, tidy
from kimikit.wire.loose import as_dict, as_str

_BEGIN, _END = "<|tool_call_begin|>", "<|tool_call_end|>"
_ARGUMENTS = "<|tool_call_argument_begin|>"
_WHOLE = [
    *(f"<|tool_call{s}_section_{x}|>" for s in ("", "s") for x in ("begin", "end")),
    *(f"<|tool_call_{x}|>" for x in ("begin", "argument_begin", "end")),
    *(
        f"<|{x}|>{name}<|sep|>"
        for x in ("open", "close")
        for name in ("tools", "response", "think")
    ),
    "<|im_end|>",
    "</think>",
]
_TOKEN = "|".join(map(re.escape, _WHOLE))
_STARTS = frozenset(token[:n] for token in _WHOLE for n in range(1, len(token)))
_LONGEST = max(map(len, _WHOLE))
_K2_SIGN = r"[^\s<>|{}\"']\s*<\|tool_call_argument_begin\|>"
_K2_SECTION_END = r"<\|tool_calls?_section_end\|>"
_K2_END = r"<\|tool_call(?:s?_section)?_end\|>"
_K3_SIGN = r"<\|open\|>call [^<]*<\|sep\|>"
_K3_END = r"<\|close\|>tools<\|sep\|>"
_ID_BEFORE = r"(?:functions\.)?[\w.-]{1,100}:\d+\s*\Z"
_CUT_SHORT = r"(?:<\|\w*(?:\|>)?\s*)+(?:\w+<\|sep\|>)?[\w.:-]*\s*"
_FENCE = r"[\s>*+-]*(?:\d+\. +)?(`{3,}|~{3,})([^`]*)\Z"
SIGN_WITHIN = 400
"""Characters after a marker in which a call must show; longer, and it is prose."""
LONGEST_LEAK = 1_000_000


class Filter:
    """Splits the text of one channel into what is shown, thought and leaked.

    Attributes:
        plain: Whether text without ``<`` needs no look.
        leaks: The raw blocks taken out.
        unopened: Whether thinking ended that no tag had begun.
    """

    def __init__(
        self, shown: bytearray, thought: bytearray | None, *, lead: bool = True
    ) -> None:
        self.plain = not lead
        self.leaks: list[str] = []
        self.unopened = False
        self._shown = shown
        self._thought = thought
        self._mode = "lead" if lead else "text"
        self._opened = not lead
        self._close = "</think>"
        self._held = ""
        self._waiting = False
        self._last = False
        self._new: list[str] = []
        self._new_thought: list[str] = []

    def feed(self, text: str, *, last: bool = False) -> tuple[str, str]:
        """Take text, cut anywhere; return what is now shown and what was thought.

        Args:
            text: The next piece.
            last: Whether it ends the channel, so that nothing is held back.
        """
        self._last = last
        self._held += text
        if self._waiting and ">" not in text and not last:
            return "", ""
        self._waiting = False
        while self._held and getattr(self, f"_{self._mode}")():
            pass
        self.plain = self._mode == "text" and not self._held
        shown, thought = "".join(self._new), "".join(self._new_thought)
        self._new.clear()
        self._new_thought.clear()
        return shown, thought

    def _show(self, text: str) -> None:
        if text:
            self._shown.extend(text.encode())
            self._new.append(text)

    def _think_of(self, text: str) -> None:
        if self._thought is None:
            self._show(text)
        else:
            self._thought.extend(text.encode())
            self._new_thought.append(text)

    def _free(self, token: str = "") -> str:
        """Let go of what cannot be the start of ``token``, or of any marker."""
        cut = len(self._held) - (0 if self._last else _partial(self._held, token))
        free, self._held = self._held[:cut], self._held[cut:]
        return free

    def _lead(self) -> bool:
        """Drop what Kimi puts before an answer: blank lines or a space, a think tag."""
        text = self._held.lstrip()
        opening = "<think>"
        if self._thought is not None and not self._opened:
            if text.startswith(opening):
                self._opened, self._mode = True, "think"
                self._held = text.removeprefix(opening)
                return True
            if text and opening.startswith(text) and not self._last:
                return False
        indent = self._held.removesuffix(text).rpartition("\n")[2]
        if not text and not self._last:
            self._held = indent
            return False
        self._mode = "text"
        self._held = indent + text if text and len(indent) > 1 else text
        return True

    def _think(self) -> bool:
        before, found, after = self._held.partition(self._close)
        if found:
            self._think_of(before)
            self._mode, self._held = "lead", after
            return True
        self._think_of(self._free(self._close))
        return False

    def _text(self) -> bool:
        found = re.search(_TOKEN, self._held)
        if found is None:
            self._show(self._free())
            return False
        token = found[0]
        self._show(self._held[: found.start()])
        self._held = self._held[found.start() :]
        rest = self._held[len(token) :]
        if _ends_in_code(self._shown.decode()):
            self._show(token)
        elif token in ("</think>", "<|close|>think<|sep|>"):
            self._unopened(token)
        elif token == "<|im_end|>":
            more = rest.replace(token, "").strip()
            if not more or (more in _STARTS and not self._last):
                if self._last:
                    self._held = ""
                return False
            self._show(token)
        elif token.endswith("response<|sep|>"):
            self._mode = "lead" if token.startswith("<|open") else "text"
        elif token == "<|open|>think<|sep|>":
            self._mode, self._close = "think", "<|close|>think<|sep|>"
        elif token.startswith("<|close|>") or "_end|>" in token:
            if not self.leaks:
                self._show(token)
        else:
            self._mode = "block"
            return True
        self._held = rest
        return True

    def _unopened(self, token: str) -> None:
        """Take the text so far as thinking whose opening tag the host swallowed."""
        before, thought = self._shown.decode(), self._thought
        if before.strip():
            if self._opened or thought is None or thought or "<think>" in before:
                self._show(token)
                return
            self.unopened = True
            thought.extend(self._shown)
            self._shown.clear()
        self._opened, self._mode = True, "lead"

    def _block(self) -> bool:
        """Decide what a marker begins, once enough has come."""
        held = self._held
        token = re.match(_TOKEN, held)
        assert token is not None
        prefix = ""
        if token[0] == _ARGUMENTS:
            # Only the tail leaked: the id went before it as text.
            before = re.search(_ID_BEFORE, self._shown.decode()[-200:])
            if before is None:
                return self._prose(token[0])
            prefix = before[0]
        signs, ends = _K2_SIGN, _K2_END
        if token[0].startswith("<|open|>"):
            signs, ends = _K3_SIGN, _K3_END
        elif "section" in token[0]:
            ends = _K2_SECTION_END
        end = re.search(ends, held)
        reach = SIGN_WITHIN if end is None else min(SIGN_WITHIN, end.start())
        sign = prefix or re.search(signs, held[:reach])
        if end is not None:
            leaks = sign or not held[token.end() : end.start()].strip()
            return self._leaked(prefix, end.end()) if leaks else self._prose(token[0])
        if not self._last and len(held) < (LONGEST_LEAK if sign else SIGN_WITHIN):
            self._waiting = bool(sign)
            return False
        if self._last and (sign or re.fullmatch(_CUT_SHORT, held)):
            done = held.rfind(_END)
            return self._leaked(prefix, len(held) if done < 0 else done + len(_END))
        return self._prose(token[0])

    def _prose(self, token: str) -> bool:
        self._show(token)
        self._held = self._held[len(token) :]
        self._mode = "text"
        return True

    def _leaked(self, prefix: str, end: int) -> bool:
        if prefix:
            del self._shown[-len(prefix.encode()) :]
        self.leaks.append(prefix + self._held[:end])
        self._mode, self._held = "text", self._held[end:]
        return True


def _ends_in_code(text: str) -> bool:
    """Say whether the end of ``text`` stands in a fence or in inline code."""
    opened = ""
    *lines, last = text.split("\n")
    for fence in filter(None, (re.match(_FENCE, line) for line in lines)):
        if not opened:
            opened = fence[1]
        elif fence[1].startswith(opened) and not fence[2].strip():
            opened = ""
    inline = len(re.findall("`+", last)) % 2
    return bool(opened or re.match(_FENCE, last) or inline)


def _partial(text: str, token: str = "") -> int:
    """Return how many characters at the end may be the start of a marker."""
    start = text.find("<", max(len(text) - _LONGEST, 0))
    while start >= 0:
        tail = text[start:]
        if token.startswith(tail) if token else tail in _STARTS:
            return len(tail)
        start = text.find("<", start + 1)
    return 0


def calls_in(block: str, offered: frozenset[str]) -> Iterator[ToolCall]:
    """Yield the whole calls of a leaked block; one without its end is no call."""
    for said, body, whole in _tags("call", block):
        if whole:
            name = said.get("tool", "")
            id_ = f"functions.{name}:{said.get('index', 0)}"
            yield ToolCall(id_, name, _xtml(body), id_)
    for piece in block.split(_BEGIN):
        head, found, rest = piece.partition(_ARGUMENTS)
        arguments, *ended = re.split(_K2_END, rest, maxsplit=1)
        if found and ended and head.split():
            yield _k2_call(head.split()[-1], arguments.strip(), offered)


def name_in(id_: str) -> str:
    """Return the name in an id of K2's form, ``functions.name:index``."""
    name = id_.removeprefix("functions.")
    before, colon, number = name.rpartition(":")
    return before if colon and number.isdigit() else name


def _k2_call(id_: str, arguments: str, offered: frozenset[str]) -> ToolCall:
    name, inside = name_in(id_), as_dict(decoded(arguments))
    if name not in offered and as_str(inside.get("name")) in offered:
        # vLLM once wrote an id of OpenAI's form, and the name among the arguments.
        name = inside.pop("name")
        arguments = msgspec.json.encode(inside.get("arguments", inside)).decode()
    return ToolCall(id_, name, tidy(arguments)[0], id_)


def _tags(name: str, text: str) -> Iterator[tuple[dict[str, str], str, bool]]:
    """Yield K3's tags of a name: attributes, content, and whether they end."""
    for piece in text.split(f"<|open|>{name} ")[1:]:
        head, _, rest = piece.partition("<|sep|>")
        content, end, _ = rest.partition(f"<|close|>{name}<|sep|>")
        yield dict(re.findall(r'(\w+)="([^"]*)"', head)), content, bool(end)


def _xtml(body: str) -> str:
    """Return K3's arguments as JSON text; types but string are JSON already."""
    values: dict[str, Any] = {}
    for said, value, _ in _tags("argument", body):
        key = said.get("key", "")
        values[key] = value
        if said.get("type") != "string":
            with contextlib.suppress(msgspec.DecodeError, RecursionError):
                values[key] = msgspec.json.decode(value)
    return msgspec.json.encode(values).decode()
