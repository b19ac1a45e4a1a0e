"""A likely cost and a highest one, before a call is made."""

from decimal import Decimal

import pytest
from support.money import KIMI_K3, ask, make_reply

from kimikit.errors import BadInput
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


@pytest.mark.parametrize(
    "asked",
    [
        {"web_search_options": {}},
        {"extra_body": {"plugins": [{"id": "response-healing"}, {"id": "web"}]}},
        {"tools": [{"type": "web_search"}]},
    ],
)
def test_what_a_search_of_the_host_finds_has_no_bound(ledger, asked):
    """Its results are read and paid for: thousands of tokens that nobody sent."""
    likely, most = ledger.bill("together", KIMI_K3, {"max_tokens": 9, **asked}, "Hi")
    assert likely > 0
    assert most is None


def test_a_model_that_is_named_as_online_has_no_bound(ledger):
    ledger.prices.set("openrouter", "kimi-k3:online", input=1, output=1)
    _, most = ledger.bill("openrouter", "kimi-k3:online", {"max_tokens": 9}, "Hi")
    assert most is None


@pytest.mark.parametrize(
    "wrong", [{"max_tokens": -1}, {"max_completion_tokens": "100"}, {"n": 4.0}]
)
def test_a_limit_that_is_none_is_refused_wherever_it_stands(ledger, wrong):
    """``-1`` means no limit to some hosts, and was a bound below that of the prompt."""
    for given in (wrong, {"extra_body": wrong}):
        with pytest.raises(BadInput, match="Give a whole number from 1"):
            ledger.bill("together", KIMI_K3, given, "Hi")
