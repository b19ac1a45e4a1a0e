"""Make the controls of the playground and of questions from core widgets."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import ipywidgets as w

from kimikit import html

WIDGET = "application/vnd.jupyter.widget-view+json"


_ECHOED = "description_allow_html"
"""A trait that every field has, and that no plain description shows."""


class Echo:
    """Waits until the front end has sent all that fields hold.

    A front end sends the next change of a field only once the kernel is done with the
    one before, and a click at once: where the kernel is busy or the line is slow, the
    click overtakes what was typed before it (``pendingMsgs`` in ``widget.ts`` of
    ipywidgets). So the front end is asked after a click to change a trait of each field
    too, which it sends with or after all else that it holds back of this field.

    Args:
        fields: The fields.
        heard: Told, in the thread that hears it, whenever the front end answers.
        live: Whether there is a front end for certain, which will answer.
    """

    def __init__(
        self,
        *fields: w.Widget,
        heard: Callable[[], object] = lambda: None,
        live: bool = False,
    ) -> None:
        self._heard, self._live = heard, live
        self._asked = w.Checkbox(value=True)  # unlike the fields: an answer is a change
        self._fields: list[w.Widget] = []
        self._links: list[w.Widget] = []
        self._waiting: list[Callable[[], object]] = []
        self._early, self._lock = False, threading.Lock()
        self.add(*fields)

    @property
    def widgets(self) -> list[w.Widget]:
        """All that it is made of, and the fields."""
        return [self._asked, *self._links, *self._fields]

    def add(self, *fields: w.Widget) -> None:
        """Wait for these fields too."""
        for field in fields:
            field.observe(lambda _: self._came(), _ECHOED)
            link = w.jsdlink((self._asked, "value"), (field, _ECHOED))
            self._links.append(link)
            self._fields.append(field)

    def then(self, act: Callable[[], object]) -> None:
        """Call once all is known; at once where no front end has ever answered."""
        if not self._live:
            act()
            return
        with self._lock:
            self._waiting = [act]
            # Asked twice before it answers, it may send the last alone: no change here.
            self._early = not self._all_answered()
            if not self._early:
                self._asked.value = not self._asked.value

    def _all_answered(self) -> bool:
        asked = self._asked.value
        return all(getattr(each, _ECHOED) == asked for each in self._fields)

    def _came(self) -> None:
        self._live = True
        self._heard()
        with self._lock:  # fields may be heard by several shells, each in a thread
            if not self._all_answered():
                return
            if self._early:
                self._early = False
                self._asked.value = not self._asked.value
                return
            waiting, self._waiting = self._waiting, []
        for act in waiting:
            act()


def dial(kind: Any, name: str, tip: str, *, width: str = "98%", **options: Any) -> Any:
    """Return a widget of this kind to set a value with."""
    layout = w.Layout(width=width, min_width="180px")
    style = {"description_width": "90px"}
    return kind(description=name, tooltip=tip, layout=layout, style=style, **options)


def alert(text: str) -> str:
    """Return what is said beside a field, to screen readers at once."""
    return html.wrap(f'<div class="remedy" role="alert">{html.esc(text)}</div>')


def noted(field: w.Widget, note: w.HTML) -> w.VBox:
    """Return a field with the place below it where what is wrong with it is said."""
    return w.VBox([field, note], layout=w.Layout(min_width="0"))


def button(
    name: str,
    tip: str,
    act: Callable[[], object],
    style: str = "",
    *,
    after: Echo | None = None,
) -> w.Button:
    """Return a button that calls ``act``, which reads fields only ``after`` an echo."""
    narrow = w.Layout(width="auto")
    made = w.Button(description=name, tooltip=tip, button_style=style, layout=narrow)
    made.on_click(lambda _: act() if after is None else after.then(act))
    return made


def view(widget: w.Widget) -> dict[str, Any]:
    """Return what a display needs to show the live widget, and nothing else."""
    return {WIDGET: (widget._repr_mimebundle_() or {})[WIDGET]}
