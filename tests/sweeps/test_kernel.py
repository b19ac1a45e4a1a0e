"""A sweep in a real kernel: its line of progress, Stop, and going on after it."""

import time
from collections.abc import Iterator

import pytest
from support.kernel import Kernel, running_kernel
from support.sweeps import ColourHost

SETUP = """
from pathlib import Path
from kimikit import Kimi
kimi = Kimi(base_url={url!r}, api_key="x", model="m", ledger={path!r}, show=False)
def ask(repeats=100):
    return kimi.sweep("Name a colour.", temperature=[0, 1], repeats=repeats,
                      concurrency=4, name="colours")
"""


@pytest.fixture
def kernel() -> Iterator[Kernel]:
    with running_kernel() as kernel:
        yield kernel


def test_stop_in_a_cell_keeps_what_is_finished_and_the_same_cell_goes_on(
    kernel, tmp_path
):
    with ColourHost("obeys", wait_s=0.1).running() as host:
        kernel.run(SETUP.format(url=host.base_url, path=str(tmp_path / "l.db")))
        key = kernel.start(
            "found = ask()", value="(found.stop_reason, len(found.replies))"
        )
        deadline = time.monotonic() + 30
        while host.statuses[200] < 12 and time.monotonic() < deadline:
            time.sleep(0.02)
        kernel.interrupt()
        stopped_at = time.monotonic()
        ran = kernel.wait(key)
        assert time.monotonic() - stopped_at < 10  # the kernel's own answer included
        reason, kept = eval(ran.result)
        assert reason == "interrupted"
        assert 8 <= kept < 200
        shown = str(ran.of("comm_msg", "stream"))
        assert "/200" in shown
        host.wait_s, before = 0.0, len(host.requests)
        again = kernel.run(
            "again = ask()", value="(again.plan.stored, len(again.replies))"
        )
        stored, answered = eval(again.result)
    assert stored >= kept
    assert answered == 200
    assert len(host.requests) - before == 200 - stored
