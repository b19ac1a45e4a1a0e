"""What hosts do to tool calls, as conversations over HTTP with the real client.

T1 to T9 are the pitfalls by which our notes on hosts and the wire number them.
"""

import json

import pytest
from support.scripts import called, chunk, said, scripted_host

from kimikit import Kimi
from kimikit.errors import BadTool
from kimikit.tools import run, tool
from kimikit.types import Host
from kimikit.wire.client import Client


@tool
def get_weather(city: str) -> dict:
    """Current weather of a city."""
    return {"city": city, "celsius": {"Lagos": 31, "Paris": 12}.get(city)}


@tool
def now() -> str:
    """Tell the time."""
    return "noon"


def converse(*answers, goal="Weather?", tools=(get_weather, now), **options):
    """Run over HTTP; return the run and the bodies that the host got."""
    with scripted_host(*answers, said("Done.")) as (url, bodies):
        host = Host(name="scripted", base_url=url, model="kimi-k2-instruct")
        with Client(host, api_key="k") as client:
            return run(client, goal, tools, **options), bodies


@pytest.mark.parametrize(
    "tools",
    [5, True, "now", b"now", [None], [[7]], [{"type": "function", "function": "now"}]],
    ids=repr,
)
@pytest.mark.parametrize("verb", ["chat", "run", "map"])
def test_what_is_no_tool_is_refused_alike_before_anything_is_sent(verb, tools):
    kimi = Kimi(base_url="http://127.0.0.1:9/v1", api_key="k", model="m", show=False)
    asked = ["Weather?"] if verb == "map" else "Weather?"
    with pytest.raises(BadTool, match=r"is not a tool|is named None"):
        getattr(kimi, verb)(asked, tools=tools)


def test_a_chat_takes_collections_of_tools_as_a_run_does():
    with scripted_host(said("Done.")) as (url, bodies):
        kimi = Kimi(base_url=url, api_key="k", model="m", show=False)
        kimi.chat("Weather?", tools=[[get_weather], (each for each in [now])])
    names = [each["function"]["name"] for each in bodies[0]["tools"]]
    assert names == ["get_weather", "now"]


def told(body):
    return [m["content"] for m in body["messages"] if m["role"] == "tool"]


def sent_ids(body):
    """Return the ids of the calls and of their answers, as the host gets them back."""
    asked = [
        c["id"]
        for m in body["messages"]
        for c in m.get("tool_calls", [])
        if m["role"] == "assistant"
    ]
    return asked, [m["tool_call_id"] for m in body["messages"] if m["role"] == "tool"]


@pytest.mark.parametrize(
    "ids",
    [
        ("functions.get_weather:0", "functions.get_weather:1"),
        ("get_weather:0", "get_weather:1"),
        ("call_abc", "call_def"),
        ("", ""),
        ("0", "0"),
    ],
)
def test_t1_ids_go_back_as_k2_knows_them(ids):
    """Whatever ids a host makes up, K2 reads functions.name:index in its history."""
    made = [(i, "get_weather", json.dumps({"city": c})) for i, c in zip(
        ids, ("Lagos", "Paris"), strict=True)]  # fmt: skip
    again = [("call_x", "get_weather", '{"city": "Oslo"}')]
    done, bodies = converse(called(*made), called(*again))
    names = [f"functions.get_weather:{n}" for n in range(3)]
    assert sent_ids(bodies[-1]) == (names, names)
    assert done.text == "Done."


LEAKED = (
    "<|tool_calls_section_begin|><|tool_call_begin|>functions.get_weather:0"
    '<|tool_call_argument_begin|>{"city": "Lagos"}<|tool_call_end|>'
    "<|tool_calls_section_end|>"
)
XTML = (
    '<|open|>tools<|sep|><|open|>call tool="get_weather" index="0"<|sep|>'
    '<|open|>argument key="city" type="string"<|sep|>Lagos<|close|>argument<|sep|>'
    "<|close|>call<|sep|><|close|>tools<|sep|>"
)


@pytest.mark.parametrize("leak", [LEAKED, XTML], ids=["T2", "T3"])
def test_t2_t3_leaked_markers_become_calls(leak):
    pieces = [chunk({"content": leak[i : i + 7]}) for i in range(0, len(leak), 7)]
    done, bodies = converse([*pieces, chunk({}, "stop")])
    assert told(bodies[-1]) == ['{"city":"Lagos","celsius":31}']
    assert "<|" not in json.dumps(bodies[-1]["messages"])
    assert done.stop_reason == "done"


def test_t2_a_leaked_call_of_a_tool_that_was_not_offered_is_not_run():
    leak = LEAKED.replace("get_weather", "delete_all")
    done, bodies = converse([chunk({"content": leak}), chunk({}, "stop")])
    assert [step.results for step in done.steps] == [(), ()]
    assert told(bodies[-1]) == []


@pytest.mark.parametrize("finish", ["stop", None, "", "tool_calls", "unexpected_state"])
def test_t4_calls_count_and_not_the_finish(finish):
    made = called(("a", "now", "{}"), finish=finish)
    done, bodies = converse(made)
    assert told(bodies[-1]) == ["noon"]
    assert done.text == "Done."


def test_t4_a_finish_of_tool_calls_without_any_is_an_empty_answer():
    nothing = [chunk({"role": "assistant", "tool_calls": []}), chunk({}, "tool_calls")]
    done, bodies = converse(nothing, nothing)
    assert (done.stop_reason, len(bodies)) == ("empty", 2)


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        ("", "noon"),
        ("null", "noon"),
        ("{}", "noon"),
        ('"{}"', "noon"),
        ("{}}", "noon"),
        ('{"x": 1}', "no argument `x`"),
        ("[1]", "JSON list"),
        ('{"x": ', "not valid JSON"),
    ],
)
def test_t5_arguments_are_repaired_or_handed_back(arguments, answer):
    _, bodies = converse(called(("a", "now", arguments)))
    assert answer in told(bodies[-1])[0]


def test_t5_control_characters_and_numbers_as_text_are_understood():
    @tool
    def note(text: str, times: int) -> str:
        """Note."""
        return f"{text!r} {times}"

    made = called(("a", "note", '{"text": "a\nb", "times": "2"}'))
    _, bodies = converse(made, tools=[note])
    assert told(bodies[-1]) == ["'a\\nb' 2"]


def test_t6_calls_in_pieces_are_put_together():
    def piece(index, id_=None, name=None, arguments=""):
        function = {"arguments": arguments} | ({"name": name} if name else {})
        return {"index": index, "function": function} | ({"id": id_} if id_ else {})

    stream = [
        chunk({"tool_calls": [piece(0, "call_a", "get_weather")]}),
        chunk({"tool_calls": [piece(0, None, "get_weather", '{"ci')]}),
        chunk({"tool_calls": [piece(0, None, None, 'ty": "Lagos"}')]}),
        chunk({"tool_calls": [piece(3, "call_b", "get_weather", '{"city": "Paris"}')]}),
        chunk({"tool_calls": []}, "tool_calls"),
    ]
    _, bodies = converse(stream)
    assert told(bodies[-1]) == [
        '{"city":"Lagos","celsius":31}',
        '{"city":"Paris","celsius":12}',
    ]


def test_t7_each_answer_is_a_tool_message_with_name_and_text():
    _, bodies = converse(called(("a", "now", "{}"), ("b", "plus", "{}")))
    messages = bodies[-1]["messages"]
    assert [m["role"] for m in messages] == ["user", "assistant", "tool", "tool"]
    assert messages[2] == {
        "role": "tool",
        "tool_call_id": "functions.now:0",
        "name": "now",
        "content": "noon",
    }
    assert messages[1]["content"] == "", "vLLM and LiteLLM want the key"
    assert "reasoning_content" not in messages[1], "nothing reasoned, and strict hosts"


def test_t8_the_schema_goes_out_as_hosts_want_it():
    @tool
    def take(size: tuple[int, str], colour: str | None = None) -> str:
        """Take."""
        return "ok"

    _, bodies = converse(said("No."), tools=[take])
    parameters = bodies[0]["tools"][0]["function"]["parameters"]
    assert parameters["type"] == "object"
    assert parameters["properties"]["size"]["prefixItems"][1] == {"type": "string"}
    assert "type" not in parameters["properties"]["colour"]


def test_t9_a_model_that_repeats_itself_is_stopped():
    done, bodies = converse(*[called(("a", "now", "{}"))] * 9)
    assert done.stop_reason == "repeated"
    assert len(bodies) == 4
    assert "tools" not in bodies[-1]
    ids, answers = sent_ids({"messages": done.messages})
    assert ids == answers
    assert len(set(ids)) == len(ids) == 4


def test_t9_thinking_without_an_answer_is_asked_again():
    thinking = [chunk({"reasoning_content": "Hm."}), chunk({}, "stop")]
    done, bodies = converse(thinking)
    assert (done.text, len(bodies)) == ("Done.", 2)


def test_the_run_knows_its_host():
    done, bodies = converse(called(("a", "now", "{}")), temperature=0.3)
    assert done.base_url.startswith("http://127.0.0.1:")
    assert [body["temperature"] for body in bodies] == [0.3, 0.3]
