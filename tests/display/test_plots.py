"""Plots are legible on light and on dark pages, with no box behind them."""

import itertools

import matplotlib as mpl
import pytest
from matplotlib.colors import to_rgb
from matplotlib_inline import backend_inline

from kimikit.display.plots import apart, plain

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


@pytest.mark.parametrize(
    "points", [[(5, 5)] * 6, [(0, 0), (0.1, 0), (9.9, 10), (10, 9.9)]]
)
def test_names_of_points_lie_apart_and_inside(axes, points):
    axes.set(xlim=(0, 10), ylim=(0, 10.5))
    names = [axes.annotate(f"a long name {p}", p, fontsize=7) for p in points]
    apart(axes)
    axes.figure.canvas.draw()
    boxes = [each.get_window_extent() for each in names]
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))
    frame = axes.get_window_extent()
    assert all(frame.x0 <= box.x0 and box.x1 <= frame.x1 for box in boxes)


def test_a_legend_is_as_legible_as_the_rest(axes):
    axes.plot([1, 2], label="kept")
    axes.legend()
    axes.figure.legend(labels=["other"])
    plain(axes)
    for legend in (axes.get_legend(), *axes.figure.legends):
        (*texts,) = legend.get_texts()
        assert all(contrast(text.get_color(), "black") > 3.9 for text in texts)
        assert legend.get_frame().get_alpha() == 0
