"""A run can be looked at as text, HTML, a figure and a script, and saved so."""

import base64
import itertools
import re

import matplotlib as mpl
import msgspec
import pytest
from support.contrast import faint_in
from support.scripts import Scripted, call, calls

from kimikit.tools import run, tool, views
from kimikit.tools.values import Step, ToolResult
from kimikit.types import Reply, ToolCall, Usage

mpl.use("Agg")


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@tool
def hostile(a: int) -> list:
    """Return what a web page may hold."""
    return [{"<script>": "<img src=x onerror=alert(1)>"}, {"<script>": a}]


def finished(**options):
    one = calls(
        call("add", 0, a=1, b=2),
        call("hostile", 1, a=1),
        call("plus", 2),
        text="<b>I will</b> \x1b[31madd.",
        reasoning="Let me <i>see</i>.",
        usage=Usage(100, 20),
        duration_s=1.0,
        host="together",
        model="kimi",
    )
    return run(Scripted(one, Reply(text="It is 3.")), "go", [add, hostile], **options)


def test_text_names_every_call_and_the_sum():
    text = repr(finished())
    assert '✓ add({"a": 1, "b": 2}) -> 3' in text
    assert "✕ plus({}) -> Error: there is no tool" in text
    assert "2 steps, 3 calls: done" in text
    assert "100 -> 20 tokens" in text
    assert "\x1b" not in text


def test_html_is_inert_and_closed_until_opened():
    page = finished()._repr_html_()
    assert "<script>" not in page.replace("&lt;script&gt;", "")
    assert "<img" not in page
    assert "onerror=alert(1)&gt;" in page
    assert "<b>I will" not in page
    assert "<details open" not in page
    assert page.count("<details>") == page.count("</details>") == 5


@pytest.mark.parametrize(
    ("value", "part"),
    [
        ([{"a": 1}, {"a": 2}], "<table>"),
        ([{"a": 1}, {"b": 2}], "<pre>"),
        ([1, 2], "<pre>"),
        ("text", "<pre>"),
        ([], "<pre>"),
    ],
)
def test_values_are_shown_by_their_kind(value, part):
    result = ToolResult(call=ToolCall("i", "n"), text="t", value=value)
    assert part in views.value_html(result)


def test_numbers_stand_to_the_right():
    rows = [{"city": "Lagos", "n": 1, "x": 2.5}, {"city": "Oslo", "n": 2, "x": None}]
    shown = views.value_html(ToolResult(call=ToolCall("i", "n"), text="", value=rows))
    assert re.findall(r'class="n"[^>]*>([^<]*)<', shown) == ["n", "1", "2"]


def test_frames_and_pictures_are_shown_as_such():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"<a>": range(300)})
    shown = views.value_html(ToolResult(call=ToolCall("i", "n"), text="", value=frame))
    assert "&lt;a&gt;" in shown
    assert "100 of 300 rows" in shown
    assert "90 more rows" in shown
    figure = finished().timeline()
    assert faint_in(figure) == []
    shown = views.value_html(ToolResult(call=ToolCall("i", "n"), text="", value=figure))
    data = re.search(r'base64,([^"]+)', shown)[1]
    assert base64.b64decode(data).startswith(b"\x89PNG")


def test_long_calls_and_results_are_cut_in_views():
    made = ToolCall("i", "n", '{"text": "' + "x" * 5000 + '"}')
    page = views.result_html(ToolResult(call=made, text="y" * 9000, value="y" * 9000))
    assert "[9,000 characters]" in page
    assert page.count("x" * 5000) == 1


def test_the_timeline_stacks_parallel_calls_and_names_tokens_and_cost():
    done = finished()
    results = [
        msgspec.structs.replace(r, started_s=1.0, duration_s=0.5 + i)
        for i, r in enumerate(done.steps[0].results)
    ]
    step = msgspec.structs.replace(done.steps[0], results=tuple(results))
    done = msgspec.structs.replace(done, steps=(step, done.steps[1]), duration_s=5.0)
    figure = done.timeline()
    (axes,) = figure.axes
    lanes = {round(bar.get_y() + bar.get_height() / 2) for bar in axes.patches}
    assert lanes == {0, 1, 2, 3}
    texts = " ".join(text.get_text() for text in axes.texts)
    assert "100→20" in texts
    assert "add 0.5 s" in texts
    assert "plus unknown" in texts
    assert axes.get_xlabel() == "seconds"


def quick(turns):
    """Return a run of turns 0.01 s apart, each said to have taken a whole second."""
    done = finished()
    call = msgspec.structs.replace(done.steps[0].results[0], duration_s=0.001)
    reply = msgspec.structs.replace(done.steps[0].reply, duration_s=1.0)
    steps = [
        Step(
            n,
            reply,
            (msgspec.structs.replace(call, started_s=n / 100 + 0.005),),
            n / 100,
        )
        for n in range(turns)
    ]
    return msgspec.structs.replace(done, steps=tuple(steps), duration_s=turns / 100)


@pytest.mark.parametrize("turns", [2, 9, 60])
def test_labels_of_a_timeline_do_not_overlap(turns):
    figure = quick(turns).timeline()
    figure.canvas.draw()
    (axes,) = figure.axes
    boxes = [
        text.get_window_extent() for text in axes.texts if text.get_position()[1] < 0
    ]
    assert boxes
    assert all(a.x1 <= b.x0 for a, b in itertools.pairwise(boxes))
    assert boxes[-1].x1 <= figure.bbox.x1


def test_a_turn_of_the_model_ends_before_its_calls_begin():
    (axes,) = quick(5).timeline().axes
    turns = [
        bar for bar in axes.patches if round(bar.get_y() + bar.get_height() / 2) == 0
    ]
    ends = [bar.get_x() + bar.get_width() for bar in turns]
    assert ends == pytest.approx([n / 100 + 0.005 for n in range(5)])


def test_a_figure_is_drawn_where_one_is_asked_for():
    import matplotlib.pyplot as plt

    figure, ax = plt.subplots()
    assert finished().timeline(ax=ax) is figure
    plt.close(figure)
