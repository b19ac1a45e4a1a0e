"""Names in plots are drawn as they are: no TeX, nothing hidden, in a font that has them."""

from __future__ import annotations

import io
import itertools
import warnings
from decimal import Decimal
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest

from kimikit import Kimi
from kimikit.display.plots import as_text, name, subplots
from kimikit.sweeps import sweep
from kimikit.sweeps.plots import Places, distinct
from kimikit.tools.values import Run, Step, ToolResult
from kimikit.types import Reply, ToolCall

mpl.use("Agg")
from matplotlib import font_manager
from matplotlib import pyplot as plt

NAMES = [
    "cost $5% or $6", "a$b$c", "$\\frac$", "\\$5 and $6$", "_hidden", "x" * 5000,
    "two\nlines", "100 % #1 & {x}^_", "\x1b[31mred", "",
]  # fmt: skip
WIDE = ["价格是$5或$6", "温度を上げる", "온도", "สวัสดี", "Ελλάδα", "→ ≥ é"]


class Client:
    async def chat(self, prompt: Any, **params: Any) -> Reply:
        return Reply(text="blue", finish_reason="stop")

    async def close(self) -> None:
        pass


def drawn(figure: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of glyphs that no font of this system has
        figure.savefig(io.BytesIO(), dpi=20)
    plt.close(figure)


def swept(**grid: Any) -> Any:
    found = sweep(lambda host: Client(), "q", repeats=3, progress=False, **grid)
    return np.ravel(found.plot())


@pytest.mark.parametrize(
    "names", [NAMES[:4], NAMES[4:], WIDE], ids=["TeX", "odd", "wide"]
)
@pytest.mark.parametrize("axis", ["series", "places"])
def test_a_sweep_draws_any_name(names: list[str], axis: str) -> None:
    more = {"temperature": [0, 1]} if axis == "series" else {}
    panels = swept(system=[*(text or "empty" for text in names), "plain"], **more)
    drawn(panels[0].figure)


def test_labels_are_what_was_given() -> None:
    panels = swept(system=["cost $5% or $6", "plain"])
    shown = [text.get_text() for text in panels[0].get_xticklabels()]
    assert shown == ["cost $5% or $6", "plain"]
    plt.close(panels[0].figure)


@pytest.mark.parametrize(
    "names", [NAMES[:4], NAMES[4:], WIDE], ids=["TeX", "odd", "wide"]
)
def test_a_timeline_draws_any_name(names: list[str]) -> None:
    steps = []
    for number, text in enumerate(names):
        result = ToolResult(
            call=ToolCall("a", text, "{}"), text="x", failed="unknown",
            started_s=0.1, duration_s=0.2,
        )  # fmt: skip
        reply = Reply(model=text, cost=Decimal("0.01"), duration_s=1.0)
        steps.append(Step(number, reply, (result,)))
    drawn(Run(reply=reply, steps=tuple(steps), duration_s=2.0).timeline())


@pytest.mark.parametrize("text", ["a$\\frac$b", "_hidden", "价格"])
def test_a_ledger_draws_any_model(text: str, tmp_path: Path) -> None:
    import httpx

    answer = {
        "model": text,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "x"},
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 5, "completion_tokens": 5},
    }
    kimi = Kimi(
        "mine", base_url="http://x/v1", api_key="k", model=text, show=False,
        ledger=tmp_path / "l.sqlite", transport=httpx.MockTransport(lambda _: httpx.Response(200, json=answer)),
    )  # fmt: skip
    kimi.chat("q")
    axes = kimi.ledger.plot()
    legend = axes[0].figure.legends[0]
    assert [t.get_text().strip() for t in legend.get_texts()] == [text]
    drawn(axes[0].figure)


def has_cjk() -> bool:
    return any("CJK" in font.name for font in font_manager.fontManager.ttflist)


@pytest.mark.skipif(not has_cjk(), reason="this system has no font with these letters")
@pytest.mark.parametrize("text", ["价格是", "温度を", "온도"])
def test_letters_find_a_font_that_has_them(text: str) -> None:
    figure = plt.figure()
    shown = figure.text(0.5, 0.5, text)
    as_text(shown)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # matplotlib warns of each glyph it lacks
        figure.savefig(io.BytesIO(), dpi=20)
    plt.close(figure)


def test_letters_that_the_usual_font_has_need_no_other() -> None:
    figure = plt.figure()
    shown = figure.text(0.5, 0.5, "Ελλάδα → ≥ é")
    before = shown.get_fontfamily()
    as_text(shown)
    assert shown.get_fontfamily() == before
    plt.close(figure)


@pytest.mark.parametrize(
    "scores",
    [[-0.5], [-0.5, 0.5], [0.0], [float("nan"), -1.0], [float("inf"), 1.0], [-1e9]],
)
def test_every_figure_of_a_metric_is_inside_its_panel(scores: list[float]) -> None:
    turn = iter(scores * 100)
    panel = swept(temperature=[0, 1], metrics={"score": lambda reply: next(turn)})[3]
    low, high = panel.get_ylim()
    assert low < high, "and upright"
    for line in panel.lines:
        if line.get_linestyle() != "--":
            assert all(low <= y <= high for y in line.get_ydata())
    plt.close(panel.figure)


def test_names_that_begin_alike_show_where_they_differ() -> None:
    start = "You are a helpful assistant. Answer in one "
    names = distinct([f"{start}word.", f"{start}long sentence.", "short"])
    assert names == ["…one word.", "…one long sentence.", "short"]
    assert (
        len(set(distinct(["a" * 50 + "b" + "c" * 90, "a" * 50 + "d" + "c" * 90]))) == 2
    )
    assert len(set(distinct(["1", "1", "1"]))) == 3


def test_series_are_told_apart_by_their_values() -> None:
    start = "You are a helpful assistant. Answer in one "
    panels = swept(system=[f"{start}word.", f"{start}sentence."], temperature=[0, 1])
    lines = [line for line in panels[2].lines if line.get_linestyle() != "--"]
    assert len(lines) == 2
    plt.close(panels[0].figure)


def test_places_are_those_of_values() -> None:
    places = Places([None, 0.3, True, 1, "1"])
    assert [places.of(v) for v in (None, 0.3, True, 1, "1")] == [0, 1, 2, 3, 4]
    assert Places([0.3, 0.6, 0.3]).of(0.6) == 0.6


def test_a_name_is_one_short_line() -> None:
    assert name("_a\nb") == " _a b"
    assert len(name("x" * 5000)) == 40


@pytest.mark.parametrize("text", ["x" * 20_000, "x " * 10_000])
def test_what_stands_below_a_plot_is_a_few_lines(text: str) -> None:
    panels = swept(temperature=[0, 1], metrics={text: lambda reply: 1.0})
    below = panels[0].figure._supxlabel.get_text()
    assert 100 < len(below) < 700
    drawn(panels[0].figure)


@pytest.mark.parametrize(
    ("count", "letter"), [(3, "w"), (8, "价"), (9, "w"), (30, "价")]
)
def test_names_of_places_do_not_lie_on_each_other(count: int, letter: str) -> None:
    panels = swept(
        system=[f"{n} {letter * (60 if count > 3 else 4)}" for n in range(count)]
    )
    drawn_again(panels[0].figure)
    for ax in panels:
        names = [each for each in ax.get_xticklabels() if each.get_text()]
        assert names[0].get_text().startswith(f"0 {letter}")
        boxes = [each.get_window_extent() for each in names]
        if names[0].get_rotation() == 30:  # the boxes are, the lines must not be
            height = 1.1 * names[0].get_fontsize() * ax.figure.dpi / 72
            steps = [more.x1 - less.x1 for less, more in itertools.pairwise(boxes)]
            assert min(steps) / 2 > height, "half is the sine of 30 degrees"
        else:
            assert not any(a.overlaps(b) for a, b in itertools.pairwise(boxes))
    plt.close(panels[0].figure)


def drawn_again(figure: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        figure.draw_without_rendering()


@pytest.mark.parametrize(("places", "count"), [([0, 1], 12), ([0, 0.1, 1], 60)])
def test_many_series_stay_at_their_places_and_are_named_as_far_as_there_is_room(
    places: list[float], count: int
) -> None:
    ax = swept(temperature=places, system=[f"p{n}" for n in range(count)])[0]
    names = [text.get_text() for text in ax.get_legend().get_texts()]
    assert len(names) == 12
    assert names[-1] == ("p11" if count == 12 else f"and {count - 11} more")
    lines = [line for line in ax.lines if len(line.get_xdata()) == len(places)]
    assert len(lines) == count
    nearest = min(more - less for less, more in itertools.pairwise(places)) / 3
    for line in lines:
        assert all(abs(np.subtract(line.get_xdata(), places)) < nearest)
    assert len({(line.get_color(), line.get_marker()) for line in lines}) >= min(
        count, 49
    )
    assert ax.figure.get_tightbbox().height < 8, "inches"
    plt.close(ax.figure)


@pytest.mark.parametrize(
    "title", ["价格 $x^2$", "从 $x$ 到 $y^2$", "价格是 $5 或 $6", "从$5到$6"]
)
@pytest.mark.parametrize("wrap", [False, True])
def test_letters_beside_formulas_of_a_users_title_are_drawn(
    title: str, wrap: bool, caplog: pytest.LogCaptureFixture
) -> None:
    axes = subplots(size=(2, 2))
    text = axes.set_title(title, wrap=wrap)
    axes.figure.savefig(io.BytesIO(), dpi=20)
    plt.close(axes.figure)
    if any("CJK" in font for font in text.get_fontfamily()):  # this machine has it
        assert "does not have a glyph" not in caplog.text
    shown = text.get_text().replace("\\$", "$")
    assert shown == title
    is_tex = text.get_parse_math() and "\\$" not in text.get_text()
    assert is_tex == ("^" in title)
