"""Clients, hosts and a store that sweeps are tested with."""

from __future__ import annotations

import asyncio
import json
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

from kimikit.sweeps import Sweep, Trial
from kimikit.types import Host, Reply, Usage

WORDS = "blue red green teal ochre pink mauve grey gold jade".split()  # noqa: SIM905


def pick(temperature: float, rng: random.Random) -> str:
    """Return a colour: the first at 0, any of ten far above."""
    place = int(rng.expovariate(1) * temperature * 4) if temperature else 0
    return WORDS[min(place, len(WORDS) - 1)]


def reply(text: str, **fields: Any) -> Reply:
    """Return an answer as a client gives it."""
    given = {
        "model": "m",
        "host": "fake",
        "finish_reason": "stop",
        "cost": Decimal("0.001"),
        "duration_s": 0.1,
        "usage": Usage(10, 5),
        **fields,
    }
    return Reply(text=text, **given)


def of_texts(
    points: dict[Any, list[Any]],
    *,
    axes: tuple[str, ...] = ("temperature",),
    **fields: Any,
) -> Sweep:
    """Return a sweep with these answers at each point, in which nothing was asked.

    A text is an answer, a ``Reply`` is one too, ``None`` failed, and a list of one
    reply is what had come before it broke off.
    """
    trials = []
    places = [point if isinstance(point, tuple) else (point,) for point in points]
    for at, answers in zip(places, points.values(), strict=True):
        for repeat, given in enumerate(answers):
            broken = given[0] if isinstance(given, list) else None
            lost = given is None or broken is not None
            whole = reply(given) if isinstance(given, str) else given
            trials.append(
                Trial(
                    params=dict(zip(axes, at, strict=True)),
                    repeat=repeat,
                    reply=None if lost else whole,
                    partial=broken,
                    error="It broke." if lost else None,
                )
            )
    labels = [tuple(dict.fromkeys(some)) for some in zip(*places, strict=True)]
    fields = {"repeats": max(map(len, points.values())), **fields}
    return Sweep(
        trials=tuple(trials), axes=dict(zip(axes, labels, strict=True)), **fields
    )


class FakeClient:
    """An async client that answers with a function of its parameters."""

    def __init__(
        self,
        answer: Callable[..., Any] | None = None,
        *,
        host: Host | None = None,
        wait_s: float = 0.0,
    ) -> None:
        rng = random.Random(5)
        self.answer = answer or (
            lambda prompt, **params: pick(params.get("temperature") or 0, rng)
        )
        self.host = host
        self.wait_s = wait_s
        self.asked: list[dict[str, Any]] = []
        self.at_once = self.most_at_once = 0
        self.closed = False

    async def chat(self, messages: Any, **params: Any) -> Reply:
        meta, watch = params.pop("meta"), params.pop("watch")
        self.asked.append({"prompt": messages, **params, "meta": meta})
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await asyncio.sleep(self.wait_s)
            with_watch = getattr(self.answer, "wants_watch", False)
            extra = {"watch": watch} if with_watch else {}
            given = self.answer(messages, **params, **extra)
            return given if isinstance(given, Reply) else reply(given)
        finally:
            self.at_once -= 1

    async def close(self) -> None:
        self.closed = True


class MemoryStore:
    """An AnswerStore, and the observer that fills it, around any client."""

    def __init__(self) -> None:
        self.rows: dict[str, Reply] = {}
        self.broken: set[str] = set()

    def answers(self, key_prefix: str) -> dict[str, Reply]:
        return {k: v for k, v in self.rows.items() if k.startswith(key_prefix)}

    def failed(self, key_prefix: str) -> set[str]:
        return {key for key in self.broken if key.startswith(key_prefix)}

    def around(self, client: FakeClient) -> FakeClient:
        chat = client.chat

        async def kept(messages: Any, **params: Any) -> Reply:
            key = params["meta"]["key"]
            try:
                answer = await chat(messages, **params)
            except Exception:
                self.broken.add(key)
                raise
            self.broken.discard(key)
            self.rows[key] = answer
            return answer

        client.chat = kept  # type: ignore[method-assign]
        return client


def _streamed(answer: dict[str, Any]) -> bytes:
    """Return an answer as the events of a stream, a word each."""
    (choice,) = answer.pop("choices")
    usage = answer.pop("usage")
    words = choice["message"]["content"].split(" ")
    deltas = [{"content": word if place == 0 else f" {word}"}
              for place, word in enumerate(words)]  # fmt: skip
    chunks = [{**answer, "choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    end = {"index": 0, "delta": {}, "finish_reason": choice["finish_reason"]}
    chunks += [{**answer, "choices": [end]}, {**answer, "choices": [], "usage": usage}]
    events = [*map(json.dumps, chunks), "[DONE]"]
    return "".join(f"data: {event}\n\n" for event in events).encode()


class ColourHost:
    """An OpenAI-compatible host on loopback that treats temperature as it is told.

    Attributes:
        kind: ``obeys pins clamps ignores limits flaky dies upstreams``.
        requests: The bodies it was sent.
        statuses: How often it answered with each status.
    """

    def __init__(self, kind: str, *, wait_s: float = 0.0, dies_after: int = 10) -> None:
        self.kind = kind
        self.wait_s = wait_s
        self.dies_after = dies_after
        self.requests: list[dict[str, Any]] = []
        self.statuses: Counter[int] = Counter()
        self.closed_early = 0
        self.base_url = ""
        self._rng = random.Random(1)
        self._recent: list[float] = []

    def _judge(self, body: dict[str, Any]) -> tuple[int, dict[str, Any], str]:
        """Return status, JSON body and further headers."""
        asked = body.get("temperature")
        used = 1.0 if asked is None or self.kind == "ignores" else float(asked)
        extra: dict[str, Any] = {}
        if self.kind == "pins" and asked not in (None, 1):
            message = "invalid temperature: only 1 is allowed for this model"
            kind = "invalid_request_error"
            return 400, {"error": {"message": message, "type": kind}}, ""
        if self.kind == "clamps":
            used = min(used, 0.5)
            extra["temperature"] = used
        if self.kind == "upstreams":
            only = body.get("provider", {}).get("only")
            extra["provider"] = only[0] if only else self._rng.choice("AB")
        lucky = len(self.requests) == 1 or self._rng.random() > 0.2
        if self.kind == "flaky" and not lucky:
            return 400, {"error": {"message": "bad luck", "type": "luck"}}, ""
        if self.kind == "limits":
            now = asyncio.get_running_loop().time()
            self._recent = [t for t in self._recent if now - t < 0.15]
            if len(self._recent) >= 4:
                error = {"message": "slow down", "type": "rate_limit_reached_error"}
                return 429, {"error": error}, "retry-after-ms: 60\r\n"
            self._recent.append(now)
        if self.kind == "dies" and len(self.requests) > self.dies_after:
            return 0, {}, ""
        word = pick(used, self._rng)
        message = {"role": "assistant", "content": f"I would call it {word}."}
        return (
            200,
            {
                "id": "x",
                "model": body["model"],
                "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 9, "completion_tokens": 6},
                **extra,
            },
            "",
        )

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
                size = int(head.split("content-length:")[1].split("\r\n")[0])
                body = json.loads(await reader.readexactly(size))
                self.requests.append(body)
                if self.wait_s:
                    gone = asyncio.create_task(reader.read(1))
                    await asyncio.wait([gone], timeout=self.wait_s)
                    gone.cancel()
                    await asyncio.wait([gone])  # a stream has one reader at a time
                    if reader.at_eof():
                        self.closed_early += 1
                        break
                status, answer, headers = self._judge(body)
                self.statuses[status] += 1
                if not status:
                    break
                kind, data = "application/json", json.dumps(answer).encode()
                if status == 200 and body.get("stream"):
                    kind, data = "text/event-stream", _streamed(answer)
                start = f"HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\n"
                start += f"content-length: {len(data)}\r\n{headers}\r\n"
                writer.write(start.encode() + data)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    @contextmanager
    def running(self) -> Iterator[ColourHost]:
        """Serve on a port of the system's choice in a thread of its own."""
        ready, made = threading.Event(), []

        async def serve() -> None:
            server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
            port = server.sockets[0].getsockname()[1]
            self.base_url = f"http://127.0.0.1:{port}/v1"
            over = asyncio.Event()
            made.append((asyncio.get_running_loop(), over))
            ready.set()
            await over.wait()
            server.close()

        thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
        thread.start()
        ready.wait()
        try:
            yield self
        finally:
            loop, over = made[0]
            loop.call_soon_threadsafe(over.set)
            thread.join()
