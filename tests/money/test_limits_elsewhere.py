"""Budgets in threads and executors, requests that were lost, tokens put into a cache."""

import datetime as dt
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest
from support.money import make_call, make_reply

from kimikit.errors import BudgetExceeded, ConnectionFailed, Overloaded
from kimikit.money.budget import Budget, Budgets
from kimikit.money.ledger import Ledger
from kimikit.types import Usage
from kimikit.wire.usage import read_usage


@pytest.fixture
def ledger(tmp_path):
    made = Ledger(tmp_path / "l")
    yield made
    made.close()


def one(observer, **body):
    call = make_call(max_tokens=100, **body)
    observer.opened(call)
    observer.closed(call, make_reply(), None)


def test_threads_and_executors_are_in_the_block_around_them(ledger):
    observer = Budgets(ledger)
    with ThreadPoolExecutor(2) as pool:
        pool.submit(one, observer).result()
        with Budget(usd=1) as budget:
            pool.submit(one, observer).result()
            thread = threading.Thread(target=one, args=[observer])
            thread.start()
            thread.join()
        pool.submit(one, observer).result()
    assert budget.spent.tokens == 180


def test_a_block_of_ones_own_keeps_others_out(ledger):
    observer = Budgets(ledger)

    def own():
        with Budget(tokens=10_000) as mine:
            one(observer)
        return mine.spent.tokens

    with ThreadPoolExecutor(1) as pool, Budget(usd=1) as outer:
        assert pool.submit(own).result() == 90
    assert outer.spent.tokens == 0


def test_a_lost_request_is_a_row_of_its_own_and_held_twice(ledger):
    observer = Budgets(ledger)
    with Budget(usd=0.04) as budget:
        call = make_call(max_tokens=1000)
        observer.opened(call)
        observer.lost(call, ConnectionFailed("x", "y"))
        observer.lost(call, Overloaded("x", "y"))
        with pytest.raises(BudgetExceeded):
            observer.lost(call, ConnectionFailed("x", "y"))
        assert budget.spent.usd > 0.03
    assert ledger.total().unknown == 3
    assert [row.state for row in ledger.calls()].count("lost") == 2


@pytest.mark.parametrize(
    ("usage", "want"),
    [
        ({"prompt_tokens": 100, "completion_tokens": 1,
          "prompt_tokens_details": {"cached_tokens": 20, "cache_write_tokens": 50}}, (100, 20, 50, 0)),
        ({"input_tokens": 10, "output_tokens": 1, "cache_read_input_tokens": 40,
          "cache_creation_input_tokens": 50,
          "cache_creation": {"ephemeral_5m_input_tokens": 20, "ephemeral_1h_input_tokens": 30}},
         (100, 40, 50, 30)),
        ({"prompt_tokens": 100, "completion_tokens": 1, "cache_creation_input_tokens": 500}, (100, 0, 100, 0)),
        ({"input_tokens": 100, "output_tokens": 1,
          "input_tokens_details": {"cached_tokens": 5, "cache_write_tokens": 7}}, (100, 5, 7, 0)),
    ],
)  # fmt: skip
def test_cache_writes_are_read_in_every_shape(usage, want):
    read = read_usage(usage)
    assert want == (
        read.prompt_tokens,
        read.cached_tokens,
        read.cache_write_tokens,
        read.cache_write_1h_tokens,
    )


def test_cache_writes_are_kept_and_shown(ledger):
    call = make_call()
    ledger.opened(call)
    usage = Usage(100, 5, cache_write_tokens=60, cache_write_1h_tokens=20)
    ledger.closed(call, make_reply(usage=usage), None)
    assert ledger.calls()[0].usage == usage
    assert ledger.total().cache_write_tokens == 60
    assert "60 cache write" in make_reply(usage=usage).footer()


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="Windows has one zone a process")
def test_a_day_of_the_budget_is_one_of_utc_in_every_time_zone(ledger, monkeypatch):
    """At 23:00 UTC it is the next day in Kiritimati, and still this one in Honolulu."""
    monkeypatch.setenv("KIMIKIT_BUDGET_USD_PER_DAY", "0.02")
    late = dt.datetime(2026, 11, 20, 23, tzinfo=dt.UTC).timestamp()
    other = Ledger(ledger.path)

    def ask(where, zone, created):
        monkeypatch.setenv("TZ", zone)
        time.tzset()
        call = make_call(max_tokens=1000, created=created)
        observer = Budgets(where)
        observer.opened(call)
        paid = make_reply(completion=1000, cost=Decimal("0.0151"))
        observer.closed(call, paid, None)

    try:
        ask(ledger, "Pacific/Kiritimati", late)
        for zone in ("Pacific/Honolulu", "Pacific/Kiritimati"):
            with pytest.raises(BudgetExceeded, match="day's budget"):
                ask(other, zone, late + 1800)
        ask(other, "Pacific/Honolulu", late + 5400)  # 00:30 UTC of the next day
        assert list(other.total(by="day")) == ["2026-11-20"]
        monkeypatch.setenv("TZ", "Pacific/Kiritimati")
        time.tzset()
        assert list(other.total(by="day")) == ["2026-11-21"]
    finally:
        monkeypatch.undo()
        time.tzset()
        other.close()
