"""Error bodies of any shape are read, and told apart by status, type, code and phrase."""

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.both import Both
from support.fault_server import DONE, FaultServer, plain, sse

from kimikit import errors
from kimikit.types import Call, Host
from kimikit.wire import faults
from kimikit.wire.reports import read_report, reports_error

INNER = json.dumps({"error": {"message": "The engine is busy", "type": "overloaded"}})
SHAPES: dict[str, tuple[Any, str, int]] = {
    "OpenAI": ({"error": {"message": "No.", "type": "x", "code": None}}, "No.", 0),
    "an error that is text": ({"error": "Nope", "error_type": "validation"}, "Nope", 0),
    "FastAPI names the place": (
        {"detail": [{"loc": ["body", "x", 0], "msg": "field required"}]},
        "body.x.0: field required",
        0,
    ),
    "two of FastAPI's": (
        {"detail": [{"loc": ["body", "a"], "msg": "one"}, {"msg": "two"}]},
        "body.a: one; two",
        0,
    ),
    "Cloudflare Workers": (
        {"success": False, "errors": [{"code": 7003, "message": "No route"}]},
        "No route",
        0,
    ),
    "AWS": ({"Message": "denied"}, "denied", 0),
    "MiniMax": (
        {"base_resp": {"status_code": 1004, "status_msg": "login fail"}},
        "login fail",
        0,
    ),
    "Qianfan": ({"error_code": 18, "error_msg": "qps"}, "qps", 0),
    "iFlow, its code as text": ({"status": "449", "msg": "slow"}, "slow", 449),
    "Google, in a list": (
        [{"error": {"code": 429, "message": "Exhausted", "status": "X"}}],
        "Exhausted",
        429,
    ),
    "a report inside the message": (
        {"error": {"message": INNER, "code": 503}},
        "The engine is busy",
        503,
    ),
    "OpenRouter's raw": (
        {"error": {"message": "Provider", "metadata": {"raw": INNER}, "code": 502}},
        "upstream: The engine is busy (Provider)",
        502,
    ),
    "words of a field": ({"errors": {"model": ["is required"]}}, "errors.model: is", 0),
    "no known name": ({"fault": {"faultstring": "Rate"}}, "faultstring: Rate", 0),
    "a deeper error": (
        {"error": {"message": "outer", "error": {"message": "inner"}}},
        "inner (outer)",
        0,
    ),
    "a list of texts": ({"errors": ["a", "b"]}, "a; b", 0),
}


@pytest.mark.parametrize("name", SHAPES)
def test_the_hosts_words_are_found(name: str) -> None:
    body, said, code = SHAPES[name]
    report = read_report(json.dumps(body))
    assert said in report.message
    assert report.code == code
    assert not report.page


def test_pages_are_told_from_reports() -> None:
    page = read_report("<html><title>Access &amp; denied</title><p>x</p></html>")
    assert (page.message, page.page) == ("Access & denied", True)
    assert read_report("<html><p>No  <b>entry</b>").message == "No entry"
    assert read_report(b"upstream connect error").message == "upstream connect error"


@given(st.recursive(
    st.none() | st.booleans() | st.floats() | st.text() | st.integers(),
    lambda inner: st.lists(inner)
    | st.dictionaries(st.sampled_from(["error", "message", "code", "detail", "x"]), inner),
))  # fmt: skip
def test_no_report_breaks_the_reader(body: Any) -> None:
    report = read_report(json.dumps(body))
    assert len(report.message) <= 2000
    if isinstance(body, dict):
        reports_error(body)


@pytest.mark.parametrize(
    "text", ["<title>", "<a ", "[", '{"error":', "a" * 10, '{"error":"', "\\u", "<"]
)
def test_hostile_bodies_are_read_in_bounded_work(text: str) -> None:
    """What is looked at is bounded, whatever is nested or opened again and again."""
    body = (text * 200_000)[:1_000_000]
    call = Call(
        id="1", endpoint="chat", host=Host(name="h", base_url="http://h"), model="m",
        body={}, created=0.0,
    )  # fmt: skip
    error = faults.status_error(400, {}, body.encode(), call)
    assert len(error.host_message) <= 2000
    assert len(str(error)) < 3000


@pytest.mark.parametrize("most", [3, 450])
@pytest.mark.parametrize("names", [("raw",), ("error", "metadata", "raw")])
def test_bodies_inside_each_other_are_read_to_a_bounded_depth(
    names: tuple[str, ...], most: int
) -> None:
    inside: dict[str, Any] = {"message": "the innermost"}
    for name in names[::-1] * (most // len(names)):
        inside = {name: inside}
    body = json.dumps({"message": "the outermost", "error": inside})
    said = read_report(body).message
    assert ("the innermost" in said) == (most == 3)
    assert "the outermost" in said


# Which error.

Case = tuple[int, Any, type[errors.StatusError]]
SAID: dict[str, Case] = {
    "Groq's ordinary limit links to a billing page": (
        429,
        {"error": {"message": "Rate limit reached for model `x` on tokens per minute "
                   "(TPM): Limit 10, Used 9. Please try again in 0.1s. Need more? "
                   "Upgrade at https://x/settings/billing", "type": "tokens",
                   "code": "rate_limit_exceeded"}},
        errors.RateLimited,
    ),
    "OpenAI's names a payment method": (
        429,
        {"error": {"message": "Rate limit reached. You can increase your limit by adding "
                   "a payment method at https://x/account/billing.", "type": "requests"}},
        errors.RateLimited,
    ),
    "a limit without a type": (
        429, {"message": "See your plan and billing page."}, errors.RateLimited,
    ),
    "OpenAI's quota": (
        429,
        {"error": {"message": "You exceeded your current quota, please check your plan",
                   "type": "insufficient_quota"}},
        errors.NoBalance,
    ),
    "Fireworks suspends": (
        412,
        {"error": {"message": "Account x is suspended, possibly due to reaching the "
                   "monthly spending limit", "code": "PRECONDITION_FAILED"}},
        errors.NoBalance,
    ),
    "Anthropic's credit": (
        400, {"error": {"message": "Your credit balance is too low"}}, errors.NoBalance,
    ),
    "DeepSeek's": (402, {"error": {"message": "Insufficient Balance"}}, errors.NoBalance),
    "a balance in Chinese": (403, {"message": "\u4f59\u989d\u4e0d\u8db3"}, errors.NoBalance),
    "a request of a balance sheet": (
        400, {"error": {"message": "balance_sheet: unknown field"}}, errors.BadRequest,
    ),
    "llama.cpp": (
        400,
        {"error": {"code": 400, "message": "request (60179 tokens) exceeds the available "
                   "context size (60160 tokens), try increasing it",
                   "type": "exceed_context_size_error"}},
        errors.ContextTooLong,
    ),
    "llama.cpp, newer": (
        400, {"error": {"message": "Context size has been exceeded."}},
        errors.ContextTooLong,
    ),
    "TGI": (
        422,
        {"error": "Input validation error: `inputs` tokens + `max_new_tokens` must be "
         "<= 4096.", "error_type": "validation"},
        errors.ContextTooLong,
    ),
    "Bedrock": (
        400, {"message": "Input is too long for requested model."}, errors.ContextTooLong,
    ),
    "LiteLLM on the local host": (
        400,
        {"error": {"message": "litellm.BadRequestError: The prompt has 9031 tokens, and "
                   "the context of the local model holds 8192. Shorten it."}},
        errors.ContextTooLong,
    ),
    "Gemini": (
        400,
        {"error": {"message": "The input token count (9) exceeds the maximum number of "
                   "tokens allowed (8)."}},
        errors.ContextTooLong,
    ),
    "Moonshot": (
        400,
        {"error": {"message": "Your request exceeded model token limit: 8192"}},
        errors.ContextTooLong,
    ),
    "Groq's single request that is too large": (
        413,
        {"error": {"message": "Request too large for model `x` on tokens per minute, "
                   "please reduce your message size", "code": "rate_limit_exceeded"}},
        errors.ContextTooLong,
    ),
    "a prompt about context windows": (
        400, {"error": {"message": "messages.0.content: context window is a bad topic"}},
        errors.BadRequest,
    ),
    "a proxy's block page": (
        403, b"<html><title>Access denied: key 1020</title></html>", errors.StatusError,
    ),
    "a proxy's words": (403, b"error code: 1010", errors.StatusError),
    "a host that forbids": (403, {"error": "forbidden"}, errors.AuthenticationFailed),
    "an invalid key with 400": (
        400, {"error": {"message": "API key not valid. Pass a valid API key."}},
        errors.AuthenticationFailed,
    ),
    "404 of the model": (
        404, {"error": {"message": "The model `kimi-k2` does not exist."}},
        errors.ModelNotFound,
    ),
    "404 of an address": (404, {"detail": "Not Found"}, errors.StatusError),
    "404 of an address with models in it": (
        404, {"message": "/v1/models/chat was not found"}, errors.StatusError,
    ),
    "404 of another model": (
        404, {"message": "The embedding model `bge-large` was not found"},
        errors.StatusError,
    ),
    "404 of a file": (
        404, {"error": {"message": "No such file", "type": "not_found"}},
        errors.StatusError,
    ),
    "501": (
        501,
        {"error": {"message": "This server does not support reranking",
                   "type": "not_supported_error"}},
        errors.EndpointNotServed,
    ),
    "Google's busy model": (
        503, {"error": {"message": "high demand", "status": "UNAVAILABLE"}},
        errors.Overloaded,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SAID)
def test_each_error_is_what_it_means(
    name: str, server: FaultServer, both: Both
) -> None:
    status, body, kind = SAID[name]
    server.play(plain(body, status))
    with pytest.raises(errors.StatusError) as caught:
        both.chat(server.url, model="kimi-k2", client={"max_retries": 0})
    assert type(caught.value) is kind
    if status == 403 and isinstance(body, bytes):
        assert "proxy" in caught.value.remedy
        assert "api_key" not in caught.value.remedy


def test_501_is_not_supported_and_not_asked_again(
    server: FaultServer, both: Both
) -> None:
    server.play(plain(*reversed(SAID["501"][:2])))
    with pytest.raises(errors.NotSupported, match="reranking"):
        both.call(server.url, "rerank", "q", ["a", "b"], model="m")
    assert len(server.requests) == 1


def test_an_ordinary_limit_is_waited_for(server: FaultServer, both: Both) -> None:
    body = SAID["Groq's ordinary limit links to a billing page"][1]
    server.play(plain(body, 429, "retry-after: 0.01"))
    server.play(
        sse({"choices": [{"delta": {"content": "ok"}, "finish_reason": "stop"}]})
    )
    assert both.chat(server.url).text == "ok"
    assert len(server.requests) == 2


def test_the_log_says_which_rule_it_was(
    server: FaultServer,
    both: Both,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("KIMIKIT_LOG", "debug")
    server.play(plain(SAID["llama.cpp, newer"][1], 400))
    with pytest.raises(errors.ContextTooLong):
        both.chat(server.url)
    log = capfd.readouterr().err
    assert "! ContextTooLong by the words of 'context'" in log
    assert "Context size has been exceeded" in log


# Errors with status 200.

NO_CHOICES: dict[str, tuple[Any, str]] = {
    "MiniMax": (
        {"choices": None, "base_resp": {"status_code": 1002, "status_msg": "limit RPM"}},
        "limit RPM",
    ),
    "SiliconFlow": ({"code": 50505, "message": "overloaded", "data": None}, "overloaded"),
    "iFlow": ({"status": "449", "msg": "exceeded your rate limit"}, "rate limit"),
    "Qianfan": ({"error_code": 18, "error_msg": "qps request limit reached"}, "qps"),
    "an error in a choice": (
        {"choices": [{"index": 0, "error": {"code": 429, "message": "Provider error"},
                      "message": {"content": ""}}]},
        "Provider error",
    ),
    "errors": ({"success": False, "errors": [{"message": "no"}], "result": None}, "no"),
    "a Responses body": ({"object": "response", "output": [{"type": "message"}]}, ""),
    "empty choices": ({"choices": [], "usage": {"prompt_tokens": 0}}, ""),
    "null choices": ({"id": "x", "choices": None}, ""),
    "anything else": ({"hello": 1}, ""),
    "words alone": ({"message": "Come back later"}, "Come back later"),
}  # fmt: skip


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("name", NO_CHOICES)
def test_a_200_without_an_answer_is_an_error_with_the_hosts_words(
    name: str, stream: bool, server: FaultServer, both: Both
) -> None:
    body, said = NO_CHOICES[name]
    server.play(sse(body, DONE) if stream else plain(body))
    with pytest.raises(errors.StatusError) as caught:
        both.chat(server.url, client={"max_retries": 0})
    assert said in caught.value.host_message
    assert said in str(caught.value)


@pytest.mark.parametrize("code", [429, "429"])
@pytest.mark.parametrize("fields", [{}, {"finish_reason": "error", "message": {}}])
def test_an_error_in_a_choice_is_read_like_one_beside_it(
    code: Any, fields: dict[str, Any], server: FaultServer, both: Both
) -> None:
    """OpenRouter's shape, where a provider fails once the answer has begun."""
    choice = {"index": 0, "error": {"code": code, "message": "slow down"}, **fields}
    server.play(plain({"choices": [choice]}))
    with pytest.raises(errors.KimiError, match="answered 429: slow down"):
        both.chat(server.url, client={"max_retries": 0})


@pytest.mark.parametrize(
    "first",
    [
        {"choices": [], "prompt_filter_results": [{"x": 1}]},
        {"type": "ping"},
        {"id": "x", "choices": []},
        {"base_resp": {"status_code": 0, "status_msg": ""}, "choices": []},
        {"code": 0, "message": "success"},
    ],
)
def test_chunks_without_a_choice_before_an_answer_are_no_error(
    first: Any, server: FaultServer, both: Both
) -> None:
    good = {"choices": [{"delta": {"content": "ok"}, "finish_reason": "stop"}]}
    server.play(sse(first, good, DONE))
    assert both.chat(server.url).text == "ok"


# Waits.


@pytest.mark.parametrize(
    ("said", "want"),
    [
        ("PT1.5S", 1.5), ("2 minutes", 120), ("1 min 30 sec", 90), ("500 ms", 0.5),
        ("6m0s", 360), ("1day", 86400), ("P1DT2H", 93600), ("nan", None), ("1e5", None),
        ("-5", None), ("1.1.1", None), ("\u0662", None), ("9" * 400, None),
        ("99999999999999999999", None), ("Mon, 99 Foo 99999 99:99:99 GMT", None),
        ("Fri, 31 Dec 999999 23:59:59 GMT", None), ("10" * 5, None),
    ],
)  # fmt: skip
def test_a_wait_in_any_form(said: str, want: float | None) -> None:
    if said == "1010101010":
        want = 0.0  # a moment that has passed
    assert faults.seconds(said) == (want if want is None else pytest.approx(want))


@pytest.mark.parametrize("scale", [1, 1e3, 1e6, 1e9])
def test_a_reset_as_a_moment_in_any_unit(
    scale: float, server: FaultServer, both: Both
) -> None:
    reset = str(int((time.time() + 20) * scale))
    server.play(plain({"error": "slow"}, 429, f"x-ratelimit-reset: {reset}"))
    with pytest.raises(errors.RateLimited) as caught:
        both.chat(server.url, client={"max_retries": 0})
    assert caught.value.retry_after_s == pytest.approx(20, abs=5)


@pytest.mark.parametrize(
    ("message", "want"),
    [
        ("Please retry in 3.5s.", 3.5),
        ("Please try again in 20s. Visit x", 20),
        ('"retryDelay": "34s"', 34),
        ("rate limit resets in 2 minutes, ok", 120),
        ("try again in .....", None),
        ("try again in 1..2s", None),
    ],
)
def test_a_wait_in_words(message: str, want: float | None) -> None:
    assert faults.retry_after({}, message) == want


def test_iso_dates_and_milliseconds() -> None:
    later = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 30))
    assert faults.seconds(later) == pytest.approx(30, abs=3)
    assert faults.retry_after({"retry-after-ms": "1500"}) == 1.5
    headers = {
        "anthropic-ratelimit-tokens-remaining": "0",
        "anthropic-ratelimit-tokens-reset": later,
    }
    assert faults.retry_after(headers) == pytest.approx(30, abs=3)
