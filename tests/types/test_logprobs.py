"""Tokens with their probabilities: every shape of hosts, and the shaded answer."""

from __future__ import annotations

import math
from typing import Any

import pytest
from support.answers import DONE, chunk, text
from support.fault_server import FaultServer, plain, sse

from kimikit import Client, Kimi, NotSupported, Reply, local
from kimikit.types.logprobs import HOSTS, TOKENS_SHOWN, Token
from kimikit.wire.hosts import profiles

CONTENT = [
    {
        "token": "Hi",
        "logprob": -0.1,
        "bytes": [72, 105],
        "top_logprobs": [
            {"token": "Hi", "logprob": -0.1},
            {"token": "<b>", "logprob": -3.0},
        ],
    },
    {"token": "\ufffd", "logprob": -1.0, "bytes": [0xF0, 0x9F]},
    {"token": "\ufffd", "logprob": None, "bytes": [0x98, 0x80]},
    {"token": "!", "logprob": -9999.0, "top_logprobs": None},
]


def _reply(logprobs: Any) -> Reply:
    return Reply(host="vllm", raw={"choices": [{"logprobs": logprobs}]})


def test_tokens_with_their_alternatives() -> None:
    first, *_, last = tokens = _reply({"content": CONTENT}).logprobs
    assert first == Token("Hi", -0.1, (("Hi", -0.1), ("<b>", -3.0)), b"Hi")
    assert first.probability == pytest.approx(math.exp(-0.1))
    assert [token.probability for token in tokens[2:]] == [None, 0.0]
    assert last.alternatives == ()


def test_the_shape_of_completions() -> None:
    lists = {
        "tokens": ["a", "b", "c"],
        "token_logprobs": [None, -0.5],
        "top_logprobs": [None, {"b": -0.5, "B": -2}],
    }
    tokens = _reply(lists).logprobs
    assert [(token.text, token.logprob) for token in tokens] == [
        ("a", None),
        ("b", -0.5),
        ("c", None),
    ]
    assert tokens[1].alternatives == (("b", -0.5), ("B", -2.0))


@pytest.mark.parametrize(
    "odd",
    [None, 3, [], "x", {"content": 5}, {"content": [5, None]}, {"tokens": "abc"}, {}],
)
def test_what_is_no_logprobs_is_none(odd: Any) -> None:
    assert _reply(odd).logprobs == ()
    assert Reply(raw={"choices": odd}).logprobs == ()


def test_a_bare_number_beside_each_piece_is_that_tokens() -> None:
    def piece(word: str, value: float) -> Any:
        return {
            "choices": [{"delta": {"content": word}, "index": 0, "logprobs": value}]
        }

    with FaultServer() as server:
        server.play(sse(piece("A", -0.25), piece(" b", -1.5), chunk("stop"), DONE))
        with Client("together", base_url=server.url, api_key="k", model="m") as client:
            found = client.chat("q", logprobs=1).logprobs
    assert [(t.text, t.logprob) for t in found] == [("A", -0.25), (" b", -1.5)]


def test_the_shaded_answer_in_both_forms() -> None:
    heat = _reply({"content": CONTENT}).heat()
    rich, plain_ = heat._repr_html_(), repr(heat)
    assert plain_.startswith("Hi\U0001f600!\n")
    assert "\U0001f600</span>" in rich  # parts of a character are one
    assert "\ufffd" not in rich.split("<table")[0]
    assert "<b>'" not in rich
    assert "&#x27;&lt;b&gt;&#x27; 5%" in rich
    assert "'Hi' 90%, '<b>' 5%" in plain_
    assert "n = 4 tokens, perplexity" in plain_
    alphas = [float(part.split(")")[0]) for part in rich.split("rgba(230,159,0,")[1:]]
    assert alphas[0] < alphas[1] < alphas[2] == 0.55
    assert heat.perplexity > 1


def test_a_long_or_hostile_answer_is_bounded() -> None:
    top = [{"token": "x" * 9000, "logprob": -1.0}] * 90
    token = {
        "token": "<" * 50,
        "logprob": -1.0,
        "bytes": [255] * 9,
        "top_logprobs": top,
    }
    shown = _reply({"content": [token] * 5000}).heat()._repr_html_()
    assert shown.count("<span style") <= TOKENS_SHOWN
    assert len(shown) < 3_000_000


def test_who_gives_none_says_who_does() -> None:
    assert HOSTS.keys() <= profiles().keys()
    with FaultServer() as server:
        server.play(sse(*text("ok"), chunk("stop"), DONE))
        kimi = Kimi("novita", base_url=server.url, api_key="k", model="m")
        unasked, asked = kimi.chat("q"), kimi.chat("q", logprobs=True)
        server.play(plain({"choices": [{"message": {"content": "ok"}}]}))
        known = Kimi("vllm", base_url=server.url, model="m").chat("q")
    for reply in (unasked, asked):
        assert reply.logprobs == ()
        with pytest.raises(
            NotSupported, match=r"novita gave no.*together \(logprobs=5\)"
        ):
            reply.heat()
    with pytest.raises(NotSupported, match="Ask with logprobs=True, top_logprobs=5"):
        known.heat()


def test_the_local_host_gives_them(local_host: local.Running) -> None:
    kimi = Kimi("local", temperature=0, logprobs=True, top_logprobs=3)
    for stream in (True, False):
        reply = kimi.chat("What is the capital of Germany?", stream=stream)
        assert "".join(token.text for token in reply.logprobs) == reply.text
        assert all(len(token.alternatives) == 3 for token in reply.logprobs)
