"""Upload files to a host: the same bytes once, remembered, and deleted."""

from __future__ import annotations

import contextlib
import hashlib
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, SupportsIndex, overload

import msgspec

from kimikit import html
from kimikit.display.footer import day
from kimikit.display.renderable import Renderable, Section, Table
from kimikit.errors import BadInput, KimiError, nearest
from kimikit.paths import taking_place
from kimikit.wire.coerce import as_object
from kimikit.wire.media import video_kind

_ONE_AT_A_TIME = threading.Lock()
"""Held while a file is looked up and uploaded, so that no other does the same."""

_HEADS = ("file", "for", "bytes", "day", "id at the host")


class Upload(msgspec.Struct, frozen=True, kw_only=True):
    """A file at a host.

    Attributes:
        id: The host's id of it, empty where its copy is deleted.
        name: What the file is called.
        purpose: ``image``, ``video`` or ``file-extract``.
        size: Its bytes.
        created: Unix time of the upload.
        text: What the host has read in it.
    """

    id: str = ""
    name: str
    purpose: str
    size: int
    created: float
    text: str = ""

    @property
    def url(self) -> str:
        """How a message names it: ``image=upload.url``."""
        return f"ms://{self.id}"


class Uploads(Renderable, Sequence[Upload]):
    """What this Kimi's key has uploaded to its host from here, the newest last.

    Args:
        client: A client that blocks.
        folder: Where it is remembered; for this object alone without one.

    Example:
        >>> kimi.uploads()
        nothing was uploaded to local from here
    """

    def __init__(self, client: Any, folder: Path | None) -> None:
        self.client, self._folder = client, folder
        self._kept: dict[str, Upload] = {}
        self._there: set[str] = set()
        own = [client.host.name, client.host.base_url, client.key.value]
        self._whose = hashlib.sha256(msgspec.json.encode(own)).hexdigest()[:16]

    def put(self, name: str, data: bytes, purpose: str) -> Upload:
        """Upload a file, unless the host has the same bytes.

        Raises:
            HostError: If the host does not take it.
        """
        kind = video_kind(data)
        with _ONE_AT_A_TIME:
            for entry, upload in self._named(_digest(data, purpose)):
                if upload.id in self._there or self.client.files.has(upload.id):
                    self._there.add(upload.id)
                    return upload
                self._forget(entry)
            file_id = self.client.files.put(name, data, purpose, kind)
            self._there.add(file_id)
            made = _made(name, data, purpose, id=file_id)
            self._keep(_digest(data, purpose), made)
        return made

    def read(self, name: str, data: bytes) -> str:
        """Return what the host reads in a file; its copy is deleted, the text is kept.

        Raises:
            HostError: If the host cannot read it.
        """
        purpose, files = "file-extract", self.client.files
        with _ONE_AT_A_TIME:
            for _, upload in self._named(_digest(data, purpose)):
                return upload.text
            file_id = files.put(name, data, purpose)
            try:
                said = files.content(file_id)
            finally:
                with contextlib.suppress(KimiError):  # the text is there
                    files.remove(file_id)
            found = as_object(said).get("content")
            text = found if isinstance(found, str) else said.decode("utf-8", "replace")
            made = _made(name, data, purpose, text=text)
            self._keep(_digest(data, purpose), made)
        return text

    def delete(self, name: str | None = None) -> None:
        """Delete files at the host, and what is remembered of them.

        Args:
            name: A file's name or id; all of them without one.

        Raises:
            BadInput: If there is no such file.
        """
        every = list(self._named())
        some = [each for each in every if name in (None, each[1].name, each[1].id)]
        if name is not None and not some:
            raise BadInput(
                f"No file {name!r:.80} was uploaded from here."
                f"{nearest(name, [upload.name for _, upload in every])}",
                "kimi.uploads() lists them.",
            )
        for entry, upload in some:
            if upload.id:
                self.client.files.remove(upload.id)
            self._forget(entry)

    def _named(self, digest: str = "") -> list[tuple[str, Upload]]:
        """Return what is remembered, of some bytes or all of it, by its entry."""
        found = {n: u for n, u in self._kept.items() if n.startswith(digest)}
        if self._folder is not None:
            for path in self._folder.glob(f"{self._whose}-{digest}*.json"):
                with contextlib.suppress(OSError, msgspec.MsgspecError):
                    entry = path.stem.removeprefix(f"{self._whose}-")
                    found[entry] = msgspec.json.decode(path.read_bytes(), type=Upload)
        return sorted(found.items(), key=lambda each: each[1].created)

    def _keep(self, digest: str, upload: Upload) -> None:
        entry = f"{digest}-{hashlib.sha256(upload.id.encode()).hexdigest()[:8]}"
        self._kept[entry] = upload
        if self._folder is None:
            return
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with taking_place(self._path(entry), mode=0o600) as fresh:
                fresh.write_bytes(msgspec.json.encode(upload))
        except (OSError, UnicodeEncodeError):
            return  # it is remembered here as long as this object lives

    def _forget(self, entry: str) -> None:
        self._kept.pop(entry, None)
        if self._folder is not None:
            self._path(entry).unlink(missing_ok=True)

    def _path(self, entry: str) -> Path:
        assert self._folder is not None
        return self._folder / f"{self._whose}-{entry}.json"

    @overload
    def __getitem__(self, index: SupportsIndex) -> Upload: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Upload]: ...
    def __getitem__(self, index: SupportsIndex | slice) -> Upload | Sequence[Upload]:
        return [upload for _, upload in self._named()][index]

    def __len__(self) -> int:
        return len(self._named())

    def __iter__(self) -> Iterator[Upload]:
        return iter([upload for _, upload in self._named()])

    def _parts(self) -> tuple[str, list[Section], str]:
        host = self.client.host.name
        rows = [
            (
                upload.name,
                upload.purpose,
                f"{upload.size:,}",
                day(upload.created),
                upload.id or "deleted there; its text is kept here",
            )
            for upload in self
        ]
        if not rows:
            return "", [], f"nothing was uploaded to {host} from here"
        return "", [Table(_HEADS, rows, [2])], html.footer_line([host])


def _digest(data: bytes, purpose: str) -> str:
    return hashlib.sha256(purpose.encode() + b"\0" + data).hexdigest()[:24]


def _made(name: str, data: bytes, purpose: str, **more: str) -> Upload:
    return Upload(
        name=name, purpose=purpose, size=len(data), created=time.time(), **more
    )
