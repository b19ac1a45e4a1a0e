"""Measure the wire beside its peers: CPU a chunk, first token, import, memory.

Run: ``python tests/bench/setup.py`` once, then ``python tests/bench/bench_wire.py
[--rounds 5] [--peers FOLDER] [--only ours,httpx]``; prints Markdown tables. One server
in a process of its own sends the same prepared bytes to all; every contender runs in a
fresh process, in turn, and the median of its rounds counts. CPU is user and system time
of the contender's process. Peers that are not installed are left out.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import gc
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

from setup import FOLDER, interpreter, named  # noqa: E402

KEY = "sk-local"
MESSAGES = [{"role": "user", "content": "hi"}]
SIZES = (10_000, 100_000)
SHORT = 20
WORDS = ["The", " cat", "s", " are", " on", " the", "\n\n", "- **", "mat", "**", " é"]

Run = Callable[[int, Callable[[], None]], int]
"""From a number of chunks and a call at the first of them to the characters seen."""


# The server.


def event(index: int, count: int) -> bytes:
    """Return one event as one HTTP chunk, as engines send them."""
    base = {
        "id": "chatcmpl-CaXk2f7N1yLq9ZpR4tUvWxYz0aBcD",
        "object": "chat.completion.chunk",
        "created": 1763913600,
        "model": "bench",
        "service_tier": "default",
        "system_fingerprint": "fp_44709d6fcb",
        "usage": None,
    }
    choice: dict[str, Any] = {"index": 0, "logprobs": None, "finish_reason": None}
    if index < 0:
        choice["delta"] = {"role": "assistant", "content": "", "refusal": None}
    elif index < count:
        choice["delta"] = {"content": WORDS[index * 7 % len(WORDS)]}
    else:
        choice |= {"delta": {}, "finish_reason": "stop"}
    base["choices"] = [choice]
    if index > count:
        used = {"prompt_tokens": 12, "completion_tokens": count}
        base |= {"choices": [], "usage": {**used, "total_tokens": count + 12}}
    text = json.dumps(base, ensure_ascii=False, separators=(",", ":"))
    data = b"data: " + text.encode() + b"\n\n"
    return b"%x\r\n%b\r\n" % (len(data), data)


@functools.cache
def answer(count: int) -> bytes:
    """Return a whole streamed answer of ``count`` pieces of text."""
    head = (
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
        b"transfer-encoding: chunked\r\n\r\n"
    )
    events = b"".join(event(i, count) for i in range(-1, count + 2))
    return head + events + b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"


class Server(asyncio.Protocol):
    """Answers by the number in the model's name, from bytes made beforehand."""

    def connection_made(self, transport: Any) -> None:
        self.transport, self.data = transport, b""
        self.free = asyncio.Event()
        self.free.set()
        one = transport.get_extra_info("socket")
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def pause_writing(self) -> None:
        self.free.clear()

    def resume_writing(self) -> None:
        self.free.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.free.set()

    def data_received(self, data: bytes) -> None:
        self.data += data
        head, found, body = self.data.partition(b"\r\n\r\n")
        lines = head.lower().split(b"\r\n")
        sizes = [int(x[15:]) for x in lines if x.startswith(b"content-length:")]
        if found and len(body) >= sum(sizes):
            self.data = b""
            count = int(json.loads(body)["model"].rpartition("-")[2])
            self.task = asyncio.ensure_future(self.send(count))

    async def send(self, count: int) -> None:
        data = memoryview(answer(count))
        for start in range(0, len(data), 65536):
            await self.free.wait()
            self.transport.write(data[start : start + 65536])


async def serve() -> None:
    """Serve until the process is ended; print the port first."""
    for count in (SHORT, 200, *SIZES):
        answer(count)
    made = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", 0)
    print(made.sockets[0].getsockname()[1], flush=True)
    await made.serve_forever()


# The contenders.


def counted(texts: Iterable[str | None], first: Callable[[], None]) -> int:
    """Return the characters of ``texts``; the same little work for each contender."""
    total = 0
    for text in texts:
        if text:
            if not total:
                first()
            total += len(text)
    return total


def body(count: int) -> bytes:
    """Return the request, as all contenders send it."""
    options = {"stream": True, "stream_options": {"include_usage": True}}
    asked = {"model": f"bench-{count}", "messages": MESSAGES, **options}
    return json.dumps(asked).encode()


def raw_socket(port: int) -> Run:
    one = socket.create_connection(("127.0.0.1", port))
    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def run(count: int, first: Callable[[], None]) -> int:
        data = body(count)
        head = f"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: {len(data)}\r\n\r\n"
        one.sendall(head.encode() + data)
        total, tail = 0, b""
        while not tail.endswith(b"\n0\r\n\r\n"):
            data = one.recv(65536)
            if not total:
                first()
            total += len(data)
            tail = (tail + data)[-8:]
        return total

    return run


def httpx_bytes(port: int) -> Run:
    import httpx

    client = httpx.Client(timeout=600)
    headers = {"content-type": "application/json"}

    def run(count: int, first: Callable[[], None]) -> int:
        url, total = f"http://127.0.0.1:{port}/v1/chat/completions", 0
        with client.stream("POST", url, content=body(count), headers=headers) as got:
            for data in got.iter_bytes():
                if not total:
                    first()
                total += len(data)
        return total

    return run


def httpx_bytes_async(port: int) -> Run:
    import httpx

    loop = asyncio.new_event_loop()
    client = httpx.AsyncClient(timeout=600)
    headers = {"content-type": "application/json"}

    async def go(count: int, first: Callable[[], None]) -> int:
        url, total = f"http://127.0.0.1:{port}/v1/chat/completions", 0
        made = client.stream("POST", url, content=body(count), headers=headers)
        async with made as got:
            async for data in got.aiter_bytes():
                if not total:
                    first()
                total += len(data)
        return total

    return lambda count, first: loop.run_until_complete(go(count, first))


def ours(port: int) -> Run:
    from kimikit import Client

    client = Client(base_url=f"http://127.0.0.1:{port}/v1", model="m", api_key=KEY)

    def run(count: int, first: Callable[[], None]) -> int:
        with client.stream(MESSAGES, model=f"bench-{count}") as stream:
            return counted((delta.text for delta in stream), first)

    return run


def ours_async(port: int) -> Run:
    from kimikit import AsyncClient

    loop = asyncio.new_event_loop()
    client = AsyncClient(base_url=f"http://127.0.0.1:{port}/v1", model="m", api_key=KEY)

    async def go(count: int, first: Callable[[], None]) -> int:
        total = 0
        async with client.stream(MESSAGES, model=f"bench-{count}") as stream:
            async for delta in stream:
                if delta.text:
                    if not total:
                        first()
                    total += len(delta.text)
        return total

    return lambda count, first: loop.run_until_complete(go(count, first))


def _chunks(made: Any, first: Callable[[], None]) -> int:
    texts = (c.choices[0].delta.content for c in made if c.choices)
    return counted(texts, first)


OPTIONS: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}}


def openai(port: int) -> Run:
    import openai

    client = openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key=KEY)
    create = client.chat.completions.create
    return lambda count, first: _chunks(
        create(model=f"bench-{count}", messages=MESSAGES, **OPTIONS), first
    )


def together(port: int) -> Run:
    import together

    client = together.Together(base_url=f"http://127.0.0.1:{port}/v1", api_key=KEY)
    create = client.chat.completions.create
    return lambda count, first: _chunks(
        create(model=f"bench-{count}", messages=MESSAGES, stream=True), first
    )


def litellm(port: int) -> Run:
    import litellm

    base = f"http://127.0.0.1:{port}/v1"

    async def go(count: int, first: Callable[[], None]) -> int:
        total = 0
        made = await litellm.acompletion(
            f"openai/bench-{count}", MESSAGES, api_base=base, api_key=KEY, **OPTIONS
        )
        async for chunk in made:
            text = chunk.choices and chunk.choices[0].delta.content
            if text:
                if not total:
                    first()
                total += len(text)
        return total

    loop = asyncio.new_event_loop()
    return lambda count, first: loop.run_until_complete(go(count, first))


CONTENDERS: dict[str, tuple[str, Callable[[int], Run], str]] = {
    "raw socket, no parsing": ("", raw_socket, "import socket"),
    "httpx, no parsing": ("", httpx_bytes, "import httpx"),
    "httpx async, no parsing": ("", httpx_bytes_async, "import httpx"),
    "kimikit": ("", ours, "from kimikit import Kimi"),
    "kimikit, async": ("", ours_async, "from kimikit import Kimi"),
    "OpenAI SDK": ("sdk", openai, "import openai"),
    "Together SDK": ("sdk", together, "import together"),
    "litellm, async": ("litellm", litellm, "import litellm"),
}
FLOOR, ASYNC_FLOOR, PEER = "httpx, no parsing", "httpx async, no parsing", "OpenAI SDK"


# One process each.


def peak_mib() -> float:
    """Return the most memory this process has held (Linux)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(x for x in lines if x.startswith("VmHWM")).split()[1]) / 1024


def one(name: str, port: int, sizes: list[int]) -> dict[str, Any]:
    """Measure one contender in this process."""
    run = CONTENDERS[name][1](port)
    for _ in range(5):
        run(200, lambda: None)
    waits, works = [], []
    seen: list[tuple[float, float]] = []
    for _ in range(60):
        start, cpu = time.perf_counter(), time.process_time()
        run(SHORT, lambda: seen.append((time.perf_counter(), time.process_time())))
        waits.append(seen[-1][0] - start)
        works.append(seen[-1][1] - cpu)
    found = {
        "first_ms": statistics.median(waits) * 1e3,
        "first_cpu_ms": statistics.median(works) * 1e3,
    }
    gc.collect()
    before = peak_mib()
    for size in sizes:
        cpu = time.process_time()
        run(size, lambda: None)
        found[f"cpu_us_{size}"] = (time.process_time() - cpu) / size * 1e6
        found[f"grown_mib_{size}"] = peak_mib() - before
    return found


def import_ms(interpreter: str, code: str, env: dict[str, str]) -> float:
    """Return the wall time of a process that runs ``code``."""
    start = time.perf_counter()
    subprocess.run([interpreter, "-c", code], check=True, env=env)
    return (time.perf_counter() - start) * 1e3


# The table.


def measure(rounds: int, names: list[str], peers: Path, sizes: list[int]) -> Any:
    """Return the medians by contender; rounds go round-robin over the contenders."""
    env = dict(os.environ, PYTHONPATH=str(ROOT), LITELLM_LOCAL_MODEL_COST_MAP="True")
    # An installed package has its bytecode; this tree gets its own in the first round.
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    command = [sys.executable, __file__, "serve"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env)
    assert server.stdout is not None
    port = server.stdout.readline().strip()
    found: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    try:
        for turn in range(rounds + 1):
            for name in names:
                run = interpreter(CONTENDERS[name][0], peers)
                few = sizes[:1] if CONTENDERS[name][0] and turn > 2 else sizes
                args = [run, __file__, "one", name, port, *map(str, few)]
                done = subprocess.run(args, env=env, capture_output=True, text=True)
                if done.returncode:
                    print(name, done.stderr[-500:], file=sys.stderr)
                    continue
                figures = json.loads(done.stdout.splitlines()[-1])
                bare = import_ms(run, "pass", env)
                figures["import_ms"] = import_ms(run, CONTENDERS[name][2], env) - bare
                if turn:  # the first round only fills the caches of the disk
                    found[name].append(figures)
    finally:
        server.terminate()
        server.wait()
    return {name: medians(rows) for name, rows in found.items() if rows}


def medians(rows: list[dict[str, float]]) -> dict[str, float]:
    """Return the median of each figure over the rounds that have it."""
    keys = {key: None for row in rows for key in row}
    return {k: statistics.median([r[k] for r in rows if k in r]) for k in keys}


def table(
    found: dict[str, dict[str, float]], sizes: list[int], rounds: int, peers: Path
) -> str:
    """Return the figures as Markdown, with ratios to the floor and to the peer."""
    small, large = sizes[0], sizes[-1]
    lines = [
        f"Medians of {rounds} rounds; {os.cpu_count()} cores, Python "
        f"{sys.version.split()[0]}, loopback, one HTTP chunk an event. Async ones are "
        "held against httpx async.",
        "",
        f"| | CPU us a chunk, {small:,} | {large:,} | x httpx | OpenAI / it "
        f"| first token ms | CPU ms | import ms | x httpx | MiB grown, {large:,} |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    peer = found.get(PEER, {})

    def cell(value: float | None, form: str) -> str:
        return "-" if value is None else format(value, form)

    def ratio(a: dict[str, float], b: dict[str, float], key: str) -> float | None:
        return a[key] / b[key] if key in a and b.get(key) else None

    for name, row in found.items():
        key = f"cpu_us_{small}"
        floor = found.get(ASYNC_FLOOR if "async" in name else FLOOR, {})
        cells = [
            cell(row.get(key), ".2f"),
            cell(row.get(f"cpu_us_{large}"), ".2f"),
            cell(ratio(row, floor, key), ".2f"),
            cell(ratio(peer, row, key), ".1f"),
            cell(row.get("first_ms"), ".2f"),
            cell(row.get("first_cpu_ms"), ".2f"),
            cell(row.get("import_ms"), ".0f"),
            cell(ratio(row, floor, "import_ms"), ".2f"),
            cell(row.get(f"grown_mib_{large}"), ".1f"),
        ]
        title = named(name, CONTENDERS[name][0], peers)
        lines.append(f"| {title} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Read the command line; measure, and print."""
    if sys.argv[1:2] == ["serve"]:
        return asyncio.run(serve())
    if sys.argv[1:2] == ["one"]:
        sizes = [int(size) for size in sys.argv[4:]]
        return print(json.dumps(one(sys.argv[2], int(sys.argv[3]), sizes)))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peers", type=Path, default=FOLDER)
    parser.add_argument("--only", default="", help="parts of names, comma-separated")
    parser.add_argument("--small", action="store_true", help="10,000 chunks alone")
    args = parser.parse_args()
    wanted = args.only.split(",")
    names = [
        name
        for name in CONTENDERS
        if any(part in name for part in wanted)
        and interpreter(CONTENDERS[name][0], args.peers)
    ]
    sizes = list(SIZES[:1] if args.small else SIZES)
    found = measure(args.rounds, names, args.peers, sizes)
    return print(table(found, sizes, args.rounds, args.peers))


if __name__ == "__main__":
    main()
