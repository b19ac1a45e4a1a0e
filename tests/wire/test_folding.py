"""Streams cut and reordered in every way fold into the same answer."""

import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.answers import K2, K3

from kimikit.types import Call, Delta, Host, ToolCall
from kimikit.wire.calls import Assembler, tidy
from kimikit.wire.chunks import Folder
from kimikit.wire.leaks import calls_in
from kimikit.wire.markers import Filter
from kimikit.wire.usage import estimate_prompt
from kimikit.wire.weigh import weigh

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-999, 999) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner)
    ),
    max_leaves=6,
)
ARGUMENTS = st.dictionaries(st.text(max_size=5), JSON, max_size=4)


HOST = Host(name="h", base_url="http://h")
ASKED = Call(id="1", endpoint="chat", host=HOST, model="m", body={}, created=0.0)


def cut(text: str, places: list[int]) -> list[str]:
    ends = sorted({place % (len(text) + 1) for place in places})
    return [text[a:b] for a, b in zip([0, *ends], [*ends, len(text)], strict=True)]


@given(st.data())
def test_pieces_of_parallel_calls_in_any_order(data: st.DataObject) -> None:
    """The pieces of one call keep their order; all else may be mixed."""
    wanted = data.draw(st.lists(ARGUMENTS, min_size=1, max_size=4))
    indexes = data.draw(
        st.lists(
            st.integers(0, 30), min_size=len(wanted), max_size=len(wanted), unique=True
        )
    )
    queues = []
    for index, arguments in zip(indexes, wanted, strict=True):
        first = {"index": index, "id": f"c{index}", "function": {"name": f"f{index}"}}
        places = data.draw(st.lists(st.integers(0, 99), max_size=5))
        pieces = cut(json.dumps(arguments), places)
        queues.append(
            [first, *({"index": index, "function": {"arguments": p}} for p in pieces)]
        )
    assembler = Assembler()
    while any(queues):
        queue = data.draw(st.sampled_from([q for q in queues if q]))
        count = data.draw(st.integers(1, 2))
        assembler.add(queue[:count])
        del queue[:count]
    calls, notes = assembler.finish(complete=True)
    order = sorted(zip(indexes, wanted, strict=True), key=lambda pair: pair[0])
    assert [(c.name, c.parsed) for c in calls] == [(f"f{i}", w) for i, w in order]
    assert notes == []


FRAGMENTS = [
    K2, K3, "<|tool_calls_section_begin|>", "<|tool_call_begin|>", "functions.f:0",
    "<|tool_call_argument_begin|>", "{}", "<|tool_call_end|>", "<|im_end|>",
    "<|tool_calls_section_end|>", "<think>", "</think>", " ", "\n", "`", "```\n", "~~~",
    "<|open|>tools<|sep|>", "<|open|>call tool=\"f\"<|sep|>", "<|close|>call<|sep|>",
    "<|close|>tools<|sep|>", "<|open|>think<|sep|>", "<|close|>think<|sep|>",
    "<|open|>response<|sep|>", "text", "<", "x" * 150, "  ", "<|close|>message<|sep|>",
    "<|open|>call tool=\"f\" index=\"1\"<|sep|>", "<|close|>", "<|open|> response <|sep|>",
    "<|close|>think", "<|end_of_msg|>", "<|", ".", " ", "月",
    "<thinking>", "</thinking>", "◁think▷", "◁/think▷", "◁", "</thinki", "ng>",
]  # fmt: skip


def filtered(pieces: list[str], *, ended: bool = False) -> tuple[Any, ...]:
    shown, thought = bytearray(), bytearray()
    both = Filter(shown, thought)
    for piece in pieces:
        both.feed(piece)
    both.feed("", last=True, ended=ended)
    moved = both.unclosed() if ended else ""
    return shown.decode(), thought.decode(), both.leaks, both.unopened, moved


@settings(max_examples=400, deadline=None)
@given(
    st.lists(st.sampled_from(FRAGMENTS), max_size=9).map("".join),
    st.lists(st.integers(0, 5000), max_size=9),
    st.booleans(),
)
def test_leaks_cut_anywhere(text: str, places: list[int], ended: bool) -> None:
    """What is shown, thought and taken out does not depend on the cuts."""
    whole = filtered([text], ended=ended)
    assert filtered(cut(text, places), ended=ended) == whole
    assert filtered(list(text), ended=ended) == whole


@pytest.mark.parametrize(
    ("begin", "end"), [("<thinking>", "</thinking>"), ("◁think▷", "◁/think▷")]
)
def test_other_tags_of_thinking_at_the_beginning(begin: str, end: str) -> None:
    text = f"\n{begin}One < 2 {end[:4]} ◁ more{end}\n\nIt is {begin}a{end}."
    for size in range(1, len(text) + 1):
        pieces = [text[n : n + size] for n in range(0, len(text), size)]
        shown, thought, leaks, unopened, _ = filtered(pieces, ended=True)
        assert shown == f"It is {begin}a{end}."
        assert thought.strip() == f"One < 2 {end[:4]} ◁ more"
        assert (leaks, unopened) == ([], False)
    half = filtered([text[: text.index(f"{end}\n") + 5]], ended=True)
    assert half[:2] == ("", f"One < 2 {end[:4]} ◁ more")
    later = f"Write {begin}a{end} or {end}."
    assert filtered(list(later)) == (later, "", [], False, "")


@given(
    st.text().filter(lambda t: "<" not in t and "◁" not in t and not t[:1].isspace())
)
def test_other_text_is_not_touched(text: str) -> None:
    assert filtered([text]) == (text, "", [], False, "")


@given(st.text())
def test_any_arguments_become_json_or_stay(text: str) -> None:
    tidied, note = tidy(text)
    assert note or isinstance(json.loads(tidied), dict)


def test_deep_json_is_no_crash() -> None:
    deep = "[" * 100_000
    assert tidy(deep)[1]
    assert tidy('{"a":' * 100_000)[1]
    folder = Folder(ASKED)
    assert folder.feed([f'{{"choices":[{deep}'.encode()]) == []
    assert folder.unreadable == 1


def test_lone_surrogates_are_no_crash() -> None:
    folder = Folder(ASKED)
    folder.feed([b'{"id":"1","choices":[{"delta":{"content":"a\\ud800b"}}]}'] * 2)
    assert folder.choices[0].text.decode() == "a\ufffdb" * 2


def test_k3_arguments_that_are_no_json_stay_text() -> None:
    (leak,) = calls_in(K3.replace(">3<", ">three<"), frozenset())
    id_, arguments = "functions.get_weather:0", '{"city":"Oslo","days":"three"}'
    assert leak == ToolCall(id_, "get_weather", arguments, id_)


def test_a_long_leak_is_not_searched_again_and_again() -> None:
    shown = bytearray()
    one = Filter(shown, bytearray())
    one.feed(K2[: K2.index("Oslo")])
    for _ in range(20_000):
        one.feed("aaaa aaaa aaaa ")
    one.feed('"}<|tool_call_end|><|tool_calls_section_end|>done')
    assert (shown.decode(), len(one.leaks)) == ("done", 1)


def test_memory_grows_by_the_text() -> None:
    """Not by the chunks: 50,000 pieces of three letters are kept as their letters."""
    chunk = b'{"choices":[{"index":0,"delta":{"content":"abc"},"finish_reason":null}]}'
    folder = Folder(ASKED)
    folder.feed([b'{"id":"1","choices":[{"delta":{"content":"a"}}]}'])
    tracemalloc.start()
    for _ in range(50_000):
        folder.feed([chunk])
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert grown < 3 * 150_000


def test_thinking_takes_the_fast_way_too() -> None:
    folder = Folder(ASKED)
    folder.feed([b'{"id":"1","choices":[{"delta":{"reasoning":" a"}}]}'])
    event = b'{"choices":[{"index":0,"delta":{"reasoning_content":"b"}}]}'
    assert folder.feed([event]) == [Delta("", "b")]
    assert folder.choices[0].reasoning.decode() == "ab"
    assert folder.choices[0].told


def test_logprobs_are_kept() -> None:
    folder = Folder(ASKED)
    one = {"content": [{"token": "a", "logprob": -0.1}]}
    chunk = {"id": "1", "choices": [{"delta": {"content": "a"}, "logprobs": one}]}
    folder.feed([json.dumps(chunk).encode()] * 2)
    assert len(folder.choices[0].logprobs) == 2


def test_guesses_of_tokens() -> None:
    assert weigh("") == 0
    assert 9 < weigh("abcd" * 10) < 14
    assert weigh("月之暗面") > 2
    picture = {"type": "image_url", "image_url": {"url": "data:" + "a" * 9999}}
    asked = [{"role": "user", "content": [{"type": "text", "text": "abcd"}, picture]}]
    assert 1 < estimate_prompt({"messages": asked}) < 15  # the picture is left out
    assert 1 < estimate_prompt({"prompt": "abcdabcd"}) < 10
    assert estimate_prompt({}) == 0


@pytest.mark.parametrize("number", ["1e400", "-1e400", "NaN", "Infinity"])
@pytest.mark.parametrize("end", ["}", "}}"])
def test_a_number_that_json_cannot_hold_is_not_sent_as_null(
    number: str, end: str
) -> None:
    text = f'{{"a": {number}{end}'
    assert tidy(text) == (text, "has arguments that are not JSON")


@pytest.mark.parametrize("word", ["stop", "STOP", "Stop"])
def test_what_a_tag_held_that_never_closed_is_the_answer_at_the_models_end(word: str):
    folder = Folder(ASKED)
    folder.take({"choices": [{"delta": {"content": "<think>a"}}]})
    folder.take({"choices": [{"delta": {}, "finish_reason": word}]})
    folder.finish()
    choice = folder.choices[0]
    assert choice.unclosed
    assert (choice.text, choice.finish_reason) == (b"a", "stop")
    assert choice.finish_word == word
