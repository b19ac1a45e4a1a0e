"""Code of an answer put into the next cell."""

import warnings
from types import SimpleNamespace

import pytest

from kimikit import BadInput, Reply
from kimikit.errors import KimiWarning
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
    monkeypatch.setattr(next_cell, "ipython_shell", lambda: shell)
    next_cell.fill(Reply(text=PY))
    assert got == ["a = 6"]


@pytest.mark.parametrize(
    ("code", "cell"),
    [
        ("\u3164 = 1", " = 1"),  # a name, in Python and JavaScript
        ("pass\u200bword = 1\u2060", "password = 1"),
        ("x = 'a\U000e0072\U000e006d\U000e0101'", "x = 'a'"),
        ("x = '\u202ea'  # \ufeff", "x = 'a'  # "),
        ("x = '👩\u200d💻'", "x = '👩\u200d💻'"),
    ],
)
@pytest.mark.parametrize(("fence", "head"), [("python", ""), ("js", "%%javascript\n")])
def test_a_cell_holds_no_letters_that_nobody_sees(
    code: str, cell: str, fence: str, head: str
) -> None:
    assert next_cell.cell(Reply(text=f"```{fence}\n{code}\n```")) == head + cell


@pytest.mark.parametrize(
    "code",
    [
        f"x = 1{' ' * 200}; import os",
        f"if x:\n{' ' * 150}import os",
        f"x = 1{chr(0x2800) * 200}; import os",
        "x = 1\n" + "\n" * 60 + "import os",
    ],
)
def test_code_that_stands_where_nobody_looks_is_told(
    code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shell = SimpleNamespace(set_next_input=lambda text: None)
    monkeypatch.setattr(next_cell, "ipython_shell", lambda: shell)
    with pytest.warns(KimiWarning, match="Scroll to its ends"):
        next_cell.fill(code)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        next_cell.fill("def f(x):\n" + " " * 40 + "return x\n" * 200 + "\n" * 100)
