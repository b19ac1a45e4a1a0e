"""The runner, over clients that are awaited and over clients that block."""

import asyncio
import contextlib
import signal
import threading
import time
from decimal import Decimal
from types import NoneType

import pytest

from kimikit import errors
from kimikit.runner import (
    Request,
    Runner,
    Stopped,
    WorkOptions,
    endpoint,
    live,
    run_jobs,
    runner_over,
)
from kimikit.types import Delta, Host, Reply


class Awaited:
    """A client whose answers a test gives; it counts what is under way."""

    def __init__(self, answer=None):
        self.answer = answer or (lambda messages, params: Reply(text=str(messages)))
        self.asked = []
        self.active = self.most = 0

    async def chat(self, messages, *, watch=None, meta=None, **params):
        self.asked.append((messages, params))
        self.active += 1
        self.most = max(self.most, self.active)
        try:
            await asyncio.sleep(0)
            reply = self.answer(messages, params)
            if asyncio.iscoroutine(reply):
                reply = await reply
            if watch:
                watch(Delta(text=reply.text))
            return reply
        finally:
            self.active -= 1


def run(client, requests, *, at_once=4, catch=None, **options):
    """Ask requests on a runner of their own; return it and what came."""
    runner = Runner(lambda name: client, **options)
    came = {}

    async def do(index):
        try:
            came[index] = await runner.ask(requests[index])
        except errors.KimiError as error:
            came[index] = error
            if not runner.failed(requests[index], error):
                raise

    async def work():
        await runner.each(range(len(requests)), do, at_once=at_once)

    runner.run(work)
    return runner, came


def asking(n, **fields):
    return [Request(messages=f"q{i}", **fields) for i in range(n)]


def test_every_request_is_answered_within_the_calls_at_once():
    async def slow(messages):
        await asyncio.sleep(0.02)
        return Reply(text=messages)

    client = Awaited(lambda m, p: slow(m))
    _, came = run(client, asking(50), at_once=50, concurrency=7)
    assert [came[i].text for i in range(50)] == [f"q{i}" for i in range(50)]
    assert client.most == 7


def test_a_rate_limit_is_waited_for_and_asked_again(monkeypatch):
    refused = []

    def answer(messages, params):
        if not refused:
            refused.append(1)
            raise errors.RateLimited("slow down", "Wait.", host="h", retry_after_s=0.01)
        return Reply(text=messages)

    runner, came = run(Awaited(answer), asking(3), at_once=1)
    assert [came[i].text for i in range(3)] == ["q0", "q1", "q2"]
    assert runner.stop_reason == "done"


def test_a_wait_that_is_too_long_ends_the_work():
    def answer(messages, params):
        raise errors.RateLimited("per day", "Wait.", host="h", retry_after_s=4000)

    client = Awaited(answer)
    runner, _ = run(client, asking(20), at_once=1)
    assert isinstance(runner.error, errors.RateLimited)
    assert len(client.asked) == 1


@pytest.mark.parametrize("kind", [errors.AuthenticationFailed, errors.NoBalance])
def test_what_all_would_meet_ends_the_work(kind):
    def answer(messages, params):
        raise kind("no", "Do.", host="h")

    client = Awaited(answer)
    runner, _ = run(client, asking(100), at_once=2, concurrency=2)
    assert isinstance(runner.error, kind)
    assert len(client.asked) <= 3


def test_a_host_that_stops_answering_is_given_up():
    def answer(messages, params):
        if messages == "q0":
            return Reply(text="yes")
        raise errors.ConnectionFailed("gone", "Check.", host="h")

    client = Awaited(answer)
    runner, _ = run(client, asking(100), at_once=1, concurrency=2)
    assert 3 <= len(client.asked) <= 6
    assert isinstance(runner.error, errors.ConnectionFailed)
    assert any("stopped answering" in note for note in runner.notes)


@pytest.mark.parametrize("kind", [errors.Overloaded, errors.RateLimited])
@pytest.mark.parametrize(("answers", "asked"), [(0, 2), (1, 1 + live.TRIES + 1)])
def test_a_host_that_refuses_from_the_first_is_given_up_soon(
    answers, asked, kind, monkeypatch
):
    monkeypatch.setitem(endpoint.PATIENCE_S, kind, 0)

    def answer(messages, params):
        if len(client.asked) <= answers or len(client.asked) > 1 + live.TRIES:
            return Reply(text="yes")
        error = kind("full", "Wait.", host="h")
        error.retry_after_s = 0.01
        raise error

    client = Awaited(answer)
    runner, _ = run(client, asking(3), at_once=1)
    assert len(client.asked) == asked
    assert isinstance(runner.error, kind if not answers else NoneType)


def test_max_cost_is_not_passed():
    client = Awaited(lambda m, p: Reply(text=m, cost=Decimal("0.4")))
    runner, came = run(client, asking(10), at_once=3, max_cost=Decimal(1))
    assert runner.stop_reason == "max_cost"
    assert runner.costs.spent <= 1
    assert len(came) == 2


def test_one_request_of_a_model_goes_first_where_that_is_asked():
    order = []

    async def slow(messages):
        order.append(("begin", messages))
        await asyncio.sleep(0.01)
        order.append(("end", messages))
        return Reply(text=messages)

    client = Awaited(lambda m, p: slow(m))
    runner = Runner(lambda name: client, probe=True)

    async def do(request):
        await runner.ask(request)

    async def work():
        await runner.each(asking(4, model="m"), do, at_once=4)

    runner.run(work)
    assert order[:2] == [("begin", "q0"), ("end", "q0")]
    assert [kind for kind, _ in order[2:5]] == ["begin"] * 3


def test_what_is_not_wanted_any_more_when_its_turn_comes_is_not_sent():
    client, skipped = Awaited(), []
    runner = Runner(lambda name: client, concurrency=1)

    async def do(request):
        try:
            await runner.ask(request, wanted=lambda: not client.asked)
        except Stopped:
            skipped.append(request.messages)
            raise

    runner.run(lambda: runner.each(asking(3), do, at_once=3))
    assert [messages for messages, _ in client.asked] == ["q0"]
    assert skipped == ["q1", "q2"]
    assert runner.stop_reason == "done"


def test_another_thread_may_stop_it():
    async def slow(messages):
        threading.Thread(target=runner.stop).start()
        await asyncio.sleep(60)

    client = Awaited(lambda m, p: slow(m))
    runner = Runner(lambda name: client)

    async def work():
        await runner.ask(Request(messages="q"))

    started = time.monotonic()
    runner.run(work)
    assert time.monotonic() - started < 30
    assert runner.stop_reason == "interrupted"


def test_stop_keeps_what_is_finished_and_ends_within_a_second():
    begun = threading.Event()

    async def slow(messages):
        if messages == "q0":
            return Reply(text="first")
        begun.set()
        await asyncio.sleep(60)

    client = Awaited(lambda m, p: slow(m))
    main = threading.main_thread().ident

    def interrupt():
        begun.wait(10)
        signal.pthread_kill(main, signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    started = time.monotonic()
    runner, came = run(client, asking(10), at_once=2)
    assert time.monotonic() - started < 30  # not the minute that an answer takes
    assert runner.stop_reason == "interrupted"
    assert came[0].text == "first"


class Blocking:
    """A client with the one method that a fake needs."""

    def __init__(self, answer=lambda messages, params: Reply(text=str(messages))):
        self.answer, self.asked, self.lock = answer, [], threading.Lock()

    def chat(self, messages, *, watch=None, meta=None, **params):
        with self.lock:
            self.asked.append((messages, meta, params))
        return self.answer(messages, params)


class Store:
    """Answers by key, as the ledger finds them."""

    def __init__(self):
        self.kept = {}

    def answers(self, prefix):
        return {k: v for k, v in self.kept.items() if k.startswith(prefix)}

    def failed(self, prefix):
        return ()


def test_jobs_that_block_ask_through_the_runner():
    client = Blocking()
    runner, clients = runner_over({None: client}, "lab", WorkOptions(2))
    jobs = [lambda i=i: clients[None].chat(f"q{i}").text for i in range(5)]
    assert run_jobs(runner, jobs, concurrency=2) == [f"q{i}" for i in range(5)]


def test_the_same_question_asked_twice_has_two_answers_and_both_are_found_again():
    store, n = Store(), iter(range(100))
    client = Blocking(lambda m, p: Reply(text=f"{m} {next(n)}"))

    def twice():
        runner, clients = runner_over({None: client}, "lab", WorkOptions(1, "n", store))
        ask = clients[None].chat
        came = run_jobs(runner, [lambda: (ask("q"), ask("q"))], concurrency=1)
        for (_, meta, _), reply in zip(client.asked, came[0], strict=False):
            store.kept[meta["key"]] = reply
        return [reply.text for reply in came[0]], runner.reused

    assert twice() == (["q 0", "q 1"], 0)
    assert twice() == (["q 0", "q 1"], 2)
    assert len(client.asked) == 2


def test_what_a_job_raises_ends_the_others_and_keeps_what_they_had():
    client = Blocking()
    runner, clients = runner_over({None: client}, "lab", WorkOptions(2))

    def fails():
        raise ZeroDivisionError("user's own")

    ask = clients[None].chat
    jobs = [lambda: ask("q").text, fails, *[lambda: ask("q").text] * 50]
    assert run_jobs(runner, jobs, concurrency=1)[:3] == ["q", None, None]
    assert len(client.asked) == 1
    with pytest.raises(ZeroDivisionError, match="user's own") as caught:
        runner.finished("kept", "lab")
    assert caught.value.lab == "kept"


def test_a_stopped_runner_ends_its_jobs_past_any_handler():
    runner, clients = runner_over({None: Blocking()}, "lab", WorkOptions(2))
    ended = []

    def job():
        try:
            runner.stopping = True
            clients[None].chat("q")
        except Exception:
            ended.append("swallowed")
        except Stopped:
            ended.append("stopped")
            raise

    assert run_jobs(runner, [job], concurrency=1) == [None]
    assert ended == ["stopped"]


def test_who_waits_for_the_first_answer_goes_before_who_comes_later():
    def answer(messages, params):
        if messages == "q0":
            raise errors.ContentFiltered("No.", "Rephrase.")  # no proof of anything
        return Reply(text=messages)

    client = Awaited(answer)
    runner = Runner(lambda name: client, probe=True)

    async def do(request):
        with contextlib.suppress(errors.ContentFiltered):
            await runner.ask(request)

    runner.run(lambda: runner.each(asking(40, model="m"), do, at_once=8))
    assert [messages for messages, _ in client.asked] == [f"q{i}" for i in range(40)]


def test_openrouter_is_waited_for_until_its_upstream_is_known():
    host = Host(name="openrouter", base_url="http://x", model="m")
    client = Awaited()

    async def chat(messages, *, watch, meta, **params):
        client.asked.append(params)
        watch(Delta(text="I"))
        await asyncio.sleep(0.01)
        return Reply(text="I", raw={"provider": "Novita"})

    client.chat, client.host = chat, host
    runner = Runner(lambda name: client, hold_upstream=True)
    requests = asking(5, model="m")
    runner.run(lambda: runner.each(requests, runner.ask, at_once=5))
    assert [params.get("provider", {}).get("only") for params in client.asked] == [
        None, *[["Novita"]] * 4,
    ]  # fmt: skip
