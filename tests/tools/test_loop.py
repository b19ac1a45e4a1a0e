"""The loop is driven by calls, answers each once, and ends by itself."""

import asyncio
import contextvars
import json
import os
import signal
import threading
import time
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.scripts import Scripted, call, calls

from kimikit.errors import BadInput, HostError
from kimikit.tools import Run, Tool, run, tool
from kimikit.tools.results import RESULT_LIMIT, text_of
from kimikit.tools.task import FINAL_PROMPT
from kimikit.tools.values import (
    CallAsked,
    CallFinished,
    CallStarted,
    RunFinished,
    StepAnswered,
    StepStarted,
)
from kimikit.types import Reply, ToolCall, Usage, Wait

DONE = Reply(text="All done.")


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@tool
def fail(what: str) -> str:
    """Fail."""
    raise ValueError(f"no {what}")


@tool(confirm=True)
def drop(table: str) -> str:
    """Drop a table."""
    return f"dropped {table}"


def check_history(messages):
    """Assert that every call is answered exactly once, right after it, in order."""
    wanted = []
    for message in messages:
        if message["role"] == "tool":
            id_, name = wanted.pop(0)
            assert message["tool_call_id"] == id_
            assert message["name"] == name
            assert isinstance(message["content"], str)
            continue
        assert wanted == []
        made = message.get("tool_calls", [])
        wanted = [(c["id"], c["function"]["name"]) for c in made]
        if made:
            assert "reasoning_content" in message
    assert wanted == []


def results(run_):
    return [m["content"] for m in run_.messages if m["role"] == "tool"]


def test_a_task_is_finished_whatever_finish_reason_says():
    client = Scripted(
        calls(call("add", 0, a=1, b=2), finish_reason="stop"),
        Reply(text="It is 3.", finish_reason="tool_calls"),
    )
    done = run(client, "1 + 2?", [add], temperature=0.6)
    assert (done.text, done.stop_reason, len(done.steps)) == ("It is 3.", "done", 2)
    assert done.messages == [
        {"role": "user", "content": "1 + 2?"},
        {
            "role": "assistant",
            "tool_calls": [call("add", 0, a=1, b=2).to_dict()],
            "reasoning_content": "",
        },
        {
            "role": "tool",
            "tool_call_id": "functions.add:0",
            "name": "add",
            "content": "3",
        },
        {"role": "assistant", "content": "It is 3."},
    ]
    first = client.requests[0]
    assert first["tools"] == [add.schema]
    assert first["temperature"] == 0.6


def test_a_tool_is_given_a_decimal_with_all_its_digits_and_other_numbers_as_floats():
    taken = []

    @tool
    def pay(usd: Decimal, share: float, more: Any) -> str:
        """Pay."""
        taken.append((usd, share, more))
        return "paid"

    keep = Tool.from_schema(
        "keep", "Keep.", {"type": "object"}, lambda **found: taken.append(found)
    )
    said = '{"usd": 12345678901234567.890, "share": 0.50, "more": [0.10]}'
    both = (ToolCall("a", "pay", said), ToolCall("b", "keep", said))
    run(Scripted(Reply(tool_calls=both), DONE), "Pay.", [pay, keep])
    pay_given, keep_given = sorted(taken, key=lambda one: isinstance(one, dict))
    assert str(pay_given) == "(Decimal('12345678901234567.890'), 0.5, [0.1])"
    assert keep_given == {"usd": 12345678901234567.890, "share": 0.5, "more": [0.1]}
    assert all(type(keep_given[name]) is float for name in ("usd", "share"))


def test_what_is_wrong_with_a_call_goes_back_to_the_model():
    client = Scripted(
        calls(
            ToolCall("functions.add:0", "add", "{not json"),
            ToolCall("functions.add:1", "add", "[1, 2]"),
            call("add", 2, a="x", b=2),
            call("plus", 3, a=1),
            call("fail", 4, what="luck"),
            ToolCall("functions.add:5", "add", '"{\\"a\\": \\"1\\", \\"b\\": 2}"'),
            ToolCall("functions.add:6", "add", "null"),
        ),
        DONE,
    )
    done = run(client, "go", [add, fail])
    texts = results(done)
    assert "not valid JSON" in texts[0]
    assert "are a JSON list" in texts[1]
    assert "Expected `int`, got `str` - at `a`" in texts[2]
    assert "no tool 'plus'" in texts[3]
    assert texts[4] == "Error: ValueError: no luck"
    assert texts[5] == "3"
    assert "`a` is missing" in texts[6]
    failed = [r.failed for r in done.steps[0].results]
    assert failed == [*["arguments"] * 3, "unknown", "error", "", "arguments"]
    check_history(done.messages)


def test_calls_of_one_answer_run_together_and_their_results_keep_the_order():
    barrier = threading.Barrier(3, timeout=300)

    @tool
    def meet(n: int) -> int:
        """Wait for the others."""
        barrier.wait()
        return n

    @tool
    async def ameet(n: int) -> int:
        """Wait for the others."""
        await asyncio.to_thread(barrier.wait)
        return n

    client = Scripted(
        calls(call("meet", 0, n=1), call("ameet", 1, n=2), call("meet", 2, n=3)), DONE
    )
    done = run(client, "go", [meet, ameet])
    assert results(done) == ["1", "2", "3"]


def test_sync_run_works_inside_a_running_loop_and_sees_context():
    tag = contextvars.ContextVar("tag", default="none")

    @tool
    def seen() -> str:
        """Tell the tag."""
        return tag.get()

    @tool
    async def aseen() -> str:
        """Tell the tag."""
        return tag.get()

    async def cell():
        tag.set("mine")
        client = Scripted(calls(call("seen", 0), call("aseen", 1)), DONE)
        return run(client, "go", [seen, aseen])

    assert results(asyncio.run(cell())) == ["mine", "mine"]


def counting(messages):
    """Always call, never the same."""
    return calls(call("add", len(messages), a=len(messages), b=1), text="more")


@pytest.mark.parametrize(
    ("limits", "reason", "asked"),
    [
        ({"max_steps": 3}, "max_steps", 4),
        ({"max_seconds": 0.05}, "max_seconds", None),
        ({"max_cost": 0.025}, "max_cost", 3),
        ({"max_cost": Decimal("0.02")}, "max_cost", 2),
    ],
)
def test_a_model_that_always_calls_is_ended_by_each_limit(limits, reason, asked):
    def paid(messages):
        time.sleep(0.02)
        made = counting(messages)
        return calls(*made.tool_calls, text="more", cost=Decimal("0.01"))

    client = Scripted(paid)
    done = run(client, "go", [add], **{"max_steps": 50, **limits})
    assert done.stop_reason == reason
    assert asked in (None, len(client.requests))
    check_history(done.messages)


def test_at_max_steps_one_answer_is_asked_for_without_tools():
    client = Scripted(counting, counting, DONE)
    done = run(client, "go", [add], max_steps=2, tool_choice="auto")
    assert (done.stop_reason, done.text) == ("max_steps", "All done.")
    last = client.requests[-1]
    assert "tools" not in last
    assert "tool_choice" not in last
    assert last["messages"][-1] == {"role": "user", "content": FINAL_PROMPT}
    assert len(done.steps) == 3


def test_an_unknown_price_ends_a_run_with_max_cost_and_says_so():
    done = run(Scripted(counting), "go", [add], max_cost=1)
    assert done.stop_reason == "max_cost"
    assert "price is unknown" in done.notes[0]
    assert "price is unknown" in repr(done)
    assert done.cost is None
    free = calls(*counting([]).tool_calls, stand_in=True)
    assert run(Scripted(free, DONE), "go", [add], max_cost=1).stop_reason == "done"


def test_the_same_call_is_run_twice_and_ends_the_run_the_third_time():
    ran = []

    @tool
    def look(a: int, b: int) -> int:
        """Look."""
        ran.append(a)
        return a

    same = [
        calls(ToolCall(f"functions.look:{i}", "look", text))
        for i, text in enumerate(
            ['{"a":1,"b":2}', '{"b": 2, "a": 1}', '{"a":1, "b":2}']
        )
    ]
    client = Scripted(*same, DONE)
    done = run(client, "go", [look])
    assert (done.stop_reason, done.text, ran) == ("repeated", "All done.", [1, 1])
    assert "nothing changed" in results(done)[-1]
    check_history(done.messages)


def test_the_same_tests_may_run_after_each_new_patch():
    @tool
    def check() -> str:
        """Run the tests."""
        return "2 failed"

    moves = []
    for index in range(5):
        moves += [
            calls(call("check", 2 * index)),
            calls(call("add", 2 * index + 1, a=1, b=index)),
        ]
    done = run(
        Scripted(*moves, calls(call("check", 10)), DONE),
        "go",
        [check, add],
        max_steps=20,
    )
    assert (done.stop_reason, done.text) == ("done", "All done.")
    assert results(done).count("2 failed") == 6


def test_a_state_may_be_asked_for_until_it_is_another():
    states = iter(["queued", "running", "running", "running 40 %", "done"])

    @tool
    def state() -> str:
        """Tell how far the job is."""
        return next(states)

    done = run(
        Scripted(*[calls(call("state", n)) for n in range(5)], DONE), "go", [state]
    )
    assert (done.stop_reason, results(done)[-1]) == ("done", "done")


def test_calls_that_take_turns_and_bring_nothing_new_are_stopped():
    @tool
    def look() -> str:
        """Look."""
        return "nothing"

    moves = [calls(call("look", 2 * n)) for n in range(9)]
    turns = [calls(call("add", 2 * n + 1, a=1, b=1)) for n in range(9)]
    answers = [each for pair in zip(moves, turns, strict=True) for each in pair]
    done = run(Scripted(*answers), "go", [look, add], max_steps=15)
    assert done.stop_reason == "repeated"
    assert len(done.steps) <= 7


def test_a_last_answer_that_still_calls_leaves_a_legal_history():
    done = run(Scripted(calls(call("add", 0, a=1, b=1))), "go", [add])
    assert done.stop_reason == "repeated"
    assert "no more calls" in results(done)[-1]
    check_history(done.messages)


def test_an_empty_answer_is_asked_again_once():
    thinking = Reply(reasoning="Hm.")
    assert run(Scripted(thinking, DONE), "go", [add]).stop_reason == "done"
    done = run(Scripted(thinking, Reply(text=" \n"), DONE), "go", [add])
    assert (done.stop_reason, done.messages) == (
        "empty",
        [{"role": "user", "content": "go"}],
    )


def test_a_tool_that_takes_too_long_is_left_behind():
    release = threading.Event()

    @tool
    def hang() -> str:
        """Hang."""
        release.wait(20)
        return "late"

    @tool
    async def ahang() -> str:
        """Hang."""
        await asyncio.sleep(20)
        return "late"

    client = Scripted(calls(call("hang", 0), call("ahang", 1)), DONE)
    start = time.monotonic()
    done = run(client, "go", [hang, ahang], tool_timeout_s=0.2)
    release.set()
    assert time.monotonic() - start < 5
    assert results(done) == [
        "Error: hang took longer than 0.2 s.",
        "Error: ahang took longer than 0.2 s.",
    ]


def test_a_timeout_of_the_tools_own_is_an_error_of_the_tool():
    @tool
    def slow() -> str:
        """Time out."""
        raise TimeoutError("the database")

    done = run(Scripted(calls(call("slow", 0)), DONE), "go", [slow])
    assert results(done) == ["Error: TimeoutError: the database"]


@pytest.mark.parametrize(
    "error",
    [SystemExit(3), StopIteration(1), RecursionError(), asyncio.CancelledError()],
)
def test_no_exception_of_a_tool_ends_the_run(error):
    @tool
    def burst() -> str:
        """Burst."""
        raise error

    done = run(Scripted(calls(call("burst", 0)), DONE), "go", [burst])
    assert done.stop_reason == "done"
    assert results(done)[0].startswith("Error: ")


def test_stop_while_a_tool_runs_keeps_what_is_finished():
    added = threading.Event()
    release = threading.Event()

    @tool
    def hang() -> str:
        """Hang."""
        release.wait(20)
        return "late"

    def press_stop():
        added.wait(5)
        os.kill(os.getpid(), signal.SIGINT)

    seen = []

    def watch(event):
        seen.append(event)
        if isinstance(event, CallFinished):
            added.set()

    client = Scripted(calls(call("add", 0, a=1, b=2), call("hang", 1)), DONE)
    presser = threading.Thread(target=press_stop)
    presser.start()
    start = time.monotonic()
    done = run(client, "go", [add, hang], watch=watch)
    release.set()
    presser.join()
    assert time.monotonic() - start < 5
    assert done.stop_reason == "interrupted"
    assert results(done) == ["3", "Error: cancelled by the user."]
    assert isinstance(seen[-1], RunFinished)
    check_history(done.messages)


def test_stop_while_the_model_answers_keeps_a_legal_history():
    partial = calls(call("add", 0, a=1, b=2), text="I will", partial=True)
    done = run(Scripted(partial), "go", [add])
    assert (done.stop_reason, done.text) == ("interrupted", "I will")
    assert results(done) == ["Error: cancelled by the user."]
    assert run(Scripted(KeyboardInterrupt), "go", [add]).stop_reason == "interrupted"
    assert (
        run(Scripted(Reply(partial=True)), "go", [add]).messages[-1]["role"] == "user"
    )


def test_stop_cancels_tools_that_can_be():
    begun, ended = threading.Event(), threading.Event()

    @tool
    async def hang() -> str:
        """Hang."""
        begun.set()
        try:
            await asyncio.sleep(20)
        finally:
            ended.set()

    def press_stop():
        begun.wait(5)
        os.kill(os.getpid(), signal.SIGINT)

    presser = threading.Thread(target=press_stop)
    presser.start()
    done = run(Scripted(calls(call("hang", 0)), DONE), "go", [hang])
    presser.join()
    assert done.stop_reason == "interrupted"
    assert ended.wait(5)


def test_a_host_that_fails_leaves_the_run_on_the_error():
    lost = HostError("The host failed.", "Try again.")
    client = Scripted(calls(call("add", 0, a=1, b=2)), lost, DONE)
    seen = []
    with pytest.raises(HostError) as caught:
        run(client, "go", [add], watch=seen.append)
    broken = caught.value.run
    assert isinstance(broken, Run)
    assert results(broken) == ["3"]
    assert seen[-1] == RunFinished(broken)
    assert run(client, broken, [add]).text == "All done."


def test_a_run_is_gone_on_from_and_messages_are_taken():
    client = Scripted(DONE)
    first = run(client, "go", [add], system="Be terse.")
    again = run(client, first, [add], system="Be long.")
    sent = client.requests[-1]["messages"]
    assert [m["role"] for m in sent] == ["system", "user", "assistant", "user"]
    assert sent[0]["content"] == "Be long."
    assert sent[-1]["content"] == "Go on."
    assert len(again.messages) == 5
    assert len(first.messages) == 3
    run(client, [{"role": "user", "content": "hi"}], [])
    assert "tools" not in client.requests[-1]
    with pytest.raises(BadInput, match="empty"):
        run(client, " ", [add])
    with pytest.raises(BadInput, match="max_seconds is -1"):
        run(client, "go", [add], max_seconds=-1)


@pytest.mark.parametrize(
    ("answer", "told", "reason"),
    [
        (True, "dropped a", "done"),
        (False, "Error: denied by the user.", "denied"),
        ("use b", "Error: denied by the user: use b.", "done"),
        (
            {"table": "c"},
            'The user changed the arguments to {"table":"c"}.\ndropped c',
            "done",
        ),
        ({"tabel": "c"}, None, "done"),
    ],
)
def test_a_person_decides_about_marked_tools(answer, told, reason):
    asked = []

    def ask(made, of):
        assert of is drop
        asked.append(made.arguments)
        return answer

    client = Scripted(calls(call("drop", 0, table="a"), call("add", 1, a=1, b=1)), DONE)
    done = run(client, "go", [drop, add], ask=ask)
    assert asked == ['{"table": "a"}']
    assert done.stop_reason == reason
    assert results(done)[1] == "2"
    if told is not None:
        assert results(done)[0] == told
    else:
        assert "no argument `tabel`" in results(done)[0]
    check_history(done.messages)


@pytest.mark.parametrize(
    ("approve", "count"), [(None, 1), (True, 2), (False, 0), ("function", 0)]
)
def test_approve_says_who_is_asked_about_what(approve, count):
    asked, own = [], []

    def ask(made, of):
        asked.append(of.name)
        return True

    if approve == "function":
        approve = lambda made: own.append(made.name) or True  # noqa: E731
    client = Scripted(calls(call("drop", 0, table="a"), call("add", 1, a=1, b=1)), DONE)
    done = run(client, "go", [drop, add], approve=approve, ask=ask)
    assert len(asked) == count
    assert len(own) == (2 if callable(approve) else 0)
    assert results(done) == ["dropped a", "2"]


@pytest.mark.parametrize(
    ("typed", "answer"),
    [
        ("y", "dropped a"),
        (" YES ", "dropped a"),
        ("", "Error: denied by the user."),
        ('{"table": "b"}', "dropped b"),
        ("[1]", "Error: denied by the user: [1]."),
        ("not that one", "Error: denied by the user: not that one."),
    ],
)
def test_by_default_input_asks_and_shows_the_exact_arguments(
    monkeypatch, typed, answer
):
    shown = []
    monkeypatch.setattr("builtins.input", lambda text: shown.append(text) or typed)
    done = run(Scripted(calls(call("drop", 0, table="a")), DONE), "go", [drop])
    assert shown[0].startswith('drop {"table": "a"}\nRun it?')
    assert results(done)[0].endswith(answer)


@pytest.mark.parametrize(
    ("typed", "paid"),
    [("y", "12345678901234567.890"), ('{"usd": 0.1}', "0.1"), ("n", None)],
)
def test_a_person_agrees_to_the_digits_that_the_tool_gets(monkeypatch, typed, paid):
    taken, shown = [], []

    @tool(confirm=True)
    def pay(usd: Decimal) -> str:
        """Pay."""
        taken.append(str(usd))
        return "paid"

    monkeypatch.setattr("builtins.input", lambda text: shown.append(text) or typed)
    said = '{"usd":12345678901234567.890}'
    client = Scripted(Reply(tool_calls=(ToolCall("a", "pay", said),)), DONE)
    run(client, "Pay.", [pay])
    assert shown[0].startswith('pay {"usd": 12345678901234567.890}\n')
    assert taken == ([paid] if paid else [])


def test_events_tell_the_story_in_order_in_the_callers_thread():
    seen = []

    def watch(event):
        assert threading.current_thread() is threading.main_thread()
        seen.append(event)

    def answer(messages):
        client.requests[-1]["watch"](Wait(1.0, "busy", 1))
        return calls(call("add", 0, a=1, b=2), call("plus", 1))

    client = Scripted(answer, DONE)
    done = run(client, "go", [add], watch=watch, approve=lambda made: True)
    assert [type(event) for event in seen] == [
        StepStarted, Wait, StepAnswered, CallAsked, CallFinished, CallStarted,
        CallFinished, StepStarted, StepAnswered, RunFinished,
    ]  # fmt: skip
    assert seen[-1].run is done
    assert "watch" not in Scripted(DONE).requests


def test_a_view_that_fails_ends_the_run_and_its_tools():
    def watch(event):
        if isinstance(event, CallStarted):
            raise RuntimeError("the view broke")

    client = Scripted(calls(call("add", 0, a=1, b=2)), DONE)
    with pytest.raises(RuntimeError, match="the view broke"):
        run(client, "go", [add], watch=watch)


def test_usage_and_cost_add_up():
    one = calls(
        call("add", 0, a=1, b=1), usage=Usage(10, 5), cost=Decimal("0.1"), host="h"
    )
    two = Reply(text="x", usage=Usage(20, 1), cost=Decimal("0.2"))
    done = run(Scripted(one, two), "go", [add])
    assert done.usage == Usage(30, 6)
    assert done.cost == Decimal("0.3")
    assert done.to_messages() == done.messages
    assert done.to_messages()[0] is not done.messages[0]


class Frame:
    columns = ("a",)

    def to_csv(self, **_):
        return "a\n1\n"


class Figure:
    def savefig(self, *_, **__):
        pass


class Array:
    def tolist(self):
        return [1, 2]


class Odd:
    def __str__(self):
        return "odd"


LOOP = []
LOOP.append(LOOP)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("as it is", "as it is"),
        (None, "null"),
        ({"a": (1, 2)}, '{"a":[1,2]}'),
        ([Decimal("1.5")], '["1.5"]'),
        (Frame(), "a\n1\n"),
        (Figure(), "A picture, which is shown to the user."),
        ({"x": Array()}, '{"x":[1,2]}'),
        ({"x": Odd()}, '{"x":"odd"}'),
        ({1, 2}, "[1,2]"),
        (LOOP, "[[...]]"),
        ("half \ud800", "half ?"),
        (2**70, str(2**70)),
    ],
    ids=lambda v: str(v)[:20].encode("ascii", "replace").decode(),
)
def test_every_value_becomes_text_for_the_model(value, text):
    assert text_of(value) == text


def test_long_results_are_cut_with_a_note():
    text = text_of("x" * (RESULT_LIMIT + 1))
    assert text.endswith("[cut here: 20,000 of 20,001 characters]")


NAMES = st.sampled_from(["add", "fail", "nope"])
ARGUMENTS = st.sampled_from(['{"a":1,"b":2}', '{"a":2,"b":2}', "", "null", "{", '"x"'])


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.tuples(NAMES, ARGUMENTS), max_size=3), max_size=5),
    st.integers(1, 4),
)
def test_whatever_a_model_calls_the_history_stays_legal(script, steps):
    count = 0
    replies = []
    for made in script:
        named = []
        for name, arguments in made:
            named.append(ToolCall(f"functions.{name}:{count}", name, arguments))
            count += 1
        replies.append(Reply(text="hm", tool_calls=tuple(named)))
    done = run(Scripted(*replies, DONE), "go", [add, fail], max_steps=steps)
    check_history(done.messages)
    assert json.loads(json.dumps(done.messages)) == done.messages
    assert len(done.steps) <= steps + 1


@pytest.mark.parametrize(
    "limits",
    [
        {"max_steps": "3"}, {"max_steps": None}, {"max_steps": True},
        {"max_seconds": None}, {"max_seconds": "10"}, {"max_seconds": float("nan")},
        {"max_cost": Decimal("NaN")}, {"max_cost": "much"}, {"max_cost": 0},
        {"tool_timeout_s": None}, {"tool_timeout_s": "5"}, {"tool_timeout_s": 0},
        {"tool_timeout_s": float("nan")},
    ],
)  # fmt: skip
def test_a_limit_that_is_none_is_refused_before_anything_is_asked(limits):
    client = Scripted(calls(call("add", 0, a=1, b=2)), DONE)
    with pytest.raises(BadInput, match="Give a number above 0"):
        run(client, "go", [add], **limits)
    assert client.requests == []


def test_limits_may_be_of_numpy_and_endless():
    numpy = pytest.importorskip("numpy")
    client = Scripted(calls(call("add", 0, a=1, b=2)), DONE)
    endless = {"max_seconds": float("inf"), "tool_timeout_s": numpy.float32(5)}
    done = run(client, "go", [add], max_steps=numpy.int64(3), **endless)
    assert done.stop_reason == "done"


@pytest.mark.parametrize("where", ["approve", "watch"])
def test_what_was_paid_for_is_kept_whatever_fails(where):
    def fail(said):
        if where == "approve" or isinstance(said, CallFinished):
            raise ZeroDivisionError

    client = Scripted(calls(call("add", 0, a=1, b=2)), DONE)
    with pytest.raises(ZeroDivisionError) as caught:
        run(client, "go", [add], **{where: fail})
    assert len(caught.value.run.steps) == 1
    assert caught.value.run.messages[-1]["role"] == "tool"


def test_arguments_of_a_person_that_are_no_json_are_refused_with_the_run():
    client = Scripted(calls(call("add", 0, a=1, b=2)), DONE)
    with pytest.raises(BadInput, match="cannot be sent as JSON") as caught:
        run(client, "go", [add], approve=lambda _: {"a": object()})
    assert len(caught.value.run.steps) == 1
