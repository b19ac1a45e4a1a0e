"""Keep the import path of labelled sets from 0.3.0; see ``kimikit.evals.task``."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        """Find a name where it has moved to."""
        return getattr(import_module("kimikit.evals.task"), name)
