"""One answer, one footer, in its own cell, and nothing of a bar in what is saved."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from support.kernel import Kernel, running_kernel

SETUP = """
import tempfile, threading
import httpx, msgspec
from kimikit import Kimi
from kimikit.prompting import brief, map_reduce

begun, drawn, go, gone = (threading.Event() for _ in range(4))
session = get_ipython().display_pub.session
send = session.send

def noted(*args, **options):
    sent = send(*args, **options)
    if sent and sent["msg_type"] == "display_data":
        drawn.set()
    return sent

session.send = noted

def answer(request):
    body = {"choices": [{"index": 0, "message": {"role": "assistant", "content": '{"a": 1}'}, "finish_reason": "stop"}]}
    return httpx.Response(200, json=body)

class Slow(httpx.SyncByteStream):
    def __iter__(self):
        yield b'data: {"choices": [{"index": 0, "delta": {"content": "first "}, "finish_reason": null}]}\\n\\n'
        begun.set(); go.wait(30)
        yield b'data: {"choices": [{"index": 0, "delta": {"content": "last"}, "finish_reason": "stop"}]}\\n\\n'
        yield b'data: [DONE]\\n\\n'

def slowly(request):
    return httpx.Response(200, headers={"content-type": "text/event-stream"}, stream=Slow())

def client(transport):
    return Kimi("mine", base_url="http://x/v1", api_key="k", model="m",
                ledger=tempfile.mkdtemp() + "/l.sqlite", transport=httpx.MockTransport(transport))

kimi, slow = client(answer), client(slowly)

def apart(show=None):
    def ask():
        try:
            slow.chat("q", show=show)
        finally:
            gone.set()
    for event in (begun, drawn, go, gone):
        event.clear()
    thread = threading.Thread(target=ask)
    thread.start()
    begun.wait(30)
    drawn.wait(30)  # else its first display may belong to the next cell
    return thread
"""


@pytest.fixture(scope="module")
def kernel() -> Iterator[Kernel]:
    with running_kernel() as kernel:
        assert kernel.run(SETUP).of("error") == []
        yield kernel


def plain(outputs: list[dict[str, Any]]) -> str:
    return "\n".join(str(o.get("text/plain", o.get("text", ""))) for o in outputs)


@pytest.mark.parametrize(
    "code",
    [
        "kimi.chat('q')",
        "kimi.chat('q', into=dict[str, int])",
        "kimi.conversation().say('q')",
        "talk = kimi.conversation(system='s'); talk.say('q'); talk.say('r')",
        "brief(['x'], 'q?').ask(kimi)",
        "msgspec.structs.replace(kimi.chat('q'), notes=('seen',))",
        "reply = kimi.chat('q'); reply",
    ],
)
def test_an_answer_that_was_shown_is_not_shown_again(kernel: Kernel, code: str) -> None:
    shown = plain(kernel.run(code).outputs())
    asked = code.count("say(") or 1
    assert shown.count("mine · m · ") == asked
    assert shown.count('{"a": 1}') == asked


def test_what_a_report_adds_is_shown(kernel: Kernel) -> None:
    assert "0 of 1 part cited." in plain(
        kernel.run("brief(['x'], 'q?').ask(kimi)").outputs()
    )


@pytest.mark.parametrize(
    "code", ["kept = kimi.chat('q')\nNone", "kept = kimi.chat('q', show=False)"]
)
def test_an_answer_is_shown_again_when_asked_for_later(
    kernel: Kernel, code: str
) -> None:
    kernel.run(code)
    assert "mine · m · " in plain(kernel.run("kept").outputs())


def test_another_answer_is_another_one(kernel: Kernel) -> None:
    kernel.run("old = kimi.chat('q')")
    shown = plain(kernel.run("kimi.chat('q'); old").outputs())
    assert shown.count("mine · m · ") == 2


def test_a_thread_leaves_the_cells_that_come_later_alone(kernel: Kernel) -> None:
    kernel.run("thread = apart()")
    ran = kernel.run("print('precious'); go.set(); thread.join()")
    assert "clear_output" not in [kind for _, kind, *_ in ran.messages]
    assert plain(ran.outputs()).strip() == "precious"
    updates = ran.of("update_display_data")
    assert any("first last" in str(update["data"]) for update in updates)
    assert any(" tokens" in str(update["data"]) for update in updates)


def test_a_thread_leaves_what_its_own_cell_printed(kernel: Kernel) -> None:
    ran = kernel.run("thread = apart()\nprint('precious'); go.set(); thread.join()")
    shown = plain(ran.outputs())
    assert "precious" in shown
    assert "first last" in shown


def test_a_thread_after_its_cell_changes_only_its_own_displays(kernel: Kernel) -> None:
    first = kernel.run("thread = apart()")
    keys = {m["transient"]["display_id"] for m in first.of("display_data")}
    assert keys
    kernel.run("1 + 1")
    ran = kernel.run("go.set(); gone.wait(30); thread.join()")
    assert {m["transient"]["display_id"] for m in ran.of("update_display_data")} <= keys
    assert ran.of("display_data") == []


@pytest.mark.parametrize(
    "code",
    [
        "kimi.sweep('q', temperature=[0, 1], repeats=2)",
        "map_reduce(kimi, ['x'], 'q?')",
        "from kimikit.display.progress import progress_bar\nwith progress_bar(total=3) as bar: bar.update()",
        "try:\n    with progress_bar(total=3) as bar: 1 / 0\nexcept ZeroDivisionError: pass",
        "with progress_bar(total=3, disable=True) as bar: bar.update()",
    ],
)
def test_no_bar_is_left_in_the_cell(kernel: Kernel, code: str) -> None:
    ran = kernel.run(code)
    assert ran.of("error") == []
    assert all(ran.outputs()), "no empty output either"
    for output in ran.outputs():
        assert "application/vnd.jupyter.widget-view+json" not in output
        assert "%|" not in output.get("text/plain", ""), "as tqdm writes it"


def test_what_stands_beside_a_bar_stays(kernel: Kernel) -> None:
    bar = "from kimikit.display.progress import progress_bar\nwith progress_bar(total=1): pass"
    ran = kernel.run(f"print('mine')\n{bar}\nprint('too')")
    texts = [o["text"] for o in ran.outputs() if "text" in o]
    assert "".join(texts).split() == ["mine", "too"]
    assert "widget" not in str(ran.outputs())
