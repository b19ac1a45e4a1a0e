"""How the ledger looks: as text, as HTML, as a plot, and live while calls run."""

from __future__ import annotations

import datetime as dt
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from kimikit import html
from kimikit.money.prices import STALE_DAYS, STAND_IN, is_own, is_stale
from kimikit.money.rows import Total, some

if TYPE_CHECKING:
    from kimikit.money.ledger import Ledger

REDRAW_S = 0.25
"""Least time between two redraws of the meter."""

_HEADS = ["calls", "prompt", "from cache", "answer", "cost", "not in it"]
_GREY = "#808080"
"""Reads on white and on black pages."""


def _cells(total: Total) -> list[str]:
    prompt, about = total.prompt_tokens, "~" if total.estimated else ""
    return [
        f"{total.calls:,}",
        f"{about}{prompt:,}",
        f"{total.cached_tokens / prompt:.0%}" if prompt else "–",
        f"{about}{total.completion_tokens:,}",
        total.known_text,
        total.missing_text,
    ]


def _sections(ledger: Ledger) -> Iterator[tuple[list[str], list[list[str]]]]:
    """Yield heads and rows of each table: periods, models, then what has groups."""
    periods = {
        "today": ledger.total(since="today"),
        "this session": ledger.session_total(ledger.session),
        "this month": ledger.total(since="month"),
        "ever": ledger.total(),
    }
    yield ["", *_HEADS], [[name, *_cells(total)] for name, total in periods.items()]
    models = ledger.total(by=("host", "model")).items()
    rows = [[*key, *_cells(total), *_price(ledger, *key)] for key, total in models]
    if rows:
        yield ["host", "model", *_HEADS, "price now", "as of"], rows
    for name in ("tag", "notebook"):
        groups = ledger.total(by=name)
        if any(groups):
            yield [name, *_HEADS], [[k or "–", *_cells(v)] for k, v in groups.items()]


def _price(ledger: Ledger, host: str, model: str) -> tuple[str, str]:
    """Return a model's price of today, and the day it was read."""
    if is_own(host):
        return "stand-in, not Kimi" if host == STAND_IN else "own machine", ""
    price = ledger.prices.lookup(host, model, time.time())
    if price is None:
        return "none known", ""
    old = " (old)" if is_stale(price.as_of, time.time()) else ""
    return f"${price.input:f} / ${price.output:f}", price.as_of + old


def _note(ledger: Ledger) -> str:
    where = "memory only, the file failed" if ledger.failure else ledger.path.name
    return (
        f"ledger: {where} · n = {some(ledger.total().calls)}, each at the price of "
        "its day · prices in US dollars per million prompt / answer tokens; old: read "
        f"more than {STALE_DAYS} days ago"
    )


def ledger_text(ledger: Ledger) -> str:
    """Return what was spent, by period, model, tag and notebook, as plain text."""
    tables = [html.text_table(heads, rows) for heads, rows in _sections(ledger)]
    return "\n\n".join([*tables, _note(ledger)])


def ledger_html(ledger: Ledger) -> str:
    """Return the same as HTML."""
    tables = []
    for heads, rows in _sections(ledger):
        first = heads.index("calls")
        numeric = [*range(first, first + 5), *range(first + 6, len(heads))]
        tables.append(html.table(heads, rows, numeric=numeric))
    return html.wrap(*tables, html.footer(_note(ledger)))


def plot(ledger: Ledger, ax: Any = None) -> tuple[Any, ...]:
    """Draw cost a day stacked by model, its running sum, and the share from caches.

    Where nothing has a cost, as with the local stand-in, tokens are drawn instead.

    Args:
        ledger: What to draw.
        ax: Axes for the first panel alone; without one a figure with all three.

    Returns:
        The axes drawn on.
    """
    days = ledger.total(by="day")
    when = [dt.date.fromisoformat(day) for day in days]
    priced = any(total.cost_pico for total in days.values())
    unit = "US dollars" if priced else "tokens"

    def height(total: Total | None) -> float:
        if total is None:
            return 0.0
        return float(total.cost) if priced else float(total.usage.total_tokens)

    axes: Any = (ax,) if ax is not None else _panels()
    both, base = ledger.total(by=("day", "model")), [0.0] * len(days)
    for i, model in enumerate(ledger.total(by="model")):
        heights = [height(both.get((day, model))) for day in days]
        colour = html.PALETTE[i % (len(html.PALETTE) - 1)]
        name = model if any(heights) else None
        axes[0].bar(when, heights, bottom=base, color=colour, label=name, width=0.8)
        base = [low + more for low, more in zip(base, heights, strict=True)]
    axes[0].set_ylabel(f"{unit} a day")
    title = "cost by model" if priced else "tokens by model, no call has a cost"
    count = f"n = {some(sum(total.calls for total in days.values()))}"
    axes[0].set_title(f"{title}, {count}", fontsize="medium")
    if axes[0].get_legend_handles_labels()[0]:
        axes[0].legend(frameon=False, labelcolor=_GREY, fontsize="small")
    if ax is None:
        sums = [sum(base[: i + 1]) for i in range(len(base))]
        axes[1].plot(when, sums, color=html.PALETTE[0], marker=".")
        axes[1].set(ylabel=f"{unit} so far", ylim=(0, None))
        shares = [100 * t.cached_tokens / (t.prompt_tokens or 1) for t in days.values()]
        axes[2].bar(when, shares, color=html.PALETTE[4], width=0.8)
        axes[2].set(ylim=(0, 100), ylabel="from cache, %")
    for each in axes:
        _plain(each, when)
    return tuple(axes)


def _panels() -> Any:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(
        3, 1, sharex=True, layout="constrained", figsize=(7, 6), height_ratios=(3, 2, 1)
    )
    figure.patch.set_alpha(0)
    return axes


def _plain(axes: Any, when: list[dt.date]) -> None:
    """Make axes legible on light and dark pages, and days readable."""
    from matplotlib import dates

    axes.patch.set_alpha(0)
    axes.tick_params(colors=_GREY)
    for part in (axes.yaxis.label, axes.title, axes.xaxis.get_offset_text()):
        part.set_color(_GREY)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(_GREY)
    if when:
        locator: Any = dates.AutoDateLocator(minticks=1, maxticks=8)  # type: ignore[no-untyped-call]
        formatter: Any = dates.ConciseDateFormatter(locator)  # type: ignore[no-untyped-call]
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(formatter)
        margin, midnight = dt.timedelta(hours=15), dt.time()
        first, last = (
            dt.datetime.combine(day, midnight) for day in (when[0], when[-1])
        )
        axes.set_xlim(first - margin, last + margin)


def meter_line(ledger: Ledger) -> str:
    """Return the line that the meter shows."""
    running = ledger.running.copy()
    streamed = sum(usage.completion_tokens for usage in running.values())
    now = f"{len(running)} running, ~{streamed:,} tokens" if running else "idle"
    today, session = ledger.total(since="today"), ledger.session_total(ledger.session)
    spent = [f"today {today.cost_text}", f"this session {session.cost_text}"]
    return html.footer_line([now, *spent, f"{some(today.calls)} today"])


def meter(ledger: Ledger) -> Any:
    """Return a widget that shows what is being spent while calls run.

    At most four times a second it is drawn anew; saved and on GitHub it is the last
    line it showed.
    """
    import ipywidgets

    class Meter(ipywidgets.HTML):  # type: ignore[misc]
        def _repr_mimebundle_(self, **options: Any) -> dict[str, Any]:
            bundle: dict[str, Any] = super()._repr_mimebundle_(**options) or {}
            return bundle | {"text/plain": repr(self), "text/html": self.value}

        def __repr__(self) -> str:
            return meter_line(ledger)

    widget, lock, waiting = Meter(), threading.Lock(), list[threading.Timer]()

    def draw() -> None:
        with lock:
            waiting.clear()
        widget.value = html.wrap(html.footer(meter_line(ledger)))

    def soon() -> None:
        if widget.comm is None:
            stop()
            return
        with lock:
            if waiting:
                return
            timer = threading.Timer(REDRAW_S, draw)
            timer.daemon = True
            waiting.append(timer)
        timer.start()

    draw()
    stop = ledger.listen(soon)
    return widget
