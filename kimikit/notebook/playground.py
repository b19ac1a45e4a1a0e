"""A prompt box with dials: core ipywidgets only, so that it works in every notebook.

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

from kimikit import exporting, html
from kimikit.errors import KimiError
from kimikit.markdown import as_html, safe
from kimikit.notebook.blocks import preview
from kimikit.notebook.columns import Column, Columns, ended, figures
from kimikit.notebook.controls import button, dial, view
from kimikit.notebook.progress import below
from kimikit.notebook.screen import (
    BYTES_PER_S,
    REDRAWS_PER_S,
    Bundle,
    emitted,
    kernel_shell,
    rich,
)
from kimikit.runner import Request
from kimikit.types import Host, Reply
from kimikit.wire import AsyncClient, hosts

STOP_S = 1.0
"""Seconds that an answer gets to be shown after Stop."""

TEMPERATURES = (0.0, 0.3, 0.6, 0.9, 1.2)
"""The axis of ``Sweep this``."""

# Core widgets have no key events, and their sliders no name for screen readers. Where
# a page runs handlers in HTML, as JupyterLab does, this one adds both; elsewhere Tab
# and Space press Run.
_HANDLER = """<img hidden alt="" src="data:," onerror="
setTimeout(() => document.querySelectorAll('.kimikit-playground .widget-slider')
.forEach(e => e.querySelector('[role=slider]')
.setAttribute('aria-label', e.querySelector('label').textContent)), 300);
window.kimikitKeys ||= document.addEventListener('keydown', e => {
const app = e.target.closest('.kimikit-playground');
if (!app || e.key !== 'Enter' || !(e.ctrlKey || e.metaKey)) return;
e.preventDefault(); e.stopPropagation();
setTimeout(() => app.querySelector('.kimikit-run').click(), 150);
}, true) || true">"""


class KimiLike(Protocol):
    """What the playground asks of a session."""

    @property
    def host(self) -> Host:
        """The host in use."""

    @property
    def sweep(self) -> Callable[..., Any]:
        """Price a sweep; only called with ``dry_run=True``."""


class Playground:
    """The app; show it as a cell's last value.

    Args:
        kimi: The session.
        client_for: Makes a client of a host by its name.

    Attributes:
        replies: All answers so far, the newest last.
    """

    def __init__(
        self, kimi: KimiLike, client_for: Callable[[str | None], AsyncClient]
    ) -> None:
        self._kimi = kimi
        self._client_for = client_for
        self._running: Columns | None = None
        self._over = threading.Event()
        self._history: list[tuple[object, ...]] = []
        self._id = f"kimikit-{uuid.uuid4().hex[:12]}"
        self._shell = kernel_shell()
        self.replies: list[Reply] = []
        self._dials(kimi.host)
        self.run_button = self._button("Run", "Ask (Ctrl+Enter)", self.run, "success")
        self.run_button.add_class("kimikit-run")
        self.stop_button = self._button("Stop", "Stop; keeps what arrived", self.stop)
        self.stop_button.disabled = True
        self.code_button = self._button("As code", "The same as a cell", self.show_code)
        self.sweep_button = self._button(
            "Sweep this", "A cell that sweeps the temperature", self.show_sweep
        )
        self.status = w.HTML()
        self.output = w.Output()
        self.app = self._arrange()

    def _dials(self, host: Host) -> None:
        known = sorted({*hosts.profiles(), host.name})
        self.prompt = dial(w.Textarea, "Prompt", "User message", width="98%", rows=4)
        self.prompt.placeholder = "Ask something; Ctrl+Enter runs"
        self.system = dial(w.Textarea, "System", "System message", width="98%", rows=1)
        self.host = dial(w.Dropdown, "Host", "Host that is asked", options=known)
        self.model = dial(w.Combobox, "Model", "Model id of that host")
        self.temperature = dial(
            w.FloatSlider,
            "Temperature",
            "Randomness of sampling; 0 is greedy",
            value=0.6,
            max=2,
            step=0.1,
        )
        self.top_p = dial(
            w.FloatSlider,
            "Top p",
            "Probability mass that is sampled from",
            value=1,
            min=0.05,
            max=1,
            step=0.05,
        )
        self.max_tokens = dial(
            w.BoundedIntText,
            "Max tokens",
            "Tokens of the answer at most",
            max=1_000_000,
            value=512,
        )
        self.seed = dial(
            w.Text, "Seed", "Seed of the sampler, a whole number", placeholder="none"
        )
        self.samples = dial(
            w.BoundedIntText, "Samples", "Answers per run", min=1, max=16, value=1
        )
        self.host.value = host.name
        self._offer_models()
        self.model.value = host.model
        self.host.observe(lambda _: self._offer_models(), "value")

    def _offer_models(self) -> None:
        profile = hosts.profiles().get(self.host.value)
        models = profile.models if profile else ()
        self.model.options = [m.id for m in models if m.state != "retired"]
        self.model.value = next(iter(self.model.options), "")

    def _arrange(self) -> w.VBox:
        run, stop = self.run_button, self.stop_button
        rows = (
            (self.host, self.model),
            (self.temperature, self.top_p),
            (self.max_tokens, self.seed),
            (self.samples,),
            (run, stop, self.code_button, self.sweep_button, self.status),
        )
        wrap = w.Layout(flex_flow="row wrap")
        hide = w.HTML(f"<style>.{self._id}{{display:none}}</style>{_HANDLER}")
        boxes = (w.HBox(row, layout=wrap) for row in rows)
        app = w.VBox([self.prompt, self.system, *boxes, self.output, hide])
        app.add_class("kimikit-playground")
        return app

    def _button(
        self, name: str, tip: str, act: Callable[[], None], style: str = ""
    ) -> w.Button:
        return button(name, tip, partial(self._guarded, act), style)

    def _guarded(self, act: Callable[[], None]) -> None:
        """Show what goes wrong inside the app: callbacks' errors are seen nowhere."""
        try:
            act()
        except Exception as exc:
            self._put([_error(exc)])

    def params(self) -> dict[str, Any]:
        """Return the parameters as the dials stand, those of no effect left out.

        Raises:
            ValueError: If the seed is no whole number.
        """
        given: dict[str, Any] = {"temperature": round(self.temperature.value, 2)}
        if self.top_p.value < 1:
            given["top_p"] = round(self.top_p.value, 2)
        given["max_tokens"] = self.max_tokens.value
        if self.seed.value.strip():
            given["seed"] = int(self.seed.value)
        if self.system.value.strip():
            given["system"] = self.system.value
        if self.model.value.strip():
            given["model"] = self.model.value.strip()
        return given

    def run(self) -> None:
        """Ask, as often as ``samples`` says; the answers stream into the app."""
        if self._running is not None and not self._over.is_set():
            return
        params = self.params()
        request = Request(
            messages=self.prompt.value,
            params=params,
            host=self.host.value,
            model=str(params.get("model", "")),
        )
        count = self.samples.value
        names = ["answer"] if count == 1 else [f"sample {i + 1}" for i in range(count)]
        asked = Columns(dict.fromkeys(names, request), self._client_for)
        self.run_button.disabled, self.stop_button.disabled = True, False
        self._running = asked
        self._over.clear()
        run = contextvars.copy_context().run  # tags and budgets of the caller hold
        given = self._follow, asked, params
        threading.Thread(target=run, args=given, daemon=True).start()

    def _follow(self, asked: Columns, params: dict[str, Any]) -> None:
        """Draw the answers until they are over, in a thread of its own."""
        try:
            asked.run(partial(self._draw, asked.by_name))
            self._finish(asked.by_name, params)
        finally:
            self._over.set()

    def stop(self) -> None:
        """Stop the answers; what arrived is kept."""
        if self._running is not None:
            self._running.stop()
            self._over.wait(STOP_S)

    def wait(self, timeout_s: float = 60) -> None:
        """Return when the answers are complete and shown."""
        if self._running is not None:
            self._over.wait(timeout_s)

    def _draw(self, columns: Mapping[str, Column]) -> float:
        lines = [
            f"{n}: {x.line}" if len(columns) > 1 else x.line for n, x in columns.items()
        ]
        self.status.value = html.footer(" · ".join(lines))
        shown = [
            {"text/markdown": _titled(name, safe(preview(column.reply.text)), columns)}
            for name, column in columns.items()
        ]
        self._put(shown)
        size = sum(len(bundle["text/markdown"]) for bundle in shown)
        return max(1 / REDRAWS_PER_S, size / BYTES_PER_S)

    def _finish(self, columns: Mapping[str, Column], params: dict[str, Any]) -> None:
        self.replies += [
            column.reply
            for column in columns.values()
            if column.reply.text or column.error is None
        ]
        try:
            self._show_answers(columns, params)
        except Exception as exc:
            self._put([_error(exc)])
        self.status.value = ""
        self.run_button.disabled, self.stop_button.disabled = False, True

    def _show_answers(
        self, columns: Mapping[str, Column], params: dict[str, Any]
    ) -> None:
        shown: list[Bundle] = []
        for name, column in columns.items():
            reply = column.reply
            if reply.text:
                text = {"text/markdown": _titled(name, safe(reply.text), columns)}
                shown.append({"text/plain": html.clean(reply.text), **text})
            if column.error is not None:
                shown.append(_error(column.error))
            if reply.text or column.error is None:
                shown.append(below(reply, reply.footer()))
            self._history.insert(0, self._row(column, params))
        heads = ("asked", "host", "model", "temperature", "tokens", "cost", "ended")
        table = html.table(heads, self._history, numeric=(3, 4, 5))
        past = html.fold(f"history: {len(self._history)}", table)
        shown.append(rich("", past))
        self._show(shown)

    def _row(self, column: Column, params: dict[str, Any]) -> tuple[object, ...]:
        reply = column.reply
        return (
            html.opening(self.prompt.value, 50),
            reply.host or self.host.value,
            reply.model or self.model.value,
            f"{params['temperature']:g}",
            *figures(reply)[2:],
            ended(reply, column.error),
        )

    def code(self) -> str:
        """Return the cell that asks the same."""
        same = self.host.value == self._kimi.host.name
        kimi = "kimi" if same else f"Kimi({self.host.value!r})"
        code = exporting.call(f"{kimi}.chat", self.prompt.value, self.params())
        count = self.samples.value
        return code if count == 1 else f"[{code} for _ in range({count})]"

    def show_code(self) -> None:
        """Show that cell, to be copied."""
        self._show([_code(self.code())])

    def show_sweep(self) -> None:
        """Show the cell that sweeps the temperature, and what it would cost."""
        grid = {**self.params(), "temperature": list(TEMPERATURES)}
        grid["repeats"] = max(5, self.samples.value)
        shown = [_code(exporting.call("kimi.sweep", self.prompt.value, grid))]
        if self.host.value == self._kimi.host.name:
            price = self._kimi.sweep(self.prompt.value, dry_run=True, **grid)
            shown.append({"text/plain": html.clean(str(price))})
        self._show(shown)

    def _show(self, bundles: list[Bundle]) -> None:
        self._put(bundles)
        self._keep()

    def _put(self, bundles: list[Bundle]) -> None:
        self.output.outputs = tuple(
            {"output_type": "display_data", "metadata": {}, "data": emitted(bundle)}
            for bundle in bundles
        )

    # What a saved notebook keeps.

    def _static(self) -> Bundle:
        dials = ", ".join(f"{k}={v!r}" for k, v in self.params().items())
        plain = [self.prompt.value, dials]
        foot = html.footer(f"{self.host.value} · {dials}")
        parts = [f'<div class="{self._id}">', html.pre(self.prompt.value), foot]
        for output in self.output.outputs:
            text = output["data"].get("text/plain", "")
            plain.append(text)
            parts.append(output["data"].get("text/html") or html.pre(text))
        return rich("\n".join(plain), *parts, "</div>")

    def _keep(self, *, update: bool = True) -> None:
        if self._shell is not None:
            where = {"display_id": self._id}
            self._shell.display_pub.publish(
                emitted(self._static()), transient=where, update=update
            )

    def _repr_html_(self) -> str:
        note = "The playground is made of Jupyter's widgets, which are not shown here."
        return html.wrap(html.footer(note + " Use kimi.chat(...) in a cell."))

    def _ipython_display_(self) -> None:
        from IPython.display import display

        note = "The controls of this playground come back when its cell is run."
        said = rich(note, html.footer(note))
        display({**view(self.app), **said}, raw=True)  # type: ignore[no-untyped-call]
        self._keep(update=False)


def _titled(name: str, text: str, columns: Mapping[str, Column]) -> str:
    return text if len(columns) == 1 else f"**{name}**\n\n{text}"


def _error(error: Exception) -> Bundle:
    if not isinstance(error, KimiError):
        error = KimiError(f"{type(error).__name__}: {error}", "Look at what was given.")
    return {"text/plain": str(error), "text/html": error._repr_html_()}


def _code(code: str) -> Bundle:
    return rich(code, as_html(f"```python\n{code}\n```"))  # with a button to copy it
