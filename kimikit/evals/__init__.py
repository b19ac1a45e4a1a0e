"""What is asked often and judged: labelled sets, prompt patterns, votes, tool calls.

Enter at ``lab``, which asks a ``Task`` in several ways, at ``vote``, or at
``score_tool_calls``.
"""

from kimikit.evals.lab import lab
from kimikit.evals.patterns import PATTERNS, as_written
from kimikit.evals.result import Lab
from kimikit.evals.task import Task
from kimikit.evals.tool_score import score_tool_calls
from kimikit.evals.vote import vote

__all__ = [
    "PATTERNS", "Lab", "Task", "as_written", "lab", "score_tool_calls", "vote",
]  # fmt: skip
