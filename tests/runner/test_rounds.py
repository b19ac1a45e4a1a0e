"""Work in several rounds of batches, by the host's own count; and what is bought anew."""

import contextlib
import inspect
import os
import re
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
from support.batch_host import KEY, BatchHost, wait_side_by_side

from kimikit import BadInput, BudgetExceeded, Kimi, NotSupported, errors
from kimikit.evals import PATTERNS, Task, judge, score_tool_calls, vote
from kimikit.prompting import map_reduce
from kimikit.runner import batch_looks
from kimikit.types.host import HostBatch
from kimikit.wire import Client, hosts

ROWS = tuple((f"What is {n} + {n}?", 2 * n) for n in range(4))
TASK = Task(instruction="Compute.", rows=ROWS)
PARTS = [f"Pump {n} failed." for n in range(5)]
BATCH = HostBatch(
    endpoints=("chat", "embed"), price_factor=Decimal("0.5"), price_most=Decimal("0.5")
)
MADE = []


@pytest.fixture
def host(tmp_path):
    (tmp_path / "host").mkdir()
    with BatchHost(tmp_path / "host") as server:
        yield server


@pytest.fixture(autouse=True)
def closed():
    """Close each session at the end: frames of errors may hold it for a while."""
    yield
    while MADE:
        MADE.pop().close()


def session(server, **options):
    made = {"base_url": server.url, "api_key": KEY, "model": "m", "max_retries": 0}
    kimi = Kimi("own", **made, show=False, **options)
    kimi.client.host = msgspec.structs.replace(kimi.host, batch=BATCH)
    MADE.append(kimi)
    return kimi


def add(text):
    return str(2 * int(text.split()[2]))


def of_lab(kimi, pattern="zero-shot", **options):
    ways = {pattern: PATTERNS[pattern]}
    return kimi.lab(TASK, ways, progress=False, **options)


def of_score(kimi, **options):
    texts = [f"case {n}" for n in range(4)]
    cases = [
        {"messages": [{"role": "user", "content": each}], "tools": [], "calls": []}
        for each in texts
    ]
    return score_tool_calls({"h": kimi}, cases, progress=False, **options)


def of_map_reduce(kimi, **options):
    return map_reduce(kimi, PARTS, "What failed?", progress=False, **options)


WORKS = {"lab": of_lab, "score": of_score, "map_reduce": of_map_reduce}
ROUNDS = {"lab": 1, "score": 1, "map_reduce": 2}
FIGURES = {
    "lab": lambda found: [(row["right"], row["n"]) for row in found.summary()],
    "score": lambda found: found.rates(),
    "map_reduce": lambda found: (found.reply.text, len(found.notes), len(found.merged)),
}
BY_BATCH = {"via": "batch", "poll_s": 0.01, "max_tokens": 6}


@pytest.fixture(params=WORKS)
def kind(request):
    return request.param


def answer(text):
    return (
        add(text)
        if text.startswith("What is")
        else "NOTHING" * ("Pump 1" in text) or "ok"
    )


def bought_once(host):
    return set(host.bought.values()) == {1}


def test_a_batch_returns_what_the_live_call_does(host, kind):
    host.answer = answer
    kimi, work, figures = session(host), WORKS[kind], FIGURES[kind]
    live = work(kimi, max_tokens=6)
    host.bought.clear()
    host.live.clear()
    job = work(kimi, name="w", **BY_BATCH)
    found = job.wait()
    assert (job.kind, type(found), found.stop_reason) == (kind, type(live), "done")
    assert figures(found) == figures(live)
    assert found.reused == 0  # it is paid for by this very work
    assert host.live == []
    assert bought_once(host)
    assert host.calls("POST", "/batches") == ROUNDS[kind]
    # Live finds it by its name, and so does another kernel by another batch.
    again = work(kimi, name="w", max_tokens=6)
    assert again.reused == sum(host.bought.values())
    assert figures(work(session(host), name="w", **BY_BATCH).collect()) == figures(live)
    assert bought_once(host)


def test_without_a_name_it_goes_as_well(host, kind):
    host.answer = answer
    assert len(str(WORKS[kind](session(host), **BY_BATCH).wait())) > 10
    assert bought_once(host)


def test_another_kernel_goes_on_where_the_first_one_was_killed(host, kind, monkeypatch):
    """The process dies when its first batch has been begun."""
    monkeypatch.setattr(batch_looks, "LISTED_S", 0)
    code = f"""
import os, signal, sys
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
from kimikit.wire.batches import Batches
step = Batches.create
def dies(*args, **options):
    step(*args, **options)
    os.kill(os.getpid(), signal.SIGKILL)
Batches.create = dies
from runner import test_rounds as tests
class Server: url = {host.url!r}
tests.WORKS[{kind!r}](tests.session(Server), name="w", **tests.BY_BATCH)
"""
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", code], env=env, check=False)
    assert done.returncode == -9
    host.answer = answer
    kimi = session(host)
    (restored,) = kimi.jobs()
    assert f"call {'kimi.lab' if kind == 'lab' else restored.kind}"[:9] in repr(
        restored
    )
    assert "again with name='w'" in repr(restored)
    WORKS[kind](kimi, name="w", **BY_BATCH).wait()
    assert bought_once(host)
    assert host.calls("POST", "/batches") == ROUNDS[kind]


def test_two_kernels_wait_for_one_work(host, kind):
    host.answer = answer
    host.gate.clear()
    jobs = [WORKS[kind](session(host), name="w", **BY_BATCH) for _ in range(2)]
    found = wait_side_by_side(host, jobs)
    assert [each.stop_reason for each in found] == ["done", "done"]
    assert bought_once(host)


def test_five_votes_are_one_round_and_a_judge_another(host):
    """What a batch can ask at once is not asked one batch after the other."""
    host.answer = lambda text: f"Answer: {add(text)}"
    kimi = session(host)
    found = of_lab(kimi, "vote of 5", name="v", **BY_BATCH).wait()
    assert [(row["right"], row["n"]) for row in found.summary()] == [(4, 4)]
    assert set(host.bought.values()) == {5}
    assert host.calls("POST", "/batches") == 1
    judged = []
    own = lambda reply, truth: judged.append(truth) or True  # noqa: E731
    host.answer = lambda text: (
        add(text) if text in dict(ROWS) else '{"answer": "right"}'
    )
    asked = {"metrics": {"judge": "judge", "own": own}, "name": "j", **BY_BATCH}
    job = kimi.lab(TASK, {"bare": PATTERNS["zero-shot"]}, progress=False, **asked)
    found = job.wait()
    assert host.calls("POST", "/batches") == 3
    assert all(one.judged and one.scores["own"] for one in found.outcomes)
    assert sorted(judged) == [0, 2, 4, 6]  # nothing is judged while one only plans
    assert host.live == []


def of_vote(kimi, **options):
    return vote(kimi, "What is 3 + 3?", 5, **options)


def of_judge(kimi, **options):
    rows = [{"question": text, "answer": str(truth)} for text, truth in ROWS]
    return kimi.judge(rows, progress=False, **options)


def of_frontier(kimi, **options):
    return kimi.frontier(TASK, votes=[1, 3], progress=False, **options)


@pytest.mark.parametrize(
    ("work", "asked", "figures"),
    [
        (of_vote, 5, lambda found: found.counts),
        (of_judge, 8, lambda found: [one.said for one in found.verdicts]),
        (of_frontier, 12, lambda found: [
            (one.labels, one.right.value, one.n) for one in found.settings
        ]),
    ],
    ids=["vote", "judge", "frontier"],
)  # fmt: skip
def test_what_asks_one_thing_often_goes_by_batch(host, work, asked, figures):
    host.answer = lambda text: (
        f"Answer: {add(text)}" if text.startswith("What is") else '{"answer": "right"}'
    )
    kimi = session(host)
    live = work(kimi, max_tokens=6)
    host.bought.clear()
    host.live.clear()
    job = work(kimi, name="w", **BY_BATCH)
    found = job.wait()
    assert type(found) is type(live)
    assert figures(found) == figures(live) == figures(job.collect())
    assert host.live == []
    assert sum(host.bought.values()) == asked
    assert host.calls("POST", "/batches") == 1
    # Live, and in another kernel, its name finds all.
    assert figures(work(session(host), name="w", max_tokens=6)) == figures(live)
    assert sum(host.bought.values()) == asked
    with pytest.raises(BadInput, match="via is 'bach'"):
        work(kimi, via="bach")


def test_groups_of_notes_are_put_together_in_one_round(host):
    host.answer = lambda text: "note " * 400 if "Note in at most" in text else "ok"
    kimi = session(host)
    options = {"window_tokens": 1000, "name": "w", **BY_BATCH}
    found = map_reduce(kimi, PARTS, "What failed?", progress=False, **options).wait()
    assert (len(found.notes), len(found.merged)) == (5, 4)
    assert host.calls("POST", "/batches") == 3
    assert host.bought.total() == 9


def test_max_cost_holds_over_all_rounds(host):
    host.answer = answer
    kimi = session(host, max_tokens=6)
    kimi.set_price(input=1000, output=100_000)  # 6 tokens: 0.60 live, 0.30 in a batch
    with pytest.raises(BudgetExceeded, match="may cost"):
        of_map_reduce(kimi, name="w", **BY_BATCH, max_cost="0.5")
    with pytest.raises(BudgetExceeded, match="4 requests cost up to"):
        of_lab(kimi, name="w", **BY_BATCH, max_cost="0.5")
    assert host.requests == []
    assert kimi.ledger.calls() == []
    host.answer = lambda text: (
        add(text) if text in dict(ROWS) else '{"answer": "right"}'
    )
    asked = {"metrics": {"judge": "judge"}, "name": "j", "max_cost": 3, **BY_BATCH}
    job = kimi.lab(TASK, {"bare": PATTERNS["zero-shot"]}, progress=False, **asked)
    with pytest.warns(match="The next batch was not begun"):
        found = job.wait()
    assert found.stop_reason == "max_cost"
    assert len(found.outcomes) == 4  # the answers are there, and no judge was asked
    assert host.calls("POST", "/batches") == 1
    asked["max_cost"] = 100
    job = kimi.lab(TASK, {"bare": PATTERNS["zero-shot"]}, progress=False, **asked)
    assert all(one.judged for one in job.wait().outcomes)
    assert bought_once(host)


def test_a_budget_around_the_first_round_holds_for_the_last(host):
    host.answer = answer
    kimi = session(host, max_tokens=6)
    kimi.set_price(input=1000, output=100_000)
    with kimi.budget(usd=50) as budget:
        job = of_map_reduce(kimi, name="w", **BY_BATCH)
    job.wait()
    assert budget.spent.usd == 6 * Decimal("0.609") / 2
    with kimi.budget(usd=3) as small:
        asked = {"metrics": ["judge"], "name": "j", **BY_BATCH}
        job = kimi.lab(TASK, {"bare": PATTERNS["zero-shot"]}, progress=False, **asked)
    with pytest.warns(match="The next batch was not begun"):
        job.wait()
    assert small.spent.usd == 4 * Decimal("0.609") / 2
    assert host.bought.total() == 10


def test_retry_buys_what_failed_and_nothing_that_is_paid_for(host, kind):
    fails = [True]

    def sometimes(text):
        if fails and any(mark in text for mark in ("2 + 2", "case 2", "part [3]")):
            return 400, {"error": {"message": "not today"}}
        return answer(text)

    host.answer = sometimes
    kimi = session(host)
    job = WORKS[kind](kimi, name="w", **BY_BATCH)
    # Live raises it as well where a note is missing.
    ends = pytest.raises(errors.StatusError, match="not today")
    with ends if kind == "map_reduce" else contextlib.nullcontext():
        job.wait()
    assert len(job.failed) == 1
    before = host.calls("POST", "/batches")
    fails.clear()
    assert job.retry() is job
    assert job.failed == {}
    found = job.wait()
    assert job.failed == {}
    assert bought_once(host)
    last = 1 + (kind == "map_reduce")
    assert host.calls("POST", "/batches") == before + last
    assert found.stop_reason == "done"
    assert job.retry().done
    assert host.calls("POST", "/batches") == before + last


def of_sweep(kimi, **options):
    texts = [text for text, _ in ROWS]
    return kimi.sweep(texts, repeats=1, progress=False, **options)


def of_map(kimi, **options):
    return kimi.map([text for text, _ in ROWS], progress=False, **options)


@pytest.mark.parametrize("work", [of_sweep, of_map, of_frontier])
def test_what_is_asked_in_one_round_is_retried_too(host, work):
    fails = [True]
    host.answer = lambda text: (
        (400, {"error": {"message": "not today"}})
        if fails and "2 + 2" in text
        else f"Answer: {add(text)}"
    )
    job = work(session(host), name="w", **BY_BATCH)
    job.wait()
    assert job.failed
    fails.clear()
    found = job.retry().wait()
    assert job.failed == {}
    assert getattr(found, "sweep", found).stop_reason == "done"
    assert host.calls("POST", "/batches") == 2
    assert job.retry().done  # nothing has failed
    assert host.calls("POST", "/batches") == 2


@pytest.mark.parametrize("ended", ["cancelled", "expired"])
@pytest.mark.parametrize("restored", [False, True], ids=["same", "another kernel"])
def test_what_expired_half_done_is_bought_anew(host, ended, restored, monkeypatch):
    monkeypatch.setenv("KIMIKIT_BATCH_POLL_S", "0.02")  # a restored job knows no poll_s
    texts = [f"prompt {n}" for n in range(6)]
    kimi = session(host)
    host.gate.clear()
    job = kimi.map(texts, name="n", **BY_BATCH)
    batch = host.answer_some(4)
    if ended == "cancelled":
        job.cancel()
    else:
        host.expire(batch)
    assert len(job.wait().failed) == 2
    if restored:
        (job,) = session(host).jobs()
    job.retry()
    assert not job.done
    other = session(host).map(texts, name="n", **BY_BATCH)  # they are under way
    host.gate.set()
    replies = job.wait()
    assert (replies.texts, replies.failed) == ([f"Re: {each}" for each in texts], {})
    assert other.wait().failed == {}
    assert host.bought == dict.fromkeys(texts, 1)
    assert host.calls("POST", "/batches") == 2


@pytest.mark.parametrize("step", ["upload", "create"])
def test_a_retry_that_is_killed_buys_nothing_twice(host, step, monkeypatch):
    monkeypatch.setattr(batch_looks, "LISTED_S", 0)
    texts = [f"prompt {n}" for n in range(4)]
    host.gate.clear()
    job = session(host).map(texts, name="n", **BY_BATCH)
    job.cancel()
    assert len(job.wait().failed) == 4
    host.gate.set()
    code = f"""
import os, signal
from kimikit import Kimi
from kimikit.wire.batches import Batches
step = Batches.{step}
def dies(*args, **options):
    step(*args, **options)
    os.kill(os.getpid(), signal.SIGKILL)
Batches.{step} = dies
kimi = Kimi("own", base_url={host.url!r}, api_key={KEY!r}, model="m", show=False)
kimi.jobs()[0].retry()
"""
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", code], env=env, check=False)
    assert done.returncode == -9
    for job in session(host).jobs():
        job.wait()
        job.retry()
    for job in session(host).jobs():
        job.wait()
    replies = session(host).map(texts, name="n", **BY_BATCH).wait()
    assert replies.failed == {}
    assert host.bought == dict.fromkeys(texts, 1)


def test_a_request_that_was_not_kept_whole_is_not_asked_otherwise(host):
    host.gate.clear()
    kimi = session(host)
    job = kimi.map(["a", "b *** c"], name="n", **BY_BATCH)
    job.cancel()
    job.wait()
    host.gate.set()
    with pytest.raises(BadInput, match=r"kimi.map again with name='n'"):
        kimi.jobs()[0].retry()
    assert job.retry().wait().failed == {}  # who knows the work knows the request


def test_what_cannot_go_by_batch_is_refused_before_the_upload(host, kind, tmp_path):
    kimi = session(host)
    work = WORKS[kind]
    with pytest.raises(BadInput, match="via is 'bach'"):
        work(kimi, via="bach")
    with pytest.raises(BadInput, match="poll_s"):
        work(kimi, **{**BY_BATCH, "poll_s": -1})
    with pytest.raises(BadInput, match="no name"):
        work(kimi, name=" ", **BY_BATCH)
    with pytest.raises(BadInput, match="max_cost"):
        work(kimi, max_cost="much", **BY_BATCH)
    profile = hosts.profiles()["moonshot"]
    kimi.client.host = msgspec.structs.replace(
        profile, base_url=host.url, model="kimi-k2.6", name="moonshot"
    )
    with pytest.raises(NotSupported, match=r"top_p in a batch.*openrouter"):
        work(kimi, top_p=0.95, **BY_BATCH)
    kimi.client.host = msgspec.structs.replace(profile, batch=None)
    with pytest.raises(NotSupported, match="not known for batches"):
        work(kimi, **BY_BATCH)
    assert host.requests == []


def test_bare_clients_say_what_they_lack(host):
    class Fake:
        def chat(self, messages, **params):
            raise AssertionError

    with pytest.raises(BadInput, match="asks no batches"):
        map_reduce(Fake(), PARTS, "What?", **BY_BATCH)
    with Client(base_url=host.url, api_key=KEY, model="m") as bare:
        with pytest.raises(BadInput, match=r"store=kimi\.ledger"):
            map_reduce(bare, PARTS, "What?", **BY_BATCH)
        kimi = session(host)
        made = of_score(bare, store=kimi.ledger, name="s", **BY_BATCH)
        assert len(made.wait().outcomes) == 4
        with Client(base_url=host.url, api_key="k-other1234", model="m") as other:
            pair, case = {"a": bare, "b": other}, {"tools": [], "calls": []}
            cases = [{**case, "messages": [{"role": "user", "content": "x"}]}]
            with pytest.raises(BadInput, match="not the same account"):
                score_tool_calls(pair, cases, store=kimi.ledger, **BY_BATCH)
    assert kimi.ledger.total().calls == 4
    assert bought_once(host)


def test_until_needs_answers_as_they_come(host):
    with pytest.raises(BadInput, match="until="):
        of_lab(session(host), until=0.1, **BY_BATCH)
    assert host.requests == []


def test_lines_twice_and_reordered_change_nothing(host, kind):
    def change(content):
        lines = content.split(b"\n")[:-1]
        return b"\n".join([*lines[::-1], b"{no json", *lines])

    host.answer, host.change = answer, change
    found = WORKS[kind](session(host), name="w", **BY_BATCH).wait()
    host.change = bytes
    assert FIGURES[kind](found) == FIGURES[kind](
        WORKS[kind](session(host), max_tokens=6)
    )


def test_a_host_that_fails_between_two_rounds_is_asked_again(host):
    """The answer to the creation of the second batch is lost: it was begun."""
    host.answer = answer
    job = of_map_reduce(session(host), name="w", **BY_BATCH)
    while not job.done:
        job.refresh()
        time.sleep(0.01)
    host.lose = "POST /v1/batches"
    with pytest.raises(errors.HostError):
        job.wait()
    assert job.wait().stop_reason == "done"
    assert bought_once(host)
    assert host.calls("POST", "/batches") == 2


def test_embeddings_come_by_batch(host, monkeypatch):
    kimi, texts = session(host), ["tree", "sea", "tree", "bee"]
    kimi.set_price(input=1000, output=0)
    live = kimi.embed(texts, model="m")
    host.bought.clear()
    host.live.clear()
    options = {"model": "m", "via": "batch", "poll_s": 0.01, "name": "e"}
    host.gate.clear()
    job = kimi.embed(texts, **options)
    assert job.collect().missing == [0, 1, 2, 3]
    host.gate.set()
    found = job.wait()
    assert [[round(x, 5) for x in each] for each in found] == live.vectors
    assert found.missing == []
    assert found.reply.cost == 3 * Decimal("0.003") / 2
    bought = Decimal("0.012") + 3 * Decimal("0.0015")  # live, and each text once
    assert kimi.ledger.total().cost == bought
    assert host.bought == {"tree": 1, "sea": 1, "bee": 1}
    assert host.live == []
    again = session(host).embed([*texts, "new"], **options).wait()
    assert again.vectors[:4] == found.vectors
    assert host.bought == {"tree": 1, "sea": 1, "bee": 1, "new": 1}
    assert [each.kind for each in kimi.jobs()] == ["embed", "embed"]
    assert kimi.jobs()[1].collect().prompts[0] in (["tree"], ["sea"], ["bee"])


def test_a_text_without_a_vector_is_missing_and_bought_anew(host):
    fails = [True]
    refusal = 400, {"error": {"message": "no bees"}}
    host.answer = lambda text: refusal if fails and text == "bee" else text
    options = {"model": "m", "via": "batch", "poll_s": 0.01, "name": "e"}
    job = session(host).embed(["tree", "bee"], **options)
    found = job.wait()
    assert (found.missing, found.vectors[1]) == ([1], [])
    assert "1 missing" in repr(found)
    assert "no bees" in found.reply.notes[0]
    fails.clear()
    (job,) = session(host).jobs()
    job.retry().wait()
    assert session(host).embed(["tree", "bee"], **options).wait().missing == []
    assert host.bought == {"tree": 1, "bee": 1}


@pytest.mark.parametrize(
    ("texts", "options", "says"),
    [
        ([], {"via": "batch"}, "list of texts"),
        (["a", 1], {"via": "batch"}, r"texts\[1\]"),
        (["a"], {"via": "batch", "model": None}, "No model is named"),
        (["a"], {"via": "bach"}, "via is 'bach'"),
        (["a"], {"name": "n"}, "for batches"),
        (["a"], {"via": "batch", "max_cost": 1}, "max_cost cannot be held"),
    ],
)
def test_what_cannot_be_embedded_is_refused_before_it_is_sent(
    host, texts, options, says
):
    with pytest.raises((BadInput, BudgetExceeded), match=says):
        session(host).embed(texts, **{"model": "m", **options})
    assert host.requests == []


def test_a_host_that_embeds_in_no_batch_names_those_that_do(host):
    kimi = session(host)
    kimi.client.host = msgspec.structs.replace(kimi.host, batch=HostBatch())
    with pytest.raises(NotSupported, match=r"embeddings in batches.*local"):
        kimi.embed(["a"], model="m", via="batch")
    assert host.requests == []


VERBS = [
    Kimi.map, Kimi.sweep, Kimi.lab, Kimi.embed, Kimi.judge, Kimi.frontier, judge, vote,
    score_tool_calls, map_reduce,
]  # fmt: skip


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.__name__)
def test_tab_finds_the_way_to_a_batch(verb):
    """Tab and Shift+Tab read the signature and the docstring."""
    asked = inspect.signature(verb).parameters
    assert "Literal['live', 'batch']" in str(asked["via"].annotation).replace('"', "'")
    assert {"via", "poll_s", "name", "max_cost"} <= asked.keys()
    said = " ".join(verb.__doc__.split())
    assert "via: ``live``" in said
    assert "``batch`` for the host" in said
    assert re.search(r"[Bb]y batch (a|the) ``Job``,? whose ``wait\(\)``", said)


def test_what_is_asked_by_chance_is_refused_before_it_is_paid_for(host):
    tries = iter(range(10_000))
    by_chance = lambda c, t, q, **p: c.chat(f"{q} {next(tries)}", **p)  # noqa: E731
    with pytest.raises(BadInput, match="asks something else each time"):
        session(host).lab(TASK, {"odd": by_chance}, progress=False, **BY_BATCH)
    assert host.requests == []


def test_what_is_asked_otherwise_later_is_bought_no_more(host):
    """A prompt with the hour in it changes while its batch is answered."""
    hour = ["noon"]
    timely = lambda c, t, q, **p: c.chat(f"{q} at {hour[0]}", **p)  # noqa: E731
    host.answer = str
    job = session(host).lab(TASK, {"timely": timely}, progress=False, **BY_BATCH)
    hour[0] = "one"
    with pytest.raises(BadInput, match=r"asks something else.*collect"):
        job.wait()
    assert host.calls("POST", "/batches") == 1
    hour[0] = "noon"
    assert len(job.collect().outcomes) == 4


def test_a_ledger_without_texts_takes_no_batch(host, kind, monkeypatch):
    monkeypatch.setenv("KIMIKIT_STORE", "usage")
    kimi = session(host)
    for ask in (WORKS[kind], lambda kimi, **way: kimi.map(["a"], **way)):
        with pytest.raises(BadInput, match=r"numbers only.*or ask live"):
            ask(kimi, **BY_BATCH)
    assert host.requests == []


def test_a_first_round_that_expired_half_done_ends_whole(host, kind):
    host.answer = answer
    host.gate.clear()
    kimi = session(host)
    job = WORKS[kind](kimi, name="w", **BY_BATCH)
    host.expire(host.answer_some(2))
    while not job.done:
        job.refresh()
        time.sleep(0.01)
    host.gate.set()
    # Another kernel, by the same name: what came is there, the rest is bought.
    found = WORKS[kind](session(host), name="w", **BY_BATCH).wait()
    assert found.stop_reason == "done"
    assert (found.reused, bought_once(host)) == (2, True)
    assert FIGURES[kind](found) == FIGURES[kind](job.collect())
