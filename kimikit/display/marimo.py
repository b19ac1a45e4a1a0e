"""Tell whether marimo shows what is made here, and put something into its cell."""

from __future__ import annotations

import sys


def in_marimo() -> bool:
    """Tell whether this code runs in a cell of marimo, which shows no core widgets."""
    marimo = sys.modules.get("marimo")
    return marimo is not None and bool(marimo.running_in_notebook())


def replace(shown: str) -> None:
    """Put HTML in the place of what the running cell shows."""
    import marimo

    marimo.output.replace(marimo.Html(shown))
