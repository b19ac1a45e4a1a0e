"""``via="batch"``: bought once, whatever happens in between; by the host's own count."""

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections import Counter
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
from support.batch_host import KEY, BatchHost, wait_side_by_side

from kimikit import BadInput, BudgetExceeded, Kimi, NotSupported, errors
from kimikit.money.ledger import Ledger
from kimikit.runner import batch_looks
from kimikit.types.host import HostBatch
from kimikit.wire import hosts

TEXTS = [f"prompt {n}" for n in range(6)]
ONCE = dict.fromkeys(TEXTS, 1)
DIALECTS = {
    "files": HostBatch(price_factor=Decimal("0.5"), price_most=Decimal("0.6")),
    "together": HostBatch(dialect="together"),
    "inline": HostBatch(dialect="inline", suffix=":batch", cancels=False),
}


@pytest.fixture
def host(tmp_path):
    (tmp_path / "host").mkdir()
    with BatchHost(tmp_path / "host") as server:
        yield server


MADE = []


@pytest.fixture(autouse=True)
def closed():
    """Close each session at the end: frames of errors may hold it for a while."""
    yield
    while MADE:
        MADE.pop().close()


def session(server, dialect="files", **options):
    made = {"base_url": server.url, "api_key": KEY, "model": "m", "max_retries": 0}
    kimi = Kimi("own", **made, show=False, **options)
    profile = msgspec.structs.replace(kimi.host, batch=DIALECTS[dialect])
    kimi.client.host = profile
    MADE.append(kimi)
    return kimi


def ask(kimi, texts=TEXTS, **options):
    given = {"via": "batch", "name": "n", "poll_s": 0.01, "max_tokens": 6, **options}
    return kimi.map(texts, **given)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_batch_answers_in_the_order_of_its_prompts(host, dialect):
    kimi = session(host, dialect)
    host.gate.clear()
    job = ask(kimi)
    assert not job.done
    assert job.collect().missing == list(range(6))
    assert "under way" in repr(kimi.jobs()) or "of" in repr(job)
    host.gate.set()
    replies = job.wait()
    assert replies.texts == [f"Re: {text}" for text in TEXTS]
    assert (job.done, replies.failed, replies.missing) == (True, {}, [])
    assert host.bought == ONCE
    assert host.live == []
    assert all("stream" not in body for body in host.bodies)


def test_answers_of_a_batch_are_found_live_and_the_other_way_round(host):
    kimi = session(host)
    live = kimi.map(TEXTS[:2], name="n", max_tokens=6, progress=False)
    assert live.texts == ["Re: prompt 0", "Re: prompt 1"]
    ask(kimi).wait()
    again = kimi.map(TEXTS, name="n", max_tokens=6, progress=False)
    assert again.reused == 6
    assert host.bought == ONCE
    assert ask(kimi).done  # everything is paid for: nothing is begun
    assert host.calls("POST", "/batches") == 1


def test_what_is_under_way_is_bought_by_nobody_else(host):
    kimi = session(host)
    host.gate.clear()
    job = ask(kimi, TEXTS[:4])
    live = kimi.map(TEXTS, name="n", max_tokens=6, progress=False)
    assert live.missing == [0, 1, 2, 3]
    assert "4 in a batch that is under way" in repr(live)
    second = ask(session(host))  # another kernel: the same work
    assert host.calls("POST", "/batches") == 1
    host.gate.set()
    assert second.wait().missing == []
    assert job.wait().missing == []
    assert host.bought == ONCE


def test_money_is_held_at_batch_prices_and_closed_with_what_came(host):
    kimi = session(host)
    kimi.set_price(input=1000, output=100_000)
    host.gate.clear()
    job = ask(kimi)
    rows = kimi.ledger.calls(state="open")
    assert len(rows) == 6
    assert all(row.at_most > Decimal("0.36") for row in rows)  # 6 tokens at 60 %
    assert "held at most" in repr(job)
    host.gate.set()
    replies = job.wait()
    assert replies.cost == 6 * Decimal("0.609") / 2
    assert kimi.ledger.total().cost == replies.cost
    assert kimi.ledger.calls(state="open") == []


@pytest.mark.parametrize("limit", ["max_cost", "budget", "day"])
def test_limits_hold_before_anything_is_sent(host, limit, monkeypatch):
    if limit == "day":
        monkeypatch.setenv("KIMIKIT_BUDGET_USD_PER_DAY", "1")
    kimi = session(host)
    kimi.set_price(input=1000, output=100_000)
    around = kimi.budget(usd=1) if limit == "budget" else contextlib.nullcontext()
    options = {"max_cost": 1} if limit == "max_cost" else {}
    with around, pytest.raises(BudgetExceeded):
        ask(kimi, **options)
    assert host.requests == []
    assert kimi.ledger.calls(state="open") == []
    if limit != "day":
        with kimi.budget(usd=10) as budget:
            job = ask(kimi, max_cost=10)  # what was refused is claimed by nobody
            assert "1 call open" in repr(budget)
            job.wait()
        assert budget.spent.usd == 6 * Decimal("0.609") / 2


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_recorded_batch_is_replayed_at_the_prices_of_then(host, dialect, tmp_path):
    kimi = session(host, dialect, record=tmp_path / "x.kimi")
    kimi.set_price(model=f"m{DIALECTS[dialect].suffix}", input=7, output=11)
    live = ask(kimi).wait()
    asked = len(host.requests)
    again = Kimi("replay", path=tmp_path / "x.kimi", speed=None, show=False)
    replayed = ask(again).wait()
    MADE.append(again)
    assert replayed.texts == live.texts == [f"Re: {text}" for text in TEXTS]
    assert [r.cost for r in replayed] == [r.cost for r in live]
    assert None not in [r.cost for r in replayed]
    assert len(host.requests) == asked


@pytest.mark.parametrize("dialect", ["files", "inline"])
@pytest.mark.parametrize(
    ("more", "tier"),
    [({"service_tier": "priority"}, " (priority)"), ({"models": ["m", "big"]}, "")],
)
def test_a_dearer_tier_and_a_fallback_have_their_own_prices(host, dialect, more, tier):
    kimi, end = session(host, dialect), DIALECTS[dialect].suffix + tier
    share = DIALECTS[dialect].price_factor
    kimi.set_price(model=f"m{end}", input=1000, output=2000)
    kimi.set_price(model=f"big{end}", input=3000, output=9000)
    host.gate.clear()
    job = ask(kimi, extra_body=more)
    dearest = 9000 if "models" in more else 2000
    most = [row.at_most for row in kimi.ledger.calls(state="open")]
    assert all(usd > 6 * dearest * share / 1_000_000 for usd in most)
    if "models" in more:  # the other one answers
        host.answer = lambda text: said_by("big-2026", text)
    host.gate.set()
    paid = 9 * (3 if "models" in more else 1) + 6 * dearest // 1000
    costs = [reply.cost for reply in job.wait()]
    assert costs == [paid * share / 1000] * 6
    assert kimi.ledger.total().cost == 6 * costs[0]


def said_by(model, text):
    choice = {"index": 0, "message": {"role": "assistant", "content": text}}
    used = {"prompt_tokens": 9, "completion_tokens": 6, "total_tokens": 15}
    return 200, {
        "model": model,
        "usage": used,
        "choices": [{**choice, "finish_reason": "stop"}],
    }


def test_what_failed_is_told_in_place_and_bought_again(host):
    def answer(text):
        if text == "prompt 2":
            return 400, {"error": {"message": "The prompt was filtered."}}
        return text

    host.answer = answer
    kimi = session(host)
    replies = ask(kimi).wait()
    assert list(replies.failed) == [2]
    assert "filtered" in str(replies[2])
    assert replies.texts[3] == "prompt 3"
    host.answer = str.upper
    assert ask(kimi).wait().texts[2] == "PROMPT 2"
    assert host.bought == ONCE


def test_lines_may_come_twice_in_any_order_or_broken(host):
    def change(content):
        lines = content.split(b"\n")[:-1]
        odd = [b"{no json", b'{"custom_id": "not ours", "response": null}', b"[1]"]
        return b"\r\n".join([*lines[::-1], *odd, *lines])

    host.change = change
    kimi = session(host)
    replies = ask(kimi).wait()
    assert replies.texts == [f"Re: {text}" for text in TEXTS]
    assert kimi.ledger.total().calls == 6
    assert host.bought == ONCE


def test_a_line_without_an_answer_is_a_failure_of_its_own(host):
    def change(content):
        lines = [json.loads(line) for line in content.splitlines()]
        lines[0]["response"]["body"] = {"choices": None}
        del lines[1]["response"]["status_code"]  # vLLM's older form, and a text
        lines[1]["response"] = lines[1]["response"]["body"]
        lines[2]["response"]["body"] = json.dumps(lines[2]["response"]["body"])
        return b"\n".join(json.dumps(line).encode() for line in lines)

    host.change = change
    replies = ask(session(host)).wait()
    assert sorted(replies.failed) == [0]
    assert replies.texts[1:] == [f"Re: prompt {n}" for n in range(1, 6)]


def test_a_cancelled_batch_gives_the_rest_free(host):
    host.gate.clear()
    kimi = session(host)
    job = ask(kimi)
    job.cancel()
    replies = job.wait()
    assert len(replies.failed) == 6
    assert "cancelled" in str(replies[0])
    host.gate.set()
    assert ask(kimi).wait().failed == {}
    assert host.bought == ONCE


def test_an_expired_batch_keeps_what_was_answered(host):
    kimi = session(host)
    host.gate.clear()
    job = ask(kimi)
    host.expire(host.answer_some(4))
    replies = job.wait()
    assert replies.texts[:4] == [f"Re: {text}" for text in TEXTS[:4]]
    assert list(replies.failed) == [4, 5]
    assert "expired" in str(replies[4])
    host.gate.set()
    assert ask(kimi).wait().missing == []
    assert host.bought == ONCE


def test_a_restarted_host_goes_on(tmp_path, host):
    host.gate.clear()
    kimi = session(host)
    job = ask(kimi)
    host.__exit__()
    with BatchHost(tmp_path / "host") as again:
        kimi = session(again)
        assert [each.name for each in kimi.jobs()] == ["n"]
        replies = kimi.jobs()[0].wait()
        assert len(replies.replies) == 6
        assert replies.prompts[0][-1]["content"] == "prompt 0"
        assert {**host.bought, **again.bought} == ONCE
    assert job.id == kimi.jobs()[0].id


def test_a_lost_answer_to_the_creation_is_found_on_the_hosts_list(host):
    for dialect in DIALECTS:
        kimi, texts = session(host, dialect), [f"{dialect} {n}" for n in range(3)]
        host.lose = "POST /v1/batches"
        with pytest.raises(errors.HostError):
            ask(kimi, texts, name=dialect)
        replies = ask(kimi, texts, name=dialect).wait()
        assert replies.missing == []
    assert set(host.bought.values()) == {1}
    assert host.calls("POST", "/batches") == 3


def test_what_was_refused_or_never_begun_is_free_again(host, monkeypatch):
    monkeypatch.setattr(batch_looks, "LISTED_S", 0)
    kimi = session(host)
    host.lose = "POST /v1/files"
    with pytest.raises(errors.HostError):
        ask(kimi)
    assert kimi.jobs()[0].done
    assert ask(kimi).wait().missing == []
    assert host.bought == ONCE


@pytest.mark.parametrize("after", ["begin", "upload", "create", "half"])
def test_a_kill_at_any_step_buys_nothing_twice(host, after, tmp_path, monkeypatch):
    """The process dies by SIGKILL right after a step; the next one goes on."""
    monkeypatch.setattr(batch_looks, "LISTED_S", 0)
    code = f"""
import os, signal
from kimikit import Kimi
from kimikit.money.jobs import JobStore
from kimikit.runner import batch_looks
from kimikit.wire.batches import Batches
def dies(kind, name):
    step = getattr(kind, name)
    def after(*args, **options):
        step(*args, **options)
        os.kill(os.getpid(), signal.SIGKILL)
    setattr(kind, name, after)
at = {after!r}
batch_looks.SOME = 2
if at == "begin": dies(JobStore, "begin")
if at == "upload": dies(Batches, "upload")
if at == "create": dies(Batches, "create")
kimi = Kimi("own", base_url={host.url!r}, api_key={KEY!r}, model="m", show=False)
job = kimi.map({TEXTS!r}, via="batch", name="n", poll_s=0.01, max_tokens=6)
from kimikit.money.ledger import Ledger
from kimikit.runner import batch_looks as looks
from kimikit.money import batch_rows
dies(batch_rows, "close_all")
job.wait()
"""
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", code], env=env, check=False)
    assert done.returncode == -9
    kimi = session(host)
    replies = ask(kimi).wait()
    assert replies.texts == [f"Re: {text}" for text in TEXTS]
    assert host.bought == ONCE
    complete = kimi.ledger.calls(state="complete")
    assert len(complete) == 6


def test_two_kernels_collect_at_once(host):
    host.gate.clear()
    jobs = [ask(session(host)) for _ in range(2)]
    found = wait_side_by_side(host, jobs)
    assert [each.missing for each in found] == [[], []]
    assert host.bought == ONCE
    assert Ledger().total().calls == 6


def test_requests_and_bytes_of_a_batch_are_the_hosts(host):
    kimi = session(host)
    for about, count in ((HostBatch(requests=4), 2), (HostBatch(bytes=700), 2)):
        kimi.client.host = msgspec.structs.replace(kimi.host, batch=about)
        before = host.calls("POST", "/batches")
        job = ask(kimi, name=f"cut {count} {about.bytes}")
        assert job.wait().missing == []
        assert host.calls("POST", "/batches") - before >= count
        assert sum(shard.total for shard in job.shards) == 6


def test_a_host_that_does_not_tell_keeps_nobody_from_working(host, tmp_path):
    host.gate.clear()
    ask(session(host), TEXTS[:2])
    (tmp_path / "other").mkdir()
    with BatchHost(tmp_path / "other") as other:
        kimi = session(other)  # under the same name at a host that knows no batch
        replies = kimi.map(TEXTS[2:], name="n", max_tokens=6, progress=False)
        assert replies.missing == []
        assert other.bought == dict.fromkeys(TEXTS[2:], 1)


def test_stop_returns_what_is_there(host):
    import _thread

    host.gate.clear()
    job = ask(session(host))
    for wrong in ("x", -1, True, float("nan")):
        with pytest.raises(BadInput, match="timeout_s is"):
            job.wait(timeout_s=wrong)
    threading.Timer(0.3, _thread.interrupt_main).start()
    assert job.wait(timeout_s=30).missing == list(range(6))
    assert not job.done


def test_what_a_host_refuses_is_refused_before_the_upload(host, monkeypatch):
    monkeypatch.setenv("MOONSHOT_API_KEY", KEY)
    profile = hosts.profiles()["moonshot"]
    kimi = session(host)
    of_moonshot = msgspec.structs.replace(
        profile, base_url=host.url, model="kimi-k2.6", name="moonshot"
    )
    kimi.client.host = of_moonshot
    with pytest.raises(NotSupported, match="does not take top_p in a batch"):
        ask(kimi, top_p=0.95)
    with pytest.raises(NotSupported, match=r"kimi-k2\.6, kimi-k2\.5"):
        ask(kimi, model="kimi-k3")
    kimi.client.host = msgspec.structs.replace(of_moonshot, batch=None)
    with pytest.raises(NotSupported, match="not known for batches"):
        ask(kimi)
    kimi.client.host = of_moonshot
    with pytest.raises(BadInput, match="extra_headers"):
        ask(kimi, extra_headers={"x-a": "b"})
    with pytest.raises(BadInput, match="prefill"):
        ask(kimi, model="kimi-k2.6", prefill="Well")
    with pytest.raises(BadInput, match="via"):
        ask(kimi, via="bach")
    with pytest.raises(BadInput, match="poll_s"):
        ask(kimi, poll_s=0)
    assert host.requests == []


def test_answers_of_a_type_come_by_batch(host):
    host.answer = lambda text: '{"answer": 7}' if text in TEXTS[1:] else "seven"
    replies = ask(session(host), into=int, retries=1).wait()
    assert replies.parsed == [None, *[7] * 5]
    assert isinstance(replies[0], errors.InvalidAnswer)
    told = host.bought - Counter(ONCE)  # what did not fit went back in a batch, once
    assert (host.bought & Counter(ONCE), told.total()) == (ONCE, 1)
    assert host.calls("POST", "/batches") == 2
