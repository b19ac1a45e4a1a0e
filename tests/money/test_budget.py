"""Budgets refuse before, stop during, hold for all at once, and say why."""

import asyncio
import contextvars
import os
import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.money import LOCAL, make_call, make_reply

from kimikit.errors import (
    BadInput,
    BudgetExceeded,
    ConnectionFailed,
    KimiWarning,
    RateLimited,
    TimedOut,
)
from kimikit.money.budget import ALLOWANCE, Budget, Budgets
from kimikit.money.ledger import Ledger
from kimikit.types import Usage

ROOT = Path(__file__).parents[2]
A_CALL = Decimal("0.000843")


@pytest.fixture
def ledger(tmp_path):
    made = Ledger(tmp_path / "ledger.sqlite3")
    yield made
    made.close()


@pytest.fixture
def observer(ledger):
    return Budgets(ledger)


def run(observer, reply=None, **body):
    call = make_call(**body)
    observer.opened(call)
    observer.closed(call, reply or make_reply(model=call.model), None)
    return call


def test_a_call_that_cannot_fit_is_refused_before_it_is_sent(observer, ledger):
    with Budget(usd=0.01) as budget, pytest.raises(BudgetExceeded) as refused:
        run(observer, max_tokens=1000)
    said = str(refused.value)
    assert "may take up to $0.015" in said
    assert "budget of $0.01 has $0.000000 spent or held by open calls" in said
    assert "and $0.010000 left" in said
    assert said.endswith("Raise the limit (usd=...), or ask for less with max_tokens.")
    assert ledger.calls() == []
    assert budget.held == {}


def test_what_was_spent_counts_and_what_was_held_is_given_back(observer):
    with Budget(usd="0.05", tokens=2000) as budget:
        run(observer, max_tokens=1000)
        assert budget.spent == (A_CALL, 90)
        run(observer, max_tokens=1000)
        assert repr(budget) == (
            "budget: $0.0017 of $0.0500 and 180 of 2,000 tokens spent, 0 calls open"
        )
        with pytest.raises(BudgetExceeded, match=r"1,9\d\d tokens.*180 tokens sp"):
            run(observer, max_tokens=1850)
    run(observer, max_tokens=100_000)
    assert budget.spent.tokens == 180


def test_all_budgets_around_a_call_apply_and_are_charged_once(ledger):
    always = Budget(usd=1)
    observer = Budgets(ledger, [always])
    with Budget(usd=0.5) as outer, Budget(tokens=5000) as inner, always, outer:
        run(observer, max_tokens=100)
        with pytest.raises(BudgetExceeded, match="tokens"):
            run(observer, max_tokens=5000)
        with inner, pytest.raises(BudgetExceeded, match=r"\$0.5"):
            run(observer, max_tokens=40_000)
    assert always.spent == outer.spent == (A_CALL, 90)
    assert inner.spent == (A_CALL, 90)
    assert always.held == outer.held == inner.held == {}


def test_a_hundred_calls_at_once_cannot_overshoot(observer, ledger):
    """Each may take $0.0151 and does take $0.0150; 33 fit into half a dollar."""
    budget = Budget(usd=0.5)
    start = threading.Barrier(100)
    reply = make_reply(usage=Usage(10, 1000))

    def one():
        call = make_call("Hi", max_tokens=1000)
        start.wait()
        try:
            observer.opened(call)
        except BudgetExceeded:
            return 0
        observer.progressed(call, Usage(10, 500))
        observer.closed(call, reply, None)
        return 1

    with budget, ThreadPoolExecutor(100) as pool:
        context = contextvars.copy_context()
        done = [pool.submit(context.copy().run, one) for _ in range(100)]
        admitted = sum(future.result() for future in done)
    assert 1 <= admitted <= 33
    assert budget.spent.usd == admitted * Decimal("0.01503")
    assert budget.spent.usd <= Decimal("0.5")
    assert ledger.total().calls == admitted


def test_tasks_inherit_the_budget_of_the_block_that_made_them(observer):
    async def one():
        await asyncio.sleep(0)
        run(observer, max_tokens=10)

    async def many():
        await asyncio.gather(*(one() for _ in range(5)))

    with Budget(usd=1) as budget:
        asyncio.run(many())
    assert budget.spent.tokens == 450


class TestStreamsWithoutMaxTokens:
    def test_an_allowance_is_held_and_grows_with_the_answer(self, observer):
        with Budget(usd=0.1) as budget:
            call = make_call("Hi")
            observer.opened(call)
            first = budget.held[call.id]
            assert ALLOWANCE < first.tokens < ALLOWANCE + 100
            observer.progressed(call, Usage(10, 100))
            assert budget.held[call.id] == first
            observer.progressed(call, Usage(10, 5000))
            assert budget.held[call.id].tokens > 5000
            with pytest.raises(BudgetExceeded, match="ask for less"):
                observer.progressed(call, Usage(10, 6500))
            partial = make_reply(usage=Usage(10, 6500, estimated=True), partial=True)
            observer.closed(call, partial, KeyboardInterrupt())
        # The host named no usage, so the prompt is charged as it was held: at most.
        assert budget.spent.tokens == first.tokens - ALLOWANCE + 6500
        assert Decimal("0.09753") <= budget.spent.usd < Decimal("0.098")
        assert budget.held == {}

    def test_plain_answers_need_a_bound(self, observer):
        """The table's own bound will do; without one nothing could stop them."""
        with Budget(usd=100) as budget:
            call = make_call(stream=False)
            observer.opened(call)
            assert budget.held[call.id].tokens > 1_000_000
            observer.closed(call, None, TimedOut("x", "y"))
            assert budget.spent.usd > 15
        with Budget(tokens=100), pytest.raises(BadInput, match="Nothing bounds"):
            run(observer, model="somebody/else", stream=False)

    def test_embeddings_have_no_answer_to_bound(self, observer, ledger):
        ledger.prices.set("together", "e5", input=0.02, output=0)
        with Budget(usd=0.01) as budget:
            call = make_call(endpoint="embed", model="e5", stream=False)
            observer.opened(call)
            assert budget.held[call.id].tokens < 150
            observer.closed(call, make_reply(usage=Usage(10)), None)


class TestHowACallEnds:
    @pytest.mark.parametrize("error", [RateLimited("x", "y"), BadInput("x", "y")])
    def test_refused_by_the_host_costs_nothing(self, observer, error):
        with Budget(usd=1) as budget:
            call = make_call(max_tokens=10)
            observer.opened(call)
            observer.closed(call, None, error)
        assert budget.spent == (0, 0)

    def test_sent_and_never_answered_is_charged_in_full(self, observer):
        with Budget(usd=1) as budget:
            call = make_call(max_tokens=1000)
            observer.opened(call)
            held = budget.held[call.id]
            observer.closed(call, None, ConnectionFailed("x", "y"))
        assert budget.spent == held

    def test_calls_it_never_saw_open_are_passed_on(self, observer, ledger):
        call = make_call()
        observer.progressed(call, Usage(1, 1))
        observer.closed(call, make_reply(), None)
        assert ledger.total().calls == 1


class TestPrices:
    def test_an_unpriced_model_is_refused_under_a_budget_of_money(self, observer):
        with Budget(usd=1), pytest.raises(BudgetExceeded, match="set_price"):
            run(observer, model="somebody/else", max_tokens=5)
        with Budget(tokens=10_000) as tokens:
            run(observer, model="somebody/else", max_tokens=5)
        with Budget(usd=1, allow_unpriced=True) as allowed:
            run(observer, model="somebody/else", max_tokens=5)
        assert tokens.spent == allowed.spent == (0, 90)

    def test_the_local_stand_in_costs_nothing_but_tokens(self, observer):
        with Budget(usd=0.01, tokens=10_000) as budget:
            run(observer, host=LOCAL, model="smollm2", max_tokens=4000)
        assert budget.spent == (0, 90)
        with Budget(tokens=100), pytest.raises(BudgetExceeded):
            run(observer, host=LOCAL, model="smollm2", max_tokens=4000)


@pytest.mark.parametrize(
    "wrong", [{}, {"usd": 0}, {"usd": -1}, {"usd": "much"}, {"tokens": 0},
              {"usd": float("nan")}],
)  # fmt: skip
def test_a_limit_that_is_none_is_refused(wrong):
    with pytest.raises(BadInput):
        Budget(**wrong)


class TestDay:
    def test_all_kernels_share_the_days_budget(self, tmp_path, monkeypatch):
        """What another kernel has spent and what it holds are both counted."""
        path = tmp_path / "ledger.sqlite3"
        monkeypatch.setenv("KIMIKIT_BUDGET_USD_PER_DAY", "0.04")
        code = (
            "from support.money import *\n"
            "from kimikit.money.ledger import Ledger\n"
            "from kimikit.money.budget import Budgets\n"
            "b = Budgets(Ledger())\n"
            "for n in range(10):\n"
            "    call = make_call(max_tokens=1000)\n"
            "    b.opened(call)\n"
            "    if n < 9: b.closed(call, make_reply(), None)\n"
        )
        subprocess.run(
            [sys.executable, "-c", code],
            check=True,
            env={
                **os.environ,
                "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}",
                "KIMIKIT_LEDGER": str(path),
            },
        )
        ledger = Ledger(path)
        observer = Budgets(ledger)
        run(observer, max_tokens=1000)
        call = make_call(max_tokens=1500)
        with pytest.raises(BudgetExceeded) as refused:
            observer.opened(call)
        assert "The day's budget of $0.04 has $0.023" in str(refused.value)
        assert "left" in str(refused.value)
        assert "KIMIKIT_BUDGET_USD_PER_DAY" in refused.value.remedy
        assert ledger.total().calls == 11
        tomorrow = make_call(max_tokens=1500, created=call.created + 86400)
        observer.opened(tomorrow)
        ledger.close()

    def test_a_growing_stream_holds_more_of_the_day(self, ledger, monkeypatch):
        monkeypatch.setenv("KIMIKIT_BUDGET_USD_PER_DAY", "0.1")
        observer, other = Budgets(ledger), Budgets(ledger)
        call = make_call("Hi")
        observer.opened(call)
        observer.progressed(call, Usage(10, 200))
        observer.progressed(call, Usage(10, 5000))
        with pytest.raises(BudgetExceeded, match=r"\$0.08\d+ spent or held"):
            other.opened(make_call(max_tokens=1200))
        with pytest.raises(BudgetExceeded, match="day's budget"):
            observer.progressed(call, Usage(10, 6500))
        observer.closed(call, make_reply(partial=True), None)
        other.opened(make_call(max_tokens=1200))

    def test_an_unpriced_model_cannot_be_held_by_the_day(self, ledger, monkeypatch):
        monkeypatch.setenv("KIMIKIT_BUDGET_USD_PER_DAY", "1")
        observer = Budgets(ledger)
        with pytest.raises(BudgetExceeded, match="No price is known"):
            run(observer, model="somebody/else", max_tokens=5)
        with Budget(usd=1, allow_unpriced=True):
            run(observer, model="somebody/else", max_tokens=5)
        run(observer, host=LOCAL, model="smollm2")
        with Budget(tokens=100_000) as budget:
            with pytest.raises(BudgetExceeded):
                run(observer, max_tokens=80_000)
            assert budget.held == {}

    @pytest.mark.parametrize("wrong", ["lots", "0"])
    def test_a_wrong_limit_is_named(self, ledger, monkeypatch, wrong):
        monkeypatch.setenv("KIMIKIT_BUDGET_USD_PER_DAY", wrong)
        with pytest.raises(BadInput, match=f"KIMIKIT_BUDGET_USD_PER_DAY='{wrong}'"):
            Budgets(ledger)

    def test_it_holds_where_the_disk_no_longer_takes_rows(self, tmp_path, monkeypatch):
        """What was spent before the disk failed is read from it still."""
        ledger = Ledger(tmp_path / "l")
        monkeypatch.setenv("KIMIKIT_BUDGET_USD_PER_DAY", "0.04")
        observer = Budgets(ledger)
        run(observer, make_reply(usage=Usage(10, 2000)), max_tokens=2000)

        def full(db):
            raise sqlite3.OperationalError("database or disk is full")

        with pytest.warns(KimiWarning, match="disk is full"), suppress(Exception):
            ledger._store.write(full)
        assert ledger.failure
        with pytest.raises(BudgetExceeded, match=r"has \$0\.03003"):
            run(observer, max_tokens=1000)
        run(observer, max_tokens=500)
        ledger.close()


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(1, 4000), st.floats(0, 1), st.booleans()), max_size=30
    )
)
def test_no_order_of_calls_overshoots(tmp_path_factory, steps):
    """Calls that stay within their max_tokens never spend more than the limit."""
    ledger = Ledger(tmp_path_factory.mktemp("l") / "l", store="usage")
    observer, waiting = Budgets(ledger), []
    with Budget(usd="0.2", tokens=20_000) as budget:
        for max_tokens, share, ends in steps:
            call = make_call("Hi", max_tokens=max_tokens)
            try:
                observer.opened(call)
                waiting.append((call, int(max_tokens * share)))
            except BudgetExceeded:
                pass
            if ends and waiting:
                call, made = waiting.pop(0)
                observer.closed(call, make_reply(usage=Usage(9, made)), None)
            assert budget.spent.usd <= Decimal("0.2")
            assert budget.spent.tokens <= 20_000
            held = budget.held.values()
            assert budget.spent.usd + sum(h.usd for h in held) <= Decimal("0.2")
            assert budget.spent.tokens + sum(h.tokens for h in held) <= 20_000
    ledger.close()
