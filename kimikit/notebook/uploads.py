"""What a person adds to a prompt: pictures and texts from a file dialog."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from kimikit.errors import BadInput
from kimikit.wire.requests import image_kind

MOST_BYTES = 20_000_000
"""Bytes of all files of a prompt."""


def texts_and_pictures(
    files: Iterable[Mapping[str, Any]],
) -> tuple[dict[str, str], dict[str, bytes]]:
    """Return the texts and the pictures among files, by their names.

    Args:
        files: As ``ipywidgets.FileUpload.value`` has them.

    Raises:
        BadInput: If one is neither, or all are too large.
    """
    texts: dict[str, str] = {}
    pictures: dict[str, bytes] = {}
    for file in files:
        name, data = str(file["name"]), bytes(file["content"])
        if image_kind(data):
            pictures[name] = data
            continue
        try:
            texts[name] = data.decode("utf-8-sig")
        except UnicodeDecodeError:
            raise BadInput(
                f"{name} is neither a picture nor a text.",
                "Take PNG, JPEG, GIF, WebP or text in UTF-8.",
            ) from None
        if "\0" in texts[name]:
            raise BadInput(f"{name} is no text.", "Take a picture or a text.")
    if sum(map(len, [*texts.values(), *pictures.values()])) > MOST_BYTES:
        raise BadInput("The files are larger than 20 MB.", "Take fewer.")
    return texts, pictures


def with_texts(prompt: str, texts: Mapping[str, str]) -> str:
    """Return a prompt with the texts below it, each under its name."""
    parts = [f"--- {name} ---\n{text}" for name, text in texts.items()]
    return "\n\n".join([prompt, *parts])
