"""What every work that asks often has from the runner: the same for each of them."""

import threading
from decimal import Decimal

import pytest
from support.prompting import FakeClient, FakeStore, press_stop

from kimikit import Kimi
from kimikit.display import progress
from kimikit.errors import AuthenticationFailed, BadInput, BudgetExceeded, RateLimited
from kimikit.evals import PATTERNS, Task, lab, score_tool_calls, vote
from kimikit.prompting import map_reduce
from kimikit.types import Delta

N = 6
WAYS = {"zero-shot": PATTERNS["zero-shot"]}


def of_lab(client, **options):
    rows = tuple((f"What is {i} + {i}?", 2 * i) for i in range(N))
    return lab(client, Task(instruction="Compute.", rows=rows), WAYS, **options)


def of_vote(client, **options):
    return vote(client, "Capital?", N, **options)


def of_score(client, **options):
    case = {"tools": [], "calls": []}
    asked = [{"role": "user", "content": "go"}]
    cases = [{**case, "messages": [*asked, *asked[: i % 2]]} for i in range(N)]
    return score_tool_calls({"h": client}, cases, **options)


def of_map_reduce(client, **options):
    """Five notes and the answer made of them."""
    parts = [f"Pump {i} failed." for i in range(N - 1)]
    return map_reduce(client, parts, "What failed?", **options)


WORKS = {"lab": of_lab, "vote": of_vote, "scores": of_score, "digest": of_map_reduce}


@pytest.fixture(params=WORKS)
def kind(request):
    return request.param


@pytest.fixture
def work(kind):
    """Ask with one call at once and no bar, unless a test says otherwise."""

    def run(client, **options):
        return WORKS[kind](client, **{"concurrency": 1, "progress": False, **options})

    return run


def ok(messages, params):
    return "ok"


def test_what_was_paid_is_found_again_by_its_name(work):
    store, client = FakeStore(), FakeClient(ok)
    client.chat = store.keep(client.chat)
    asked = {"store": store, "name": "w"}
    assert [work(client, **asked).reused for _ in range(2)] == [0, N]
    assert len(client.calls) == N


def test_max_cost_is_not_passed_and_said(work):
    client = FakeClient(ok)
    made = work(client, max_cost="0.0035", concurrency=2)
    assert len(client.calls) == 3
    assert made.stop_reason == "max_cost"
    assert "max_cost reached" in str(made)


def test_max_cost_is_refused_where_no_price_is_known(work, kind):
    client = FakeClient(ok, cost=None)
    with pytest.raises(BudgetExceeded, match="a price is not known") as caught:
        work(client, max_cost=1)
    assert len(client.calls) == 1
    assert hasattr(caught.value, kind)


def test_max_cost_is_refused_before_anything_is_sent(work):
    kimi = Kimi("together", api_key="k", model="made-up", max_retries=0)
    with pytest.raises(BudgetExceeded, match="a price is not known"):
        work(kimi, max_cost=1)
    assert kimi.ledger.calls() == []


@pytest.mark.parametrize("max_cost", [0, -1, "much", True])
def test_a_limit_that_is_none_is_refused(work, max_cost):
    client = FakeClient(ok)
    with pytest.raises(BadInput, match=r"max_cost="):
        work(client, max_cost=max_cost)
    assert client.calls == []


def test_a_rate_limit_is_waited_for_and_its_limits_are_kept(work):
    """The host names one call at once: no two are under way after its refusal."""
    refused, lock = threading.Event(), threading.Lock()
    active = []

    def chat(messages, **params):
        if not refused.is_set():
            refused.set()
            words = "max concurrency: 1, please try again"
            raise RateLimited(words, "Wait.", host="h", retry_after_s=0.05)
        with lock:
            active.append(1)
            most.append(len(active))
        try:
            return plain(messages, **params)
        finally:
            with lock:
                active.pop()

    most = []
    client = FakeClient(ok)
    plain, client.chat = client.chat, chat
    made = work(client, concurrency=4)
    assert made.stop_reason == "done"
    assert len(client.calls) == N
    assert max(most) == 1


def test_a_watch_of_the_users_sees_every_step(work, kind):
    if kind == "scores":
        return  # it takes none
    steps = []
    work(FakeClient(ok), watch=steps.append)
    assert [step.text for step in steps] == ["ok"] * N


def test_progress_is_a_bar(work, capsys, monkeypatch):
    monkeypatch.setattr(progress, "LOG_S", 0.0)  # standard error is no terminal here
    work(FakeClient(ok), progress=True)
    assert f"/{N}" in capsys.readouterr().err.replace(f"/{N - 1}", f"/{N}")


def test_stop_keeps_what_was_answered(work):
    client = FakeClient(ok)
    plain = client.chat

    def chat(messages, *, watch, **params):
        if len(client.calls) == 2:
            return press_stop(watch)
        return plain(messages, watch=watch, **params)

    client.chat = chat
    made = work(client)
    assert made.stop_reason == "interrupted"
    assert len(client.calls) == 2
    assert "stopped" in str(made)


def test_what_ends_it_has_what_was_finished(work, kind):
    client = FakeClient(ok)
    plain = client.chat

    def chat(messages, **params):
        if len(client.calls) == 2:
            raise AuthenticationFailed("No.", "Check it.", status=401)
        return plain(messages, **params)

    client.chat = chat
    with pytest.raises(AuthenticationFailed) as caught:
        work(client)
    assert len(client.calls) == 2
    assert getattr(caught.value, kind).stop_reason == "error"


def test_a_vote_inside_a_pattern_of_a_users_own_asks_through_the_lab():
    def thrice(client, task, question, **params):
        won = vote(client, question, 3, concurrency=2, **params)
        return won.replies[0]

    seen = []

    def chat(messages, params):
        seen.append(messages)
        return "2"

    client = FakeClient(chat)
    rows = (("1 + 1?", 2), ("3 - 1?", 2))
    made = lab(client, Task(instruction="", rows=rows), {"own": thrice}, progress=False)
    assert len(seen) == 6
    assert made.summary()[0]["right"] == 2
    assert made.summary()[0]["cost"] == 6 * Decimal("0.001")


def test_stop_inside_such_a_vote_ends_all():
    """The calls under way hang up, though two runners are between them and Stop."""
    asked = []

    def thrice(client, task, question, **params):
        return vote(client, question, 3, concurrency=1, **params).replies[0]

    def chat(messages, *, watch, **params):
        asked.append(messages)
        watch(Delta(text="2"))
        return press_stop(watch)

    client = FakeClient(ok)
    client.chat = chat
    rows = (("1 + 1?", 2),) * 4
    task = Task(instruction="", rows=rows)
    made = lab(client, task, {"own": thrice}, progress=False, concurrency=1)
    assert made.stop_reason == "interrupted"
    assert made.outcomes == ()
    assert len(asked) == 1
