"""A likely cost and a highest one, before a call is made."""

from decimal import Decimal

import pytest
from support.money import KIMI_K3, ask, make_reply

from kimikit.money.bills import LIKELY_TOKENS
from kimikit.money.ledger import Ledger


@pytest.fixture
def ledger(tmp_path):
    made = Ledger(tmp_path / "l")
    yield made
    made.close()


def test_the_likely_answer_is_the_mean_of_those_seen(ledger):
    likely, most = ledger.bill("together", KIMI_K3, {"max_tokens": 2000}, "Hello")
    assert LIKELY_TOKENS * Decimal("0.000015") < likely < Decimal("0.0046")
    assert Decimal("0.03") < most < Decimal("0.0304")
    for tokens in (900, 1100):
        ask(ledger, reply=make_reply(completion=tokens))
    likely, _ = ledger.bill("together", KIMI_K3, {"max_tokens": 2000}, "Hello")
    assert Decimal("0.015") < likely < Decimal("0.0151")
    likely, most = ledger.bill("together", KIMI_K3, {"max_tokens": 10}, "Hello")
    assert likely < most < Decimal("0.0005")


def test_a_system_message_is_paid_for_too(ledger):
    short, _ = ledger.bill("together", KIMI_K3, {}, "Hello")
    long, most = ledger.bill("together", KIMI_K3, {"system": "x " * 500}, "Hello")
    assert long > short
    assert most > 15, "the window bounds an answer without max_tokens"


def test_what_is_unpriced_or_unbounded_is_none(ledger):
    assert ledger.bill("vllm", "mine", {"max_tokens": 5}, "Hi") == (None, None)
    ledger.prices.set("vllm", "mine", input=1, output=1)
    likely, most = ledger.bill("vllm", "mine", {}, [{"role": "user", "content": "Hi"}])
    assert likely > 0
    assert most is None
