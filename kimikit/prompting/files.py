"""Put files beside a question: read here or by the host, or shown to the model."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from kimikit.errors import BadInput, NotSupported, needed
from kimikit.money.tokens import count_tokens
from kimikit.prompting.uploads import Upload, Uploads
from kimikit.types import Host
from kimikit.wire import features
from kimikit.wire.hosts import model_facts
from kimikit.wire.keys import Files
from kimikit.wire.media import (
    image_kind,
    image_part,
    sound_format,
    sound_part,
    video_kind,
    video_part,
)
from kimikit.wire.read_file import check_size, file_bytes

MOST_PAGES = 5_000
MOST_CHARACTERS = 20_000_000

SURELY = 0.6
"""Share of an estimate of tokens that a text has at least."""


class Read(NamedTuple):
    """A file as it is when the work begins."""

    name: str
    data: bytes


class Where(NamedTuple):
    """Who is shown a file.

    Attributes:
        host: The host.
        model: The model.
        uploads: What was uploaded to it.
    """

    host: Host
    model: str
    uploads: Uploads


def read(file: Any) -> list[Read]:
    """Return files of any accepted form.

    Args:
        file: A path, bytes, a list of them, or a dict of named ones.

    Raises:
        BadInput: If one cannot be read, or is too large.
    """
    if isinstance(file, Mapping):
        return [Read(_named(n), _bytes(each, 1).data) for n, each in file.items()]
    some = list(file) if isinstance(file, list | tuple) else [file]
    return [_bytes(each, place) for place, each in enumerate(some, 1)]


def files(some: Sequence[Read], where: Iterable[Where]) -> Files:
    """Return files as each host is shown them.

    All are looked at for every host before the first is sent anywhere.

    Args:
        some: What ``read`` returned.
        where: Who is shown them.

    Raises:
        BadInput: If one holds no text, or is too long for the model.
        NotSupported: If it is of a kind that a host, or its model, does not take.
        MissingDependency: If it is a PDF file and pypdf is not installed.
        HostError: If a host does not take it.
    """
    where = list(where)
    kinds = [[_kind(each, at) for each in some] for at in where]
    parts: dict[str, list[dict[str, Any]]] = {}
    for at, ways in zip(where, kinds, strict=True):
        if at.host.name not in parts:
            made = [_PARTS[way](e, at) for way, e in zip(ways, some, strict=True)]
            parts[at.host.name] = made
        _check_length(parts[at.host.name], at.host, at.model)
    digests = [hashlib.sha256(each.data).digest() for each in some]
    content = "#" + hashlib.sha256(b"".join(digests)).hexdigest()[:24]
    return Files(", ".join(each.name for each in some), content, parts)


def upload(file: Any, at: Where) -> Upload:
    """Upload a picture or a video for questions to come; see ``Kimi.upload``."""
    features.dialect("uploads", at.host, "uploads")
    name, data = _bytes(file, 1)
    kind = "image" if image_kind(data) else "video" if video_kind(data) else ""
    if not kind:
        raise BadInput(
            f"{name} is neither a picture nor a video.", "Ask about it with file=."
        )
    return at.uploads.put(name, data, kind)


def _bytes(file: Any, place: int) -> Read:
    if isinstance(file, bytes | bytearray | memoryview):
        name, data = f"file {place}", bytes(file)
        check_size(name, data)
    elif isinstance(file, str | Path):
        name, data = _named(Path(file).name), file_bytes(file, "file")
    else:
        raise BadInput(
            f"file is of type {type(file).__name__}.",
            "Pass a path, bytes, a list, or a dict of names.",
        )
    return Read(name, data)


def _named(name: object) -> str:
    return str(name).replace('"', "'")


def _kind(file: Read, at: Where) -> str:
    """Return what is done with a file at a host; what it does not take is refused."""
    name, data = file
    what = f"{name}, which is {{}}, in file="
    if image_kind(data):
        return "picture"
    if video_kind(data):
        how = features.dialect("video", at.host, what.format("a video"), at.model)
        return "video at the host" if how == "ms" else "video"
    if sound_format(data):
        _check_hears(name, at)
        features.dialect("audio", at.host, what.format("a sound"), at.model)
        return "sound"
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" not in text and data[:5] != b"%PDF-":
        return "text"
    if features.has("files", at.host) == "file-extract":
        return "text by the host"
    if data[:5] == b"%PDF-":
        return "pdf"
    raise NotSupported(
        f"{at.host.title or at.host.name} reads no such file as {name}, and kimikit "
        "reads text in UTF-8, PDF and pictures.",
        "Save it as one of them; Moonshot reads Office documents and more.",
    )


def _check_hears(name: str, at: Where) -> None:
    family = model_facts(at.host, at.model).family
    if family.startswith(("kimi", "moonshot")) or "kimi" in at.model.lower():
        raise NotSupported(
            f"{name} is a sound, and no Kimi hears.",
            "Have it written down with kimi.transcribe, where a host does that.",
        )


def _as_text(text: str, name: str) -> dict[str, Any]:
    text = text.strip()
    if not text:
        raise BadInput(
            f"{name} holds no text: it may be scanned.",
            "Pass its pages as image=, or ask a host that reads such files.",
        )
    return {"type": "text", "text": f'<file name="{name}">\n{text}\n</file>'}


def _by_pypdf(file: Read, _: Where) -> dict[str, Any]:
    with needed("pypdf", "Reading a PDF file", "documents"):
        import pypdf
    pages: list[str] = []
    size = 0
    try:
        reader = pypdf.PdfReader(io.BytesIO(file.data))
        for page in reader.pages[:MOST_PAGES]:
            pages.append(page.extract_text())
            if (size := size + len(pages[-1])) > MOST_CHARACTERS:
                break
    except Exception as exc:  # a file is hostile: pypdf raises of many kinds
        raise BadInput(
            f"{file.name} cannot be read as PDF: {type(exc).__name__}.",
            "Open it in a viewer and save it again, or pass its text.",
        ) from exc
    return _as_text("\n\n".join(pages), file.name)


_PARTS: dict[str, Callable[[Read, Where], dict[str, Any]]] = {
    "text": lambda file, _: _as_text(file.data.decode("utf-8-sig"), file.name),
    "text by the host": lambda file, at: _as_text(at.uploads.read(*file), file.name),
    "pdf": _by_pypdf,
    "picture": lambda file, _: image_part(file.data),
    "video": lambda file, _: video_part(file.data),
    "video at the host": lambda file, at: video_part(
        file.data, at.uploads.put(*file, purpose="video").id
    ),
    "sound": lambda file, _: sound_part(file.data),
}
"""How a message shows a file, by what is done with it."""


def _check_length(parts: list[dict[str, Any]], host: Host, model: str) -> None:
    """Refuse what surely does not fit into the model's window."""
    window = model_facts(host, model).context
    texts = [part for part in parts if part["type"] == "text"]
    if not window or not texts:
        return
    count = count_tokens([{"role": "user", "content": texts}], model=model)
    sure = count.tokens if count.exact else int(SURELY * count.tokens)
    if sure > window:
        raise BadInput(
            f"The files have {count}, and the window of {model} is {window:,}.",
            "Pass fewer or shorter files, or kimikit.map_reduce(...) over their parts.",
        )
