"""What is asked often and judged: labelled sets, prompt patterns, votes, tool calls.

Enter at ``lab``, which asks a ``Task`` in several ways, at ``vote``, or at
``score_tool_calls``.
"""

from kimikit.evals.lab import Lab, lab
from kimikit.evals.patterns import PATTERNS
from kimikit.evals.task import Task
from kimikit.evals.tool_score import score_tool_calls
from kimikit.evals.vote import vote

__all__ = ["PATTERNS", "Lab", "Task", "lab", "score_tool_calls", "vote"]
