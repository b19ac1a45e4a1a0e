"""What a call says of its way to the host acts, or is refused by name; none is sent."""

from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from support.answers import DONE, chunk, text
from support.both import KEY, Both, Seen
from support.fault_server import HOLD, FaultServer, plain, sse

from kimikit import Kimi, errors
from kimikit.wire import Client

GOOD = sse(*text("ok"), chunk("stop"), DONE)
SECRET = "0123456789abcdef0123456789abcdef"


class Markup(str):
    """What templates make."""


@pytest.mark.parametrize(
    "name",
    ["api_key", "base_url", "max_retries", "default_headers", "extra_query", "headers",
     "organization", "http_client"],
)  # fmt: skip
@pytest.mark.parametrize("call", ["chat", "embed", "complete"])
def test_options_of_other_clients_are_refused_by_name(
    name: str, call: str, server: FaultServer, both: Both
) -> None:
    with pytest.raises(errors.BadInput, match=f"{name}=") as caught:
        both.call(server.url, call, "q", **{name: SECRET})
    assert SECRET not in str(caught.value)
    assert server.requests == []


@pytest.mark.parametrize("name", ["default_headers", "extra_query", "organization"])
def test_a_client_refuses_them_too(name: str) -> None:
    with pytest.raises(errors.BadInput, match=f"{name}="):
        Client(base_url="http://127.0.0.1:9", api_key="k", model="m", **{name: "x"})


@pytest.mark.parametrize("call", ["chat", "complete", "embed"])
def test_headers_are_sent_as_headers(
    call: str, server: FaultServer, both: Both
) -> None:
    vectors = {"data": [{"index": 0, "embedding": [1.0]}]}
    server.play(plain(vectors) if call == "embed" else GOOD)
    own = {"X-Title": "mine", "X-Both": "call", "X-Number": 3}
    model = {"model": "e"} if call == "embed" else {}
    client = {"extra_headers": {"x-both": "client", "X-Client": "c", "X-Off": "o"}}
    own_off = {**own, "x-off": None}
    both.call(server.url, call, "q", client=client, extra_headers=own_off, **model)
    (request,) = server.requests
    assert "extra_headers" not in request.json
    got = request.headers
    assert (got["x-title"], got["x-both"], got["x-client"]) == ("mine", "call", "c")
    assert got["x-number"] == "3"
    assert "x-off" not in got


@pytest.mark.parametrize(
    "headers",
    [
        "X: y", {"X": "a\nb"}, {"X\n": "a"}, {"": "a"}, {"X": "\u00e9"}, {"X": ["a"]},
        {"Content-Length": "3"}, {5: "a"}, {"X": True},
    ],
)  # fmt: skip
def test_headers_that_are_none_are_refused(
    headers: Any, server: FaultServer, both: Both
) -> None:
    with pytest.raises(errors.BadInput, match="extra_headers"):
        both.chat(server.url, extra_headers=headers)
    assert server.requests == []


def test_extra_body_joins_the_body(server: FaultServer, both: Both) -> None:
    server.play(GOOD)
    client = {"extra_body": {"a": 1, "b": 1}}
    both.chat(server.url, client=client, extra_body={"b": 2, "odd_name": [3]})
    sent = server.requests[0].json
    assert (sent["a"], sent["b"], sent["odd_name"]) == (1, 2, [3])
    assert "extra_body" not in sent
    with pytest.raises(errors.BadInput, match="extra_body"):
        both.chat(server.url, extra_body="x")


def test_extra_body_of_other_endpoints(server: FaultServer, both: Both) -> None:
    server.play(plain({"data": [{"index": 0, "embedding": [1.0]}]}))
    both.call(server.url, "embed", "x", model="e", extra_body={"dimensions": 1})
    assert server.requests[0].json == {"model": "e", "input": ["x"], "dimensions": 1}


@pytest.mark.parametrize("stream", [True, False])
def test_a_calls_own_patience(stream: bool, server: FaultServer, both: Both) -> None:
    server.play(HOLD)
    with pytest.raises(errors.TimedOut):
        both.chat(server.url, timeout=0.1, stream=stream)
    assert "timeout" not in server.requests[0].json


@pytest.mark.parametrize("timeout", ["5", 0, -1, {"gap": "x"}, {"total": 5}, True])
def test_an_impossible_patience(timeout: Any, server: FaultServer, both: Both) -> None:
    with pytest.raises(errors.BadInput, match="timeout"):
        both.chat(server.url, timeout=timeout)
    assert server.requests == []


def test_secrets_of_a_call_show_nowhere(
    server: FaultServer,
    both: Both,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A key in a header or in the body reaches the host, and nobody else."""
    monkeypatch.setenv("KIMIKIT_LOG", "debug")
    echo = {"error": {"message": f"bad key {SECRET}", "code": SECRET}}
    server.play(plain(echo, 401, f"x-request-id: {SECRET}"))
    seen = Seen()
    with pytest.raises(errors.AuthenticationFailed) as caught:
        both.chat(
            server.url,
            client={"observers": [seen], "max_retries": 0},
            extra_headers={"api-key": SECRET, "Authorization": f"Token {SECRET}"},
            extra_body={"provider": {"api_key": SECRET}, "prompt_cache_key": "p1"},
        )
    request = server.requests[0]
    assert request.json["provider"] == {"api_key": SECRET}
    assert request.headers["authorization"] == f"Token {SECRET}"
    (call,) = seen.opened_
    assert call.body["provider"] == {"api_key": "***"}
    assert call.body["prompt_cache_key"] == "p1"
    error = caught.value
    shown = [str(error), error.body, error.host_message, str(error.request_id)]
    assert not [s for s in [*shown, capfd.readouterr().err] if SECRET in s]


def test_no_secret_of_a_header_is_stored(server: FaultServer, tmp_path: Any) -> None:
    server.play(sse(*text(f"you sent {SECRET}"), chunk("stop"), DONE))
    path = tmp_path / "l.sqlite3"
    kimi = Kimi(
        base_url=server.url, api_key=KEY, model="m", show=False, ledger=path,
        extra_headers={"X-Api-Key": SECRET},
    )  # fmt: skip
    assert SECRET in kimi.chat(f"mine is {SECRET}").text, "what comes back is not cut"
    kimi.close()
    kimi.ledger.close()
    assert SECRET.encode() not in path.read_bytes()


# None, and values of other libraries.


@pytest.mark.parametrize("place", ["call", "client"])
def test_stream_options_of_none_are_left_out(
    place: str, server: FaultServer, both: Both
) -> None:
    """Mistral and Databricks refuse them."""
    server.play(GOOD)
    none = {"stream_options": None}
    both.chat(server.url, client=none if place == "client" else {}, **(
        none if place == "call" else {}
    ))  # fmt: skip
    assert set(server.requests[0].json) == {"model", "messages", "stream"}


@pytest.mark.parametrize("name", ["temperature", "seed", "stop", "n", "top_p"])
def test_each_parameter_of_none_is_left_out(
    name: str, server: FaultServer, both: Both
) -> None:
    server.play(GOOD)
    value = {"temperature": 0.5, "seed": 1, "stop": "x", "n": 1, "top_p": 0.5}[name]
    both.chat(server.url, client={name: value}, **{name: None})
    assert name not in server.requests[0].json


VALUES: dict[str, tuple[dict[str, Any], str, Any]] = {
    "a temperature of linspace": (
        {"temperature": np.linspace(0, 1, 3)[1]}, "temperature", 0.5,
    ),
    "float32": ({"temperature": np.float32(0.7)}, "temperature", 0.7),
    "a seed": ({"seed": np.int64(3)}, "seed", 3),
    "max_tokens": ({"max_tokens": np.int64(5)}, "max_tokens", 5),
    "a Decimal": ({"temperature": Decimal("0.3")}, "temperature", 0.3),
    "an array of stops": ({"stop": np.array(["a", "b"])}, "stop", ["a", "b"]),
    "a subclass of str": ({"user": Markup("u")}, "user", "u"),
    "inside": ({"logit_bias": {50: np.float64(-1)}}, "logit_bias", {"50": -1}),
    "in extra_body": ({"extra_body": {"x": np.int8(1)}}, "x", 1),
}  # fmt: skip


@pytest.mark.parametrize("name", VALUES)
def test_values_of_other_libraries(name: str, server: FaultServer, both: Both) -> None:
    params, field, want = VALUES[name]
    server.play(GOOD)
    both.chat(server.url, **params)
    assert server.requests[0].json[field] == want


@pytest.mark.parametrize("prompt", [np.array(["hello"])[0], Markup("hello")])
def test_prompts_of_other_libraries(
    prompt: Any, server: FaultServer, both: Both
) -> None:
    server.play(GOOD)
    both.chat(server.url, prompt, system=Markup("s"))
    assert [m["content"] for m in server.requests[0].json["messages"]] == ["s", "hello"]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}, b"x", object()])
def test_values_without_a_form_are_refused(
    value: Any, server: FaultServer, both: Both
) -> None:
    with pytest.raises(errors.BadInput, match="user"):
        both.chat(server.url, user=value)
    assert server.requests == []


@pytest.mark.parametrize(
    ("given", "told"),
    [({"model": 5}, "model is of type int"), ({"model": ["m"]}, "model is of type list"),
     ({"max_retries": "2"}, "max_retries is '2'"), ({"max_retries": -1}, "is -1")],
)  # fmt: skip
def test_what_no_client_can_be_made_with_is_refused_by_name(given, told):
    with pytest.raises(errors.BadInput, match=told):
        Client(base_url="http://127.0.0.1:9/v1", **{"model": "m", **given})
