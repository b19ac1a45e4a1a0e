"""The patterns on the real local host, over real HTTP."""

import _thread
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from kimikit.evals import PATTERNS, Task, lab, vote
from kimikit.money.ledger import Ledger
from kimikit.prompting import (
    Conversation,
    brief,
    few_shot,
    last_number,
    map_reduce,
    structured,
)
from kimikit.types import Delta
from kimikit.wire import Client

DATA = Path(__file__).parents[2] / "notebooks" / "data"


@pytest.fixture
def ledger(tmp_path):
    return Ledger(tmp_path / "paid.db")


@pytest.fixture
def client(local_host, ledger):
    made = Client(
        "local",
        base_url=local_host.base_url,
        api_key=local_host.api_key,
        model=local_host.model,
        max_tokens=8,
        observers=[ledger],
    )
    with made:
        yield made


@dataclass
class Weather:
    rain: bool
    wind: Literal["weak", "strong"]


@pytest.mark.parametrize(
    ("into", "kind"), [(Literal["yes", "no"], str), (Weather, Weather)]
)
def test_the_host_holds_answers_to_the_type(client, into, kind):
    reply = structured(client, "Is the sky blue?", into, max_tokens=120, temperature=0)
    assert isinstance(reply.parsed, kind)
    assert reply.stand_in
    assert not any("refused" in note for note in reply.notes)


def test_a_conversation_remembers_and_forks(client):
    talk = Conversation(client, system="Answer in one word.", seed=1)
    talk.say("What is the capital of France?")
    other = talk.fork("other")
    first, second = talk.say("And of Italy?"), other.say("And of Spain?")
    assert first.usage.prompt_tokens > 40, "the history was sent"
    assert second.usage.cached_tokens > 0, "and is the same for both"
    assert "local stand-in, not Kimi" in str(talk.tree())


def test_a_window_too_small_is_learned_from_the_host(client):
    talk = Conversation(client)
    talk.say("Say hello.")
    talk.edit(-1, "word " * 9000)
    assert "oldest turn was left out" in talk.say("Say it again.").notes[-1]


def test_examples_and_briefs_are_legal_messages(client):
    assert client.chat(few_shot([("one", "1"), ("two", "2")], "three")).text
    report = brief(["The pump failed.", "It rained."], "What failed?").ask(client)
    assert report.reply.text
    assert len(report.citations.parts) == 2


def test_map_reduce_resumes_from_the_ledger(client, ledger):
    docs = [f"Pump {i} failed on day {i}." for i in range(2)]
    asking = {"store": ledger, "name": "p", "progress": False, "max_tokens": 2}
    first = map_reduce(client, docs, "Which pumps failed?", **asking)
    calls = len(ledger.calls())
    again = map_reduce(client, docs, "Which pumps failed?", **asking)
    assert len(ledger.calls()) == calls == first.plan.calls
    assert again.reused == calls
    assert again.reply.text == first.reply.text


def test_an_interrupt_hangs_up_at_once_and_keeps_answers(client):
    words = []

    def look(step):
        words.append(step)
        if len(words) >= 8 and not interrupted and isinstance(step, Delta):
            interrupted.append(time.monotonic())
            _thread.interrupt_main()

    interrupted = []
    won = vote(client, "Tell a long story.", 40, watch=look, max_tokens=200)
    assert interrupted, "it ended by itself"
    assert time.monotonic() - interrupted[0] < 10
    assert len(won.replies) < 40
    assert client.chat("Say hello.").text, "the next call works"


def test_the_lab_runs_every_pattern(client):
    task = Task.load(DATA / "sentiment.jsonl", "Name the mood.", limit=1, shots=2)
    result = lab(client, task, progress=False, max_tokens=1)
    assert [point["n"] for point in result.summary()] == [1] * len(PATTERNS)
    assert all(point["tokens"] > 0 for point in result.summary())
    assert "local stand-in, not Kimi" in str(result)


def test_a_vote_on_numbers(client):
    won = vote(client, "Say a number.", 4, extract=last_number, temperature=1)
    assert won.n == 4
    assert won.usage.completion_tokens > 0
