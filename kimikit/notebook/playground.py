"""Ask one prompt in up to four columns, and vote blindly on what they answer.

Button callbacks run in the kernel's main thread, so answers stream and are drawn in
another: a click on Stop is then heard at once.
What a saved notebook keeps is a second, static output, which the live one hides.
"""

from __future__ import annotations

import contextvars
import threading
import uuid
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Protocol

import ipywidgets as w

from kimikit import html
from kimikit.display.cell import kernel_shell
from kimikit.errors import KimiError
from kimikit.markdown import as_html
from kimikit.notebook import page, same_as_code
from kimikit.notebook.asked import Asked, requests
from kimikit.notebook.ballot import scores
from kimikit.notebook.controls import button, dial, view
from kimikit.notebook.dials import Wrong
from kimikit.notebook.form import Form
from kimikit.notebook.screen import (
    BYTES_PER_S,
    REDRAWS_PER_S,
    Bundle,
    emitted,
    rich,
)
from kimikit.notebook.slots import error_view, put
from kimikit.runner import Request
from kimikit.types import Host, Reply
from kimikit.wire import AsyncClient

STOP_S = 1.0
"""Seconds that an answer gets to be shown after Stop."""

SAID = 2_000
"""Characters of an answer that a screen reader is told at its end."""


class KimiLike(Protocol):
    """What the playground asks of a session."""

    @property
    def host(self) -> Host:
        """The host in use."""

    @property
    def sweep(self) -> Callable[..., Any]:
        """Price a sweep; only called with ``dry_run=True``."""

    def _with_files(self, prompt: Any, file: Any, model: Any, host: str) -> Any:
        """Put files before a prompt, for a model of a host."""


class Playground:
    """The app; show it as a cell's last value.

    Args:
        kimi: The session.
        client_for: Makes a client of a host by its name.

    Attributes:
        form: The fields, with ``form.columns``, one to four.
        replies: All answers so far, the newest last.
    """

    def __init__(
        self, kimi: KimiLike, client_for: Callable[[str | None], AsyncClient]
    ) -> None:
        self._kimi = kimi
        self._client_for = client_for
        self._now: Asked | None = None
        self._preparing: Asked | None = None
        self._over = threading.Event()
        self._over.set()
        self._asked: list[Asked] = []
        self._id = f"kimikit-{uuid.uuid4().hex[:12]}"
        self._shell = kernel_shell()
        self.replies: list[Reply] = []
        self.form = Form(kimi.host)
        self._buttons()
        tip, none = "Open an earlier answer, as it was set", [("no answers yet", None)]
        self.history = dial(w.Dropdown, "History", tip, options=none)
        self.history.index, self.history.disabled = 0, True
        self.history.observe(self._open, "value")
        self.status, self._said = w.HTML(), w.HTML()
        self.status.add_class("kimikit-status")
        self._said.add_class("kimikit-said")
        self.output = w.Output()
        self.app = self._arrange()

    def _buttons(self) -> None:
        self.run_button = self._button("Run", "Ask (Ctrl+Enter)", self.run, "primary")
        self.run_button.add_class("kimikit-run")
        stop = "Stop; keeps what arrived (Escape)"
        self.stop_button = button("Stop", stop, partial(self._guarded, self.stop))
        self.stop_button.add_class("kimikit-stop")
        self.stop_button.disabled = True
        self.code_button = self._button("As code", "The same as a cell", self.show_code)
        self.sweep_button = self._button(
            "As sweep", "A cell that sweeps what the columns differ in", self.show_sweep
        )

    def _arrange(self) -> w.VBox:
        wrap = w.Layout(flex_flow="row wrap", align_items="center")
        self._answers = w.HBox(layout=w.Layout(flex_flow="row wrap"))
        self._ballot = w.VBox()
        buttons = self.run_button, self.stop_button, self.code_button, self.sweep_button
        style = f".{self._id}{{display:none}}{page.STYLE}"
        hide = w.HTML(f"{html.STYLE}<style>{style}</style>{page.HANDLER}")
        app = w.VBox(
            [
                *self.form.rows,
                w.HBox([*buttons, self.status], layout=wrap),
                self._answers,
                self._ballot,
                self.output,
                self.history,
                self._said,
                hide,
            ]
        )
        app.add_class("kimikit")
        app.add_class("kimikit-playground")
        return app

    def _button(
        self, name: str, tip: str, act: Callable[[], None], style: str = ""
    ) -> w.Button:
        made = partial(self._guarded, act)
        return button(name, tip, made, style, after=self.form.echo)

    def _guarded(self, act: Callable[[], None]) -> None:
        """Show what goes wrong inside the app: callbacks' errors are seen nowhere."""
        try:
            act()
        except Wrong:
            self.status.value = html.footer("not asked: see beside the field")
        except Exception as exc:
            put(self.output, [error_view(exc)])

    def run(self) -> None:
        """Ask every column, as often as ``samples`` says; the answers stream in."""
        if not self._over.is_set():
            return
        text, params, files = self.form.question()
        asked = self._preparing = self.form.asked()
        hosts = {each.name: each.host.value for each in self.form.columns}
        self._over.clear()
        self.run_button.disabled, self.stop_button.disabled = True, False
        sent = partial(requests, self._kimi, text, params, files, hosts)
        begin = partial(self._begin, asked, sent)
        if files:  # A host may take its time, and Stop is for this thread to hear.
            self.status.value = html.footer("sending the files")
            self._start(partial(self._guarded, begin))
        else:
            begin()

    def _start(self, act: Callable[[], None]) -> None:
        run = contextvars.copy_context().run  # tags and budgets of the caller hold
        threading.Thread(target=run, args=(act,), daemon=True).start()

    def _begin(self, asked: Asked, sent: Callable[[], dict[str, Request]]) -> None:
        """Ask, unless it was stopped while its files were sent."""
        made: dict[str, Request] = {}
        try:
            made = sent()
        except KimiError as error:
            raise self.form.refuse_files(error) from error
        finally:
            if not made and self._preparing is asked:
                self._rest()
        if self._preparing is not asked:
            return
        self._preparing = None
        asked.begin(made, self._client_for, partial(self._guarded, self._reveal))
        self._now = asked
        self._ballot.children = ()
        self._answers.children = [slot.box for slot in asked.slots.values()]
        put(self.output, [])
        self._start(partial(self._follow, asked))

    def _rest(self) -> None:
        """Be ready for the next question."""
        self._preparing = None
        self.run_button.disabled, self.stop_button.disabled = False, True
        self._over.set()

    def _follow(self, asked: Asked) -> None:
        """Draw the answers until they are over, in a thread of its own."""
        try:
            asked.columns.run(partial(self._draw, asked))
            self._finish(asked)
        finally:
            self._over.set()

    def stop(self) -> None:
        """Stop the answers; what arrived is kept."""
        if self._preparing is not None:  # what is sent by now stays at the host
            self._rest()
            self.status.value = html.footer("stopped before anything was asked")
        elif self._now is not None:
            self._now.columns.stop()
            self._over.wait(STOP_S)

    def wait(self, timeout_s: float = 60) -> None:
        """Return when the answers are complete and shown."""
        self._over.wait(timeout_s)

    def _draw(self, asked: Asked) -> float:
        slots = asked.slots.values()
        self._tell(asked)
        size = sum(slot.draw(named=asked.named) for slot in slots)
        return max(len(slots) / REDRAWS_PER_S, size / BYTES_PER_S)

    def _tell(self, asked: Asked) -> None:
        """Say what each answer is doing, in words that change seldom."""
        states = {}
        for name, slot in asked.slots.items():
            letter = name[0] if asked.samples == 1 else f"{name[0]}{int(name[1:]) + 1}"
            states[slot.label if asked.blind else letter] = slot.state
        alone = len(states) == 1
        lines = [s if alone else f"{name}: {s}" for name, s in states.items()]
        said = html.footer(" · ".join(lines))
        if self.status.value != said:
            self.status.value = said

    def _finish(self, asked: Asked) -> None:
        columns = asked.columns.by_name.values()
        done = [c.reply for c in columns if c.reply.text or c.error is None]
        self.replies += done
        try:
            self._asked.append(asked)
            asked.unblind_without()
            self._tell(asked)
            self._place_errors(asked)
            self._list_history()
            self._show_answers(asked)
        except Exception as exc:
            put(self.output, [error_view(exc)])
        self.run_button.disabled, self.stop_button.disabled = False, True

    def _place_errors(self, asked: Asked) -> None:
        """Say beside a field what a host said of it."""
        for each in self.form.columns:
            for name, column in asked.columns.by_name.items():
                if name[0] == each.name and column.error is not None:
                    each.place(column.error)

    def _show_answers(self, asked: Asked) -> None:
        for slot in asked.slots.values():
            slot.finish(named=asked.named)
        ballot = asked.ballot
        self._ballot.children = (ballot.box,) if ballot and ballot.open else ()
        if ballot is not None and not ballot.open:
            put(self.output, [self._scores(asked)])
        words = [
            f"{slot.title if asked.named else slot.label}: {html.cut(slot.words, SAID)}"
            for slot in asked.slots.values()
        ]
        self._said.value = html.pre("\n".join(words))
        self._keep()

    # Votes and history.

    def _reveal(self) -> None:
        """Name the answers: the last vote is given."""
        if self._now is not None:
            self._show_answers(self._now)

    def _scores(self, asked: Asked) -> Bundle:
        titles = {asked.key(letter): title for letter, title in asked.titles.items()}
        given = (each.ballot for each in self._asked if each.ballot is not None)
        votes = [vote for ballot in given for vote in ballot.votes.values()]
        return rich(*scores(votes, titles))

    def _list_history(self) -> None:
        names = [
            f"{number}: {asked.at} · {html.opening(asked.prompt, 50)}"
            f" ({', '.join(asked.titles)})"
            for number, asked in enumerate(self._asked, 1)
        ]
        self.history.options = [*zip(names, range(len(names)), strict=True)][::-1]
        self.history.index, self.history.disabled = 0, False

    def _open(self, change: Mapping[str, Any]) -> None:
        """Show an earlier answer, and set all fields as they were for it."""
        index = change["new"]
        if not self._over.is_set() or index is None:
            return
        asked = self._asked[index]
        if asked is self._now:
            return
        self._now = asked
        self.form.restore(asked)
        put(self.output, [])
        self._answers.children = [slot.box for slot in asked.slots.values()]
        self._tell(asked)
        self._show_answers(asked)

    def rows(self) -> list[tuple[object, ...]]:
        """Return one row per answer that may be named, the newest run first."""
        return [row for asked in self._asked[::-1] for row in asked.rows()]

    # As code.

    def _columns(self) -> tuple[str, same_as_code.Columns]:
        text, params, files = self.form.question()
        shown = {"file": [*files]} if files else {}
        return text, {
            each.name: (each.host.value, {**params[each.name], **shown})
            for each in self.form.columns
        }

    def code(self) -> str:
        """Return the cell that asks the same."""
        text, columns = self._columns()
        own = self._kimi.host.name
        return same_as_code.chats(text, columns, self.form.samples.value, own)

    def show_code(self) -> None:
        """Show that cell, to be copied."""
        self._show([_code(self.code())])

    def show_sweep(self) -> None:
        """Show the cell that sweeps what differs, and what it would cost."""
        text, columns = self._columns()
        own = self._kimi.host.name
        grids = same_as_code.grids(columns, self.form.samples.value, own)
        shown = [_code(same_as_code.sweeps(text, grids))]
        if [*grids] == [own] and not self.form.files.value:
            price = self._kimi.sweep(text, dry_run=True, **grids[own])
            shown.append({"text/plain": html.clean(str(price))})
        self._show(shown)

    def _show(self, bundles: list[Bundle]) -> None:
        put(self.output, bundles)
        self._keep()

    # What a saved notebook keeps.

    def _static(self) -> Bundle:
        titles = " · ".join(
            f"{each.name}: "
            + ", ".join(f"{k}={v!r}" for k, v in each.settings.items() if v != "")
            for each in self.form.columns
        )
        plain = [self.form.prompt.value, titles]
        foot = html.footer(titles)
        parts = [f'<div class="{self._id}">', html.pre(self.form.prompt.value), foot]
        if self._now is not None:
            for slot in self._now.slots.values():
                text, shown = slot.kept(named=self._now.named)
                plain.append(text)
                parts.append(shown)
        for output in self.output.outputs:
            text = output["data"].get("text/plain", "")
            plain.append(text)
            parts.append(output["data"].get("text/html") or html.pre(text))
        if rows := self.rows():
            heads = ("asked", "", "host", "model", "temperature", "tokens", "cost")
            table = html.table((*heads, "ended"), rows, numeric=(4, 5, 6))
            parts.append(html.fold(f"history: {len(rows)}", table))
        return rich("\n".join(plain), *parts, "</div>")

    def _keep(self, *, update: bool = True) -> None:
        if self._shell is not None:
            where = {"display_id": self._id}
            self._shell.display_pub.publish(
                emitted(self._static()), transient=where, update=update
            )

    def __repr__(self) -> str:
        return page.NO_WIDGETS

    def _repr_html_(self) -> str:
        shown = self._static()["text/html"] if self._asked else ""
        return html.wrap(html.footer(page.NO_WIDGETS)) + shown

    def _ipython_display_(self) -> None:
        from IPython.display import display

        note = "The controls of this playground come back when its cell is run."
        said = rich(note, html.footer(note))
        display({**view(self.app), **said}, raw=True)  # type: ignore[no-untyped-call]
        self._keep(update=False)


def _code(code: str) -> Bundle:
    return rich(code, as_html(f"```python\n{code}\n```"))  # with a button to copy it
