"""Nothing of a table's row is lost, and a link ends where its address does."""

from __future__ import annotations

import pytest
from markdown_it import MarkdownIt

from kimikit.markdown import safe

render = MarkdownIt("commonmark", {"html": True}).enable("table").render

ROWS = {
    "bar in code": ("| `a|b` | first |", ["a|b", "first"]),
    "bars in code": ("| `a||b|` | `|` |", ["a||b|", "|"]),
    "bar in longer code": ("| ``a`|b`` | first |", ["a`|b", "first"]),
    "bar in math": ("| $|x|$ | second |", ["\\vert x\\vert", "second"]),
    "bar in display math": ("| $$|x|$$ | second |", ["\\vert x\\vert", "second"]),
    "escaped bar": ("| a\\|b | second |", ["a|b", "second"]),
    "escaped bar in code": ("| `a\\|b` | second |", ["a|b", "second"]),
    "no outer bars": ("`a|b` | second", ["a|b", "second"]),
    "one cell too many": ("| a | b | c |", ["a", "b | c"]),
    "many cells too many": ("| a | b | c | `d|e` |", ["a", "b | c | d|e"]),
    "a cell too few": ("| a |", ["a", ""]),
    "lone backticks": ("| ` | ` |", ["`", "`"]),
    "lone dollars": ("| $5 | $6 |", ["$5", "$6"]),
    "prices and a bar": ("| $5 | `a|b` |", ["$5", "a|b"]),
}
PLACES = {
    "page": ("", ""),
    "item": ("- ", "  "),
    "quote": ("> ", "> "),
    "number": ("1. ", "   "),
}


def cells(page: str) -> list[str]:
    import html
    import re

    found = re.findall(r"<td[^>]*>(.*?)</td>", page)
    return [html.unescape(re.sub(r"<[^>]*>", "", cell)).strip("$ ") for cell in found]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", ROWS)
def test_no_cell_is_lost(name: str, place: str) -> None:
    row, expected = ROWS[name]
    first, rest = PLACES[place]
    text = f"{first}| Type | Text |\n{rest}|---|---|\n{rest}{row}\n{rest}| x | y |"
    found = cells(render(safe(text)))
    assert found == [*(cell.strip("$ ") for cell in expected), "x", "y"]


def test_a_head_with_a_bar_in_code_is_a_head() -> None:
    page = render(safe("| `a|b` | c |\n|---|---|\n| x | y |"))
    assert page.count("<th") == 2 + 1, "two heads in a thead"
    assert cells(page) == ["x", "y"]


def test_bars_outside_tables_stay() -> None:
    assert safe("a | b\n\n`a|b`").startswith("a | b")
    assert "a|b|c" in safe("```\n|-|\n|-|\na|b|c\n```")


LINKS = {
    "请看https://a.b/docs了解更多": "https://a.b/docs",
    "詳細はhttps://a.b/cを参照": "https://a.b/c",
    "여기https://a.b/c를 보세요": "https://a.b/c",
    "ดูhttps://a.b/cได้": "https://a.b/c",
    "（https://a.b/c）。": "https://a.b/c",
    "见“https://a.b/c”。": "https://a.b/c",
    "https://en.wikipedia.org/wiki/Foo_(bar)": "https://en.wikipedia.org/wiki/Foo_(bar)",
    "(see https://en.wikipedia.org/wiki/Foo_(bar)).": "https://en.wikipedia.org/wiki/Foo_(bar)",
    "(https://a.b/c)": "https://a.b/c",
    "(https://a.b/c).": "https://a.b/c",
    "[https://a.b/c]": "https://a.b/c",
    "{https://a.b/c},": "https://a.b/c",
    '"https://a.b/c", she said': "https://a.b/c",
    "See https://a.b/c, https://a.b/d!": "https://a.b/c",
    "Is it https://a.b/c?": "https://a.b/c",
    "https://a.b/c?q=1&r=2#x.": "https://a.b/c?q=1&r=2#x",
    "**https://a.b/c**": "https://a.b/c",
    "https://a.b/c_d_": "https://a.b/c_d",
    "<https://a.b/c>": "https://a.b/c",
    "https://a.b/c/": "https://a.b/c/",
    "https://a.b:8080/c;d=1,2": "https://a.b:8080/c;d=1,2",
    "https://de.wikipedia.org/wiki/Köln": "https://de.wikipedia.org/wiki/Köln",
    "https://ru.wikipedia.org/wiki/Москва.": "https://ru.wikipedia.org/wiki/Москва",
    "https://a.b/{id}/x}": "https://a.b/{id}/x",
}  # fmt: skip


@pytest.mark.parametrize("text", LINKS)
def test_a_link_is_what_was_written(text: str) -> None:
    import html
    import re
    from urllib.parse import unquote

    page = render(safe(text))
    target, shown = re.findall(r'<a href="([^"]*)">(.*?)</a>', page)[0]
    assert unquote(html.unescape(target)) == LINKS[text]
    assert unquote(html.unescape(shown)) == LINKS[text]
    whole = html.unescape(re.sub(r"<[^>]*>", "", page)).strip()
    assert unquote(whole) == re.sub(r"[<>]|\*\*", "", text)


@pytest.mark.parametrize(
    "text", ["http://", "https://!!!", "https:// a", 'http://"x', "xhttp"]
)
def test_what_is_no_address_is_text(text: str) -> None:
    assert "<a" not in render(safe(text))
