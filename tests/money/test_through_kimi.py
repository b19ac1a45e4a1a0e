"""Money as a user meets it: ``Kimi`` over real HTTP, from the price to the bill."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from decimal import Decimal
from pathlib import Path

import pytest
from support.fault_server import (
    DONE,
    HOLD,
    FaultServer,
    chunk,
    event,
    head,
    plain,
    sse,
)

from kimikit import BudgetExceeded, Kimi
from kimikit.money.ledger import Ledger
from kimikit.types import Usage

ROOT = Path(__file__).parents[2]
KEY = "a-key-without-any-known-beginning"
USAGE = {"prompt_tokens": 40, "completion_tokens": 50,
         "prompt_tokens_details": {"cached_tokens": 10}}  # fmt: skip
COST = Decimal("0.000843")


def piece(text, **more):
    choice = {"index": 0, "delta": {"content": text}, **more}
    return {"model": "moonshotai/Kimi-K3", "choices": [choice]}


ANSWER = sse(
    piece("Hi"), piece("", finish_reason="stop"), {"choices": [], "usage": USAGE}, DONE
)


@pytest.fixture
def server():
    with FaultServer() as running:
        yield running


@pytest.fixture
def kimi(server):
    return connect(server)


def connect(server, **options):
    options = {"model": "moonshotai/Kimi-K3", "max_retries": 0} | options
    return Kimi("together", base_url=server.url, api_key=KEY, show=False, **options)


def test_reply_row_total_export_and_command_agree(server, kimi, tmp_path):
    server.play(ANSWER)
    reply = kimi.chat("Hello")
    assert reply.cost == COST
    assert "$0.000843" in repr(reply)
    (row,) = kimi.ledger.calls()
    assert (row.cost, row.usage) == (COST, Usage(40, 50, 10))
    assert kimi.ledger.total().cost == COST
    assert "0.000843" in kimi.ledger.export("csv", tmp_path / "a.csv").read_text()
    told = subprocess.run(
        [sys.executable, "-m", "kimikit", "usage"],
        capture_output=True, text=True, check=True, cwd=ROOT, env={**os.environ},
    ).stdout  # fmt: skip
    assert "$0.000843" in told
    assert "moonshotai/Kimi-K3" in told


def test_an_unpriced_answer_is_unpriced_everywhere(server):
    server.play(ANSWER)
    kimi = connect(server, model="somebody/else")
    server.scripts[0] = (ANSWER.replace(b"moonshotai/Kimi-K3", b"somebody/else_____"),)
    reply = kimi.chat("Hello")
    assert reply.cost is None
    assert "unpriced" in repr(reply)
    assert kimi.ledger.calls()[0].cost_text == "unpriced"
    assert kimi.ledger.total().cost_text == "unpriced"
    kimi.set_price(input=1, output=2)
    assert kimi.chat("Hello").cost == Decimal("0.00014")
    assert kimi.ledger.total().cost_text == "at least $0.000140 (1 unpriced)"


@pytest.mark.parametrize(
    ("host", "model"),
    [("moonshot-cn", "kimi-k2.6"), ("nvidia", "moonshotai/kimi-k2.6")],
)
def test_hosts_without_known_prices_say_so_before_and_after(server, host, model):
    server.play(ANSWER)
    kimi = Kimi(host, base_url=server.url, api_key=KEY, model=model, show=False)
    with kimi.budget(usd=1), pytest.raises(BudgetExceeded) as refused:
        kimi.chat("Hello")
    assert f"No price is known for {model} on {host}" in str(refused.value)
    assert "set_price" in refused.value.remedy
    assert "unpriced" in str(kimi.sweep("Hello", temperature=[0, 1], dry_run=True))
    with kimi.budget(usd=1, allow_unpriced=True):
        assert "unpriced" in repr(kimi.chat("Hello"))
    text = repr(kimi.ledger)
    assert "set one with kimi.set_price(...)" in text
    assert "unpriced" in text
    assert "$0.00" not in text


def test_the_key_is_in_no_row_even_when_the_host_repeats_it(server, kimi, tmp_path):
    """Also a key that no pattern knows and no variable holds."""
    server.play(sse(piece(f"your key is {KEY}, I think"), DONE))
    server.play(plain({"error": {"message": f"bad key {KEY}"}}, 401))
    kimi.chat("Hello")
    with pytest.raises(Exception, match="key"):
        kimi.chat("Hello")
    kimi.ledger.close()
    stored = b"".join(p.read_bytes() for p in tmp_path.glob("ledger.db*"))
    assert KEY.encode() not in stored


class TestBudgets:
    def test_a_stream_is_stopped_where_it_would_pass_and_what_came_is_kept(
        self, server, kimi, monkeypatch
    ):
        """Without max_tokens 4,096 answer tokens are held at first, for $0.0614."""
        monkeypatch.setattr("kimikit.wire.answer.PROGRESS_S", 0)
        thousand = chunk(event(piece("word " * 1000)))
        server.play(head(), thousand * 7, HOLD)
        with kimi.budget(usd="0.1") as budget:
            stream = kimi.stream("Hello")
            with stream, pytest.raises(BudgetExceeded) as stopped:
                list(stream)
        reply = stopped.value.reply
        assert reply.text.startswith("word word")
        assert reply.usage.estimated
        assert reply.cost > 0
        (row,) = kimi.ledger.calls()
        assert (row.state, row.cost) == ("truncated", reply.cost)
        assert row.cost_text.startswith("~$")
        assert budget.spent.usd >= reply.cost, "no usage came, so at most is charged"
        assert budget.held == {}
        assert kimi.ledger.read(row.id)[1].text == reply.text

    def test_a_hundred_chats_at_once_stay_within(self, server, kimi):
        """Each may take $0.001791 at most and takes $0.000843: 3 fit at once, 5 in turn."""
        server.play(ANSWER)
        with kimi.budget(usd="0.006") as budget, ThreadPoolExecutor(100) as pool:

            def one():
                try:
                    return kimi.chat("Hello", max_tokens=90).cost
                except BudgetExceeded:
                    return Decimal(0)

            context = copy_context()
            asked = [pool.submit(context.copy().run, one) for _ in range(100)]
            paid = [future.result() for future in asked]
        assert 3 <= sum(cost > 0 for cost in paid) == len(server.requests) <= 5
        assert budget.spent.usd == sum(paid) == kimi.ledger.total().cost
        assert budget.spent.usd <= Decimal("0.006")

    def test_a_race_and_a_sweep_are_inside_the_block_that_starts_them(
        self, server, kimi
    ):
        server.play(ANSWER)
        with kimi.tag("pilot"), kimi.budget(tokens=5000) as budget:
            columns = {"a": {"temperature": 0}, "b": {"temperature": 1}}
            kimi.race("Hello", columns, max_tokens=90)
            kimi.sweep("Hello", temperature=[0.5, 1], repeats=2, max_tokens=90,
                       progress=False)  # fmt: skip
        assert budget.spent.tokens == 90 * len(server.requests)
        assert {row.tag for row in kimi.ledger.calls(None)} == {"pilot"}
        assert len(kimi.ledger.calls(None, tag="pilot")) == len(server.requests) >= 6

    def test_the_object_and_the_day_have_limits_of_their_own(self, server, monkeypatch):
        server.play(ANSWER)
        kimi = connect(server, budget=0.002, max_tokens=90)
        kimi.chat("Hello")
        with pytest.raises(BudgetExceeded, match=r"budget of \$0.002 has \$0.000843"):
            kimi.chat("Hello")
        monkeypatch.setenv("KIMIKIT_BUDGET_USD_PER_DAY", "0.002")
        other = connect(server, max_tokens=90)
        with pytest.raises(BudgetExceeded, match=r"day's budget of \$0.002"):
            other.chat("Hello")
        assert len(server.requests) == 1


def test_rows_of_a_kernel_without_texts_are_numbers(server, monkeypatch, tmp_path):
    monkeypatch.setenv("KIMIKIT_STORE", "usage")
    server.play(ANSWER)
    server.play(plain({"error": {"message": "no: whispered"}}, 400))
    kimi = connect(server)
    kimi.chat("whispered")
    with pytest.raises(Exception, match="whispered"):
        kimi.chat("whispered")
    kimi.ledger.close()
    assert b"whispered" not in (tmp_path / "ledger.db").read_bytes()
    assert Ledger().total().calls == 2
