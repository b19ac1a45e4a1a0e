"""A real IPython kernel, with every byte that it sends to the browser counted."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import zmq
from jupyter_client.manager import KernelManager

PATIENCE_S = 120
"""How long an event may take; whoever waits goes on when it comes."""

REPO = Path(__file__).resolve().parents[2]
TRANSPORT = "tcp" if os.name == "nt" else "ipc"
"""Kernels listen on files. Another test may take a port that was found free before the
kernel listens on it, and then ipykernel hangs for ever. The name of such a file has room
for some 100 letters."""
SHOWN = ("stream", "display_data", "update_display_data", "clear_output", "comm_msg",
         "comm_open", "execute_result", "error")  # fmt: skip


@dataclass
class Ran:
    """What one cell sent."""

    messages: list[tuple[float, str, dict[str, Any], int]] = field(default_factory=list)
    seconds: float = 0.0
    result: Any = None
    payload: list[dict[str, Any]] = field(default_factory=list)

    def of(self, *kinds: str) -> list[dict[str, Any]]:
        return [content for _, kind, content, _ in self.messages if kind in kinds]

    @property
    def bytes(self) -> int:
        return sum(size for *_, size in self.messages)

    @property
    def most_in_a_second(self) -> int:
        """Most display messages in any second."""
        kinds = ("display_data", "update_display_data")
        times = [at for at, kind, *_ in self.messages if kind in kinds]
        return max(sum(t <= u < t + 1 for u in times) for t in times) if times else 0

    def outputs(self) -> list[dict[str, Any]]:
        """The cell's outputs as a front end would hold them in the end."""
        held: list[dict[str, Any]] = []
        clear = False
        for _, kind, content, _ in self.messages:
            if kind == "clear_output":
                clear = bool(content["wait"])
                held = held if clear else []
                continue
            key = content.get("transient", {}).get("display_id")
            if kind == "update_display_data":
                for output in held:
                    if output["key"] == key:
                        output["data"] = content["data"]
            elif kind in (*SHOWN[:1], "display_data", "execute_result", "error"):
                held = [] if clear else held
                clear = False
                text = content.get("text") or content.get("ename")
                held.append({"key": key, "data": content.get("data", {"text": text})})
        return [output["data"] for output in held]


class Kernel:
    """Runs cells in a kernel and keeps what they send."""

    def __init__(self, manager: KernelManager) -> None:
        self._manager = manager
        self.client = manager.client()
        self._context = zmq.Context()
        self._iopub = self._context.socket(zmq.SUB)
        self._iopub.setsockopt(zmq.RCVHWM, 0)
        self._iopub.setsockopt(zmq.SUBSCRIBE, b"")
        self._iopub.connect(self.client._make_url("iopub"))
        self.client.start_channels()
        self.client.wait_for_ready(timeout=PATIENCE_S)

    def close(self) -> None:
        self._iopub.close(0)
        self._context.term()
        self.client.stop_channels()

    def start(self, code: str, *, value: str = "None") -> str:
        """Send a cell; ``value`` is an expression to evaluate after it."""
        return str(self.client.execute(code, user_expressions={"value": value}))

    def interrupt(self) -> None:
        self._manager.interrupt_kernel()

    def wait(self, key: str, timeout_s: float = PATIENCE_S) -> Ran:
        """Collect what the cell sends until the kernel is idle again."""
        ran = Ran()
        began = time.perf_counter()
        for message in self._messages(key, timeout_s):
            ran.messages.append(message)
        ran.seconds = time.perf_counter() - began
        while True:
            reply = self.client.get_shell_msg(timeout=timeout_s)
            if reply["parent_header"].get("msg_id") == key:
                break
        ran.payload = reply["content"].get("payload", [])
        value = reply["content"].get("user_expressions", {}).get("value", {})
        ran.result = value.get("data", {}).get("text/plain")
        return ran

    def _messages(
        self, key: str, timeout_s: float
    ) -> Iterator[tuple[float, str, dict[str, Any], int]]:
        end = time.monotonic() + timeout_s
        while self._iopub.poll(max(0, int((end - time.monotonic()) * 1000))):
            frames = self._iopub.recv_multipart()
            at = frames.index(b"<IDS|MSG>")
            header, parent, _, content = map(json.loads, frames[at + 2 : at + 6])
            if parent.get("msg_id") != key:
                continue
            kind = header["msg_type"]
            if kind == "status" and content["execution_state"] == "idle":
                return
            if kind in SHOWN:
                yield time.monotonic(), kind, content, sum(map(len, frames))
        raise TimeoutError("the kernel did not become idle")

    def until(self, key: str, kind: str, timeout_s: float = PATIENCE_S) -> None:
        """Wait until the cell has sent a message of this kind."""
        for message in self._messages(key, timeout_s):
            if message[1] == kind:
                return
        raise AssertionError(f"the cell ended without {kind}")

    def run(
        self, code: str, *, value: str = "None", timeout_s: float = PATIENCE_S
    ) -> Ran:
        return self.wait(self.start(code, value=value), timeout_s)


@contextlib.contextmanager
def kernel_options() -> Iterator[dict[str, str]]:
    """Give what a kernel manager of the tests is made with."""
    with tempfile.TemporaryDirectory(prefix="kernel-") as folder:
        file = str(Path(folder) / "kernel.json")
        yield {"transport": TRANSPORT, "connection_file": file}


@contextlib.contextmanager
def running_kernel(python: str | None = None, **environment: str) -> Iterator[Kernel]:
    """Start a kernel, of another environment where ``python`` is given."""
    paths = [str(REPO), str(REPO / "tests")]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), **environment}
    with kernel_options() as options:
        manager = KernelManager(**options)
        if python is not None:
            manager.kernel_spec.argv[0] = python
        manager.start_kernel(env=env)
        kernel = Kernel(manager)
        try:
            yield kernel
        finally:
            kernel.close()
            manager.shutdown_kernel()
            manager.cleanup_resources()
