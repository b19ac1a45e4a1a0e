"""The view outside notebooks: plain text on a terminal, nothing in a pipe."""

from __future__ import annotations

import io
from decimal import Decimal

import pytest
from support.streamed import reply, steps

from kimikit.notebook.progress import call_text
from kimikit.notebook.screen import View
from kimikit.notebook.stream_view import answer_view
from kimikit.types import Delta, ToolCall, Usage, Wait


class Terminal(io.StringIO):
    """A stream that says it is one."""

    def isatty(self) -> bool:
        return True

    @property
    def screen(self) -> str:
        """What stands there in the end: lines returned over are replaced."""
        lines = self.getvalue().split("\n")
        return "\n".join(line.split("\r")[-1] for line in lines)


def test_a_terminal_gets_the_text_as_it_comes_and_one_footer() -> None:
    out = Terminal()
    with answer_view(out=out, total=lambda: "$0.5000") as view:
        view(Wait(seconds=3, reason="The host is busy", attempt=1))
        view(Delta(reasoning="Hm."))
        for step in steps("Hello **you**."):
            view(step)
        assert out.screen == "Hello **you**."
        view.finish(reply("Hello **you**.", notes=("A note.",)))
    text, note, footer, end = out.screen.split("\n")
    assert (text, note, end) == ("Hello **you**.", "A note.", "")
    assert footer.startswith("together · moonshotai/Kimi-K2-Instruct · 41 -> 4 tokens")
    assert footer.endswith("2026-11-18 · session $0.5000")
    assert "The host is busy, trying again in 3 s" in out.getvalue()
    assert "thinking ..." in out.getvalue()


def test_terminal_escapes_of_the_model_do_nothing() -> None:
    out = Terminal()
    with answer_view(out=out) as view:
        view(Delta(text="\x1b[31mred\x1b]0;title\x07 \u202egpj\x9b2J"))
        view(Delta(text="other", choice=1))
    assert out.getvalue() == "red gpj2J"


def test_a_pipe_gets_nothing_unless_asked(capsys: pytest.CaptureFixture[str]) -> None:
    for show in (None, False):
        with answer_view(show) as view:
            view(Delta(text="Hi"))
            view.finish(reply("Hi"))
    assert capsys.readouterr().out == ""
    with answer_view(show=True) as view:
        view(Wait(seconds=3, reason="busy", attempt=1))
        view.finish(reply("Hi"))
    shown = capsys.readouterr().out
    assert shown.startswith("Hi\ntogether · ")
    assert "busy" not in shown


def test_calls_are_shown_as_one_would_write_them() -> None:
    out = io.StringIO()
    with answer_view(show=True, out=out) as view:
        call = ToolCall("functions.f:0", "f", '{"city": "Paris", "n": 2}')
        view.finish(reply("", tool_calls=(call,)))
    assert out.getvalue().splitlines()[0] == "f(city='Paris', n=2)"
    assert call_text("f", '{"city": "Par') == "f(city='Par')"
    assert call_text("f", "") == "f()"
    assert call_text("f", "[1]") == "f([1])"
    assert call_text("f", "no json") == "f(no json)"
    long = call_text("write", '{"path": "a.py", "text": "' + "x" * 99 + '"}')
    assert long.splitlines()[1] == "    path='a.py',"


@pytest.mark.parametrize(
    ("bound", "cost"),
    [(Decimal("0.004"), "~$0.0010 to $0.0040"), (None, "~$0.0010 or more")],
)
def test_what_a_stopped_answer_costs_is_a_range(
    bound: Decimal | None, cost: str
) -> None:
    out = io.StringIO()
    with answer_view(show=True, out=out, at_most=lambda _: bound) as view:
        usage = Usage(41, 9, estimated=True)
        view.finish(reply("Half", partial=True, usage=usage))
    footer = out.getvalue().splitlines()[-1]
    assert footer.startswith("stopped · together · ")
    assert f" · ~41 -> ~9 tokens · {cost} · " in footer


def test_an_error_leaves_what_had_arrived() -> None:
    out = Terminal()
    view = answer_view(out=out)
    view(Delta(text="Half"))
    with pytest.raises(ZeroDivisionError), view:
        raise ZeroDivisionError
    assert out.screen == "Half\n"


def test_the_base_shows_nothing_and_takes_everything() -> None:
    with View() as view:
        view(Delta(text="Hi"))
        view.finish(reply("Hi"))
    assert type(answer_view(show=False)) is View
