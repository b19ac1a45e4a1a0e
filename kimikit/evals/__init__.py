"""Ask often and judge what comes: labelled sets, prompt patterns, votes, tool calls.

Enter at ``lab``, which asks a ``Task`` in several ways, at ``frontier``, which asks it
at several settings, at ``judge``, at ``vote``, or at ``score_tool_calls``. Scorers
are in ``scorers``, their names in ``named``.
"""

from kimikit.evals.frontier import Frontier
from kimikit.evals.judged import Judged
from kimikit.evals.judging import Grader, judge
from kimikit.evals.lab import lab
from kimikit.evals.patterns import PATTERNS, as_written
from kimikit.evals.result import Lab
from kimikit.evals.task import Task
from kimikit.evals.tool_score import score_tool_calls
from kimikit.evals.vote import vote

__all__ = [
    "PATTERNS", "Frontier", "Grader", "Judged", "Lab", "Task", "as_written", "judge",
    "lab", "score_tool_calls", "vote",
]  # fmt: skip
