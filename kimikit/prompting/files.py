"""Files beside a question: their text goes before it, read here or by the host."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kimikit.errors import BadInput, MissingDependency, NotSupported
from kimikit.money.tokens import count_tokens
from kimikit.types import Host
from kimikit.wire import features
from kimikit.wire.hosts import model_facts
from kimikit.wire.requests import as_messages, file_bytes, image_kind

MOST_BYTES = 100_000_000
"""Bytes of a file at most, as Moonshot's page "Upload File" says."""

MOST_PAGES = 5_000
MOST_CHARACTERS = 20_000_000

SURELY = 0.6
"""Share of an estimate of tokens that a text has at least."""

Extract = Callable[[str, bytes], str]
"""From a file's name and bytes to its text, by the host."""


def with_files(
    messages: Any, file: Any, *, host: Host, model: str, extract: Extract
) -> list[dict[str, Any]]:
    """Return messages with the text of files before the last question.

    Text in UTF-8 is read as it is. All else goes to the host where it reads files, as
    Moonshot does, whose copy is deleted then; elsewhere pypdf reads PDF files.

    Args:
        messages: The question.
        file: A path, bytes, or a list of them.
        host: Who is asked.
        model: The model.
        extract: Has the host read a file.

    Raises:
        BadInput: If a file cannot be read, holds no text, or is too long for the model.
        NotSupported: If it is of a kind that nobody reads here.
        MissingDependency: If it is a PDF file and pypdf is not installed.
    """
    chat = [dict(each) for each in as_messages(messages, system=None, image=None)]
    asked = next((each for each in reversed(chat) if each["role"] == "user"), None)
    if asked is None:
        raise BadInput(
            "file= was given and no user message to put it before.",
            "Pass a question as text, or as the last message.",
        )
    some = list(file) if isinstance(file, list | tuple) else [file]
    # All are looked at before the first is sent anywhere.
    read = [_bytes(each, place) for place, each in enumerate(some, 1)]
    reads = features.has("files", host) == "file-extract"
    kinds = [_kind(name, data, host, reads=reads) for name, data in read]
    parts = []
    for (name, data), kind in zip(read, kinds, strict=True):
        text = _TEXTS[kind](name, data, extract).strip()
        if not text:
            raise BadInput(
                f"{name} holds no text: it may be scanned.",
                "Pass its pages as image=, or ask a host that reads such files.",
            )
        shown = f'<file name="{name}">\n{text}\n</file>'
        parts.append({"type": "text", "text": shown})
    before = asked.get("content") or ""
    after = before if isinstance(before, list) else [{"type": "text", "text": before}]
    if all(part.get("type") == "text" for part in after):
        asked["content"] = "\n\n".join(part["text"] for part in [*parts, *after])
    else:
        asked["content"] = [*parts, *after]
    _check_length(chat, host, model)
    return chat


def _bytes(file: Any, place: int) -> tuple[str, bytes]:
    if isinstance(file, bytes | bytearray | memoryview):
        name, data = f"file {place}", bytes(file)
    elif isinstance(file, str | Path):
        path = Path(file)
        try:
            size = path.expanduser().stat().st_size
        except (OSError, ValueError, RuntimeError):
            size = 0  # which reading tells better
        name = path.name.replace('"', "'")
        data = b"" if size > MOST_BYTES else file_bytes(file, "file")
        if size > MOST_BYTES:
            raise _too_large(name, size)
    else:
        raise BadInput(
            f"file is of type {type(file).__name__}.", "Pass a path, bytes, or a list."
        )
    if len(data) > MOST_BYTES:
        raise _too_large(name, len(data))
    return name, data


def _too_large(name: str, size: int) -> BadInput:
    return BadInput(
        f"{name} has {size:,} bytes.", f"Pass files of at most {MOST_BYTES:,} bytes."
    )


def _kind(name: str, data: bytes, host: Host, *, reads: bool) -> str:
    """Return how a file is read: ``text``, ``host`` or ``pdf``."""
    if image_kind(data) and not reads:
        raise BadInput(f"{name} is a picture.", "Pass it as image=.")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" not in text and data[:5] != b"%PDF-":
        return "text"
    if reads:
        return "host"
    if data[:5] == b"%PDF-":
        return "pdf"
    raise NotSupported(
        f"{host.title or host.name} reads no such file as {name}, and kimikit reads "
        "text in UTF-8 and PDF.",
        "Save it as one of them; Moonshot reads Office documents and more. What is "
        "said in a recording, kimi.transcribe writes down.",
    )


def _text(name: str, data: bytes, extract: Extract) -> str:
    return data.decode("utf-8-sig")


def _by_host(name: str, data: bytes, extract: Extract) -> str:
    return extract(name, data)


def _by_pypdf(name: str, data: bytes, extract: Extract) -> str:
    try:
        import pypdf
    except ImportError as exc:
        raise MissingDependency.of("pypdf", "Reading a PDF file", "documents") from exc
    pages: list[str] = []
    size = 0
    try:
        reader = pypdf.PdfReader(io.BytesIO(data))
        for page in reader.pages[:MOST_PAGES]:
            pages.append(page.extract_text())
            if (size := size + len(pages[-1])) > MOST_CHARACTERS:
                break
    except Exception as exc:  # a file is hostile: pypdf raises of many kinds
        raise BadInput(
            f"{name} cannot be read as PDF: {type(exc).__name__}.",
            "Open it in a viewer and save it again, or pass its text.",
        ) from exc
    return "\n\n".join(pages)


_TEXTS = {"text": _text, "host": _by_host, "pdf": _by_pypdf}


def _check_length(chat: list[dict[str, Any]], host: Host, model: str) -> None:
    """Refuse what surely does not fit into the model's window."""
    window = model_facts(host, model).context
    if not window:
        return
    count = count_tokens(chat, model=model)
    sure = count.tokens if count.exact else int(SURELY * count.tokens)
    if sure > window:
        raise BadInput(
            f"The files have {count}, and the window of {model} is {window:,}.",
            "Pass fewer or shorter files, or kimikit.map_reduce(...) over their parts.",
        )
