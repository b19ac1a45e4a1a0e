"""What a host sends beside text is kept, halves are mended, figures are bounded."""

import json
import sqlite3
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.answers import DONE, TOOL, call, calls, chunk, text
from support.both import Both
from support.fault_server import FaultServer, plain, sse

from kimikit import Kimi
from kimikit.wire.coerce import MOST, as_count, as_decimal, mend, read_json
from kimikit.wire.extras import Extras
from kimikit.wire.usage import read_usage

STOP = (chunk("stop"), DONE)
DIGITS = "9" * 5000


# Fields beside the text.

FIELDS: dict[str, tuple[list[dict[str, Any]], str, Any]] = {
    "a refusal in pieces": (
        [{"refusal": "I cannot "}, {"refusal": "help."}], "refusal", "I cannot help.",
    ),
    "citations": (
        [{"content": "Paris"}, {"annotations": [{"url": "https://a"}]},
         {"annotations": [{"url": "https://b"}]}],
        "annotations", [{"url": "https://a"}, {"url": "https://b"}],
    ),
    "pictures": (
        [{"content": "Here"}, {"images": [{"image_url": {"url": "data:x"}}]}],
        "images", [{"image_url": {"url": "data:x"}}],
    ),
    "sound in pieces": (
        [{"audio": {"id": "a", "data": "AA"}}, {"audio": {"id": "a", "data": "BB"}},
         {"audio": {"transcript": "Hello"}}],
        "audio", {"id": "a", "data": "AABB", "transcript": "Hello"},
    ),
    "reasoning with its signature": (
        [{"reasoning_details": [{"index": 0, "type": "t", "text": "Hm"}]},
         {"reasoning_details": [{"index": 0, "type": "t", "text": "m."}]},
         {"reasoning_details": [{"index": 0, "type": "t", "signature": "s"}]}],
        "reasoning_details",
        [{"index": 0, "type": "t", "text": "Hmm.", "signature": "s"}],
    ),
    "a field of no known name": (
        [{"content": "a"}, {"thoughts_v2": "deep "}, {"content": "b", "thoughts_v2": "x"}],
        "thoughts_v2", "deep x",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FIELDS)
def test_each_field_of_a_stream_is_in_raw(
    name: str, server: FaultServer, both: Both
) -> None:
    deltas, field, want = FIELDS[name]
    first = chunk(role="assistant")
    server.play(sse(first, *(chunk(**delta) for delta in deltas), *STOP))
    reply = both.chat(server.url)
    assert reply.raw["choices"][0]["message"][field] == want
    assert reply.text == "".join(d.get("content", "") for d in deltas)
    noted = [note for note in reply.notes if "not known here" in note]
    assert len(noted) == (field == "thoughts_v2")
    assert not noted or noted[0].endswith("in .raw: thoughts_v2.")


def test_a_refusal_is_noted(server: FaultServer, both: Both) -> None:
    server.play(sse(*(chunk(refusal=piece) for piece in ("I ", "will not")), *STOP))
    assert "The model refused: I will not" in both.chat(server.url).notes


def test_fields_beside_the_message_are_kept(server: FaultServer, both: Both) -> None:
    odd = chunk("stop")
    odd["choices"][0] |= {"stop_reason": 163586, "native_finish_reason": "eos"}
    server.play(sse(*text("a"), odd, DONE))
    choice = both.chat(server.url).raw["choices"][0]
    assert (choice["stop_reason"], choice["native_finish_reason"]) == (163586, "eos")


def test_logprobs_in_the_shape_of_completions(server: FaultServer, both: Both) -> None:
    pieces = [
        {"tokens": [t], "token_logprobs": [p]} for t, p in (("A", -0.1), ("B", -0.2))
    ]
    lines = [{"choices": [{"text": p["tokens"][0], "logprobs": p}]} for p in pieces]
    server.play(sse(*lines, DONE))
    reply = both.call(server.url, "complete", "q", logprobs=1)
    assert reply.raw["choices"][0]["logprobs"] == {
        "tokens": ["A", "B"],
        "token_logprobs": [-0.1, -0.2],
    }


def test_a_list_of_sources_that_grows(server: FaultServer, both: Both) -> None:
    grown = [{**chunk(content="a"), "citations": ["u"] * n} for n in (0, 1, 2)]
    finish = {**chunk("stop"), "citations": ["u", "u", "v"]}
    server.play(sse(*grown, finish, DONE))
    assert both.chat(server.url).raw["citations"] == ["u", "u", "v"]


def test_many_pieces_cost_their_length() -> None:
    """Texts are joined once, at the end."""
    extras = Extras()
    for _ in range(200_000):
        extras.add({"x": "piece "})
    assert len(extras.merged()["x"]) == 1_200_000
    names = {f"n{i}{'y' * 99}": 1 for i in range(1000)}
    extras.add(names)
    assert len(extras.unknown()) < 300


def test_an_error_inside_a_chunk_of_text_is_seen(
    server: FaultServer, both: Both
) -> None:
    broken = chunk(content="b")
    broken["choices"][0]["error"] = {"message": "Upstream died", "code": 502}
    server.play(sse(*text("a"), *text("a"), broken))
    with pytest.raises(Exception, match="Upstream died"):
        both.chat(server.url)


# Halves of characters.


@pytest.mark.parametrize(
    "arguments",
    ['{"text": "a \\ud83d b"}', '{"\\udc00": 1}', '{"text": "\\ud83d\\ude00"}'],
)
def test_half_a_character_in_arguments_costs_no_answer(
    arguments: str, server: FaultServer, tmp_path: Path
) -> None:
    def echo(text: str) -> str:
        """Echo."""
        return text

    server.play(sse(calls(call(0, "c1", "echo", arguments)), *STOP))
    server.play(sse(*text("ok"), *STOP))
    path = tmp_path / "l.sqlite3"
    kimi = Kimi(base_url=server.url, api_key="k", model="m", show=False, ledger=path)
    assert kimi.run("q", [echo], show=False).text == "ok"
    asked = server.requests[1].json["messages"][1]["tool_calls"][0]
    json.dumps(json.loads(asked["function"]["arguments"]), ensure_ascii=False).encode()
    kimi.close()
    with sqlite3.connect(path) as db:
        states = db.execute("SELECT state FROM calls").fetchall()
    db.close()
    assert states == [("complete",), ("complete",)]


@pytest.mark.parametrize("where", ["prompt", "system", "result", "name"])
def test_half_a_character_that_is_sent_is_replaced(
    where: str, server: FaultServer, both: Both
) -> None:
    bad = "a \ud83d b"
    asked = {
        "role": "assistant",
        "content": "",
        "tool_calls": [call(0, "c", "f", "{}")],
    }
    talk = {
        "prompt": bad,
        "system": "q",
        "result": ["q", asked, {"role": "tool", "tool_call_id": "c", "content": bad}],
        "name": [{"role": "user", "content": "q", "name": bad}],
    }[where]
    server.play(sse(*text("ok"), *STOP))
    system = {"system": bad} if where == "system" else {}
    assert both.chat(server.url, talk, **system).text == "ok"
    assert "a \ufffd b" in json.dumps(server.requests[0].json, ensure_ascii=False)


@pytest.mark.parametrize("place", ["id", "model", "usage", "logprobs", "x"])
def test_half_a_character_elsewhere_costs_no_row(
    place: str, server: FaultServer, both: Both
) -> None:
    first: dict[str, Any] = {"choices": [{"delta": {"content": "a"}}]}
    if place == "logprobs":
        first["choices"][0]["logprobs"] = {"content": [{"token": "?"}]}
    else:
        first[place] = {"prompt_tokens": 1, "note": "?"} if place == "usage" else "?"
    data = json.dumps(first).replace("?", "\\ud83d")
    server.play(sse(f"data: {data}\n\n", *STOP))
    reply = both.chat(server.url)
    assert reply.text == "a"
    json.dumps(reply.raw, ensure_ascii=False).encode()


@given(st.recursive(
    st.text() | st.integers() | st.characters(categories=["Cs"]),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
))  # fmt: skip
def test_what_is_mended_can_be_encoded(value: Any) -> None:
    import msgspec

    msgspec.json.encode(mend(value))


# Figures.


@pytest.mark.parametrize(
    ("said", "want"),
    [
        (5, 5), ("5", 5), (5.9, 5), (" 7 ", 7), (True, None), (None, None), (-1, None),
        (MOST, MOST), (MOST + 1, None), (2**70, None), (1e308, None),
        (float("inf"), None), (float("nan"), None), (DIGITS, None), ("\u00b2", None),
        ("\u0665", None), ("1_000", None), ("1e3", 1000), ([1], None), ({}, None),
    ],
)  # fmt: skip
def test_the_reader_of_counts(said: Any, want: int | None) -> None:
    assert as_count(said) == want


@given(st.one_of(st.integers(), st.floats(), st.text(), st.booleans(), st.none()))
def test_no_figure_breaks_the_reader(said: Any) -> None:
    found = as_decimal(said)
    assert found is None or (found.is_finite() and 0 <= found <= MOST)
    count = as_count(said)
    assert count is None or 0 <= count <= MOST


@pytest.mark.parametrize(
    "prompt", [2**63, 2**70, 1e300, DIGITS, 10**13, "99999999999999999999"]
)
def test_a_usage_that_cannot_be_right_is_unknown_and_estimated(
    prompt: Any, server: FaultServer, both: Both
) -> None:
    used = {"prompt_tokens": prompt, "completion_tokens": 5}
    data = json.dumps({**chunk("stop"), "usage": used})
    data = data.replace(f'"{DIGITS}"', DIGITS)  # as a number, too long for Python
    server.play(sse(*text("four"), f"data: {data}\n\n", DONE))
    reply = both.chat(server.url)
    assert reply.text == "four"
    assert reply.usage.estimated
    assert reply.usage.completion_tokens == 2


@pytest.mark.parametrize("cost", [1e30, "1e999999", "1e-999999", "-1", 1e-13])
def test_a_cost_that_cannot_be_right_is_unknown(cost: Any) -> None:
    usage = read_usage({"prompt_tokens": 5, "completion_tokens": 5, "cost": cost})
    assert usage is not None
    assert usage.cost_usd is None


def test_a_number_too_long_to_be_written_is_no_figure() -> None:
    assert as_count(10**5000) is None
    assert as_decimal(10**5000) is None
    assert read_usage({"prompt_tokens": 10**5000}) is None


TIMINGS = {"cache_n": 30, "prompt_n": 12, "prompt_ms": 3.5, "predicted_n": 7}
OWN: dict[str, tuple[Any, Any]] = {
    "llama.cpp": ({"timings": TIMINGS}, (42, 7, 30)),
    "llama.cpp, nothing cached": (
        {"timings": {"prompt_n": 12, "predicted_n": 7}}, (12, 7, 0),
    ),
    "llama.cpp beside usage": (
        {"timings": TIMINGS, "usage": {"prompt_tokens": 50, "completion_tokens": 8}},
        (50, 8, 0),
    ),
    "beside a usage of nothing": (
        {"timings": TIMINGS, "usage": {"prompt_tokens": 0, "completion_tokens": 0}},
        (42, 7, 30),
    ),
    "llama.cpp's own words": (
        {"tokens_evaluated": 42, "tokens_predicted": 7}, (42, 7, 0),
    ),
    "Ollama": ({"prompt_eval_count": 26, "eval_count": 9}, (26, 9, 0)),
    "Cohere": (
        {"meta": {"billed_units": {"input_tokens": 26, "output_tokens": 9}}}, (26, 9, 0),
    ),
    "Bedrock": (
        {"usage": {"inputTokens": 20, "outputTokens": 9, "totalTokens": 35,
                   "cacheReadInputTokens": 6}},
        (26, 9, 6),
    ),
    "Bedrock's metrics": (
        {"amazon-bedrock-invocationMetrics":
         {"inputTokenCount": 20, "outputTokenCount": 9, "invocationLatency": 1}},
        (20, 9, 0),
    ),
    "an SDK's names": (
        {"usage": {"promptTokens": 20, "completionTokens": 9,
                   "promptTokensDetails": {"cachedTokens": 5}}},
        (20, 9, 5),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", OWN)
@pytest.mark.parametrize("streamed", [True, False])
def test_usage_under_a_hosts_own_names(
    name: str, streamed: bool, server: FaultServer, both: Both
) -> None:
    told, want = OWN[name]
    if streamed:
        server.play(sse(chunk(content="a"), {**chunk("stop"), **told}, DONE))
    else:
        choice = {"message": {"content": "a"}, "finish_reason": "stop"}
        server.play(plain({"choices": [choice], **told}))
    usage = both.chat(server.url).usage
    found = (usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens)
    assert found == want
    assert not usage.estimated


@pytest.mark.parametrize(
    "told",
    [
        {"timings": {"prompt_n": -1, "predicted_n": 2**80}},
        {"timings": {"prompt_n": DIGITS, "predicted_n": "many", "cache_n": []}},
        {"timings": [1, 2], "prompt_eval_count": None, "eval_count": {"a": 1}},
        {"timings": TIMINGS, "usage": {"prompt_tokens": 10**18}},
        {"meta": {"billed_units": [3]}, "tokens_evaluated": True},
    ],
)
def test_what_is_no_count_stays_an_estimate(
    told: Any, server: FaultServer, both: Both
) -> None:
    server.play(sse(chunk(content="a"), {**chunk("stop"), **told}, DONE))
    assert both.chat(server.url).usage.estimated


def test_a_cost_of_nothing_is_known() -> None:
    usage = read_usage({"prompt_tokens": 5, "cost": 0})
    assert usage is not None
    assert usage.cost_usd == Decimal(0)


def test_five_thousand_digits_cost_no_chunk(server: FaultServer, both: Both) -> None:
    data = '{"x":' + DIGITS + ',"choices":[{"delta":{"content":"a"}}]}'
    server.play(sse(f"data: {data}\n\n", *STOP))
    assert both.chat(server.url).text == "a"
    assert read_json(DIGITS) > 10**399


@pytest.mark.parametrize("index", [DIGITS, 2**80, -1, "\u00b2", 1.5, None])
def test_an_odd_index_of_a_call(index: Any, server: FaultServer, both: Both) -> None:
    server.play(sse(calls(call(index, "a", "get_weather", "{}")), *STOP))
    reply = both.chat(server.url, tools=[TOOL])
    assert [c.name for c in reply.tool_calls] == ["get_weather"]


def test_words_of_a_host_are_cut(server: FaultServer, both: Both) -> None:
    long = "x" * 10**6
    server.play(sse({**chunk(content="a"), "id": long, "model": long}, chunk(long)))
    reply = both.chat(server.url)
    assert max(len(reply.id), len(reply.model), len(reply.finish_reason)) == 200


ODD_FIGURES: dict[str, tuple[str, tuple[Any, ...], Any]] = {
    "a place below 0": (
        "rerank", ("q", ["a"]), {"results": [{"index": -1, "relevance_score": 1}]},
    ),
    "a score that is no number": (
        "rerank", ("q", ["a"]), {"results": [{"index": 0, "relevance_score": "nan"}]},
    ),
    "a vector of text": ("embed", ("x",), {"data": [{"index": 0, "embedding": "x"}]}),
    "no vector": ("embed", ("x",), {"data": [{"index": 0, "embedding": None}]}),
    "a picture that is a number": ("image", ("x",), {"data": [{"b64_json": 5}]}),
}  # fmt: skip


@pytest.mark.parametrize("name", ODD_FIGURES)
def test_odd_figures_of_other_endpoints(
    name: str, server: FaultServer, both: Both
) -> None:
    endpoint, args, body = ODD_FIGURES[name]
    server.play(plain(body))
    with pytest.raises(Exception, match="sent no answer"):
        both.call(server.url, endpoint, *args, model="m", client={"max_retries": 0})


def test_vectors_packed_as_base64(server: FaultServer, both: Both) -> None:
    server.play(plain({"data": [{"index": 0, "embedding": "AACAPwAAAEA="}]}))
    assert both.call(server.url, "embed", "x", model="m").vectors == [[1.0, 2.0]]


WINDOWS = {
    "llama.cpp": {"meta": {"n_ctx": 2048, "n_ctx_train": 8192}},
    "LiteLLM": {"max_input_tokens": 2048},
    "LiteLLM, inside": {"model_info": {"max_input_tokens": 2048}},
    "OpenRouter": {"top_provider": {"context_length": 2048}},
    "text": {"context_length": "2048"},
    "odd first": {"context_length": 1e400, "max_model_len": 2048},
    "bool": {"context_length": True, "max_model_len": 2048},
}


@pytest.mark.parametrize("name", WINDOWS)
def test_windows_by_any_name(name: str, server: FaultServer, both: Both) -> None:
    server.play(plain({"data": [{"id": "a", **WINDOWS[name]}]}))
    assert both.call(server.url, "models").context("a") == 2048


def test_a_model_with_its_revision_is_the_model(
    server: FaultServer, both: Both
) -> None:
    """``transformers serve`` lists and answers as NAME@main."""
    server.play(plain({"data": [{"id": "x/kimi@main", "max_model_len": 99}]}))
    assert both.call(server.url, "models").context("x/kimi") == 99
    server.scripts[0] = (sse({**chunk("stop", content="a"), "model": "x/kimi@main"}),)
    reply = both.chat(server.url, model="x/kimi")
    assert not [note for note in reply.notes if "answered, not" in note]
