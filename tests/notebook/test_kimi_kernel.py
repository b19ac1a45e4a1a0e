"""``Kimi`` itself in a real kernel over real HTTP: the view, the magic, Stop."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.kernel import Kernel, running_kernel

SETUP = """
from support.fault_server import HOLD, FaultServer, chunk, event, head, plain
from support.streamed import piece, played
server = FaultServer().__enter__()

def play(*steps):
    server.scripts.clear()
    server.play(*steps)

from kimikit import Kimi
kimi = Kimi(base_url=server.url, model="kimi-k2", api_key="k", max_retries=0)
kimi.set_price(input="0.6", output="2.5")
"""


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    ledger = str(tmp_path_factory.mktemp("ledger") / "ledger.db")
    with running_kernel(KIMIKIT_LEDGER=ledger) as kernel:
        assert kernel.run(SETUP).of("error") == []
        yield kernel


def test_the_first_chat_leaves_one_answer_and_one_footer(kernel: Kernel) -> None:
    ran = kernel.run("play(*played('**Hi** there.')); kimi.chat('Hello')")
    answer, footer = ran.outputs()
    assert answer == {"text/plain": "**Hi** there.", "text/markdown": "**Hi** there."}
    assert "9 -> 20 tokens · $0.000055" in footer["text/plain"]
    assert footer["text/plain"].endswith(" · session $0.000055")


@pytest.mark.parametrize(
    ("first", "session"), [("other", "unpriced"), ("kimi", "at least $0.000055")]
)
def test_a_session_is_never_cheaper_than_known(
    kernel: Kernel, first: str, session: str, tmp_path: Path
) -> None:
    """An unpriced call adds an unknown amount, and not 0."""
    made = "Kimi(base_url=server.url, model='no-price', api_key='k', ledger=mine)"
    both = f"mine = {str(tmp_path / 'l.db')!r}; other = {made}"
    kernel.run(f"{both}; kimi = Kimi(base_url=server.url, model='kimi-k2', api_key='k',"
               " ledger=other.ledger)\nkimi.set_price(input='0.6', output='2.5')")  # fmt: skip
    model = "kimi-k2" if first == "kimi" else "no-price"
    kernel.run(f"play(*played('Hi.', 0, {model!r})); {first}.chat('Hi', show=False)")
    ran = kernel.run("play(*played('Hi.', 0, 'no-price')); other.chat('Hello')")
    assert ran.outputs()[-1]["text/plain"].endswith(f" · session {session}")


def test_remote_images_are_links_unless_allowed(kernel: Kernel) -> None:
    picture = "![a fox](https://example.org/fox.png)"
    ran = kernel.run(f"play(*played({picture!r})); kimi.chat('Hello')")
    assert ran.outputs()[0]["text/markdown"] == picture[1:]
    allowed = "Kimi(base_url=server.url, model='m', api_key='k', remote_images=True)"
    ran = kernel.run(f"play(*played({picture!r})); {allowed}.chat('Hello')")
    shown = ran.of("display_data", "update_display_data")
    marked = [m["data"]["text/markdown"] for m in shown if "text/markdown" in m["data"]]
    assert marked[-1] == picture


def test_stop_in_a_silence_keeps_the_part_and_bounds_its_cost(kernel: Kernel) -> None:
    kernel.run("play(head(), chunk(event(piece('Half an ans'))), HOLD)")
    key = kernel.start(
        "r = kimi.chat('Go', max_tokens=1000)", value="r.text, r.partial"
    )
    kernel.until(key, "display_data")
    kernel.interrupt()
    ran = kernel.wait(key)
    assert ran.seconds < 10
    assert eval(ran.result) == ("Half an ans", True)
    footer = ran.outputs()[-1]["text/plain"]
    assert footer.startswith("stopped · ")
    assert " -> ~" in footer
    assert "~$0.0000" in footer
    # 1000 tokens are $0.0025; the prompt is 98 at most, and a bound is rounded up.
    assert " to $0.0026" in footer
    hung_up = kernel.run("server.left.wait(10)", value="server.left.is_set()")
    assert hung_up.result == "True"
    legal = "play(*played('Yes.')); r2 = kimi.chat([{'role': 'user', 'content': 'Go'}, "
    legal += "r.message, {'role': 'user', 'content': 'And?'}])"
    assert kernel.run(legal).outputs()[0]["text/plain"] == "Yes."


def test_an_error_of_the_host_is_short_and_says_what_to_do_first(
    kernel: Kernel,
) -> None:
    said = "play(plain({'error': {'message': 'bad key'}}, 401))"
    (error,) = kernel.run(f"{said}\nkimi.chat('Hi')").of("error")
    shown = "\n".join(error["traceback"])
    assert error["ename"] == "AuthenticationFailed"
    remedy, what, *_ = shown.splitlines()
    assert remedy.startswith("→ ")
    assert what.startswith("  AuthenticationFailed: ")
    assert "in this cell, line 2" in shown
    assert len(shown.splitlines()) <= 8


def test_the_extension_brings_the_magic(kernel: Kernel) -> None:
    kernel.run("play(*played('Bees.'))")
    kernel.run("%load_ext kimikit\ntopic = 'bees'")
    ran = kernel.run("%%kimi --into said\nSay {topic}.", value="said.text")
    assert ran.result == "'Bees.'"
    assert ran.outputs()[0]["text/markdown"] == "Bees."
    asked = kernel.run("1", value="server.requests[-1].json['messages'][-1]['content']")
    assert asked.result == "'Say bees.'"
    assert "kimi-k2" in str(kernel.run("%kimi_cost").outputs())
    kernel.run("play(*played('{\"bees\": 2}'))")
    ran = kernel.run("%%kimi --json --into said\nCount.", value="said.parsed")
    assert ran.result == "{'bees': 2}"


def test_a_race_and_the_playground_are_shown(kernel: Kernel) -> None:
    columns = "{'cold': {'temperature': 0}, 'warm': {'temperature': 1}}"
    ran = kernel.run(f"play(*played('Same.')); kimi.race('Hi', {columns})")
    (shown,) = ran.outputs()
    assert shown["text/html"].count("Same.") == 2
    view, kept = kernel.run("kimi.playground()").outputs()
    assert "application/vnd.jupyter.widget-view+json" in view
    assert "max_tokens=512" in kept["text/plain"]


def test_every_view_is_of_types_that_vs_code_and_colab_show(kernel: Kernel) -> None:
    """Each has text, and HTML or Markdown, so that it is useful without widgets."""
    kernel.run("play(*played('Same.'))")
    views = (
        "kimi.chat('Hi')",
        "s = kimi.sweep('Hi', temperature=[0, 1], repeats=2, progress=False); s",
        "kimi.race('Hi', models=['a', 'b'])",
        "kimi.run('Hi', [])",
        "kimi.playground()",
        "kimi.ledger",
    )
    known = {"text/plain", "text/html", "text/markdown"}
    for view in views:
        bundles = [bundle for bundle in kernel.run(view).outputs() if bundle]
        assert bundles, view
        for bundle in bundles:
            kinds = {*bundle} - {"application/vnd.jupyter.widget-view+json"}
            assert "text/plain" in kinds or "text/markdown" in kinds, view
            assert kinds & {"text/html", "text/markdown"}, view
            assert kinds <= known, view


def test_code_of_an_answer_goes_into_the_next_cell(kernel: Kernel) -> None:
    kernel.run("play(*played('Try:\\n```python\\na = 6\\n```')); r = kimi.chat('Hi')")
    ran = kernel.run("kimi.to_cell(r)", value="r.code[0].language")
    assert [one["text"] for one in ran.payload] == ["a = 6"]
    assert ran.result == "'python'"


def test_an_answer_that_goes_on_is_shown_once_and_whole(kernel: Kernel) -> None:
    setup = "k = Kimi('vllm', base_url=server.url, model='m', max_retries=0)\n"
    setup += "from support.answers import DONE, chunk as step, text\n"
    setup += "from support.fault_server import sse\n"
    setup += "play(sse(*text('One, '), step('length'), DONE)); r = k.chat('Count.')"
    assert "cut at max_tokens" in kernel.run(setup).outputs()[-1]["text/plain"]
    go = "play(sse(*text('two.'), step('stop'), DONE)); r.continue_()"
    answer, footer = kernel.run(go).outputs()
    assert answer["text/markdown"] == "One, two."
    assert "cut at" not in footer["text/plain"]


VERBOSE = """
%xmode Verbose
import base64
def secret():
    return base64.b64decode("dG9rLTVlY3JldFNlY3JldFNlY3JldDQy").decode()
def asked():
    body = {"plugins": [{"api_key": secret()}]}
    return {"extra_headers": {"X-Api-Key": secret()}, "extra_body": body}
"""
FAILING = [
    "kimi.chat('q', temperature=9, **asked())",
    "kimi.chat('q', extra_body={'a': [{'token': secret(), 'x': {1, 2}}]})",
    "kimi.client.chat('q', watch=lambda step: 1 / 0, **asked())",
    "kimi.sweep('q', seed=[1], repeats=1, progress=lambda p: 1 / 0, **asked())",
    "kimi.embed('q', model='e', **asked())",
    "for step in kimi.stream('q', **asked()): 1 / 0",
    "Kimi(base_url=f'https://a:{secret()}@h.test', model='m')",
    "Kimi('sk-' + secret())",
    "Kimi(base_url=server.url, api_key=secret(), model='m', ledger=5)",
]


def test_no_verbose_traceback_shows_a_secret(kernel: Kernel) -> None:
    assert kernel.run(VERBOSE).of("error") == []
    for code in FAILING:
        ran = kernel.run(f"play(*played('hi'))\n{code}")
        assert len(ran.of("error")) == 1, code
        assert "tok-5ecret" not in repr(ran.messages), code
    kernel.run("%xmode Context")
