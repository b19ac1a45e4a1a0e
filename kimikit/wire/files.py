"""Upload, read and delete files at a host; each step is a coroutine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from kimikit import errors
from kimikit.errors import BadInput
from kimikit.wire.answer import Answer
from kimikit.wire.blocking import blocking
from kimikit.wire.coerce import as_object, as_str, mend, read_json

GONE = (404, 410)
"""What a host answers of a file that it does not have."""


class AsyncFiles:
    """The files of the host of a client.

    Args:
        wire: The client.
    """

    def __init__(self, wire: Any) -> None:
        self._wire = wire

    async def put(self, name: str, content: bytes, purpose: str, kind: str = "") -> str:
        """Upload a file; return its id.

        Args:
            name: What it is called, which says its kind.
            content: Its bytes.
            purpose: What the host shall do with it, such as ``batch``.
            kind: Its media type.
        """
        form: dict[str, Any] = {
            "data": {"purpose": purpose},
            "files": {"file": (name, content, kind or "application/octet-stream")},
        }
        return self._id(await self._json("files", "POST", **form))

    async def has(self, file_id: str) -> bool:
        """Say whether the host still has a file."""
        return await self._there("GET", file_id)

    async def content(self, file_id: str) -> bytes:
        """Return what is in a file, or what the host has read in it."""
        below = f"/{safe(file_id)}/content"
        with self._wire.answer("files", {}) as answer:
            found: bytes = await self._wire.whole(answer, method="GET", below=below)
        return found

    async def remove(self, file_id: str) -> None:
        """Delete a file; one that is gone already is no error."""
        await self._there("DELETE", file_id)

    async def _there(self, method: str, file_id: str) -> bool:
        """Say whether the host has had a file to do this with."""
        try:
            await self._json("files", method, f"/{safe(file_id)}")
        except errors.StatusError as exc:
            if exc.status not in GONE:
                raise
            return False
        return True

    # One call.

    async def _json(
        self, endpoint: str, method: str, below: str = "", **content: Any
    ) -> dict[str, Any]:
        answer = self._wire.answer(endpoint, {})
        return await self._read(answer, method=method, below=below, **content)

    async def _read(self, answer: Answer, **content: Any) -> dict[str, Any]:
        with answer:
            said = await self._wire.whole(answer, **content)
            found = as_object(said)
            if not found and said.strip()[:1] == b"[":
                found = {"data": mend(read_json(said))}  # Together lists bare
            if not found or ("error" in found and "id" not in found):
                raise answer.no_answer(said)
        return found

    def _id(self, said: Mapping[str, Any]) -> str:
        name = as_str(said.get("id"))
        if not name:
            raise errors.ConnectionFailed(
                f"{self._wire.host.name} gave no id for what it took.",
                "Try again, or ask live.",
                host=self._wire.host.name,
            )
        safe(name)  # which refuses what is none
        return name


class Files:
    """The files of the host of a client that blocks."""

    def __init__(self, wire: Any) -> None:
        self._awaited = AsyncFiles(wire)

    put = blocking(AsyncFiles.put)
    has = blocking(AsyncFiles.has)
    content = blocking(AsyncFiles.content)
    remove = blocking(AsyncFiles.remove)


def safe(name: str) -> str:
    """Return a host's id as a part of a path, or refuse one that is none."""
    if not 0 < len(name) <= 200:
        raise BadInput(f"The id {name[:40]!r} is none.", "Give the host's id.")
    return quote(name, safe="")
