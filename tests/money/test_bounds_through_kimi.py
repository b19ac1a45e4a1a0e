"""Limits and plans as a user meets them, over HTTP: "at most" is the most."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from functools import partial

import pytest
from support.fault_server import (
    CLOSE,
    DONE,
    HOLD,
    FaultServer,
    chunk,
    event,
    head,
    plain,
    sse,
)

from kimikit import BadInput, BudgetExceeded, Kimi, tool

OUT = Decimal(15) / 10**6
"""Dollars for a token of the answer of Kimi K3 at Together."""

PROMPT = Decimal(10_000 * 3) / 10**6
"""Dollars that no prompt of these tests costs."""


def connect(server, **options):
    options = {"model": "moonshotai/Kimi-K3", "max_retries": 0} | options
    return Kimi("together", base_url=server.url, api_key="kkkkkkkk", show=False,
                **options)  # fmt: skip


def answer(tokens, text="Hi"):
    usage = {"prompt_tokens": 12, "completion_tokens": tokens}
    delta = {"index": 0, "delta": {"content": text}, "finish_reason": "stop"}
    return sse({"choices": [delta]}, {"choices": [], "usage": usage}, DONE)


@pytest.fixture
def server():
    with FaultServer() as running:
        yield running


@pytest.mark.parametrize(
    "text", ["Все люди рождаются свободными. ", "😀🎉🚀", "3.14, "]
)
def test_a_stream_in_any_script_stays_within_its_budget(server, text):
    """Each byte is counted as a token, which none can exceed."""
    piece = chunk(event({"choices": [{"index": 0, "delta": {"content": text * 20}}]}))
    server.play(head(), piece * 400, HOLD)
    kimi = connect(server)
    with kimi.budget(usd="0.07") as budget, pytest.raises(BudgetExceeded) as stopped:
        kimi.chat("go")
    arrived = len(stopped.value.reply.text.encode())
    assert arrived > 2000, "the allowance was used before it was stopped"
    assert arrived * OUT <= budget.spent.usd <= Decimal("0.07")
    assert kimi.ledger.calls()[0].state == "truncated"


@pytest.mark.parametrize(
    ("defaults", "asked", "tokens"),
    [
        ({"n": 4}, {"max_tokens": 100}, 400),
        ({"max_tokens": 20}, {}, 20),
        ({"n": 2, "max_tokens": 50}, {"extra_body": {"n": 3}}, 150),
        ({}, {"max_tokens": 100, "tools": "weather"}, 100),
        ({"tools": "weather"}, {"max_tokens": 100}, 100),
        ({}, {"max_tokens": 60, "image": "red"}, 60),
        ({"system": "Be brief. " * 99}, {"max_tokens": 60}, 60),
        ({"extra_body": {"n": 3}}, {"max_tokens": 60}, 180),
    ],
)
def test_a_plan_sees_all_that_is_sent(server, tmp_path, defaults, asked, tokens):
    @tool
    def weather(city: str) -> str:
        """Return the weather of a city."""

    red = tmp_path / "red.png"
    red.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(60))
    made = {"weather": [weather], "red": red}
    defaults, asked = (
        {k: made.get(v, v) if isinstance(v, str) else v for k, v in some.items()}
        for some in (defaults, asked)
    )
    server.play(answer(tokens))
    kimi = connect(server, **defaults)
    grid = {"temperature": [0, 1], "repeats": 2, "progress": False, **asked}
    plan = kimi.sweep("Name a colour.", dry_run=True, **grid).plan
    assert not server.requests
    least = plan.calls * tokens * OUT
    assert least <= plan.upper_usd <= least + plan.calls * PROMPT
    assert plan.likely_usd <= plan.upper_usd
    sweep = kimi.sweep("Name a colour.", **grid)
    assert len(server.requests) == 4
    assert sweep.cost <= plan.upper_usd
    half = kimi.budget(usd=plan.upper_usd / plan.calls / 2)
    with half as budget, pytest.raises(BudgetExceeded):
        kimi.sweep("Name a colour.", **grid)
    assert len(server.requests) == 4, "a budget sees it too, before anything is sent"
    assert budget.spent.usd == 0


def test_a_budget_holds_in_threads_that_begin_inside_and_in_executors(server):
    server.play(answer(90))
    kimi, paid = connect(server, max_tokens=90), []

    def one(*_):
        try:
            paid.append(kimi.chat("Hello").cost)
        except BudgetExceeded:
            paid.append(Decimal(0))

    with ThreadPoolExecutor(4) as before, kimi.budget(usd="0.004") as budget:
        list(before.map(one, range(6)))
        threads = [threading.Thread(target=one) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(server.requests) == sum(cost > 0 for cost in paid) <= 2
    assert 0 < budget.spent.usd == sum(paid) <= Decimal("0.004")


def test_a_request_that_was_taken_and_lost_is_a_row_of_its_own(server):
    for _ in range(2):
        server.play(CLOSE)
    server.play(answer(50))
    kimi = connect(server, max_retries=2)
    with kimi.budget(usd=1) as budget:
        reply = kimi.chat("Hello", max_tokens=100)
    assert len(server.requests) == 3
    rows = kimi.ledger.calls()
    assert [row.state for row in rows].count("lost") == 2
    lost = [row for row in rows if row.state == "lost"]
    assert all(row.cost_text.startswith("unknown, at most $") for row in lost)
    total = kimi.ledger.total()
    assert (total.calls, total.unknown, total.cost) == (3, 2, reply.cost)
    assert budget.spent.usd >= reply.cost + 2 * 100 * OUT


def test_the_ledger_of_two_time_zones_has_one_day_of_the_budget(server, monkeypatch):
    if not hasattr(time, "tzset"):
        pytest.skip("Windows has one zone a process")
    monkeypatch.setenv("KIMIKIT_BUDGET_USD_PER_DAY", "0.01")
    server.play(answer(90))
    try:
        for zone in ("Pacific/Pago_Pago", "Pacific/Kiritimati"):  # always two dates
            monkeypatch.setenv("TZ", zone)
            time.tzset()
            kimi = connect(server, max_tokens=90)
            spend = [partial(kimi.chat, "Hello")] * 30
            with pytest.raises(BudgetExceeded, match="day's budget"):
                [one() for one in spend]
        assert kimi.ledger.total().cost <= Decimal("0.01")
        assert kimi.ledger.total(since="today").calls == kimi.ledger.total().calls
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_refusal_costs_nothing_and_tells_nothing_of_answers_to_come(server):
    """Of forty calls nine in ten are refused; likely is what the others took."""
    for number in range(40):
        refusal = plain({"error": {"message": "no", "type": "invalid_request"}}, 400)
        server.play(refusal if number % 10 else answer(1000))
    kimi = connect(server)
    for _ in range(40):
        try:
            kimi.chat("x")
        except Exception:  # each host error has its own type
            continue
    bill = kimi.ledger.bill
    likely, _ = bill("together", "moonshotai/Kimi-K3", {"max_tokens": 5000}, "x")
    assert 1000 * OUT <= likely <= 1010 * OUT


@pytest.mark.parametrize(
    "early",
    [
        {"prompt_tokens": 12, "completion_tokens": 0},
        {"prompt_tokens": 12, "completion_tokens": 1},
        {"total_tokens": 12},
    ],
)
@pytest.mark.parametrize("whole", [True, False])
def test_a_usage_told_before_the_answer_is_not_taken_for_its_cost(server, early, whole):
    """Unknown is not 0, nor the one token that was there when the host counted."""
    delta = {"index": 0, "delta": {"content": "word " * 300}}
    events = [{"choices": [], "usage": early}, {"choices": [delta]}]
    if whole and early.get("completion_tokens") == 1:
        pytest.skip("a host that ended its answer is believed")
    server.play(sse(*events, *([DONE] if whole else [])))
    kimi = connect(server)
    try:
        reply = kimi.chat("go", max_tokens=1000)
    except Exception as error:  # one that broke off raises with what had come
        reply = error.reply
    assert reply.usage.estimated
    assert 250 < reply.usage.completion_tokens < 700
    assert reply.cost > 250 * OUT
    assert kimi.ledger.calls()[0].cost_text.startswith("~")


def test_a_prompt_that_a_host_does_not_count_is_estimated(server):
    delta = {"index": 0, "delta": {"content": "Hi"}, "finish_reason": "stop"}
    usage = {"completion_tokens": 11, "total_tokens": 3}
    server.play(sse({"choices": [delta]}, {"choices": [], "usage": usage}, DONE))
    usage = connect(server).chat("How are you?").usage
    assert (usage.estimated, usage.completion_tokens) == (True, 11)
    assert 3 < usage.prompt_tokens < 40


def test_reasoning_that_is_counted_beside_the_answer_is_billed(server):
    usage = {"prompt_tokens": 10, "completion_tokens": 20, "total_tokens": 60,
             "completion_tokens_details": {"reasoning_tokens": 30}}  # fmt: skip
    delta = {"index": 0, "delta": {"content": "Hi"}, "finish_reason": "stop"}
    server.play(sse({"choices": [delta]}, {"choices": [], "usage": usage}, DONE))
    reply = connect(server).chat("go")
    assert (reply.usage.completion_tokens, reply.usage.reasoning_tokens) == (50, 30)


def play(server, *scripts):
    for script in scripts:
        server.play(script)


def asking(**more):
    return {"max_tokens": 100, **more}


@pytest.mark.parametrize("way", ["of a call", "extra", "default", "axis"])
def test_a_dearer_tier_has_no_bound_until_it_has_a_price(server, way):
    """Its price is not the model's: hosts charge twice as much for it, or more."""
    play(server, *[answer(5)] * 3)
    tier = {"service_tier": "priority"}
    kimi = connect(server, **(tier if way == "default" else {}))
    asked = {"of a call": tier, "extra": {"extra_body": tier}}.get(way, {})
    if way == "axis":
        plan = kimi.sweep("Hi", service_tier=[None, "priority"], repeats=1,
                          dry_run=True, **asking())  # fmt: skip
        assert "unpriced" in str(plan) or "unknown" in str(plan)
        asked = tier
    with kimi.budget(usd=1), pytest.raises(BudgetExceeded) as refused:
        kimi.chat("Hi", **asking(**asked))
    named = "moonshotai/Kimi-K3 (priority)"
    assert f"set_price(model={named!r}, ...)" in str(refused.value)
    assert kimi.chat("Hi", **asking(**asked)).cost is None
    kimi.set_price(model=named, input=6, output=30)
    with kimi.budget(usd=1) as budget:
        reply = kimi.chat("Hi", **asking(**asked))
    assert reply.cost == budget.spent.usd == (12 * 6 + 5 * 30) / Decimal(10**6)


@pytest.mark.parametrize("tier", [None, "auto", "flex", "Default"])
def test_a_tier_that_is_no_dearer_has_the_price_of_the_model(server, tier):
    play(server, answer(5))
    kimi = connect(server)
    with kimi.budget(usd=1) as budget:
        reply = kimi.chat("Hi", **asking(service_tier=tier))
    assert reply.cost == budget.spent.usd == (12 * 3 + 5 * 15) / Decimal(10**6)


def named(model, usage):
    delta = {"index": 0, "delta": {"content": "Hi"}, "finish_reason": "stop"}
    return sse(
        {"model": model, "choices": [delta]}, {"choices": [], "usage": usage}, DONE
    )


@pytest.mark.parametrize(
    ("answered", "output"), [("dear-20261101", 30), ("moonshotai/Kimi-K3", 15)]
)
def test_models_that_may_stand_in_are_bounded_by_the_dearest(server, answered, output):
    usage = {"prompt_tokens": 12, "completion_tokens": 5}
    play(server, named(answered, usage))
    kimi = connect(server)
    kimi.set_price(model="dear", input=3, output=30)
    others = {"extra_body": {"models": ["moonshotai/Kimi-K3", "dear"]}}
    _, most = kimi.ledger.bill("together", "moonshotai/Kimi-K3", asking(**others), "Hi")
    assert most > 100 * 30 / Decimal(10**6)
    with kimi.budget(usd="0.003"), pytest.raises(BudgetExceeded, match="may take"):
        kimi.chat("Hi", **asking(**others))
    reply = kimi.chat("Hi", **asking(**others))
    assert reply.cost == (12 * 3 + 5 * output) / Decimal(10**6)
    assert kimi.ledger.total().cost == reply.cost


def test_one_of_several_models_without_a_price_leaves_no_bound(server):
    """What the host says it charged is what counts."""
    usage = {"prompt_tokens": 12, "completion_tokens": 5}
    play(server, named("mine", usage), named("mine", usage | {"cost": 0.02}))
    kimi = connect(server)
    others = asking(extra_body={"models": ["mine"]})
    assert kimi.ledger.bill("together", "moonshotai/Kimi-K3", others, "Hi")[1] is None
    with kimi.budget(usd=1), pytest.raises(BudgetExceeded, match="for mine on"):
        kimi.chat("Hi", **others)
    assert kimi.chat("Hi", **others).cost is None
    with kimi.budget(usd=1, allow_unpriced=True) as budget:
        assert kimi.chat("Hi", **others).cost == Decimal("0.02")
    assert budget.spent.usd == Decimal("0.02")


def test_what_a_search_finds_is_refused_with_advice_for_a_chat(server):
    play(server, answer(5))
    kimi = connect(server)
    search = asking(extra_body={"web_search_options": {}})
    with kimi.budget(usd=1), pytest.raises(BadInput, match="where no budget is in"):
        kimi.chat("Hi", **search)
    assert kimi.chat("Hi", **search).text == "Hi"
