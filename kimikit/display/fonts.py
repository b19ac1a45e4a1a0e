"""Find fonts on this machine for the letters of a figure."""

from __future__ import annotations

import functools
from typing import Any

_WIDELY_SPREAD = ("CJK", "Han", "Hei", "Gothic", "PingFang", "YaHei", "Noto", "Unicode")
"""Parts of the names of fonts that have many letters: these are asked first."""


def lend(*texts: Any) -> bool:
    """Give texts the fonts of letters that theirs lack; tell whether each has one.

    Args:
        *texts: ``Text``s of matplotlib.
    """
    whole = True
    for text in texts:
        shown, own = text.get_text(), text.get_fontfamily()
        more, left = _families(_beyond(shown), *own)
        whole = whole and not left
        # What stands around formulas is drawn in the first font alone, and formulas
        # in fonts of TeX: what holds other letters, as between two prices, is none.
        formulas = _formulas(shown) if more and text.get_parse_math() else ""
        if _families(_beyond(formulas), *own)[0]:
            as_written(text)
            formulas = ""
        if more:
            text.set_fontfamily([*more, *own] if formulas else [*own, *more])
    return whole


def as_written(text: Any) -> None:
    """Draw a text as it is, where a dollar is no TeX.

    Args:
        text: A ``Text`` of matplotlib.
    """
    if text.get_wrap():  # which measures its lines as TeX, whatever is set
        text.set_text(text.get_text().replace("$", "\\$"))
    else:
        text.set_parse_math(False)


def _formulas(text: str) -> str:
    """Return what matplotlib draws as TeX: all between dollars, if they are even."""
    parts = text.replace("\\$", "").split("$")
    return "".join(parts[1::2]) if len(parts) % 2 else ""


def _beyond(text: str) -> frozenset[str]:
    return frozenset(c for c in text if c > "\xff" and c.isprintable())


@functools.lru_cache(256)
def _families(
    characters: frozenset[str], *first: str
) -> tuple[tuple[str, ...], frozenset[str]]:
    """Return fonts for those characters that the first ones lack, as few as do.

    Beside them stand the characters that none has.
    """
    if not characters:
        return (), characters
    from matplotlib import font_manager

    # Of the Chinese, Japanese and Korean faces of one font, the one of the language.
    kana = any("\u3040" <= c <= "\u30ff" for c in characters)
    hangul = any("\uac00" <= c <= "\ud7af" for c in characters)
    face = "JP" if kana else "KR" if hangul else "SC"
    fonts = sorted(_installed(), key=lambda font: not font[0].endswith(face))
    looks = [font_manager.FontProperties(family=[family]) for family in first]
    files = [font_manager.findfont(look) for look in looks]
    left = {c for c in characters if not any(_has(file, c) for file in files)}
    found = []
    for family, file in fonts:
        if not left:
            break
        if had := {c for c in left if _has(file, c)}:
            found.append(family)
            left -= had
    return tuple(found), frozenset(left)


@functools.cache
def _installed() -> list[tuple[str, str]]:
    """Return this system's upright fonts by family, those of many letters first."""
    from matplotlib import font_manager

    manager = font_manager.fontManager
    known = {font.fname for font in manager.ttflist}
    for path in font_manager.findSystemFonts():
        # Fonts that came after matplotlib made its list.
        if path not in known and any(part in path for part in _WIDELY_SPREAD):
            _add(manager, path)
    upright = [
        font
        for font in manager.ttflist
        if font.style == "normal" and font.weight == 400 and "Last" not in font.name
    ]
    return sorted({f.name: f.fname for f in upright}.items(), key=_order)


def _add(manager: Any, path: str) -> None:
    try:
        manager.addfont(path)
    except Exception:  # a broken file of the system is no matter of a plot
        return


def _order(font: tuple[str, str]) -> tuple[bool, bool, str]:
    family, _ = font
    return not any(part in family for part in _WIDELY_SPREAD), "Serif" in family, family


@functools.cache
def _font(file: str) -> Any:
    from matplotlib import font_manager

    try:
        return font_manager.get_font(file)
    except Exception:
        return None


def _has(file: str, character: str) -> bool:
    font = _font(file)
    return font is not None and font.get_char_index(ord(character)) != 0
