"""A view that fails costs nothing: the answer is returned, and shown as text."""

from __future__ import annotations

import io
import types
from typing import Any

import pytest

from kimikit.markdown import safe
from kimikit.markdown.writer import NOTE
from kimikit.notebook import screen, stream_view, trace_view
from kimikit.notebook.race_view import Race
from kimikit.notebook.screen import Guarded, View
from kimikit.tools.values import Run, RunFinished
from kimikit.types import Delta, Reply

ESCAPES = "\x1b]52;c;Y3VybA==\x07\x1b]0;owned\x07\x1b[2J\x9b31m\u202e\rover"


class Publisher:
    """Keeps what is shown, by display."""

    session = object()

    def __init__(self) -> None:
        self.parent_header = {"msg_id": "1"}
        self.shown: dict[str, dict[str, str]] = {}

    def publish(self, data: Any, transient: Any = None, update: bool = False) -> None:
        self.shown[(transient or {}).get("display_id", "")] = data

    def clear_output(self, wait: bool) -> None:
        self.shown.clear()


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch) -> Any:
    formatter = types.SimpleNamespace(for_type=lambda *_: None)
    shell = types.SimpleNamespace(
        display_pub=Publisher(),
        execution_count=1,
        display_formatter=types.SimpleNamespace(ipython_display_formatter=formatter),
    )
    monkeypatch.setattr(screen, "kernel_shell", lambda: shell)
    return shell


def ask(reply: Reply, **options: Any) -> Reply:
    with stream_view.answer_view(True, **options) as view:
        view(Delta(reply.text))
        view.finish(reply)
    return reply


def shown(shell: Any) -> str:
    return str(shell.display_pub.shown)


@pytest.mark.parametrize(
    ("module", "name"),
    [
        (stream_view, "safe"),
        (stream_view, "below"),
        (stream_view, "thinking"),
        (stream_view.Progress, "take"),
        (stream_view.Progress, "parts"),
        (screen.Screen, "draw"),
    ],
)
@pytest.mark.parametrize("fault", [RecursionError, ValueError, MemoryError, KeyError])
def test_the_answer_comes_back_whatever_fails(
    shell: Any, monkeypatch: pytest.MonkeyPatch, module: Any, name: str, fault: type
) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise fault("broken")

    monkeypatch.setattr(module, name, fail)
    reply = Reply(text="**the** answer", reasoning="so", model="m", host="h")
    assert ask(reply) is reply
    if name not in ("parts", "draw"):
        assert "**the** answer" in shown(shell)


def test_a_footer_that_fails_leaves_the_text_and_a_note(shell: Any) -> None:
    def total() -> Any:
        raise OSError("the ledger is gone")

    ask(Reply(text="the <b>answer</b>"), total=total)
    assert "the &lt;b&gt;answer&lt;/b&gt;" in shown(shell)
    assert "Shown as plain text, as its view failed: OSError." in shown(shell)


def test_stop_still_stops(shell: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(stream_view, "below", stop)
    with pytest.raises(KeyboardInterrupt):
        ask(Reply(text="x"))


def test_an_error_of_the_question_goes_on_its_way(shell: Any) -> None:
    def asked() -> None:
        with stream_view.answer_view(True) as view:
            view(Delta("a"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        asked()


def test_a_closed_terminal_does_not_end_the_answer() -> None:
    out = io.StringIO()
    with stream_view.answer_view(True, out=out) as view:
        view(Delta("a"))
        out.close()
        view(Delta("b"))
        view.finish(Reply(text="ab"))


def test_a_run_comes_back_too(shell: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> str:
        raise RecursionError

    monkeypatch.setattr(trace_view.views, "run_sections", fail)
    with trace_view.trace_view(True) as view:
        view(RunFinished(Run(reply=Reply(text="**done**"))))
    assert "**done**" in shown(shell)


def test_a_view_that_failed_once_is_not_asked_again() -> None:
    class Broken(View):
        steps = 0

        def __call__(self, step: Any) -> None:
            self.steps += 1
            raise ValueError

    broken = Broken()
    with Guarded(broken) as view:
        for _ in range(3):
            view(Delta("a"))
    assert broken.steps == 1


@pytest.mark.parametrize("broken", ["parse", "blocks", "is_dense"])
def test_text_that_cannot_be_set_is_shown_as_written(
    monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    from kimikit.markdown import density, parser, writer

    def fail(*_: Any, **__: Any) -> Any:
        raise RecursionError

    where = {"parse": parser, "blocks": writer._Writer, "is_dense": density}[broken]
    monkeypatch.setattr(where, broken, fail)
    assert safe("**a** ``` <b>") == f"````\n**a** ``` <b>\n````\n\n{NOTE}"


@pytest.mark.parametrize(
    "name", ["m\n\n![x](http://c.test/p)", "`m` *b* [a](http://x.y) $x$", "<b>m</b>"]
)
def test_a_name_of_a_model_stays_small_print(name: str) -> None:
    from markdown_it import MarkdownIt

    for text in ("said", ""):
        bundle = trace_view._answered(Reply(text=text, model=name, host=name))
        page = bundle.get("text/markdown") or bundle["text/html"]
        shown = MarkdownIt("commonmark", {"html": True}).render(page)
        assert not any(tag in shown for tag in ("<img", "<a ", "<em>", "<code>", "<b>"))
        assert "\n\n" not in page.split("<small>")[1]


def test_nothing_reaches_the_screen_that_is_not_cleaned(shell: Any) -> None:
    view = screen.Screen(shell)
    view.settle([{"text/plain": ESCAPES, "text/html": f"<b>{ESCAPES}</b>"}])
    assert "\x1b" not in repr(list(shell.display_pub.shown.values()))
    assert "u202e" not in ascii(list(shell.display_pub.shown.values()))


def test_a_race_and_its_names_hold_no_escapes() -> None:
    race = Race(
        {
            f"a{ESCAPES}": (Reply(text=ESCAPES, model=ESCAPES), None),
            "b": (Reply(), ValueError(ESCAPES)),
        }
    )
    for text in (repr(race), race._repr_html_()):
        assert "\x1b" not in text
        assert "\r" not in text
        assert "\u202e" not in text
