"""What is neither Markdown nor the wire (see their ``test_linear``): twice the text is twice
the work, wherever a text of a model, a host, a server or a stranger is read."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from support import work
from support.money import ask

from kimikit import html
from kimikit.display import plots
from kimikit.display.renderable import call_text
from kimikit.errors import KimiError
from kimikit.json_values import as_json
from kimikit.money.ledger import Ledger
from kimikit.notebook.stream_view import TextView
from kimikit.notebook.trace_view import TextTrace
from kimikit.prompting import answers, extract, numbers
from kimikit.prompting.documents import Part, check_citations
from kimikit.replay.masks import mask_of, masked_answer
from kimikit.replay.questions import differences, nearest
from kimikit.replay.script import _HOLE, Script
from kimikit.secrets import hidden, masked, redact
from kimikit.tools.samples import calculator
from kimikit.tools.tool import Tool
from kimikit.types import Delta, Reply, ToolCall
from kimikit.wire import faults

SIZE, NOISE_S = 12_500, 0.01

HOSTILE: dict[str, str] = {
    "letters": "a", "words": "word ", "digits": "1", "thousands": "1,111", "zeros": "0.0",
    "signs": "-", "powers": "1^", "fractions": "1/2 ", "wide digits": "１２", "boxes": "\\boxed{",
    "braces": "{", "brackets": "[", "objects": '{"a":', "arrays": "[1,", "quotes": '"a\\"',
    "fences": "```json\n{", "half numbers": "1e", "answers": "answer ", "answers is": "Answer: ",
    "not": "not ", "labels": "red or ", "citations": "[1", "lists": "[1,2", "ranges": "[1-99] ",
    "parts": "[part 1 and ", "daggers": "[1†", "escapes": "\x1b[", "sequences": "\x1b]0;",
    "resets": "\x1bc", "keys": "sk-a1", "bearers": "Bearer a", "addresses": "http://a:",
    "holes": "{{a", "holes of paths": "{{a.b", "dots": ".", "times": "try again in 1", "points": "1.1.",
    "tabs": "\t", "lines": "a\n", "returns": "\r", "parens": "(", "terms": "1+", "stars": "**",
    "dollars": "$a_", "bars": "|", "tokens": ".eyJaaaaaaaa", "more keys": "sk_a ", "sums": "'ab12",
}  # fmt: skip


def cited(text: str) -> None:
    check_citations(text, [Part(1, "t", text, 5)])._repr_html_()


def streamed(text: str) -> None:
    class Out:
        def write(self, text: str) -> None: ...

        def flush(self) -> None: ...

        def isatty(self) -> bool:
            return True

    view: Any = TextView(Out(), lambda reply: reply.footer())  # type: ignore[arg-type]
    trace: Any = TextTrace(Out())  # type: ignore[arg-type]
    for at in range(0, len(text), 500):
        view(Delta(text[at : at + 500]))
        trace(Delta(text[at : at + 500]))
    view.finish(Reply(text=text, tool_calls=(ToolCall("a", "f", text),), notes=(text,)))


MATCHER = Tool.from_schema(
    "t", "T.", {
        "type": "object",
        "properties": {
            "a": {"type": "string", "pattern": "^(a+)+$"},
            "b": {"type": "string", "pattern": "(x|x)*y|(.*)*z"},
        },
    },
    lambda **k: "",
)  # fmt: skip


def recorded(text: str) -> None:
    event = "data: " + json.dumps({"choices": [{"delta": {"content": text}}]}) + "\n\n"
    masked_answer([], [(0.1, event.encode())], mask_of("key-0123456789abcdef"))


def compared(text: str) -> None:
    from kimikit.replay.file import Question

    was = Question("a", "h", "POST", "/c", json.dumps({"a": text}))
    now = Question("b", "h", "POST", "/c", json.dumps({"a": text[::-1]}))
    nearest(now, [was, now])
    list(differences(was, now))


READERS: dict[str, Callable[[str], object]] = {
    "final_answer": answers.final_answer,
    "last_number": answers.last_number,
    "true_or_false": answers.true_or_false,
    "one_of": lambda text: answers.one_of(text, ["red", "blue", "a", "1"]),
    "numbers": lambda text: list(numbers.numbers(text)),
    "find_json": extract.find_json,
    "citations": cited,
    "terminal": streamed,
    "clean": html.clean,
    "call_text": lambda text: call_text("f", text),
    "patterns": lambda text: MATCHER.bind({"a": text, "b": text}),
    "calculator": calculator,
    "plot labels": plots.name,
    "redact": redact,
    "hidden": lambda text: hidden({"extra": [text] * 3}),
    "masked": lambda text: masked(json.loads(json.dumps({"a": [text]}))),
    "faults": lambda text: faults.retry_after({}, text),
    "recorded": recorded,
    "compared": compared,
    "holes": lambda text: _HOLE.sub("", text),
    "as_json": as_json,
}


def seconds(read: Callable[[str], object], text: str) -> float:
    def do() -> None:
        # A refusal is an answer, if it comes soon.
        with contextlib.suppress(KimiError, ValueError, SyntaxError, ArithmeticError):
            read(text)

    return work.seconds(do)


@pytest.mark.parametrize("reader", READERS)
def test_twice_the_text_is_twice_the_work(reader: str) -> None:
    read, worst = READERS[reader], {}
    seconds(read, "warm")
    for name, piece in HOSTILE.items():
        small, large = (piece * (size // len(piece)) for size in (SIZE, 2 * SIZE))
        for _ in range(3):
            twice = seconds(read, large)
            half = seconds(read, small) if twice >= 3 * NOISE_S else 0
            ratio = twice / (half + NOISE_S)
            worst[name] = min(ratio, worst.get(name, ratio))
            if ratio < 3:
                break
    assert {name: ratio for name, ratio in worst.items() if ratio >= 3} == {}


def test_the_ledgers_search_takes_any_words(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "l")
    for n in range(5):
        ask(ledger, f"q{n} " + "pad " * 5_000)
    for piece in ('"', "a OR ", "NEAR(", "* ", "pad ", "\x00", "日", "' "):
        begun = time.process_time()
        with contextlib.suppress(KimiError):
            ledger.search(piece * (2_000 // len(piece)))
        assert time.process_time() - begun < 5
    ledger.close()


@pytest.mark.parametrize(
    "piece", ["a.", "a . ", "[a]\n", "[[a.b]]\n", "a = [", "'''", '"', "{a=", "# "]
)
def test_a_scripts_toml(piece: str, tmp_path: Path) -> None:
    def read(text: str) -> object:
        path = tmp_path / "s.toml"
        path.write_text(text)
        return Script(path)

    ratios = []
    for _ in range(3):
        once = seconds(read, piece * (50_000 // len(piece)))
        ratios.append(seconds(read, piece * (100_000 // len(piece))) / (once + 0.03))
    assert min(ratios) < 3


def test_figures_of_any_length_are_refused_soon() -> None:
    for text in (
        "9" * 100_000,
        "2**99999999",
        "round(1,-1000000000)",
        "(" * 50_000,
        "9**9**9",
    ):
        begun = time.process_time()
        with pytest.raises(
            (
                KimiError,
                ValueError,
                SyntaxError,
                ArithmeticError,
                RecursionError,
                MemoryError,
            )
        ):
            calculator(text)
        assert time.process_time() - begun < 2
    assert numbers.numbers("1" * 100_000) is not None
    assert Decimal(calculator("2**10")) == 1024
