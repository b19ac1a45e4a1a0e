"""Ask by widgets in a cell that goes on only with the answer.

While a cell runs, the main shell of its kernel is busy with it, and hears a click only
afterwards. JupyterLab from 4.4 therefore sends what its widgets say to a subshell, a
thread of its own in the kernel (Jupyter Enhancement Proposal 91), where the click is
taken while the cell waits. VS Code, Colab and older kernels have no subshells.
``answerable`` tries which it is.
"""

from __future__ import annotations

import contextlib
import json
import queue
import threading
import time
from typing import Any

import ipywidgets as w
import msgspec

from kimikit import html
from kimikit.errors import BadInput
from kimikit.notebook.controls import Echo, alert, button, dial, view
from kimikit.notebook.screen import Bundle, Screen, rich
from kimikit.tools.task import Answer
from kimikit.tools.tool import Tool
from kimikit.tools.values import arguments_of, exact
from kimikit.types import ToolCall

PATIENCE_S = 2.0
"""Seconds in which a front end must show that its widgets are heard."""

_ECHO_S = 0.25
_POLL_S = 0.2
"""Longest sleep while waiting: on Windows only a timed wait lets Ctrl-C through."""

_answering: dict[str, Echo | None] = {}
"""By front end: what was heard from it, kept open as its subshell ends with it."""

_LOOK = (
    "<style>.kimikit-question textarea"
    "{font-family:var(--jp-code-font-family,monospace)}</style>"
)


class Question:
    """One call to be decided on in a cell, which keeps the decision as static HTML.

    Args:
        call: What the model wants to run.
        tool: What it would run; changed arguments must fit it.
        screen: Where to show it.
    """

    def __init__(self, call: ToolCall, tool: Tool, screen: Screen) -> None:
        self._call = call
        self._tool = tool
        self._screen = screen
        self._answers: queue.SimpleQueue[Answer] = queue.SimpleQueue()
        text = exact(call, indent=2)
        # Their texts are sent at each key: what is typed and not sent is gone whenever
        # the kernel changes anything else of a field.
        self._arguments = dial(
            w.Textarea, "Arguments", "JSON; what stands here is run", value=text
        )
        self._arguments.rows = min(text.count("\n") + 1, 20)
        self._reason = dial(w.Text, "Reason", "Told to the model when you refuse")
        self._reason.placeholder = (
            "why not: told to the model, which goes on; empty ends the run"
        )
        self._fault = w.HTML()
        screen.put(0, self._asked())

    def by_buttons(self) -> Answer:
        """Ask with buttons and wait for a click; Stop ends the wait."""
        fields = self._arguments, self._reason
        _heed_subshells(*fields)  # before an echo, whose first answer comes at once
        echo = Echo(*fields, live=True)
        box = self._arranged(echo)
        self._screen.put(0, {**self._asked(), **view(box)})
        widgets = *_family(box), *echo.widgets
        _heed_subshells(*widgets)
        outcome = "stopped before it was decided"
        try:
            answer = self._first_answer()
            outcome = _outcome(answer)
            return answer
        finally:
            self._screen.put(0, self._settled(outcome))
            for widget in widgets:
                widget.close()

    def _first_answer(self) -> Answer:
        while True:
            with contextlib.suppress(queue.Empty):
                return self._answers.get(timeout=_POLL_S)

    def _arranged(self, echo: Echo) -> w.VBox:
        self._arguments.observe(lambda _: self._say(""), "value")
        title = w.HTML(f"{_LOOK}<b>{html.esc(self._call.name)} asks to run with</b>")
        tip = "Call it with the arguments above"
        buttons = [
            button("Run", tip, self._run, "primary", after=echo),
            button("Refuse", "Do not call it", self._refuse, after=echo),
        ]
        rows = [title, self._arguments, self._fault, self._reason, w.HBox(buttons)]
        box = w.VBox(rows)
        box.add_class("kimikit-question")
        return box

    def _edited(self) -> dict[str, Any] | None:
        """Return the arguments as they stand; say what is wrong with them, if so."""
        call = msgspec.structs.replace(self._call, arguments=self._arguments.value)
        try:
            found = arguments_of(call)
            self._tool.bind(found)
        except BadInput as exc:
            self._say(exc.what)
            return None
        return found

    def _say(self, fault: str) -> None:
        """Show what is wrong with the arguments, which nobody looks for half typed."""
        self._fault.value = alert(fault) if fault else ""

    def _run(self) -> None:
        found = self._edited()
        if found is not None:
            self._answers.put(True if found == arguments_of(self._call) else found)

    def _refuse(self) -> None:
        self._answers.put(self._reason.value.strip() or False)

    def _asked(self) -> Bundle:
        title, text = f"{self._call.name} asks to run with", self._arguments.value
        return rich(f"{title}\n{text}", f"<b>{html.esc(title)}</b>", html.pre(text))

    def _settled(self, outcome: str) -> Bundle:
        line = f"{self._call.name}({exact(self._call)}) · {outcome}"
        return rich(line, html.footer(line))


def _outcome(answer: Answer) -> str:
    if isinstance(answer, dict):
        text = json.dumps(answer, ensure_ascii=False)
        return f"allowed with other arguments: {text}"
    if answer is True:
        return "allowed"
    return f"refused: {answer}" if answer else "refused"


def answerable(shell: Any) -> bool:
    """Tell whether this front end's widgets are heard while a cell runs.

    It is asked for an echo, which it sends as a user's change; anew each time, as the
    first is sent before its subshell is there.
    """
    front_end = str(shell.kernel.get_parent().get("header", {}).get("session"))
    if front_end in _answering:
        return _answering[front_end] is not None
    end = time.monotonic() + PATIENCE_S
    heard = threading.Event()
    _answering[front_end] = None
    tried: list[Echo] = []
    while time.monotonic() < end and not heard.is_set():
        tried.append(Echo(w.Checkbox(), heard=heard.set))
        _heed_subshells(*tried[-1].widgets)
        heard.wait(_ECHO_S)
    if heard.is_set():
        _answering[front_end] = tried.pop()
    for echo in tried:
        for widget in echo.widgets:
            widget.close()
    return heard.is_set()


def _heed_subshells(*widgets: w.Widget) -> None:
    """Let what the front end says to these widgets go to the subshell it names.

    ipykernel 7.4 sends it instead to the shell that last wrote to the widget, which is
    the busy main one here, and notes that shell on the comm under a private name
    (``ipykernel/comm/comm.py``, ``publish_msg``). Without the note the front end's own
    word counts, as in kernels that take none. Should the name change, ``answerable``
    hears nothing, and ``input`` is used.
    """
    for widget in widgets:
        with contextlib.suppress(AttributeError):
            del widget.comm._reply_subshell_id


def _family(widget: w.Widget) -> list[w.Widget]:
    inner = [one for child in getattr(widget, "children", ()) for one in _family(child)]
    return [widget, *inner]
