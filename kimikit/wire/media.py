"""Recognise videos and sounds by their first bytes, and send them as parts."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

from kimikit.errors import BadInput
from kimikit.wire.requests import as_messages, by_start

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
    return by_start(_VIDEOS, data)


def sound_format(data: bytes) -> str:
    """Return the format of a sound as ``input_audio`` names it, empty for none."""
    return by_start(_SOUNDS, data)


def video_part(data: bytes, file_id: str = "") -> dict[str, Any]:
    """Return a video as a part of a message: by its id at Moonshot, or its bytes."""
    kind = video_kind(data)
    url = f"ms://{file_id}" if file_id else f"data:{kind};base64,{_text(data)}"
    return {"type": "video_url", "video_url": {"url": url}}


def sound_part(data: bytes) -> dict[str, Any]:
    """Return a sound as a part of a message."""
    sound = {"data": _text(data), "format": sound_format(data)}
    return {"type": "input_audio", "input_audio": sound}


def with_parts(messages: Any, parts: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return messages with parts before the last question, as text where all are.

    Raises:
        BadInput: If there is no question.
    """
    chat = [dict(each) for each in as_messages(messages)]
    asked = next((each for each in reversed(chat) if each["role"] == "user"), None)
    if asked is None:
        raise BadInput(
            "file= was given and no user message to put it before.",
            "Pass a question as text, or as the last message.",
        )
    before = asked.get("content") or ""
    after = before if isinstance(before, list) else [{"type": "text", "text": before}]
    asked["content"] = every = [*parts, *after]
    if all(part.get("type") == "text" for part in every):
        asked["content"] = "\n\n".join(part["text"] for part in every)
    return chat


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
