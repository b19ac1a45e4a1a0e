"""Recognise pictures, videos and sounds by their first bytes; send them as parts."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from kimikit.errors import BadInput
from kimikit.html import data_url
from kimikit.wire.read_file import file_bytes

_IMAGES = {
    rb"\x89PNG": "image/png",
    rb"\xff\xd8\xff": "image/jpeg",
    rb"GIF8[79]a": "image/gif",
    rb"RIFF.{4}WEBP": "image/webp",
}
_OTHERS = {
    rb"%PDF-": "a PDF document", rb"BM": "a BMP picture",
    rb"II\*\0|MM\0\*": "a TIFF picture", rb".{4}ftypavif": "an AVIF picture",
    rb".{4}ftyp(?:heic|heix|mif1)": "a HEIC picture",
    rb".{4}ftyp|\x1aE\xdf\xa3|RIFF.{4}AVI ": "a video",
    rb"PK\x03\x04": "a ZIP archive or Office document",
    rb"\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)?<svg": "an SVG drawing",
    rb"\s*<": "HTML or XML", rb"\s*[{\[]": "JSON", rb"\Z": "empty",
    rb"[\x20-\x7e\r\n\t]{1,64}(?:\Z|.{0}(?<=.{64}))": "text",
}  # fmt: skip
"""What else may be given as a picture, by its first bytes."""

_VIDEOS = {
    rb".{4}ftypqt": "video/quicktime",
    rb".{4}ftyp3g": "video/3gpp",
    rb".{4}ftyp(?!M4[AB] |avif|hei[cx]|mif1|msf1)": "video/mp4",
    rb"\x1aE\xdf\xa3": "video/webm",
    rb"RIFF.{4}AVI ": "video/x-msvideo",
    rb"FLV\x01": "video/x-flv",
    rb"\0\0\x01[\xba\xb3]": "video/mpeg",
    rb"0&\xb2u\x8ef\xcf\x11": "video/x-ms-wmv",
}
"""What Moonshot's guide "Use the Kimi Vision Model" lists."""

_SOUNDS = {
    rb"RIFF.{4}WAVE": "wav", rb"ID3|\xff[\xfb\xf3\xf2]": "mp3", rb"fLaC": "flac",
    rb"OggS": "ogg", rb".{4}ftypM4[AB] ": "m4a",
}  # fmt: skip

UNKNOWN_LENGTH = frozenset({"video_url", "input_audio"})
"""Types of parts whose tokens nobody knows before."""


def video_kind(data: bytes) -> str:
    """Return the media type of a video, empty for what is none."""
    return _by_start(_VIDEOS, data)


def sound_format(data: bytes) -> str:
    """Return the format of a sound as ``input_audio`` names it, empty for none."""
    return _by_start(_SOUNDS, data)


def video_part(data: bytes, file_id: str = "") -> dict[str, Any]:
    """Return a video as a part of a message: by its id at Moonshot, or its bytes."""
    url = f"ms://{file_id}" if file_id else data_url(video_kind(data), data)
    return {"type": "video_url", "video_url": {"url": url}}


def sound_part(data: bytes) -> dict[str, Any]:
    """Return a sound as a part of a message."""
    text = base64.b64encode(data).decode()
    sound = {"data": text, "format": sound_format(data)}
    return {"type": "input_audio", "input_audio": sound}


def image_part(image: str | bytes | Path) -> dict[str, Any]:
    """Return a picture as a part of a message."""
    return {"type": "image_url", "image_url": {"url": image_url(image)}}


def image_url(image: str | bytes | Path) -> str:
    """Return a picture as a URL: itself, or a ``data:`` URL of a file or bytes.

    Raises:
        BadInput: If there is no such file, or it is no PNG, JPEG, GIF or WebP.
    """
    if isinstance(image, str):
        image = str.__str__(image).strip()
        if re.match(r"(?:https?|ms):", image):
            return image
        made = from_data_url(image)
        if image.startswith("data:") and not image_kind(made or b""):
            return image  # a host may know what it is
        image = made or _base64_text(image) or image
    if isinstance(image, str | Path):
        image = file_bytes(image, "picture")
    if isinstance(image, bytearray | memoryview):
        image = bytes(image)
    if not isinstance(image, bytes):
        raise BadInput(
            f"image is of type {type(image).__name__}.", "Pass a path, bytes or URL."
        )
    kind = image_kind(image)
    if not kind:
        other = _by_start(_OTHERS, image) or "unknown"
        raise BadInput(
            f"The picture is no PNG, JPEG, GIF or WebP but {other}.",
            "Convert it to one of them; other files go in by file=.",
        )
    return data_url(kind, image)


def from_data_url(url: str) -> bytes | None:
    """Return the bytes that a ``data:`` URL holds in base64, or None (RFC 2397)."""
    start = re.match(r"data:[^,]{0,200};base64,", url[:300], re.I)
    return _unbase64(unquote(url[start.end() :])) if start else None


def _base64_text(text: str) -> bytes | None:
    """Return what a text is in base64, if that is a picture and no path."""
    made = _unbase64(text) if len(text) >= 32 else None
    return made if image_kind(made or b"") else None


def _unbase64(text: str) -> bytes | None:
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except ValueError:
        return None


def image_kind(data: bytes) -> str:
    """Return the media type of a picture, empty for what is none."""
    return _by_start(_IMAGES, data)


def _by_start(kinds: Mapping[bytes, str], data: bytes) -> str:
    """Return what a table has for the first bytes of a file, empty for nothing."""
    found = (k for start, k in kinds.items() if re.match(start, data[:256], re.S))
    return next(found, "")
