"""Put a notebook's variables into a prompt: each whole, or not at all."""

from __future__ import annotations

import enum
from typing import Any

from kimikit.errors import BadInput
from kimikit.tools.results import whole_text_of

MOST_TOLD = 200_000
"""Characters of a variable that a prompt takes, as CSV or JSON."""


def variable_text(value: Any) -> str:
    """Return a variable as text, frames and arrays whole.

    As they show themselves they leave out rows, columns, digits and the ends of texts.

    Raises:
        BadInput: If that is more than ``MOST_TOLD``.
    """
    if isinstance(value, enum.Enum):
        return variable_text(value.value)
    if getattr(value, "ndim", None) == 0:  # one number of numpy's
        return str(value)
    table = any(hasattr(value, name) for name in ("to_csv", "write_csv", "dtype"))
    if isinstance(value, str) or not table:
        text = str(value)
        shortened = not isinstance(value, str) and ("..." in text or "\u2026" in text)
        if len(text) <= MOST_TOLD and not shortened:
            return text
        if isinstance(value, str):
            return value
    whole = whole_text_of(value, MOST_TOLD)
    if whole is None:
        raise BadInput(
            f"A {type(value).__name__} is more than {MOST_TOLD:,} characters long.",
            "Put the part that matters into a variable of its own: part = df.head(50).",
        )
    return whole
