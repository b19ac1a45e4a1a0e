"""Read a file that the caller names, whole, to send it."""

from __future__ import annotations

from pathlib import Path

from kimikit.errors import BadInput

MOST_BYTES = 100_000_000
"""Bytes of a file that are sent at most: Moonshot's limit of an upload."""


def file_bytes(path: str | Path, what: str) -> bytes:
    """Return what is in a file of the caller.

    Raises:
        BadInput: If it cannot be read, or has more than ``MOST_BYTES``.
    """
    try:
        # Not by its size before: a device has a size of 0, and no end.
        with Path(path).expanduser().open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except (OSError, ValueError, RuntimeError) as exc:
        why = getattr(exc, "strerror", None) or "it is no path"
        shown = str(path) if len(str(path)) <= 100 else f"{str(path)[:60]}..."
        raise BadInput(
            f"The {what} {shown!r} cannot be read: {why}.",
            "Pass the path of a file that exists, or its bytes.",
        ) from exc
    check_size(Path(path).name, data)
    return data


def check_size(name: str, data: bytes) -> None:
    """Refuse a file that is larger than hosts take.

    Raises:
        BadInput: With its name.
    """
    if len(data) > MOST_BYTES:
        raise BadInput(
            f"{name} has more than {MOST_BYTES:,} bytes.",
            "Pass a smaller file, or a part of it.",
        )
