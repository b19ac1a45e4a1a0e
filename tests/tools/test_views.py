"""A run can be looked at as text, HTML, a figure and a script, and saved so."""

import ast
import base64
import re
import subprocess
import sys

import matplotlib as mpl
import msgspec
import pytest
from support.kernel import running_kernel
from support.scripts import Scripted, call, calls, scripted_host, whole

from kimikit.tools import Tool, run, tool, views
from kimikit.tools.values import ToolResult
from kimikit.types import Host, Reply, ToolCall, Usage
from kimikit.wire.client import Client

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
    assert figure.get_facecolor()[3] == 0


def test_a_figure_is_drawn_where_one_is_asked_for():
    import matplotlib.pyplot as plt

    figure, ax = plt.subplots()
    assert finished().timeline(ax=ax) is figure
    plt.close(figure)


def test_the_script_repeats_the_run_without_us(tmp_path):
    """It is run as a program against a host that answers in one piece."""
    pytest.importorskip("openai")
    message = {"role": "assistant", "content": None}
    message["tool_calls"] = [call("add", 0, a=1, b=2).to_dict()]
    answers = (whole(message), whole({"role": "assistant", "content": "It is 3."}))
    with scripted_host(*answers, *answers) as (url, bodies):
        host = Host(name="x", base_url=url, model="kimi-k2-instruct")
        with Client(host, api_key="k") as client:
            script = run(client, "1 + 2?", [add], temperature=0.6).to_code()
        (tmp_path / "script.py").write_text(script)
        done = subprocess.run(
            [sys.executable, "-I", tmp_path / "script.py"],
            env={"API_KEY": "k"},
            capture_output=True,
            text=True,
            check=False,
        )
    assert (done.stdout, done.stderr) == ("It is 3.\n", "")
    assert bodies[2]["tools"] == bodies[0]["tools"]
    assert bodies[2]["temperature"] == 0.6
    assert bodies[3]["messages"][-1]["content"] == "3"


NOTEBOOK = """
import statistics as stats
from collections import Counter
from typing import Annotated, Literal
from support.kernel import running_kernel
from support.scripts import Scripted, call, calls
from kimikit.tools import run, tool
from kimikit.types import Reply

CELSIUS = {"lagos": [30, 32], "paris": [12]}
Unit = Literal["c", "f"]

def known(city):
    return known(city.lower()) if city.lower() != city else CELSIUS[city]

@tool
def weather(city: Annotated[str, "A city."], unit: Unit = "c") -> dict:
    "Weather."
    return {"city": city, "celsius": stats.mean(known(city))}

def maker(step):
    @tool(name="count-up", description="with a def in it: def x(")
    async def count(text: str) -> int:
        # Comments stay.
        return Counter(text).total() + step
    return count

client = Scripted(calls(call("weather", 0, city="Lagos")), Reply(text="x"))
script = run(client, "go", [weather, maker(5)]).to_code()
"""


def test_the_script_brings_along_what_notebook_functions_use(tmp_path):
    pytest.importorskip("openai")
    made = [call("weather", 0, city="Lagos"), call("count-up", 1, text="abc"),
            call("weather", 2, city="Atlantis"), call("nope", 3)]  # fmt: skip
    message = {"role": "assistant", "tool_calls": [c.to_dict() for c in made]}
    answers = (whole(message), whole({"role": "assistant", "content": "Done."}))
    with running_kernel() as kernel, scripted_host(*answers) as (url, bodies):
        kernel.run(NOTEBOOK)
        script = ast.literal_eval(kernel.run("1", value="script").result)
        assert "# Comments stay." in script
        script = script.replace("base_url=''", f"base_url={url!r}")
        (tmp_path / "script.py").write_text(script)
        done = subprocess.run(
            [sys.executable, "-I", "-W", "error", tmp_path / "script.py"],
            env={"API_KEY": "k"}, capture_output=True, text=True, check=False,
        )  # fmt: skip
    assert (done.stdout, done.stderr) == ("Done.\n", "")
    told = [m["content"] for m in bodies[-1]["messages"] if m["role"] == "tool"]
    assert told == [
        '{"city": "Lagos", "celsius": 31}',
        "8",
        "Error: KeyError: 'atlantis'",
        "Error: KeyError: 'nope'",
    ]


class Shelf:
    @tool
    def look(self, name: str) -> str:
        """Look."""
        return name


@pytest.mark.parametrize(
    "made", [Tool.from_schema("to-print", "Print.", {"type": "object"}, print),
             Shelf().look],
)  # fmt: skip
def test_functions_without_a_source_leave_a_place_in_the_script(made):
    script = run(Scripted(Reply(text="x")), "go", [made]).to_code()
    assert f"paste the code of {made.name} here" in script
    compile(script, "<script>", "exec")
