"""Show figures in the colours of the page: dark ink on light pages, light on dark ones.

A picture has one ink, and none is dark enough on white and light enough on black
(WCAG asks for 4.5 : 1). So a notebook gets the figure as SVG whose ink is the colour of
the page's text, and a picture for pages that take style sheets and SVG away, as GitHub
and untrusted notebooks do, or show pictures only. Letters are outlines, as those pages
take the SVG's tags away and leave its texts; those that no font of this machine has,
such as emoji, are the browser's.
"""

from __future__ import annotations

import functools
import html
import io
import re
from typing import Any

import matplotlib as mpl
from IPython.core.getipython import get_ipython
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.text import Text

from kimikit.display.fonts import lend
from kimikit.html import data_url

STYLE = """<style>.kimikit-figure{color:var(--jp-content-font-color1,currentColor)}
.kimikit-figure svg{max-width:100%;height:auto;fill:currentColor;
stroke-linejoin:round;stroke-linecap:butt}
.kimikit-figure img{display:none}</style>"""

LARGEST = 200_000
"""Characters of SVG that a notebook keeps: a larger figure is a picture alone."""

COLOURS = 64
"""Colours of the picture, which so takes a third of the bytes."""

LONGEST_LINE = 300
"""Characters of a line that a picture has room for."""

MOST_LINES = 60
"""Lines of a text that a picture has room for."""

_SVG = re.compile(r"<svg\b.*</svg>", re.DOTALL)
_LEFT_OUT = re.compile(
    r"<metadata>.*?</metadata>|<!--.*?-->|<style\b.*?</style>", re.DOTALL
)
_TAG = re.compile(r"<[^<>]+>")
_SHORTER = (
    (re.compile(r"\s+"), " "),
    (re.compile(r'(?<=<g) id="[^"]*"'), ""),
    (re.compile(r"(?<=[a-z]: )#000000\b"), "currentColor"),
    # Paper, such as behind a legend: white on a dark page would hide light letters.
    (
        re.compile(r"^(<(?:path|use) .*\bfill: )#ffffff\b"),
        r"\1var(--jp-layout-color0,transparent)",
    ),
    (re.compile(r"(?<=[\"#])DejaVuSans-"), "d-"),
    (re.compile(r"\bxlink:(?=href)"), ""),
    (re.compile(r'^(<use (?!.* x=).*) transform="translate\((\S+) 0\)"'), r'\1 x="\2"'),
    # A hundredth of a point is enough for places, and four digits for scales.
    (re.compile(r"(?<=\d\d\.\d\d)\d+|(?<=\b[1-9]\.\d\d)\d+|(?<=\b0\.\d{4})\d+"), ""),
)
"""What becomes of the parts of a tag, its text apart."""


class ThemedFigure(Figure):
    """A figure that notebooks show in the colours of the page.

    Where the user has another style than matplotlib's own, it stays as they have it.
    """

    def _repr_mimebundle_(
        self, include: Any = None, exclude: Any = None
    ) -> dict[str, Any]:
        """Return the picture, and HTML with it where that follows the page."""
        formats = _formatter()
        if formats and "image/png" not in formats.active_types:
            return {}  # a terminal shows neither
        picture = self._picture()
        # Of a backend that is a web page matplotlib has HTML of its own.
        shown = super()._repr_html_() or self.as_html(picture)
        return {"image/png": picture} | ({"text/html": shown} if shown else {})

    def as_html(self, picture: bytes | None = None) -> str | None:
        """Return HTML that follows the page, ``None`` where the picture alone does.

        Args:
            picture: The picture, where it is drawn already.
        """
        if not self._is_plain():
            return None
        svg = self._svg()
        if len(svg) > LARGEST:
            return None
        source = data_url("image/png", picture or self._picture())
        about = html.escape(self._about())
        return (
            f'<div class="kimikit-figure" role="img" aria-label="{about}">{STYLE}{svg}'
            f'<img alt="{about}" src="{source}"></div>'
        )

    def savefig(self, *args: Any, **options: Any) -> None:
        """Save the figure as others are, each letter in a font that has it."""
        self._lend()
        super().savefig(*args, **options)

    def _lend(self) -> bool:
        """Make texts ready to be drawn; tell whether each letter has a font.

        None is so long that no picture can hold it.
        """
        for axes in self.axes:  # names below them are made when they are asked for
            for axis in (axes.xaxis, axes.yaxis):
                axis.get_ticklabels()
        texts = self.findobj(Text)
        for text in texts:
            if len(shown := text.get_text()) > LONGEST_LINE:
                text.set_text(_with_room(shown, wraps=text.get_wrap()))
        return lend(*texts)

    def _picture(self) -> bytes:
        from PIL import Image

        drawn, small = io.BytesIO(), io.BytesIO()
        self.savefig(drawn, format="png", bbox_inches="tight")
        few = Image.open(drawn).convert("RGB").quantize(COLOURS)
        few.save(small, "png", optimize=True)
        return small.getvalue()

    def _is_plain(self) -> bool:
        """Tell whether the style is matplotlib's own: black on white."""
        rc: Any = mpl.rcParams
        inks = rc["text.color"], rc["axes.labelcolor"], rc["xtick.color"]
        grounds = self.get_facecolor(), *(axes.get_facecolor() for axes in self.axes)
        looks = {*map(to_hex, inks)}, {*map(to_hex, grounds)}
        return looks == ({"#000000"}, {"#ffffff"})

    def _svg(self) -> str:
        """Return the figure as SVG without a background, its black the page's ink."""
        target = io.StringIO()
        letters = "path" if self._lend() else "none"
        look: Any = {"svg.fonttype": letters, "svg.hashsalt": "kimikit"}
        with mpl.rc_context(look):  # names are the same each time
            self.savefig(target, format="svg", bbox_inches="tight", transparent=True)
        svg = _LEFT_OUT.sub("", _SVG.findall(target.getvalue())[0])
        return re.sub(r">\s+<", "><", _TAG.sub(_shorter, svg))

    def _about(self) -> str:
        """Return what the figure shows, for those who hear it."""
        said = []
        for axes in self.axes:
            shown = axes.get_title() or axes.get_ylabel()
            said.append(" by ".join(filter(None, [shown, axes.get_xlabel()])))
        return "Figure: " + "; ".join(filter(None, said))


def _with_room(text: str, *, wraps: bool) -> str:
    """Return what of a text a picture has room for; matplotlib wraps at spaces."""
    kind = r"\S" if wraps else "."
    long = rf"({kind}{{{LONGEST_LINE}}}){kind}+"
    lines = re.sub(long, r"\1…", text[: LONGEST_LINE * MOST_LINES]).split("\n")
    return "\n".join([*lines[:MOST_LINES], *["…"][: len(lines) > MOST_LINES]])


def _shorter(tag: re.Match[str]) -> str:
    return functools.reduce(lambda t, by: by[0].sub(by[1], t), _SHORTER, tag[0])


def _register() -> None:
    """Have IPython take the picture from the bundle, where it else draws its own."""
    if formats := _formatter():
        formats.formatters["image/png"].for_type(ThemedFigure, lambda figure: None)


def _formatter() -> Any:
    """Return what formats the results of IPython, ``None`` where it does not run."""
    return getattr(get_ipython(), "display_formatter", None)


_register()
