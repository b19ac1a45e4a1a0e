"""Whole sweeps over real HTTP: hosts of every kind get the right verdict."""

import _thread
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from support.sweeps import ColourHost

from kimikit.errors import BadInput, ConnectionFailed, FixedTemperature
from kimikit.money.budget import Budget, Budgets
from kimikit.money.ledger import Ledger
from kimikit.sweeps import Sweep, sweep
from kimikit.types import Host
from kimikit.wire.client import AsyncClient

pytestmark = pytest.mark.usefixtures("short_waits")

TEMPERATURES = [0, 0.3, 0.6, 0.9, 1.2]


def ask(host: ColourHost, *, ledger: Ledger | None = None, **options: Any) -> Sweep:
    name = "openrouter" if host.kind == "upstreams" else "fake"
    profile = Host(name=name, base_url=host.base_url, model="kimi-k2")

    def make(_: str | None) -> AsyncClient:
        watching = (ledger,) if ledger else ()
        return AsyncClient(profile, api_key="x", observers=watching)

    given = {"temperature": TEMPERATURES, "repeats": 8, "progress": False}
    given |= {"order_seed": 1, "store": ledger, **options}
    return sweep(make, "Name a colour.", **given)


def test_a_host_that_obeys():
    with ColourHost("obeys").running() as host:
        found = ask(host, repeats=12)
    assert found.verdict.changed is True
    assert len(found.replies) == len(host.requests) == 60
    first, *_, last = found.summary()
    assert last["diversity_low"] > first["diversity"]
    assert found.verdict.p < 0.01
    assert found.verdict.gain.value > 0.2
    assert found.notes == ()


def test_a_host_that_pins_costs_one_request():
    with ColourHost("pins").running() as host:
        with pytest.raises(FixedTemperature) as caught:
            ask(host)
        assert len(host.requests) == 1
        assert caught.value.allowed == 1.0
        assert "Novita" in str(caught.value)
        found = ask(host, on_fixed="omit")
    assert len(host.requests) == 1 + 1 + 8
    assert host.statuses == {400: 2, 200: 8}
    assert [row["n"] for row in found.summary()] == [8]
    assert "temperature" not in host.requests[-1]
    assert "pins temperature at 1: asked without it" in str(found)
    assert "could not be tested" in str(found.verdict)


def test_a_host_that_clamps_is_noted():
    with ColourHost("clamps").running() as host:
        found = ask(host)
    assert "Temperature 1.2 was clamped: the host used 0.5 (8 answers)." in found.notes
    assert found.verdict.changed is True


def test_a_host_that_ignores_is_found_out():
    with ColourHost("ignores").running() as host:
        found = ask(host)
    assert found.verdict.changed is False
    assert "the host may ignore it" in str(found.verdict)
    assert found.verdict.noise_floor < 0.6


def test_a_host_that_limits_loses_nothing():
    with ColourHost("limits").running() as host:
        found = ask(host)
    assert len(found.replies) == host.statuses[200] == 40
    assert 0 < host.statuses[429] < 80
    assert found.verdict.changed is True


def test_a_host_that_fails_at_random_leaves_reasons():
    with ColourHost("flaky").running() as host:
        found = ask(host)
    failed = [trial for trial in found.trials if trial.error]
    assert len(failed) == host.statuses[400] > 0
    assert {trial.error.split(":")[0] for trial in failed} == {"BadRequest"}
    assert sum(row["failed"] for row in found.summary()) == len(failed)
    assert found.verdict.changed is True


def test_a_host_that_dies_raises_with_what_was_finished():
    with ColourHost("dies", dies_after=10).running() as host:
        with pytest.raises(ConnectionFailed) as caught:
            ask(host, concurrency=2)
        kept = caught.value.sweep
        assert len(kept.replies) == 10
        assert kept.stop_reason == "error"
        assert "Ended by an error: what was finished is kept." in str(kept)
        assert kept.verdict.n <= 10


def test_openrouters_upstream_is_pinned():
    with ColourHost("upstreams").running() as host:
        found = ask(host, repeats=3)
    pinned = [body["provider"] for body in host.requests if "provider" in body]
    assert len(pinned) == len(host.requests) - 1
    assert not any("upstreams" in note for note in found.notes)


def test_stop_closes_the_connections_at_once(tmp_path):
    with ColourHost("obeys", wait_s=20).running() as host:

        def stop() -> None:
            while len(host.requests) < 1:
                time.sleep(0.01)
            began.append(time.monotonic())
            _thread.interrupt_main()

        began: list[float] = []
        threading.Thread(target=stop).start()
        found = ask(host)
        assert time.monotonic() - began[0] < 10
        assert found.stop_reason == "interrupted"
        deadline = time.monotonic() + 5
        while host.closed_early < len(host.requests) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert host.closed_early == len(host.requests)


def test_the_ledger_resumes_a_sweep_by_its_name(tmp_path):
    ledger = Ledger(tmp_path / "ledger.db")
    with ColourHost("obeys").running() as host:
        first = ask(host, ledger=ledger, name="50 % of_them", repeats=2)
        again = ask(host, ledger=ledger, name="50 % of_them", repeats=3)
        assert len(host.requests) == 15
    assert again.plan.stored == 10
    assert [t.reply.text for t in again.trials if t.repeat < 2 and t.reply] == [
        reply.text for reply in first.replies
    ]
    ledger.close()


def test_a_name_is_refused_where_answers_are_not_kept(tmp_path):
    """Or each new try would silently buy everything again."""
    ledger = Ledger(tmp_path / "ledger.db", store="usage")
    with ColourHost("obeys").running() as host:
        with pytest.raises(BadInput, match=r"Leave name= out, or .*store='full'"):
            ask(host, ledger=ledger, name="colours")
        assert host.requests == []
        assert len(ask(host, ledger=ledger, repeats=1).replies) == len(TEMPERATURES)
    ledger.close()


def test_a_budget_of_the_caller_holds_inside_the_sweep(tmp_path):
    ledger = Ledger(tmp_path / "ledger.db")
    budgets = Budgets(ledger)
    profile_of = {}

    def make(_: str | None) -> AsyncClient:
        return AsyncClient(profile_of["host"], api_key="x", observers=(budgets,))

    with ColourHost("obeys").running() as host:
        profile_of["host"] = Host(name="fake", base_url=host.base_url, model="kimi-k2")
        from kimikit.errors import BudgetExceeded

        with Budget(tokens=200), pytest.raises(BudgetExceeded) as caught:
            sweep(make, "Name a colour.", repeats=50, max_tokens=20, progress=False)
        assert 0 < len(host.requests) < 50
        assert 0 < len(caught.value.sweep.replies) <= len(host.requests)
    ledger.close()


CHILD = """
import sys
from support.sweeps import ColourHost
from kimikit.money.ledger import Ledger
from test_hosts import ask
host = ColourHost("flaky"); host.base_url = sys.argv[1]
ask(host, ledger=Ledger(sys.argv[2]), name="killed", concurrency=3)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="POSIX signals only")
def test_kill_9_in_the_middle_and_the_same_call_buys_what_is_missing_failed_first(
    tmp_path,
):
    path = tmp_path / "ledger.db"
    here = Path(__file__).parent
    env = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(
            [str(here.parent.parent), str(here.parent), str(here)]
        ),
    }
    with ColourHost("flaky", wait_s=0.05).running() as host:
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, host.base_url, str(path)], env=env
        )
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            if host.statuses[200] >= 12 and host.statuses[400]:
                break
            time.sleep(0.01)
        child.send_signal(signal.SIGKILL)
        child.wait(10)
        assert child.returncode == -signal.SIGKILL
        time.sleep(0.1)  # what was on its way when the child died still arrives
        ledger = Ledger(path)
        complete = set(ledger.answers("sweep/killed/"))
        failed = ledger.failed("sweep/killed/")
        refused = {row.key for row in ledger.calls(None, state="failed")}
        assert 9 <= len(complete) < 40
        assert refused
        assert refused <= failed
        host.kind, before = "obeys", len(host.requests)
        found = ask(host, ledger=ledger, name="killed")
        assert len(host.requests) - before == 40 - len(complete)
    bought = [row.key for row in reversed(ledger.calls(None))][-(40 - len(complete)) :]
    # One whose temperature shows whether it is pinned may go before them.
    assert failed <= set(bought[: len(failed) + 1])
    assert len(set(bought)) == len(bought)
    assert complete.isdisjoint(bought)
    assert found.plan.stored == len(complete)
    assert len(found.replies) == 40
    ledger.close()
