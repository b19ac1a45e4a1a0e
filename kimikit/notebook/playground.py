"""A prompt box with dials: core ipywidgets only, so that it works in every notebook.

Button callbacks run in the kernel's main thread, so answers stream in a thread of
their own (``Lanes``) and another one draws: a click on Stop is then heard at once.
What a saved notebook keeps is a second, static output, which the live one hides.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from typing import Any, Protocol

import ipywidgets as w

from kimikit import html
from kimikit.errors import KimiError
from kimikit.notebook.blocks import Splitter, preview
from kimikit.notebook.lanes import Lane, Lanes, Opener
from kimikit.notebook.markdown import safe
from kimikit.notebook.progress import below
from kimikit.notebook.screen import kernel_shell
from kimikit.types import Host, Reply
from kimikit.wire import hosts

REDRAW_S = 0.125
BYTES_PER_S = 20_000
"""Most bytes a second to the browser while an answer streams."""

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

    def sweep(self, prompt: Any, **grid: Any) -> Any:
        """Price a sweep; only called with ``dry_run=True``."""


class Playground:
    """The app; show it as a cell's last value.

    Args:
        kimi: The session.
        opener: Called with a host's name, messages and parameters; tells how to open
            the stream, as ``lane`` does.

    Attributes:
        replies: All answers so far, the newest last.
    """

    def __init__(self, kimi: KimiLike, opener: Callable[..., Opener]) -> None:
        self._kimi = kimi
        self._opener = opener
        self._lanes: Lanes | None = None
        self._drawing: threading.Thread | None = None
        self._history: list[tuple[str, ...]] = []
        self._id = f"kimikit-{uuid.uuid4().hex[:12]}"
        self._shell = kernel_shell()
        self.replies: list[Reply] = []
        self._controls(kimi.host)
        self.app = self._arrange()

    def _controls(self, host: Host) -> None:
        known = sorted({*hosts.profiles(), host.name})
        self.prompt = _dial(
            w.Textarea,
            "Prompt",
            "What to ask",
            placeholder="Ask something; Ctrl+Enter runs",
            rows=4,
            layout=w.Layout(width="98%"),
        )
        self.system = _dial(
            w.Textarea, "System", "Goes first", rows=1, layout=w.Layout(width="98%")
        )
        self.host = _dial(
            w.Dropdown, "Host", "Whom to ask", options=known, value=host.name
        )
        self.model = _dial(
            w.Combobox, "Model", "Any id the host knows", value=host.model
        )
        self.temperature = _dial(
            w.FloatSlider, "Temperature", "How freely", value=0.6, max=2, step=0.1
        )
        self.top_p = _dial(
            w.FloatSlider, "Top p", "From how much", value=1, min=0.05, max=1, step=0.05
        )
        self.max_tokens = _dial(
            w.BoundedIntText, "Max tokens", "Longest answer", max=1_000_000, value=512
        )
        self.seed = _dial(w.Text, "Seed", "A whole number", placeholder="none")
        self.samples = _dial(
            w.BoundedIntText, "Samples", "How often to ask", min=1, max=16, value=1
        )
        self.host.observe(self._host_changed, "value")
        self._host_changed()
        self.run_button = self._button("Run", self.run, "Ask (Ctrl+Enter)", "success")
        self.run_button.add_class("kimikit-run")
        self.stop_button = self._button("Stop", self.stop, "Stop; keeps what arrived")
        self.stop_button.disabled = True
        self.code_button = self._button("As code", self.show_code, "The same as a cell")
        self.sweep_button = self._button(
            "Sweep this", self.show_sweep, "A cell that sweeps the temperature"
        )
        self.status = w.HTML()
        self.output = w.Output()

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
        self, name: str, act: Callable[[], None], tip: str, style: str = ""
    ) -> w.Button:
        narrow = w.Layout(width="auto")
        button = w.Button(
            description=name, tooltip=tip, button_style=style, layout=narrow
        )
        button.on_click(lambda _: self._guarded(act))
        return button

    def _guarded(self, act: Callable[[], None]) -> None:
        """Show what goes wrong inside the app: callbacks' errors are seen nowhere."""
        try:
            act()
        except Exception as exc:
            self._show([_error(exc)])

    def _host_changed(self, change: Any = None) -> None:
        profile = hosts.profiles().get(self.host.value)
        models = (
            [m.id for m in profile.models if m.state != "retired"] if profile else []
        )
        self.model.options = models
        if change is not None:
            self.model.value = models[0] if models else ""

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
        if self._drawing is not None and self._drawing.is_alive():
            return
        params, prompt, host = self.params(), self.prompt.value, self.host.value
        count = self.samples.value
        names = ["answer"] if count == 1 else [f"sample {i + 1}" for i in range(count)]
        self._lanes = Lanes({n: self._opener(host, prompt, **params) for n in names})
        self.run_button.disabled, self.stop_button.disabled = True, False
        self._drawing = threading.Thread(
            target=self._draw_until_over, args=(self._lanes, params), daemon=True
        )
        self._drawing.start()

    def stop(self) -> None:
        """Stop the answers; what arrived is kept."""
        if self._lanes is not None:
            self._lanes.stop()

    def wait(self, timeout_s: float = 60) -> None:
        """Return when the answers are complete and shown."""
        if self._drawing is not None:
            self._drawing.join(timeout_s)

    def _draw_until_over(self, lanes: Lanes, params: dict[str, Any]) -> None:
        pause = REDRAW_S
        while not lanes.over.wait(pause):
            lines = [
                f"{n}: {x.line}" if len(lanes) > 1 else x.line for n, x in lanes.items()
            ]
            self.status.value = html.footer(" · ".join(lines))
            shown = [
                {"text/markdown": _titled(name, _growing(lane.text), lanes)}
                for name, lane in lanes.items()
            ]
            self._show(shown)
            size = sum(len(bundle["text/markdown"]) for bundle in shown)
            pause = max(REDRAW_S, size / BYTES_PER_S)
        self._finish(lanes, params)

    def _finish(self, lanes: Lanes, params: dict[str, Any]) -> None:
        shown: list[dict[str, str]] = []
        for name, lane in lanes.items():
            reply = lane.reply
            if reply.text:
                text = {"text/markdown": _titled(name, safe(reply.text), lanes)}
                shown.append({"text/plain": html.clean(reply.text), **text})
            if lane.error is not None:
                shown.append(_error(lane.error))
            if reply.text or lane.error is None:
                self.replies.append(reply)
                shown.append(below(reply, reply.footer()))
            self._history.append(self._row(lane, params))
        shown.append({"text/plain": "", "text/html": html.wrap(self._past())})
        self._show(shown)
        self.status.value = ""
        self.run_button.disabled, self.stop_button.disabled = False, True

    def _row(self, lane: Lane, params: dict[str, Any]) -> tuple[str, ...]:
        reply = lane.reply
        cost = html.money(reply.cost, estimated=reply.usage.estimated)
        prompt = " ".join(self.prompt.value.split())
        return (
            prompt if len(prompt) < 50 else f"{prompt[:49]}…",
            reply.host or self.host.value,
            reply.model or self.model.value,
            f"{params['temperature']:g}",
            str(reply.usage.completion_tokens or ""),
            cost if reply.model else "",
            "error" if lane.error else "stopped" if reply.partial else "",
        )

    def _past(self) -> str:
        heads = ("asked", "host", "model", "temperature", "tokens", "cost", "")
        newest = self._history[::-1]
        table = html.table(heads, newest, numeric=(3, 4, 5))
        return html.fold(f"history: {len(newest)}", table)

    def code(self) -> str:
        """Return the cell that asks the same."""
        same = self.host.value == self._kimi.host.name
        kimi = "kimi" if same else f"Kimi({self.host.value!r})"
        code = _call(f"{kimi}.chat", self.prompt.value, self.params())
        count = self.samples.value
        return code if count == 1 else f"[{code} for _ in range({count})]"

    def show_code(self) -> None:
        """Show that cell, to be copied."""
        self._show([_code(self.code())])

    def show_sweep(self) -> None:
        """Show the cell that sweeps the temperature, and what it would cost."""
        grid = {**self.params(), "temperature": list(TEMPERATURES)}
        grid["repeats"] = max(5, self.samples.value)
        code = _call("kimi.sweep", self.prompt.value, grid)
        shown = [_code(code)]
        if self.host.value == self._kimi.host.name:
            price = self._kimi.sweep(self.prompt.value, dry_run=True, **grid)
            shown.append({"text/plain": html.clean(str(price))})
        self._show(shown)

    def _show(self, bundles: list[dict[str, str]]) -> None:
        outputs = (
            {"output_type": "display_data", "metadata": {}, "data": b} for b in bundles
        )
        self.output.outputs = tuple(outputs)
        self._keep()

    # What a saved notebook keeps.

    def _static(self) -> dict[str, str]:
        dials = ", ".join(f"{k}={v!r}" for k, v in self.params().items())
        parts = [
            html.pre(self.prompt.value),
            html.footer(f"{self.host.value} · {dials}"),
        ]
        plain = [self.prompt.value, dials]
        for output in self.output.outputs:
            data = output["data"]
            plain.append(data.get("text/plain", ""))
            parts.append(data.get("text/html") or html.pre(data.get("text/plain", "")))
        shown = f'<div class="{self._id}">{html.wrap(*parts)}</div>'
        return {"text/plain": html.clean("\n".join(plain)), "text/html": shown}

    def _keep(self, *, update: bool = True) -> None:
        over = self._lanes is None or self._lanes.over.is_set()
        if self._shell is not None and over:
            where = {"display_id": self._id}
            self._shell.display_pub.publish(
                self._static(), transient=where, update=update
            )

    def _ipython_display_(self) -> None:
        from IPython.display import display

        note = "The controls of this playground come back when its cell is run."
        said = {"text/plain": note, "text/html": html.wrap(html.footer(note))}
        view = self.app._repr_mimebundle_() or {}
        display({**view, **said}, raw=True)  # type: ignore[no-untyped-call]
        self._keep(update=False)


def _dial(kind: Any, name: str, tip: str, **options: Any) -> Any:
    options.setdefault("layout", w.Layout(width="48%", min_width="260px"))
    style = {"description_width": "90px"}
    return kind(description=name, tooltip=tip, style=style, **options)


def _growing(text: str) -> str:
    """Return an unfinished answer as Markdown that can be shown."""
    splitter = Splitter()
    blocks = [safe(b.opener + b.text) for b in splitter.feed(text)]
    return "\n\n".join(filter(None, [*blocks, safe(preview(splitter.open))]))


def _titled(name: str, text: str, lanes: Lanes) -> str:
    return text if len(lanes) == 1 else f"**{name}**\n\n{text}"


def _error(error: Exception) -> dict[str, str]:
    if not isinstance(error, KimiError):
        error = KimiError(f"{type(error).__name__}: {error}", "Look at what was given.")
    return {"text/plain": str(error), "text/html": error._repr_html_()}


def _code(code: str) -> dict[str, str]:
    return {"text/plain": code, "text/markdown": safe(f"```python\n{code}\n```")}


def _call(function: str, prompt: str, given: dict[str, Any]) -> str:
    lines = [f"    {prompt!r},", *(f"    {k}={v!r}," for k, v in given.items())]
    return "\n".join([f"{function}(", *lines, ")"])
