"""Cut text of any script into words: letters with the marks on them."""

from __future__ import annotations

import functools
import itertools
import re
import unicodedata

_ALONE = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff"
"""Characters of Chinese, Japanese and Korean, each of which is a word."""

_JOINERS = "\u200c\u200d"
"""What joins or parts letters of one word in Persian and in Indic scripts."""

_MARKED = (*range(0x300, 0xFE30), *range(0x10A00, 0x12000))
"""Where combining marks are, but for those of music and of dead scripts."""


_ASCII = re.compile(r"\w+", re.ASCII)
"""The pattern of a word where there are no other letters, which takes half the time."""

_PLAIN = "".join(c.lower() if _ASCII.match(c) else " " for c in map(chr, range(128)))
"""What stands for each character of such a text, to part it at blanks: a fourth."""


@functools.cache
def _word() -> re.Pattern[str]:
    """Return the pattern of a word, made when it is first needed."""
    marks = [code for code in _MARKED if unicodedata.category(chr(code))[0] == "M"]
    spans = [
        [code for _, code in run]
        for _, run in itertools.groupby(enumerate(marks), lambda at: at[1] - at[0])
    ]
    # Python's \w holds letters and digits, and breaks a word at each vowel sign.
    mark = "".join(f"{chr(run[0])}-{chr(run[-1])}" for run in spans)
    letter = rf"[^\W{_ALONE}]"
    joined = rf"{letter}+(?:[{mark}{_JOINERS}]+{letter}*)*"
    return re.compile(rf"{joined}|[{_ALONE}][{mark}]*")


def words(text: str) -> list[str]:
    """Return the words, lower case, punctuation left out."""
    if text.isascii():
        return text.translate(_PLAIN).split()
    return _word().findall(unicodedata.normalize("NFC", text.casefold()))


def cut(text: str, length: int) -> str:
    """Return the text up to its ``length``-th word, whole if it has no more."""
    word = _ASCII if text.isascii() else _word()
    text = unicodedata.normalize("NFC", text)
    found = [*itertools.islice(word.finditer(text), length - 1, length + 1)]
    return text[: found[0].end()] if len(found) == 2 else text
