"""``kimi.sweep(..., via="batch")`` over HTTP, by the host's own count."""

import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
from support.batch_host import KEY, BatchHost

from kimikit import BadInput, BudgetExceeded, Kimi, Sweep
from kimikit.types.host import HostBatch

MADE = []


@pytest.fixture(autouse=True)
def closed():
    """Close each session at the end: frames of errors may hold it for a while."""
    yield
    while MADE:
        MADE.pop().close()


@pytest.fixture
def host(tmp_path):
    (tmp_path / "host").mkdir()
    with BatchHost(tmp_path / "host") as server:
        yield server


def session(server):
    made = {"base_url": server.url, "api_key": KEY, "model": "m", "max_retries": 0}
    kimi = Kimi("own", **made, show=False)
    batch = HostBatch(price_factor=Decimal("0.5"), price_most=Decimal("0.5"))
    kimi.client.host = msgspec.structs.replace(kimi.host, batch=batch)
    MADE.append(kimi)
    return kimi


def ask(kimi, **options):
    given = {"temperature": [0, 1], "repeats": 3, "max_tokens": 6, "name": "big"}
    given |= {"via": "batch", "poll_s": 0.01}
    return kimi.sweep(["Name a colour.", "Name a fruit."], **{**given, **options})


def test_a_sweep_comes_back_with_its_figures(host):
    kimi = session(host)
    host.gate.clear()
    job = ask(kimi, metrics={"short": lambda reply: len(reply.text) < 20})
    assert (job.done, job.name, job.kind) == (False, "big", "sweep")
    assert [trial.reply for trial in job.collect().trials] == []
    host.gate.set()
    sweep = job.wait()
    assert [(row["temperature"], row["n"]) for row in sweep.summary()] == [
        (0, 6),
        (1, 6),
    ]
    assert sweep.summary()[0]["short"] == 0 or sweep.scores["short"]
    assert dict(host.bought) == {"Name a colour.": 6, "Name a fruit.": 6}
    assert host.live == []
    assert {body["temperature"] for body in host.bodies} == {0, 1}


def test_a_batch_ends_in_a_folder_and_so_does_what_is_resumed(host, tmp_path):
    pytest.importorskip("pyarrow")
    pytest.importorskip("duckdb")
    kimi, folder = session(host), tmp_path / "results"
    sweep = ask(kimi, results=folder).wait()
    assert sweep.sql("select count(*) as n from trials").rows == [{"n": 12}]
    assert all(trial.reply.text for trial in Sweep.from_results(folder))
    again = ask(kimi, results=folder, via="live", progress=False)
    assert (len(again), again.plan.stored) == (12, 12)
    assert sum(host.bought.values()) == 12


def test_live_and_batch_buy_each_cell_once(host):
    kimi = session(host)
    kimi.sweep(
        ["Name a colour.", "Name a fruit."], temperature=[0, 1], repeats=1, max_tokens=6,
        name="big", progress=False,
    )  # fmt: skip
    assert sum(host.bought.values()) == 4
    host.gate.clear()
    job = ask(kimi)
    live = ask(kimi, via="live", progress=False)  # what the batch has is left to it
    assert len(live.replies) == 4
    host.gate.set()
    assert len(ask(session(host)).wait().replies) == 12
    assert len(job.wait().replies) == 12
    assert sum(host.bought.values()) == 12


def test_failed_cells_are_trials_and_bought_again(host):
    failing = [True]

    def answer(text):
        if text == "Name a fruit." and failing:
            return 400, {"error": {"message": "no fruit today"}}
        return text

    host.answer = answer
    kimi = session(host)
    sweep = ask(kimi).wait()
    assert len(sweep.replies) == 6
    assert sum("no fruit" in (trial.error or "") for trial in sweep.trials) == 6
    failing.clear()
    assert len(ask(kimi).wait().replies) == 12
    assert sum(host.bought.values()) == 12


def test_limits_hold_and_a_plan_costs_nothing(host):
    kimi = session(host)
    kimi.set_price(input=1000, output=100_000)
    with pytest.raises(BudgetExceeded, match="12 requests cost up to"):
        ask(kimi, max_cost="0.5")
    with pytest.raises(BadInput, match="another name"):
        ask(kimi, fresh=True)
    plan = ask(kimi, dry_run=True)
    assert plan.plan.calls == 12
    assert host.requests == []


def test_a_killed_kernel_buys_no_cell_twice(host):
    code = f"""
import os, signal
from kimikit import Kimi
from kimikit.wire.batches import Batches
step = Batches.create
def dies(*args, **options):
    step(*args, **options)
    os.kill(os.getpid(), signal.SIGKILL)
Batches.create = dies
kimi = Kimi("own", base_url={host.url!r}, api_key={KEY!r}, model="m", show=False)
kimi.sweep(["Name a colour.", "Name a fruit."], temperature=[0, 1], repeats=3,
           max_tokens=6, name="big", via="batch")
"""
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", code], env=env, check=False)
    assert done.returncode == -9
    assert len(ask(session(host)).wait().replies) == 12
    assert sum(host.bought.values()) == 12


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"metrics": {"short": 5}}, "cannot be called"),
        ({"results": __file__}, "cannot be read"),
        ({"results": Path(__file__).parent}, "holds other files"),
        ({"progress": "yes"}, "cannot be called"),
    ],
)
def test_what_its_end_would_meet_is_refused_before_anything_is_bought(
    host, given, says
):
    with pytest.raises(BadInput, match=says):
        ask(session(host), **given)
    assert host.requests == []
