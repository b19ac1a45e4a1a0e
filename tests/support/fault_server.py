"""A server on raw sockets that sends exactly the bytes it is told to, and when.

    with FaultServer() as server:
        server.play(sse({"choices": [...]}, DONE))   # one answer per request
        server.play(head(200), b"data: {", HOLD)     # silence until the client leaves

Each ``play`` is the answer to one request; the last one is repeated.
"""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
import time
from dataclasses import dataclass, field
from typing import Any, Self

DONE = "data: [DONE]\n\n"


@dataclass(frozen=True)
class Pause:
    """Seconds to wait between two pieces."""

    seconds: float


class _Act:
    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name


CLOSE = _Act("CLOSE")
"""End the connection in order (FIN)."""
RESET = _Act("RESET")
"""Break the connection off (RST)."""
HOLD = _Act("HOLD")
"""Keep silent until the client hangs up; the time of that is kept."""
GATE = _Act("GATE")
"""Wait until the test calls ``server.gate.set()``."""


@dataclass
class Received:
    """A request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    connection: int

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def event(value: object) -> bytes:
    """Return one event: text and bytes as they are, all else as ``data:`` and JSON."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode()
    return b"data: " + json.dumps(value, ensure_ascii=False).encode() + b"\n\n"


def head(status: int = 200, *lines: str, kind: str = "text/event-stream") -> bytes:
    """Return the head of a chunked answer."""
    text = [f"HTTP/1.1 {status} X", f"content-type: {kind}", *lines]
    return "\r\n".join([*text, "transfer-encoding: chunked", "", ""]).encode()


def chunk(data: bytes) -> bytes:
    """Return one HTTP chunk; an empty one ends the body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


END = chunk(b"")


def sse(*values: object, size: int | None = None) -> bytes:
    """Return a whole streamed answer, one HTTP chunk an event or of ``size`` bytes."""
    events = [event(value) for value in values]
    if size:
        whole = b"".join(events)
        events = [whole[i : i + size] for i in range(0, len(whole), size)]
    return head() + b"".join(map(chunk, events)) + END


def plain(
    body: object, status: int = 200, *lines: str, kind: str = "application/json"
) -> bytes:
    """Return an answer in one piece."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    text = [f"HTTP/1.1 {status} X", f"content-type: {kind}", *lines]
    text += [f"content-length: {len(data)}", "", ""]
    return "\r\n".join(text).encode() + data


@dataclass
class FaultServer:
    """Plays scripts on 127.0.0.1; see the module."""

    scripts: list[tuple[object, ...]] = field(default_factory=list)
    requests: list[Received] = field(default_factory=list)
    connections: int = 0
    gate: threading.Event = field(default_factory=threading.Event)
    left: threading.Event = field(default_factory=threading.Event)
    left_at: float = 0.0

    def __enter__(self) -> Self:
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._open: list[socket.socket] = []
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self.gate.set()
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._threads[0].join(5)  # which may be about to accept one more
        with self._lock:
            for one in self._open:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)

    @property
    def url(self) -> str:
        return "http://{}:{}/v1".format(*self._socket.getsockname())

    def play(self, *steps: object) -> None:
        """Add the answer to the next request."""
        self.scripts.append(steps)

    def _start(self, run: Any, *args: Any) -> None:
        thread = threading.Thread(target=run, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self.connections += 1
                self._open.append(connection)
            self._start(self._serve, connection, self.connections)

    def _serve(self, connection: socket.socket, number: int) -> None:
        try:
            while self._answer(connection, number):
                pass
        except OSError:
            pass
        finally:
            connection.close()

    def _answer(self, connection: socket.socket, number: int) -> bool:
        data = b""
        while b"\r\n\r\n" not in data:
            more = connection.recv(65536)
            if not more:
                return False
            data += more
        top, _, body = data.partition(b"\r\n\r\n")
        first, *lines = top.decode("latin-1").split("\r\n")
        headers = {k.lower(): v.strip() for k, v in (x.split(":", 1) for x in lines)}
        while len(body) < int(headers.get("content-length", 0)):
            body += connection.recv(65536)
        method, path, _ = first.split(" ", 2)
        with self._lock:
            self.requests.append(Received(method, path, headers, body, number))
            script = self.scripts[min(len(self.requests), len(self.scripts)) - 1]
        return all(self._step(connection, step) for step in script)

    def _step(self, connection: socket.socket, step: object) -> bool:
        if isinstance(step, bytes):
            connection.sendall(step)
        elif isinstance(step, Pause):
            self.gate.wait(step.seconds)
        elif step is GATE:
            self.gate.wait(10)
        elif step is HOLD:
            connection.settimeout(10)
            with contextlib.suppress(OSError):
                connection.recv(1)
            self.left_at = time.monotonic()
            self.left.set()
            return False
        elif step is RESET:
            connection.setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
            )
            return False
        elif step is CLOSE:
            return False
        else:
            raise TypeError(step)
        return True
