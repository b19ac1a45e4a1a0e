"""Values of a host's JSON, which may have any type: of the one wanted, or empty."""

from __future__ import annotations

from typing import Any


def as_dict(value: object) -> dict[str, Any]:
    """Return an object, an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def as_list(value: object) -> list[Any]:
    """Return an array, an empty one for anything else."""
    return value if isinstance(value, list) else []


def as_str(value: object) -> str:
    """Return text, an empty one for anything else."""
    return value if isinstance(value, str) else ""
