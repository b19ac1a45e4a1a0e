"""What only some hosts have: asked for in the words of each, refused by name elsewhere."""

from typing import Any

import pytest
from support.answers import DONE, chunk, text
from support.both import Both
from support.fault_server import FaultServer, plain, sse

from kimikit import errors, local
from kimikit.wire import Client
from kimikit.wire.hosts import profiles

GOOD = sse(*text("ok"), chunk("stop"), DONE)


def _whole(content: str, **more: Any) -> bytes:
    message = {"role": "assistant", "content": content, **more}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return plain({"id": "x", "model": "m", "choices": [choice]})


@pytest.mark.parametrize(
    ("host", "message", "beside"),
    [
        ("moonshot", {"partial": True}, {}),
        (
            "vllm",
            {},
            {"continue_final_message": True, "add_generation_prompt": False},
        ),
        ("sglang", {}, {"continue_final_message": True}),
        ("together", {}, {}),
        ("openrouter", {}, {}),
        ("llamacpp", {}, {}),
        ("groq", {}, {}),
    ],
)
@pytest.mark.parametrize("stream", [True, False])
def test_a_prefill_in_each_hosts_words(
    host: str, message: Any, beside: Any, stream: bool, server: FaultServer, both: Both
) -> None:
    server.play(
        sse(*text("is ", "new"), chunk("stop"), DONE) if stream else _whole("is new")
    )
    reply = both.chat(server.url, prefill="All ", stream=stream, client={"host": host})
    assert reply.text == "All is new"
    sent = server.requests[-1].json
    want = {"role": "assistant", "content": "All ", **message}
    assert sent["messages"] == [{"role": "user", "content": "hi"}, want]
    assert "prefill" not in sent
    assert beside.items() <= sent.items()
    assert reply.message == {"role": "assistant", "content": "All is new"}


def test_the_steps_hold_the_prefill_once(server: FaultServer) -> None:
    first = {"choices": [{"index": 0, "delta": {"role": "assistant"}}], "id": "x"}
    server.play(sse(first, *text(" is", " new"), chunk("stop"), DONE))
    with Client("openrouter", base_url=server.url, api_key="k", model="m") as client:
        stream = client.stream("hi", prefill="All")
        steps = [delta.text for delta in stream]
    assert "".join(steps) == "All is new" == stream.reply.text
    assert stream.reply.usage.completion_tokens < 4  # the estimate leaves it out


def test_llamacpp_repeats_it_in_one_piece_alone(server: FaultServer) -> None:
    server.play(_whole("All is new"))
    server.play(sse(*text("All", " is new"), chunk("stop"), DONE))
    with Client("llamacpp", base_url=server.url, model="m") as client:
        assert client.chat("hi", prefill="All", stream=False).text == "All is new"
        # What a stream says again, the model itself has said again.
        assert client.chat("hi", prefill="All").text == "AllAll is new"


def test_an_answer_of_nothing_but_the_prefill_says_so(server: FaultServer) -> None:
    server.play(sse(chunk("stop"), DONE))
    with Client("vllm", base_url=server.url, model="m") as client:
        reply = client.chat("hi", prefill="All")
    assert reply.text == "All"
    assert "The host finished with nothing in the answer." in reply.notes


def test_n_answers_each_begin_with_it(server: FaultServer) -> None:
    both = [
        {"id": "x", "choices": [{"index": i, "delta": {"content": f" {i}"}}]}
        for i in (0, 1)
    ]
    ends = [
        {"choices": [{"index": i, "delta": {}, "finish_reason": "stop"}]}
        for i in (0, 1)
    ]
    server.play(sse(*both, *ends, DONE))
    with Client("vllm", base_url=server.url, model="m") as client:
        reply = client.chat("hi", prefill="No.", n=2)
    assert [reply.text, reply.alternatives[0].text] == ["No. 0", "No. 1"]


@pytest.mark.parametrize(
    ("host", "params", "words"),
    [
        (
            "novita",
            {},
            r"Novita AI is not known for prefill=\. Hosts that take it: together, m",
        ),
        (None, {}, r"Kimi\(host, base_url=\.\.\.\)"),
        (
            "moonshot",
            {"response_format": {"type": "json_object"}},
            "prefill with response_format",
        ),
        ("vllm", {"prefill": 3}, "prefill is 3. Pass text"),
    ],
)
def test_no_prefill_is_sent_where_it_does_not_fit(
    host: Any, params: Any, words: str, server: FaultServer
) -> None:
    with (
        Client(host, base_url=server.url, api_key="k", model="m") as client,
        pytest.raises(errors.KimiError, match=words),
    ):
        client.chat("hi", **{"prefill": "All", **params})
    assert server.requests == []


def test_no_prefill_after_an_answer(server: FaultServer) -> None:
    talk = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yo"}]
    with (
        Client("vllm", base_url=server.url, model="m") as client,
        pytest.raises(errors.BadInput, match="end with one of the assistant"),
    ):
        client.chat(talk, prefill="All")


@pytest.mark.parametrize("stream", [True, False])
def test_the_local_model_goes_on_from_a_prefill(
    stream: bool, local_host: local.Running
) -> None:
    known = {"base_url": local_host.base_url, "api_key": local_host.api_key}
    with Client("local", model=local_host.model, temperature=0, **known) as client:
        asked = "What is the capital of Germany?"
        reply = client.chat(asked, prefill="The capital of Germany is", stream=stream)
    assert reply.text == "The capital of Germany is Berlin."


@pytest.mark.parametrize("host", ["moonshot", "moonshot-cn"])
def test_a_lifetime_of_the_cache_in_moonshots_words(
    host: str, server: FaultServer
) -> None:
    usage = {"prompt_tokens": 1000, "completion_tokens": 1, "cache_write_tokens": 900}
    server.play(sse(*text("ok"), chunk("stop"), {"choices": [], "usage": usage}, DONE))
    with Client(host, base_url=server.url, api_key="k", model="kimi-k3") as client:
        reply = client.chat("hi", cache_ttl="1h")
    sent = server.requests[-1].json
    assert sent["prompt_cache_options"] == {"ttl": "1h"}
    assert "cache_ttl" not in sent
    assert reply.usage.cache_write_1h_tokens == 900
    assert "900 cache write, 900 of it for 1 h" in str(reply.usage)


@pytest.mark.parametrize(
    ("host", "model", "params", "words"),
    [
        ("together", "moonshotai/Kimi-K3", {"cache_ttl": "1h"}, "Together AI is not known for cache_ttl"),
        (None, "m", {"cache_ttl": "5m"}, "Hosts that take it: moonshot"),
        ("moonshot", "kimi-k2.6", {"cache_ttl": "1h"}, "kimi-k2.6 is not known for"),
        ("moonshot", "kimi-k3", {"cache_ttl": "2h"}, "Use '5m' or '1h'"),
        ("moonshot", "kimi-k3", {"cache_ttl": 3600}, "Use '5m' or '1h'"),
        ("moonshot", "kimi-k3",
         {"cache_ttl": "1h", "extra_body": {"prompt_cache_options": {"ttl": "5m"}}}, "both given"),
    ],
)  # fmt: skip
def test_no_lifetime_is_sent_where_it_does_not_fit(
    host: Any, model: str, params: Any, words: str, server: FaultServer
) -> None:
    with (
        Client(host, base_url=server.url, api_key="k", model=model) as client,
        pytest.raises(errors.KimiError, match=words),
    ):
        client.chat("hi", **params)
    assert server.requests == []


def test_every_feature_of_a_host_has_its_source() -> None:
    for name, host in profiles().items():
        assert host.features.keys() == host.feature_sources.keys(), name
