"""Show runs: as text, as HTML that survives saving, and as a timeline."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from numbers import Number
from typing import Any

from kimikit import html
from kimikit.display.footer import footer, how_it_ended
from kimikit.display.plots import GREY, as_text, canvas, name, plain
from kimikit.tools.results import Content, figure, is_frame, is_picture, png_of
from kimikit.tools.steps import RunRecord, Step, ToolResult
from kimikit.wire.media import image_kind

SHOWN = 2_000
"""Characters of a result that a view shows."""
ROWS = 100
"""Rows of a result that a view holds."""


def headline(run: RunRecord) -> str:
    """Return one line on how a run went, such as ``3 steps, 2 calls: done``."""
    calls = sum(len(step.results) for step in run.steps)
    counts = [(len(run.steps), "step"), (calls, "call")]
    parts = ", ".join(html.many(n, word) for n, word in counts)
    return f"{parts}: {run.stop_reason.replace('_', ' ')}"


def footer_line(run: RunRecord) -> str:
    """Return where a run went and what all of it cost."""
    replies = [step.reply for step in run.steps] or [run.reply]
    end = how_it_ended(run.reply) if len(replies) > 1 else ""
    return footer(replies, before=[headline(run), f"{run.duration_s:.1f} s", end])


def run_sections(run: RunRecord) -> list[html.Cell]:
    """Return the steps of a run before its answer, as lines and as one fold."""
    lines = []
    for step in run.steps:
        said = step.reply.text.strip()
        if said and said != run.text.strip():
            lines.append(said)
        lines += [
            f"{mark(result)} {call_text(result.call.name, result.call.arguments)}"
            f" -> {short(result.text, 200)}"
            for result in step.results
        ]
    steps = "".join(step_html(step) for step in run.steps)
    notes = "".join(f"<div>{html.esc(note)}</div>" for note in run.notes)
    fold = html.fold(headline(run), steps + notes)
    return [html.Cell(html.clean("\n".join([*lines, *run.notes])), fold)]


def step_html(step: Step) -> str:
    """Return one step: the text, then each call with its result."""
    reply = step.reply
    parts = [f"<div><b>Step {step.index + 1}</b></div>"]
    if reply.reasoning.strip():
        parts.append(html.fold("thinking", html.pre(reply.reasoning)))
    if reply.text.strip():
        parts.append(html.pre(reply.text.strip()))
    parts += [result_html(result) for result in step.results]
    return "".join([*parts, html.footer(reply.footer())])


def result_html(result: ToolResult, *, shown: bool = False) -> str:
    """Return one call under its own line, its result as table, picture or text."""
    call = call_text(result.call.name, result.call.arguments)
    time = f"{result.duration_s:.2f} s" if result.duration_s else ""
    line = html.footer_line([f"{mark(result)} {short(call, 120)}", result.failed, time])
    whole = html.pre(call) if len(call) > 120 else ""
    body = html.pre(short(result.text)) if result.failed else value_html(result)
    inside = f'<div style="margin-left:1.1em">{whole}{body}</div>'
    return html.fold(line, inside, shown=shown)


def value_html(result: ToolResult) -> str:
    """Return a result's value as finished HTML; its text if it has no view."""
    try:
        return _value_html(result)
    # Whatever a tool returned, its view never costs the run.
    except Exception:
        return html.pre(short(result.text))


def _value_html(result: ToolResult) -> str:
    value = result.value
    if isinstance(value, Content):
        pictures = "".join(map(_picture, value.pictures))
        return pictures + html.pre(short(result.text))
    if is_picture(value):
        # A figure of ours is in the colours of the page.
        themed = getattr(figure(value), "as_html", None)
        return (themed and themed()) or _picture(_png(value))
    if is_frame(value):
        # With the index where the model was told of it.
        some = value.head(ROWS)
        named = some.reset_index() if value.index.name is not None else some
        rows = named.astype(object).values.tolist()
        return _table([str(column) for column in named.columns], rows, len(value))
    if isinstance(value, Sequence) and value and isinstance(value[0], Mapping):
        names = list(value[0])
        if all(isinstance(row, Mapping) and list(row) == names for row in value):
            rows = [list(row.values()) for row in value[:ROWS]]
            return _table(names, rows, len(value))
    return html.pre(short(result.text))


def _picture(data: bytes) -> str:
    return f'<img alt="result" src="{html.data_url(image_kind(data), data)}">'


def _table(names: list[Any], rows: list[list[Any]], count: int) -> str:
    caption = f"{ROWS} of " * (count > ROWS) + html.many(count, "row")
    numeric = [i for i in range(len(names)) if all(_is_number(row[i]) for row in rows)]
    heads = [str(name) for name in names]
    return html.table(heads, rows, caption=caption, numeric=numeric)


def _is_number(value: Any) -> bool:
    return isinstance(value, Number) and not isinstance(value, bool)


def mark(result: ToolResult) -> str:
    """Return a sign for how a call went, which needs no colour."""
    return "✕" if result.failed else "✓"


def call_text(name: str, arguments: str) -> str:
    """Return a call as it would be written, on one line."""
    return html.clean(f"{name}({' '.join(arguments.split())})")


def short(text: str, limit: int = SHOWN) -> str:
    """Return ``text``, cut with a note where it is longer than ``limit``."""
    return text if len(text) <= limit else f"{text[:limit]} [{len(text):,} characters]"


def _png(value: Any) -> bytes:
    drawn = figure(value)
    if drawn is None:
        return png_of(value) or b""
    target = io.BytesIO()
    drawn.savefig(target, format="png", bbox_inches="tight")
    return target.getvalue()


LABEL_SHARE = 0.1
"""What the label of a model turn takes of a timeline's width."""


def timeline(run: RunRecord, *, ax: Any = None) -> Any:
    """Draw a run on a time axis: model turns above, tool calls stacked below.

    Args:
        run: The run.
        ax: matplotlib axes to draw on; without, a figure is made.

    Returns:
        The matplotlib figure.
    """
    width = max(run.duration_s, 0.01)
    lanes = _lanes(run, room=0.2 * width)
    ax = canvas(ax, 9, 1.3 + 0.42 * (1 + len(lanes)))

    def bar(lane: int, start: float, length: float, colour: int, hatch: str) -> None:
        ax.barh(lane, max(length, width / 300), left=start, height=0.6, hatch=hatch,
                color=html.PALETTE[colour], edgecolor=GREY, linewidth=0.6)  # fmt: skip

    free = 0.0  # where the next label has room; the trace has what finds none
    for step, following in zip_longest(run.steps, run.steps[1:]):
        # A replay at once takes less time than the answer says that it took.
        ends = [following.started_s if following else width]
        ends += [result.started_s for result in step.results]
        length = min(step.reply.duration_s, min(ends) - step.started_s)
        bar(0, step.started_s, length, 0, "")
        start = min(step.started_s, (1 - LABEL_SHARE) * width)
        if start < free:
            continue
        usage, cost = step.reply.usage, step.reply.cost
        told = f"{usage.prompt_tokens}→{usage.completion_tokens}"
        told += "" if cost is None else f"\n{html.money(cost)}"
        as_text(ax.text(start, -0.4, told, va="bottom", fontsize=8))
        free = start + LABEL_SHARE * width
    for lane, result in ((i, r) for i, row in enumerate(lanes, 1) for r in row):
        start, end = result.started_s, result.started_s + result.duration_s
        bar(lane, start, result.duration_s, 5 if result.failed else 1,
            "///" if result.failed else "")  # fmt: skip
        ended = name(result.failed) or f"{result.duration_s:.1f} s"
        told = f" {name(result.call.name).strip()} {ended} "
        late = end > 0.75 * width
        as_text(ax.text(start if late else end, lane, told, va="center", fontsize=8,
                        ha="right" if late else "left"))  # fmt: skip
    ax.set_yticks([0, 1][: 1 + bool(lanes)], ["model", "tools"][: 1 + bool(lanes)])
    ax.set_ylim(len(lanes) + 0.6, -1.1)
    ax.set_xlim(0, width)
    ax.set_xlabel("seconds")
    foot = footer_line(run)
    as_text(ax.set_title(name(foot, 300), fontsize=8, loc="left", wrap=True))
    ax.tick_params(axis="y", length=0)
    plain(ax, ["bottom"])
    return ax.figure


def _lanes(run: RunRecord, room: float) -> list[list[ToolResult]]:
    """Stack calls that overlap, each in the first lane with room for its label."""
    lanes: list[list[ToolResult]] = []
    for result in (r for step in run.steps for r in step.results):
        for lane in lanes:
            last = lane[-1].started_s + lane[-1].duration_s
            if last + room <= result.started_s:
                lane.append(result)
                break
        else:
            lanes.append([result])
    return lanes
