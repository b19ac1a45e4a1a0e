"""A person sees the exact arguments before they decide, wherever that is."""

import io

import pytest
from support.kernel import running_kernel
from support.scripts import call

from kimikit.errors import BadInput
from kimikit.notebook.approval import ask
from kimikit.tools import tool
from kimikit.tools.values import exact
from kimikit.types import ToolCall

SETUP = """
from support.scripts import Scripted, call, calls
from kimikit.notebook.approval import ask
from kimikit.tools import run, tool
from kimikit.types import Reply

@tool(confirm=True)
def drop(table: str) -> str:
    "Drop."
    return f"dropped {table}"

def go():
    client = Scripted(calls(call("drop", 0, table="<i>x")), Reply(text="Done."))
    return run(client, "go", [drop], ask=ask).messages[2]["content"]
"""


@tool(confirm=True)
def drop(table: str) -> str:
    """Drop a table."""
    return f"dropped {table}"


@pytest.fixture(scope="module")
def kernel():
    with running_kernel() as made:
        made.run(SETUP)
        yield made


def test_a_kernel_without_widgets_asks_by_input_below_the_arguments(kernel):
    def answer(message):
        prompts.append(message["content"]["prompt"])
        kernel.client.input("y")

    prompts, seen = [], []
    kernel.client.execute_interactive(
        "told = go()", stdin_hook=answer, output_hook=seen.append, timeout=300
    )
    assert kernel.run("1", value="told").result == "'dropped <i>x'"
    assert prompts == [
        "Run it? y, n, other arguments as JSON, or a reason why not: ",
    ]
    pages = [m["content"]["data"]["text/html"] for m in seen
             if m["msg_type"] == "display_data"]  # fmt: skip
    assert "drop asks to run with" in pages[0]
    assert "&lt;i&gt;x" in pages[0]


def test_where_nobody_can_be_asked_it_says_what_to_do(kernel):
    key = kernel.client.execute("go()", allow_stdin=False)
    ran = kernel.wait(key)
    (error,) = ran.of("error")
    assert error["ename"] == "BadInput"
    assert "approve=False" in "\n".join(error["traceback"])


@pytest.mark.parametrize("error", [EOFError(), RuntimeError("no stdin")])
def test_without_a_terminal_nobody_can_be_asked(monkeypatch, error):
    def refuse(text):
        raise error

    monkeypatch.setattr("builtins.input", refuse)
    with pytest.raises(BadInput, match="nobody to ask"):
        ask(call("drop", 0, table="x"), drop)


def test_a_terminal_shows_the_exact_arguments(monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    monkeypatch.setattr("sys.stdout", out := io.StringIO())
    assert ask(call("drop", 0, table="x"), drop) is True
    assert out.getvalue().startswith('drop {"table": "x"}\nRun it?')


def test_typed_arguments_are_asked_for_again_until_they_fit(monkeypatch):
    typed = iter(['{"tabel": "y"}', '{"table": "y"}'])
    shown = []
    monkeypatch.setattr(
        "builtins.input", lambda text: shown.append(text) or next(typed)
    )
    assert ask(call("drop", 0, table="x"), drop) == {"table": "y"}
    assert "there is no argument `tabel`" in shown[1]


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        ('{"a": "caf\u00e9 \u6771\u4eac"}', '{"a": "caf\u00e9 \u6771\u4eac"}'),
        ('{"a": "x\u202ey"}', '{"a": "x\\u202ey"}'),
        ('{"a": "x\u200b\U000e0041"}', '{"a": "x\\u200b\\udb40\\udc41"}'),
        ('{"a": "x\x1b[2J"}', '{"a": "x\\u001b[2J"}'),
        ('{"a": "x\u3164\u1160"}', '{"a": "x\\u3164\\u1160"}'),
        ('{"a": "x\ufe01\U000e0101"}', '{"a": "x\\ufe01\\udb40\\udd01"}'),
        ('{"a": "\\n\\u0000"}', '{"a": "\\n\\u0000"}'),
        ('"{\\"a\\": 1}"', '{"a": 1}'),
        ("", "{}"),
        ("{\x07", "{\\u0007"),
    ],
)
def test_nothing_in_the_arguments_is_invisible(arguments, shown):
    assert exact(ToolCall("i", "n", arguments)) == shown
