"""Note what is known of an answer while it comes, and say what to show of it.

Pure: steps and times go in, display bundles come out.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from kimikit import html
from kimikit.display.renderable import call_text
from kimikit.markdown import density, safe
from kimikit.notebook.blocks import Splitter, preview
from kimikit.notebook.screen import Bundle, rich
from kimikit.types import Delta, Reply, ToolCall, Wait

STALLED_S = 3.0
"""Seconds without a token after which a status line says so."""

PANE_GROWTH = 1.3
"""Growth of the thinking before its pane is drawn again, which closes it if open."""

CALL_SHOWN = 2000
"""Characters of growing tool calls that are shown, the last ones."""

AT_ONCE = 6000
"""Characters of new text for one redraw. A host that is faster than this will be done
before the page is, which then draws the whole answer once."""

CHARACTERS_PER_TOKEN = 4
"""Rough ratio for the count while thinking; the final count is the host's."""


class Progress:
    """An answer as far as it came, with its times.

    Args:
        began: When it was asked, in seconds of the clock of all other times.
        room: How many displays the text may be spread over.
        images: Whether to load remote images.
    """

    def __init__(self, began: float, room: int, *, images: bool = False) -> None:
        self._room = room
        self._safe = partial(safe, images=images)
        self._splitter = Splitter()
        self._is_dense = False
        self._length = self._marks = 0
        self._unit: list[str] = []
        self._units = 0
        self._text: list[str] = []
        self._fresh: list[str] = []
        self._reasoning: list[str] = []
        self._calls: dict[int, tuple[str, str]] = {}
        self._wait: Wait | None = None
        self._began = self._latest = began
        self._thought: tuple[float, float] | None = None
        self._pane: tuple[int, Bundle] = (0, {})
        self._pane_finished = False

    @property
    def thought_s(self) -> float:
        """Seconds between the first and the last of the thinking."""
        return self._thought[1] - self._thought[0] if self._thought else 0.0

    def reply(self) -> Reply:
        """Return what had arrived, without what only the wire knows."""
        return Reply(
            text="".join(self._text),
            reasoning="".join(self._reasoning),
            tool_calls=tuple(
                ToolCall("", *self._calls[i]) for i in sorted(self._calls)
            ),
        )

    def take(self, step: Delta | Wait, now: float) -> None:
        """Add one step that arrived at ``now``."""
        self._latest = now
        if isinstance(step, Wait):
            self._wait = step
            return
        if step.choice:
            return
        self._wait = None
        if step.reasoning:
            self._reasoning.append(step.reasoning)
            self._thought = (self._thought[0] if self._thought else now, now)
        if step.text:
            self._text.append(step.text)
            self._fresh.append(step.text)
        for part in step.calls:
            _, arguments = self._calls.get(part.index, ("", ""))
            self._calls[part.index] = (part.name, arguments + part.arguments)

    def parts(self, now: float) -> tuple[list[Bundle], list[Bundle]]:
        """Return what is finished since the last time, and what may still change."""
        if not self._text and not self._calls:
            return [], self._before_text(now)
        finished: list[Bundle] = []
        if self._reasoning and not self._pane_finished:
            finished.append(thinking("".join(self._reasoning), self.thought_s))
            self._pane_finished = True
        growing = [] if self._is_dense else self._read(finished)
        if self._is_dense:
            growing = [so_far("".join(self._text[-CALL_SHOWN:]))]
        if self._calls:
            calls = (call_text(*self._calls[i]) for i in sorted(self._calls))
            growing.append(calls_so_far(calls))
        if now - self._latest > STALLED_S:
            growing.append(status(f"... {now - self._latest:.0f} s without a token"))
        return finished, growing

    def _read(self, finished: list[Bundle]) -> list[Bundle]:
        """Take fresh text, add what it finished, and return what grows."""
        fresh = "".join(self._fresh)
        self._fresh = [fresh[AT_ONCE:]]
        # Looked at before anything is parsed: what is dense costs too much even once.
        text = self._splitter.open + fresh[:AT_ONCE]
        most = density.most(self._length + len(text))
        self._is_dense = self._marks + density.marks(text) > most
        if self._is_dense:
            return []
        blocks = self._splitter.feed(fresh[:AT_ONCE])
        self._length += sum(map(len, blocks))
        self._marks += sum(map(density.marks, blocks))
        growing = self._splitter.open
        self._unit += filter(None, map(self._safe, blocks))
        size = sum(map(len, self._unit))
        if size > _least_size(self._units) and self._units < self._room - 2:
            finished.append({"text/markdown": "\n\n".join(self._unit)})
            self._unit = []
            self._units += 1
        last = self._safe(preview(growing))
        # Where there is room, what is finished is not sent again with what grows.
        apart = [[*self._unit, last]] if self._room < 2 else [self._unit, [last]]
        texts = ("\n\n".join(filter(None, some)) for some in apart)
        return [{"text/markdown": text} for text in texts if text]

    def _before_text(self, now: float) -> list[Bundle]:
        if self._wait is not None:
            left = max(0.0, self._wait.seconds - (now - self._latest))
            return [status(f"{self._wait.reason}, trying again in {left:.0f} s")]
        if self._thought is None:
            line = f"waiting for the first token ... {now - self._began:.0f} s"
            return [status(line)]
        size, pane = self._pane
        reasoning = "".join(self._reasoning)
        if len(reasoning) > size * PANE_GROWTH:
            fold = html.fold("so far", html.pre(reasoning))
            pane = {"text/plain": "", "text/html": _quiet(fold)}
            self._pane = (len(reasoning), pane)
        tokens = len(reasoning) // CHARACTERS_PER_TOKEN
        seconds = now - self._thought[0]
        return [status(f"thinking ... {seconds:.0f} s, ~{tokens:,} tokens"), pane]


def _least_size(units: int) -> float:
    """Return the least characters of the next display.

    One block is enough for each of the first, so that it is sent once. But JupyterLab
    shows the first 50 outputs of a cell only: in long answers displays grow, and 48
    hold some 200,000 characters.
    """
    return 0 if units < 24 else 500 * 1.2 ** (units - 24)


def status(line: str) -> Bundle:
    """Return a quiet line that will be replaced."""
    return {"text/plain": html.clean(line), "text/html": _quiet(html.esc(line))}


def _quiet(shown: str) -> str:
    # The style sheet would be most of what a status line sends.
    return f'<div style="opacity:.72;font-size:12px">{shown}</div>'


def thinking(reasoning: str, seconds: float, tokens: int = 0) -> Bundle:
    """Return the folded pane with all of the thinking.

    Args:
        reasoning: The text.
        seconds: How long it took, 0 if not known.
        tokens: The host's count, 0 if it told none.
    """
    count = f"{tokens:,}" if tokens else f"~{len(reasoning) // CHARACTERS_PER_TOKEN:,}"
    time = f" {seconds:.0f} s," if seconds >= 1 else ""
    line = f"thinking:{time} {count} tokens"
    fold = html.fold(line, html.pre(reasoning))
    return rich(f"[{line}]", f'<div class="muted">{fold}</div>')


def below(reply: Reply, footer: str) -> Bundle:
    """Return what stands below an answer: calls, further answers, notes, footer."""
    sections = reply.below()
    lines = [*(each.text for each in sections if each.text), footer]
    return rich(
        "\n".join(lines), *(each.rich for each in sections), html.footer(footer)
    )


def so_far(text: str) -> Bundle:
    """Return text that still changes as it is, the end of it if it is long."""
    if len(text) > CALL_SHOWN:
        text = f"... {text[-CALL_SHOWN:]}"
    shown = f'<pre style="margin:.2em 0">{html.esc(text)}</pre>'
    return {"text/plain": html.clean(text), "text/html": shown}


def calls_so_far(calls: Iterable[str]) -> Bundle:
    """Return calls that still change, one below the other."""
    return so_far("\n".join(calls))
