"""A host over HTTP that does all a Kimi host should, or lies in one way.

Its model is a small machine: it makes villages up, counts, tells a story, calls tools, and
finds numbers in long prompts, by the parameters of each request.
"""

from __future__ import annotations

import itertools
import json
import random
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

MODEL = "moonshotai/Kimi-K2-Thinking"

WORDS = [
    "amber",
    "birch",
    "cedar",
    "delta",
    "ember",
    "fjord",
    "grove",
    "haven",
    "inlet",
    "jetty",
    "knoll",
    "lagoon",
    "mill",
    "north",
    "orchard",
    "pond",
    "quarry",
    "ridge",
    "spring",
    "tower",
    "upland",
    "valley",
    "willow",
]


class Simulated:
    """Serves on 127.0.0.1; ``lie`` names what it does otherwise.

    Attributes:
        bodies: What was asked.
    """

    def __init__(self, lie: str = "", seed: int = 0, model: str = MODEL) -> None:
        self.lie, self.model = lie, model
        self.rng = random.Random(seed)
        self.bodies: list[dict[str, Any]] = []
        host = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # its chunks would wait for each other

            def do_POST(self) -> None:
                size = int(self.headers["content-length"])
                status, answer = host.answer(json.loads(self.rfile.read(size)))
                if status != 200 or not host.bodies[-1].get("stream"):
                    self._head(status, "application/json")
                    self._send(json.dumps(answer).encode())
                    self._send(b"")
                    return
                self._head(200, "text/event-stream")
                events = host.events(answer)
                if host.lie == "at once":  # however busy the machine is
                    pieces = [f"data: {json.dumps(each)}\n\n" for _, each in events]
                    events = []
                    self._send("".join(pieces).encode())
                for pause, each in events:
                    time.sleep(pause)
                    self._send(f"data: {json.dumps(each)}\n\n".encode())
                self._send(b"data: [DONE]\n\n")
                self._send(b"")

            def _head(self, status: int, kind: str) -> None:
                self.send_response(status)
                self.send_header("content-type", kind)
                self.send_header("transfer-encoding", "chunked")
                self.end_headers()

            def _send(self, data: bytes) -> None:
                self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
                self.wfile.flush()

            def log_message(self, *_: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: Any) -> None:
                pass

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Return the status and the completion of a request."""
        self.bodies.append(body)
        if refused := self._refused(body):
            message = f"{refused} is not supported"
            return 400, {"error": {"message": message, "type": "invalid_request_error"}}
        n = body.get("n") or 1
        n = {"n": 1, "n clamped": min(n, 2)}.get(self.lie, n)
        choices = [self._choice(body, index) for index in range(n)]
        made = sum(choice.pop("made") for choice in choices)
        used = {"prompt_tokens": self.count(body), "completion_tokens": made}
        answer = {
            "id": "x",
            "object": "chat.completion",
            "model": "moonshotai/Kimi-K2.5" if self.lie == "model" else body["model"],
            "choices": choices,
            "usage": {**used, "total_tokens": sum(used.values())},
        }
        return 200, answer

    def _refused(self, body: dict[str, Any]) -> str:
        wanted = self.lie.removeprefix("refuses ")
        given = body.get(wanted)
        if wanted != self.lie and (given is True or given not in (None, 1)):
            return wanted
        ids = [m.get("tool_call_id") for m in body["messages"] if m["role"] == "tool"]
        return "this id" if ids and self.lie == "ids refused" else ""

    def count(self, body: dict[str, Any]) -> int:
        """Count bytes as tokens, and seven for the template."""
        texts = [_text(m) for m in body["messages"]]
        if self.lie == "other tokenizer":
            return 7 + sum(map(len, texts))
        thoughts = [m.get("reasoning_content") or "" for m in body["messages"]]
        kept = "" if self.lie == "thoughts dropped" else "".join(thoughts)
        return 7 + len(self._seen("".join(texts)).encode()) + len(kept.encode())

    def _seen(self, text: str) -> str:
        return text[-2500:] if self.lie.startswith("window") else text

    def _choice(self, body: dict[str, Any], index: int) -> dict[str, Any]:
        asked = _text(body["messages"][-1])
        calls = self._calls(body, asked)
        pieces = [] if calls else self._pieces(body, asked)
        stop = body.get("stop")
        stop = [stop] if isinstance(stop, str) else stop or []
        text, finish = "", "tool_calls" if calls else "stop"
        limit = body.get("max_completion_tokens") or body.get("max_tokens") or 10_000
        limit = {"limit": 10_000, "limit told": 10_000, "limit clamped": 16}.get(
            self.lie, limit
        )
        made: list[str] = []
        for piece in pieces:
            if len(made) >= limit:
                finish = "length"
                break
            if any(mark in piece for mark in stop) and self.lie != "stop":
                mark = next(m for m in stop if m in piece)
                end = piece.index(mark) + (len(mark) if self.lie == "stop kept" else 0)
                made.append(piece[:end])
                break
            made.append(piece)
        text = "".join(made)
        message: dict[str, Any] = {"role": "assistant", "content": text}
        if calls:
            message["tool_calls"] = calls
        told = 8 if self.lie == "limit told" else len(made) or 9
        choice = {
            "index": index,
            "message": message,
            "finish_reason": finish,
            "made": told,
        }
        if body.get("logprobs") and self.lie != "logprobs":
            zero = self.lie == "logprobs zero"
            values = [0.0 if zero else -self.rng.random() for _ in made]
            words = ["zzzz"] * len(made) if self.lie == "logprobs of others" else made
            content = [
                {"token": t, "logprob": v, "top_logprobs": []}
                for t, v in zip(words, values, strict=True)
            ]
            choice["logprobs"] = {"content": content}
        return choice

    def _calls(self, body: dict[str, Any], asked: str) -> list[dict[str, Any]]:
        tools = [each["function"]["name"] for each in body.get("tools") or ()]
        choice = body.get("tool_choice") or "auto"
        if not tools or body["messages"][-1]["role"] == "tool":
            return []
        wants = "weather" in asked and "get_weather" in tools
        named = choice["function"]["name"] if isinstance(choice, dict) else ""
        name = ""
        if choice == "none" and self.lie != "choice none":
            return []
        if named and self.lie != "choice named":
            name = named
        elif wants:
            name = "get_weather"
        elif choice == "required" and self.lie != "choice required":
            name = tools[0]
        if self.lie == "no triggers" and choice == "auto" and "Case" in asked:
            name = ""
        if not name:
            return []
        arguments = {"town": 7} if self.lie == "bad schemas" else {"city": "Lagos"}
        id_ = "" if self.lie == "ids empty" else f"functions.{name}:0"
        function = {"name": name, "arguments": json.dumps(arguments)}
        return [{"id": id_, "type": "function", "function": function}]

    def _pieces(self, body: dict[str, Any], asked: str) -> list[str]:
        wanted = (body.get("response_format") or {}).get("type", "text")
        if wanted != "text" and self.lie != "format":
            made = {"zq_city": "Paris", "zq_rank": 1} if wanted == "json_schema" else {}
            return [json.dumps(made)]
        heat = body.get("temperature")
        heat = 1.0 if heat is None else heat
        heat = {
            "temperature": 0.7, "greedy": 0.0, "temperature clamped": min(heat, 1.0)
        }.get(self.lie, heat)  # fmt: skip
        seed = body.get("seed")
        rng = self.rng if seed is None or self.lie == "seed" else random.Random(seed)
        whole = self._seen("".join(map(_text, body["messages"])))
        if body["messages"][-1]["role"] == "tool":
            return ["It has ", "31.7 ", "degrees."]
        if "secret number" in asked:
            found = re.search(r"of the harbour is (\d+)", whole)
            return [found[1] if found else "I do not know."]
        if "Count" in asked:
            slips = [heat > 1.2 and rng.random() < 0.3 for _ in range(30)]
            return [
                f"{'' if n == 1 else ', '}{n + slip}" for n, slip in enumerate(slips, 1)
            ]
        if "story" in asked:
            return [
                f"{word} " for word in itertools.islice(itertools.cycle(WORDS), 400)
            ]
        if "village" in asked:
            narrow = (body.get("top_p") or 1) < 0.1 and self.lie != "top_p"
            if heat == 0 or narrow:
                return [f"{word} " for word in WORDS]
            weights = [2.718 ** (-place * 0.35 / heat) for place in range(len(WORDS))]
            return [f"{word} " for word in rng.choices(WORDS, weights, k=40)]
        return ["Hello", " there."]

    def events(self, answer: dict[str, Any]) -> list[tuple[float, dict[str, Any]]]:
        """Return the events of a stream, each with the seconds to wait before it."""
        head = {k: answer[k] for k in ("id", "model")}
        out: list[tuple[float, dict[str, Any]]] = []
        for choice in answer["choices"]:
            message, index = choice["message"], choice["index"]
            whole = message.get("content") or ""
            words = re.findall(r"\S+\s*", whole) or [""]
            if self.lie == "one piece":
                words = [whole]
            if self.lie == "bursts":
                words = [
                    "".join(words[at : at + 20]) for at in range(0, len(words), 20)
                ]
            for word in words:
                delta = {"role": "assistant", "content": word}
                out.append(
                    (0.002, {**head, "choices": [{"index": index, "delta": delta}]})
                )
            last: dict[str, Any] = {"index": index, "delta": {}}
            if message.get("tool_calls"):
                parts = [
                    {"index": i, **call} for i, call in enumerate(message["tool_calls"])
                ]
                last["delta"] = {"tool_calls": parts}
            if "logprobs" in choice:
                last["logprobs"] = choice["logprobs"]
            out.append(
                (
                    0,
                    {
                        **head,
                        "choices": [last | {"finish_reason": choice["finish_reason"]}],
                    },
                )
            )
        if self.lie != "no usage":
            out.append((0, {**head, "choices": [], "usage": answer["usage"]}))
        return out


def _text(message: dict[str, Any]) -> str:
    content = message.get("content") or ""
    return content if isinstance(content, str) else json.dumps(content)
