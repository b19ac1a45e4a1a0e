"""A question asked by widgets in a cell that goes on only with the answer.

While a cell runs, the main shell of its kernel is busy with it, and hears a click only
afterwards. JupyterLab from 4.4 therefore sends what its widgets say to a subshell, a
thread of its own in the kernel (Jupyter Enhancement Proposal 91), where the click is
taken while the cell waits. VS Code, Colab and older kernels have no subshells.
``answerable`` tries which it is.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
import uuid
from typing import Any

import ipywidgets as w
import msgspec

from kimikit import html
from kimikit.errors import BadInput
from kimikit.notebook.screen import Bundle
from kimikit.tools.task import Answer
from kimikit.tools.tool import Tool
from kimikit.tools.values import arguments_of, exact
from kimikit.types import ToolCall

PATIENCE_S = 2.0
"""Seconds in which a front end must show that its widgets are heard."""

_ECHO_S = 0.25
_POLL_S = 0.2
"""Longest sleep while waiting: on Windows only a timed wait lets Ctrl-C through."""

_answering: dict[str, w.Widget | None] = {}
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
        shell: The kernel's IPython shell.
    """

    def __init__(self, call: ToolCall, tool: Tool, shell: Any) -> None:
        self._call = call
        self._tool = tool
        self._publish = shell.display_pub.publish
        self._id = f"kimikit-{uuid.uuid4().hex[:12]}"
        self._decided = threading.Event()
        self._answer: Answer = False
        self._arguments, self._reason, self._fault = _fields(exact(call, indent=2))
        self._show(self._asked())

    def by_buttons(self) -> Answer:
        """Ask with buttons and wait for a click; Stop ends the wait."""
        box = self._arranged()
        self._show({**self._asked(), **_view(box)}, update=True)
        _heed_subshells(*_family(box))
        outcome = "stopped before it was decided"
        try:
            while not self._decided.wait(_POLL_S):
                pass
            outcome = self._outcome()
            return self._answer
        finally:
            self._show(self._settled(outcome), update=True)
            for widget in _family(box):
                widget.close()

    def _arranged(self) -> w.VBox:
        run = _button("Run", "Call it with the arguments above", "primary")
        refuse = _button("Refuse", "Do not call it")
        self._arguments.observe(lambda _: self._edited(), "value")
        run.on_click(lambda _: self._run())
        refuse.on_click(lambda _: self._decide(self._reason.value.strip() or False))
        title = w.HTML(f"{_LOOK}<b>{html.esc(self._call.name)} asks to run with</b>")
        buttons = w.HBox([run, refuse])
        box = w.VBox([title, self._arguments, self._fault, self._reason, buttons])
        box.add_class("kimikit-question")
        return box

    def _edited(self) -> dict[str, Any] | None:
        """Return the arguments as they stand; say what is wrong with them, if so."""
        call = msgspec.structs.replace(self._call, arguments=self._arguments.value)
        try:
            found = arguments_of(call)
            self._tool.bind(found)
        except BadInput as exc:
            shown = f'<div class="remedy" role="alert">{html.esc(exc.what)}</div>'
            self._fault.value = html.wrap(shown)
            return None
        self._fault.value = ""
        return found

    def _run(self) -> None:
        found = self._edited()
        if found is not None:
            self._decide(True if found == arguments_of(self._call) else found)

    def _decide(self, answer: Answer) -> None:
        # A double click decides once.
        if not self._decided.is_set():
            self._answer = answer
            self._decided.set()

    def _outcome(self) -> str:
        if isinstance(self._answer, dict):
            text = json.dumps(self._answer, ensure_ascii=False)
            return f"allowed with other arguments: {text}"
        if self._answer is True:
            return "allowed"
        return f"refused: {self._answer}" if self._answer else "refused"

    def _asked(self) -> Bundle:
        title, text = f"{self._call.name} asks to run with", self._arguments.value
        page = html.wrap(f"<b>{html.esc(title)}</b>", html.pre(text))
        return {"text/plain": html.clean(f"{title}\n{text}"), "text/html": page}

    def _settled(self, outcome: str) -> Bundle:
        line = html.clean(f"{self._call.name}({exact(self._call)}) · {outcome}")
        return {"text/plain": line, "text/html": html.wrap(html.footer(line))}

    def _show(self, bundle: dict[str, Any], *, update: bool = False) -> None:
        self._publish(bundle, transient={"display_id": self._id}, update=update)


def answerable(shell: Any) -> bool:
    """Whether this front end's widgets are heard while a cell runs.

    It is asked to copy one trait to another, which makes it send a change as a user
    would; anew each time, as the first is sent before its subshell is there.
    """
    front_end = str(shell.kernel.get_parent().get("header", {}).get("session"))
    if front_end in _answering:
        return _answering[front_end] is not None
    end = time.monotonic() + PATIENCE_S
    heard = threading.Event()
    _answering[front_end] = None
    source, tried = w.Layout(width="1px"), []
    while time.monotonic() < end and not heard.is_set():
        target = w.Layout()
        target.observe(lambda _: heard.set(), "width")
        tried += [target, w.jsdlink((source, "width"), (target, "width"))]
        _heed_subshells(target)
        heard.wait(_ECHO_S)
    for widget in tried:
        widget.close()
    if heard.is_set():
        _answering[front_end] = source
    else:
        source.close()
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


def _fields(arguments: str) -> tuple[w.Textarea, w.Text, w.HTML]:
    wide = {"layout": w.Layout(width="98%"), "style": {"description_width": "90px"}}
    # Sent when a field is left, not at each key: where the line is slow those are held
    # back, and a click would overtake what was typed before it.
    wide["continuous_update"] = False
    return (
        w.Textarea(
            arguments,
            description="Arguments",
            tooltip="JSON; what stands here is run",
            rows=min(arguments.count("\n") + 1, 20),
            **wide,
        ),
        w.Text(
            description="Reason",
            tooltip="Told to the model when you refuse",
            placeholder="why not: told to the model, which goes on; empty ends the run",
            **wide,
        ),
        w.HTML(),
    )


def _button(name: str, tip: str, style: str = "") -> w.Button:
    narrow = w.Layout(width="auto")
    return w.Button(description=name, tooltip=tip, button_style=style, layout=narrow)


def _view(widget: w.Widget) -> dict[str, Any]:
    kind = "application/vnd.jupyter.widget-view+json"
    return {kind: (widget._repr_mimebundle_() or {})[kind]}
