"""Ask by small, visible patterns, and make values of what was answered.

Enter at ``Conversation``, ``structured``, ``few_shot``, ``brief`` or ``map_reduce``.
``answers``, ``extract`` and ``numbers`` find what was asked for in what a model wrote;
``sources`` and ``files`` read documents.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from kimikit.prompting.answers import (
    final_answer,
    last_number,
    one_of,
    true_or_false,
)
from kimikit.prompting.conversation import Conversation
from kimikit.prompting.documents import brief, check_citations, split
from kimikit.prompting.extract import find_json
from kimikit.prompting.few_shot import few_shot
from kimikit.prompting.map_reduce import map_reduce
from kimikit.prompting.structured import structured

__all__ = [
    "Conversation",
    "brief",
    "check_citations",
    "few_shot",
    "final_answer",
    "find_json",
    "last_number",
    "map_reduce",
    "one_of",
    "split",
    "structured",
    "true_or_false",
]

_MOVED = ("PATTERNS", "Lab", "Task", "lab", "vote")
"""Names of ``kimikit.evals`` that stood here in 0.3.0."""

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        """Find a name where it has moved to, for notebooks that import it from here."""
        if name in _MOVED:
            return getattr(import_module("kimikit.evals"), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
