"""Show the ledger: as text, as HTML, as a plot, and live while calls run."""

from __future__ import annotations

import datetime as dt
import itertools
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from kimikit import html
from kimikit.display import footer
from kimikit.display.plots import as_text, plain, subplots
from kimikit.display.plots import name as axes_name
from kimikit.display.renderable import Renderable, Section, Table
from kimikit.money.caching import CacheReport, report
from kimikit.money.exports import Exports
from kimikit.money.prices import STALE_DAYS, STAND_IN, PriceBook, is_stale
from kimikit.money.queries import Since
from kimikit.money.rows import Total, breakable, token_heads
from kimikit.types import Price, Usage

REDRAW_S = 0.25
"""Least time between two redraws of the meter."""

COLOURS = len(html.PALETTE) - 1
"""Models that a plot tells apart; the palette's last colour is black."""


class LedgerViews(Exports, Renderable):
    """A ledger as it looks: one table, and one plot.

    Attributes:
        path: The file.
        session: This kernel's own mark in the rows.
        prices: Where prices come from.
        running: Calls that are open in this kernel, with their tokens so far.
    """

    path: Path
    session: str
    prices: PriceBook
    running: dict[str, Usage]
    _listeners: list[Callable[[], None]]

    @property
    def failure(self) -> Exception | None:
        """Why new rows are kept in memory only, ``None`` while the file works."""
        return self._store.failure

    def listen(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call ``listener`` at each step of each call; return what ends that.

        It runs in the thread that makes the call and must be quick.
        """
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def plot(self, ax: Any = None) -> Any:
        """Draw cost per day by model, its running sum, and the share from the cache.

        Args:
            ax: Axes for the first of these alone; without one a figure with all.

        Returns:
            The axes drawn on.
        """
        return _plot(self, ax)

    def cache(
        self, limit: int | None = 200, *, since: Since = None, **where: str
    ) -> CacheReport:
        """Return what the hosts' prompt caches could have saved, and what broke them.

        Each request is laid beside the ones of the same host and model before it: how
        much of its beginning they have, what the host said it had cached, which part
        differs first, and what another order of the parts would have saved.

        Args:
            limit: How many of the newest calls at most, ``None`` for all.
            since: Only calls asked at this moment or later.
            where: Only calls with this value of a column, as in ``calls``.

        Raises:
            BadInput: As ``calls``.

        Example:
            >>> for question in ("When does it open?", "When does it close?"):
            ...     reply = kimi.chat(question, system="Open from 9 to 6. " * 8)
            >>> kimi.ledger.cache(limit=2).rows[0].expected_tokens > 50
            True
        """
        rows = self.calls(limit, since=since, **where)
        chats = [row for row in rows[::-1] if row.endpoint in ("chat", "complete")]
        whole = [row for row in chats if row.state == "complete"]
        asked = ((row, self.read(row.id)[0]) for row in whole)
        return report(asked, origin=self.origin)

    def _parts(self) -> tuple[str, list[Section], str]:
        tables: list[Section] = [*_tables(self)]
        prices = _prices(self)
        if prices.rows:
            folded = html.fold(_PRICES, prices.rich)
            tables.append(html.Cell(f"{_PRICES}\n{prices.text}", folded))
        where = "memory only, the file failed" if self.failure else self.path.name
        total = self.total(by="host")
        calls = html.many(sum(part.calls for part in total.values()), "call")
        local = footer.STAND_IN if STAND_IN in total else ""
        foot = [f"ledger: {where}", f"n = {calls}, each at the price of its day", local]
        return "", tables, html.footer_line([*foot, self.origin])


def _tables(ledger: LedgerViews) -> Iterator[Table]:
    """Yield what was spent by period, by model, and by what else has groups."""
    periods: dict[tuple[str, ...], Total] = {
        ("today",): ledger.total(since="today"),
        ("this session",): ledger.session_total(ledger.session),
        ("this month",): ledger.total(since="month"),
        ("ever",): ledger.total(),
    }
    yield _totals(("",), periods)
    for names in (("host", "model"), ("tag",), ("notebook",)):
        groups = ledger.total(by=names)
        if any(any(key) for key in groups):
            yield _totals(names, groups)


def _totals(names: tuple[str, ...], groups: dict[tuple[str, ...], Total]) -> Table:
    writes = any(total.cache_write_tokens for total in groups.values())
    rows = [
        breakable([*(name or "–" for name in key), *total.cells(writes=writes)])
        for key, total in groups.items()
    ]
    heads = [*names, "calls", *token_heads(writes=writes), "cost"]
    numeric = range(len(names), len(heads))
    if any(str(row[-1]) for row in rows):
        return Table([*heads, "not in it"], rows, numeric)
    return Table(heads, [row[:-1] for row in rows], numeric)


def _prices(ledger: LedgerViews) -> Table:
    """Return today's price of each model that was asked, and where it was read."""
    rows, now = [], time.time()
    asked = sorted(ledger.total(by=("host", "model")))
    prices = [ledger.prices.lookup(host, model, now) for host, model in asked]
    writes = any(price and price.cache_write is not None for price in prices)
    heads = token_heads(writes=writes)
    for (host, model), price in zip(asked, prices, strict=True):
        if price is None:
            rest = [""] * len(heads)
            told = ["unpriced", *rest, "set one with kimi.set_price(...)"]
        else:
            old = " (old)" if is_stale(price.as_of, now) else ""
            written = [_write_price(price)] if writes else []
            told = [
                *map(_dollars, (price.input, price.cached_input)),
                *written,
                _dollars(price.output),
                price.as_of + old,
                price.source,
            ]
        rows.append(breakable([host, model or "–", *told]))
    numeric = range(2, 2 + len(heads))
    return Table(["host", "model", *heads, "as of", "source"], rows, numeric)


def _write_price(price: Price) -> str:
    """Return what tokens cost that are put into the cache, for each lifetime."""
    short, hour = price.cache_write, price.cache_write_1h
    return _dollars(short) + (f", {_dollars(hour)} for 1 h" if hour else "")


def _dollars(amount: Decimal | None) -> str:
    """Return a price with all its digits, two of them at least."""
    if amount is None:
        return ""
    return f"${amount:.2f}" if amount == round(amount, 2) else f"${amount:f}"


_PRICES = (
    f"Prices now, dollars per million tokens; old: read over {STALE_DAYS} days ago"
)


def _plot(ledger: LedgerViews, ax: Any = None) -> tuple[Any, ...]:
    """Draw the three panels, or the first alone on the axes that are given.

    Where nothing has a cost, as with the local stand-in, tokens are drawn instead.
    """
    days = ledger.total(by="day")
    when = [dt.datetime.fromisoformat(day) for day in days]
    priced = any(total.cost_pico for total in days.values())
    unit = "US dollars" if priced else "tokens"

    def height(total: Total) -> float:
        return float(total.cost if priced else total.usage.total_tokens)

    look: dict[str, Any] = {"sharex": True, "height_ratios": (3, 2, 1)}
    axes: Any = subplots(3, 1, size=(7, 6), **look) if ax is None else (ax,)
    base = [0.0] * len(days)
    stacks = _stacks(ledger, list(days), height)
    for (name, heights), colour in zip(stacks.items(), html.PALETTE, strict=False):
        label = axes_name(name or "no model named") if any(heights) else None
        axes[0].bar(when, heights, bottom=base, color=colour, label=label, width=0.8)
        base = [low + more for low, more in zip(base, heights, strict=True)]
    title = "cost by model" if priced else "tokens by model, no call has a cost"
    count = html.many(sum(total.calls for total in days.values()), "call")
    axes[0].set_ylabel(f"{unit} per day")
    axes[0].set_title(f"{title}, n = {count}", fontsize="medium")
    look = {"frameon": False, "fontsize": "small"}
    named = bool(axes[0].get_legend_handles_labels()[1])
    if ax is None:
        if named:
            place = {"loc": "outside upper left", "ncols": 2}
            legend = axes[0].figure.legend(**place, **look)
            as_text(*legend.get_texts())
        sums = list(itertools.accumulate(base))
        axes[1].plot(when, sums, color=html.PALETTE[0], marker=".")
        axes[1].set(ylabel=f"{unit} so far", ylim=(0, None))
        shares = [100 * t.cached_tokens / (t.prompt_tokens or 1) for t in days.values()]
        axes[2].bar(when, shares, color=html.PALETTE[4], width=0.8)
        axes[2].set(ylim=(0, 100), ylabel="from cache, %")
    elif named:
        ax.legend(**look)
    for each in axes:
        plain(each)
    _date(axes[0], when)
    return tuple(axes)


def _stacks(
    ledger: LedgerViews, days: Sequence[str], height: Callable[[Total], float]
) -> dict[str, list[float]]:
    """Return daily heights by model, the dearest first, the cheapest as one."""
    by_day = ledger.total(by=("day", "model"))
    stacks = {
        model: [height(by_day.get((day, model), Total())) for day in days]
        for model in ledger.total(by="model")
    }
    if len(stacks) > COLOURS:
        rest = [stacks.pop(model) for model in list(stacks)[COLOURS - 1 :]]
        stacks[f"{len(rest)} other models"] = list(map(sum, zip(*rest, strict=True)))
    return stacks


def _date(axes: Any, when: list[dt.datetime]) -> None:
    """Make the days below axes readable."""
    from matplotlib import dates

    if when:
        locator: Any = dates.AutoDateLocator(minticks=1, maxticks=8)  # type: ignore[no-untyped-call]
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(dates.ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
        margin = dt.timedelta(hours=15)
        axes.set_xlim(when[0] - margin, when[-1] + margin)


def meter_line(ledger: LedgerViews) -> str:
    """Return the line that the meter shows."""
    running = ledger.running.copy()
    streamed = sum(usage.completion_tokens for usage in running.values())
    now = f"{len(running)} running, ~{streamed:,} tokens" if running else "idle"
    today, session = ledger.total(since="today"), ledger.session_total(ledger.session)
    spent = [f"today {today.cost_text}", f"this session {session.cost_text}"]
    return html.footer_line([now, *spent, f"{html.many(today.calls, 'call')} today"])


def meter(ledger: LedgerViews) -> Any:
    """Return a widget that shows what is being spent while calls run.

    At most four times per second it is drawn anew; saved and on GitHub it is the last
    line it showed.
    """
    import ipywidgets

    class Meter(ipywidgets.HTML):  # type: ignore[misc]
        def _repr_mimebundle_(self, **options: Any) -> dict[str, Any]:
            bundle: dict[str, Any] = super()._repr_mimebundle_(**options) or {}
            line = meter_line(ledger)
            return bundle | {"text/plain": line, "text/html": self.value}

    widget, waiting = Meter(), threading.Event()

    def draw() -> None:
        waiting.clear()
        widget.value = html.wrap(html.footer(meter_line(ledger)))

    def soon() -> None:
        if widget.comm is None:
            stop()
        elif not waiting.is_set():
            waiting.set()
            timer = threading.Timer(REDRAW_S, draw)
            timer.daemon = True
            timer.start()

    draw()
    stop = ledger.listen(soon)
    return widget
