"""Sweeps on the runner: what is asked, how fast, what stops it, and what is kept."""

import _thread
import asyncio
import contextvars
import threading
import time
from decimal import Decimal
from typing import Any

import pytest
from support.sweeps import FakeClient, MemoryStore, reply

from kimikit.display import progress
from kimikit.errors import (
    AuthenticationFailed,
    BadInput,
    BadRequest,
    BudgetExceeded,
    ConnectionFailed,
    ContentFiltered,
    FixedTemperature,
    ModelNotFound,
    NoBalance,
    Overloaded,
    RateLimited,
    StreamError,
)
from kimikit.sweeps import Progress, Sweep, sweep
from kimikit.types import Delta, Host, HostModel, Wait

TEMPERATURES = [0, 0.3, 0.6, 0.9, 1.2]


def run(client: Any = None, prompt: Any = "Name a colour.", **options: Any) -> Sweep:
    client = client or FakeClient()
    make = client if callable(client) else lambda host: client
    return sweep(make, prompt, **{"progress": False, "order_seed": 1, **options})


def raising(*errors: Any, then: str = "blue") -> FakeClient:
    """Return a client that raises these errors, one a call, and then answers."""
    left = list(errors)

    def answer(prompt: Any, **params: Any) -> str:
        if left and (error := left.pop(0)) is not None:
            raise error
        return then

    return FakeClient(answer)


def test_every_point_is_asked_as_often_as_wanted_and_comes_back_in_order():
    client = FakeClient()
    found = run(client, temperature=TEMPERATURES, repeats=3, top_p=0.9)
    asked = sorted(each["temperature"] for each in client.asked)
    assert asked == sorted(TEMPERATURES * 3)
    assert {each["top_p"] for each in client.asked} == {0.9}
    order = [(trial.params["temperature"], trial.repeat) for trial in found.trials]
    assert order == [(t, n) for t in TEMPERATURES for n in range(3)]
    assert found.stop_reason == "done"
    assert found.cost == Decimal("0.015")
    assert found.usage.completion_tokens == 75
    assert client.closed


def test_the_order_is_shuffled_and_follows_from_its_recorded_seed():
    orders = []
    for seed in (1, 1, 2):
        client = FakeClient()
        found = run(client, temperature=TEMPERATURES, order_seed=seed, concurrency=1)
        assert found.seed == seed
        orders.append([each["temperature"] for each in client.asked])
    assert orders[0] == orders[1] != orders[2]
    assert orders[0] != sorted(orders[0])


def test_each_host_has_its_own_client_and_gets_no_host_parameter():
    clients: dict[str | None, FakeClient] = {}

    def make(name: str | None) -> FakeClient:
        clients[name] = FakeClient(lambda prompt, **p: str(name))
        return clients[name]

    found = run(make, host=["a", "b"], repeats=2)
    assert [t.reply.text for t in found.trials if t.reply] == ["a", "a", "b", "b"]
    assert all("host" not in each for c in clients.values() for each in c.asked)


def test_no_client_serves_more_than_16_workers():
    clients: list[FakeClient] = []

    def make(name: str | None) -> FakeClient:
        clients.append(FakeClient(wait_s=0.2))
        return clients[-1]

    run(make, repeats=80, concurrency=40)
    assert len(clients) >= 3
    assert max(client.most_at_once for client in clients) <= 16
    assert sum(client.most_at_once for client in clients) == 40
    assert all(client.closed for client in clients)


def test_concurrency_is_never_exceeded_and_small_hosts_get_little():
    client = FakeClient(wait_s=0.05)
    run(client, repeats=8, concurrency=3)
    assert client.most_at_once == 3
    local = FakeClient(wait_s=0.05, host=Host(name="local", base_url="http://x"))
    run(local, repeats=10)
    assert local.most_at_once == 4


def test_requests_a_minute_are_held():
    client = FakeClient()
    start = time.monotonic()
    run(client, repeats=6, rpm=1200)
    assert time.monotonic() - start >= 5 * 60 / 1200


def test_the_runner_sees_the_callers_context():
    """Tags and budgets are context variables; they hold inside the sweep's thread."""
    tag = contextvars.ContextVar("tag", default="none")
    tag.set("mine")
    found = run(FakeClient(lambda prompt, **p: tag.get()), repeats=3)
    assert {r.text for r in found.replies} == {"mine"}


def test_it_runs_inside_a_running_event_loop():
    async def cell() -> Sweep:
        return run(repeats=2)

    assert len(asyncio.run(cell()).replies) == 2


def test_failures_are_kept_as_missing_with_their_reason():
    lost = StreamError("It broke.", "Again.", reply=reply("half", cost=Decimal("0.5")))
    client = raising(None, lost, BadRequest("No.", "Change it."))
    found = run(client, repeats=4, concurrency=1)
    errors = [trial.error for trial in found.trials if trial.error]
    assert sorted(errors) == ["BadRequest: No.", "StreamError: It broke."]
    assert all(trial.reply is None for trial in found.trials if trial.error)
    assert found.cost == Decimal("0.502")
    row = found.summary()[0]
    assert (row["n"], row["failed"], row["missing"]) == (2, 2, 0)


def test_cut_off_and_stopped_answers_are_missing():
    cut = FakeClient(lambda prompt, **p: reply("x", truncated=True))
    assert run(cut, repeats=1).trials[0].error == "cut off, no finish"
    stopped = FakeClient(lambda prompt, **p: reply("x", partial=True))
    found = run(stopped, repeats=1)
    assert found.trials[0].error == "stopped before its end"
    assert found.trials[0].partial.text == "x"


@pytest.mark.parametrize(
    "error",
    [
        AuthenticationFailed("Bad key.", "Make one."),
        ModelNotFound("Gone.", "Another."),
        NoBalance("Empty.", "Pay."),
        BadRequest("Bad.", "Change it."),
        ConnectionFailed("No way.", "Check."),
        BadInput("No.", "Yes."),
        BudgetExceeded("Enough.", "More."),
    ],
)
def test_what_every_cell_would_meet_stops_the_sweep_after_one(error):
    client = raising(*[error] * 40)
    with pytest.raises(type(error)) as caught:
        run(client, temperature=TEMPERATURES, repeats=8)
    assert len(client.asked) == 1
    assert caught.value.sweep.trials == ()


def test_a_wrong_key_is_met_by_no_more_calls_than_are_under_way():
    client = raising(*[AuthenticationFailed("Bad key.", "Make one.")] * 40)
    client.wait_s = 0.001
    with pytest.raises(AuthenticationFailed):
        run(client, repeats=40, concurrency=4)
    assert len(client.asked) <= 4


def test_a_balance_that_ends_midway_raises_with_what_was_finished():
    client = raising(*[None] * 5, *[NoBalance("Empty.", "Pay.")] * 9)
    with pytest.raises(NoBalance) as caught:
        run(client, repeats=20, concurrency=2)
    kept = caught.value.sweep
    assert len(kept.replies) == 5
    assert kept.stop_reason == "error"
    told = "\n".join(caught.value._render_traceback_())
    assert "5 answers are in this error's .sweep; name=" in told
    assert len(client.asked) <= 7


def test_a_programming_error_is_raised_not_kept():
    with pytest.raises(ZeroDivisionError):
        run(FakeClient(lambda prompt, **p: 1 / 0))


def test_a_filtered_prompt_is_missing_where_others_are_asked():
    def answer(prompt: str, **params: Any) -> str:
        if prompt == "bad":
            raise ContentFiltered("Filtered.", "Rephrase.")
        return "fine"

    found = run(FakeClient(answer), ["bad", "good"], repeats=2)
    assert [trial.error is None for trial in found.trials] == [False, False, True, True]
    with pytest.raises(ContentFiltered):
        run(FakeClient(answer), "bad")


def test_a_host_that_dies_is_left_and_another_goes_on():
    def make(name: str | None) -> FakeClient:
        dead = raising(*[None] * 2, *[ConnectionFailed("Gone.", "Check.")] * 99)
        return dead if name == "a" else FakeClient()

    found = run(make, host=["a", "b"], repeats=20, concurrency=2)
    rows = {row["host"]: row for row in found.summary()}
    assert rows["b"]["n"] == 20
    assert rows["a"]["n"] == 2
    assert rows["a"]["missing"] > 10
    assert any("stopped answering" in note for note in found.notes)


def test_a_host_that_dies_alone_raises_with_what_was_finished():
    client = raising(*[None] * 4, *[ConnectionFailed("Gone.", "Check.")] * 99)
    with pytest.raises(ConnectionFailed) as caught:
        run(client, repeats=50, concurrency=2)
    assert len(caught.value.sweep.replies) == 4
    assert len(client.asked) < 12


def test_rate_limits_slow_the_runner_and_lose_nothing():
    limited = RateLimited("Too many.", "Wait.", retry_after_s=0.01)
    client = raising(None, *[limited] * 3, *[None] * 5, Overloaded("Full.", "Wait."))
    client.wait_s = 0.002
    found = run(client, repeats=12, concurrency=4)
    assert len(found.replies) == 12
    assert len(client.asked) == 16


def test_a_limit_that_stays_ends_a_cell_after_five_tries():
    limited = RateLimited("Too many.", "Wait.", retry_after_s=0.001)
    found = run(raising(*[limited] * 5), repeats=2, concurrency=1)
    assert [trial.error for trial in found.trials].count("RateLimited: Too many.") == 1
    assert len(found.replies) == 1


def test_a_wait_of_hours_ends_the_sweep():
    client = raising(None, RateLimited("Daily.", "Tomorrow.", retry_after_s=4000.0))
    with pytest.raises(RateLimited) as caught:
        run(client, repeats=9, concurrency=1)
    assert len(caught.value.sweep.replies) == 1


def test_the_clients_own_waits_hold_the_others_back():
    def answer(prompt: Any, *, watch: Any, **params: Any) -> str:
        watch(Wait(0.05, "request reached organization max RPM: 1200", 1))
        return "x"

    answer.wants_watch = True  # type: ignore[attr-defined]
    client = FakeClient(answer)
    start = time.monotonic()
    run(client, repeats=8, concurrency=4)  # four are asked before the first waits
    assert time.monotonic() - start >= 0.2


def test_stop_ends_it_within_a_second_and_keeps_what_is_finished():
    fast = [True] * 10

    async def chat(messages: Any, **params: Any) -> Any:
        if fast:
            fast.pop()
            return reply("x")
        if not timer.is_alive():
            timer.start()
        await asyncio.sleep(60)

    client = FakeClient()
    client.chat = chat  # type: ignore[method-assign]
    stopped: list[float] = []
    timer = threading.Timer(
        0.1, lambda: (stopped.append(time.monotonic()), _thread.interrupt_main())
    )
    found = run(client, temperature=[0, 1], repeats=20)
    assert time.monotonic() - stopped[0] < 10
    assert found.stop_reason == "interrupted"
    assert len(found.replies) == 10
    assert sum(row["missing"] for row in found.summary()) == 30
    assert "Stopped" in str(found)
    assert client.closed


def test_stop_while_the_runner_is_starting_stops_it_too(monkeypatch):
    """On a busy machine the first call is on its way before start() returns."""
    start = threading.Thread.start

    def stopped(runner: threading.Thread) -> None:
        start(runner)
        raise KeyboardInterrupt

    monkeypatch.setattr(threading.Thread, "start", stopped)
    client = FakeClient(wait_s=0.01)
    found = run(client, repeats=500, concurrency=1)
    assert found.stop_reason == "interrupted"
    assert client.closed
    assert len(client.asked) < 500


def test_stop_does_not_wait_for_a_client_that_does_not_listen():
    async def chat(messages: Any, **params: Any) -> Any:
        threading.Timer(0.05, _thread.interrupt_main).start()
        while not release.is_set():
            try:
                await asyncio.sleep(0.05)
            except asyncio.CancelledError:
                continue
        return reply("x")

    release = threading.Event()
    client = FakeClient()
    client.chat = chat  # type: ignore[method-assign]
    start = time.monotonic()
    found = run(client, repeats=1)
    assert time.monotonic() - start < 10
    assert found.stop_reason == "interrupted"
    release.set()
    for thread in threading.enumerate():
        if thread.name == "kimikit-runner":
            thread.join(5)


def test_the_runner_waits_for_the_first_step_of_the_first_answer_not_for_its_end():
    """A long answer must not hold up the whole sweep."""
    others = asyncio.Event()
    asked: list[float] = []

    async def chat(messages: Any, *, watch: Any, **params: Any) -> Any:
        asked.append(params["temperature"])
        if len(asked) == 1:
            watch(Delta(text="I"))
            await asyncio.wait_for(others.wait(), 5)
        elif len(asked) == 4:
            others.set()
        return reply("x")

    client = FakeClient()
    client.chat = chat  # type: ignore[method-assign]
    found = run(client, temperature=[0, 1], repeats=2, concurrency=2)
    assert len(found.replies) == 4


# Temperature


def pinned_at_one(prompt: Any, **params: Any) -> str:
    if params.get("temperature") not in (None, 1):
        raise FixedTemperature("Pinned.", "Use Novita.", allowed=1.0)
    return "blue"


def test_a_pinned_temperature_costs_one_request():
    client = FakeClient(pinned_at_one)
    with pytest.raises(FixedTemperature) as caught:
        run(client, temperature=[1, 0.6, 0.2], repeats=8)
    assert len(client.asked) == 1
    assert caught.value.allowed == 1.0
    assert "Novita" in caught.value.remedy


def test_a_pinned_temperature_can_be_left_out_for_one_labelled_point():
    client = FakeClient(pinned_at_one)
    found = run(client, temperature=[0, 0.5, 1], repeats=4, on_fixed="omit")
    assert len(client.asked) == 1 + 4
    assert found.plan.calls == 4
    assert [row["temperature"] for row in found.summary()] == [None]
    assert found.summary()[0]["n"] == 4
    assert found.summary()[0]["missing"] == 0
    assert found.pinned
    assert "pins temperature at 1" in " ".join(found.notes)
    assert "could not be tested" in str(found.verdict)
    assert client.asked[-1]["temperature"] is None


def test_a_pin_found_midway_is_left_out_too():
    """An axis of 0.6 and 1 can pass the probe and fail later."""

    def answer(prompt: Any, **params: Any) -> str:
        if params.get("temperature") not in (None, 0.6):
            raise FixedTemperature("Pinned.", "No.", allowed=0.6)
        return "blue"

    found = run(FakeClient(answer), temperature=[0.6, 1], repeats=3, on_fixed="omit")
    assert found.pinned
    assert {trial.params["temperature"] for trial in found.trials} <= {0.6, None}
    assert not [trial for trial in found.trials if trial.error]


def test_one_host_of_two_that_pins_is_named_and_the_other_swept():
    def make(name: str | None) -> FakeClient:
        return FakeClient(pinned_at_one if name == "pins" else None)

    found = run(
        make, host=["pins", "free"], temperature=[0, 1.5], repeats=3, on_fixed="omit"
    )
    points = [(row["host"], row["temperature"], row["n"]) for row in found.summary()]
    assert points == [("pins", None, 3), ("free", 0, 3), ("free", 1.5, 3)]


def test_a_host_that_refuses_even_its_own_value_raises():
    def answer(prompt: Any, **params: Any) -> str:
        raise FixedTemperature("Only 0.6.", "Leave it out.", allowed=0.6)

    with pytest.raises(FixedTemperature):
        run(FakeClient(answer), temperature=[0, 1], on_fixed="omit")


def test_a_temperature_outside_the_hosts_range_is_refused_before_sending():
    host = Host(name="moonshot", base_url="http://x", temperature_range=(0.0, 1.0))
    client = FakeClient(host=host)
    with pytest.raises(BadInput, match=r"temperature is 1\.2\..*from 0 to 1\."):
        run(client, temperature=[0, 1.2])
    assert client.asked == []


@pytest.mark.parametrize(
    "axis",
    [
        {"top_p": [0.5, 1.5]},
        {"max_tokens": [10, 0]},
        {"temperature": [0, -0.1]},
        {"temperature": "0.5"},
    ],
)
def test_no_answer_is_paid_for_before_every_value_is_checked(axis):
    client = FakeClient(host=Host(name="h", base_url="http://x"))
    with pytest.raises(BadInput, match=next(iter(axis))):
        run(client, **axis)
    assert client.asked == []


def test_a_clamp_in_the_echo_is_noted():
    def answer(prompt: Any, **params: Any) -> Any:
        return reply(
            "x", raw={"temperature": min(params["temperature"], 0.5), "big": "y"}
        )

    found = run(FakeClient(answer), temperature=[0, 1], repeats=2)
    assert "Temperature 1 was clamped: the host used 0.5 (2 answers)." in found.notes
    assert all("big" not in r.raw for r in found.replies)


def test_openrouter_is_held_to_the_upstream_that_answered_first():
    host = Host(name="openrouter", base_url="http://x", model="k")
    client = FakeClient(
        lambda prompt, **p: reply("x", raw={"provider": "Novita"}), host=host
    )
    run(client, repeats=3, concurrency=1)
    pin = {"only": ["Novita"], "allow_fallbacks": False}
    assert [each.get("provider") for each in client.asked] == [None, pin, pin]


def test_several_upstreams_are_named_where_the_pin_is_refused():
    host = Host(name="openrouter", base_url="http://x", model="k")
    names = iter("ABABABAB")

    def answer(prompt: Any, **params: Any) -> Any:
        if "provider" in params:
            raise ModelNotFound("No allowed providers.", "Try another.")
        return reply("x", raw={"provider": next(names)}, host="openrouter")

    found = run(FakeClient(answer, host=host), repeats=4, concurrency=1)
    assert len(found.replies) == 4
    assert any("2 upstreams (A, B)" in note for note in found.notes)
    assert any("could not be pinned" in note for note in found.notes)


def test_one_seed_for_all_repeats_is_remarked():
    assert any("seed" in note for note in run(seed=3, repeats=2).notes)
    assert not any("seed" in note for note in run(seed=[1, 2], repeats=2).notes)


# Money before


def price(low: str, high: str) -> Any:
    return lambda host, model, params, prompt: (Decimal(low), Decimal(high))


def test_a_dry_run_sends_nothing_and_tells_calls_cost_and_minutes():
    client = FakeClient()
    plan = run(client, temperature=TEMPERATURES, repeats=8, dry_run=True, rpm=20,
               estimate=price("0.001", "0.01")).plan  # fmt: skip
    assert client.asked == []
    assert (plan.calls, plan.stored) == (40, 0)
    assert (plan.likely_usd, plan.upper_usd) == (Decimal("0.040"), Decimal("0.40"))
    assert plan.minutes == 2
    assert "40 calls" in str(plan)
    assert "at most $0.4000" in str(plan)


def test_an_unknown_price_is_unpriced():
    found = run(dry_run=True, estimate=lambda *a: (None, None))
    assert found.plan.upper_usd is None
    assert "unpriced" in str(found)


def test_the_estimate_gets_what_will_be_sent():
    seen: list[Any] = []

    def estimate(*given: Any) -> Any:
        seen.append(given)
        return Decimal(0), Decimal(0)

    host = Host(name="h", base_url="http://x", model="kimi")
    run(
        FakeClient(host=host),
        temperature=[0, 1],
        max_tokens=9,
        estimate=estimate,
        dry_run=True,
    )
    first, second = sorted(seen, key=lambda given: given[2]["temperature"])
    assert first == ("h", "kimi", {"max_tokens": 9, "temperature": 0}, "Name a colour.")
    assert second[2]["temperature"] == 1


def test_max_cost_refuses_what_would_likely_pass_it():
    client = FakeClient()
    with pytest.raises(BudgetExceeded, match=r"likely cost \$0\.0050"):
        run(client, max_cost=0.004, estimate=price("0.001", "0.01"))
    with pytest.raises(BudgetExceeded, match="price is not known"):
        run(client, max_cost=1)
    assert client.asked == []


def test_max_cost_stops_before_it_is_passed():
    client = FakeClient(wait_s=0.001)
    found = run(client, repeats=50, max_cost="0.0105", estimate=price("0", "0"))
    assert found.stop_reason == "max_cost"
    assert found.cost <= Decimal("0.0105")
    assert len(found.replies) >= 9
    assert "max_cost" in str(found)


def test_the_first_calls_reserve_the_most_they_can_cost():
    """Eight at once would have passed the limit before any of them was known."""
    client = FakeClient(lambda prompt, **p: reply("x", cost=Decimal("0.003")))
    client.wait_s = 0.1
    limits = {"max_cost": "0.0125", "concurrency": 8}
    found = run(client, repeats=10, estimate=price("0.001", "1"), **limits)
    assert found.stop_reason == "max_cost"
    assert found.cost == Decimal("0.012")
    assert client.most_at_once == 3  # one alone, and then what is left

    client = FakeClient(lambda prompt, **p: reply("x", cost=Decimal("0.001")))
    client.wait_s = 0.2
    found = run(client, repeats=9, estimate=price("0.001", "0.0015"), **limits)
    assert found.stop_reason == "done"
    assert client.most_at_once == 8


def test_cheap_calls_are_not_held_to_what_dear_ones_cost():
    def answer(prompt: str, **params: Any) -> Any:
        return reply("x", cost=Decimal("0.9" if prompt == "dear" else "0.01"))

    def bills(host: str, model: str, params: Any, prompt: str) -> Any:
        likely = Decimal("0.9" if prompt == "dear" else "0.01")
        return likely, likely

    found = run(
        FakeClient(answer),
        ["dear", "cheap", "small"],
        repeats=5,
        max_cost=5,
        estimate=bills,
    )
    assert found.stop_reason == "done"
    assert len(found.replies) == 15


def test_the_local_stand_in_costs_nothing():
    host = Host(name="local", base_url="http://x", stand_in=True)
    client = FakeClient(lambda prompt, **p: reply("x", cost=None), host=host)
    found = run(client, repeats=3, max_cost=0.01, estimate=price("0", "0"))
    assert len(found.replies) == 3
    assert found.cost is None
    assert found.stand_in


# Resuming


def test_a_named_sweep_buys_only_what_is_missing():
    store = MemoryStore()
    first = FakeClient()
    run(store.around(first), name="colours", store=store, temperature=[0, 1], repeats=3)
    assert {each["meta"]["sweep"] for each in first.asked} == {"colours"}
    again = FakeClient()
    found = run(
        store.around(again), name="colours", store=store, temperature=[0, 1], repeats=5
    )
    assert len(again.asked) == 4
    assert len(found.replies) == 10
    assert sum(trial.stored for trial in found.trials) == 6
    assert found.plan.stored == 6


def test_failed_cells_are_asked_first():
    store, failing = MemoryStore(), {2, 5}

    def answer(prompt: Any, **params: Any) -> str:
        if len(store.rows) + len(store.broken) in failing:
            raise StreamError("Broke.", "Again.", reply=reply(""))
        return "x"

    run(
        store.around(FakeClient(answer)),
        name="s",
        store=store,
        repeats=8,
        concurrency=1,
    )
    broken = set(store.broken)
    assert len(broken) == 2
    del store.rows[next(iter(store.rows))]
    again = FakeClient()
    run(store.around(again), name="s", store=store, repeats=8, concurrency=1)
    keys = [each["meta"]["key"] for each in again.asked]
    assert set(keys[:2]) == broken
    assert len(keys) == 3


def test_a_name_with_another_grid_is_refused_and_told_apart():
    store = MemoryStore()
    run(store.around(FakeClient()), name="s", store=store, temperature=[0, 1])
    client = FakeClient()
    with pytest.raises(BadInput, match=r"temperature was 0,1, is 0,0\.5.*fresh=True"):
        run(client, name="s", store=store, temperature=[0, 0.5])
    with pytest.raises(BadInput, match="prompt is another"):
        run(client, "Other?", name="s", store=store, temperature=[0, 1])
    assert client.asked == []
    run(client, name="other", store=store, temperature=[0, 0.5])
    assert client.asked


def test_fresh_starts_over_and_is_what_is_resumed_then():
    store = MemoryStore()
    run(store.around(FakeClient()), name="s", store=store, repeats=2)
    fresh = FakeClient()
    run(store.around(fresh), "Other?", name="s", store=store, repeats=2, fresh=True)
    assert len(fresh.asked) == 2
    again = FakeClient()
    found = run(again, "Other?", name="s", store=store, repeats=2)
    assert again.asked == []
    assert len(found.replies) == 2


def test_another_host_model_or_default_is_another_answer():
    """The same grid on another machine's default host must not reuse answers."""
    store = MemoryStore()
    for number, (host, defaults) in enumerate(
        [("a", {}), ("b", {}), ("a", {"top_p": 0.5}), ("a", {})]
    ):
        client = FakeClient(host=Host(name=host, base_url="http://x", model="m"))
        client.defaults = defaults  # type: ignore[attr-defined]
        run(store.around(client), name="s", store=store, repeats=2)
        assert len(client.asked) == (0 if number == 3 else 2)


def test_an_unnamed_sweep_buys_all_and_can_be_continued_by_its_name():
    store = MemoryStore()
    for _ in range(2):
        client = FakeClient()
        found = run(store.around(client), store=store, repeats=2)
        assert len(client.asked) == 2
    again = FakeClient()
    run(again, store=store, repeats=2, name=found.name)
    assert again.asked == []


def test_an_omitted_point_is_resumed_too():
    store = MemoryStore()
    options = {"temperature": [0, 1], "repeats": 3, "on_fixed": "omit", "name": "s"}
    run(store.around(FakeClient(pinned_at_one)), store=store, **options)
    again = FakeClient(pinned_at_one)
    found = run(again, store=store, **options)
    assert len(found.replies) == 3
    assert len(again.asked) == 1  # the refusal, which costs nothing


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"on_fixed": "maybe"}, "on_fixed"),
        ({"concurrency": 0}, "concurrency"),
        ({"rpm": -1}, "rpm"),
        ({"concurrency": "8"}, "concurrency"),
        ({"name": "x"}, "no ledger"),
        ({"name": " ", "store": MemoryStore()}, "name=' ' is no name"),
        ({"concurrency": 2.5}, "concurrency"),
        ({"rpm": float("nan")}, "rpm"),
        ({"order_seed": -1}, "order_seed"),
        ({"order_seed": "x"}, "order_seed"),
        ({"max_cost": "much"}, "max_cost"),
        ({"max_cost": "nan"}, "max_cost"),
        ({"max_cost": -1}, "max_cost"),
        ({"metrics": {"right": 3}}, "metrics"),
        ({"metrics": len}, "metrics"),
        ({"metrics": {"words": len}}, "names another figure"),
        ({"metrics": {"top_p": len}, "top_p": [0.5, 1]}, "names another figure"),
        ({"metrics": {1: len}}, "names another figure"),
        ({"embed": "local"}, "embed"),
        ({"progress": 3}, "progress"),
    ],
)
def test_bad_options_are_refused(options, words):
    client = FakeClient()
    with pytest.raises(BadInput, match=words):
        run(client, **options)
    assert client.asked == []


# Progress


def test_progress_is_told_in_the_callers_thread():
    seen: list[Progress] = []
    threads: set[str] = set()

    def tell(now: Progress) -> None:
        seen.append(now)
        threads.add(threading.current_thread().name)

    run(FakeClient(wait_s=0.1), repeats=12, concurrency=2, progress=tell)
    assert threads == {threading.current_thread().name}
    assert len(seen) >= 2
    assert (seen[-1].done, seen[-1].failed, seen[-1].calls) == (12, 0, 12)
    assert seen[-1].cost == Decimal("0.012")
    assert any(now.seconds_left for now in seen[:-1])
    assert str(seen[-1]) == "12 of 12 done · $0.0120 · 0 s left"


def test_progress_tells_failures_money_and_minutes():
    now = Progress(3, 1, 40, Decimal("0.01"), 150.0, Decimal("0.4"))
    said = "3 of 40 done · 1 failed · $0.0100 of at most $0.4000 · 2 min left"
    assert str(now) == said


def test_the_line_of_progress_is_text_where_there_is_no_notebook(capsys, monkeypatch):
    monkeypatch.setattr(progress, "LOG_S", 0.0)  # standard error is no terminal here
    run(repeats=2, progress=True)
    line = capsys.readouterr().err
    assert "| 2/2 [" in line
    assert "answers/s, $0.0020]" in line


def test_progress_that_raises_stops_the_runner():
    def tell(now: Progress) -> None:
        raise RuntimeError("no display")

    client = FakeClient(wait_s=0.1)
    with pytest.raises(RuntimeError, match="no display"):
        run(client, repeats=500, concurrency=1, progress=tell)
    asked = len(client.asked)
    assert client.closed
    assert asked < 20


def test_the_makers_temperature_is_remembered():
    models = (HostModel(id="k2", temperature=0.6), HostModel(id="k3"))
    host = Host(name="h", base_url="http://x", model="k2", models=models)
    assert run(FakeClient(host=host)).maker_temperature == 0.6
    assert run(FakeClient(host=host), model="k3").maker_temperature is None
