"""What is sent is JSON of Python's own types, whatever a notebook's values are."""

import enum
import json
from decimal import Decimal

import httpx
import numpy as np
import pytest

from kimikit import Kimi
from kimikit.errors import BadInput, RateLimited


class Model(str, enum.Enum):  # noqa: UP042 - what users write
    K2 = "k2"


class Host(str, enum.Enum):  # noqa: UP042 - what users write
    TOGETHER = "together"


@pytest.fixture
def sent():
    return []


@pytest.fixture
def make(tmp_path, sent):
    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(json.loads(request.content))
        message = {"role": "assistant", "content": "ok"}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        usage = {"prompt_tokens": 5, "completion_tokens": 5}
        return httpx.Response(200, json={"choices": [choice], "usage": usage})

    def kimi(host="mine", **options):
        given = {"base_url": "http://own.test/v1", "api_key": "k", "show": False}
        given |= {"transport": httpx.MockTransport(answer), **options}
        return Kimi(host, ledger=tmp_path / "ledger.sqlite3", **given)

    return kimi


def test_parameters_and_defaults_go_out_as_the_shortest_json(make, sent):
    kimi = make(model=Model.K2, top_p=np.float32(0.9))
    kimi.chat("q", min_p=Decimal("0.05"), temperature=np.float32(0.7),
              max_tokens=np.int64(5), stop=np.array(["a"]),
              logit_bias={1: np.float32(0.1)})  # fmt: skip
    said = {name: sent[0][name] for name in sent[0].keys() - {"messages", "stream"}}
    del said["stream_options"]
    assert said == {
        "model": "k2", "top_p": 0.9, "min_p": 0.05, "temperature": 0.7, "max_tokens": 5,
        "stop": ["a"], "logit_bias": {"1": 0.1},
    }  # fmt: skip


def test_verbs_that_ask_often_take_the_same(make, sent):
    kimi = make(model="m", max_tokens=np.int64(9))
    kimi.map(["a", "b"], temperature=np.float32(0.7), concurrency=np.int64(2))
    sweep = kimi.sweep("q", temperature=[0], repeats=np.int64(3), name="three")
    assert {body["max_tokens"] for body in sent} == {9}
    assert [body["temperature"] for body in sent] == [0.7] * 2 + [0] * 3
    assert len(sweep) == 3
    assert len(kimi.ledger.calls(np.int64(2))) == 2


@pytest.mark.parametrize("repeats", [np.bool_(True), np.float64(3), np.int64(0)])
def test_what_is_no_count_is_none_of_numpys_either(make, sent, repeats):
    with pytest.raises(BadInput, match="repeats is"):
        make().sweep("q", repeats=repeats)
    assert sent == []


@pytest.mark.parametrize("value", [float("nan"), {1}, b"x", object()])
def test_what_is_no_json_is_refused_by_name_before_it_is_sent(make, sent, value):
    with pytest.raises(BadInput, match="min_p"):
        make(model="m").chat("q", min_p=value)
    with pytest.raises(BadInput, match="min_p"):
        make(model="m", min_p=value)
    assert sent == []


def test_an_enumerations_model_is_its_value_everywhere(make, sent):
    kimi = make(model="m")
    kimi.set_price(input=1, output=1, model=Model.K2)
    assert kimi.chat("q", model=Model.K2).cost == Decimal("0.00001")
    kimi.sweep("q", model=[Model.K2], repeats=1, progress=False)
    kimi.sweep("q", model=Model.K2, repeats=1, progress=False)
    assert [body["model"] for body in sent] == ["k2"] * 3
    assert {call.model for call in kimi.ledger.calls()} == {"k2"}
    assert kimi.ledger.total().unpriced == 0
    assert "Model." not in repr(kimi.ledger)


def test_an_enumerations_host_is_its_value_too(make):
    kimi = make(Host.TOGETHER, base_url=None, model=Model.K2)
    assert (kimi.host.name, kimi.host.model) == ("together", "k2")
    assert type(kimi.host.model) is str


def test_the_words_of_a_refusal_that_a_transport_had_read_are_told(make):
    asked = []

    def refuse(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        words = "organization TPD rate limit, current: 15, limit: 15"
        return httpx.Response(429, json={"error": {"message": words}})

    kimi = make(model="m", transport=httpx.MockTransport(refuse))
    with pytest.raises(RateLimited, match="TPD rate limit"):
        kimi.chat("q")
    assert len(asked) == 1, "what is used up for today is not asked for again"
