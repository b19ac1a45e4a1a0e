"""Hostile answers cost work in proportion to their length, however they are cut.

The same input is taken at 5 kB and at 20 kB. Linear work is 4 times as much, and
quadratic work 16 times; so a ratio over 8 is a fault, if it is so each time it is tried.
"""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from support.work import seconds

from kimikit.types import Call, Host
from kimikit.wire.answer import Answer
from kimikit.wire.calls import Assembler, tidy
from kimikit.wire.leaks import calls_in
from kimikit.wire.markers import Filter

SIZES = (5_000, 20_000)
TRIES = 5
HOST = Host(name="h", base_url="http://h")
BEGUN = "<|tool_call_begin|>f:0<|tool_call_argument_begin|>"
TOOLS = "<|open|>tools<|sep|>"

HOSTILE = {
    "closings": "a</think>",
    "closings alone": "</think>",
    "openings": "<think>a",
    "openings alone": "<think>",
    "both": "<think></think>",
    "closings on lines": "a\n</think>",
    "closings after blanks": " </think> ",
    "begins": "<|tool_call_begin|>",
    "begins and text": "a <|tool_call_begin|> b ",
    "sections": "<|tool_calls_section_begin|>",
    "sections, empty": "<|tool_calls_section_begin|><|tool_calls_section_end|>",
    "ends": "<|tool_call_end|>a",
    "argument begins": "a:1<|tool_call_argument_begin|>",
    "argument begins alone": "<|tool_call_argument_begin|>",
    "calls without end": BEGUN,
    "calls": BEGUN + "{}<|tool_call_end|>",
    "turns": "<|im_end|>a",
    "turns alone": "<|im_end|>",
    "turns and blanks": "<|im_end|> \n",
    "tools": TOOLS,
    "tools and text": TOOLS + "a ",
    "tags of calls": '<|open|>call tool="a" index="1"<|sep|>',
    "tags without end": "<|open|>call a",
    "tags open": "<|open|>",
    "tags closed": "<|close|>",
    "tags of thinking": "<|open|>think<|sep|>a<|close|>think<|sep|>",
    "tags of answers": "<|open|>response<|sep|>",
    "separators": "<|sep|>",
    "angles": "<",
    "angles and bars": "<|",
    "closing angles": ">",
    "ticks": "`",
    "ticks and closings": "`a</think>",
    "fences": "```\n</think>",
    "fences of waves": "~~~ `x\n</think>",
    "list fences": "- 1. ```a\n</think>",
    "blanks": " ",
    "line ends": "\n",
    "one long line": "word ",
    "quotes": '"',
    "wide letters": "月</think>",
    "mixed": "<|open|>think<|sep|>`<think>a\n<|tool_call_begin|></think>",
}
STARTS = {
    "": "",
    "in a call": BEGUN,
    "in K3's tools": TOOLS + '<|open|>call tool="f" index="1"<|sep|>',
    "in thinking": "<think>",
    "in code": "```\n",
}


def ratio(work: Callable[[int], object]) -> float:
    """Return how much more the larger size costs, the least of several tries."""
    least = float("inf")
    for _ in range(TRIES):
        spent = [seconds(work, size) for size in SIZES]
        least = min(least, spent[1] / max(spent[0], 0.0005))
        if least < 8:
            break
    return least


def pieces(text: str, size: int) -> list[str]:
    return [text[at : at + size] for at in range(0, len(text), size)]


@pytest.mark.parametrize("name", HOSTILE)
def test_filters(name: str) -> None:
    unit = HOSTILE[name]

    def work(begin: str, size: int, cut: int) -> None:
        text = begin + unit * (size // len(unit))
        one = Filter(bytearray(), bytearray() if begin else None)
        for piece in pieces(text, cut):
            one.feed(piece)
        one.feed("", last=True)
        one.unclosed()

    for start, begin in STARTS.items():
        for cut in (1_000_000, 40):
            assert ratio(lambda size: work(begin, size, cut)) < 8, start  # noqa: B023


LEAKS = {
    "begins": BEGUN,
    "ends": BEGUN + "<|tool_call_end|>",
    "calls": BEGUN + '{"a": 1}<|tool_call_end|>',
    "braces": BEGUN + "{",
    "tags": '<|open|>call tool="a" index="1"<|sep|>',
    "arguments": '<|open|>argument key="a"<|sep|>',
    "attributes": '<|open|>call a="b',
    "words": "a",
    "quotes": '="',
    "json": "<|open|>json<|sep|>{}<|close|>json<|sep|>",
}


@pytest.mark.parametrize("name", LEAKS)
@pytest.mark.parametrize("start", ["", BEGUN, "<|open|>call "])
def test_leaks(name: str, start: str) -> None:
    unit = LEAKS[name]
    names = frozenset(("f",))

    def work(size: int) -> None:
        list(calls_in(start + unit * (size // len(unit)), names, stopped=True))

    assert ratio(work) < 8


ARGUMENTS = {
    "the same again": '{"a":1}',
    "quoted": '"{}"',
    "commas": ",",
    "commas and blanks": ",  ",
    "escapes": '\\"',
    "open strings": '"a',
    "open braces": '{"a":',
    "ends": "<|tool_call_end|>",
    "half ends": "<|tool_call_end",
    "closing braces": "}",
    "blanks": " ",
}


@pytest.mark.parametrize("name", ARGUMENTS)
@pytest.mark.parametrize("start", ["", '{"a":1}', '{"a":1,}', '{"a":"'])
def test_arguments(name: str, start: str) -> None:
    unit = ARGUMENTS[name]
    assert ratio(lambda size: tidy(start + unit * (size // len(unit)))) < 8


PIECES: dict[str, Callable[[int], dict[str, object]]] = {
    "new ids": lambda n: {"id": f"i{n}", "function": {"name": "f", "arguments": "{"}},
    "new ids, whole": lambda n: {
        "id": f"i{n}",
        "function": {"name": "f", "arguments": "{}"},
    },
    "new places": lambda n: {"index": n, "function": {"name": "f", "arguments": "{"}},
    "one place, new ids": lambda n: {
        "index": 0,
        "id": f"i{n}",
        "function": {"name": "f", "arguments": "{}"},
    },
    "pieces of a name": lambda n: {"index": 0, "function": {"name": "f"}},
    "no name": lambda n: {"id": f"i{n}", "function": {"arguments": '{"'}},
    "one call": lambda n: {"index": 0, "function": {"name": "f", "arguments": '["a",'}},
}


@pytest.mark.parametrize("name", PIECES)
def test_pieces_of_calls(name: str) -> None:
    def work(size: int) -> None:
        assembler = Assembler(frozenset(("f", "g")))
        for number in range(size // 30):
            assembler.add([PIECES[name](number)])
        assembler.finish(complete=True)

    assert ratio(work) < 8


@pytest.mark.parametrize("text", ["\\ud83d", "\\ud83d\\ude00", "a\\ude00", "</think>a"])
def test_answers(text: str) -> None:
    def work(size: int) -> None:
        delta = f'{{"content":"{text}","reasoning":"{text}"}}'
        event = f'data: {{"id":"c","choices":[{{"delta":{delta}}}]}}\n\n'.encode()
        asked = Call(
            id="1", endpoint="chat", host=HOST, model="m", body={}, created=0.0
        )
        with Answer(asked) as answer:
            for _ in range(size // 50):
                answer.feed(event)
            answer.finish()
        json.dumps(answer.reply.raw)

    assert ratio(work) < 8
