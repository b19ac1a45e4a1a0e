"""What stood here in 0.3.0: labelled sets have moved to ``kimikit.evals.task``."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        """Find a name where it has moved to."""
        return getattr(import_module("kimikit.evals.task"), name)
