"""Make the pieces of every view: escaped text, tables, folds, notices, the footer.

Pure functions from values to strings; nothing here displays. GitHub and nbviewer
drop style sheets and most attributes, so each piece is plain semantic HTML that
still reads well with no style at all.
"""

from __future__ import annotations

import base64
import html as _html
import re
import textwrap
from collections.abc import Sequence
from typing import NamedTuple

from kimikit.key_shapes import hide

PALETTE = (
    "#0072B2", "#E69F00", "#009E73", "#CC79A7",
    "#56B4E9", "#D55E00", "#F0E442", "#000000",
)  # fmt: skip
"""Okabe and Ito's colours for colour-blind readers (jfly.uni-koeln.de/color, 2008)."""

PART_SHOWN = 300
"""Characters of a part of a footer."""

PARTS_SHOWN = 40
"""Parts of a footer."""

TEXT_SHOWN = 4_000
"""Characters of a text that a cell or a fold of a view shows."""

ROWS_SHOWN = 10
"""Rows of a table before the rest is folded."""

ROWS_KEPT = 1_000
"""Rows of a table that are shown at all; a saved notebook holds them."""

WIDEST = 120
"""Characters to which a column of a plain table is filled up."""

STYLE = """<style>
.kimikit{font:var(--jp-ui-font-size1,13px)/1.45
var(--jp-ui-font-family,system-ui,sans-serif);
color:var(--jp-ui-font-color1,currentColor)}
.kimikit table{border-collapse:collapse;margin:.3em 0;font-variant-numeric:tabular-nums}
div.kimikit.kimikit tr:nth-child(n){background:transparent}
div.kimikit.kimikit th,div.kimikit.kimikit td{padding:.15em .7em;text-align:left;
vertical-align:top;background:transparent;color:inherit;border:0;
border-bottom:1px solid var(--jp-border-color2,rgba(128,128,128,.35))}
div.kimikit.kimikit .n{text-align:right}
div.kimikit.kimikit td.n{white-space:nowrap}
.kimikit caption{caption-side:bottom;text-align:left;padding-top:.3em}
.kimikit caption span{display:inline-block;position:sticky;left:0;
max-width:calc(100vw - 130px)}
@media (max-width:1200px){div.kimikit.kimikit .n small{display:block}
div.kimikit.kimikit td.n{white-space:normal}.kimikit table{font-size:.9em}
div.kimikit.kimikit th,div.kimikit.kimikit td{padding:.15em .25em}}
.kimikit caption,.kimikit .muted{opacity:.72;font-size:.92em}
.kimikit small{opacity:.75}
.kimikit .muted small{opacity:1;font-size:1em}
.kimikit .muted span{white-space:nowrap}
div.kimikit.kimikit pre{white-space:pre-wrap;overflow-wrap:anywhere;word-break:normal;
margin:.2em 0;background:transparent;color:inherit;max-height:30em;overflow:auto}
div.kimikit .code{position:relative}
div.kimikit .copy{display:block;position:absolute;top:.2em;right:.2em;font-size:.85em;
background:transparent;color:inherit;border:1px solid currentColor;border-radius:3px}
.kimikit .remedy{border-left:3px solid #E69F00;padding-left:.6em}
@media print{div.kimikit.kimikit pre,.kimikit div{max-height:none;
overflow:visible!important}.kimikit table{font-size:.8em}
div.kimikit.kimikit th,div.kimikit.kimikit td{padding:.1em .3em}
.kimikit details::details-content{content-visibility:visible;height:auto}
.kimikit button{display:none!important}}
</style>"""
"""The one style sheet. Colours come from the front end, with fallbacks for any page.

The class is named twice where JupyterLab's own rules for tables would win otherwise.
Paper neither scrolls nor opens folds, so it has all of them.
"""

_CONTROL = re.compile(
    # ANSI escape sequences, then other control characters, then the marks that
    # reorder text (Unicode TR 9) and could make an answer read as something else.
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b.?"
    r"|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\x80-\x84\x86-\x9f]"
    r"|[\u200e\u200f\u061c\u202a-\u202e\u2066-\u2069]"
    r"|[\ufdd0-\ufdef\ufffe\uffff]"  # no characters: free for our own marks
)
_HALF_PAIR = re.compile(r"[\ud800-\udfff]")


UNSEEN = re.compile(
    "[\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u2060-\u2064\u3164"
    "\ufe00-\ufe0e\ufeff\uffa0\ufff9-\ufffb\U000e0000-\U000e0fff]"
)
"""Letters that show nothing, of which names and texts can be made all the same.

Python calls some of them printable. Those that join emoji and words are not in it.
"""


_SECRETS: dict[str, None] = {}
_MOST_SECRETS = 64


def keep_out(secret: str) -> None:
    """Show ``***`` wherever a secret would stand in what is emitted, from now on."""
    _SECRETS.pop(secret, None)
    _SECRETS[secret] = None
    if len(_SECRETS) > _MOST_SECRETS:
        del _SECRETS[next(iter(_SECRETS))]


def secrets_in_use() -> tuple[str, ...]:
    """Return what is kept out."""
    return tuple(_SECRETS)


def without_secrets(text: str) -> str:
    """Return a text without the secrets in use: it may be saved or sent on."""
    for secret in secrets_in_use():
        if secret in text:
            text = text.replace(secret, "***")
    return text


def clean(text: str) -> str:
    """Drop terminal escapes, control characters, text-direction overrides and keys.

    All text that is emitted passes through here, in any form, after its last change.
    """
    if "\r" in text:  # which alone would write over its own line
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    if not text.isascii():  # half a surrogate pair cannot be sent or printed
        text = _HALF_PAIR.sub("\ufffd", text)
    return without_secrets(_CONTROL.sub("", text))


def one_line(text: str, most: int) -> str:
    """Return a text as one line of at most so many characters."""
    line = clean(" ".join(text.split()))
    return line if len(line) <= most else f"{line[: most - 1]}…"


def esc(value: object) -> str:
    """Return ``value`` as text that is inert inside HTML, quotes included."""
    return _html.escape(clean(str(value)), quote=True)


def entities(text: str) -> str:
    """Return ``text`` with all that Markdown, HTML or TeX could act on as numbers."""
    return re.sub(r"[!-/:-@[-`{-~]", lambda m: f"&#{ord(m[0])};", text)


def in_line(text: str) -> str:
    """Return ``text`` as one line of Markdown that shows its characters."""
    return entities(" ".join(clean(text).split()))


def is_link(url: str) -> bool:
    """Tell whether ``url`` goes to the web or to a mail address, and nowhere else."""
    return re.match(r"(?:https?://|mailto:)\S", url, re.IGNORECASE) is not None


def wrap(*parts: str) -> str:
    """Put finished HTML parts into the one styled box.

    MathJax 3 and 2 leave it alone, which would read two prices as a formula.
    """
    kind = "kimikit mathjax_ignore tex2jax_ignore"
    return f'{STYLE}<div class="{kind}">{"".join(parts)}</div>'


def filled(text: str, width: int, *, indent: int) -> str:
    """Return a line in lines of at most ``width`` where it has spaces to break at.

    Commands, paths and names stay whole, so that they can be copied.
    """
    lines = textwrap.wrap(
        text,
        width,
        subsequent_indent=" " * indent,
        break_on_hyphens=False,
        break_long_words=False,
    )
    return "\n".join(lines) or text


def footer_line(parts: Sequence[str]) -> str:
    """Join the parts of a footer on one line, leaving empty ones out.

    A host or a server chose some of them: none is longer than a line.
    """
    line = " · ".join(hide(" ".join(clean(part).split())) for part in parts if part)
    shown = line.split(" · ", PARTS_SHOWN)
    if len(shown) > PARTS_SHOWN:
        shown[PARTS_SHOWN:] = ["…"]
    return " · ".join(
        part if len(part) <= PART_SHOWN else part[:PART_SHOWN] + "…" for part in shown
    )


def one_part(name: str) -> str:
    """Return a name that a host chose as a single part: it may not pass for others."""
    return " ".join(clean(name).replace("·", "-").split())


def footer(line: str) -> str:
    """Return the footer of a view: one small muted line, broken between its parts."""
    parts = [
        f"<span>{esc(part)}</span>" if len(part) < 40 else esc(part)
        for part in line.split(" · ")
    ]
    return f'<div class="muted"><small>{" · ".join(parts)}</small></div>'


def fold(summary: str, body: str, *, shown: bool = False) -> str:
    """Return ``body`` (finished HTML) that opens under ``summary`` (plain text)."""
    state = " open" if shown else ""
    return f"<details{state}><summary>{esc(summary)}</summary>{body}</details>"


def pre(text: str) -> str:
    """Return ``text`` word for word, wrapped where it is too wide."""
    return f"<pre>{esc(text)}</pre>"


def data_url(kind: str, data: bytes) -> str:
    """Return a file of a media type as a URL that holds its bytes."""
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


class Cell(NamedTuple):
    """A cell of a table in its two forms.

    Attributes:
        text: For terminals and pipes.
        rich: Finished HTML.
    """

    text: str
    rich: str

    def __str__(self) -> str:
        return self.text


def interval(value: str, low: str, high: str) -> Cell:
    """Return a value followed by its interval, which is in smaller type."""
    rich = f"{esc(value)} <small>[{esc(low)},\u00a0{esc(high)}]</small>"
    return Cell(f"{value} [{low}, {high}]", rich)


def cut(text: str, most: int = TEXT_SHOWN) -> str:
    """Return a text of at most so many characters, and how many it leaves out."""
    if len(text) <= most:
        return text
    return f"{text[:most]}… [{len(text) - most:,} more characters]"


def opening(text: str, width: int) -> Cell | str:
    """Return the beginning of a text; in HTML it opens to more of it."""
    line = " ".join(text[:TEXT_SHOWN].split())
    if len(line) <= width and len(text) <= TEXT_SHOWN:
        return line
    line = f"{line[: width - 1]}…"
    return Cell(line, fold(line, pre(cut(text))))


_LEFT = ' style="text-align:left"'
_BELOW = ' style="caption-side:bottom;text-align:left"'
# JupyterLab drops the style sheet from a notebook that was run elsewhere, as each
# committed one is at first, and aligns cells right; these it leaves.


def table(
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
    *,
    caption: str = "",
    numeric: Sequence[int] = (),
) -> str:
    """Return a table; rows after the tenth are folded, and over none are no heads.

    Args:
        columns: The heads, plain text.
        rows: The cells, plain values or ``Cell``s.
        caption: A line below, where n and the source belong.
        numeric: Indexes of columns to align right.
    """
    if not rows:
        return f'<div class="muted">{esc(caption)}</div>' if caption else ""
    right = set(numeric)

    def cell(tag: str, index: int, value: object) -> str:
        text = value.rich if isinstance(value, Cell) else esc(cut(str(value)))
        kind = ' class="n" align="right"' if index in right else _LEFT
        return f"<{tag}{kind}>{text}</{tag}>"

    def part(some: Sequence[Sequence[object]], note: str) -> str:
        head = "".join(cell("th", i, name) for i, name in enumerate(columns))
        body = "".join(
            "<tr>"
            + "".join(cell("td", i, value) for i, value in enumerate(row))
            + "</tr>"
            for row in some
        )
        below = f"<caption{_BELOW}><span>{esc(note)}</span></caption>" if note else ""
        grid = f"{below}<thead><tr>{head}</tr></thead><tbody>{body}</tbody>"
        return f'<div style="overflow-x:auto"><table>{grid}</table></div>'

    shown = part(rows[:ROWS_SHOWN], caption)
    rest = rows[ROWS_SHOWN:ROWS_KEPT]
    more = f"{many(len(rest), 'more row')}{left_out(rows)}"
    return shown + (fold(more, part(rest, "")) if rest else "")


def left_out(rows: Sequence[Sequence[object]]) -> str:
    """Say how many rows of a table are not shown at all."""
    lost = len(rows) - ROWS_KEPT
    return f", {lost:,} more are left out" if lost > 0 else ""


def many(count: int, word: str) -> str:
    """Return a number of things in words, such as ``1 row`` and ``2 rows``."""
    return f"{count:,} {word}{'s' * (count != 1)}"


def notice(title: str, what: str, remedy: str) -> str:
    """Return an error's own view: the remedy stands first and apart."""
    return wrap(
        f'<div class="remedy"><b>{esc(remedy)}</b><br>{esc(title)}: {esc(what)}</div>'
    )


def text_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return the same table as plain text, for terminals and pipes."""
    shown = [columns, *rows[:ROWS_KEPT]]
    # A host's words with a line's end in them would look like a row.
    grid = [[" ".join(cut(clean(str(v))).splitlines()) for v in row] for row in shown]
    widths = [min(WIDEST, max(map(len, column))) for column in zip(*grid, strict=True)]
    lines = [
        "  ".join(v.ljust(w) for v, w in zip(row, widths, strict=True)) for row in grid
    ]
    lines.insert(1, "  ".join("-" * width for width in widths))
    if more := left_out(rows):
        lines.append(more.removeprefix(", "))
    return "\n".join(line.rstrip() for line in lines)


def money(usd: object, *, estimated: bool = False) -> str:
    """Return a cost as ``$0.0010``, with ``~`` when estimated, or ``unpriced``.

    What costs nothing costs exactly nothing, however many tokens it was.
    """
    if usd is None:
        return "unpriced"
    value = float(str(usd))
    digits = 2 if value >= 1 or value == 0 else 4 if value >= 0.001 else 6
    return f"{'~' if estimated and value else ''}${value:.{digits}f}"
