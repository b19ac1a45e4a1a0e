"""Measure a sweep beside its peers: wall time, CPU, summary and memory.

Run: ``python tests/bench/setup.py`` once, then ``python tests/bench/bench_sweep.py
[--reps 5] [--peers FOLDER] [--old FOLDER] [--realtime] [--wait 0.25]``; prints Markdown
tables. One server in a process of its own answers all; every contender runs in a
process of its own, in turn, and the median of its runs counts. Peers that are not
installed are left out.

Ours is what a user calls: ``kimi.sweep`` with its ledger and a budget. ``--old`` is the
checkout of another version, measured beside it. Where others use the machine,
``--realtime`` (Linux, as root) lets the measured processes go first; the processor is
then still slower than alone, so the time to answer may be stretched by ``--wait``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(Path(__file__).parent)]

from setup import FOLDER, interpreter, named  # noqa: E402

WAIT_S = 0.25
MESSAGES = [{"role": "user", "content": "Name a colour."}]
LOADS = {"1,000 calls @100": (1000, 100, False), "64 streams @32": (64, 32, True)}
WORDS = ["The", " cat", "s", " are", " on", " the", " mat", ".", "\n", " é", "lan"]


def chunk(**choice: Any) -> bytes:
    """Return one event as one HTTP chunk, as engines send them."""
    body = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    body["choices"] = [{"index": 0, "finish_reason": None, **choice}]
    event = b"data: " + json.dumps(body).encode() + b"\n\n"
    return b"%x\r\n%b\r\n" % (len(event), event)


STREAM = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
    b"transfer-encoding: chunked\r\n\r\n"
    + b"".join(chunk(delta={"content": WORDS[i % 11]}) for i in range(500))
    + chunk(delta={}, finish_reason="stop")
    + b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"
)
_WHOLE = json.dumps(
    {
        "id": "x",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "blue " * 20},
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 12, "completion_tokens": 20, "total_tokens": 32},
    }
).encode()
WHOLE = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
    b"content-length: %d\r\n\r\n%b" % (len(_WHOLE), _WHOLE)
)


class Server(asyncio.Protocol):
    """Answers every request after ``WAIT_S``, streamed if its body asks for that."""

    def __init__(self) -> None:
        self.data = b""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.data += data
        head, found, body = self.data.partition(b"\r\n\r\n")
        if not found:
            return
        size = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        if len(body) >= size:
            self.data = b""
            streamed = b'"stream":true' in body.replace(b" ", b"")
            loop = asyncio.get_running_loop()
            loop.call_later(WAIT_S, self.transport.write, STREAM if streamed else WHOLE)


async def serve(wait_s: float) -> None:
    global WAIT_S
    WAIT_S = wait_s
    server = await asyncio.get_running_loop().create_server(
        Server, "127.0.0.1", 0, backlog=1024
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


Ask = Callable[[], Awaitable[object]]


async def crowd(ask: Ask, calls: int, at_once: int) -> None:
    """Ask as everybody does: a semaphore and ``gather``."""
    gate = asyncio.Semaphore(at_once)

    async def one() -> None:
        async with gate:
            await ask()

    await asyncio.gather(*(one() for _ in range(calls)))


async def raw(url: str, calls: int, at_once: int, *, stream: bool) -> None:
    """Use bare sockets: the floor."""
    pool: list[Any] = []
    port = int(url.rsplit(":", 1)[1].split("/")[0])
    body = json.dumps({"model": "m", "messages": MESSAGES, "stream": stream}).encode()
    request = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body)

    async def ask() -> None:
        pair = pool.pop() if pool else await asyncio.open_connection("127.0.0.1", port)
        reader, writer = pair
        writer.write(request + body)
        if stream:
            while not (await reader.read(65536)).endswith(b"0\r\n\r\n"):
                pass
        else:
            await reader.readexactly(len(WHOLE))
        pool.append(pair)

    await crowd(ask, calls, at_once)


async def openai(url: str, calls: int, at_once: int, *, stream: bool) -> None:
    """Use the OpenAI SDK's async client."""
    from openai import AsyncOpenAI

    client = AsyncOpenAI(base_url=url, api_key="x")

    async def ask() -> None:
        answer: Any = await client.chat.completions.create(
            model="m", messages=MESSAGES, stream=stream
        )
        if stream:
            async for _ in answer:
                pass

    await crowd(ask, calls, at_once)


async def litellm(url: str, calls: int, at_once: int, *, stream: bool) -> None:
    """Use litellm."""
    from litellm import acompletion

    async def ask() -> None:
        answer = await acompletion(
            "openai/m", MESSAGES, stream=stream, api_base=url, api_key="x"
        )
        if stream:
            async for _ in answer:
                pass

    await crowd(ask, calls, at_once)


def curator(url: str, calls: int, at_once: int, *, stream: bool) -> None:
    """Use curator by litellm: by its OpenAI backend it loads a vocabulary first."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"OPENAI_API_KEY": "x", "CURATOR_CACHE_DIR": folder}
        os.environ |= {"TELEMETRY_ENABLED": "0", "CURATOR_DISABLE_RICH_DISPLAY": "1"}
        from bespokelabs import curator

        limits = {"max_requests_per_minute": 10**7, "max_tokens_per_minute": 10**10}
        limits |= {"max_concurrent_requests": at_once, "base_url": url}
        prices = {"in_mtok_cost": 1, "out_mtok_cost": 3}
        asks = curator.LLM(
            "openai/m", backend="litellm", backend_params=limits | prices
        )
        found = asks([f"Name a colour. {n}" for n in range(calls)])
        assert len(found.dataset) == calls


def kimikit(url: str, calls: int, at_once: int, *, stream: bool) -> None:
    """Run a sweep as a user does: with the ledger and a budget."""
    from kimikit import Kimi

    with tempfile.TemporaryDirectory() as folder:
        ledger = Path(folder) / "ledger.sqlite3"
        kimi = Kimi(base_url=url, api_key="x", model="m", ledger=ledger, show=False)
        with kimi.budget(usd=1000, allow_unpriced=True):
            found = kimi.sweep(
                "Name a colour.",
                repeats=calls,
                concurrency=at_once,
                stream=stream,
                max_tokens=600,
                progress=False,
            )
        assert len(found.replies) == kimi.ledger.total().calls == calls
        kimi.ledger.close()


OLD = "kimikit, old"
CURATOR = "bespokelabs-curator"
CONTENDERS: dict[str, tuple[str, Any]] = {
    "raw asyncio": ("", raw),
    "kimikit": ("", kimikit),
    OLD: ("", kimikit),
    "OpenAI SDK, async": ("sdk", openai),
    "litellm, async": ("litellm", litellm),
    CURATOR: ("curator", curator),
}
"""Each with the environment of ``setup`` that it runs in, ours unless named."""


def one(name: str, load: str, url: str) -> None:
    """Run one contender once and print its figures as JSON."""
    calls, at_once, stream = LOADS[load]
    run = CONTENDERS[name][1]
    for count, measured in ((2, False), (calls, True)):  # the first warms imports up
        wall, cpu = time.perf_counter(), time.process_time()
        made = run(url, count, at_once, stream=stream)
        if asyncio.iscoroutine(made):
            asyncio.run(made)
        if measured:
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            print(json.dumps({"wall": wall, "cpu": cpu}))


def summary() -> None:
    """Print seconds of a summary and verdict of 5,000 answers of about 90 words."""
    from kimikit.sweeps import Sweep, Trial
    from kimikit.types import Reply, Usage

    rng = random.Random(1)
    words = [
        "".join(rng.choices("abcdefghijklmno", k=rng.randint(2, 9)))
        for _ in range(2500)
    ]
    for points, n in ((5, 1000), (125, 40)):
        trials = []
        for point in range(points):
            for repeat in range(n):
                text = " ".join(rng.choices(words[: 20 + 2400 * point // points], k=90))
                reply = Reply(text=text, usage=Usage(10, 120), duration_s=1.0)
                params = {"temperature": point / points}
                trials.append(Trial(params=params, repeat=repeat, reply=reply))
        axis = tuple(point / points for point in range(points))
        sweep = Sweep(trials=tuple(trials), axes={"temperature": axis}, repeats=n)
        start = time.perf_counter()
        rows = sweep.summary()
        done = time.perf_counter() - start
        assert len(rows) == points
        assert sweep.verdict.changed
        verdict = time.perf_counter() - start - done
        print(f"| {points} x {n} | {done:.2f} | {verdict:.2f} |")


def memory() -> None:
    """Print the peak memory of a sweep of 10,000 cells with heavy raw answers."""
    from support.sweeps import FakeClient, reply

    from kimikit.sweeps import sweep

    def answer(prompt: Any, **params: Any) -> Any:
        return reply("blue " * 100, raw={"choices": ["x" * 20_000 + str(params)]})

    temperatures = [t / 10 for t in range(20)]
    found = sweep(lambda _: FakeClient(answer), "q", repeats=500, concurrency=16,
                  temperature=temperatures, progress=False)  # fmt: skip
    assert len(found.replies) == 10_000
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)


def cells(count: int) -> None:
    """Print microseconds of CPU and bytes per cell, at a client that answers at once."""
    from kimikit.sweeps import sweep
    from kimikit.types import Reply, Usage

    reply = Reply(text="blue", host="fake", model="m", usage=Usage(10, 5))

    class AtOnce:
        host = None

        async def chat(self, messages: Any, **params: Any) -> Any:
            return reply

        async def close(self) -> None:
            pass

    client, before = AtOnce(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    found = sweep(lambda _: client, "q", repeats=count // 100, concurrency=16,
                  top_k=list(range(100)), progress=False)  # fmt: skip
    spent = (time.process_time() - start) / count
    assert len(found.replies) == count
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(f"{spent * 1e6:.0f} | {grown * 1024 / count:,.0f}")


def child(*words: str, python: str = sys.executable, root: Path | None = None) -> str:
    """Run this file with ``words`` and return what it prints."""
    env = dict(os.environ, LITELLM_LOCAL_MODEL_COST_MAP="True")
    command = [*FIRST, python, __file__, *words]
    command += ["--root", str(root)] if root else []
    done = subprocess.run(
        command, stdout=subprocess.PIPE, text=True, check=True, env=env
    )
    return done.stdout.strip()


FIRST: list[str] = []
"""What every measured process is started with, to go before all others."""


def compare(given: argparse.Namespace) -> None:
    """Print the table of contenders."""
    reps, peers, wait = given.reps, given.peers, str(given.wait)
    server = subprocess.Popen(
        [*FIRST, sys.executable, __file__, "serve", "--wait", wait],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdout is not None
    url = f"http://127.0.0.1:{int(server.stdout.readline())}/v1"
    found = {n: interpreter(where, peers) for n, (where, _) in CONTENDERS.items()}
    present = [n for n, run in found.items() if run and (n != OLD or given.old)]
    print(
        "| load | contender | wall s | x floor | CPU ms per call |\n|---|---|--:|--:|--:|"
    )
    try:
        for load, (calls, at_once, stream) in LOADS.items():
            asked = [n for n in present if n != CURATOR or not stream]  # it has none
            runs: dict[str, list[dict[str, float]]] = {name: [] for name in asked}
            for _ in range(reps):
                for name in asked:
                    root = given.old if name == OLD else None
                    words = "one", name, load, url
                    printed = child(*words, python=found[name], root=root)
                    runs[name].append(json.loads(printed.splitlines()[-1]))
            wall = {n: statistics.median(r["wall"] for r in runs[n]) for n in asked}
            floor = wall["raw asyncio"] if stream else calls / at_once * given.wait
            for name in asked:
                cpu = statistics.median(r["cpu"] for r in runs[name]) / calls * 1000
                figures = f"{wall[name]:.2f} | {wall[name] / floor:.2f} | {cpu:.2f}"
                title = named(name, CONTENDERS[name][0], peers)
                print(f"| {load} | {title} | {figures} |")
    finally:
        server.terminate()
        server.wait(5)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", nargs="*")
    parser.add_argument("--reps", type=int, default=5)
    parser.add_argument("--peers", type=Path, default=FOLDER)
    parser.add_argument("--old", type=Path)
    parser.add_argument("--root", type=Path)
    parser.add_argument("--realtime", action="store_true")
    parser.add_argument("--wait", type=float, default=WAIT_S)
    given = parser.parse_args()
    if given.root:
        sys.path.insert(0, str(given.root))
    if given.realtime:
        FIRST[:] = ["chrt", "-f", "1"]
    if given.what == ["serve"]:
        asyncio.run(serve(given.wait))
    elif given.what[:1] == ["one"]:
        one(*given.what[1:])
    elif given.what[:1] == ["cells"]:
        cells(int(given.what[1]))
    elif given.what == ["summary"]:
        summary()
    elif given.what == ["memory"]:
        memory()
    else:
        compare(given)
        print("\n| cells | version | CPU us per cell | bytes per cell |")
        print("|--:|---|--:|--:|")
        roots = {"kimikit": None, **({OLD: given.old} if given.old else {})}
        for count in (1_000, 10_000, 200_000):
            for name, root in roots.items():
                row = child("cells", str(count), root=root)
                print(f"| {count:,} | {name} | {row} |")
        print("\n| points x answers | summary s | verdict s |\n|---|--:|--:|")
        print(child("summary"))
        print(f"\nPeak memory of 10,000 cells: {child('memory')} MB")


if __name__ == "__main__":
    main()
