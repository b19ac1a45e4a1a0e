"""A result of nothing, as users build it by hand, is shown like any other."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable
from typing import Any

import matplotlib as mpl
import pytest

from kimikit import Conversation, Reply, Run, Sweep
from kimikit.errors import BadInput
from kimikit.evals.frontier import Frontier
from kimikit.evals.judged import Judged
from kimikit.evals.result import Lab
from kimikit.evals.task import Task
from kimikit.evals.tool_score import ToolScores
from kimikit.evals.vote import Vote
from kimikit.money.caching import CacheReport
from kimikit.money.rows import Calls
from kimikit.notebook.race_view import Race
from kimikit.prompting.documents import Citations, Report
from kimikit.runner.jobs import Jobs
from kimikit.runner.results import Results
from kimikit.sweeps.side_by_side import Diff
from kimikit.types.logprobs import Heat
from kimikit.verify.findings import Verification
from kimikit.verify.same import SameModel
from kimikit.wire.results import Embeddings, Models, Picture, Ranking, Transcript

mpl.use("Agg")
from matplotlib import pyplot as plt

TASK = Task(instruction="Name it.", rows=(("q", "a"),))
CITATIONS = Citations(parts=(), counts={})

MADE: list[Callable[[], Any]] = [
    Reply, Sweep, Calls, Jobs, Embeddings, Models, Picture, Ranking, Transcript,
    lambda: Race({}), lambda: Results([], [], []), lambda: CacheReport(rows=()),
    lambda: Run(reply=Reply()), lambda: Conversation(None), lambda: CITATIONS,
    lambda: Report(reply=Reply(), citations=CITATIONS),
    lambda: Lab(task=TASK, patterns=(), outcomes=()),
    lambda: Lab(task=TASK, patterns=("plain", "few"), outcomes=()),
    lambda: Frontier(task=TASK, votes=(1,), margin=0.1, sweep=Sweep()),
    lambda: Judged(rows=(), pairs=True, verdicts=()),
    lambda: Vote(counts=(), n=0, replies=()), lambda: ToolScores(outcomes=()),
    lambda: Diff(first=Reply(), second=Reply()), lambda: Heat(tokens=(), foot=""),
    lambda: Verification(findings=(), models={}),
    lambda: Verification(findings=(), models={"a": "m"}),
    lambda: SameModel(hosts=("a", "b"), differences=()),
]  # fmt: skip
DRAWN = ("plot", "heatmap", "timeline")
FIGURES = ("summary", "verdict", "rows", "recommended", "rates", "sentence", "missing")


@pytest.mark.parametrize("make", MADE, ids=lambda make: type(make()).__name__)
def test_a_result_of_nothing_is_shown(make: Callable[[], Any]) -> None:
    made = make()
    shown = [str(made), repr(made), made._repr_html_()]
    if hasattr(made, "to_markdown"):
        shown += [made.to_markdown(), made._repr_mimebundle_()["text/html"]]
    assert all(isinstance(one, str) for one in shown)
    for name in FIGURES:
        value = getattr(made, name, None)
        if callable(value):
            value()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in DRAWN:
            with contextlib.suppress(BadInput):  # there is nothing to plot
                getattr(made, name, str)()
    plt.close("all")
