"""What other users of the machine can do to the local host, and what they cannot."""

from __future__ import annotations

import asyncio
import contextlib
import http.server
import json
import os
import shutil
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from starlette.types import Receive, Scope, Send
from support.serving import serving
from support.weather import user

from kimikit import Kimi, local
from kimikit.errors import LocalHostError
from kimikit.local import models, process, server, trust

KEY = "local-test-key"
FILES = Path("/proc/self/fd")


SECRETS = {
    "MOONSHOT_API_KEY": "sk-one-x1",
    "TOGETHER_API_KEY": "two-x2",
    "HF_TOKEN": "three-x3",
    "AWS_SECRET_ACCESS_KEY": "four-x4",
    "MY_PROVIDER": "five-x5",
    "KIMIKIT_API_KEY": "six-x6",
    "DATABASE_PASSWORD": "seven-x7",
    "PYTHON_TOKEN": "eight-x8",
}


@pytest.fixture
def runtime(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, local_host: local.Running
) -> Iterator[Path]:
    """A runtime folder of the test's own; what it starts is ended."""
    monkeypatch.setenv("KIMIKIT_RUNTIME", str(tmp_path / "runtime"))
    yield tmp_path / "runtime"
    local.stop()


def started(monkeypatch: pytest.MonkeyPatch) -> local.Running:
    """Start a host where keys of providers are; it must not get them."""
    with monkeypatch.context() as patch:
        for name, value in SECRETS.items():
            patch.setenv(name, value)
        running = local.ensure()
    path = Path(f"/proc/{running.pid}/environ")
    if path.exists():
        told = path.read_bytes()
        assert b"KIMIKIT_RUNTIME" in told
        assert not [v for v in SECRETS.values() if v.encode() in told]
    return running


def port_of(running: local.Running) -> int:
    port = urlsplit(running.base_url).port
    assert port is not None
    return port


def end(running: local.Running, sign: int) -> None:
    os.kill(running.pid, sign)
    process._children[running.pid].wait(20)


class Impostor(http.server.BaseHTTPRequestHandler):
    """Who has the port of a host that died, and answers as it would."""

    protocol_version = "HTTP/1.1"
    heard: list[str]
    pid: int

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        self.heard.append(str(self.headers) + self.path)
        nonce = self.headers.get("x-kimikit-nonce", "")
        for said in ({"pid": self.pid}, {"pid": self.pid, "proof": nonce}):
            body = json.dumps(said).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        size = int(self.headers["content-length"])
        self.heard.append(str(self.headers) + self.rfile.read(size).decode())
        self.send_error(500)


@contextlib.contextmanager
def impostor(port: int, pid: int) -> Iterator[list[str]]:
    heard: list[str] = []
    kind = type("Handler", (Impostor,), {"heard": heard, "pid": pid})
    with serving(kind, port):
        yield heard


def test_a_killed_host_is_replaced_and_an_impostor_gets_neither_key_nor_prompt(
    runtime: Path,
) -> None:
    died = local.ensure()
    end(died, signal.SIGKILL)
    assert process.port_file().exists()
    assert local.status()["running"] is None
    with impostor(port_of(died), died.pid) as heard:
        assert local.status()["running"] is None
        reply = Kimi("local", show=False).chat("my private question", max_tokens=2)
    assert reply.text
    assert local.ensure().pid != died.pid
    assert heard
    told = "\n".join(heard)
    assert died.api_key not in told
    assert "private" not in told
    assert "authorization" not in told.lower()


def test_a_host_that_is_interrupted_leaves_no_address(
    runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = started(monkeypatch)
    assert process.port_file().exists()
    end(running, signal.SIGINT)
    assert not process.port_file().exists()


def test_a_host_that_ends_leaves_the_address_of_another(runtime: Path) -> None:
    running = local.ensure()
    other = local.Running("http://127.0.0.1:9/v1", "k", "m", 1)
    process.write_port_file(process.port_file(), other)
    end(running, signal.SIGTERM)
    assert process.read_port_file(process.port_file()) == other


def test_both_sides_prove_the_key(local_host: local.Running) -> None:
    key, url = local_host.api_key, local_host.base_url
    assert trust.is_known(url, key, local_host.pid)
    assert not trust.is_known(url, key + "x", local_host.pid)
    assert not trust.is_known(url, key, local_host.pid + 1)
    health = url.removesuffix("v1") + "health"
    nonce = "a" * 32
    proofs = {
        "right": trust.proof(key, "client", nonce),
        "the host's own": trust.proof(key, "host", nonce),
        "of another nonce": trust.proof(key, "client", "b" * 32),
        "none": "",
    }
    for name, proof in proofs.items():
        answer = httpx.get(health, headers={trust.NONCE: nonce, trust.PROOF: proof})
        assert answer.status_code == (200 if name == "right" else 401), name
        assert key not in answer.text
    assert len({*proofs.values()}) == 4


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n[1]",
        b'HTTP/1.1 200 OK\r\n\r\n{"pid": 1, "proof": "\xc3\xa9"}',
        b'HTTP/1.1 200 OK\r\n\r\n{"pid": 1, "proof": ' + b"1" * 100_000,
    ],
)
def test_odd_answers_are_no_proof(answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def once() -> None:
            connection, _ = listening.accept()
            with connection, contextlib.suppress(OSError):
                connection.recv(4096)
                connection.sendall(answer)

        threading.Thread(target=once, daemon=True).start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
        assert not trust.is_known(url, KEY, 1)


def test_who_only_drips_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trust, "LOOK_TIMEOUT_S", 0.3)
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def drip() -> None:
            connection, _ = listening.accept()
            with connection, contextlib.suppress(OSError):
                while not over.wait(0.05):
                    connection.sendall(b"x")

        thread = threading.Thread(target=drip, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
        assert not trust.is_known(url, KEY, 1)
        over.set()
        thread.join(5)


# Floods.


def half(port: int, data: bytes = b"GET /health HTTP/1.1\r\nX-a: ") -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), 5)
    with contextlib.suppress(OSError):
        connection.sendall(data)
    return connection


def is_closed(connection: socket.socket, timeout_s: float = 10) -> bool:
    connection.settimeout(timeout_s)
    try:
        return connection.recv(1) == b""
    except ConnectionError:
        return True
    except TimeoutError:
        return False


@pytest.mark.skipif(not FILES.exists(), reason="counts open files in /proc")
def test_half_requests_keep_nobody_out(local_host: local.Running) -> None:
    port = port_of(local_host)
    files = Path(f"/proc/{local_host.pid}/fd")
    halves = [half(port) for _ in range(3 * server.WAITING_PER_PEER)]
    try:
        assert trust.is_known(local_host.base_url, local_host.api_key, local_host.pid)
        assert is_closed(halves[0])
        assert len([*files.iterdir()]) < server.WAITING_PER_PEER + 100
    finally:
        for each in halves:
            each.close()


class Own:
    """A server of the test's own, with the protocol and the guard of the local host."""

    def __init__(self, app: Any) -> None:
        self.app = app

    def __enter__(self) -> int:
        config = server.uvicorn.Config(
            server.Guard(self.app, KEY),
            http=server.BoundedProtocol,
            lifespan="off",
            log_level="critical",
            loop="asyncio",  # old versions set uvloop for the whole process
        )
        self.server = server.uvicorn.Server(config)
        listening = socket.create_server(("127.0.0.1", 0))
        run = lambda: self.server.run(sockets=[listening])  # noqa: E731
        self.thread = threading.Thread(target=run, daemon=True)
        self.thread.start()
        port: int = listening.getsockname()[1]
        return port

    def __exit__(self, *_: object) -> None:
        self.server.should_exit = True
        self.thread.join(10)


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    """Read all of a request, then say hello."""
    while (await receive()).get("more_body"):
        pass
    head = [(b"content-length", b"5")]
    await send({"type": "http.response.start", "status": 200, "headers": head})
    await send({"type": "http.response.body", "body": b"hello"})


ASKED = f"GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {KEY}\r\n\r\n".encode()


@pytest.mark.parametrize(
    "begin",
    [
        b"",
        b"GET / HTTP/1.1\r\n",
        b"GET / HTTP/1.1\r\nX: ",
        ASKED + b"GET / HTTP/1.1\r\nX: ",  # after an answer that it had
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc",  # without a key
    ],
)
def test_a_request_that_does_not_come_is_hung_up_on(
    begin: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    asks = begin.startswith(ASKED)
    monkeypatch.setattr(server, "HEADERS_S", 0.3 if asks else 0.02)
    with Own(hello) as port, half(port, begin) as connection:
        connection.settimeout(10)
        seen = b""
        with contextlib.suppress(ConnectionError):
            while data := connection.recv(4096):
                seen += data
        assert (b"hello" in seen) == asks


def test_a_slow_answer_is_no_silent_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "HEADERS_S", 0.05)
    monkeypatch.setattr(server, "WAITING_PER_PEER", 1)
    begun = threading.Event()

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        begun.set()
        await asyncio.sleep(0.3)
        await hello(scope, receive, send)

    with Own(slow) as port, half(port, ASKED) as connection:
        assert begun.wait(10)
        with half(port), half(port):
            connection.settimeout(10)
            assert b"200" in connection.recv(4096)


def test_one_more_than_may_wait_ends_the_oldest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server, "WAITING_PER_PEER", 3)
    with Own(hello) as port:
        halves = [half(port) for _ in range(4)]
        assert is_closed(halves[0])
        assert not is_closed(halves[3], 0.1)
        for each in halves:
            each.close()


@pytest.mark.parametrize(
    "size", ["Transfer-Encoding: chunked", "Content-Length: 999999999"]
)
def test_a_huge_request_is_refused(local_host: local.Running, size: str) -> None:
    lines = ["POST /v1/chat/completions HTTP/1.1", "Host: a", size]
    lines += [f"Authorization: Bearer {local_host.api_key}", "", ""]
    blank = b" " * (1 << 20)
    chunk = b"100000\r\n" + blank + b"\r\n" if "chunked" in size else blank
    answer = b""
    with half(port_of(local_host), "\r\n".join(lines).encode()) as connection:
        with contextlib.suppress(ConnectionError):
            for _ in range((server.LARGEST_BODY >> 20) + 1):
                connection.sendall(chunk)
        with contextlib.suppress(ConnectionError):
            while data := connection.recv(4096):
                answer += data
    assert b"413" in answer[:20] or not answer  # it hung up while we were sending
    assert trust.is_known(local_host.base_url, local_host.api_key, local_host.pid)


# Weights.

PARAMETERS = {"type": "object", "properties": {}}
NOW = {"type": "function", "function": {"name": "now", "parameters": PARAMETERS}}


def decided(running: local.Running, question: str) -> httpx.Response:
    """Ask Needle what takes it least time; what it was asked before it knows."""
    return httpx.post(
        f"{running.base_url}/chat/completions",
        headers={"Authorization": f"Bearer {running.api_key}"},
        json={
            "messages": user(question),
            "tools": [NOW],
            "tool_choice": "required",  # so its confidence need not be found
        },
        timeout=60,
    )


def spoil(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(9_000_000)
        file.write(os.urandom(2_000_000))


def test_weights_changed_under_a_host_are_not_used(
    runtime: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    whole = models.CALLS.path
    monkeypatch.setenv("KIMIKIT_LOCAL_MODEL", str(models.CHAT.path))
    monkeypatch.setenv("KIMIKIT_CACHE", str(cache))
    shutil.copy(whole, cache)
    running = local.ensure()
    assert decided(running, "Hi").status_code == 200
    spoil(models.CALLS.path)
    refused = decided(running, "Hello")
    assert refused.status_code == 500
    assert "sha256 differs" in refused.text
    # It ends, so that the next one fetches the file anew.
    process._children[running.pid].wait(20)
    assert not process.port_file().exists()
    shutil.copy(whole, cache)
    again = local.ensure()
    assert again.pid != running.pid
    assert decided(again, "Hi").status_code == 200


def test_damaged_chat_weights_are_not_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, local_host: local.Running
) -> None:
    monkeypatch.setenv("KIMIKIT_CACHE", str(tmp_path))
    models.CHAT.path.write_bytes(b"GGUF" + bytes(100))
    with pytest.raises(LocalHostError, match=r"smollm2.*sha256 differs"):
        server.serve(0, None)


# Keys of others.


def test_no_key_of_a_provider_is_in_the_environment_of_a_host(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is left of it; ``started`` looks at that of a real one."""
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("KIMIKIT_RUNTIME", "/run")
    monkeypatch.setenv("KIMIKIT_TOKENIZER", "/some/tiktoken.model")
    kept = trust.environment(EXTRA="1")
    assert not SECRETS.keys() & kept.keys()
    assert kept["EXTRA"] == "1"
    assert {"PATH", "KIMIKIT_TOKENIZER", "KIMIKIT_RUNTIME"} <= kept.keys()


def test_hanging_up_prints_nothing_and_an_end_leaves_no_address(runtime: Path) -> None:
    running = local.ensure()
    kimi = Kimi(
        "gw",
        base_url=running.base_url,
        api_key=running.api_key,
        model=running.model,
        show=False,
    )
    for n in (1, 2):
        with kimi.stream("Write a long story.", max_tokens=800, n=n) as stream:
            next(stream)
    log = runtime / "host.log"
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and not kimi.chat("Hi", max_tokens=1).text:
        pass
    end(running, signal.SIGTERM)
    assert log.read_text() == ""
    assert not process.port_file().exists()
