"""Models that follow a script: as a client, and as a host over HTTP."""

import contextlib
import json
from http.server import BaseHTTPRequestHandler

from support.serving import serving

from kimikit.types import Reply, ToolCall


def call(name, index=0, /, **arguments):
    return ToolCall(f"functions.{name}:{index}", name, json.dumps(arguments))


def calls(*made, text="", **fields):
    return Reply(text=text, tool_calls=made, **fields)


class Scripted:
    """Answers with one reply after the other, the last for ever; keeps requests.

    An entry may also be an exception to raise, or a function of the messages.
    """

    def __init__(self, *replies):
        self.replies = list(replies)
        self.requests = []

    def chat(self, messages, **params):
        self.requests.append({"messages": messages, **params})
        reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        if isinstance(reply, BaseException) or (
            isinstance(reply, type) and issubclass(reply, BaseException)
        ):
            raise reply
        return reply(messages) if callable(reply) else reply


def chunk(delta, finish=None, **more):
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {"id": "x", "object": "chat.completion.chunk", "choices": [choice], **more}


def called(*made, finish="tool_calls", content=None):
    """Return the chunks of an answer with whole calls: (id, name, arguments)."""
    pieces = [
        {
            "index": i,
            "id": id_,
            "type": "function",
            "function": {"name": name, "arguments": arguments},
        }
        for i, (id_, name, arguments) in enumerate(made)
    ]
    first = {"role": "assistant", "content": content, "tool_calls": pieces}
    return [chunk(first), chunk({}, finish)]


def said(text):
    return [chunk({"role": "assistant", "content": text}), chunk({}, "stop")]


def whole(message):
    """Return an answer in one piece."""
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return {"id": "x", "object": "chat.completion", "created": 0, "model": "m",
            "choices": [choice]}  # fmt: skip


@contextlib.contextmanager
def scripted_host(*answers):
    """Serve the answers in order; give (base_url, request bodies).

    An answer is a list of chunks, or a dict for one in one piece.
    """
    bodies = []
    left = list(answers)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            length = int(self.headers["Content-Length"])
            bodies.append(json.loads(self.rfile.read(length)))
            events = left.pop(0) if len(left) > 1 else left[0]
            self.send_response(200)
            kind = "application/json" if isinstance(events, dict) else "event-stream"
            self.send_header("Content-Type", kind.replace("event", "text/event"))
            self.end_headers()
            if isinstance(events, dict):
                self.wfile.write(json.dumps(events).encode())
                return
            for event in events:
                text = event if isinstance(event, str) else json.dumps(event)
                self.wfile.write(f"data: {text}\n\n".encode())
            self.wfile.write(b"data: [DONE]\n\n")

        def log_message(self, *_):
            pass

    with serving(Handler) as url:
        yield f"{url}/v1", bodies
