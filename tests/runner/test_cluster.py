"""Work asked by the workers of a Dask cluster: two real processes on this machine."""

from __future__ import annotations

import _thread
import asyncio
import json
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from support.sweeps import ColourHost

from kimikit import BadInput, FixedTemperature, Kimi, NotRecorded
from kimikit.errors import KimiWarning, MissingKey
from kimikit.runner.cluster import _ClusterClient
from kimikit.types import Reply
from kimikit.wire import AsyncClient, hosts

distributed = pytest.importorskip("distributed")
config = pytest.importorskip("dask").config

KEY = "sk-cluster-0123456789abcdef"


class Counting(ColourHost):
    """A host that answers what the question and the temperature decide."""

    def _judge(self, body: dict[str, Any]) -> tuple[int, dict[str, Any], str]:
        status, answer, extra = super()._judge(body)
        said = f"{body['messages'][-1]['content']} {body.get('temperature')}"
        for choice in answer.get("choices", ()):
            choice["message"]["content"] = said
        return status, answer, extra


class Keeps:
    """An observer that keeps what it is told, and may fail then."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error, self.came = error, list[Any]()

    def opened(self, call: Any) -> None:
        pass

    def closed(self, call: Any, reply: Any, error: Any) -> None:
        self.came.append(reply or error)
        if self.error is not None:
            raise self.error


@pytest.mark.parametrize("error", [RuntimeError("full"), OSError("gone")])
def test_a_record_that_fails_costs_no_answer_of_a_worker(error: Exception) -> None:
    class Workers:
        async def ask(self, *_: Any) -> Any:
            return Reply(text="blue"), None

    fails, after = Keeps(error), Keeps()
    own = AsyncClient(
        base_url="http://127.0.0.1:9/v1", model="m", observers=[fails, after]
    )
    client = _ClusterClient(Workers(), own)  # type: ignore[arg-type]
    with pytest.warns(KimiWarning, match="failed"):
        reply = asyncio.run(client.chat("hi"))
    assert [reply.text, *(each.text for each in (*fails.came, *after.came))] == [
        "blue"
    ] * 3


@pytest.fixture(scope="module")
def dask() -> Iterator[Any]:
    os.environ["KIMIKIT_API_KEY"] = KEY
    try:
        with (
            distributed.LocalCluster(
                n_workers=2,
                threads_per_worker=1,
                processes=True,
                dashboard_address=":0",
            ) as cluster,
            distributed.Client(cluster) as client,
        ):
            yield client
    finally:
        del os.environ["KIMIKIT_API_KEY"]


@pytest.fixture
def host() -> Iterator[Counting]:
    with Counting("obeys").running() as running:
        yield running


@pytest.fixture
def kimi(host: Counting, tmp_path: Path) -> Iterator[Kimi]:
    made = Kimi(base_url=host.base_url, api_key="", model="m", show=False,
                ledger=tmp_path / "ledger.sqlite3")  # fmt: skip
    yield made
    made.close()
    made.ledger.close()


def asked_of(host: Counting) -> Counter[str]:
    return Counter(json.dumps(body, sort_keys=True) for body in host.requests)


def test_workers_answer_as_this_process_does_and_are_paid_once(
    dask: Any, kimi: Kimi, host: Counting
) -> None:
    given: dict[str, Any] = {
        "temperature": [0, 0.5, 1],
        "repeats": 4,
        "progress": False,
    }
    given |= {"prompt": ["Name a colour.", "Name a tree."], "stream": False}
    here = kimi.sweep(**given)
    before = len(host.requests)
    there = kimi.sweep(**given, via=dask, name="there")
    assert [t.reply.text for t in there] == [t.reply.text for t in here]
    assert [t.params for t in there] == [t.params for t in here]
    assert len(host.requests) - before == 24
    rows = kimi.ledger.calls(24)
    assert {row.state for row in rows} == {"complete"}
    assert there[0].reply.request["messages"][0]["content"] == "Name a colour."
    again = kimi.sweep(**given, via=dask, name="there")
    assert again.plan.stored == 24
    assert len(host.requests) - before == 24
    replies = kimi.map(["a", "b"], temperature=0, via=dask, progress=False)
    assert replies.texts == ["a 0", "b 0"]


def test_keys_come_from_the_workers_and_are_in_no_graph(
    dask: Any, kimi: Kimi, host: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    kimi.map(["a"], via=dask, progress=False)
    state = dask.run_on_scheduler(
        lambda dask_scheduler: repr(
            [
                (key, task.run_spec, task.metadata)
                for key, task in dask_scheduler.tasks.items()
            ]
        )
    )
    logs = repr([dask.get_scheduler_logs(), dask.get_worker_logs()])
    assert KEY not in state + logs
    with pytest.raises(BadInput, match="do not travel to workers"):
        kimi.map(["a"], via=dask, extra_headers={"x-key": KEY}, progress=False)
    together = Kimi(hosts.resolve("together").name, api_key=KEY, ledger=kimi.ledger)
    with pytest.raises(MissingKey, match="TOGETHER_API_KEY") as caught:
        together.map(["a"], via=dask, progress=False)
    assert "Dask worker" in "".join(caught.value.__notes__)
    together.close()
    for wrong in ("dask", 3, None):
        with pytest.raises(BadInput, match="'live', 'batch' or a client of Dask"):
            kimi.map(["a"], via=wrong, progress=False)


def test_stop_hangs_up_on_the_workers_within_two_seconds(
    dask: Any, kimi: Kimi, host: Counting
) -> None:
    host.wait_s = 60.0
    done = threading.Event()

    def stop() -> None:
        while len(host.requests) < 8 and not done.wait(0.01):
            pass
        began.append(time.monotonic())
        _thread.interrupt_main()

    began: list[float] = []
    threading.Thread(target=stop, daemon=True).start()
    found = kimi.sweep("q", temperature=0, repeats=20, via=dask, progress=False)
    done.set()
    assert found.stop_reason == "interrupted"
    assert time.monotonic() - began[0] < 2 + 3
    wait = time.monotonic() + 10
    while host.closed_early < 8 and time.monotonic() < wait:
        time.sleep(0.01)
    assert host.closed_early == 8
    assert {row.state for row in kimi.ledger.calls(None)} == {"lost"}


def test_a_cluster_without_workers_is_refused(kimi: Kimi, dask: Any) -> None:
    class Empty:
        loop = dask.loop
        submit = None

        def nthreads(self) -> dict[str, int]:
            return {}

    with pytest.raises(BadInput, match="no worker"):
        kimi.map(["a"], via=Empty(), progress=False)


@pytest.mark.parametrize("gone", ["client", "worker"])
def test_a_cluster_that_is_gone_is_told_so_before_a_call(
    dask: Any, kimi: Kimi, host: Counting, gone: str
) -> None:
    class Ended:
        loop = dask.loop

        def nthreads(self) -> dict[str, int]:
            return {"tcp://127.0.0.1:9": 1}

        def submit(self, *_: Any, **__: Any) -> Any:
            ended: Future[Any] = Future()
            ended.set_exception(TimeoutError("no answer"))
            return ended

    via: Any = Ended()
    if gone == "client":
        via = distributed.Client(dask.scheduler.address, set_as_default=False)
        via.close()
    with pytest.raises(BadInput, match=r"cannot be used .*: .*Connect anew"):
        kimi.map(["a"], via=via, progress=False)
    assert host.requests == []


def test_workers_are_found_while_dask_looks_for_them_itself(
    dask: Any, kimi: Kimi, host: Counting
) -> None:
    often = {"distributed.client.scheduler-info-interval": "1 ms"}
    with (
        config.set(often),
        distributed.Client(dask.scheduler.address, set_as_default=False) as client,
    ):
        for _ in range(15):
            kimi.map(["a"], via=client, progress=False)


def test_a_worker_that_dies_costs_its_calls_alone_and_no_cell_is_paid_twice(
    dask: Any, kimi: Kimi, host: Counting
) -> None:
    host.wait_s = 0.05
    prompts = [f"q{n}" for n in range(80)]
    pids = list(dask.run(os.getpid).values())
    over = threading.Event()

    def kill() -> None:
        while len(host.requests) < 20 and not over.wait(0.01):
            pass
        os.kill(pids[0], signal.SIGKILL)

    threading.Thread(target=kill, daemon=True).start()
    given: dict[str, Any] = {"name": "mine", "temperature": 0, "progress": False}
    first = kimi.map(prompts, via=dask, concurrency=8, **given)
    over.set()
    assert 1 <= len(first.failed) <= 8
    assert all("worker" in str(error) for error in first.failed.values())
    assert len(first.replies) + len(first.failed) == 80
    assert max(asked_of(host).values()) == 1
    lost = [prompts[place] for place in first.failed]
    rest = kimi.map(prompts, **given)
    assert rest.texts == [f"{prompt} 0" for prompt in prompts]
    twice = {body for body, count in asked_of(host).items() if count > 1}
    assert all(any(f'"{one}"' in body for one in lost) for body in twice)


def test_what_workers_answer_is_recorded_here_and_replayed_without_them(
    dask: Any, kimi: Kimi, host: Counting, tmp_path: Path
) -> None:
    path = tmp_path / "x.kimi"
    given: dict[str, Any] = {"temperature": [0, 1], "repeats": 3, "progress": False}
    host.wait_s = 0.02
    with kimi.record(path):
        first = kimi.sweep("q", **given, via=dask)
    assert len(host.requests) == len(first) == 6
    assert KEY.encode() not in path.read_bytes()
    host.requests.clear()
    again = Kimi("replay", path=path, speed=None, show=False)
    texts = [trial.reply.text for trial in first]
    assert [t.reply.text for t in again.sweep("q", **given, via=dask)] == texts
    with pytest.raises(NotRecorded):
        again.chat("another")
    assert host.requests == []


def test_what_fails_on_a_worker_is_recorded_too(
    dask: Any, kimi: Kimi, host: Counting, tmp_path: Path
) -> None:
    path = tmp_path / "x.kimi"
    host.kind = "pins"
    with kimi.record(path), pytest.raises(FixedTemperature) as live:
        kimi.sweep("q", temperature=[0, 0.5], via=dask, progress=False)
    again = Kimi("replay", path=path, speed=None, show=False)
    with pytest.raises(FixedTemperature) as replayed:
        again.sweep("q", temperature=[0, 0.5], via=dask, progress=False)
    assert replayed.value.what == live.value.what


def test_workers_do_not_answer_from_what_is_recorded_here(
    dask: Any, host: Counting, tmp_path: Path
) -> None:
    given: dict[str, Any] = {"base_url": host.base_url, "api_key": "", "model": "m"}
    kimi = Kimi(**given, record=tmp_path / "x.kimi", replay=True, show=False,
                ledger=tmp_path / "ledger.sqlite3")  # fmt: skip
    with pytest.raises(BadInput, match=r"Leave via= out, or replay="):
        kimi.map(["a"], via=dask, progress=False)
    assert host.requests == []
