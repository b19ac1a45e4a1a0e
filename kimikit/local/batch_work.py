"""Answer the requests of batches in the time that live calls leave free."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import msgspec
from filelock import FileLock, Timeout

from kimikit.local.batch_store import OVER, Batch, BatchStore, Line
from kimikit.local.checks import Refused

LARGEST_BATCH = 50_000
"""Requests of a batch, as at Together and OpenAI."""

UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What decoding JSON raises that is none, or that is too deep."""

LONGEST_ID = 64
"""Characters of a ``custom_id``."""

Answer = Callable[[str, bytes], Awaitable[tuple[int, bytes]]]
"""Answers a body that was sent to an endpoint, with a status and a body."""

_LOOK_S = 5.0
_LARGEST_ERRORS = 20


class _Given(msgspec.Struct):
    custom_id: str
    body: msgspec.Raw
    method: str = "POST"
    url: str = ""


class BatchWorker:
    """Answers the requests of open batches, one batch after the other.

    Args:
        store: Where they lie.
        answer: Answers one request.
        slots: Requests at once, those of live calls included.

    Attributes:
        busy: Whether a batch is open.
    """

    def __init__(self, store: BatchStore, answer: Answer, slots: int) -> None:
        self.store = store
        self.busy = False
        self._answer, self._slots = answer, slots
        self._live = 0
        self._under_way: dict[tuple[str, int], asyncio.Task[None]] = {}
        self._changed = asyncio.Event()

    @contextlib.contextmanager
    def live_call(self) -> Iterator[None]:
        """Count a live call, to which batches leave a slot."""
        self._live += 1
        try:
            yield
        finally:
            self._live -= 1
            self._changed.set()

    @contextlib.asynccontextmanager
    async def lifespan(self, _: object) -> AsyncIterator[None]:
        """Work as long as the application runs, and close the store when it ends."""
        work = asyncio.ensure_future(self.run())
        try:
            yield
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
            await asyncio.to_thread(self.store.close)

    def wake(self) -> None:
        """Look again: a batch has come or has been cancelled."""
        self.busy = True
        self._changed.set()

    async def run(self) -> None:
        """Work until it is cancelled; of hosts that share a folder, one works."""
        lock = FileLock(self.store.folder / "worker.lock", thread_local=False)
        while not lock.is_locked:
            try:
                lock.acquire(blocking=False)
            except Timeout:
                await asyncio.sleep(_LOOK_S)
        with lock:
            await self._work()

    async def _work(self) -> None:
        try:
            while True:
                self._changed.clear()
                batches = await asyncio.to_thread(self.store.open_batches)
                self.busy = bool(batches)
                for batch in batches:
                    try:
                        await self._go_on(batch)
                    except (sqlite3.Error, OSError):
                        continue  # the disk is full, or the file is locked, for now
                    except Exception as exc:  # the others go on
                        await asyncio.to_thread(self._fail, batch, exc)
                # Not wait_for(), which may swallow a cancellation (Python 3.11).
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_LOOK_S):
                        await self._changed.wait()
        finally:
            for task in self._under_way.values():
                task.cancel()
            await asyncio.gather(*self._under_way.values(), return_exceptions=True)

    async def _go_on(self, batch: Batch) -> None:
        """Take a batch one step further."""
        if batch.status == "validating":
            await asyncio.to_thread(self._validate, batch)
        ended = {"cancelling": "cancelled"}.get(batch.status)
        if ended is None and time.time() > batch.expires_at:
            ended = "expired"
        mine = [task for (name, _), task in self._under_way.items() if name == batch.id]
        if ended:
            for task in mine:
                task.cancel()
            await asyncio.gather(*mine, return_exceptions=True)
        elif batch.status == "in_progress":
            free = self._slots - self._live - len(self._under_way)
            wanted = max(free, 0) + len(mine)
            lines = await asyncio.to_thread(self.store.waiting, batch.id, wanted + 1)
            for line in lines:
                place = batch.id, line.number
                if place not in self._under_way and free > 0:
                    free -= 1
                    self._start(batch, line)
            ended = None if lines else "completed"
        if ended:
            await asyncio.to_thread(self._end, batch, ended)

    def _start(self, batch: Batch, line: Line) -> None:
        place = batch.id, line.number

        async def work() -> None:
            try:
                status, answer = await self._answer(batch.endpoint, line.body)
            except Refused as exc:
                status, answer = exc.status, msgspec.json.encode(exc.body)
            except Exception as exc:
                msg = f"{type(exc).__name__}: {exc}"
                status, answer = 500, msgspec.json.encode(Refused(msg, status=500).body)
            await asyncio.to_thread(
                self.store.answer, batch.id, line.number, status, answer
            )

        def over(_: object) -> None:
            self._under_way.pop(place, None)
            self._changed.set()

        task = self._under_way[place] = asyncio.ensure_future(work())
        task.add_done_callback(over)

    def _validate(self, batch: Batch) -> None:
        try:
            raw = self.store.path(self.store.file(batch.input_file_id or "").id)
            lines = parse(raw.read_bytes(), batch)
        except (Refused, OSError) as exc:
            batch.errors = [{"code": "invalid_file", "message": str(exc)}]
        except _Invalid as exc:
            batch.errors = exc.errors
        if batch.errors:
            batch.status, batch.ended_at = "failed", int(time.time())
            self.store.save(batch)
            return
        batch.status, batch.in_progress_at = "in_progress", int(time.time())
        self.store.add_lines(batch, lines)

    def _fail(self, batch: Batch, exc: Exception) -> None:
        message = f"{type(exc).__name__}: {exc}"
        batch.errors = [{"code": "server_error", "message": message}]
        batch.status, batch.ended_at = "failed", int(time.time())
        self.store.save(batch)

    def _end(self, batch: Batch, status: str) -> None:
        """Write the files of what came and what did not, then say that it is over."""
        code = f"batch_{status}"
        good: list[bytes] = []
        bad: list[bytes] = []
        for line in self.store.lines(batch.id):
            entry = result(line, batch.id, code if status != "completed" else "")
            (good if line.status == 200 else bad).append(msgspec.json.encode(entry))
        if batch.dialect != "inline":
            for lines, name in ((good, "output"), (bad, "error")):
                if not lines:
                    continue
                content = b"\n".join([*lines, b""])
                filename = f"{batch.id}_{name}.jsonl"
                file = self.store.add_file("batch_output", filename, content)
                setattr(batch, f"{name}_file_id", file.id)
        batch.status, batch.ended_at = status, int(time.time())
        self.store.save(batch)

    def cancel(self, batch: Batch) -> None:
        """Ask for the end of a batch; what was answered stays."""
        if batch.status in OVER:
            msg = f"The batch {batch.id} is {batch.status} already."
            raise Refused(msg, status=409, code="batch_over")
        self.store.cancel(batch.id)
        batch.status = "cancelling"


class _Invalid(Exception):
    def __init__(self, errors: list[dict[str, Any]]) -> None:
        super().__init__(errors[0]["message"])
        self.errors = errors


def parse(raw: bytes, batch: Batch) -> list[Line]:
    """Return the requests in a file.

    Raises:
        _Invalid: If a line is none, or comes twice, or asks another model.
    """
    lines: list[Line] = []
    errors: list[dict[str, Any]] = []
    seen: set[str] = set()
    models: set[str] = set()
    numbered = enumerate(filter(None, map(bytes.strip, raw.split(b"\n"))), 1)
    for number, text in numbered:
        try:
            given = msgspec.json.decode(text, type=_Given)
            model = line_of(given.custom_id, given.body, given.method, given.url, batch)
            if given.custom_id in seen:
                raise Refused(f"custom_id {given.custom_id!r} comes twice.")
        except (*UNREADABLE, Refused) as exc:
            errors.append({"code": "invalid_line", "message": str(exc), "line": number})
            if len(errors) == _LARGEST_ERRORS:
                break
            continue
        seen.add(given.custom_id)
        models.add(model)
        lines.append(Line(number, given.custom_id, bytes(given.body)))
    if not errors and not 0 < len(lines) <= LARGEST_BATCH:
        msg = f"A batch has 1 to {LARGEST_BATCH} requests, this file {len(lines)}."
        errors.append({"code": "invalid_file", "message": msg})
    if not errors and len(models) > 1:
        msg = f"A batch asks one model, this file {sorted(models)}."
        errors.append({"code": "mixed_models", "message": msg})
    if errors:
        raise _Invalid(errors)
    batch.model = next(iter(models))
    return lines


def line_of(
    custom_id: str, body: msgspec.Raw, method: str, url: str, batch: Batch
) -> str:
    """Check a request and return the model that it asks.

    Raises:
        Refused: If it is none that a batch can hold.
    """
    if not 0 < len(custom_id) <= LONGEST_ID:
        raise Refused(f"A custom_id has 1 to {LONGEST_ID} characters.")
    if method != "POST" or url not in ("", batch.endpoint):
        msg = f"The batch is for POST {batch.endpoint}, not {method} {url}."
        raise Refused(msg, param="url")
    asked = msgspec.json.decode(body, type=dict[str, Any])
    if asked.get("stream"):
        raise Refused("A batch does not stream; leave stream out.", param="stream")
    return str(asked.get("model") or batch.model)


def result(line: Line, batch_id: str, code: str) -> dict[str, Any]:
    """Return what came of a request as OpenAI's output and error files have it."""
    entry: dict[str, Any] = {
        "id": f"{batch_id}-{line.number}",
        "custom_id": line.custom_id,
        "response": None,
        "error": None,
    }
    if line.status is None:
        msg = "The batch was over before this request was answered."
        return entry | {"error": {"code": code, "message": msg}}
    response = {
        "status_code": line.status,
        "request_id": entry["id"],
        "body": msgspec.Raw(line.answer),
    }
    return entry | {"response": response}
