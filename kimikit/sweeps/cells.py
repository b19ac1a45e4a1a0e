"""Make the parts of a sweep's tables: labels, bars, and pages of both forms."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from kimikit import html
from kimikit.display.footer import footer, total_usd
from kimikit.display.renderable import Renderable, Table
from kimikit.json_values import is_number
from kimikit.sweeps.shares import RightPrice
from kimikit.sweeps.values import Outcome

POINTS_SHOWN = 6
"""Points that ``compare`` lays side by side."""

SHOWN_BYTES = 200_000
"""Bytes of answers in a view, at most; a front end drops much more than a megabyte."""

TEXT_BYTES = 50_000
"""The same of its plain text."""


Rows = Sequence[dict[str, Any]]
Blocks = Sequence[Table | html.Cell]


class Page(Renderable, msgspec.Struct, frozen=True):
    """A view with its two forms; ``rows`` holds its values, where it has any."""

    blocks: Blocks
    foot: str
    rows: list[dict[str, Any]] = []

    def _parts(self) -> tuple[str, Blocks, str]:
        return "", self.blocks, self.foot


def bar(share: float) -> str:
    """Return a share from 0 to 1 as a bar, which is not there where styles are not."""
    filled = 5 * min(max(share, 0.0), 1.0)
    # JupyterLab takes ``background:currentColor`` from a notebook it does not trust.
    inner = f"display:block;height:100%;width:0;border-left:{filled:.2f}em solid"
    outer = "display:inline-block;width:5em;height:.6em;border:1px solid;opacity:.72"
    return (
        f'<span style="{outer}" aria-hidden="true"><span style="{inner}"></span></span>'
    )


def each_right(price: RightPrice) -> html.Cell:
    """Return what a right answer cost with its 95 % interval, as far as it is known."""
    value = html.money(price.value)
    if price.low is None:
        return html.Cell(value, html.esc(value))
    least = html.money(price.low)
    if price.value is None:
        none = f"none right, at least {least}"
        return html.Cell(none, html.esc(none))
    most = "∞" if price.high is None else html.money(price.high)
    return html.interval(value, least, most)


def label_text(value: Any, most: int = 40) -> str:
    """Return an axis label short enough for a table, as ``label_texts`` does many."""
    if is_number(value):
        return f"{value:.10g}" if isinstance(value, float) else str(value)
    return "not sent" if value is None else html.one_line(str(value), most)


def label_texts(values: Iterable[Any], most: int = 40) -> dict[Any, str]:
    """Return a text for each label, no two the same.

    A label is what it is, not what it looks like: of long ones that begin alike the
    part is shown where they differ.
    """
    alike: defaultdict[str, list[Any]] = defaultdict(list)
    values = dict.fromkeys(values)
    for value in values:
        alike[label_text(value, most)].append(value)
    out: dict[Any, str] = {}
    often = Counter(text for text, some in alike.items() if len(some) == 1)
    for text, some in alike.items():
        shown = [text] if len(some) == 1 else _apart(some, most)
        for value, each in zip(some, shown, strict=True):
            unique = each
            while len(some) > 1 and often[unique]:
                often[each] += 1
                unique = f"{each} ({often[each]})"
            often[unique] += 1
            out[value] = unique
    return {value: out[value] for value in values}


def _apart(alike: Sequence[Any], most: int) -> list[str]:
    """Return labels so that they differ, though they would look the same."""
    if all(map(is_number, alike)):
        return [repr(value) for value in alike]
    texts = [" ".join(str(value).split()) for value in alike]
    first, last = min(texts), max(texts)
    pairs = enumerate(zip(first, last, strict=False))
    same = next((i for i, (a, b) in pairs if a != b), min(len(first), len(last)))
    out = []
    for value, text in zip(alike, texts, strict=True):
        if len(text) <= most:
            kind = f'"{text}"' if isinstance(value, str) else label_text(value, most)
            out.append(kind)
            continue
        head = text[: most // 3]
        room = most - len(head) - 1
        begin = max(len(head), min(same - 4, len(text) - room))
        out.append(f"{head}…{label_text(text[begin:].lstrip(), room)}")
    return out


def footer_line(sweep: Outcome) -> str:
    """Return the line that says where this came from and what it cost."""
    after = [f"sweep {sweep.name}"] if sweep.name else []
    if costs := sweep.judge_costs:
        after.append(f"judging cost {html.money(total_usd(costs))} apart")
    return footer(sweep.spent, after=after, stand_in=sweep.stand_in)
