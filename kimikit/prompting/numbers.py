"""Read numbers as people and models write them, in any digits."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterator, Mapping

_DIGITS = re.compile(r"[^\x00-\x7f]")
_MARKS = {
    "\u2212": "-", "\u2013": "-", "\u2012": "-", "\ufe63": "-", "\uff0d": "-",
    "\uff0b": "+", "\uff0e": ".", "\uff0c": ",", "\uff0f": "/", "\u2044": "/",
    "\u2215": "/", "\uff05": "%", "\u00d7": "*", "\u22c5": "*", "\u00b7": "*",
    "\u2217": "*", "\u066b": ".", "\u066c": ",", "\u00a0": "\u202f",
    "\u2009": "\u202f", "\u2007": "\u202f", "\u2019": "'",
}  # fmt: skip
"""Signs that stand for others; U+202F is any space that groups digits."""

_SUPERSCRIPT = "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻"
_RAISED = re.compile(f"[{_SUPERSCRIPT}]{{1,6}}")
_LOWERED = str.maketrans(_SUPERSCRIPT, "0123456789+-")
_VULGAR = re.compile(r"[\u00bc-\u00be\u2150-\u215f\u2189]")

_PART = r"\{([^{}]{0,40})\}"
_FRACTION = re.compile(rf"\\[dt]?frac\s{{0,2}}(?:{_PART}\s{{0,2}}{_PART}|(\d)(\d))")
_ROOT = re.compile(r"\\sqrt(?:\[[^\]]{0,9}\])?\s{0,2}\{[^{}]{0,40}\}")
_TEX = [
    ("\\left", ""), ("\\right", ""), ("\\!", ""), ("\\,", "\u202f"), ("\\;", " "),
    ("\\ ", " "), ("{,}", ","), ("\\$", "$"), ("\\%", "%"), ("\\times", "*"),
    ("\\cdot", "*"), ("**", ""), ("\\pi", "π"),
]  # fmt: skip
_RAISED_TO = re.compile(r"(?<=[\d)\]}])( ?)\*\*\1(?=[-+(\d])")
"""Python's power. Elsewhere two stars make bold what is between them."""

_RUN = re.compile(r"\d[\d.,'_\u202f]*|\.\d+")
_PLAIN = re.compile(r"\d+(?:\.\d*)?|\.\d+")
_GROUPED = re.compile(r"\d{1,3}(?:,\d{2,3})*,\d{3}(?:\.\d+)?")
_DOTTED = re.compile(r"\d{1,3}(?:\.\d{3})+(?:,\d+)?")
_COMMA = re.compile(r"\d+,\d{1,2}|\d{1,3},\d{4,}")
_SPACED = re.compile(r"(?<![\d.,])(\d{1,3})((?: \d{3})+)(?![\d])")

_EXPONENT = re.compile(r"[eE]([+-]?\d{1,4})(?![\w.])")
_TEN_TO = re.compile(
    r"\s{0,2}[*xX]\s{0,2}10\s{0,2}\^\s{0,2}[{(]?\s{0,2}([+-]?\d{1,4})\s{0,2}[})]?"
)
_POWER = re.compile(r"\s{0,2}\^\s{0,2}[{(]?\s{0,2}([+-]?\d{1,4})\s{0,2}[})]?(?!\d)")
_OVER = re.compile(r"\s{0,2}/\s{0,2}(\d{1,15}(?:\.\d{1,15})?)(?![\d/.,]\d|/)")
_AND_A = re.compile(r"[ \u202f]{1,2}(\d{1,4})\s?/\s?(\d{1,4})(?![\d/])")
_SIGN = re.compile(r"([-+])[ \u202f]?[$€£¥₹₽]?[ \u202f]?\Z|[-+]\Z")
_LETTER = re.compile(r"[^\W\d]")


_NO_SPACES = re.compile(
    "[\u0e00-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3100-\u312f"
    "\u31a0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f\uac00-\ud7af"
    "\U00020000-\U0003ffff]"
)
"""Letters of scripts that put no space between words, or none before an ending: Thai,
Lao, Tibetan, Burmese, Khmer, kana, bopomofo, Han, Hangul."""


def unspaced(char: str) -> bool:
    """Tell whether a letter is of a script without spaces between words."""
    return _NO_SPACES.match(char) is not None


def numbers(text: str, *, alone: bool = False) -> Iterator[float]:
    """Yield the numbers in a text, in order.

    Args:
        text: The text.
        alone: Whether the text is an answer, in which ``3 400`` is one number.
    """
    text = _plain_digits(text)
    if alone:
        text = _SPACED.sub(lambda m: m[1] + m[2].replace(" ", ""), text)
    at = 0
    while run := _RUN.search(text, at):
        at = run.end()
        if _is_part_of_a_word(text, run.start()):
            continue
        before = text[run.start() - 1 : run.start()]
        told, length = _values(run[0], listed=before in ("(", "["))
        if length < len(run[0]):
            at = run.start() + length
        if not told:
            continue
        values = [float(each) for each in told]
        if before != "/":  # the parts of a date are no fraction
            values[-1], at = _go_on(text, told[-1], at)
        if _is_negative(text, run.start()):
            values[0] = -values[0]
        yield from (each for each in values if math.isfinite(each))


def _plain_digits(text: str) -> str:
    """Return a text with ASCII digits and signs, and TeX's numbers as people's."""
    if not text.isascii():
        text = _VULGAR.sub(_vulgar, text)
        text = _RAISED.sub(lambda m: f"^{m[0].translate(_LOWERED)}", text)
        text = _DIGITS.sub(lambda m: in_ascii(m[0]), text)
    if "\\" in text or "**" in text or "{,}" in text:
        text = _FRACTION.sub(_fraction, text)
        text = _ROOT.sub(" ", text)
        text = _RAISED_TO.sub("^", text)
        for tex, sign in _TEX:
            text = text.replace(tex, sign)
    return text


def in_ascii(char: str, marks: Mapping[str, str] = _MARKS) -> str:
    """Return a digit of any script as one of ASCII, and a mark as the table has it."""
    digit = unicodedata.decimal(char, None)
    return marks.get(char, char) if digit is None else str(digit)


def _vulgar(match: re.Match[str]) -> str:
    """Return ½ as `` 1/2``, apart from a whole number before it."""
    made = unicodedata.normalize("NFKC", match[0]).replace("\u2044", "/")
    gap = " " if match.string[: match.start()][-1:].isdecimal() else ""
    return gap + made


def _fraction(match: re.Match[str]) -> str:
    r"""Return ``\frac{3}{4}`` as ``3/4``, nothing where it holds no numbers."""
    above, below = match[1] or match[3] or "", match[2] or match[4] or ""
    above, below = above.strip(), below.strip()
    if not (_PLAIN.fullmatch(above.lstrip("-")) and _PLAIN.fullmatch(below)):
        return " "
    gap = " " if match.string[match.start() - 1 : match.start()].isdecimal() else ""
    return f"{gap}{above}/{below}"


def _values(run: str, *, listed: bool) -> tuple[list[str], int]:
    """Return the numbers in a run of digits and separators, and its length used."""
    used = run.rstrip(".,'_\u202f")
    bare = used.replace("\u202f", "").replace("'", "").replace("_", "")
    if _PLAIN.fullmatch(bare):
        return [bare], len(used)
    if _GROUPED.fullmatch(bare):
        return [bare.replace(",", "")], len(used)
    if _DOTTED.fullmatch(bare):
        return [bare.replace(".", "").replace(",", ".")], len(used)
    if _COMMA.fullmatch(bare) and not listed:
        return [bare.replace(",", ".")], len(used)
    if bare.count(".") > 1 and "," not in bare:
        return [], len(used)  # a version or an address
    parts = [part.strip(".") for part in bare.split(",")]
    return [part for part in parts if _PLAIN.fullmatch(part)], len(used)


def _go_on(text: str, told: str, at: int) -> tuple[float, int]:
    """Return a number with the exponent, power or fraction that follows it."""
    value = float(told)
    try:
        if found := _EXPONENT.match(text, at) or _TEN_TO.match(text, at):
            value, at = float(f"{told}e{found[1]}"), found.end()
        elif found := _POWER.match(text, at):
            value, at = value ** int(found[1]), found.end()
        elif found := _OVER.match(text, at):
            value, at = value / float(found[1]), found.end()
        elif found := _AND_A.match(text, at):
            above, below = int(found[1]), int(found[2])
            if above < below and value.is_integer():
                value, at = value + above / below, found.end()
        if text[at : at + 1] == "π":
            value, at = value * math.pi, at + 1
    except (OverflowError, ZeroDivisionError):
        return math.nan, at
    return value, at


def _is_part_of_a_word(text: str, start: int) -> bool:
    """Tell whether digits go on a name such as ``CO2`` or a power such as ``^2``."""
    before = text[start - 1 : start]
    if not before:
        return False
    if before in "^_." or before.isdigit():
        return before != "_" or text[start - 2 : start - 1].isalnum()
    return bool(_LETTER.match(before)) and not unspaced(before)


def _is_negative(text: str, start: int) -> bool:
    """Tell whether a sign before a number is its own and no operator."""
    found = _SIGN.search(text[max(0, start - 4) : start])
    if not found or "-" not in found[0]:
        return False
    sign = max(0, start - 4) + found.start()
    before = text[max(0, sign - 1) : sign]
    spaced = found[0].rstrip("$€£¥₹₽") != "-"
    if spaced:  # "5 - 3" subtracts, "- 3" alone is negative
        return text[max(0, sign - 3) : sign].strip() in ("", ":", "=", "(")
    return not (before.isalnum() or before in (")", "]", "}", "."))
