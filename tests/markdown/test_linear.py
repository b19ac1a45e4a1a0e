"""Hostile texts: work grows with their size, and none costs the answer.

Work is the processor's time for a text, compared with that for half of it: the ratio does
not depend on the machine, and includes what is done in C.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from support.work import seconds

from kimikit import html
from kimikit.markdown import parser, safe
from kimikit.markdown.writer import NOTE
from kimikit.notebook.blocks import preview
from kimikit.notebook.progress import Progress
from kimikit.sweeps.side_by_side import marked
from kimikit.types import Delta

SIZE = 25_000
NOISE_S = 0.06
"""What a view may take more from some size on, coverage's own work included."""


def rep(piece: str) -> Callable[[int], str]:
    return lambda size: piece * (size // len(piece))


HOSTILE: dict[str, Callable[[int], str]] = {
    "quotes": lambda n: ">" * n + "x",
    "quotes apart": rep("> "),
    "lists": rep("- "),
    "numbers": rep("1. "),
    "lists down": lambda n: "".join(" " * i + "- a\n" for i in range(int((2 * n) ** 0.5))),
    "items": rep("- a\n"),
    "loose items": rep("- a\n\n"),
    "lazy lines": lambda n: "> a\n" + "b\n" * (n // 2),
    "stars": rep("*"),
    "open emphasis": rep("*a "),
    "closed emphasis": lambda n: "a*" * (n // 4) + "*b" * (n // 4),
    "nested emphasis": lambda n: "*a **b " * (n // 14) + "b** a*" * (n // 14),
    "tildes": rep("~"),
    "brackets": rep("["),
    "links": rep("[a]("),
    "link in link": lambda n: "[" * (n // 6) + "a" + "](b)" * (n // 6),
    "images": rep("!["),
    "image in image": lambda n: "![" * (n // 6) + "a" + "](b)" * (n // 6),
    "references": lambda n: "[a]: b\n\n" + "[a] " * (n // 4),
    "labels": rep("[a\n"),
    "backticks": lambda n: "".join("`" * i + " " for i in range(1, int((2 * n) ** 0.5))),
    "code": rep("`a"),
    "dollars": rep("$a "),
    "escaped dollars": lambda n: "$" + "\\$" * (n // 2),
    "round": rep("\\(a "),
    "square": rep("\\[a "),
    "square lines": rep("\\[a\n"),
    "round and code": lambda n: "\\(" * (n // 4) + "`" + "\\)" * (n // 4),
    "environments": rep("\\begin{a}"),
    "environment lines": rep("\\begin{a}\n"),
    "environments in each other": lambda n: "\\begin{a}" * (n // 17) + "\\end{a}" * (n // 17),
    "braces": lambda n: "$" + "{" * (n // 2) + "}" * (n // 2) + "$",
    "entities": rep("&#1;"),
    "tags": rep("<a "),
    "addresses": rep("http://a"),
    "address and brackets": lambda n: "http://a" + ")" * n,
    "addresses and wide letters": rep("https://a.b了"),
    "columns": lambda n: "|" + "a|" * (n // 6) + "\n|" + "-|" * (n // 6) + "\n|" + "b|" * (n // 6),
    "rows": lambda n: "|a|\n|-|\n" + "|b|\n" * (n // 4),
    "rows without cells": lambda n: "|" + "a|" * 999 + "\n|" + "-|" * 999 + "\n" + "b\n" * (n // 50),
    "bars in code": lambda n: "|a|\n|-|\n|" + "`|" * (n // 2),
    "spaces before rows": lambda n: "|a|\n" + " " * n + "x",
    "fences": rep("```\na\n```\n"),
    "open fences": lambda n: "".join("`" * i + "\n" for i in range(int((2 * n) ** 0.5), 2, -1)),
    "setext": rep("a\n=\n"),
    "breaks": rep("\\\n"),
    "lines": rep("word\n"),
    "escapes": rep("\x1b]"),
    "wide emphasis": rep("**注意：**这"),
    "one open fence": lambda n: "```\n" + "a\n" * (n // 2),
    "blank lines": rep("\n"),
    "all marks": rep("[*_`<$\\(&!~"),
}  # fmt: skip


def streamed(text: str) -> None:
    progress = Progress(0.0, 48)
    progress.take(Delta(text), 0.0)
    for _ in range(0, len(text) + 6000, 6000):
        progress.parts(0.0)


VIEWS = {
    "safe": safe,
    "preview": preview,
    "streamed": streamed,
    "pre": html.pre,
    "marked": lambda text: marked(text[::-1], text),
    "footer": lambda text: html.footer_line([text, text]),
}


WORST = (
    "rows without cells", "items", "loose items", "environment lines", "fences", "lines",
    "rows", "setext",
)  # fmt: skip


@pytest.mark.parametrize("name", WORST)
def test_redraws_of_a_growing_answer_parse_a_bounded_part_of_it(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seventeen redraws of 100 kB of these made 200,000 tokens, and took a second."""
    from markdown_it.rules_block import StateBlock

    made, push = [0], StateBlock.push

    def counted(*args: Any) -> Any:
        made[0] += 1
        return push(*args)

    monkeypatch.setattr(StateBlock, "push", counted)
    progress, text = Progress(0.0, 48), HOSTILE[name](100_000)
    for at in range(0, len(text), 6_000):
        progress.take(Delta(text[at : at + 6_000]), 0.0)
        progress.parts(0.0)
    assert made[0] < 25_000


@pytest.mark.parametrize("name", ["images", "image in image", "all marks", "brackets"])
def test_what_follows_a_bracket_is_not_looked_through_again_and_again(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A first redraw of 6,000 characters looked at half a million marks."""
    from markdown_it.parser_inline import ParserInline

    seen, skip = [0], ParserInline.skipToken

    def counted(*args: Any) -> Any:
        seen[0] += 1
        return skip(*args)

    monkeypatch.setattr(ParserInline, "skipToken", counted)
    streamed(HOSTILE[name](100_000))
    assert seen[0] < 100_000


def test_lines_of_an_open_environment_are_not_read_again_for_each_that_opens_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """1,600 environments without an end read 640,000 lines."""
    read, lines_of = [0], parser._lines_of

    def counted(*args: Any) -> Any:
        for line in lines_of(*args):
            read[0] += 1
            yield line

    monkeypatch.setattr(parser, "_lines_of", counted)
    for piece in ("\\begin{a}\n", "\\begin{align}\nx &= 1\n"):
        safe(piece * (10_000 // len(piece)))
        streamed(piece * (100_000 // len(piece)))
    assert read[0] < 100_000


def ratio(view: Callable[[str], object], small: str, large: str) -> float:
    """Return how much more the larger text costs, the least of several tries."""
    view("warm")
    ratios = []
    for _ in range(3):  # a quadratic search needs four times as much, each time
        twice = seconds(view, large)
        if twice < 3 * NOISE_S:
            return 0.0  # whatever the half takes
        ratios.append(twice / (seconds(view, small) + NOISE_S))
        if ratios[-1] < 3:
            break
    return min(ratios)


@pytest.mark.parametrize("name", HOSTILE)
def test_twice_the_text_is_twice_the_work(name: str) -> None:
    small, large = HOSTILE[name](SIZE), HOSTILE[name](2 * SIZE)
    ratios = {each: ratio(view, small, large) for each, view in VIEWS.items()}
    assert {each: more for each, more in ratios.items() if more >= 3} == {}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_follows_is_shown_whatever_came_before(name: str) -> None:
    for size in (3_000, 120_000):
        assert "kernel" in safe(HOSTILE[name](size) + "\n\nkernel")


@pytest.mark.parametrize("depth", [5, 50, 123, 500, 5_000])
@pytest.mark.parametrize(
    "marks",
    [
        ("*a **b ", "b** a*"),
        ("*", "*"),
        ("~~**", "**~~"),
        ("> ", ""),
        ("- ", ""),
        ("[", "](http://x.y)"),
    ],
)
def test_no_depth_is_too_deep(marks: tuple[str, str], depth: int) -> None:
    shown = safe(marks[0] * depth + "kernel" + marks[1] * depth)
    assert "kernel" in shown


def test_a_list_deeper_than_the_parser_goes_keeps_its_words() -> None:
    text = "\n".join(f"{'  ' * i}- level {i}" for i in range(60))
    shown = safe(text + "\n\nafter")
    for i in range(60):
        assert f"level {i}" in shown
    assert "after" in shown


def test_a_text_of_nothing_but_marks_is_shown_as_it_was_written() -> None:
    text = "- a\n" * 25_000
    shown = safe(text)
    assert shown.endswith(NOTE)
    assert shown.startswith("```\n- a\n- a")


@pytest.mark.parametrize(
    "piece", ["word word \n- ", "- - a    \n", "1. - $$\n\n1. ", "> 1. - word word w\n"]
)
def test_items_of_lists_count_as_the_work_that_they_are(piece: str) -> None:
    """Each begins a list of its own, though there are few marks in it."""
    assert safe(piece * (60_000 // len(piece))).endswith(NOTE)
    shopping = "- **Bread**: two loaves, and butter for both of us\n" * 1_000
    assert not safe(shopping).endswith(NOTE)


def test_a_long_answer_is_set_as_ever() -> None:
    section = (
        "## Part\n\nSome **bold** words, `code` and $x^2$, as one writes them, and a few "
        "more of them.\n\n- one item\n- another item of a list\n\n| a | b |\n|---|---|\n"
        "| 1 | 2 |\n\n```python\nx = [a * b for a, b in [(1, 2)]]\n```\n\n"
    )
    shown = safe(section * 500)
    assert not shown.endswith(NOTE)
    assert shown.count("## Part") == 500
