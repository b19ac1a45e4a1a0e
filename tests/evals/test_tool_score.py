"""Hosts are scored as the K2 Vendor Verifier scores them, with intervals."""

import _thread
import queue
import re
import threading
import time
from collections import Counter
from importlib import resources

import matplotlib as mpl
import msgspec
import pytest
from jsonschema import Draft202012Validator
from support.contrast import faint_in
from support.dialects import problems
from support.prompting import press_stop
from support.scripts import Scripted, call, called, calls, chunk, said, scripted_host

from kimikit.errors import BadInput, HostError
from kimikit.evals.tool_score import F1, Outcome, Rate, ToolScores, score_tool_calls
from kimikit.types import Delta, Host, Reply, ToolCall, Wait
from kimikit.wire.client import Client

mpl.use("Agg")

CASES = [
    msgspec.json.decode(line)
    for line in resources.files("kimikit")
    .joinpath("data/tool_cases.jsonl")
    .read_bytes()
    .splitlines()
]
ADD = {
    "type": "function",
    "function": {
        "name": "add",
        "description": "Add.",
        "parameters": {
            "type": "object",
            "properties": {"a": {"type": "integer"}},
            "required": ["a"],
        },
    },
}


def case(*names):
    return {
        "messages": [{"role": "user", "content": "go"}],
        "tools": [ADD],
        "calls": list(names),
    }


def reply(*made, finish="tool_calls", **more):
    return calls(*made, finish_reason=finish, **more)


def scored(*replies, cases, **options):
    return score_tool_calls(
        {"h": Scripted(*replies)}, cases, concurrency=1, progress=False, **options
    )


def test_the_cases_are_forty_in_nine_kinds_and_sound():
    kinds = Counter(one["kind"] for one in CASES)
    assert len(CASES) == 40
    assert len({one["id"] for one in CASES}) == 40
    assert set(kinds) == {
        "no call", "one call", "parallel", "dependent", "nested", "enum", "array",
        "none fitting", "ambiguous",
    }  # fmt: skip
    assert min(kinds.values()) >= 3
    for one in CASES:
        schemas = {
            t["function"]["name"]: t["function"]["parameters"] for t in one["tools"]
        }
        assert set(one["calls"]) <= set(schemas)
        for parameters in schemas.values():
            Draft202012Validator.check_schema(parameters)
            assert problems(parameters) == []
        for made in (c for m in one["messages"] for c in m.get("tool_calls", [])):
            arguments = msgspec.json.decode(made["function"]["arguments"])
            name = made["function"]["name"]
            Draft202012Validator(schemas[name]).validate(arguments)
            assert re.fullmatch(rf"functions\.{name}:\d", made["id"])


def test_triggers_and_schemas_are_counted_as_defined():
    """TP 3, FP 1, FN 2; of the 4 triggered answers 2 are valid in all their calls."""
    replies = [
        reply(call("add", 0, a=1)),
        reply(call("add", 0, a="x"), call("add", 1, a=1)),
        reply(call("plus", 0, a=1)),
        reply(call("add", 0, a=2)),
        reply(finish="stop", text="no"),
        reply(call("add", 0, a=2), finish="stop"),
        reply(finish="stop", text="no"),
    ]
    cases = [case("add"), case("add"), case("add"), case(), case("add"), case("add"),
             case()]  # fmt: skip
    rates = scored(*replies, cases=cases).rates()["h"]
    counts = {name: (rate.hits, rate.n) for name, rate in rates.items()}
    assert counts == {
        "Precision": (3, 4),
        "Recall": (3, 5),
        "F1": (3, 6),
        "Schema valid": (2, 4),
        "Right tools": (3, 7),
        "Finish told": (6, 7),
        "Leaked markers": (0, 7),
        "Wrong ids": (0, 5),
    }
    precision, recall = 3 / 4, 3 / 5
    f1 = 2 * precision * recall / (precision + recall)
    assert rates["F1"].value == pytest.approx(f1)


@pytest.mark.parametrize(
    ("made", "valid"),
    [
        (reply(call("add", 0, a=1)), True),
        (reply(), False),
        (reply(ToolCall("functions.add:0", "add", "{")), False),
        (reply(ToolCall("functions.add:0", "add", '"{}"')), False),
        (reply(call("add", 0, a=1), notes=("The call of add had a brace.",)), False),
        (reply(call("add", 0, a=1), finish="stop"), None),
    ],
)
def test_what_counts_as_schema_valid(made, valid):
    (outcome,) = scored(made, cases=[case("add")]).outcomes
    assert outcome.valid is valid


def test_ids_markers_retries_and_failures_are_counted():
    def slow(messages):
        return reply(
            ToolCall("functions.add:0", "add", '{"a":1}', "call_1"),
            raw={"content": "<|tool_call_begin|>"},
        )

    class Busy(Scripted):
        def chat(self, messages, watch, **params):
            watch(Wait(0.01, "busy", 1))
            return super().chat(messages, **params)

    client = Busy(slow, HostError("The host failed.", "Wait."))
    scores = score_tool_calls({"h": client}, [case("add")] * 3, concurrency=1)
    first, *lost = scores.outcomes
    assert (first.leaked, first.wrong_ids, first.retries) == (True, True, 1)
    assert [one.error for one in lost] == ["The host failed. Wait."] * 2
    rates = scores.rates()["h"]
    assert rates["Wrong ids"].value == 1.0
    assert rates["Recall"].value == 1.0
    shown = repr(scores).splitlines()
    assert any(line.split() == ["Retries,", "n", "3"] for line in shown)
    assert any(line.split() == ["Failed,", "n", "2"] for line in shown)
    assert "3 cases per host" in repr(scores)
    assert shown[-1].endswith("unpriced"), "the cost of all is told"


def test_a_real_client_shows_what_a_host_did():
    leak = (
        "<|tool_calls_section_begin|><|tool_call_begin|>functions.add:0"
        '<|tool_call_argument_begin|>{"a": 1}<|tool_call_end|>'
        "<|tool_calls_section_end|>"
    )
    answers = [
        called(("functions.add:0", "add", '{"a": 1}')),
        called(("call_9", "add", '{"a": 1}}')),
        [chunk({"content": leak}), chunk({}, "stop")],
        said("No."),
    ]
    with scripted_host(*answers) as (url, bodies):
        host = Host(name="x", base_url=url, model="kimi-k2-instruct")
        with Client(host, api_key="k") as client:
            scores = score_tool_calls(
                {"x": client}, [case("add")] * 4, concurrency=1, progress=False,
                temperature=0.6,
            )  # fmt: skip
    good, bad, leaked, none = scores.outcomes
    assert (good.valid, good.wrong_ids, good.leaked) == (True, False, False)
    assert (bad.valid, bad.wrong_ids) == (False, True)
    assert (leaked.triggered, leaked.leaked, leaked.right) == (False, True, True)
    assert none.triggered is False
    assert bodies[0]["temperature"] == 0.6


@pytest.mark.parametrize(
    ("hits", "n", "low", "high"),
    [(0, 0, 0.0, 1.0), (0, 10, 0.0, 0.2775), (23, 25, 0.7503, 0.9778),
     (10, 10, 0.7225, 1.0), (40, 40, 0.9124, 1.0)],
)  # fmt: skip
def test_intervals_are_wilsons(hits, n, low, high):
    """Figures of statsmodels' proportion_confint(method='wilson')."""
    assert Rate(hits, n).interval == pytest.approx((low, high), abs=1e-4)


def test_the_interval_of_f1_holds_it():
    rate = F1(30, 40)
    low, high = rate.interval
    assert low < rate.value < high
    assert rate.value == pytest.approx(60 / 70)
    assert F1(0, 0).value is None


def test_scores_show_as_table_and_plot():
    scores = score_tool_calls(
        {
            "<b>one": Scripted(reply(call("add", 0, a=1))),
            "two": Scripted(Reply(text="x")),
        },
        [case("add"), case()],
        progress=False,
    )
    text = repr(scores)
    assert "50 [9, 91]" in text
    assert "2 cases per host" in text
    assert "none" in text
    page = scores._repr_html_()
    assert "&lt;b&gt;one" in page
    assert "<small>[9,\u00a091]</small>" in page
    figure = scores.plot()
    assert faint_in(figure) == []
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()][:2] == [
        "Precision",
        "Recall",
    ]
    legend = [text.get_text() for text in axes.get_legend().get_texts()]
    assert legend == ["<b>one", "two"], "also the host whose precision has no value"
    assert "n = 2 per host" in axes.get_xlabel()
    assert scores.plot(ax=axes) is figure


def test_stop_keeps_what_was_answered():
    class Stopping(Scripted):
        def chat(self, messages, *, watch, **params):
            if self.requests:
                return press_stop(watch)
            return super().chat(messages, **params)

    client = Stopping(reply(call("add", 0, a=1)))
    scores = score_tool_calls(
        {"h": client}, [case("add")] * 5, concurrency=1, progress=False
    )
    assert len(scores.outcomes) == 1


def test_stop_ends_the_calls_under_way_at_their_next_token():
    under_way = threading.Barrier(4, timeout=300)
    lock, ended = threading.Lock(), queue.Queue()

    class Talker:
        """Answers its first case, then talks for long unless it is told to stop."""

        def __init__(self, name):
            self.name, self.asked = name, 0

        def chat(self, messages, *, watch, **params):
            with lock:
                self.asked += 1
                first = self.asked == 1
            if first:
                return reply(call("add", 0, a=1))
            if under_way.wait() == 0:
                _thread.interrupt_main()
            try:
                for _ in range(5000):
                    watch(Delta(text="and "))
                    time.sleep(0.001)
            except KeyboardInterrupt:
                ended.put(self.name)
            return Reply(partial=True)

    clients = {"one": Talker("one"), "two": Talker("two")}
    cases = [case("add")] * 9
    scores = score_tool_calls(clients, cases, concurrency=2, progress=False)
    hung_up = sorted(ended.get(timeout=300) for _ in range(4))
    assert hung_up == ["one", "one", "two", "two"]
    assert [client.asked for client in clients.values()] == [3, 3], "none came after"
    assert [one.host for one in scores.outcomes] == ["one", "two"]
    assert all(one.right for one in scores.outcomes), "none cut short is counted"


def test_a_slow_host_keeps_no_other_waiting():
    done = threading.Event()

    class Slow(Scripted):
        def chat(self, messages, **params):
            assert done.wait(5), "the other waited"
            return super().chat(messages, **params)

    class Fast(Scripted):
        def chat(self, messages, **params):
            made = super().chat(messages, **params)
            if len(self.requests) == 6:
                done.set()
            return made

    answer = reply(call("add", 0, a=1))
    clients = {"slow": Slow(answer), "fast": Fast(answer)}
    cases = [case("add")] * 6
    scores = score_tool_calls(clients, cases, concurrency=2, progress=False)
    assert len(scores.outcomes) == 12


def test_bad_input_is_refused_before_anything_is_sent():
    with pytest.raises(BadInput, match="no hosts"):
        score_tool_calls({})
    client = Scripted(Reply())
    with pytest.raises(BadInput, match="Case 0 has no calls"):
        score_tool_calls({"h": client}, [{"messages": [], "tools": []}])
    with pytest.raises(BadInput, match="concurrency is 0"):
        score_tool_calls({"h": client}, [case()], concurrency=0)
    assert client.requests == []


def test_our_own_cases_are_asked_by_default():
    client = Scripted(Reply(text="no", finish_reason="stop"))
    scores = score_tool_calls({"h": client}, progress=False)
    assert len(client.requests) == 40
    rates = scores.rates()["h"]
    quiet = sum(not one["calls"] for one in CASES)
    assert (rates["Right tools"].hits, rates["Recall"].n) == (quiet, 40 - quiet)
    assert rates["Precision"].value is None
    assert ToolScores(()).rates() == {}
    assert isinstance(scores.outcomes[0], Outcome)
