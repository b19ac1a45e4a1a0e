"""One reasoning_effort in each host's and model's words, refused where it cannot be."""

from typing import Any

import pytest
from support.fault_server import FaultServer, plain

from kimikit import Client, errors

BODY = {
    "id": "x",
    "model": "m",
    "choices": [
        {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "ok"}}
    ],
}  # fmt: skip
NAMES = "reasoning_effort", "thinking", "reasoning", "chat_template_kwargs"


def sent(host: str, model: str, server: FaultServer, **params: Any) -> dict[str, Any]:
    """Return what a request says of thinking."""
    server.play(plain(BODY))
    with Client(host, base_url=server.url, api_key="k", model=model) as client:
        client.chat("hi", stream=False, **params)
    return {k: v for k, v in server.requests[-1].json.items() if k in NAMES}


@pytest.mark.parametrize(
    ("host", "model", "effort", "said"),
    [
        ("moonshot", "kimi-k2.6", "off", {"thinking": {"type": "disabled"}}),
        ("moonshot", "kimi-k2.6", "on", {"thinking": {"type": "enabled"}}),
        ("moonshot", "kimi-k3", "max", {"reasoning_effort": "max"}),
        ("moonshot", "kimi-k3", "on", {}),
        ("moonshot-cn", "kimi-k2.7-code", "on", {}),
        ("together", "moonshotai/Kimi-K2.6", "off", {"reasoning": {"enabled": False}}),
        ("together", "moonshotai/Kimi-K3", "low", {"reasoning_effort": "low"}),
        ("openrouter", "moonshotai/kimi-k2.5", "on", {"reasoning": {"enabled": True}}),
        ("openrouter", "moonshotai/kimi-k3", "max", {"reasoning": {"effort": "xhigh"}}),
        ("openrouter", "moonshotai/kimi-k3.1-pro", "low", {"reasoning": {"effort": "low"}}),
        ("vllm", "mine", "off", {"chat_template_kwargs": {"thinking": False}}),
        ("sglang", "mine", "on", {"chat_template_kwargs": {"thinking": True}}),
        ("vllm", "mine", "high", {"reasoning_effort": "high"}),
        ("novita", "moonshotai/kimi-k2-instruct", "off", {}),
        ("groq", "openai/gpt-oss-120b", "medium", {"reasoning_effort": "medium"}),
    ],
)  # fmt: skip
def test_in_each_hosts_words(
    host: str, model: str, effort: str, said: Any, server: FaultServer
) -> None:
    assert sent(host, model, server, reasoning_effort=effort) == said


def test_it_joins_what_stands_there_already(server: FaultServer) -> None:
    model, own = "moonshotai/kimi-k3", {"max_tokens": 99}
    body = sent("openrouter", model, server, reasoning_effort="low", reasoning=own)
    assert body == {"reasoning": {"max_tokens": 99, "effort": "low"}}
    assert own == {"max_tokens": 99}


@pytest.mark.parametrize(
    ("host", "model", "params", "words"),
    [
        ("moonshot", "kimi-k3", {"reasoning_effort": "off"}, "always thinks"),
        ("openrouter", "moonshotai/kimi-k3", {"reasoning_effort": "off"}, "always"),
        ("moonshot", "kimi-k2.6", {"reasoning_effort": "low"}, "no levels"),
        ("moonshot", "kimi-k2.7-code", {"reasoning_effort": "off"}, "always thinks"),
        ("moonshot", "kimi-k2.7-code", {"reasoning_effort": "high"}, "no levels"),
        ("novita", "moonshotai/kimi-k2-instruct", {"reasoning_effort": "max"}, "does not"),
        ("novita", "moonshotai/kimi-k2.6", {"reasoning_effort": "off"}, "Hosts that take"),
        ("local", "smollm2", {"reasoning_effort": "on"}, "not known for reasoning_effort"),
        ("local", "smollm2", {"reasoning_effort": "high"}, "no model that thinks"),
        ("local", "smollm2", {"reasoning_effort": "low"}, "no model that thinks"),
        (
            "openrouter",
            "moonshotai/kimi-k3",
            {"reasoning_effort": "low", "reasoning": {"effort": "high"}},
            "Send one",
        ),
    ],
)  # fmt: skip
def test_refused_by_name_before_anything_is_sent(
    host: str, model: str, params: Any, words: str, server: FaultServer
) -> None:
    with (
        Client(host, base_url=server.url, api_key="k", model=model) as client,
        pytest.raises(errors.NotSupported, match=words),
    ):
        client.chat("hi", **params)
    assert server.requests == []
