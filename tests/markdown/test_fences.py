"""The code of an answer: as the view draws it, whatever the fence looks like."""

import time

import pytest

from kimikit import Reply
from kimikit.markdown.fences import Code, code


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("no code, only `a` word", []),
        ("```python\nprint(1)\n```", [("python", "print(1)")]),
        ("a\n\n~~~JS title=x\nlet a\n~~~\nb", [("js", "let a")]),
        ("```{.python #id}\nx\n```", [("python", "x")]),
        ("```\na\n\nb\n```\n```sh\nls | wc\n```", [("", "a\n\nb"), ("sh", "ls | wc")]),
        ("1. first:\n   ```py\n   if x:\n       y\n   ```", [("py", "if x:\n    y")]),
        ("> ```\n> quoted\n> ```", [("", "quoted")]),
        ("````md\n```py\nx\n```\n````", [("md", "```py\nx\n```")]),
        ("```python\ncut in the mid", [("python", "cut in the mid")]),
        ("```py\na\x1b[31m\u202eb\n```", [("py", "ab")]),
        (
            "```py\n| a | b |\n```\n\n| a | b |\n|---|---|\n| 1 | 2 |",
            [("py", "| a | b |")],
        ),
    ],
)
def test_blocks_of_an_answer(text: str, found: list[tuple[str, str]]) -> None:
    assert code(text) == tuple(Code(*one) for one in found)
    assert [str(block) for block in Reply(text=text).code] == [
        text for _, text in found
    ]


@pytest.mark.parametrize("piece", ["```\n", "> ", "- ```\n", "$$\n", "1. ```x\n"])
def test_hostile_text_takes_no_time(piece: str) -> None:
    begun = time.process_time()
    code(piece * (100_000 // len(piece)))
    assert time.process_time() - begun < 2
