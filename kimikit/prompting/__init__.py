"""Prompt patterns, each small and visible: what to ask, and what to make of it."""

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
from kimikit.prompting.lab import PATTERNS, Lab, lab
from kimikit.prompting.map_reduce import map_reduce
from kimikit.prompting.structured import structured
from kimikit.prompting.task import Task
from kimikit.prompting.vote import vote

__all__ = [
    "PATTERNS",
    "Conversation",
    "Lab",
    "Task",
    "brief",
    "check_citations",
    "few_shot",
    "final_answer",
    "find_json",
    "lab",
    "last_number",
    "map_reduce",
    "one_of",
    "split",
    "structured",
    "true_or_false",
    "vote",
]
