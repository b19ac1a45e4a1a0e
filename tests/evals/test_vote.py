"""The majority of several answers, with how far to trust it."""

import _thread
import threading
import time
from contextvars import ContextVar
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from support.prompting import FakeClient, FakeStore, answer

from kimikit.errors import (
    AuthenticationFailed,
    BadInput,
    KimiWarning,
    StreamError,
    TimedOut,
)
from kimikit.evals import vote
from kimikit.prompting import last_number
from kimikit.sweeps.shares import chosen, wilson
from kimikit.types import Delta, Reply


def test_the_majority_wins():
    client = FakeClient(
        ["Answer: Paris", "answer: **paris**.", "Answer: Lyon", "", "Paris"]
    )
    won = vote(client, "Capital?", 5, truth="paris", temperature=0.7)
    assert won.answer == "paris"
    assert dict(won.counts) == {"paris": 3, "lyon": 1}
    assert (won.votes, won.n) == (4, 5)
    assert won.agreement == 0.75
    assert won.interval == chosen(3, 4)
    assert won.interval[0] < wilson(3, 4)[0]
    assert not won.tied
    assert won.cost == Decimal("0.005")
    assert won.cost_per_right == Decimal("0.005") / 3
    assert won.usage.prompt_tokens == 50
    assert all(call["temperature"] == 0.7 for call in client.calls)


def test_a_vote_at_temperature_0_is_refused_wherever_it_was_set():
    client = FakeClient(["1"] * 3)
    with pytest.raises(BadInput, match="temperature=0 all"):
        vote(client, "?", 3, temperature=0)
    client.defaults = {"temperature": 0}
    with pytest.raises(BadInput, match="temperature=0 all"):
        vote(client, "?", 3)
    assert client.calls == []
    assert vote(client, "?", 3, temperature=0.6).votes == 3


def test_it_is_shown_with_its_interval_and_n():
    won = vote(FakeClient(["1", "1", "<2>"]), "?", 3, truth="1", concurrency=1)
    text = str(won)
    assert "1 (right)  2      67% [1%, 99%]" in text
    assert "n = 3" in text
    low, high = won.right_price[1:]
    assert f"$0.0015 [${low:.4f}, ${high:.4f}] a right answer" in text
    page = won._repr_html_()
    assert "&lt;2&gt;" in page
    assert "fake-1" in page
    assert repr(won) == text


def test_numbers_and_objects_can_be_voted_on():
    assert (
        vote(FakeClient(["2", "it is 2.0", "3"]), "?", 3, extract=last_number).answer
        == 2
    )
    won = vote(FakeClient(["a", "b", "a"]), "?", 3, extract=lambda t: {"x": t})
    assert won.answer == {"x": "a"}


def test_a_tie_is_said_and_the_earlier_answer_kept():
    won = vote(FakeClient(["b", "a", "a", "b"]), "?", 4, concurrency=1)
    assert won.answer == "b"
    assert won.tied
    assert "a tie" in str(won)
    assert "right" not in str(won)


def test_no_answer_at_all_is_none():
    won = vote(FakeClient(["", ""]), "?", 2, truth="x")
    assert (won.answer, won.agreement, won.interval) == (None, 0.0, (0.0, 1.0))
    assert won.cost_per_right is None
    assert "2 without an answer" in str(won)


def test_stopped_answers_do_not_vote():
    client = FakeClient(["a", answer("b", partial=True), "a"])
    won = vote(client, "?", 3)
    assert dict(won.counts) == {"a": 2}
    assert "1 not asked: stopped" in str(won)


def test_stopped_answers_cost():
    client = FakeClient(["a", answer("b", partial=True), "a"])
    won = vote(client, "?", 3, truth="a")
    assert won.cost == Decimal("0.003")
    assert won.cost_per_right == Decimal("0.0015")
    assert won.usage.prompt_tokens == 30
    assert len(won.broken) == 1
    unpriced = FakeClient(["a", answer("b", partial=True, cost=None), "a"])
    assert vote(unpriced, "?", 3, truth="a").cost_per_right is None


def test_a_vote_that_is_never_right_has_a_least_price():
    won = vote(FakeClient(["a", "b", "a", "a", "b"]), "?", 5, truth="c")
    assert won.right_price.value is won.right_price.high is None
    assert float(won.right_price.low) == pytest.approx(0.001 / 0.4345, rel=1e-3)
    assert "none right, at least $0.0023" in str(won)


def test_an_interrupt_ends_the_calls_under_way():
    """The calls hang up at their next token; what was complete is counted."""
    under_way = threading.Event()
    ended = []

    class Client:
        def __init__(self):
            self.asked = 0
            self.lock = threading.Lock()

        def chat(self, messages, *, watch, meta, **params):
            with self.lock:
                self.asked += 1
                number = self.asked
            if number == 1:
                return answer("a")
            if number == 2:
                under_way.wait(5)
                _thread.interrupt_main()
            try:
                under_way.set()
                while True:
                    watch(Delta(text="and "))
                    time.sleep(0.001)
            except KeyboardInterrupt:
                ended.append(number)
                return answer("", partial=True)

    won = vote(Client(), "?", 30, concurrency=3)
    assert dict(won.counts) == {"a": 1}
    assert sorted(ended)[:2] == [2, 3]
    assert "29 not asked: stopped" in str(won)


def test_each_vote_is_its_own_answer_and_paid_once():
    store = FakeStore()
    client = FakeClient(["a", "b", "a"])
    client.chat = store.keep(client.chat)
    first = vote(client, "?", 3, store=store, name="v")
    again = vote(client, "?", 3, store=store, name="v")
    assert sorted(again.counts) == sorted(first.counts)
    assert again.reused == 3
    assert "3 paid before" in str(again)


def test_context_variables_reach_the_threads():
    """So that a tag or budget set around the vote holds inside it."""
    tag = ContextVar("tag")
    tag.set("mine")
    seen = []
    vote(FakeClient(lambda m, p: seen.append(tag.get()) or "a"), "?", 3)
    assert seen == ["mine"] * 3


def test_an_answer_that_failed_is_missing():
    client = FakeClient(["a", TimedOut("Silence.", "Again."), "a"])
    won = vote(client, "?", 3, concurrency=1)
    assert dict(won.counts) == {"a": 2}
    assert [type(error) for error in won.failed] == [TimedOut]
    assert "1 failed: Silence." in str(won)
    assert "not asked" not in str(won)


def test_what_had_come_of_a_failed_answer_costs():
    half = StreamError("It broke.", "Again.", reply=answer("Ans", partial=True))
    won = vote(FakeClient(["a", half, "a"]), "?", 3, concurrency=1)
    assert won.cost == Decimal("0.003")


@pytest.mark.parametrize("kind", [AuthenticationFailed, TimedOut])
def test_what_every_answer_would_meet_comes_through(kind):
    client = FakeClient(lambda m, p: kind("No.", "Do.", host="h"))
    with pytest.raises(kind) as caught:
        vote(client, "?", 20, concurrency=1)
    assert len(client.calls) == 1
    assert caught.value.vote.n == 20


@pytest.mark.parametrize(("n", "options"), [(0, {}), (2, {"temperature": 0})])
def test_nothing_is_sent_for_bad_input(n, options):
    client = FakeClient([])
    with pytest.raises(BadInput):
        vote(client, "?", n, **options)
    assert client.calls == []


def test_a_function_that_fails_on_an_answer_costs_no_other_one():
    replies = iter(["Answer: 4", "nonsense", "Answer: 4"])

    class Client:
        def chat(self, messages, **params):
            return Reply(text=next(replies), finish_reason="stop")

    with pytest.warns(KimiWarning, match="extract failed"):
        won = vote(Client(), "2 + 2?", 3, extract=lambda text: int(text[7:]))
    assert (won.answer, won.votes, len(won.replies)) == (4, 2, 3)


@pytest.mark.parametrize(
    "given",
    [{"n": 2.5}, {"n": "3"}, {"n": True}, {"extract": "Answer"}, {"extract": 3},
     {"truth": float("nan")}, {"truth": pd.NA}],
    ids=str,
)  # fmt: skip
def test_what_no_vote_can_be_counted_by_is_refused_before_anything_is_paid(given):
    client = FakeClient(["1"] * 3)
    with pytest.raises(BadInput):
        vote(client, "?", **{"n": 2, **given})
    assert client.calls == []


def test_answers_that_are_arrays_are_counted():
    found = vote(FakeClient(["1"] * 3), "?", 3, extract=lambda text: np.array([1, 2]))
    assert found.counts == (([1, 2], 3),)
    right = vote(FakeClient(["1"]), "?", 1, extract=np.float64, truth=np.float64(1))
    assert right.cost_per_right == right.cost
    assert "1.0 (right)" in str(right)


def test_nan_is_no_answer():
    found = vote(FakeClient(["1"] * 3), "?", 3, extract=lambda text: float("nan"))
    assert (found.votes, found.answer) == (0, None)
    assert "3 without an answer" in str(found)
