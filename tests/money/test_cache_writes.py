"""What is put into a host's cache has a price for each lifetime, and is never too low."""

import contextlib
import csv
import shutil
import sqlite3
from decimal import Decimal
from pathlib import Path

import pytest
from support.fault_server import DONE, FaultServer, sse
from support.money import ask, make_reply

from kimikit import BudgetExceeded, Kimi
from kimikit.money.ledger import Ledger
from kimikit.types import Usage
from kimikit.wire.cache_writes import MOST_PARTS, seconds_of
from kimikit.wire.usage import read_usage

OLD = Path(__file__).parents[1] / "data" / "ledger_0_3_0.sqlite3"
DELTA = {"index": 0, "delta": {"content": "Hi"}, "finish_reason": "stop"}
HOUR = {"type": "ephemeral", "ttl": "1h"}
MARKED = {"type": "text", "text": "Long. " * 40, "cache_control": HOUR}
WRITTEN = {"prompt_tokens": 100, "completion_tokens": 1, "cache_write_tokens": 60}


@pytest.mark.parametrize(
    ("usage", "want"),
    [
        ({"cache_creation": {"ephemeral_5m_input_tokens": 20, "ephemeral_1h_input_tokens": 30}}, (50, 30)),
        ({"prompt_tokens_details": {"cache_write_tokens": 50,
          "cache_write_tokens_details": {"5m": 20, "1h": 30}}}, (50, 30)),
        ({"cache_creation_token_details": {"ttl_1h": 30}, "cache_write_tokens": 50}, (50, 30)),
        ({"cacheWriteInputTokens": 50,
          "cacheDetails": [{"ttl": "5m", "inputTokens": 20}, {"ttl": "1h", "inputTokens": 30}]}, (50, 30)),
        ({"cache_creation": {"ttl": 3600, "input_tokens": 50}}, (50, 50)),
        ({"cache_write_tokens": 50, "cache_ttl": "60 min"}, (50, 50)),
        ({"cache_write_tokens": 50, "ttl": "300s"}, (50, 0)),
        ({"cache_creation": {"ephemeral_1h_input_tokens": "many"}, "cache_write_tokens": -5}, (0, 0)),
        ({"cache_creation": [[[{"ttl": True}]], None, 7], "ttl": float("nan")}, (0, 0)),
    ],
)  # fmt: skip
def test_a_host_tells_lifetimes_in_its_own_way(usage, want):
    read = read_usage({"prompt_tokens": 100, "completion_tokens": 1, **usage})
    assert (read.cache_write_tokens, read.cache_write_1h_tokens) == want


@pytest.mark.parametrize(
    ("body", "kept"),
    [
        ({"messages": [{"role": "user", "content": [MARKED]}]}, 60),
        ({"messages": [{"role": "user", "content": "x", "cache_control": HOUR}]}, 60),
        ({"messages": [], "tools": [{"type": "function", "cache_control": HOUR}]}, 60),
        ({"messages": [], "cache_control": {"ttl": 3600}}, 60),
        ({"messages": [], "prompt_cache_retention": "24h"}, 60),
        ({"messages": [], "prompt_cache_options": {"ttl": "30m"}}, 60),
        ({"messages": [], "cache_control": {"type": "ephemeral"}}, 0),
        ({"messages": [], "cache_control": {"ttl": "5m"}}, 0),
        ({"messages": [], "prompt_cache_retention": "in_memory"}, 0),
        ({"messages": [{"role": "user", "content": "keep it for 1h"}]}, 0),
        ({"messages": [{"role": "user", "content": "x"}] * (MOST_PARTS + 1)}, 60),
        ({"messages": []}, 0),
    ],
)  # fmt: skip
def test_else_the_longest_lifetime_that_was_asked_for_counts(body, kept):
    assert read_usage(WRITTEN, body).cache_write_1h_tokens == kept


def test_what_the_host_says_of_lifetimes_comes_first():
    told = {**WRITTEN, "cache_creation": {"ephemeral_5m_input_tokens": 60}}
    assert read_usage(told, {"cache_control": HOUR}).cache_write_1h_tokens == 0


@pytest.mark.parametrize(
    ("lifetime", "seconds"),
    [("1h", 3600), ("ephemeral 1h input", 3600), ("90s", 90), ("2 days", 172_800),
     ("5min", 300), ("600", 600), (0, 0), (-1, 0), (None, 0), ("1month", 0),
     ("9" * 500 + "h", 0), ([], 0)],
)  # fmt: skip
def test_lifetimes_in_seconds(lifetime, seconds):
    assert seconds_of(lifetime) == seconds


def test_an_hour_asked_for_is_paid_bounded_and_shown(tmp_path):
    """1,000 tokens of kimi-k3.1-pro, 900 of them written: 4 dollars a million, not 2."""
    usage = {"prompt_tokens": 1000, "completion_tokens": 10,
             "prompt_tokens_details": {"cache_write_tokens": 900}}  # fmt: skip
    text = [{"type": "text", "text": "Long. " * 200, "cache_control": HOUR}]
    cost = (900 * Decimal(4) + 100 * Decimal(2) + 10 * Decimal(10)) / 10**6
    with FaultServer() as server:
        server.play(sse({"choices": [DELTA]}, {"choices": [], "usage": usage}, DONE))
        kimi = Kimi("moonshot", base_url=server.url, api_key="kkkkkkkk",
                    model="kimi-k3.1-pro", show=False, max_tokens=10)  # fmt: skip
        messages = [{"role": "user", "content": text}]
        reply = kimi.chat(messages)
        assert reply.usage.cache_write_1h_tokens == 900
        (row,) = kimi.ledger.calls()
        assert reply.cost == row.cost == kimi.ledger.total().cost == cost
        assert row.at_most >= 1000 * Decimal(4) / 10**6
        less = kimi.budget(usd=row.at_most * Decimal("0.9"))
        with less, pytest.raises(BudgetExceeded):
            kimi.chat(messages)
    for view in (kimi.ledger, kimi.ledger.calls()):
        assert "cache write" in repr(view)
        assert "90%" in repr(view)
        assert "cache write" in view._repr_html_()
    assert "$2.00, $4.00 for 1 h" in repr(kimi.ledger)
    with kimi.ledger.export("csv", tmp_path / "a.csv").open() as file:
        (line,) = csv.DictReader(file)
    assert (line["cache_write_tokens"], line["cache_write_1h_tokens"]) == ("900", "900")
    assert kimi.ledger.to_pandas()["cache_write_1h_tokens"].tolist() == [900]


def test_a_ledger_of_0_3_0_takes_them_too(tmp_path):
    """It has no column for them; its rows keep all that they had."""
    path = Path(shutil.copy(OLD, tmp_path))
    with contextlib.closing(sqlite3.connect(path)) as db:
        before = db.execute(
            "SELECT count(*), sum(prompt_tokens), sum(cost) FROM calls"
        ).fetchone()
    ledger = Ledger(path)
    old = ledger.total()
    assert (old.calls, old.prompt_tokens, old.cost_pico) == before
    assert old.cache_write_tokens == 0
    assert "cache write" not in repr(ledger)
    usage = Usage(100, 5, cache_write_tokens=60, cache_write_1h_tokens=20)
    ask(ledger, reply=make_reply(usage=usage))
    assert ledger.total().cache_write_tokens == 60
    assert ledger.total().cache_write_1h_tokens == 20
    assert ledger.total().calls == old.calls + 1
    *rest, first = ledger.flat()
    assert first["cache_write_tokens"] == 60
    assert not any(row["cache_write_tokens"] for row in rest)
    assert "60%" in repr(ledger.calls())
    ledger.close()


def test_prices_of_ones_own_have_lifetimes():
    with FaultServer() as server:
        server.play(sse({"choices": [DELTA]}, {"choices": [], "usage": WRITTEN}, DONE))
        kimi = Kimi(base_url=server.url, api_key="kkkkkkkk", model="mine", show=False)
        kimi.set_price(input=1, output=1, cache_write=2, cache_write_1h=8)
        assert kimi.chat("Hi").cost == Decimal(40 + 60 * 2 + 1) / 10**6
        kept = kimi.chat("Hi", extra_body={"cache_control": HOUR})
        assert kept.cost == Decimal(40 + 60 * 8 + 1) / 10**6


def test_an_hour_is_priced_before_it_is_asked_for(tmp_path):
    """A first call writes its whole prompt: kimi-k3 takes 6 dollars a million, not 3."""
    ledger = Ledger(tmp_path / "l.sqlite3")
    ask = ("moonshot", "kimi-k3", {"max_tokens": 1}, "word " * 1000)
    short, most = ledger.bill(*ask)
    hour, _ = ledger.bill(*ask[:2], {"max_tokens": 1, "cache_ttl": "1h"}, ask[3])
    answer = 15 / Decimal(10**6)
    assert (hour - answer) / (short - answer) == 2
    assert hour <= most
