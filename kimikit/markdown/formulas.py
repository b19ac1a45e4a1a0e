r"""Find TeX in text, and tell a formula from a price, a ticker or a shell variable.

The conditions are pandoc's (``tex_math_dollars``): what opens is followed by no space,
the next dollar is what closes, with no space before it and no digit behind it. Where
these leave a sentence between two dollars, as in ``$50/t CO$_2$``, it is none.
All of it is linear: no search looks further than to the next mark of its kind.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

LONGEST = 10_000
"""Characters beyond which nothing is taken for a formula."""

_OPEN = re.compile(r"\$\$?(?!\$)|\\\(|\\\[|(?=\\begin\{[a-zA-Z]+\*?\})")
# Each stops at the next mark of its kind, be it the one that closes or another that
# opens; a backslash takes the next character with it. None takes a group for ever
# (``(...)*+``): before Python 3.11.5 such a group of alternatives matches wrongly.
_INSIDE = {
    "$": re.compile(r"[^\\$]*+(?:\\.[^\\$]*+)*", re.DOTALL),
    "$$": re.compile(r"[^\\$]*+(?:(?:\\.|\$(?!\$))[^\\$]*+)*", re.DOTALL),
    "\\(": re.compile(r"[^\\]*+(?:\\[^()][^\\]*+)*", re.DOTALL),
    "\\[": re.compile(r"[^\\]*+(?:\\[^\[\]][^\\]*+)*", re.DOTALL),
}
_ENDS = {"$": "$", "$$": "$$", "\\(": "\\)", "\\[": "\\]"}
_ENVIRONMENT = re.compile(r"\\(begin|end)\{([a-zA-Z]+\*?)\}")

_NUMBER = re.compile(r"[-+~≈<>]?\d")
_COMMAND = re.compile(r"\\[a-zA-Z]")
_SIGN = re.compile(r"\\[a-zA-Z]|[\^=]|_\{|(?<![a-zA-Z]{2})_\w")
_SCRIPT_NEXT = re.compile(r"[_^](?:\{[^{}$]*\}|\\?\w+)\$")
_NOT_WORDS = re.compile(
    r"\\(?:text\w*|math\w*|operatorname\*?|mbox|ce|pu|unit|qty|SI|si)\s*\{[^{}]*\}"
    r"|\\[a-zA-Z]+|[_^]\{[^{}]*\}|(?<=\w)[_^]\w+"
)
_WORD = re.compile(r"[^\W\d_]{2,}|[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
_UNIT = re.compile(r"[-+]?[\d.,]*\d\s?(?:[a-zA-Zµ]{1,3}/?){1,2}\Z")
_OPERATORS = frozenset(
    re.findall(
        r"\w+",
        "sin cos tan cot sec csc sinh cosh tanh arcsin arccos arctan ln log lg exp "
        "min max sup inf lim gcd lcm mod det dim ker rank arg argmin argmax Pr var cov "
        "sgn tr dx dy dt du dz",
    )
)
_LABEL = re.compile(r"[\w\s.,;'’-]*")


class Formula(NamedTuple):
    """Where a formula stands.

    Attributes:
        content: Its TeX; environments with their own ends.
        end: The place behind it.
        display: Whether it asks for a line of its own.
    """

    content: str
    end: int
    display: bool


def opens(source: str, at: int, end: int) -> str | None:
    """Return the mark that opens a formula at ``at``, empty for an environment."""
    match = _OPEN.match(source, at, end)
    return None if match is None or source[at - 1 : at + 1] == "$$" else match[0]


def closing(mark: str) -> str:
    """Return what ends a formula that ``mark`` began."""
    return _ENDS[mark]


def environments(source: str) -> dict[int, int]:
    """Return where each environment ends, by where it begins."""
    pairs: dict[int, int] = {}
    begun: list[tuple[str, int]] = []
    for match in _ENVIRONMENT.finditer(source):
        if match[1] == "begin":
            begun.append((match[2], match.start()))
        elif begun and begun[-1][0] == match[2]:
            pairs[begun.pop()[1]] = match.end()
    return pairs


def find(
    source: str, at: int, end: int, environments: Callable[[], dict[int, int]]
) -> Formula | None:
    """Return the formula that begins at ``at``, if one does.

    Args:
        source: The text.
        at: Where to look.
        end: Where the text ends.
        environments: Gives those of ``source``.
    """
    mark = opens(source, at, end)
    if mark is None:
        return None
    if not mark:
        stop = after = environments().get(at, 0)
        start = at
    else:
        start = at + len(mark)
        inside = _INSIDE[mark].match(source, start, end)
        stop = inside.end() if inside else start
        after = stop + len(_ENDS[mark])
        if not source.startswith(_ENDS[mark], stop, end):
            return None
        if mark == "$$" and source.startswith("$", after, end):
            return None
    if not start < stop <= end or stop - start > LONGEST:
        return None
    content = source[start:stop]
    if not content.strip() or "`" in content:
        return None  # a formula without anything in it, or code across its end
    around = source[at - 1 : at] if at else " ", source[after : after + 80]
    if mark == "$":
        fits = _between_dollars(content, *around)
    else:
        fits = is_display(mark, content, around[1])
    return Formula(content, after, mark not in ("$", "\\(")) if fits else None


def is_display(mark: str, content: str, after: str) -> bool:
    """Tell a formula between other marks than single dollars from what is none.

    Args:
        mark: What opens it.
        content: What is between.
        after: What follows.
    """
    if "`" in content:
        return False
    if mark == "\\[" and _is_label(content, after):
        return False
    return not mark or not _is_sentence(content)


def _is_label(content: str, after: str) -> bool:
    r"""Tell brackets that were escaped, as ``\[sic\]`` is, from those of LaTeX."""
    if after[:1] in ("(", "[", ":"):
        return True
    plain = content.strip()
    return _LABEL.fullmatch(plain) is not None and (
        plain.isdigit() or any(word not in _OPERATORS for word in _words(plain))
    )


def _is_sentence(content: str) -> bool:
    """Tell several words in a row, without any sign of TeX."""
    return len(_words(content)) > 1 and not _SIGN.search(content)


def _words(content: str) -> list[str]:
    found = _WORD.findall(_NOT_WORDS.sub(" ", content))
    return [word for word in found if word not in _OPERATORS]


def _between_dollars(content: str, before: str, after: str) -> bool:
    first, last = content[0], content[-1]
    if first.isspace() or last.isspace() or after[:1].isdigit():
        return False  # by pandoc's rules
    if first in "),;:" or last == "(" or _SCRIPT_NEXT.match(after):
        return False  # the second dollar opens something itself
    words = _words(content)
    # What TeX has for it says that it is a formula.
    signed = _SIGN.search(content) is not None
    if _NUMBER.match(content) and words and not _COMMAND.search(content):
        return _UNIT.match(content) is not None
    if before.isascii() and before.isalnum():
        if first in "/-–+.," or (words and not signed):
            return False
        if before.isupper() and first.isdigit() and not signed:
            return False  # US$5
    if after[:1].isalpha() or after[:1] in ("_", "{", "("):
        if last in ":,;./|&=+-<":
            return False
        if not signed and any(word.isupper() or len(word) > 2 for word in words):
            return False  # a variable of a shell, or a ticker
    return not _is_sentence(content)
