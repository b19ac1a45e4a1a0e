"""What happens while answers are made: hang-ups, several clients, slow decisions."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from support.weather import TOOL, user

from kimikit import local
from kimikit.local import models
from kimikit.local.checks import Function, Refused
from kimikit.local.needle import Needle

STORY = [{"role": "user", "content": "Write a very long story."}]


@pytest.fixture
def http(local_host: local.Running) -> Any:
    headers = {"Authorization": f"Bearer {local_host.api_key}"}
    with httpx.Client(
        base_url=local_host.base_url, headers=headers, timeout=300
    ) as client:
        yield client


def first_token_s(http: httpx.Client, **options: Any) -> float:
    """Return the seconds to the first token of a fresh stream."""
    started = time.monotonic()
    body = {"messages": STORY, "stream": True, "max_tokens": 2, **options}
    with http.stream("POST", "chat/completions", json=body) as answer:
        for line in answer.iter_lines():
            if '"content":"' in line:
                return time.monotonic() - started
    raise AssertionError(answer)


def endless(**options: Any) -> dict[str, Any]:
    return {"messages": STORY, "max_tokens": 8000, "ignore_eos": True, **options}


def test_a_client_that_hangs_up_frees_its_slot(http: httpx.Client) -> None:
    """All four slots are taken; unless a hang-up frees them, a fifth waits minutes."""
    begun = []
    for _ in range(4):
        request = http.build_request(
            "POST", "chat/completions", json=endless(stream=True)
        )
        answer = http.send(request, stream=True)
        next(answer.iter_bytes())
        begun.append(answer)
    for answer in begun:
        answer.close()
    assert first_token_s(http) < 15


def test_hanging_up_ends_answers_that_do_not_stream(http: httpx.Client) -> None:
    def give_up(_: int) -> None:
        with pytest.raises(httpx.ReadTimeout):
            http.post("chat/completions", json=endless(n=2), timeout=0.5)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(give_up, range(2)))
    assert first_token_s(http) < 15


def weather(http: httpx.Client, city: str, timeout_s: float = 60) -> httpx.Response:
    """Ask what Needle decides on, without its confidence, as that takes as long again."""
    messages = user(f"Weather in {city}?")
    body = {"messages": messages, "tools": [TOOL], "tool_choice": "required"}
    return http.post("chat/completions", json=body, timeout=timeout_s)


def test_hanging_up_ends_a_decision_and_the_next_one_stops_nobody_else(
    http: httpx.Client,
) -> None:
    with pytest.raises(httpx.ReadTimeout):
        weather(http, "Bergen", 0.3)
    answered = 0
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(weather, http, "Tromsø")
        while not asked.done():
            http.get("models").raise_for_status()
            answered += 1
    assert answered > 20
    (call,) = asked.result().json()["choices"][0]["message"]["tool_calls"]
    assert "Tromsø" in call["function"]["arguments"]


def test_four_at_once_are_all_answered(http: httpx.Client) -> None:
    def ask(index: int) -> int:
        body = {
            "messages": [
                {"role": "user", "content": f"Tell me about the number {index}"}
            ],
            "max_tokens": 12,
            "ignore_eos": True,
        }
        answer = http.post("chat/completions", json=body).json()
        return answer["usage"]["completion_tokens"]

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(ask, range(4))) == [12] * 4


def test_tokens_come_as_they_are_made(http: httpx.Client) -> None:
    arrivals = set()
    body = endless(stream=True, temperature=0) | {"max_tokens": 40}
    with http.stream("POST", "chat/completions", json=body) as answer:
        for line in answer.iter_lines():
            if '"content":"' in line:
                arrivals.add(round(time.monotonic(), 3))
    assert len(arrivals) >= 10


def end_workers(host: local.Running) -> None:
    """Kill what the host runs for Needle, if it runs anything."""
    children = Path(f"/proc/{host.pid}/task/{host.pid}/children").read_text()
    for pid in children.split():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)


finds_children = pytest.mark.skipif(
    not Path("/proc/self").exists(), reason="finds a child in /proc"
)


@finds_children
def test_a_decision_whose_process_dies_is_an_error_and_the_next_one_works(
    http: httpx.Client, local_host: local.Running
) -> None:
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(weather, http, "Quito")
        while not asked.done():
            end_workers(local_host)
            time.sleep(0.01)
    assert asked.result().status_code == 500
    error = asked.result().json()["error"]["message"]
    assert error == "Needle could not decide on the tools: it ended."
    again = weather(http, "Quito").json()
    assert again["choices"][0]["finish_reason"] == "tool_calls"


def test_a_decision_that_fails_says_why() -> None:
    needle = Needle(msgspec.structs.replace(models.CALLS, member="absent.cact"))
    with pytest.raises(Refused, match=r"could not decide on the tools: .*No such file"):
        asyncio.run(needle.decide("What is the time?", [Function("now")], score=True))
