"""Measure what a streamed answer costs the browser and the kernel, beside its peers.

Run: ``python tests/bench/setup.py`` once, then ``python tests/bench/bench_display.py
[--rounds 5] [--peers FOLDER] [--only ours,print]``; prints Markdown tables. A server in
a process of its own sends the same Markdown to all, one token an event; each contender
runs in a fresh real kernel, in turn, and the median of its rounds counts. Bytes are all
frames of what the kernel publishes for the cell; CPU is user and system time of the
whole kernel while the cell runs. Peers that are not installed are left out.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(Path(__file__).parent)]

from setup import FOLDER, interpreter, named  # noqa: E402
from support.kernel import Ran, running_kernel  # noqa: E402
from support.streamed import pieces, text_of  # noqa: E402

OURS = """
from kimikit.display.cell import arm
from kimikit.notebook.stream_view import answer_view
from kimikit.wire import Client
arm()
client = Client("local", base_url={url!r}, model="m", api_key="k")
def none(model):
    return len(client.chat("hi", model=model).text)
def ours(model):
    with answer_view() as view:
        reply = client.chat("hi", model=model, watch=view)
        view.finish(reply)
    return len(reply.text)
def printed(model):
    with client.stream("hi", model=model) as stream:
        for piece in stream.text():
            print(piece, end="", flush=True)
    return len(stream.reply.text)
def naive(model):
    from IPython.display import Markdown, display
    handle, text = display(Markdown(""), display_id=True), ""
    with client.stream("hi", model=model) as stream:
        for piece in stream.text():
            text += piece
            handle.update(Markdown(text))
    return len(text)
"""
LISETTE = """
import os, warnings
warnings.simplefilter("ignore")
from lisette.core import Chat, display_stream
def lisette(model):
    chat = Chat("openai/" + model, api_base={url!r}, api_key="k")
    return len(display_stream(chat("hi", stream=True)).outp)
"""
CHATLAB = """
from chatlab import Chat
async def chatlab(model):
    chat = Chat(base_url={url!r}, api_key="k", model=model)
    await chat("hi")
    return len(chat.messages[-1]["content"])
"""
CONTENDERS = {
    "no display": ("none", OURS, ""),
    "ours": ("ours", OURS, ""),
    "print(flush=True)": ("printed", OURS, ""),
    "Markdown at every token": ("naive", OURS, ""),
    "lisette": ("lisette", LISETTE, "lisette"),
    "chatlab": ("chatlab", CHATLAB, "chatlab"),
}
LOADS = {
    "20,000 tokens, unpaced": ("20000-0", ("no display", "ours", "print(flush=True)")),
    "2,000 tokens at 100/s": ("2000-100", tuple(CONTENDERS)),
    "one fence of 2,000 tokens at 100/s": ("2000-100-fence", ("ours",)),
    "20,000 tokens at 100/s": ("20000-100", ("ours",)),
}
AIMS = """
The aims: at most 300 KB and 0.6 s of the kernel's CPU for 2,000 tokens at 100 per second, at
most 12 times those bytes for 20,000, at most 12 displays per second, and an unpaced answer
on screen within a second of its last byte."""
ENVIRONMENT = {"OPENAI_API_KEY": "k", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Stream the load that the model's name asks for: tokens-rate[-fence]."""
    top = await reader.readuntil(b"\r\n\r\n")
    length = next(
        (int(x.split(b":")[1]) for x in top.split(b"\r\n") if b"ength:" in x), 0
    )
    body = json.loads(await reader.readexactly(length) or "{}")
    tokens, rate, *kind = str(body.get("model", "20-0")).split("-")
    text = (
        "```python\n" + "x = 12345  # a line\n" * 2000 if kind else text_of(int(tokens))
    )
    writer.write(
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
        b"connection: close\r\n\r\n"
    )
    began = asyncio.get_running_loop().time()
    for i, piece in enumerate(pieces(text)[: int(tokens)]):
        choice = {"index": 0, "delta": {"role": "assistant", "content": piece}}
        await _send(writer, choice)
        if rate != "0":
            due = began + i / int(rate) - asyncio.get_running_loop().time()
            await asyncio.sleep(max(0.0, due))
    usage = {"prompt_tokens": 9, "completion_tokens": int(tokens)}
    usage["total_tokens"] = sum(usage.values())
    end = {"index": 0, "delta": {}, "finish_reason": "stop"}
    await _send(writer, end, usage=usage)
    writer.write(b"data: [DONE]\n\n")
    await writer.drain()
    writer.close()


async def _send(writer: asyncio.StreamWriter, choice: Any, **more: Any) -> None:
    base = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    event = json.dumps({**base, "choices": [choice], **more})
    writer.write(f"data: {event}\n\n".encode())
    await writer.drain()


async def serve() -> None:
    """Serve on a free port and say which."""
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def measure(contender: str, load: str, url: str, peers: Path) -> tuple[Ran, float, int]:
    """Run one contender in a fresh kernel; return what it sent, its CPU, its length."""
    name, setup, peer = CONTENDERS[contender]
    wait = "await " if name == "chatlab" else ""
    with running_kernel(interpreter(peer, peers), **ENVIRONMENT) as kernel:
        failed = kernel.run(setup.format(url=url)).of("error")
        failed += kernel.run(f"_ = {wait}{name}('20-0')").of("error")
        if failed:
            raise RuntimeError(f"{contender}: {failed[0]['evalue']}")
        kernel.run("import gc, time; gc.collect(); _cpu = time.process_time()")
        ran = kernel.run(f"_got = {wait}{name}({load!r})", timeout_s=400)
        got = kernel.run("1", value="(time.process_time() - _cpu, _got)").result
    cpu_s, length = eval(got)
    return ran, cpu_s, length


def table(
    load: str, names: tuple[str, ...], rounds: int, url: str, peers: Path
) -> None:
    """Measure all contenders in turn and print their medians."""
    results: dict[str, list[tuple[Ran, float, int]]] = {name: [] for name in names}
    for _ in range(rounds):
        for name in list(results):
            try:
                results[name].append(measure(name, load, url, peers))
            except RuntimeError as error:
                print(f"left out: {error}", file=sys.stderr)
                del results[name]
    heads = (
        "| | messages | most displays in 1 s | KB | x text | kernel CPU s | wall s |"
    )
    print(heads, "|---|--:|--:|--:|--:|--:|--:|", sep="\n")
    for name, runs in results.items():
        middle = statistics.median
        size = middle(ran.bytes for ran, *_ in runs)
        title = named(name, CONTENDERS[name][2], peers)
        print(
            f"| {title} | {middle(len(ran.messages) for ran, *_ in runs):,.0f} "
            f"| {middle(ran.most_in_a_second for ran, *_ in runs):.0f} "
            f"| {size / 1000:,.0f} | {size / runs[0][2]:,.1f} "
            f"| {middle(cpu for _, cpu, _ in runs):.2f} "
            f"| {middle(ran.seconds for ran, *_ in runs):.2f} |",
            flush=True,
        )


def main() -> None:
    """Print one table a load."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--peers", type=Path, default=FOLDER)
    options.add_argument("--only", type=lambda text: text.split(","))
    options.add_argument("--loads", type=lambda text: text.split(","))
    given = options.parse_args()
    server = subprocess.Popen(
        [sys.executable, __file__, "--serve"], stdout=subprocess.PIPE, text=True
    )
    assert server.stdout is not None
    url = f"http://127.0.0.1:{server.stdout.readline().strip()}/v1"
    try:
        for title, (load, names) in LOADS.items():
            if given.loads and load not in given.loads:
                continue
            there = [
                name
                for name in names
                if name in (given.only or names)
                and interpreter(CONTENDERS[name][2], given.peers)
            ]
            print(f"\n{title}, median of {given.rounds}\n")
            table(load, there, given.rounds, url, given.peers)
        print(AIMS)
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    if "--serve" in sys.argv:
        asyncio.run(serve())
    else:
        main()
