"""Plots are legible on light and on dark pages, with no box behind them."""

import matplotlib as mpl
import pytest
from matplotlib.colors import to_rgb
from matplotlib_inline import backend_inline

from kimikit.display.plots import plain

mpl.use("Agg")
from matplotlib import pyplot as plt


@pytest.fixture
def axes():
    figure, axes = plt.subplots()
    figure.patch.set_alpha(0)
    axes.plot([1, 2e9])
    axes.set(xlabel="x", ylabel="y", title="both")
    plain(axes, ["bottom"])
    figure.canvas.draw()
    yield axes
    plt.close(figure)


def contrast(color, page):
    """Return the ratio of WCAG 2.2, from 1 to 21."""

    def light(value):
        parts = [
            part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
            for part in to_rgb(value)
        ]
        return sum(w * v for w, v in zip((0.2126, 0.7152, 0.0722), parts, strict=True))

    low, high = sorted((light(color), light(page)))
    return (high + 0.05) / (low + 0.05)


def test_every_word_stands_out_from_either_page(axes):
    words = [axes.title]
    for part in (axes.xaxis, axes.yaxis):
        words += [part.label, part.get_offset_text(), *part.get_ticklabels()]
    for page in ("white", "black"):
        assert min(contrast(word.get_color(), page) for word in words) > 3.9


def test_jupyter_puts_no_box_behind_it(axes):
    assert backend_inline._fetch_figure_metadata(axes.figure) is None
    axes.tick_params(colors="#767676")
    assert backend_inline._fetch_figure_metadata(axes.figure) is not None


def test_only_the_lines_asked_for_stay(axes):
    shown = [side for side, spine in axes.spines.items() if spine.get_visible()]
    assert shown == ["bottom"]
    assert axes.patch.get_alpha() == 0
