"""A run is seen while it works, and folds into what survives saving."""

import io
import threading
import types
from decimal import Decimal

import pytest
from IPython.core.formatters import DisplayFormatter
from support.kernel import running_kernel
from support.scripts import Scripted, call, calls

from kimikit.errors import KimiError
from kimikit.notebook.screen import View
from kimikit.notebook.trace_view import (
    NotebookTrace,
    trace_view,
)
from kimikit.tools import ToolResult, run, tool
from kimikit.tools.values import (
    CallFinished,
    CallStarted,
    RunFinished,
    StepAnswered,
    StepStarted,
)
from kimikit.types import CallPart, Delta, Reply, Usage, Wait

SETUP = """
import threading, time
from support import drawn
from support.scripts import Scripted, call, calls
from kimikit.errors import HostError
from kimikit.notebook.trace_view import trace_view
from kimikit.tools import run, tool
from kimikit.types import CallPart, Delta, Reply, Wait

drawn.watch()

@tool
def weather(city: str) -> list:
    "Weather."
    return [{"city": city, "celsius": 31}]

def streams(*deltas, then):
    def answer(messages):
        for delta in deltas:
            if isinstance(delta, str):
                drawn.until(delta)  # however long a busy machine takes to draw it
            else:
                client.requests[-1]["watch"](delta)
                time.sleep(0.02)
        return then
    return answer
"""
LIVE = """
drawn.forget()
two = calls(call("weather", 0, city="<b>Lagos"), call("weather", 1, city="Paris"),
            text="I **look**.")
pieces = [Delta(text=part) for part in ("I ", "**look", "**.")]
pieces += [Delta(calls=(CallPart(0, "weather", part),)) for part in ('{"city": ', '"<b>La')]
client = Scripted(
    streams(Wait(3, "the host is busy", 1), "trying again in 3 s",
            Delta(reasoning="hm"), *pieces, "&lt;b&gt;La&#x27;)", then=two),
    streams("✓ weather", *[Delta(text="word ")] * 30,
            then=Reply(text="It is **warmer** in Lagos.")),
)
with trace_view() as view:
    done = run(client, "go", [weather], watch=view)
"""
BROKEN = """
client = Scripted(calls(call("weather", 0, city="Oslo")), HostError("Lost.", "Again."))
with trace_view() as view:
    run(client, "go", [weather], watch=view)
"""
STOPPED = """
with trace_view() as view:
    view(Delta(text="so far"))
    drawn.until("so far")
    raise ValueError("a bug")
"""


@pytest.fixture(scope="module")
def kernel():
    with running_kernel() as made:
        made.run(SETUP)
        yield made


def joined(ran, kind="text/html"):
    sent = ran.of("display_data", "update_display_data")
    return "\n".join(content["data"].get(kind, "") for content in sent)


def test_a_run_is_seen_live_and_folds_when_it_is_done(kernel):
    ran = kernel.run(LIVE, value="done.stop_reason")
    assert ran.result == "'done'"
    live = joined(ran)
    assert "the host is busy, trying again in 3 s" in live
    assert "weather(city=&#x27;&lt;b&gt;La&#x27;)" in live
    assert "<details open><summary>✓ weather" in live
    assert "<b>Lagos" not in live
    answer, trace, *rest = ran.outputs()
    assert answer["text/markdown"] == "It is **warmer** in Lagos."
    assert trace["text/html"].count("<details open") == 0
    assert "2 steps, 2 calls: done" in trace["text/plain"]
    assert not any(rest)
    assert ran.most_in_a_second <= 16


def test_a_run_that_fails_is_shown_as_far_as_it_came(kernel):
    ran = kernel.run(BROKEN)
    shown = [data for data in ran.outputs() if "text/html" in data]
    assert "1 step, 1 call: interrupted" in shown[0]["text/plain"]


def test_a_view_is_over_when_its_block_is_left(kernel):
    ran = kernel.run(STOPPED)
    assert "so far" in joined(ran, "text/markdown")
    drawing = "any('kimikit' in t.name for t in threading.enumerate())"
    assert kernel.run("import threading", value=drawing).result == "False"


def test_a_run_as_a_cells_last_value_is_not_shown_twice(kernel):
    ran = kernel.run(f"{LIVE}done")
    assert ran.of("execute_result") == []
    assert len([o for o in ran.outputs() if o]) == 2
    (later,) = kernel.run("done").outputs()
    assert "2 steps, 2 calls: done" in later["text/plain"]


class Publisher:
    """What a shell publishes to; remembers it."""

    def __init__(self):
        self.session = object()
        self.sent = []
        self.more = threading.Condition()

    def publish(self, data, transient, update):
        with self.more:
            self.sent.append((transient["display_id"], data))
            self.more.notify()

    def until(self, text):
        with self.more:
            assert self.more.wait_for(lambda: text in str(self.sent[-1:]), 10)

    @property
    def shown(self):
        return [data for data in dict(self.sent).values() if data]


def shell(publisher):
    formatter = DisplayFormatter()
    return types.SimpleNamespace(
        display_pub=publisher, display_formatter=formatter, execution_count=1
    )


def test_events_become_parts_in_order():
    """The same as in a kernel, step by step and without one."""
    publisher = Publisher()
    view = NotebookTrace(shell(publisher))
    result = ToolResult(call=call("add", 0, a=1), text="2", value=2)
    cost = Decimal("0.01")
    answered = Reply(text="I *add*.", usage=Usage(7, 3), cost=cost, host="h")
    done = run(Scripted(Reply(text="It is *2*.")), "go", [])
    with view:
        for event in (
            StepStarted(),
            Delta(reasoning="hm"),
            Delta(text="I *add*."),
            Delta(calls=(CallPart(0, "add", '{"a"'),)),
            StepAnswered(answered),
            CallStarted(0, result.call),
            CallFinished(0, result),
            StepStarted(),
            Wait(2, "busy", 1),
        ):
            view(event)
        publisher.until("busy, trying again in 2 s")
        text, added, growing = publisher.shown
        assert text["text/markdown"].startswith("I *add*.\n\n<div")
        assert "7 -> 3 tokens · $0.0100" in text["text/plain"]
        assert added["text/plain"] == "✓ add -> 2"
        assert "busy, trying again in 2 s" in growing["text/html"]
        view(RunFinished(done))
    answer, trace = publisher.shown
    assert answer["text/markdown"] == "It is *2*."
    assert "1 step, 0 calls: done" in trace["text/html"]


@pytest.mark.parametrize("known", [True, False])
def test_an_error_leaves_what_there_is(known):
    publisher = Publisher()
    error = KimiError("Lost.", "Again.")
    error.run = run(Scripted(Reply(text="")), "go", []) if known else None
    view = NotebookTrace(shell(publisher))
    with pytest.raises(KimiError), view:
        raise error
    assert ("2 steps" in str(publisher.shown)) == known


@tool
def add(a: int, b: int) -> int:
    """Add."""
    return a + b


def test_a_terminal_gets_lines():
    out = io.StringIO()

    def answer(messages):
        watch = client.requests[-1]["watch"]
        watch(Wait(2, "busy\x1b[2J", 1))
        watch(Delta(text="I add"))
        watch(Delta(text=".\x07"))
        return calls(call("add", 0, a=1, b=2), call("plus", 1), text="I add.")

    client = Scripted(answer, Reply(text="3"))
    with trace_view(True, out=out) as view:
        run(client, "go", [add], watch=view)
    lines = out.getvalue().splitlines()
    assert lines[:5] == [
        "busy, trying again in 2 s",
        "I add.",
        "✕ plus -> Error: there is no tool 'plus'. Tools: add.",
        '… add({"a": 1, "b": 2})',
        "✓ add -> 3",
    ]
    assert "2 steps, 2 calls: done" in lines[5]


def test_a_pipe_gets_nothing_unless_it_asks():
    out = io.StringIO()
    for view in (trace_view(out=out), trace_view(False), trace_view(False, out=out)):
        assert type(view) is View
        with view:
            run(Scripted(Reply(text="x")), "go", [add], watch=view)
    assert out.getvalue() == ""
    with trace_view(True, out=out) as view:
        run(Scripted(Reply(text="x")), "go", [add], watch=view)
    assert out.getvalue()
