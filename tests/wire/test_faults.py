"""Each failure of a host has its type, its words and its remedy (facts 1e)."""

import email.utils
import json
import time
import traceback
from typing import Any

import pytest
from support.both import KEY, Both
from support.fault_server import CLOSE, RESET, FaultServer, plain, sse

from kimikit import errors
from kimikit.types import Call, Host, Wait
from kimikit.wire import faults


def moonshot(message: str, kind: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind}}


OPENROUTER = {
    "error": {
        "code": 502,
        "message": "Provider returned error",
        "metadata": {
            "provider_name": "Moonshot AI",
            "raw": json.dumps(
                moonshot("The engine is busy", "engine_overloaded_error")
            ),
            "error_type": "provider_unavailable",
        },
    },
    "user_id": "user_1",
}
E = errors
CASES = {
    "Moonshot: bad key": (
        401,
        moonshot("Invalid Authentication", "invalid_authentication_error"),
        E.AuthenticationFailed,
        "Invalid Authentication",
    ),
    "Moonshot: incorrect key": (
        401,
        moonshot("Incorrect API key provided", "incorrect_api_key_error"),
        E.AuthenticationFailed,
        "Incorrect API key",
    ),
    "Moonshot: quota used up": (
        429,
        moonshot("You exceeded your current quota", "exceeded_current_quota_error"),
        E.NoBalance,
        "quota",
    ),
    "Moonshot: no balance, 403": (
        403,
        moonshot(
            "Your account is suspended, please check your plan and billing details",
            "exceeded_current_quota_error",
        ),
        E.NoBalance,
        "suspended",
    ),
    "payment required": (
        402,
        {"error": "Insufficient credits"},
        E.NoBalance,
        "credits",
    ),
    "Moonshot: rate limit": (
        429,
        moonshot(
            "Your account request reached max RPM: 3, please try again after 1 seconds",
            "rate_limit_reached_error",
        ),
        E.RateLimited,
        "RPM",
    ),
    "Moonshot: overloaded": (
        429,
        moonshot(
            "The engine is currently overloaded, please try again later",
            "engine_overloaded_error",
        ),
        E.Overloaded,
        "overloaded",
    ),
    "Moonshot: content filter": (
        400,
        moonshot(
            "The request was rejected because it was considered high risk",
            "content_filter",
        ),
        E.ContentFiltered,
        "high risk",
    ),
    "Moonshot: model retired": (
        404,
        moonshot(
            "Not found the model kimi-x or Permission denied",
            "resource_not_found_error",
        ),
        E.ModelNotFound,
        "Not found the model",
    ),
    "Moonshot: temperature pinned": (
        400,
        moonshot(
            "invalid temperature: only 1 is allowed for this model",
            "invalid_request_error",
        ),
        E.FixedTemperature,
        "only 1 is allowed",
    ),
    "Together: model not serverless": (
        400,
        {
            "error": {
                "message": "Unable to access model moonshotai/Kimi-K2-Instruct. "
                "The model is not available.",
                "type": "invalid_request_error",
                "param": None,
                "code": "model_not_available",
            },
            "id": "oX",
        },
        E.ModelNotFound,
        "Unable to access model",
    ),
    "Together: dynamic limit": (
        429,
        {"error": {"message": "Slow down", "error_type": "dynamic_request_limited"}},
        E.RateLimited,
        "Slow down",
    ),
    "Together: 503 is the platform's capacity": (
        503,
        {"error": {"message": "No capacity", "type": "service_unavailable"}},
        E.Overloaded,
        "No capacity",
    ),
    "Groq: a call that fits no tool": (
        400,
        {
            "error": {
                "message": "Failed to call a function.",
                "type": "invalid_request_error",
                "code": "tool_use_failed",
                "failed_generation": "x",
            }
        },
        E.BadRequest,
        "Failed to call",
    ),
    "Groq: unknown message field": (
        400,
        moonshot("property 'cache_control' is unsupported", "invalid_request_error"),
        E.BadRequest,
        "cache_control",
    ),
    "OpenRouter: the cause is nested": (
        502,
        OPENROUTER,
        E.Overloaded,
        "Moonshot AI: The engine is busy",
    ),
    "OpenRouter: no such model": (
        400,
        {"error": {"message": "x/y is not a valid model ID", "code": 400}},
        E.ModelNotFound,
        "not a valid model",
    ),
    "vLLM: its own envelope": (
        400,
        {
            "object": "error",
            "message": "This model's maximum context length is 8192 tokens.",
            "type": "BadRequestError",
            "code": 400,
        },
        E.ContextTooLong,
        "maximum context length",
    ),
    "vLLM: no such model": (
        404,
        {"error": {"message": "The model `x` does not exist.", "code": 404}},
        E.ModelNotFound,
        "does not exist",
    ),
    "OpenAI: context": (
        400,
        {"error": {"message": "Too long", "code": "context_length_exceeded"}},
        E.ContextTooLong,
        "Too long",
    ),
    "TGI: inputs": (
        422,
        {"error": "Input validation error: `inputs` must have less than 8192 tokens."},
        E.ContextTooLong,
        "less than 8192 tokens",
    ),
    "LM Studio: context": (
        400,
        {
            "error": "Trying to keep the first 5000 tokens when context the overflows. "
            "However, the model is loaded with context length of only 4096 tokens"
        },
        E.ContextTooLong,
        "only 4096",
    ),
    "Zhipu: context": (
        400,
        {"error": {"code": "1261", "message": "Prompt \u8d85\u957f"}},
        E.ContextTooLong,
        "Prompt",
    ),
    "Bedrock: tokens per minute": (
        503,
        {"error": {"message": "Too many tokens, please wait before trying again."}},
        E.RateLimited,
        "please wait",
    ),
    "AWS: throttled, status 400": (
        400,
        {"__type": "com.amazon#ThrottlingException", "message": "Slow down."},
        E.RateLimited,
        "Slow down",
    ),
    "a gateway before Bedrock: throttled, status 400": (
        400,
        {"message": "(ThrottlingException) when calling the Converse operation"},
        E.RateLimited,
        "Converse",
    ),
    "Volcengine: a model that is not activated": (
        404,
        {
            "error": {
                "code": "ModelNotOpen",
                "message": "Your account 2100 has not activated the model kimi-k2. "
                "Please activate the model service in the Ark Console.",
                "type": "Not Found",
            }
        },
        E.ModelNotFound,
        "activate the model service",
    ),
    "a gateway before Volcengine: not activated": (
        404,
        {"detail": "Your account has not activated the model kimi-k2."},
        E.ModelNotFound,
        "not activated",
    ),
    "DashScope: a model not open to the key": (
        403,
        {
            "error": {
                "message": "Access denied.",
                "type": "access_denied",
                "param": None,
                "code": "AccessDenied",
            }
        },
        E.ModelNotFound,
        "Access denied",
    ),
    "DashScope: not bought, not activated": (
        403,
        {
            "code": "AccessDenied.Unpurchased",
            "message": "Access to model denied. Please make sure you are eligible for using the model.",
            "request_id": "r",
        },
        E.ModelNotFound,
        "eligible",
    ),
    "DashScope: model access, not activated": (
        403,
        {
            "code": "Model.AccessDenied",
            "message": "Model access denied.",
            "request_id": "r",
        },
        E.ModelNotFound,
        "Model access",
    ),
    "a gateway before DashScope: not activated": (
        403,
        {"detail": "Model access denied."},
        E.ModelNotFound,
        "Model access",
    ),
    "Bedrock: not activated": (
        403,
        {"message": "You don't have access to the model with the specified model ID."},
        E.ModelNotFound,
        "specified model ID",
    ),
    "Bedrock in other words: not activated": (
        403,
        {
            "__type": "AccessDeniedException",
            "message": "Model access is denied due to IAM user or service role is not authorized to perform the required AWS Marketplace actions",
        },
        E.ModelNotFound,
        "Marketplace",
    ),
    "OpenAI: a project's model, not activated": (
        403,
        {
            "error": {
                "message": "Project `p` does not have access to model `m`",
                "type": "invalid_request_error",
                "code": None,
            }
        },
        E.ModelNotFound,
        "does not have access",
    ),
    "Groq: blocked, not activated": (
        403,
        {
            "error": {
                "message": "The model is blocked at the organization level.",
                "type": "permissions_error",
                "code": "model_permission_blocked_org",
            }
        },
        E.ModelNotFound,
        "blocked",
    ),
    "Hugging Face: gated, not activated": (
        403,
        {
            "error": "Access to model org/m is restricted and you are not in the authorized list."
        },
        E.ModelNotFound,
        "authorized list",
    ),
    "LiteLLM: a team's models, not activated": (
        401,
        {
            "error": {
                "message": "team not allowed to access model. This team can only access models=['gpt-4'].",
                "type": "team_model_access_denied",
                "code": "401",
            }
        },
        E.ModelNotFound,
        "can only access",
    ),
    "SiliconFlow: disabled, not activated": (
        403,
        {"code": 30003, "message": "Model disabled.", "data": None},
        E.ModelNotFound,
        "disabled",
    ),
    "a gateway in Chinese: not activated": (
        403,
        {"error": {"message": "您没有权限访问该模型"}},
        E.ModelNotFound,
        "权限",
    ),
    "another word for it: not activated": (
        403,
        {
            "error": {
                "message": "Access to the requested model is forbidden for this token"
            }
        },
        E.ModelNotFound,
        "forbidden",
    ),
    "a key for which a model is needed": (
        401,
        {"error": {"message": "A valid key is needed for access to the model API."}},
        E.AuthenticationFailed,
        "valid key",
    ),
    "a key that may not use a place": (
        403,
        {"error": {"message": "You do not have permission to access this resource."}},
        E.AuthenticationFailed,
        "permission",
    ),
    "Azure: a network that may not ask": (
        403,
        {
            "error": {
                "code": "AccessDenied",
                "message": "Access denied due to Virtual Network/Firewall rules.",
            }
        },
        E.AuthenticationFailed,
        "Firewall",
    ),
    "AWS: a key that may do nothing": (
        403,
        {
            "__type": "AccessDeniedException",
            "message": "User: arn:aws:iam::1:user/a is not authorized to perform this.",
        },
        E.AuthenticationFailed,
        "not authorized",
    ),
    "OpenAI: a country that is not served": (
        403,
        {
            "error": {
                "code": "unsupported_country_region_territory",
                "message": "Country, region, or territory not supported",
                "type": "request_forbidden",
            }
        },
        E.StatusError,
        "territory not supported",
    ),
    "Gemini: a place that is not served": (
        400,
        {"error": {"message": "User location is not supported for the API use."}},
        E.StatusError,
        "location is not supported",
    ),
    "Groq: flex": (
        498,
        {"error": {"message": "No flex", "code": "capacity_exceeded"}},
        E.Overloaded,
        "No flex",
    ),
    "FastAPI: detail": (
        422,
        {"detail": [{"loc": ["body", "messages"], "msg": "field required"}]},
        E.BadRequest,
        "field required",
    ),
    "FastAPI: text detail": (404, {"detail": "Not Found"}, E.StatusError, "Not Found"),
    "gateway: a page of HTML": (
        502,
        b"<html><head><title>502: Bad gateway</title></head></html>",
        E.Overloaded,
        "502: Bad gateway",
    ),
    "gateway: success false": (
        500,
        {
            "success": False,
            "error": {"code": "INTERNAL_SERVER_ERROR", "message": "Oops"},
        },
        E.Overloaded,
        "Oops",
    ),
    "nothing": (500, b"", E.Overloaded, ""),
    "a list": (400, [1, 2], E.BadRequest, ""),
    "a redirect": (301, b"", E.StatusError, ""),
    "a wrong method": (405, b"no", E.StatusError, "no"),
    "a key without the right": (
        403,
        {"error": "forbidden"},
        E.AuthenticationFailed,
        "",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_each_body(name: str, server: FaultServer, both: Both) -> None:
    status, body, kind, said = CASES[name]
    server.play(plain(body, status, "x-request-id: req_7"))
    with pytest.raises(errors.StatusError) as caught:
        both.chat(server.url, client={"max_retries": 0})
    error = caught.value
    assert type(error) is kind
    assert said in error.host_message
    assert (error.status, error.request_id) == (status, "req_7")
    assert error.host == server.url.removeprefix("http://").removesuffix("/v1")
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    assert error.body == raw.decode()
    assert str(error).endswith(error.remedy)
    assert error.remedy.endswith(".")


@pytest.mark.parametrize("name", [name for name in CASES if "not activated" in name])
def test_a_model_that_is_not_open_is_opened_at_the_host(
    name: str, server: FaultServer, both: Both
) -> None:
    server.play(plain(CASES[name][1], CASES[name][0]), plain({"data": []}))
    with pytest.raises(errors.ModelNotFound) as caught:
        both.chat(server.url, model="m")
    assert "to your account" in caught.value.remedy


@pytest.mark.parametrize("name", [name for name in CASES if "not served" in name])
def test_a_place_that_is_not_served_is_no_matter_of_the_key(
    name: str, server: FaultServer, both: Both
) -> None:
    server.play(plain(CASES[name][1], CASES[name][0]))
    with pytest.raises(errors.StatusError) as caught:
        both.chat(server.url)
    assert "another host" in caught.value.remedy
    assert "Check" not in caught.value.remedy


def test_pinned_temperature_names_the_value(server: FaultServer, both: Both) -> None:
    server.play(plain(CASES["Moonshot: temperature pinned"][1], 400))
    with pytest.raises(errors.FixedTemperature) as caught:
        both.chat(server.url, temperature=0.3)
    assert (caught.value.allowed, caught.value.parameter) == (1.0, "temperature")
    assert "Novita" in caught.value.remedy
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("message", "name", "allowed"),
    [
        ("invalid top_p: only 0.95 is allowed for this model", "top_p", 0.95),
        ("invalid n: only 1 is allowed for this model", "n", 1),
        (
            "Unsupported value: 'temperature' does not support 0.3 with this model. "
            "Only the default (1) value is supported.",
            "temperature",
            1,
        ),
        ("invalid presence_penalty: only 0 is allowed", "presence_penalty", 0),
    ],
)
def test_other_pins(
    message: str, name: str, allowed: float, server: FaultServer, both: Both
) -> None:
    server.play(plain(moonshot(message, "invalid_request_error"), 400))
    with pytest.raises(errors.FixedTemperature) as caught:
        both.chat(server.url)
    assert (caught.value.parameter, caught.value.allowed) == (name, allowed)


def test_a_range_is_no_pin(server: FaultServer, both: Both) -> None:
    server.play(plain(moonshot("temperature must be between 0 and 2", "x"), 400))
    with pytest.raises(errors.BadRequest) as caught:
        both.chat(server.url)
    assert type(caught.value) is errors.BadRequest


def test_1c_kimi_for_coding_refuses_even_its_own_value(
    server: FaultServer, both: Both
) -> None:
    """Only leaving the field out helps, and the remedy says so."""
    body = moonshot("invalid temperature: only 0.6 is allowed for this model", "x")
    server.play(plain(body, 400))
    with pytest.raises(errors.FixedTemperature) as caught:
        both.chat(server.url, temperature=0.6)
    assert "temperature=None" in caught.value.remedy


def test_an_unknown_model_gets_the_live_ones(server: FaultServer, both: Both) -> None:
    server.play(plain(moonshot("Not found the model kimi-k2", "x"), 404))
    listed = ["kimi-k3", "gpt-x", "kimi-k2.6"]
    server.play(plain({"data": [{"id": i} for i in listed]}))
    with pytest.raises(errors.ModelNotFound) as caught:
        both.chat(server.url, model="kimi-k2")
    assert caught.value.available == ("kimi-k3", "kimi-k2.6")
    assert "kimi-k2.6" in str(caught.value)
    assert [r.method for r in server.requests] == ["POST", "GET"]


@pytest.mark.parametrize(
    "second", [(CLOSE,), (plain(b"<html>"),), (plain({}, 500),), (plain([{"id": 3}]),)]
)
def test_the_look_for_live_models_never_fails(
    second: tuple[object, ...], server: FaultServer, both: Both
) -> None:
    server.play(plain(moonshot("Not found the model", "x"), 404))
    server.play(*second)
    with pytest.raises(errors.ModelNotFound) as caught:
        both.chat(server.url)
    assert caught.value.available in ((), ("3",))


def test_regions_are_told_apart() -> None:
    host = Host(name="moonshot", base_url="https://x", key_variable="MOONSHOT_API_KEY")
    body = json.dumps(CASES["Moonshot: bad key"][1]).encode()
    call = Call(id="1", endpoint="chat", host=host, model="m", body={}, created=0.0)
    error = faults.status_error(401, {}, body, call)
    assert "MOONSHOT_API_KEY" in error.remedy
    assert "host='moonshot-cn'" in error.remedy


ANSWER = sse({"choices": [{"delta": {"content": "ok"}, "finish_reason": "stop"}]})
AGAIN = {
    "408": (plain(b"", 408),),
    "409": (plain(b"", 409),),
    "429": (plain(b"", 429),),
    "500": (plain(b"", 500),),
    "502": (plain(b"", 502),),
    "503": (plain(b"", 503),),
    "529": (plain(b"", 529),),
    "engine_overloaded": (plain(CASES["Moonshot: overloaded"][1], 429),),
    "hung up before the answer": (CLOSE,),
    "reset before the answer": (RESET,),
}


@pytest.mark.parametrize("name", AGAIN)
def test_tried_again(name: str, server: FaultServer, both: Both) -> None:
    server.play(*AGAIN[name])
    server.play(ANSWER)
    shown, reply = both.steps(server.url)
    assert reply.text == "ok"
    waits = [step for step in shown if isinstance(step, Wait)]
    assert [wait.attempt for wait in waits] == [1]
    assert waits[0].reason
    assert len(server.requests) == 2


NEVER = {
    name: CASES[name]
    for name in (
        "Moonshot: quota used up",
        "Moonshot: bad key",
        "Moonshot: no balance, 403",
        "payment required",
        "Moonshot: content filter",
        "Moonshot: temperature pinned",
        "FastAPI: text detail",
        "FastAPI: detail",
    )
}


@pytest.mark.parametrize("name", NEVER)
def test_not_tried_again(name: str, server: FaultServer, both: Both) -> None:
    status, body, kind, _ = NEVER[name]
    server.play(plain(body, status))
    with pytest.raises(kind):
        both.chat(server.url)
    assert len(server.requests) == 1


def test_the_tries_end(server: FaultServer, both: Both) -> None:
    server.play(plain(b"", 503))
    with pytest.raises(errors.Overloaded):
        both.chat(server.url, client={"max_retries": 3})
    assert len(server.requests) == 4


def test_no_server_at_all(both: Both) -> None:
    with pytest.raises(errors.ConnectionFailed) as caught:
        both.chat("http://127.0.0.1:9/v1", client={"max_retries": 1})
    assert "http://127.0.0.1:9/v1" in caught.value.remedy
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize(
    ("headers", "want"),
    [
        ({"retry-after": "3"}, 3),
        ({"retry-after": "1.2s"}, 1.2),
        ({"retry-after": "42ms"}, 0.042),
        ({"retry-after": "2m59.56s"}, 179.56),
        ({"retry-after": "1h2m3s"}, 3723),
        ({"retry-after": "soon"}, None),
        ({"retry-after": ""}, None),
        ({"x-ratelimit-reset": "7"}, 7),
        ({"x-ratelimit-reset-requests": "2s"}, None),
        (
            {
                "x-ratelimit-remaining-tokens": "0",
                "x-ratelimit-reset-tokens": "1.5s",
                "x-ratelimit-remaining-requests": "0",
                "x-ratelimit-reset-requests": "9s",
            },
            9,
        ),
        (
            {
                "x-ratelimit-remaining-tokens-minute": "0",
                "x-ratelimit-reset-tokens-minute": "11.5",
                "x-ratelimit-remaining-requests-day": "100",
                "x-ratelimit-reset-requests-day": "33011.38",
            },
            11.5,
        ),
        ({"ratelimit": "limit=100, remaining=0, reset=11"}, 11),
        ({"ratelimit": '"day";r=5;t=900, "minute";r=0;t=13'}, 13),
        ({"ratelimit": '"day";r=5;t=900'}, None),
        ({"x-ms-retry-after-ms": "2500"}, 2.5),
        ({"x-ratelimit-reset-after": "19"}, 19),
        ({"retry-after": "7, 7"}, 7),
        ({"retry-after": "2, 7.5"}, 7.5),
        ({}, None),
    ],
)
def test_the_wait_a_host_asks_for(headers: dict[str, str], want: float | None) -> None:
    found = faults.retry_after(headers)
    assert found == (want if want is None else pytest.approx(want))


def test_waits_as_dates_and_times() -> None:
    later = email.utils.formatdate(time.time() + 30, usegmt=True)
    assert faults.seconds(later) == pytest.approx(30, abs=2)
    assert faults.seconds(str(time.time() + 30)) == pytest.approx(30, abs=2)
    assert faults.seconds("Mon, 01 Jan 2024 00:00:00 GMT") == 0
    assert faults.retry_after({}, "please try again in 2m59.56s.") == 179.56
    assert faults.retry_after({}, "please try again after 1 seconds") == 1


def test_a_wait_is_honoured_with_jitter_and_a_cap() -> None:
    error = errors.RateLimited("a", "b", status=429)
    waits = {faults.pause(error, 0, 3.0) for _ in range(20)}
    assert len(waits) > 1
    assert all(wait is not None and 3.0 <= wait <= 3.25 for wait in waits)
    assert faults.pause(error, 0, 9999.0) <= faults.LONGEST_WAIT_S + 0.25
    assert faults.pause(error, 50) <= 10


def test_retry_after_is_shown_and_kept(server: FaultServer, both: Both) -> None:
    server.play(plain(b"", 429, "retry-after: 0.02s"))
    shown: list[Any] = []
    with pytest.raises(errors.RateLimited) as caught:
        both.chat(server.url, client={"max_retries": 1}, watch=shown.append)
    assert caught.value.retry_after_s == 0.02
    assert 0.02 <= shown[0].seconds < 0.3


SECRETS = (
    KEY,
    "Bearer abc.def-123",
    "sk-proj-abcdefgh12345678",
    "gsk_abcdefgh1234567890",
)


def test_keys_never_show(
    server: FaultServer,
    both: Both,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A 401 that echoes keys leaves none in the error, its parts or the log."""
    monkeypatch.setenv("KIMIKIT_LOG", "debug")
    echo = "Incorrect API key provided: " + " ".join(SECRETS)
    server.play(plain(moonshot(echo, "incorrect_api_key_error"), 401))
    with pytest.raises(errors.AuthenticationFailed) as caught:
        both.chat(server.url, "hello there", client={"max_retries": 0})
    error = caught.value
    seen = [
        str(error),
        repr(error),
        error.body,
        error.host_message,
        error._repr_html_(),
        "".join(traceback.format_exception(error)),
    ]
    log = capfd.readouterr().err
    for secret in SECRETS:
        assert not [s for s in [*seen, log] if secret in s]
        assert not [s for s in [*seen, log] if secret.split()[-1] in s]
    assert "hello there" in log
    assert "< 401" in log


def test_the_log_has_the_events(
    server: FaultServer,
    both: Both,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("KIMIKIT_LOG", "debug")
    server.play(sse({"choices": [{"delta": {"content": f"{KEY} ok"}}]}))
    both.chat(server.url)
    log = capfd.readouterr().err
    assert '"content": "*** ok"' in log
    assert KEY not in log


def test_no_log_unless_asked(
    server: FaultServer, both: Both, capfd: pytest.CaptureFixture[str]
) -> None:
    server.play(ANSWER)
    both.chat(server.url)
    assert capfd.readouterr().err == ""


def test_repr_has_no_key(server: FaultServer, both: Both) -> None:
    server.play(ANSWER)

    def look(client: Any) -> Any:
        assert KEY not in repr(client) + repr(vars(client)) + repr(client.host)
        return client.chat("hi")

    both.use(server.url, look)


@pytest.mark.parametrize("key", ["sk abc", "schlüssel", "a\tb"])
def test_an_impossible_key_is_refused(key: str, both: Both) -> None:
    with pytest.raises(errors.BadInput, match="characters") as caught:
        both.use("http://127.0.0.1:9", lambda c: c.models(), api_key=key)
    assert key not in str(caught.value)
