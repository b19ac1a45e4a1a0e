"""``kimi.map`` over HTTP: order, errors in place, resuming, money, Stop."""

import _thread
import threading
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from support.echo import EchoHost, refused

from kimikit import BadInput, BudgetExceeded, Kimi, errors

TEXTS = [f"prompt {n}" for n in range(12)]


@pytest.fixture
def host():
    with EchoHost().running() as server:
        yield server


MADE = []


@pytest.fixture(autouse=True)
def closed():
    """Close each session at the end: frames of errors may hold it for a while."""
    yield
    while MADE:
        MADE.pop().close()


def session(server, **options):
    made = {"base_url": server.base_url, "api_key": "k12345678", "model": "m"}
    MADE.append(Kimi(**made, show=False, max_retries=0, **options))
    return MADE[-1]


def test_answers_come_in_the_order_of_their_prompts(host):
    replies = session(host).map(TEXTS, progress=False)
    assert replies.texts == [f"Re: {text}" for text in TEXTS]
    assert sorted(host.asked) == sorted(TEXTS)
    assert replies.failed == {}
    assert [reply.text for reply in replies[3:5]] == ["Re: prompt 3", "Re: prompt 4"]


def test_parameters_go_with_every_call(host):
    session(host).map(TEXTS[:3], temperature=0.5, system="Be brief.", progress=False)
    assert {body["temperature"] for body in host.requests} == {0.5}
    assert {body["messages"][0]["content"] for body in host.requests} == {"Be brief."}


def test_a_frame_keeps_its_columns_and_its_index(host):
    frame = pd.DataFrame(
        {"text": ["tree", "sea"], "language": ["French", "Czech"], "model": [1, 2]},
        index=["a", "b"],
    )
    told = "Translate {text} into {language}."
    found = session(host).map(frame, template=told, progress=False).to_pandas()
    assert list(found.index) == ["a", "b"]
    assert found.loc["b", "answer"] == "Re: Translate sea into Czech."
    assert list(found["model"]) == [1, 2]
    assert list(found["reply_model"]) == ["m", "m"]
    assert "answer" not in frame


def test_conversations_are_prompts_too(host):
    talk = [{"role": "system", "content": "s"}, {"role": "user", "content": "hello"}]
    replies = session(host).map([talk, "two"], progress=False)
    assert replies.texts == ["Re: hello", "Re: two"]


def test_an_error_stands_in_the_place_of_its_answer():
    def answer(text):
        if text in ("prompt 0", "prompt 3"):
            return refused(400, "The prompt was filtered.")
        return text

    with EchoHost(answer).running() as host:
        kimi = session(host)
        replies = kimi.map(TEXTS, progress=False, name="odd")
        assert list(replies.failed) == [0, 3]
        assert isinstance(replies[3], errors.BadRequest)
        assert replies.texts[4] == "prompt 4"
        assert "2 failed" in repr(replies)
        frame = replies.to_pandas()
        assert "filtered" in frame["error"][3]
        assert frame["answer"].isna().sum() == 2
        host.answer = str.upper
        again = kimi.map(TEXTS, progress=False, name="odd")
        assert again.failed == {}
        assert again.reused == 10
        assert sorted(host.asked[12:]) == ["prompt 0", "prompt 3"]


@pytest.mark.parametrize("status", [400, 401, 404])
def test_what_every_prompt_meets_is_raised_after_a_few(status):
    with EchoHost(lambda text: refused(status, "no")).running() as host:
        with pytest.raises(errors.StatusError) as caught:
            session(host).map(TEXTS * 10, progress=False, concurrency=2)
        assert len(host.requests) <= 5
    assert len(caught.value.results) == 120


def test_a_used_name_buys_only_what_is_missing(host):
    kimi = session(host)
    kimi.map(TEXTS[:5], name="n", progress=False)
    replies = kimi.map([*TEXTS, TEXTS[0]], name="n", progress=False)
    assert (replies.reused, len(host.requests)) == (5, 13)
    assert None not in replies.texts
    other = kimi.map(TEXTS[:5], name="n", temperature=0.1, progress=False)
    assert other.reused == 0


def test_max_cost_refuses_before_and_ends_in_between(host):
    kimi = session(host)
    with pytest.raises(BudgetExceeded, match="price is not known"):
        kimi.map(TEXTS, max_cost=1, progress=False)
    kimi.set_price(input=1000, output=100_000)  # $0.609 per answer
    with pytest.raises(BudgetExceeded, match="likely cost"):
        kimi.map(TEXTS, max_cost="0.5", max_tokens=6, progress=False)
    assert host.requests == []
    replies = kimi.map(TEXTS, max_cost="8", max_tokens=6, concurrency=1, progress=False)
    assert replies.cost <= 8
    assert len(replies.replies) == 12
    assert replies.cost == Decimal("0.609") * 12


def test_stop_keeps_what_is_finished():
    arrived, returned = threading.Event(), threading.Event()

    def answer(text):
        if int(text.split()[1]) >= 4:
            arrived.set()
            returned.wait(30)
        return text

    with EchoHost(answer).running() as host:
        timer = threading.Thread(
            target=lambda: (arrived.wait(), _thread.interrupt_main())
        )
        timer.start()
        replies = session(host).map(TEXTS, concurrency=1, progress=False)
        returned.set()
        timer.join()
    assert replies.stop_reason == "interrupted"
    assert replies.texts[:4] == TEXTS[:4]
    assert replies.missing == list(range(4, 12))
    assert "8 missing" in str(replies)


def test_answers_of_a_type(host):
    def answer(text):
        return '{"answer": 7}' if "prompt 1" in text else "seven"

    host.answer = answer
    found = session(host).map(TEXTS[:2], into=int, retries=1, progress=False)
    assert found.parsed == [None, 7]
    assert isinstance(found[0], errors.InvalidAnswer)
    assert found.usage.total_tokens == 45  # both tries of the first one are paid for
    assert list(found.to_pandas()["parsed"])[1] == 7


@pytest.mark.parametrize(
    ("prompts", "options", "says"),
    [
        ("one text", {}, "kimi.chat"),
        (7, {}, "list of texts"),
        ([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}], {}, "one conversation"),
        (["a", ""], {}, "Prompt 1: The prompt is empty"),
        (["a", None], {}, "Prompt 1"),
        (["a"], {"temperature": 9}, "temperature"),
        (["a"], {"concurrency": 0}, "concurrency"),
        (["a"], {"rpm": -1}, "rpm"),
        (["a"], {"max_cost": "much"}, "max_cost"),
        (["a"], {"into": object()}, "no JSON Schema|type"),
        ([{"text": "a"}], {}, "template"),
        ([{"text": "a"}], {"template": "Read {txt}."}, "Did you mean 'text'"),
        ([{"text": "a"}, {"text": None}], {"template": "Read {text}."}, "Row 1 has no value"),
        ([{"text": "a"}], {"template": "Answer {\"a\": 1}"}, "Braces"),
        ([{"text": "a"}], {"template": "No names."}, "names no column"),
        ([{"text": "a"}], {"template": "{text.__class__}"}, "no column"),
        ([{"text": "a"}], {"template": "{text:d}"}, "no format"),
        (pd.DataFrame({"a": [1], "b": [2]}), {}, "columns a, b"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), {"template": "{a}"}, "one name"),
    ],
)  # fmt: skip
def test_bad_input_is_refused_before_anything_is_sent(host, prompts, options, says):
    with pytest.raises(BadInput, match=says):
        session(host).map(prompts, progress=False, **options)
    assert host.requests == []


def test_nothing_to_ask_is_no_error(host):
    replies = session(host).map([], progress=False)
    assert (len(replies), replies.texts, replies.stop_reason) == (0, [], "done")
    assert len(session(host).map(pd.DataFrame({"prompt": []})).to_pandas()) == 0


def test_chat_points_to_map(host):
    with pytest.raises(BadInput, match=r"kimi\.map"):
        session(host).chat(["one", "two"])
    assert host.requests == []


def test_a_view_shows_the_first_and_stays_small(host):
    replies = session(host).map([f"p{n} <b>" for n in range(30)], progress=False)
    shown = replies._repr_html_()
    assert "n = 30" in shown
    assert "&lt;b&gt;" in shown
    assert "p11" not in shown
    assert "| 0 |" in replies.to_markdown()


@pytest.mark.parametrize("name", ["answer", "cost"])
def test_no_column_of_the_input_is_written_over(host, name):
    pandas = pytest.importorskip("pandas")
    columns = {"prompt": ["a"], name: ["mine"], f"reply_{name}": ["mine too"]}
    frame = session(host).map(pandas.DataFrame(columns), progress=False).to_pandas()
    assert frame.loc[0, [*columns]].to_list() == ["a", "mine", "mine too"]
    assert f"reply_reply_{name}" in frame.columns


@pytest.mark.parametrize("kind", ["float32", "float16", "Float32", "float[pyarrow]", 0])
def test_a_template_writes_a_short_float_as_it_is(host, kind):
    values = np.array([0.1, 1e-3], "float32" if kind in ("Float32", 0) else "float64")
    column = pd.Series(values, dtype=kind or "float32")
    given = [{"x": x} for x in values] if kind == 0 else pd.DataFrame({"x": column})
    found = session(host).map(given, template="{x} and {x:.2f}", progress=False)
    assert [reply.request["messages"][0]["content"] for reply in found] == [
        "0.1 and 0.10",
        "0.001 and 0.00",
    ]
