"""The endpoints beyond chat: what is sent, what comes back, what it looks like."""

import base64
import inspect
import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from support.answers import DONE, chunk
from support.both import KEY, Both, Seen
from support.fault_server import CLOSE, FaultServer, Pause, head, plain, sse
from support.fault_server import chunk as http_chunk

from kimikit import errors
from kimikit.types import Host, Reply
from kimikit.wire import AsyncClient, Client, hosts
from kimikit.wire.endpoints import packed
from kimikit.wire.results import Embeddings, Picture

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAA"
    "BJRU5ErkJggg=="
)
PACKED, PACKED_TOO = packed([0.25, 2.0]), packed([0.5, 1.0])
VECTORS = {
    "object": "list",
    "model": "e",
    "data": [
        {"index": 1, "embedding": [0.5, 1.0]},
        {"index": 0, "embedding": [0.25, 2.0]},
    ],
    "usage": {"prompt_tokens": 4, "total_tokens": 4},
}


def test_embed(server: FaultServer, both: Both) -> None:
    server.play(plain(VECTORS))
    seen = Seen()
    made = both.call(
        server.url, "embed", ["a", "b"], model="e", client={"observers": [seen]}
    )
    assert list(made) == [[0.25, 2.0], [0.5, 1.0]]
    assert (len(made), made[1]) == (2, [0.5, 1.0])
    request = server.requests[0]
    assert (request.method, request.path) == ("POST", "/v1/embeddings")
    assert request.json == {"input": ["a", "b"], "model": "e"}
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert made.reply.usage.prompt_tokens == 4
    assert "2 vectors of 2 numbers" in repr(made)
    assert seen.opened_[0].endpoint == "embed"
    assert seen.closed_ == [(made.reply, None)]
    assert "data" not in made.reply.raw


def test_embed_one_text(server: FaultServer, both: Both) -> None:
    server.play(plain({**VECTORS, "data": VECTORS["data"][1:]}))
    assert both.call(server.url, "embed", "a", model="e", dimensions=2)[0] == [
        0.25,
        2.0,
    ]
    assert server.requests[0].json["dimensions"] == 2


def test_rerank(server: FaultServer, both: Both) -> None:
    results = [
        {"index": 0, "relevance_score": 0.1},
        {"index": 2, "relevance_score": 0.9},
    ]
    server.play(plain({"model": "r", "results": results}))
    made = both.call(server.url, "rerank", "q", ["x", "<y>", "z"], top_n=2, model="r")
    assert [(r.index, r.text) for r in made] == [(2, "z"), (0, "x")]
    assert (len(made), made[0].score) == (2, 0.9)
    assert server.requests[0].path == "/v1/rerank"
    assert server.requests[0].json["top_n"] == 2
    assert "0.900" in repr(made)
    assert "<table>" in made._repr_html_()


@pytest.mark.parametrize(
    "answer",
    [
        {"data": [{"index": 1, "relevance_score": 0.9}, {"index": 0, "score": 0}]},
        {"results": [{"index": 0, "score": 0.1}, {"index": 1, "score": 0.9}]},
        [{"index": 1, "score": 0.9}, {"index": 0, "score": 0.1}],
    ],
)
def test_rankings_of_voyage_and_tei(
    answer: Any, server: FaultServer, both: Both
) -> None:
    server.play(plain(answer))
    made = both.call(server.url, "rerank", "q", ["x", "y"], model="r")
    assert [(r.index, r.text) for r in made] == [(1, "y"), (0, "x")]
    assert made[0].score == 0.9


@pytest.mark.parametrize(
    "answer",
    [
        [[0.25, 2.0], [0.5, 1.0]],
        VECTORS["data"],
        {"data": [{"embedding": [0.25, 2.0]}, {"index": 1, "embedding": [0.5, 1.0]}]},
        {"data": [{"index": "1", "embedding": [0.5, 1]}, {"index": "0", "embedding": [0.25, 2]}]},
        {"data": None, "embeddings": [[0.25, 2.0], [0.5, 1.0]]},
        {"model": "e", "embeddings": [[0.25, 2.0], [0.5, 1.0]], "prompt_eval_count": 4},
        {"embeddings": {"float": [[0.25, 2.0], [0.5, 1.0]]}, "texts": ["a", "b"]},
        {"embeddings": {"base64": [PACKED, PACKED_TOO]}},
        {"embeddings": [{"embedding": [0.25, 2.0]}, {"embedding": [0.5, 1.0]}]},
        [
            {"index": 1, "embedding": [[0.5, 1.0]]},
            {"index": 0, "embedding": [[0.25, 2]]},
        ],
    ],
)  # fmt: skip
def test_vectors_in_the_forms_of_other_hosts(
    answer: Any, server: FaultServer, both: Both
) -> None:
    server.play(plain(answer))
    made = both.call(server.url, "embed", ["a", "b"], model="e")
    assert list(made) == [[0.25, 2.0], [0.5, 1.0]]
    assert "cut off" not in repr(made)
    assert "embedding" not in str(made.reply.raw)
    if "prompt_eval_count" in answer:
        assert made.reply.usage.prompt_tokens == 4


def test_the_vector_of_one_text_alone(server: FaultServer, both: Both) -> None:
    server.play(plain({"embedding": [0.25, 2.0]}))
    assert list(both.call(server.url, "embed", "a", model="e")) == [[0.25, 2.0]]


@pytest.mark.parametrize(
    "answer",
    [
        {"embeddings": []}, {"embeddings": {}}, {"embeddings": {"float": 3}},
        {"embeddings": "ab"}, {"embeddings": [[0.5], [0.5]]}, {"embeddings": [[[]]]},
        {"embeddings": [[1e999]]}, {"embeddings": [None]}, {"embedding": None},
        {"embeddings": [[["a"]]]}, {"embeddings": {"int8": [[1]]}},
    ],
)  # fmt: skip
def test_what_holds_no_vector_is_no_answer(
    answer: Any, server: FaultServer, both: Both
) -> None:
    server.play(plain(answer))
    with pytest.raises(errors.HostError):
        both.call(server.url, "embed", "a", model="e")


@pytest.mark.parametrize("form", ["path", "bytes", "url"])
def test_vision(form: str, server: FaultServer, both: Both, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(PNG)
    image = {"path": path, "bytes": PNG, "url": "https://example.org/a.png"}[form]
    said = "A pixel."
    server.play(sse(chunk(content=said), chunk("stop"), DONE))
    reply = both.chat(server.url, "Describe what you see.", image=image)
    assert reply.text == said
    text, picture = server.requests[0].json["messages"][0]["content"]
    assert text == {"type": "text", "text": "Describe what you see."}
    data = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"
    assert picture["image_url"]["url"] == (image if form == "url" else data)


@pytest.mark.parametrize("field", ["url", "b64_json"])
@pytest.mark.parametrize("kind", ["image/png", "IMAGE/PNG;charset=x", ""])
def test_image_as_data_url(field: str, kind: str, server, both: Both) -> None:
    """As test servers and proxies in front of other makers' models send it."""
    text = base64.b64encode(PNG).decode().replace("=", "%3D" if kind else "=")
    server.play(plain({"data": [{field: f"data:{kind};base64,{text}\n"}]}))
    made = both.call(server.url, "image", "a cat", model="i")
    assert (made.data, made.media_type, made.url) == (PNG, "image/png", "")


def test_image_as_base64(server: FaultServer, both: Both, tmp_path: Path) -> None:
    data = base64.b64encode(PNG).decode()
    server.play(plain({"model": "i", "data": [{"b64_json": data}, {"b64_json": data}]}))
    made = both.call(
        server.url,
        "image",
        "a cat",
        model="i",
        width=8,
        height=8,
        steps=2,
        n=2,
        image=PNG,
    )
    assert (made.data, made.media_type, len(made.others)) == (PNG, "image/png", 1)
    sent = server.requests[0].json
    assert (sent["prompt"], sent["width"], sent["n"]) == ("a cat", 8, 2)
    assert sent["image_url"].startswith("data:image/png;base64,")
    assert f"data:image/png;base64,{data}" in made._repr_html_()
    assert made.save(tmp_path / "a.png").read_bytes() == PNG
    assert "image/png" in repr(made)


def test_image_as_url_is_fetched_without_the_key(
    server: FaultServer, both: Both
) -> None:
    url = server.url.replace("/v1", "/made.png")
    server.play(plain({"data": [{"url": url}]}))
    server.play(plain(PNG, kind="image/png"))
    made = both.call(server.url, "image", "a cat", model="i")
    assert (made.data, made.url) == (PNG, url)
    assert server.requests[1].path == "/made.png"
    assert "authorization" not in server.requests[1].headers


@pytest.mark.parametrize("gone", [(plain(b"", 404),), (CLOSE,)])
def test_an_image_that_cannot_be_fetched_keeps_its_url(
    gone: tuple[object, ...], server: FaultServer, both: Both
) -> None:
    url = server.url.replace("/v1", "/made.png")
    server.play(plain({"data": [{"url": url}]}))
    server.play(*gone)
    made = both.call(server.url, "image", "a cat", model="i")
    assert (made.data, made.url) == (b"", url)
    assert url in made._repr_html_()


def test_an_image_url_of_nonsense(server: FaultServer, both: Both) -> None:
    server.play(plain({"data": [{"url": "no\x00where"}]}))
    assert both.call(server.url, "image", "a cat", model="i").data == b""


def test_an_image_that_moved_is_fetched_without_the_key(
    server: FaultServer, both: Both
) -> None:
    server.play(plain({"data": [{"url": server.url.replace("/v1", "/made.png")}]}))
    server.play(plain(b"", 302, "location: /moved.png"))
    server.play(plain(PNG, kind="image/png"))
    assert both.call(server.url, "image", "a cat", model="i").data == PNG
    assert [r.path for r in server.requests[1:]] == ["/made.png", "/moved.png"]
    assert not [r for r in server.requests[1:] if "authorization" in r.headers]


def test_speak_streams_to_a_file(
    server: FaultServer, both: Both, tmp_path: Path
) -> None:
    sound = b"RIFF....WAVE" * 100
    pieces = [http_chunk(sound[:500]), Pause(0.05), http_chunk(sound[500:])]
    server.play(head(kind="audio/wav"), *pieces, http_chunk(b""))
    path = tmp_path / "a.wav"
    made = both.call(
        server.url, "speak", "Hello.", path, model="s", voice="v", sample_rate=44100
    )
    assert made.path.read_bytes() == sound
    sent = server.requests[0].json
    assert (sent["input"], sent["voice"]) == ("Hello.", "v")
    assert (sent["response_format"], sent["sample_rate"]) == ("wav", 44100)
    assert '<audio controls src="data:audio/' in made._repr_html_()
    assert "1,200 bytes" in repr(made)
    assert [p.name for p in tmp_path.iterdir()] == ["a.wav"]


@pytest.mark.parametrize(
    "answer",
    [
        (head(kind="audio/wav"), http_chunk(b"half"), CLOSE),
        (plain({"error": "no"}),),
        (plain({"error": "no"}, 400),),
    ],
)
def test_half_a_speech_is_no_file(
    answer: tuple[object, ...], server: FaultServer, both: Both, tmp_path: Path
) -> None:
    server.play(*answer)
    with pytest.raises(errors.HostError):
        both.call(server.url, "speak", "Hello.", tmp_path / "a.wav", model="s")
    assert list(tmp_path.iterdir()) == []


def test_long_speech_is_only_named(
    server: FaultServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kimikit.wire.results.AUDIO_SHOWN", 2)
    server.play(plain(b"long", kind="audio/mpeg"))
    with Client(base_url=server.url) as client:
        made = client.speak("Hello.", tmp_path / "a.mp3", model="s")
    assert "<audio" not in made._repr_html_()


@pytest.mark.parametrize("kind", ['png" onload="pwn()', "x'><script>pwn()</script>"])
def test_the_type_of_a_picture_stays_in_its_address(kind: str) -> None:
    made = Picture(data=b"x", media_type=kind, reply=Reply())
    (tag,) = re.findall("<img[^>]*>", made._repr_html_())
    assert re.sub('="[^"]*"', "", tag) == "<img alt src style>"
    assert "<script" not in made._repr_html_()


@pytest.mark.parametrize("there", [None, "folder"])
def test_speech_whose_file_is_gone_is_named(
    server: FaultServer, tmp_path: Path, there: str | None
) -> None:
    server.play(plain(b"sound", kind="audio/mpeg"))
    with Client(base_url=server.url) as client:
        made = client.speak("Hello.", tmp_path / "a.mp3", model="s")
    made.path.unlink()
    if there:
        made.path.mkdir()
    for shown in (repr(made), made._repr_html_()):
        assert "a.mp3, which cannot be read now" in shown


def test_transcribe(server: FaultServer, both: Both, tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(b"RIFFsound")
    answer = {
        "text": " Hello. ",
        "language": "en",
        "duration": 1.5,
        "segments": [{"start": 0, "end": 1.5, "text": "Hello."}],
    }
    server.play(plain(answer))
    made = both.call(
        server.url,
        "transcribe",
        path,
        model="w",
        language="en",
        timestamp_granularities=["segment", "word"],
    )
    assert (made.text, made.language, made.duration_s) == ("Hello.", "en", 1.5)
    assert made.segments[0]["end"] == 1.5
    request = server.requests[0]
    assert request.headers["content-type"].startswith("multipart/form-data; boundary=")
    for part in (
        b'name="file"; filename="a.wav"',
        b"RIFFsound",
        b'name="model"\r\n\r\nw',
    ):
        assert part in request.body
    assert request.body.count(b'name="timestamp_granularities"') == 2
    assert "Hello." in repr(made)


def test_a_recording_is_sent_whole_again(server: FaultServer, both: Both) -> None:
    server.play(plain({"error": "busy"}, 503))
    server.play(plain({"text": "Hi."}))
    assert both.call(server.url, "transcribe", b"sound", model="w").text == "Hi."
    assert all(b"sound" in request.body for request in server.requests)
    assert len(server.requests) == 2


def test_transcribe_bytes(server: FaultServer, both: Both) -> None:
    server.play(plain({"text": "Hi."}))
    made = both.call(server.url, "transcribe", b"sound", model="w", language="no")
    assert (made.text, made.language, made.words) == ("Hi.", "no", [])


@pytest.mark.parametrize("form", ["bare", "data", "models"])
def test_models(form: str, server: FaultServer, both: Both) -> None:
    """Together sends the list bare, Ollama as models; sizes have three names."""
    listed = [
        {"id": "llama", "context_length": 8192},
        {"id": "moonshotai/Kimi-K3", "max_model_len": 1_048_576},
    ]
    if form == "models":
        listed = [{"name": each.pop("id"), **each} for each in listed]
    server.play(plain(listed if form == "bare" else {form: listed}))
    seen = Seen()
    made = both.call(server.url, "models", client={"observers": [seen]})
    assert seen.opened_ == [], "it costs nothing"
    assert list(made) == ["moonshotai/Kimi-K3", "llama"]
    assert made.kimi == ["moonshotai/Kimi-K3"]
    assert "llama" in made
    assert len(made) == 2
    sizes = [made.context(name) for name in ("llama", "moonshotai/Kimi-K3", "gone")]
    assert sizes == [8192, 1_048_576, 0]
    assert (server.requests[0].method, server.requests[0].path) == ("GET", "/v1/models")
    assert "1,048,576" in repr(made)
    assert "2 models, 1 of Kimi" in made._repr_html_()


@pytest.mark.parametrize(
    ("host", "currency"), [("moonshot", "USD"), ("moonshot-cn", "CNY")]
)
def test_balance(host: str, currency: str, server: FaultServer, both: Both) -> None:
    data = {
        "available_balance": 49.58894,
        "voucher_balance": 46.58893,
        "cash_balance": 3.00001,
    }
    server.play(plain({"code": 0, "data": data, "scode": "0x0", "status": True}))
    made = both.call(server.url, "balance", client={"host": host})
    assert made.available == Decimal("49.58894")
    assert made.cash == Decimal("3.00001")
    assert repr(made).startswith(f"49.58894 {currency} available")
    assert server.requests[0].path == "/v1/users/me/balance"


def test_count_tokens(server: FaultServer, both: Both) -> None:
    server.play(plain({"data": {"total_tokens": 80}}))
    tokens = both.call(server.url, "count_tokens", "hello", client={"host": "moonshot"})
    assert tokens == 80
    assert server.requests[0].path == "/v1/tokenizers/estimate-token-count"
    sent = json.loads(server.requests[0].body)["messages"]
    assert sent == [{"role": "user", "content": "hello"}]


def test_complete(server: FaultServer, both: Both) -> None:
    piece = {
        "model": "m",
        "choices": [{"index": 0, "text": " of", "finish_reason": None}],
    }
    last = {"choices": [{"text": " course.", "finish_reason": "length"}]}
    server.play(sse(piece, last, DONE))
    shown: list[Any] = []
    reply = both.call(
        server.url,
        "complete",
        "A horse is a horse",
        max_tokens=32,
        temperature=0.1,
        safety_model="guard",
        watch=shown.append,
    )
    assert reply.text == " of course.", "a completion keeps its first blank"
    assert reply.finish_reason == "length"
    assert "".join(map(str, shown)) == reply.text
    sent = server.requests[0].json
    assert server.requests[0].path == "/v1/completions"
    assert (sent["prompt"], sent["safety_model"]) == ("A horse is a horse", "guard")


def test_complete_in_one_piece(server: FaultServer, both: Both) -> None:
    server.play(plain({"choices": [{"text": "b", "finish_reason": "stop"}]}))
    reply = both.call(server.url, "complete", "a", stream=False)
    assert (reply.text, reply.notes) == ("b", ())
    assert "safety_model" not in server.requests[0].json


LACKS = {
    "embed": ("a",),
    "rerank": ("q", ["a"]),
    "image": ("a",),
    "speak": ("a", "never.mp3"),
    "transcribe": (b"a",),
    "complete": ("a",),
    "balance": (),
}


@pytest.mark.parametrize("name", LACKS)
def test_a_host_without_it_names_those_with_it(name: str, both: Both) -> None:
    host = "groq"
    more = {} if name == "balance" else {"model": "x"}
    with pytest.raises(errors.NotSupported) as caught:
        both.call(
            "http://127.0.0.1:9", name, *LACKS[name], client={"host": host}, **more
        )
    having = hosts.having(name, lambda known: known.endpoints)
    assert having
    assert having in caught.value.remedy


BAD = {
    "embed": [(("",), "texts"), (([],), "texts"), (([3],), "texts")],
    "rerank": [
        (("", ["a"]), "query"),
        (("q", []), "documents is \\[\\]"),
        (("q", ["a", ""]), "documents\\[1\\] is ''"),
    ],
    "image": [(("",), "prompt")],
    "speak": [((" ",), "text")],
    "transcribe": [(("/no/such.wav",), "cannot be read")],
    "complete": [(("",), "prompt"), ((3,), "prompt")],
}


@pytest.mark.parametrize(
    ("name", "n"), [(k, n) for k, v in BAD.items() for n in range(len(v))]
)
def test_bad_input(name: str, n: int, server: FaultServer, both: Both) -> None:
    arguments, said = BAD[name][n]
    with pytest.raises(errors.BadInput, match=said):
        both.call(server.url, name, *arguments, model="m")
    assert server.requests == []


def test_a_model_must_be_named(both: Both) -> None:
    with pytest.raises(errors.BadInput, match="No model is named"):
        both.call("http://127.0.0.1:9", "embed", "a")


@pytest.mark.parametrize(
    "answer",
    [
        plain(b"<html><title>Hi</title></html>"),
        plain({}),
        plain({"data": 3}),
        plain({"data": [{"index": 0}]}),
        plain({"data": []}),
        plain({"results": [{"index": 9, "relevance_score": 1}], "data": [{}, {}]}),
        plain([]),
        plain(b""),
    ],
)
@pytest.mark.parametrize(
    ("name", "args"), [("embed", ("a",)), ("rerank", ("q", ["a"]))]
)
def test_an_answer_of_another_shape_is_an_error(
    name: str, args: tuple[Any, ...], answer: bytes, server: FaultServer, both: Both
) -> None:
    server.play(answer)
    seen = Seen()
    empty = answer.endswith(b"\r\n\r\n")
    kind = errors.ConnectionFailed if empty else errors.StatusError
    with pytest.raises(kind) as caught:
        both.call(server.url, name, *args, model="m", client={"observers": [seen]})
    assert server.url in caught.value.remedy
    assert seen.closed_ == [(None, caught.value)]


def test_an_empty_picture_list_is_an_error(server: FaultServer, both: Both) -> None:
    server.play(plain({"data": []}))
    with pytest.raises(errors.StatusError):
        both.call(server.url, "image", "a", model="m")


def test_errors_and_tries_are_those_of_chat(server: FaultServer, both: Both) -> None:
    server.play(plain({"error": {"message": "x", "code": 503}}, 503))
    server.play(plain(VECTORS))
    assert len(both.call(server.url, "embed", ["a", "b"], model="e")) == 2
    server.play(plain({"error": {"message": "bad key"}}, 401))
    with pytest.raises(errors.AuthenticationFailed):
        both.call(server.url, "models")


def test_the_two_clients_have_the_same_names() -> None:
    def names(kind: type) -> dict[str, Any]:
        public = {n: getattr(kind, n) for n in dir(kind) if not n.startswith("_")}
        return {
            n: list(inspect.signature(f).parameters)
            for n, f in public.items()
            if callable(f)
        }

    assert names(Client) == names(AsyncClient)
    for name in ("chat", "stream", "complete", *LACKS, "models"):
        assert getattr(Client, name).__doc__, name


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_on_the_local_host(kind: str, local_host: Any) -> None:
    """complete, embed, rerank, models and chat work for real, with no model named."""
    both = Both(kind)
    client = {"host": "local", "api_key": local_host.api_key, "model": local_host.model}

    def call(name: str, *args: Any, **kw: Any) -> Any:
        return both.call(local_host.base_url, name, *args, client=client, **kw)

    assert call("chat", "Say hello.", max_tokens=8, temperature=0).text
    assert call("complete", "One, two,", max_tokens=4).stand_in
    assert len(call("embed", ["a", "b"])) == 2
    animals = ["The llama lives in the Andes.", "Tax law is complicated."]
    assert call("rerank", "Which animals live in Peru?", animals, top_n=1)[0].index == 0
    assert local_host.model in call("models")
    with pytest.raises(errors.NotSupported, match="together"):
        call("image", "a")


def test_hosts_may_be_values(server: FaultServer, both: Both) -> None:
    mine = Host(name="mine", base_url=server.url, endpoints={"embed": "/vec"})
    server.play(plain(VECTORS))
    both.call(server.url, "embed", ["a", "b"], model="e", client={"host": mine})
    assert server.requests[0].path == "/v1/vec"
    assert json.loads(server.requests[0].body)["model"] == "e"
    assert chunk()["choices"]


@pytest.mark.parametrize(
    "texts",
    [np.array(["a", "b"]), dict.fromkeys("ab").keys(), iter("ab"), ("a", "b"),
     pd.Series(["a", "b"], index=[7, 3])],
    ids=lambda texts: type(texts).__name__,
)  # fmt: skip
def test_texts_come_in_any_order_that_python_has(
    server: FaultServer, texts: Any
) -> None:
    server.play(plain(VECTORS))
    with Client(base_url=server.url, model="m") as client:
        found = client.embed(texts, model="e")
    assert server.requests[0].json["input"] == ["a", "b"]
    assert len(found) == 2


@pytest.mark.parametrize("texts", [{"a": "b"}, {"a"}, pd.DataFrame({"a": ["b"]}), b"a"])
def test_what_has_no_order_of_texts_is_refused(texts: Any) -> None:
    with (
        Client(base_url="http://127.0.0.1:9/v1", model="m") as client,
        pytest.raises(errors.BadInput, match="Pass a list of texts"),
    ):
        client.embed(texts, model="e")


@pytest.mark.parametrize(("count", "told"), [(1, "1 vector of"), (2, "2 vectors of")])
def test_vectors_are_counted_in_words(count: int, told: str) -> None:
    assert str(Embeddings(vectors=[[0.5, 1.0]] * count)).startswith(told)
