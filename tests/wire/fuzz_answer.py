"""Feed an answer nonsense that a coverage-guided fuzzer makes, and hold it to its word.

Run: ``make fuzz``, or ``python tests/wire/fuzz_answer.py -max_total_time=600``. Where
atheris is installed it guides the search. Findings become cases in ``support.answers``.
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parents[1])]
from support import fuzzing  # noqa: E402

with fuzzing.watching("kimikit.wire"):
    from kimikit.wire import answer as _answer
    from kimikit.wire.answer import Answer

import msgspec  # noqa: E402

from kimikit.errors import HostError  # noqa: E402
from kimikit.types import Call, Delta, Host, Reply  # noqa: E402

TEXTS = [
    "<|tool_calls_section_begin|>", "<|tool_call_section_begin|>",
    "<|tool_call_begin|>", "functions.get_weather:0", "get_weather:1",
    "<|tool_call_argument_begin|>", '{"city": "Oslo"}', '"', "{", "}",
    "<|tool_call_end|>", "<|tool_calls_section_end|>", "<|im_end|>", "<think>",
    "</think>", " ", "\n", "`", "```\n", "~~~", "Hello", "<", "<|",
    "<|open|>tools<|sep|>", '<|open|>call tool="get_weather" index="0"<|sep|>',
    '<|open|>argument key="city" type="string"<|sep|>', "<|close|>argument<|sep|>",
    "<|close|>call<|sep|>", "<|close|>tools<|sep|>", "<|open|>think<|sep|>",
    "<|close|>think<|sep|>", "<|open|>response<|sep|>", "<|close|>response<|sep|>",
    "\u2028", "月", "x" * 300, "\ufffd",
]  # fmt: skip
VALUES: list[Any] = [
    None,
    "",
    0,
    1,
    -1,
    2.5,
    True,
    [],
    {},
    "stop",
    "length",
    "error",
    "a",
    "8",
    "functions.get_weather:0",
    float("nan"),
    float("inf"),
]
TOOL = {"type": "function", "function": {"name": "get_weather"}}
HOST = Host(name="h", base_url="http://h")


def value(fdp: Any) -> Any:
    """Return any JSON value, often an odd one."""
    kind = fdp.ConsumeIntInRange(0, 5)
    if kind == 0:
        return "".join(
            fdp.PickValueInList(TEXTS) for _ in range(fdp.ConsumeIntInRange(0, 5))
        )
    if kind == 1:
        return {"text": value(fdp)} if fdp.ConsumeBool() else [value(fdp)]
    if kind == 2:
        return fdp.ConsumeUnicodeNoSurrogates(8)
    return fdp.PickValueInList(VALUES)


def text(fdp: Any) -> Any:
    if fdp.ConsumeIntInRange(0, 9) == 0:
        return value(fdp)
    return "".join(
        fdp.PickValueInList(TEXTS) for _ in range(fdp.ConsumeIntInRange(0, 4))
    )


def called(fdp: Any) -> Any:
    function = {"name": value(fdp) if fdp.ConsumeBool() else "get_weather"}
    function["arguments"] = text(fdp)
    entry = {"index": value(fdp), "id": value(fdp), "function": function}
    for name in list(entry):
        if fdp.ConsumeIntInRange(0, 5) == 0:
            del entry[name]
    return entry


def chunk(fdp: Any) -> Any:
    delta: dict[str, Any] = {}
    for name in ("content", "reasoning_content", "reasoning"):
        if fdp.ConsumeBool():
            delta[name] = text(fdp)
    if fdp.ConsumeIntInRange(0, 3) == 0:
        delta["tool_calls"] = [called(fdp) for _ in range(fdp.ConsumeIntInRange(0, 3))]
    if fdp.ConsumeIntInRange(0, 9) == 0:
        delta["reasoning_details"] = value(fdp)
    choice: dict[str, Any] = {"index": 0, "delta": delta}
    if fdp.ConsumeIntInRange(0, 9) == 0:
        choice["message"] = {"content": text(fdp)}
        if fdp.ConsumeBool():
            del choice["delta"]
    if fdp.ConsumeIntInRange(0, 7) == 0:
        choice["finish_reason"] = value(fdp)
    if fdp.ConsumeIntInRange(0, 9) == 0:
        choice["index"] = value(fdp)
    made: dict[str, Any] = {"id": "c", "model": "m", "choices": [choice]}
    if fdp.ConsumeIntInRange(0, 7) == 0:
        made["usage"] = {"prompt_tokens": value(fdp), "completion_tokens": value(fdp)}
    if fdp.ConsumeIntInRange(0, 9) == 0:
        made[fdp.PickValueInList(["choices", "usage", "error", "x_groq", "id"])] = (
            value(fdp)
        )
    return made


def stream(fdp: Any) -> bytes:
    """Return the bytes of a stream: mostly chunks, sometimes nonsense."""
    out = []
    for _ in range(fdp.ConsumeIntInRange(0, 12)):
        kind = fdp.ConsumeIntInRange(0, 19)
        end = fdp.PickValueInList(
            [b"\n\n", b"\n\n", b"\n\n", b"\r\n\r\n", b"\r\r", b"\n"]
        )
        if kind == 0:
            out.append(fdp.ConsumeBytes(20))
        elif kind == 1:
            out.append(
                fdp.PickValueInList([b": x\n\n", b"data: [DONE]\n\n", b"\xef\xbb\xbf"])
            )
        elif kind == 2:
            out.append(b"event: error\ndata: " + json.dumps(value(fdp)).encode() + end)
        else:
            out.append(
                fdp.PickValueInList([b"data: ", b"data: ", b"data: data:"])
                + json.dumps(chunk(fdp), ensure_ascii=False).encode()
                + end
            )
    return b"".join(out)


def fold(pieces: list[bytes]) -> tuple[list[Delta], Reply, str]:
    """Return the steps, the reply and the error of an answer."""
    body = {"model": "m", "stream": True, "tools": [TOOL]}
    call = Call(id="1", endpoint="chat", host=HOST, model="m", body=body, created=0.0)
    deltas: list[Delta] = []
    error: HostError | None = None
    answer = Answer(call)
    try:
        with answer:
            for piece in pieces:
                deltas += answer.feed(piece)
                if answer.ended:
                    break
            deltas += answer.finish()
            answer.check()
    except HostError as exc:
        error = exc
    reply = answer.reply
    assert reply.usage.completion_tokens >= reply.usage.reasoning_tokens >= 0
    assert len({c.id for c in reply.tool_calls}) == len(reply.tool_calls)
    msgspec.json.encode(reply)
    repr(reply)
    kept = msgspec.structs.replace(reply, duration_s=0.0, first_token_s=None)
    return deltas, kept, type(error).__name__


def once(data: bytes) -> None:
    fdp = fuzzing.provider(data)
    cuts = [fdp.ConsumeIntInRange(0, 4000) for _ in range(fdp.ConsumeIntInRange(0, 8))]
    whole = stream(fdp) if fdp.ConsumeBool() else fdp.ConsumeBytes(2000)
    places = sorted({cut for cut in cuts if cut < len(whole)})
    ends = [*places, len(whole)]
    pieces = [whole[a:b] for a, b in zip([0, *places], ends, strict=True)]
    deltas, reply, error = fold([whole])
    again, reply_again, error_again = fold(pieces)
    assert error == error_again, (error, error_again)
    for name in Reply.__struct_fields__:
        one, two = getattr(reply, name), getattr(reply_again, name)
        assert repr(one) == repr(two), (name, one, two, places)
    moved = any("was moved" in note or "taken out" in note for note in reply.notes)
    if not moved:
        for steps in (deltas, again):
            shown = "".join(d.text for d in steps if d.choice == 0)
            main = reply if 0 in {d.choice for d in steps} else None
            assert main is None or shown == reply.text, whole


if __name__ == "__main__":
    warnings.simplefilter("error")
    assert _answer.PROGRESS_S > 0
    fuzzing.main(once)
