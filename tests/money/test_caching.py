"""What a cache could have saved, against a host whose cache is known."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from support.sweeps import ColourHost
from support.work import seconds

from kimikit import Kimi, tool
from kimikit.money.caching import blocks_of, report
from kimikit.money.rows import CallRow
from kimikit.types import Price, Usage

PAGE = "The library opens at nine and lends five books for three weeks. "
BLOCK = 32


class CachingHost(ColourHost):
    """Bills a token for every four bytes, and caches the beginnings of prompts."""

    def __init__(self) -> None:
        super().__init__("obeys")
        self.known: set[bytes] = set()

    def _judge(self, body: dict[str, Any]) -> tuple[int, dict[str, Any], str]:
        prompt = "".join(block.text for block in blocks_of(body)).encode()
        starts = range(BLOCK, len(prompt) + 1, BLOCK)
        hit = max((n for n in starts if prompt[:n] in self.known), default=0)
        self.known |= {prompt[:n] for n in starts}
        message = {"role": "assistant", "content": "Yes."}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        used = {
            "prompt_tokens": len(prompt) // 4,
            "completion_tokens": 2,
            "total_tokens": len(prompt) // 4 + 2,
            "prompt_tokens_details": {"cached_tokens": hit // 4},
        }
        answer = {"id": "x", "object": "chat.completion", "model": body["model"]}
        return 200, {**answer, "choices": [choice], "usage": used}, ""


@pytest.fixture
def kimi() -> Iterator[Kimi]:
    with CachingHost().running() as host:
        made = Kimi(base_url=host.base_url, model="m", show=False, stream=False)
        made.set_price(input=4, output=8, cached_input=1)
        yield made


def test_a_conversation_that_grows_is_cached_as_expected(kimi: Kimi) -> None:
    talk = kimi.conversation(PAGE * 30)
    for question in ("When does it open?", "How many books?", "For how long?"):
        talk.say(question)
    rows = kimi.ledger.cache().rows
    assert len(rows) == 2
    for row in rows:
        assert abs(row.expected_tokens - row.cached_tokens) <= BLOCK // 4 + 4
        assert row.expected_tokens > 0.9 * row.prompt_tokens
        assert (row.broken, row.movable_tokens) == ("", 0)
        assert row.saved_usd == Decimal(3) / 1_000_000 * row.cached_tokens
    assert "nothing" in str(kimi.ledger.cache())


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def less(a: int, b: int) -> int:
    """Subtract one from another."""
    return a - b


def _tools(kimi: Kimi, turn: int) -> None:
    both = [tool(add), tool(less)]
    kimi.chat("Go on.", system=PAGE * 30, tools=both[::-1] if turn else both)


BREAKS = {
    "a time stamp": (
        lambda kimi, i: kimi.chat(
            "Open?", system=f"It is 2026-11-2{8 + i} 09:3{i}:00. {PAGE * 30}"
        ),
        "system",
        "a time stamp",
    ),
    "an id": (
        lambda kimi, i: kimi.chat(
            "Open?", system=f"Session {i}f3b2a1c9d8e7f60. {PAGE * 30}"
        ),
        "system",
        "an id",
    ),
    "tools": (_tools, "tools", "other order of the tools"),
    "the question first": (
        lambda kimi, i: kimi.chat([
            {"role": "user", "content": ("When?", "How many?")[i]},
            {"role": "user", "content": PAGE * 30},
        ]),
        "message 1 (user)",
        "'When?' became 'How many?'",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BREAKS)
def test_what_broke_the_cache_is_named_and_what_it_cost(kimi: Kimi, name: str) -> None:
    ask, where, why = BREAKS[name]
    for turn in (0, 1):
        ask(kimi, turn)
    (row,) = kimi.ledger.cache().rows
    assert (row.broken, row.why) == (where, why)
    assert row.cached_tokens < 0.4 * row.prompt_tokens
    assert abs(row.expected_tokens - row.cached_tokens) <= BLOCK // 4 + 4
    assert row.movable_tokens > 0.6 * row.prompt_tokens
    assert row.movable_usd == Decimal(3) / 1_000_000 * row.movable_tokens
    view = str(kimi.ledger.cache())
    assert why in view
    assert f"{row.movable_tokens:,} tokens" in view
    assert "<table" in kimi.ledger.cache()._repr_html_()


def test_what_was_put_last_is_then_cached(kimi: Kimi) -> None:
    """The advice of the view holds: the host's own count says so."""
    for turn in (0, 1):
        kimi.chat(f"It is 2026-11-2{8 + turn}. Open?", system=PAGE * 30)
    (row,) = kimi.ledger.cache().rows
    assert row.cached_tokens > 0.9 * row.prompt_tokens
    assert row.movable_tokens == 0


def test_other_hosts_models_and_days_are_apart(kimi: Kimi) -> None:
    for model in ("a", "b"):
        kimi.chat(PAGE * 30, model=model)
    found = kimi.ledger.cache()
    assert found.rows == ()
    assert "Nothing to compare" in str(found)


def row(at: float, tokens: int = 1000, price: Price | None = None) -> CallRow:
    return CallRow(
        id=f"{at}", key=None, created=at, day="", session="", endpoint="chat",
        host="h", model="m", tag="", notebook="", stand_in=False, state="complete",
        cost=None, at_most=None, price=price, first_token_s=None, duration_s=None,
        finish_reason=None, error=None, usage=Usage(tokens, 1) if tokens else None,
    )  # fmt: skip


def asked(text: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}]}


def test_what_is_not_known_is_left_out_and_said() -> None:
    calls = [(row(0), asked("x")), (row(1), None), (row(2, 0), asked("x"))]
    found = report(calls)
    assert (found.rows, found.unread) == ((), 2)
    assert "2 calls were left out" in str(found)


def test_a_request_long_ago_is_forgotten() -> None:
    calls = [(row(0), asked("x" * 900)), (row(3600), asked("x" * 900))]
    assert report(calls).rows == ()
    (found,) = report([*calls, (row(3700), asked("x" * 900))]).rows
    assert found.expected_tokens == 1000
    assert found.saved_usd is None
    assert "unpriced" in str(report([*calls, (row(3700), asked("x" * 900))]))


HOSTILE = {
    "no messages": {"messages": 5},
    "a message that is none": {"messages": ["x", None, {"content": [{"a": 1}]}]},
    "nothing": {},
    "tools that are none": {"tools": "x", "messages": []},
    "escapes": asked("\x1b[31m\u202e" * 200),
    "half a pair": asked("\ud800" * 400),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_an_odd_request_is_no_error(name: str) -> None:
    body = HOSTILE[name]
    twice = report([(row(0), body), (row(1), {**body, "tools": [{"b": 2}]})])
    assert "\x1b" not in str(twice)
    assert "\u202e" not in twice._repr_html_()


def test_long_requests_take_linear_work() -> None:
    def work(size: int) -> float:
        calls = [(row(i), asked("a" * size + str(i) + "b" * size)) for i in range(40)]
        return seconds(report, calls)

    work(10)
    assert min(work(400_000) for _ in range(3)) < 6 * min(
        work(200_000) for _ in range(3)
    )
