"""A GGUF file of one's own: tools by its own template, and its name on each answer."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from kimikit import Kimi, local
from kimikit.local import models

TEMPLATE = r"""{%- if tools %}
    {{- '<|im_start|>system\n' }}
    {{- "# Tools\n\nYou may call one or more functions to assist with the user query.\n\nYou are provided with function signatures within <tools></tools> XML tags:\n<tools>" }}
    {%- for tool in tools %}
        {{- "\n" }}
        {{- tool | tojson }}
    {%- endfor %}
    {{- "\n</tools>\n\nFor each function call, return a json object with function name and arguments within <tool_call></tool_call> XML tags:\n<tool_call>\n{\"name\": <function-name>, \"arguments\": <args-json-object>}\n</tool_call><|im_end|>\n" }}
{%- endif %}
{%- for message in messages %}
    {%- if message.role == "user" or message.role == "system" or (message.role == "assistant" and not message.tool_calls) %}
        {{- '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>' + '\n' }}
    {%- elif message.role == "assistant" %}
        {{- '<|im_start|>' + message.role }}
        {%- if message.content %}
            {{- '\n' + message.content }}
        {%- endif %}
        {%- for tool_call in message.tool_calls %}
            {%- if tool_call.function is defined %}
                {%- set tool_call = tool_call.function %}
            {%- endif %}
            {{- '\n<tool_call>\n{"name": "' }}
            {{- tool_call.name }}
            {{- '", "arguments": ' }}
            {{- tool_call.arguments | tojson }}
            {{- '}\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\n' }}
    {%- elif message.role == "tool" %}
        {{- '<|im_start|>tool\n' + message.content + '<|im_end|>\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\n' }}
{%- endif %}"""
"""As Qwen2.5 has it, but for the turns with results."""

SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
"""Bytes of a value of each kind (GGUF, specification of version 3)."""


def _text(file: BinaryIO) -> bytes:
    (size,) = struct.unpack("<Q", file.read(8))
    return file.read(size)


def _value(file: BinaryIO, kind: int) -> None:
    if kind == 8:
        _text(file)
    elif kind == 9:
        inner, count = struct.unpack("<IQ", file.read(12))
        for _ in range(count):
            _value(file, inner)
    else:
        file.read(SIZES[kind])


def with_template(source: Path, target: Path, template: str) -> None:
    """Copy a GGUF file with another chat template."""
    with source.open("rb") as file, target.open("wb") as made:
        head = file.read(24)
        tensors, values = struct.unpack("<8xQQ", head)
        made.write(head)
        for _ in range(values):
            begin = file.tell()
            name = _text(file)
            (kind,) = struct.unpack("<I", file.read(4))
            _value(file, kind)
            end = file.tell()
            file.seek(begin)
            kept = file.read(end - begin)
            if name == b"tokenizer.chat_template":
                text = template.encode()
                kept = struct.pack("<Q", len(name)) + name + struct.pack("<I", 8)
                kept += struct.pack("<Q", len(text)) + text
            made.write(kept)
        for _ in range(tensors):
            name = _text(file)
            (dims,) = struct.unpack("<I", file.read(4))
            rest = file.read(8 * dims + 12)
            made.write(struct.pack("<Q", len(name)) + name + struct.pack("<I", dims))
            made.write(rest)
        file.read(-file.tell() % 32)
        made.write(bytes(-made.tell() % 32))
        while piece := file.read(1 << 20):
            made.write(piece)


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kimi]:
    model = tmp_path / "Tooled-0.1B.gguf"
    with_template(models.CHAT.path, model, TEMPLATE)
    monkeypatch.setenv("KIMIKIT_RUNTIME", str(tmp_path / "run"))
    monkeypatch.setenv("KIMIKIT_LOCAL_MODEL", str(model))
    yield Kimi("local", show=False)
    local.stop()


def get_weather(city: str) -> dict[str, Any]:
    """Weather in a city."""
    return {"city": city, "sky": "clear"}


def turn(city: str, number: int, sky: str) -> list[dict[str, Any]]:
    function = {"name": "get_weather", "arguments": json.dumps({"city": city})}
    call = {"id": f"c{number}", "type": "function", "function": function}
    result = json.dumps({"sky": sky})
    return [
        {"role": "user", "content": f"Weather in {city}?"},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": f"c{number}", "content": result},
        {"role": "assistant", "content": f"It is {sky} in {city}."},
    ]


def test_a_model_of_ones_own_is_named_and_calls_tools_itself(own: Kimi) -> None:
    assert own.host.model == "tooled-0.1b"
    assert "tooled-0.1b" in repr(own.host)
    said = own.chat("What is the capital of Germany?", temperature=0, max_tokens=9)
    assert "Berlin" in said.text
    assert "tooled-0.1b" in said.footer()
    talk = [*turn("Rome", 1, "clear"), turn("Paris", 2, "")[0]]
    options: dict[str, Any] = {"tools": [get_weather], "temperature": 0}
    for stream in (True, False):
        reply = own.chat(talk, **options, max_tokens=40, stream=stream)
        [call] = reply.tool_calls
        assert (call.name, json.loads(call.arguments)) == (
            "get_weather",
            {"city": "Paris"},
        )
        assert reply.raw.get("system_fingerprint") != "needle-3"
    forced = own.chat(talk[-1:], **options, tool_choice="required")
    assert forced.raw.get("system_fingerprint") == "needle-3"
    assert forced.tool_calls[0].name == "get_weather"
