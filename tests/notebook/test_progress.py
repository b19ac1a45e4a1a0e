"""What is shown of a growing answer, step by step, without a kernel."""

from __future__ import annotations

from support.streamed import steps

from kimikit.notebook.progress import AT_ONCE, Progress
from kimikit.types import CallPart, Delta, Wait

PARAGRAPH = "One paragraph of a long answer, of which there are many.\n\n"


def texts(bundles: list[dict[str, str]]) -> list[str]:
    return [b.get("text/markdown") or b["text/plain"] for b in bundles]


def test_a_long_answer_stays_below_the_50_outputs_that_jupyterlab_shows() -> None:
    progress = Progress(0, 48)
    finished: list[str] = []
    growing: list[str] = []
    for i in range(2000):
        progress.take(Delta(text=f"{i} {PARAGRAPH}"), i)
        fixed, open_ones = map(texts, progress.parts(i))
        finished, growing = finished + fixed, open_ones
    assert 40 < len(finished) + len(growing) <= 48
    assert all(text.count("paragraph") == 1 for text in finished[:24]), "sent once each"
    whole = "\n\n".join([*finished, *growing])
    assert [int(line.split()[0]) for line in whole.split("\n\n")] == list(range(2000))


def test_where_outputs_cannot_be_cleared_one_display_holds_all() -> None:
    progress = Progress(0, 1)
    for i in range(30):
        progress.take(Delta(text=PARAGRAPH + "and"), i)
        finished, growing = progress.parts(i)
        assert finished == []
        assert len(growing) == 1


def test_a_host_that_is_too_fast_is_shown_piece_by_piece() -> None:
    progress = Progress(0, 48)
    progress.take(Delta(text=PARAGRAPH * 400 + "The end"), 0)
    finished, growing = progress.parts(0)
    assert AT_ONCE - 200 < len("".join(texts([*finished, *growing]))) <= AT_ONCE
    for _ in range(4):
        finished, growing = progress.parts(0)
    assert texts(growing) == ["The end"]


def test_waiting_thinking_and_answering_follow_each_other() -> None:
    progress = Progress(10, 48)
    assert texts(progress.parts(12)[1]) == ["waiting for the first token ... 2 s"]
    progress.take(Wait(seconds=5, reason="Busy", attempt=1), 13)
    assert texts(progress.parts(15)[1]) == ["Busy, trying again in 3 s"]
    for i, step in enumerate(steps("", reasoning="Let me think. " * 20)):
        progress.take(step, 16 + i / 10)
    line, pane = progress.parts(57)[1]
    assert line["text/plain"] == "thinking ... 41 s, ~70 tokens"
    assert pane["text/html"].count("Let me think.") == 20
    progress.take(Delta(reasoning="A little more."), 58)
    assert progress.parts(59)[1][1] is pane, "a pane that was opened stays open"
    progress.take(Delta(text="So"), 60)
    (thought,), growing = progress.parts(60)
    assert thought["text/plain"] == "[thinking: 42 s, ~73 tokens]"
    assert texts(growing) == ["So"]
    assert texts(progress.parts(66)[1])[-1] == "... 6 s without a token"


def test_calls_grow_below_the_text_and_other_choices_are_left_out() -> None:
    progress = Progress(0, 48)
    progress.take(Delta(text="Look:"), 1)
    progress.take(Delta(text="another", choice=1), 1)
    progress.take(Delta(calls=(CallPart(0, "f", '{"a": [1'),)), 1)
    progress.take(Delta(calls=(CallPart(1, "g", "{}"),)), 1)
    assert texts(progress.parts(1)[1]) == ["Look:", "f(a=[1])\ng()"]
    reply = progress.reply()
    assert reply.text == "Look:"
    assert [call.name for call in reply.tool_calls] == ["f", "g"]
    progress.take(Delta(calls=(CallPart(0, "f", ', "' + "x" * 3000),)), 2)
    assert progress.parts(2)[1][1]["text/plain"].startswith("... ")
