"""Code of an answer put into the next cell."""

from types import SimpleNamespace

import pytest

from kimikit import BadInput, Reply
from kimikit.notebook import next_cell

PY = "```python\na = 6\n```"


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        (f"Do this:\n{PY}\nand:\n```py\nprint(a)\n```", "a = 6\n\n\nprint(a)"),
        (f"```bash\npip list\n```\n{PY}", "a = 6"),
        ("```\nx = 1\n```", "x = 1"),
        ("```sh\nls\n```\n```json\n{}\n```", "%%bash\nls"),
        ("```json\n{}\n```\n```html\n<b>x</b>\n```", "%%html\n<b>x</b>"),
    ],
)
def test_what_the_cell_holds(text: str, cell: str) -> None:
    assert next_cell.cell(Reply(text=text)) == cell
    assert next_cell.cell(text) == cell


def test_one_block_alone() -> None:
    first, second = Reply(text=f"{PY}\n```py\nb\n```").code
    assert [next_cell.cell(first), next_cell.cell(second)] == ["a = 6", "b"]
    assert next_cell.cell("a = 7") == "a = 7"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (Reply(text="no code"), "no code block"),
        (Reply(text="```json\n{}\n```"), r"code is json.*reply\.code\[0\]"),
        (3, "was given a int"),
        (Reply(text=PY), "no notebook and no IPython"),
    ],
)
def test_what_cannot_be_put(given: object, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        next_cell.fill(given)


def test_a_shell_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    got: list[str] = []
    shell = SimpleNamespace(set_next_input=got.append)
    monkeypatch.setattr(next_cell, "_shell", lambda: shell)
    next_cell.fill(Reply(text=PY))
    assert got == ["a = 6"]
