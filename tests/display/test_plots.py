"""Plots are legible on light and on dark pages, and in the style that is set."""

import itertools

import matplotlib as mpl
import pytest
from support.contrast import faint_in

from kimikit.display.plots import apart, plain

mpl.use("Agg")
from matplotlib import pyplot as plt


def drawn():
    _, axes = plt.subplots()
    axes.plot([1, 2e9], label="a line")
    axes.set(xlabel="x", ylabel="y", title="both")
    axes.legend()
    plain(axes, ["bottom"])
    return axes


@pytest.fixture
def axes():
    axes = drawn()
    yield axes
    plt.close(axes.figure)


@pytest.mark.parametrize("style", ["default", "dark_background", "ggplot"])
def test_every_word_stands_out_in_the_style_that_is_set(style):
    with plt.style.context(style):
        axes = drawn()
        axes.text(0, 1e9, "note")
        assert faint_in(axes.figure) == []
        plt.close(axes.figure)


@pytest.mark.parametrize("colour", ["white", "#0072B2"])
def test_a_word_that_is_too_faint_is_found(axes, colour):
    axes.axvspan(0.4, 0.6, color="#444444")
    axes.text(0.45, 1e9, "faint", color=colour)
    assert ("faint" in faint_in(axes.figure)) == (colour == "#0072B2")
    axes.set_xlabel("x", color=colour)
    assert ("x" in faint_in(axes.figure)) == (colour != "#0072B2")


def test_only_the_lines_asked_for_stay(axes):
    shown = [side for side, spine in axes.spines.items() if spine.get_visible()]
    assert shown == ["bottom"]


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
