"""A host with batches over HTTP: the local host's own endpoints over a test's answers.

It counts what it answers, live and in batches: nothing may be bought twice.
"""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from kimikit.local.batch_routes import Batches
from kimikit.local.batch_store import BatchStore
from kimikit.local.batch_work import BatchWorker
from kimikit.local.checks import Refused
from kimikit.local.routes import error_answer
from kimikit.local.server import Guard

CHAT, EMBED = "/v1/chat/completions", "/v1/embeddings"
BATCH = "/v1/batches/"
KEY = "k12345678"


class _Server(uvicorn.Server):
    """Looks a hundred times a second, not ten times, whether it is to end."""

    async def main_loop(self) -> None:
        await self.on_tick(0)
        while not self.should_exit:  # noqa: ASYNC110 - a test's thread sets it
            await asyncio.sleep(0.01)
        for one in list(self.server_state.connections):
            one.shutdown()  # else uvicorn waits 0.1 s for the idle ones to be closed
        await asyncio.sleep(0.001)


class BatchHost:
    """Serves a folder on 127.0.0.1; another one on the same folder is its restart.

    Attributes:
        bought: How often each prompt was answered, live or in a batch.
        live: Prompts that were answered live.
        bodies: What was asked.
        gate: While it is not set, batches wait; live calls do not.
        lose: A part of a path: the next answer to such a request is lost on its way.
        gone: So many looks at a batch find none.
        change: Changes answers of batches on their way.
        changed: The ends of the paths of what it changes.
        requests: Method and path of each request.
    """

    def __init__(
        self, folder: Path, answer: Callable[[str], Any] = "Re: {}".format
    ) -> None:
        self.folder, self.answer = folder, answer
        self.bought: Counter[str] = Counter()
        self.live: list[str] = []
        self.bodies: list[dict[str, Any]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.lose = ""
        self.gone = 0
        self.change: Callable[[bytes], bytes] = lambda content: content
        self.changed: tuple[str, ...] = ("/content", "/results")
        self.requests: list[tuple[str, str]] = []

    def __enter__(self) -> Self:
        self.worker = BatchWorker(BatchStore(self.folder), self._line, 4)
        batches = Batches(self.worker, lambda text: f"signed-{text}", (CHAT, EMBED))
        app = Starlette(
            routes=[
                Route(CHAT, self._chat, methods=["POST"]),
                Route(EMBED, self._chat, methods=["POST"]),
                *batches.routes(),
            ],
            exception_handlers={Refused: error_answer},
            lifespan=self.worker.lifespan,
        )
        guard = Guard(app, KEY)

        async def faulty(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "lifespan":
                return await guard(scope, receive, send)
            self.requests.append((scope["method"], scope["path"]))
            if self.gone and (scope["method"], scope["path"][:12]) == ("GET", BATCH):
                self.gone -= 1
                return await Response("{}", 404)(scope, receive, send)
            told: list[Any] = []

            async def keep(message: Any) -> None:
                told.append(message)

            await guard(scope, receive, keep)
            if self.lose and self.lose in f"{scope['method']} {scope['path']}":
                self.lose = ""
                raise ConnectionResetError  # uvicorn hangs up without an answer
            if scope["path"].endswith(self.changed):
                told = _changed(told, self.change)
            for message in told:
                await send(message)

        config = uvicorn.Config(
            faulty, log_level="critical", lifespan="on", loop="asyncio"
        )
        self._server = _Server(config)
        self._socket = socket.create_server(("127.0.0.1", 0))
        run = lambda: self._server.run(sockets=[self._socket])  # noqa: E731
        self._thread = threading.Thread(target=run, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.gate.set()
        self._server.should_exit = True
        self._thread.join(10)
        self._socket.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}/v1"

    def calls(self, method: str, end: str) -> int:
        """Return how many requests of a method had a path with such an end."""
        return sum(m == method and p.endswith(end) for m, p in self.requests)

    def answer_some(self, count: int) -> Any:
        """Answer so many requests of the one open batch, although it waits."""
        store = self.worker.store
        while not any(store.waiting(each.id, 1) for each in store.open_batches()):
            time.sleep(0.01)  # it is being checked
        (batch,) = store.open_batches()
        for line in store.waiting(batch.id, count):
            status, body = self._said(json.loads(line.body))
            store.answer(batch.id, line.number, status, json.dumps(body).encode())
        return batch

    def expire(self, batch: Any) -> None:
        """Let the time of a batch be over."""
        batch.expires_at = int(time.time()) - 1
        self.worker.store.save(batch)
        self.worker.wake()

    def _said(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        self.bodies.append(body)
        if "input" in body:
            return self._vectors(body)
        text = body["messages"][-1]["content"]
        said = self.answer(text)
        if not isinstance(said, str):
            return said
        self.bought[text] += 1
        message = {"role": "assistant", "content": said}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        used = {"prompt_tokens": 9, "completion_tokens": 6, "total_tokens": 15}
        answer = {"id": "x", "object": "chat.completion", "model": body["model"]}
        return 200, {**answer, "choices": [choice], "usage": used}

    def _vectors(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Return the number of characters and of letters e, or what is no text."""
        for text in body["input"]:
            if not isinstance(said := self.answer(text), str):
                return said
        self.bought.update(body["input"])
        data = [
            {"index": n, "embedding": [len(text), text.count("e") + 0.1]}
            for n, text in enumerate(body["input"])
        ]
        used = {"prompt_tokens": 3 * len(data), "total_tokens": 3 * len(data)}
        return 200, {"object": "list", "model": "m", "data": data, "usage": used}

    async def _line(self, _: str, raw: bytes) -> tuple[int, bytes]:
        while not self.gate.is_set():  # noqa: ASYNC110 - a test's thread opens it
            await asyncio.sleep(0.01)
        status, answer = self._said(json.loads(raw))
        return status, json.dumps(answer).encode()

    async def _chat(self, request: Request) -> Response:
        body = await request.json()
        status, answer = self._said(body)
        self.live.append(str(body.get("input") or body["messages"][-1]["content"]))
        return Response(json.dumps(answer), status, media_type="application/json")


def _changed(told: list[Any], change: Callable[[bytes], bytes]) -> list[Any]:
    """Return an answer with another body."""
    start = told[0]
    content = change(b"".join(each.get("body", b"") for each in told[1:]))
    kept = [(n, v) for n, v in start["headers"] if n.lower() != b"content-length"]
    start = {**start, "headers": [*kept, (b"content-length", b"%d" % len(content))]}
    return [start, {"type": "http.response.body", "body": content}]


def wait_side_by_side(host: BatchHost, jobs: list[Any]) -> list[Any]:
    """Let each job wait in a thread, then open the host; return what they collected."""
    found: list[Any] = []
    threads = [
        threading.Thread(target=lambda job=job: found.append(job.wait()))
        for job in jobs
    ]
    for thread in threads:
        thread.start()
    host.gate.set()
    for thread in threads:
        thread.join(60)
    return found
