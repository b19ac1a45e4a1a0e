"""Ask for many requests in one batch, answered within a day at a lower price.

Three dialects, by the host's profile: OpenAI's files, Together's files, and requests
inline as OpenRouter takes them. Each step is a coroutine, as in ``endpoints``.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any

import msgspec

from kimikit import errors
from kimikit.secrets import redact
from kimikit.types.host import HostBatch
from kimikit.wire.batch_results import (
    CALLED,
    DELETED,
    OVER,
    UNREADABLE,
    WORDS,
    Batch,
    Line,
    answers_first,
    line_of,
    lines_in,
    read_reply,
    words_of,
)
from kimikit.wire.blocking import blocking, each_at_once
from kimikit.wire.coerce import as_count, as_dict, as_list, as_str
from kimikit.wire.files import GONE, AsyncFiles, safe
from kimikit.wire.hosts import having

URLS = {"chat": "/v1/chat/completions", "embed": "/v1/embeddings"}
"""What our batches ask, whatever the host's own prefix is."""

LONGEST_ID = 64
"""Characters of a ``custom_id``."""

PAGE = 100
"""Batches of a page of the list."""

__all__ = [
    "DELETED", "OVER", "UNREADABLE", "AsyncBatches", "Batch", "Batches", "Line",
    "answers_first", "encode_line", "facts", "read_reply",
]  # fmt: skip


def facts(host: Any, endpoint: str = "chat") -> HostBatch:
    """Return how a host takes batches of an endpoint.

    Raises:
        NotSupported: If it is not known for any.
    """
    if host.batch is None or endpoint not in host.batch.endpoints:
        known = having(endpoint, lambda h: h.batch.endpoints if h.batch else ())
        what = "batches" if endpoint == "chat" else "embeddings in batches"
        raise errors.NotSupported(
            f"{host.title or host.name} is not known for {what}.",
            f"Hosts that are: {known}. For a server of your own, 'kimikit "
            "serve --upstream URL' offers them in front of it.",
        )
    found: HostBatch = host.batch
    return found


def encode_line(
    custom_id: str, body: Mapping[str, Any], endpoint: str = "chat"
) -> bytes:
    """Return the line of a batch's file that asks one request."""
    url = URLS[endpoint]
    entry = {"custom_id": custom_id, "method": "POST", "url": url, "body": body}
    return msgspec.json.encode(entry) + b"\n"


class AsyncBatches(AsyncFiles):
    """The batches of the host of a client.

    Args:
        wire: The client.
    """

    async def upload(self, lines: Sequence[bytes], name: str) -> str:
        """Upload the requests of a batch; return the id of their file.

        Args:
            lines: The requests, as ``encode_line`` makes them.
            name: What the file is called.
        """
        content = b"".join(lines)
        if facts(self._wire.host).dialect == "together":
            return await self._upload_in_steps(content, name)
        return await self.put(name, content, "batch", "application/jsonl")

    async def _upload_in_steps(self, content: bytes, name: str) -> str:
        """Announce a file, put its content where it is wanted, say that it came."""
        form = {
            "purpose": "batch-api",
            "file_name": name,
            "file_type": "jsonl",
            "checksum": hashlib.sha256(content).hexdigest(),
        }
        answer = self._wire.answer("files", {})
        sent = {field: (None, value) for field, value in form.items()}
        with answer:
            try:
                await self._wire.whole(answer, method="POST", files=sent)
            except errors.StatusError as exc:
                place = answer.headers.get("location")
                file = answer.headers.get("x-together-file-id")
                if exc.status not in (302, 303, 307) or not place or not file:
                    raise
            else:
                raise answer.no_answer(b"")
        await self._wire.putting(place, content)
        made = await self._json("files", "POST", f"/{safe(file)}/preprocess")
        return self._id(made) if made.get("id") else safe(file)

    async def create(
        self,
        model: str,
        *,
        file: str = "",
        requests: Sequence[tuple[str, Mapping[str, Any]]] = (),
        label: str = "",
        endpoint: str = "chat",
    ) -> Batch:
        """Begin a batch. It is never sent twice: a lost answer may be a batch begun.

        Args:
            model: The model that all its requests ask.
            file: The id of its requests' file; or else
            requests: the ids and bodies of its requests themselves.
            label: What to know it by, where the host keeps a note with it.
            endpoint: What they ask, by our name for it.
        """
        about = facts(self._wire.host)
        body: dict[str, Any]
        if about.dialect == "inline":
            listed = [
                {
                    "custom_id": name,
                    "body": {n: v for n, v in asked.items() if n != "model"},
                }
                for name, asked in requests
            ]
            # In this order: the host reads the body as it streams.
            body = {
                "endpoint": URLS[endpoint],
                "model": model + about.suffix,
                "requests": listed,
            }
        else:
            body = {
                "input_file_id": file,
                "endpoint": URLS[endpoint],
                "completion_window": about.window,
            }
            if about.dialect == "files" and label:
                body["metadata"] = {"kimikit": label}
        answer = self._wire.answer("batches", body)
        answer.tries = self._wire.retries
        return self._batch(await self._read(answer))

    async def get(self, batch_id: str) -> Batch:
        """Return how a batch is now."""
        return self._batch(await self._json("batches", "GET", f"/{safe(batch_id)}"))

    async def list(self, most: int = 1000) -> list[Batch]:
        """Return the newest batches of the account, as far as the host lists them."""
        found: list[Batch] = []
        after = ""
        while len(found) < most:
            more = f"&after={safe(after)}" if after else ""
            said = await self._json("batches", "GET", f"?limit={PAGE}{more}")
            page = as_list(said.get("data", said.get("batches")))
            batches = [self._batch(each) for each in page if isinstance(each, dict)]
            found += batches
            if not said.get("has_more") or not batches or batches[-1].id == after:
                break
            after = batches[-1].id
        return found

    async def cancel(self, batch_id: str) -> Batch:
        """Ask for the end of a batch; what was answered by then is paid for."""
        host = self._wire.host
        if not facts(host).cancels:
            raise errors.NotSupported(
                f"{host.title or host.name} has no way to cancel a batch.",
                "Wait for its end, and collect what came.",
            )
        said = await self._json("batches", "POST", f"/{safe(batch_id)}/cancel")
        return self._batch(said)

    async def lines(self, batch: Batch) -> AsyncGenerator[Line, None]:
        """Yield what came of the requests of a batch that is over, in any order.

        ``UNREADABLE`` stands for answers that could not be read, as of a file of which
        a part came: they may be there in a minute. ``DELETED`` stands for a file that
        is there no more.
        """
        if facts(self._wire.host).dialect == "inline":
            async for line in self._inline(batch):
                yield line
            return
        for file in (batch.output_file_id, batch.error_file_id):
            if not file:
                continue
            try:
                content = await self.content(file)
            except errors.StatusError as exc:
                if exc.status not in GONE or await self.has(file):
                    raise
                yield DELETED
                continue
            for line in lines_in(content):
                yield line

    async def _inline(self, batch: Batch) -> AsyncGenerator[Line, None]:
        seen, cursor = set[str](), ""
        while cursor not in seen:
            seen.add(cursor)
            more = f"?cursor={safe(cursor)}" if cursor else ""
            place = f"/{safe(batch.id)}/results{more}"
            try:
                said = await self._json("batches", "GET", place)
            except errors.StatusError as exc:
                if exc.status not in (404, 405, 501) or cursor:
                    raise
                said = (await self.get(batch.id)).raw
            for each in as_list(said.get("data", said.get("results"))):
                if (found := line_of(as_dict(each))) is not None:
                    yield found
            following = said.get("next_cursor")
            if following in (None, ""):
                return
            cursor = str(following)

    def _batch(self, said: Mapping[str, Any]) -> Batch:
        """Return a batch of whatever form the host gives it."""
        said = as_dict(said.get("job")) or as_dict(said.get("data")) or said
        counts = as_dict(said.get("request_counts")) or said
        total = as_count(counts.get("total"))
        done, failed = as_count(counts.get("completed")), as_count(counts.get("failed"))
        if done is None and total and (share := as_count(said.get("progress"), 100)):
            done = total * share // 100
        status = as_str(said.get("status")).lower().replace("-", "_")
        status = CALLED.get(status, status)
        return Batch(
            id=self._id(said),
            status=status or "validating",
            total=total,
            done=done or 0,
            failed=failed or 0,
            output_file_id=as_str(said.get("output_file_id")),
            error_file_id=as_str(said.get("error_file_id")),
            input_file_id=as_str(said.get("input_file_id")),
            metadata=as_dict(said.get("metadata")),
            words=redact(words_of(said), self._wire.key)[:WORDS],
            raw=dict(said),
        )


class Batches:
    """The batches of the host of a client that blocks."""

    def __init__(self, wire: Any) -> None:
        self._awaited = AsyncBatches(wire)

    upload = blocking(AsyncBatches.upload)
    create = blocking(AsyncBatches.create)
    get = blocking(AsyncBatches.get)
    list = blocking(AsyncBatches.list)
    cancel = blocking(AsyncBatches.cancel)

    def lines(self, batch: Batch) -> Sequence[Line]:
        """Return what came of the requests of a batch that is over."""
        return [*each_at_once(self._awaited.lines(batch))]
