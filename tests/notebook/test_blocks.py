"""The block splitter: nothing lost, the same blocks however the text arrives."""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kimikit.markdown import safe
from kimikit.notebook.blocks import CUT_AT, Splitter, preview

PIECES = [
    "# Head\n", "para one\n", "para *two*\n", "\n", "\n\n", "- item\n", "  more\n",
    "1. one\n", "   ```py\n   x = 1\n   ```\n", "```python\ncode\n\ncode\n```\n",
    "~~~\n```\n~~~\n", "| a | b |\n|---|---|\n| 1 | 2 |\n", "$$\nx = y\n$$\n",
    "\\[ a \\]\n", "> quote\n", "> more\n", "    indented\n", "---\n", "***\n", "===\n",
    "\\begin{align}\na &= b\n\\end{align}\n", "<details>\n", "</details>\n", "* star\n",
    "10) ten\n", "text with `code` and $5\n", "Setext\n---\n", "-\n", "```\n", "$$\n",
]  # fmt: skip
documents = st.lists(st.sampled_from(PIECES), max_size=14).map("".join)
anything = st.one_of(documents, st.text(alphabet="ab \n\t`~$#->*|1.\\[]<", max_size=80))


def split(text: str) -> list[str]:
    splitter = Splitter()
    return [*splitter.feed(text), splitter.open]


@given(anything)
def test_blocks_together_are_the_text(text: str) -> None:
    assert "".join(split(text)) == text


@given(anything, st.lists(st.integers(0, 120), max_size=8))
@example("a\n$$\nb\n$$ c\n", [7])
@example("para\n\n[a]:\nhttp://x\n\nmore\n", [11])
def test_any_chunking_gives_the_same_blocks(text: str, cuts: list[int]) -> None:
    splitter = Splitter()
    blocks: list[str] = []
    edges = sorted({0, len(text), *(c for c in cuts if c < len(text))})
    for start, end in itertools.pairwise(edges):
        blocks += splitter.feed(text[start:end])
        assert "".join([*blocks, splitter.open]) == text[:end], "nothing is lost"
    assert [*blocks, splitter.open] == split(text)


@pytest.mark.parametrize(
    "blocks",
    [
        ["para\n", "\n# Head\n", "para"],
        ["- a\n\n  more\n\n- b\n\n", "end\n", "\n"],
        ["1. a\n   ```\n\n   x\n   ```\n2. b\n"],
        ["text\n", "```py\na\n\n# not a heading\n```\n", "end"],
        ["$$\na\n- b\n$$\n", "after\n"],
        ["\\[ x \\]\n", "\\begin{align*}\na\n\\end{align*}\n", ""],
        ["| a |\n|---|\n| 1 |\n", "\n> q\n", "\n---\n", ""],
        ["Title\n---\n", "text\n"],
        ["<details>\n<summary>x</summary>\n", "\nbody\n"],
        ["- a\n", "* b\n"],
        ["\n\n    code\n\n    code\n", "text\n"],
        ["\\begin{x} then text \\end{x} on\n", "\n$$ a\nb $$ c\n", "\n"],
        ["para\n", "| a |\n|---|\n"],
        ["> a\nlazy\n", "\n> b\n"],
    ],
)
def test_blocks_end_where_markdown_says(blocks: list[str]) -> None:
    assert split("".join(blocks)) == blocks


@given(st.lists(st.sampled_from(PIECES[:-3]), max_size=10).map("".join))
def test_blocks_one_by_one_read_as_the_whole_text(text: str) -> None:
    # An empty item and a "$$" or fence without an end are left out: what follows
    # them is read in another way until the whole text is shown.
    apart = "\n\n".join(filter(None, map(safe, split(text))))
    assert words(apart) == words(safe(text))


def words(markdown: str) -> list[str]:
    return re.findall(r"\w+", markdown)


@pytest.mark.parametrize(
    ("head", "line"),
    [
        ("```python\n", "x = 1\n"),
        ("", "- an item\n"),
        ("| a | b |\n|---|---|\n", "| 1 | 2 |\n"),
    ],
)
@pytest.mark.parametrize("end", ["", "\n", "```\n\n"])
def test_a_long_block_goes_on_in_a_new_one(head: str, line: str, end: str) -> None:
    splitter = Splitter()
    blocks = [
        b for piece in (head, *[line * 100] * 15, end) for b in splitter.feed(piece)
    ]
    blocks.append(splitter.open)
    assert len(blocks) > 2
    assert all(len(block) < CUT_AT + 100 for block in blocks)
    assert all(block.startswith(head + line) for block in blocks[:-1])
    assert "".join(b.removeprefix(head) for b in blocks) == line * 1500 + end
    assert blocks == split(head + line * 1500 + end)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a **bold", "a **bold**"),
        ("a **", "a "),
        ("a `code", "a `code`"),
        ("a ``co`de", "a ``co`de``"),
        ("see [the page](http://x", "see the page"),
        ("Here:\n-", "Here:\n"),
        ("Here:\n1.", "Here:\n"),
        ("all \\** `done` **well**", "all \\** `done` **well**"),
        ("```py\nx", "```py\nx"),
        ("1. a\n   ```py\n   x `", "1. a\n   ```py\n   x `"),
        ("1. a\n   ```\n   x\n   ```\n2. **b", "1. a\n   ```\n   x\n   ```\n2. **b**"),
        ("> ~~~\n> *", "> ~~~\n> *"),
        ("$$\nx^2", "```latex\n$$\nx^2\n```"),
        ("- a\n\n$$x^2", "- a\n\n```latex\n$$x^2\n```"),
        ("$$\nx^2\n$$", "$$\nx^2\n$$"),
        ("| a |\n|---|\n| *x | **y", "| a |\n|---|\n| *x | **y**"),
        ("    x = `", "    x = `"),
    ],
)
def test_what_is_open_is_closed_for_show(text: str, shown: str) -> None:
    splitter = Splitter()
    splitter.feed(text)
    assert preview(splitter.open) == shown
