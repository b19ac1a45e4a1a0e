"""Calls and replies as a client would report them to its observers."""

from __future__ import annotations

import itertools
import time

from kimikit.types import Call, Host, Reply, Usage

TOGETHER = Host(
    name="together",
    base_url="https://example.invalid/v1",
    key_variable="TOGETHER_API_KEY",
)
LOCAL = Host(name="local", base_url="http://127.0.0.1:1/v1", stand_in=True)
KIMI_K3 = "moonshotai/Kimi-K3"
"""3.00 / 0.30 / 15.00 US dollars per million tokens on Together."""

_ids = itertools.count()


def make_call(text="Hello", *, host=TOGETHER, model=KIMI_K3, **body):
    """Return a chat call; ``id``, ``created``, ``meta``, ``endpoint`` may be given."""
    details = {
        name: body.pop(name)
        for name in ("id", "created", "meta", "endpoint")
        if name in body
    }
    messages = [{"role": "user", "content": text}]
    return Call(
        **{
            "id": f"call-{next(_ids)}-{time.time_ns()}",
            "endpoint": "chat",
            "host": host,
            "model": model,
            "body": {"model": model, "messages": messages, "stream": True, **body},
            "created": time.time(),
            **details,
        }
    )


def make_reply(text="Hi", prompt=40, completion=50, cached=10, **fields):
    """Return a complete reply of 40 -> 50 tokens, 10 of them cached."""
    usage = fields.pop("usage", Usage(prompt, completion, cached))
    return Reply(
        **{
            "text": text,
            "usage": usage,
            "finish_reason": "stop",
            "model": KIMI_K3,
            "host": "together",
            "duration_s": 1.5,
            "first_token_s": 0.25,
            **fields,
        }
    )


def ask(ledger, text="Hello", reply=None, error=None, **body):
    """Run one whole call past an observer and return the call."""
    call = make_call(text, **body)
    ledger.opened(call)
    if reply is None and error is None:
        reply = make_reply(model=call.model)
    ledger.closed(call, reply, error)
    return call
