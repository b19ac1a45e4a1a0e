"""Serve files and batches, as OpenAI, Together and OpenRouter do."""

from __future__ import annotations

import asyncio
import datetime as dt
import hmac
import re
import secrets
import time
from collections.abc import Callable
from typing import Any

import msgspec
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from kimikit.local.batch_store import OVER, Batch, File, Line
from kimikit.local.batch_work import (
    LARGEST_BATCH,
    UNREADABLE,
    BatchWorker,
    line_of,
    result,
)
from kimikit.local.checks import Refused
from kimikit.local.relay import as_json

Sign = Callable[[str], str]
"""Makes a text that only this host could make of another."""

UPLOAD = "/upload/"
"""Beginning of the paths that a signature opens in place of the key."""

LONGEST_WINDOW_S = 7 * 24 * 3600
PAGE = 1000
"""Answers of a page of an inline batch."""

TOGETHER = "batch-api"
"""The purpose by which Together knows the files of batches."""


class Batches:
    """The endpoints over one worker.

    Args:
        worker: Works the batches off.
        sign: Makes a text that only this host could make of another.
        endpoints: What a batch may ask.
    """

    def __init__(
        self,
        worker: BatchWorker,
        sign: Sign,
        endpoints: tuple[str, ...],
    ) -> None:
        self._worker, self._store = worker, worker.store
        self._sign, self._endpoints = sign, endpoints

    def routes(self) -> list[Route]:
        """Return the routes."""
        one, both = ["GET"], ["GET", "DELETE"]
        return [
            Route("/v1/files", self._files, methods=["GET", "POST"]),
            Route("/v1/files/{id}", self._file, methods=both),
            Route("/v1/files/{id}/content", self._content, methods=one),
            Route("/v1/files/{id}/preprocess", self._uploaded, methods=["POST"]),
            Route(UPLOAD + "{id}/{proof}", self._upload, methods=["PUT"]),
            Route("/v1/batches", self._batches, methods=["GET", "POST"]),
            Route("/v1/batches/{id}", self._batch, methods=one),
            Route("/v1/batches/{id}/results", self._results, methods=one),
            Route("/v1/batches/{id}/cancel", self._cancel, methods=["POST"]),
        ]

    # Files.

    async def _files(self, request: Request) -> Response:
        if request.method == "GET":
            found = [_as_file(file) for file in self._store.files()]
            return as_json({"object": "list", "data": found, "has_more": False})
        async with request.form() as form:
            given = form.get("file")
            purpose = str(form.get("purpose") or "batch")
            if isinstance(given, UploadFile):
                content, name = await given.read(), given.filename or "requests.jsonl"
                make = self._store.add_file
                return as_json(
                    _as_file(await asyncio.to_thread(make, purpose, name, content))
                )
            if not form.get("file_name"):
                raise Refused(
                    "The form has neither a file nor a file_name.", param="file"
                )
            name = str(form["file_name"])
        # Together: the content follows, to an address that needs no key.
        file = self._store.add_file(purpose, name, None)
        place = f"{request.base_url}{UPLOAD[1:]}{file.id}/{self._sign(file.id)}"
        answer = as_json(_as_file(file), 302)
        answer.headers.update({"location": place, "x-together-file-id": file.id})
        return answer

    async def _upload(self, request: Request) -> Response:
        """Take the content of a file that was announced, once."""
        name = request.path_params["id"]
        proof = request.path_params["proof"].encode()
        if not hmac.compare_digest(proof, self._sign(name).encode()):
            raise Refused("The address of the upload is not ours.", status=403)
        file = self._store.file(name)
        if file.bytes >= 0:
            raise Refused(f"The file {name} has its content already.", status=409)
        content = await request.body()
        await asyncio.to_thread(self._store.fill_file, file.id, content)
        return Response(status_code=200)

    async def _uploaded(self, request: Request) -> Response:
        file = self._store.file(request.path_params["id"])
        if file.bytes < 0:
            raise Refused(f"The content of {file.id} has not come.", status=409)
        return as_json(_as_file(file))

    async def _file(self, request: Request) -> Response:
        file = self._store.file(request.path_params["id"])
        if request.method == "GET":
            return as_json(_as_file(file))
        self._store.delete_file(file.id)
        return as_json({"id": file.id, "object": "file", "deleted": True})

    async def _content(self, request: Request) -> Response:
        file = self._store.file(request.path_params["id"])
        if file.bytes < 0:
            raise Refused(f"The content of {file.id} has not come.", status=409)
        path = self._store.path(file.id)
        return FileResponse(path, media_type="application/jsonl")

    # Batches.

    async def _batches(self, request: Request) -> Response:
        if request.method == "POST":
            return await self._create(await request.body())
        asked = request.query_params
        together = request.headers.get("user-agent", "").startswith("Together/")
        limit = 1000 if together else _number(asked.get("limit"), 20, 100)
        found = self._store.batches(asked.get("after") or "", limit + 1)
        shown = [self._shown(batch) for batch in found[:limit]]
        if together:
            return as_json(shown)
        ends: dict[str, Any] = {
            "first_id": None,
            "last_id": None,
            "has_more": len(found) > limit,
        }
        if shown:
            ends |= {"first_id": found[0].id, "last_id": found[:limit][-1].id}
        return as_json({"object": "list", "data": shown, **ends})

    async def _create(self, raw: bytes) -> Response:
        try:
            given = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
            asked = {
                name: msgspec.json.decode(value)
                for name, value in given.items()
                if name != "requests"
            }
            metadata = msgspec.convert(asked.get("metadata"), dict[str, str] | None)
        except UNREADABLE as exc:
            raise Refused(f"The request is none of a batch: {exc}.") from exc
        endpoint = str(asked.get("endpoint") or "")
        if endpoint not in self._endpoints:
            msg = f"endpoint is {endpoint!r}; give one of {', '.join(self._endpoints)}."
            raise Refused(msg, param="endpoint")
        batch = Batch(
            id=f"batch_{secrets.token_hex(12)}",
            dialect="inline",
            endpoint=endpoint,
            model=str(asked.get("model") or asked.get("model_id") or ""),
            created_at=int(time.time()),
            expires_at=int(time.time() + _window_s(asked.get("completion_window"))),
            completion_window=str(asked.get("completion_window") or "24h"),
            metadata=metadata,
        )
        if "requests" in given:
            return await self._begin_inline(batch, given)
        file = self._store.file(str(asked.get("input_file_id")))
        if file.bytes < 0:
            raise Refused(f"The content of {file.id} has not come.", status=409)
        batch.dialect = "together" if file.purpose == TOGETHER else "openai"
        batch.input_file_id = file.id
        self._store.save(batch)
        self._worker.wake()
        shown = self._shown(batch)
        return as_json({"job": shown} if batch.dialect == "together" else shown)

    async def _begin_inline(
        self, batch: Batch, given: dict[str, msgspec.Raw]
    ) -> Response:
        """Begin a batch whose requests come with it, after what they are."""
        order = [name for name in given if name in ("endpoint", "model", "requests")]
        if order != ["endpoint", "model", "requests"]:
            raise Refused("Give endpoint, then model, then requests.", param="requests")
        batch.model = batch.model.partition(":batch")[0]
        lines = await asyncio.to_thread(_inline, batch, given["requests"])
        batch.status, batch.in_progress_at = "in_progress", int(time.time())
        await asyncio.to_thread(self._store.add_lines, batch, lines)
        self._worker.wake()
        return as_json(self._shown(batch) | {"status": "validating"}, 202)

    async def _batch(self, request: Request) -> Response:
        batch = self._store.batch(request.path_params["id"])
        shown = self._shown(batch)
        if batch.dialect == "inline" and batch.status in OVER:
            shown["results"] = self._page(batch, -1, PAGE)[0]
        return as_json(shown)

    async def _results(self, request: Request) -> Response:
        batch = self._store.batch(request.path_params["id"])
        if batch.status not in OVER:
            raise Refused(f"The batch {batch.id} is not over.", status=409)
        after = _number(request.query_params.get("cursor"), -1, LARGEST_BATCH)
        found, following = self._page(batch, after, PAGE)
        return as_json({"data": found, "next_cursor": following})

    def _page(
        self, batch: Batch, after: int, limit: int
    ) -> tuple[list[dict[str, Any]], str | None]:
        lines = self._store.lines(batch.id, after, limit + 1)
        code = "" if batch.status == "completed" else f"batch_{batch.status}"
        found = [result(line, batch.id, code) for line in lines[:limit]]
        following = str(lines[limit - 1].number) if len(lines) > limit else None
        return found, following

    async def _cancel(self, request: Request) -> Response:
        batch = self._store.batch(request.path_params["id"])
        self._worker.cancel(batch)
        self._worker.wake()
        return as_json(self._shown(batch))

    def _shown(self, batch: Batch) -> dict[str, Any]:
        counts = self._store.counts(batch.id)
        return (_as_job if batch.dialect == "together" else _as_batch)(batch, counts)


def _inline(batch: Batch, raw: msgspec.Raw) -> list[Line]:
    """Return the requests of an inline batch, each with its model.

    Raises:
        Refused: If one is none that a batch can hold.
    """
    try:
        given = msgspec.json.decode(raw, type=list[dict[str, Any]])
    except UNREADABLE as exc:
        raise Refused(f"requests is no list of requests: {exc}.") from exc
    if not 0 < len(given) <= LARGEST_BATCH:
        raise Refused(f"A batch has 1 to {LARGEST_BATCH} requests.", param="requests")
    lines, seen = [], set()
    for number, each in enumerate(given):
        name, body = str(each.get("custom_id") or ""), each.get("body")
        if not isinstance(body, dict) or name in seen:
            raise Refused(f"Request {number} has no body, or its id comes twice.")
        seen.add(name)
        whole = msgspec.json.encode({**body, "model": batch.model})
        line_of(name, msgspec.Raw(whole), "POST", "", batch)
        lines.append(Line(number, name, whole))
    return lines


def _window_s(given: Any) -> float:
    """Return the seconds of a completion window such as ``24h`` or ``7d``."""
    text = str(given or "24h")
    unit = {"h": 3600, "d": 86400}.get(text[-1:])
    if unit is None or not re.fullmatch(r"0*[1-9][0-9]*", text[:-1]):
        raise Refused(
            f"completion_window is {text!r:.40}; give hours, such as '24h'.",
            param="completion_window",
        )
    return float(min(int(text[:-1].lstrip("0")[:6]) * unit, LONGEST_WINDOW_S))


def _number(text: str | None, usual: int, most: int) -> int:
    """Return a number of a query, from 0 to ``most``."""
    if not text:
        return usual
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise Refused(f"{text!r:.40} is no number from 0 to {most}.")
    return min(int(text), most)


def _as_file(file: File) -> dict[str, Any]:
    """Return a file as both SDKs read it."""
    return {
        "id": file.id,
        "object": "file",
        "bytes": max(file.bytes, 0),
        "created_at": file.created_at,
        "filename": file.filename,
        "purpose": file.purpose,
        "status": "processed" if file.bytes >= 0 else "uploaded",
        "FileType": "jsonl",
        "Processed": file.bytes >= 0,
    }


def _as_batch(batch: Batch, counts: dict[str, int]) -> dict[str, Any]:
    """Return a batch as OpenAI writes it."""
    ended = {f"{batch.status}_at": batch.ended_at} if batch.ended_at else {}
    errors = {"object": "list", "data": batch.errors} if batch.errors else None
    return {
        "id": batch.id,
        "object": "batch",
        "endpoint": batch.endpoint,
        "model": batch.model,
        "errors": errors,
        "input_file_id": batch.input_file_id,
        "completion_window": batch.completion_window,
        "status": batch.status,
        "output_file_id": batch.output_file_id,
        "error_file_id": batch.error_file_id,
        "created_at": batch.created_at,
        "in_progress_at": batch.in_progress_at,
        "expires_at": batch.expires_at,
        "request_counts": counts,
        "metadata": batch.metadata,
        **ended,
    }


def _as_job(batch: Batch, counts: dict[str, int]) -> dict[str, Any]:
    """Return a batch as Together writes it."""
    over = counts["completed"] + counts["failed"]
    words = "; ".join(str(error.get("message")) for error in batch.errors)
    return {
        "id": batch.id,
        "user_id": "local",
        "endpoint": batch.endpoint,
        "model_id": batch.model,
        "input_file_id": batch.input_file_id,
        "output_file_id": batch.output_file_id,
        "error_file_id": batch.error_file_id,
        "status": batch.status.upper(),
        "progress": 100 * over / counts["total"] if counts["total"] else 0.0,
        "error": words or None,
        "created_at": _iso(batch.created_at),
        "completed_at": _iso(batch.ended_at),
        "job_deadline": _iso(batch.expires_at),
        **counts,
    }


def _iso(at: int | None) -> str | None:
    return None if at is None else dt.datetime.fromtimestamp(at, dt.UTC).isoformat()
