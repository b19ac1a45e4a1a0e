"""The streaming view in a real kernel: what goes to the browser, and what stays."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.kernel import Kernel, running_kernel

SETUP = """
import time
from support import drawn
from support.streamed import FakeClient, reply, steps, text_of
from kimikit.display.cell import arm
from kimikit.notebook.stream_view import answer_view
from kimikit.types import Delta, Reply, Wait
arm()
drawn.watch()
def ask(prompt, per_s=0, wait_s=0, show=None):
    with answer_view(show) as view:
        reply = FakeClient(per_s, wait_s).chat(prompt, watch=view)
        view.finish(reply)
    return reply
"""


@pytest.fixture(scope="module")
def kernel() -> Iterator[Kernel]:
    with running_kernel() as kernel:
        assert kernel.run(SETUP).outputs() == []
        yield kernel


def test_a_cell_ends_as_one_answer_and_few_bytes_went_before(kernel: Kernel) -> None:
    code = "text = text_of(250); _ = ask(text, per_s=100)"
    ran = kernel.run(code, value="text")
    answer, footer = ran.outputs()
    assert set(answer) == {"text/plain", "text/markdown"}
    assert answer["text/plain"] == eval(ran.result)
    assert footer["text/plain"].startswith("together · moonshotai/Kimi-K2-Instruct")
    live = ran.of("display_data", "update_display_data")[:-2]
    assert len(live) > 8, "it was seen to grow"
    assert ran.most_in_a_second <= 12
    assert ran.bytes <= 150 * 250


def test_a_finished_block_is_sent_once(kernel: Kernel) -> None:
    code = "_ = ask('First paragraph.\\n\\n' + 'and then. ' * 60, per_s=200)"
    live = kernel.run(code).of("display_data", "update_display_data")[:-2]
    whole = [
        m for m in live if "First paragraph." in m["data"].get("text/markdown", "")
    ]
    ids = {m["transient"]["display_id"] for m in live}
    assert len(whole) == 1
    assert len(ids) == 2


def test_a_fast_long_answer_is_shown_at_once(kernel: Kernel) -> None:
    ran = kernel.run("_ = ask(text_of(20_000))")
    assert ran.seconds < 10
    assert len(ran.outputs()) == 2


def test_other_output_of_the_cell_is_never_cleared(kernel: Kernel) -> None:
    ran = kernel.run("print('mine'); a = ask('one\\n\\ntwo'); b = ask('three')")
    assert ran.of("clear_output") == []
    shown = [o for o in ran.outputs() if o]
    texts = [o.get("text") or o["text/plain"] for o in shown]
    assert texts[0] == "mine\n"
    assert texts[1] == "one\n\ntwo"
    assert texts[3] == "three"
    assert len(texts) == 5


def test_what_the_kernel_says_to_others_meanwhile_changes_nothing(
    kernel: Kernel,
) -> None:
    key = kernel.start("_ = ask(text_of(150), per_s=200)")
    kernel.until(key, "display_data")
    for _ in range(3):
        asked = kernel.client.session.msg("kernel_info_request")
        kernel.client.control_channel.send(asked)
    ran = kernel.wait(key)
    for _ in range(3):
        kernel.client.get_control_msg(timeout=300)
    assert len(ran.of("clear_output")) == 1
    assert len(ran.outputs()) == 2


def test_output_from_elsewhere_while_streaming_is_kept(kernel: Kernel) -> None:
    ran = kernel.run(
        "with answer_view() as v:\n"
        "    for i, step in enumerate(steps(text_of(100))):\n"
        "        v(step); time.sleep(.005)\n"
        "        if i == 50: print('from a tool')\n"
        "    v.finish(reply(text_of(100)))"
    )
    assert any(o.get("text") == "from a tool\n" for o in ran.outputs())


def test_stop_keeps_what_arrived_and_the_next_cell_works(kernel: Kernel) -> None:
    key = kernel.start("r = ask('word ' * 4000, per_s=100)", value="r.text")
    kernel.until(key, "update_display_data")
    kernel.interrupt()
    ran = kernel.wait(key)
    assert ran.seconds < 10
    answer, footer = [o for o in ran.outputs() if o][-2:]
    assert answer["text/plain"] == eval(ran.result)
    assert answer["text/plain"].startswith("word word")
    assert footer["text/plain"].startswith("stopped · ")
    assert "~41 -> ~" in footer["text/plain"]
    assert kernel.run("1 + 1").outputs() == [{"text/plain": "2"}]


def test_an_error_keeps_what_arrived_and_shows_its_remedy_first(kernel: Kernel) -> None:
    ran = kernel.run(
        "from kimikit.errors import StreamError\n"
        "with answer_view() as v:\n"
        "    for step in steps('Half an ans'): v(step)\n"
        "    raise StreamError('The host hung up.', 'Ask again.',\n"
        "                      reply=reply('Half an ans', truncated=True))"
    )
    answer, footer, _ = ran.outputs()
    assert answer["text/plain"] == "Half an ans"
    assert footer["text/plain"].startswith("cut off · ")
    (error,) = ran.of("error")
    assert "Ask again." in "\n".join(error["traceback"])
    assert len("\n".join(error["traceback"]).splitlines()) <= 6


def test_a_reply_shows_itself_later_and_no_second_footer_at_once(
    kernel: Kernel,
) -> None:
    assert len(kernel.run("ask('one')").outputs()) == 2
    later = kernel.run("_.text, reply('x')").outputs()
    assert len(later) == 1
    kernel.run("kept = ask('one')")
    (shown,) = kernel.run("kept").outputs()
    assert shown["text/plain"].startswith("one\n\ntogether · ")
    assert shown["text/html"].count("together") == 1


def test_thinking_waiting_and_calls_show_while_they_come(kernel: Kernel) -> None:
    ran = kernel.run(
        "drawn.forget()\n"
        "with answer_view() as v:\n"
        "    drawn.until('waiting for the first token')\n"
        "    v(Wait(seconds=3, reason='The host is busy', attempt=1))\n"
        "    drawn.until('trying again in 3 s')\n"
        "    for s in steps('', reasoning='Let me think. ' * 9): v(s)\n"
        "    drawn.until('thinking ... ')\n"
        "    for s in steps('Done.', calls=(('get_weather', '{\"city\": \"Paris\"}'),)):\n"
        "        v(s)\n"
        "    drawn.until('Par')\n"
        "    v.finish(reply('Done.', reasoning='Let me think. ' * 9))"
    )
    texts = [
        m["data"].get("text/plain", "")
        for m in ran.of("display_data", "update_display_data")
    ]
    seen = "\n".join(texts)
    assert "waiting for the first token ... " in seen
    assert "The host is busy, trying again in 3 s" in seen
    assert "thinking ... 0 s, ~" in seen
    assert "get_weather(city='Par" in seen
    pane, answer, _ = ran.outputs()
    assert "<details><summary>thinking: " in pane["text/html"]
    assert answer["text/plain"] == "Done."


def test_show_false_shows_nothing(kernel: Kernel) -> None:
    assert kernel.run("_ = ask('one', show=False)").outputs() == []


def test_captured_output_holds_the_final_view_only(kernel: Kernel) -> None:
    kernel.run("%%capture got\n_ = ask(text_of(50), per_s=300)")
    assert kernel.run("1", value="len(got.outputs)").result == "2"


def test_a_second_interrupt_is_never_swallowed(kernel: Kernel) -> None:
    ran = kernel.run(
        "with answer_view() as v:\n"
        "    for step in steps('Some text'): v(step)\n"
        "    raise KeyboardInterrupt"
    )
    answer, footer, _ = ran.outputs()
    assert answer["text/plain"] == "Some text"
    assert footer["text/plain"] == "stopped"
    assert ran.of("error")[0]["ename"] == "KeyboardInterrupt"


def test_a_view_in_a_task_works_inside_the_running_loop(kernel: Kernel) -> None:
    ran = kernel.run(
        "import asyncio\n"
        "async def go():\n"
        "    with answer_view() as v:\n"
        "        for step in steps('A task wrote this.'):\n"
        "            v(step); await asyncio.sleep(.01)\n"
        "        wrote.set()\n"
        "        await asyncio.sleep(30)\n"
        "wrote = asyncio.Event()\n"
        "task = asyncio.create_task(go())\n"
        "await wrote.wait()\n"
        "task.cancel()\n"
        "try: await task\n"
        "except asyncio.CancelledError: print('cancelled')"
    )
    texts = [o.get("text") or o["text/plain"] for o in ran.outputs()]
    assert texts == ["A task wrote this.", "stopped", "cancelled\n"]


def test_many_answers_in_one_cell_stay_few_outputs(kernel: Kernel) -> None:
    ran = kernel.run("for i in range(8): ask('A.\\n\\nB.\\n\\nC.', per_s=60)")
    assert len(ran.outputs()) <= 2 * 8 + 2
    assert [o["text/plain"] for o in ran.outputs() if "text/markdown" in o] == [
        "A.\n\nB.\n\nC."
    ] * 8
