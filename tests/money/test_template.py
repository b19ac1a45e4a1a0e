"""Whether a host's template adds K2's own system sentence: measured, or left open."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from support.fault_server import FaultServer, plain
from support.tokenizer import FOUND

from kimikit import Kimi
from kimikit.money import tokens
from kimikit.money.tokens import count_tokens, fits

K2 = "moonshotai/Kimi-K2-Instruct"
ADDED = 19
"""Counted by vLLM and llama.cpp: the sentence, what stands around it, a line end."""


@pytest.fixture(autouse=True)
def exact(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Kimi's own tokenizer as a function."""
    pytest.importorskip("tiktoken")
    if FOUND is None:
        pytest.skip("no tokenizer: set KIMIKIT_TOKENIZER to Kimi's tiktoken.model")
    monkeypatch.setenv("KIMIKIT_TOKENIZER", str(FOUND))
    return tokens.encoder()


@pytest.fixture
def server() -> Iterator[FaultServer]:
    """A server that plays scripts."""
    with FaultServer() as running:
        yield running


def sample(text: str, more: int, model: str = K2, **body: Any) -> Any:
    messages = [{"role": "user", "content": text}]
    counted = int(count_tokens(text)) + more
    return {"model": model, "messages": messages, **body}, counted


def count(*samples: Any, text: Any = "Hello", model: str = K2) -> Any:
    return count_tokens(text, model=model, of_host=lambda: samples)


def test_without_a_measurement_both_are_told() -> None:
    found = count()
    assert (int(found), found.more, found.exact) == (8, ADDED, False)
    assert str(found) == "8 tokens or 19 more"
    assert "system sentence" in repr(found)
    assert fits(found, 100, 8 + ADDED + 100).left == 0
    assert not fits(found, 100, 8 + ADDED + 99)


@pytest.mark.parametrize("more", [0, ADDED - 1, ADDED])
def test_one_reported_usage_is_enough(more: int) -> None:
    found = count(sample("What is the time?", more))
    assert (int(found), found.exact, found.more) == (8 + more, True, 0)


def test_the_last_answer_that_can_tell_decides() -> None:
    found = count(
        sample("with tools", 0, tools=[{"type": "function"}]),
        sample("of another model", 0, model="moonshotai/Kimi-K3"),
        sample("counted in another way", 5),
        ({"model": K2, "messages": []}, 3),
        ({"messages": [{"role": "system", "content": "x"}]}, 9),
        sample("this one", ADDED),
        sample("an older one", 0),
    )
    assert (int(found), found.exact) == (8 + ADDED, True)


def test_a_system_message_leaves_nothing_open() -> None:
    chat = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi"},
    ]
    assert count(text=chat).exact
    assert count(sample("a", ADDED), text=chat) == count_tokens(chat)


def test_other_models_are_estimates_as_before() -> None:
    found = count(sample("a", ADDED), model="moonshotai/Kimi-K3")
    assert str(found) == "~8 tokens"


@pytest.mark.parametrize("more", [0, ADDED - 1, ADDED])
def test_a_host_is_measured_by_its_own_answers(server: FaultServer, more: int) -> None:
    choice = {"message": {"content": "It is."}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 12 + more, "completion_tokens": 3}
    server.play(plain({"choices": [choice], "model": K2, "usage": usage}))
    kimi = Kimi(base_url=server.url, api_key="k12345678", model=K2, show=False)
    other = Kimi("groq", api_key="k12345678", model=K2, ledger=kimi.ledger)
    assert str(kimi.count_tokens("Hello")) == "8 tokens or 19 more"
    assert int(count_tokens("Is it so? Yes")) == 12
    kimi.chat("Is it so? Yes", stream=False)
    assert str(kimi.count_tokens("Hello")) == f"{8 + more} tokens"
    assert str(other.count_tokens("Hello")) == "8 tokens or 19 more"
