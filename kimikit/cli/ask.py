"""Ask one question by ``kimikit ask``; in a pipe its answer stands alone."""

from __future__ import annotations

import codecs
import contextlib
import json
import os
import re
import sys
from typing import TYPE_CHECKING, Any, TextIO

import msgspec

from kimikit import html
from kimikit.errors import BadInput
from kimikit.session import Kimi

if TYPE_CHECKING:
    import argparse

    from kimikit.types import Reply

STOPPED = 130
"""Exit status of a program that Ctrl-C ended, as shells have it."""


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to a command line."""
    ask = commands.add_parser(
        "ask",
        help="stream one answer to standard output",
        description="Ask once. What is piped in goes below the prompt: cat notes.txt |"
        " kimikit ask 'Summarise this'. Only the answer is written to standard output;"
        " its footer and all else go to standard error.",
    )
    ask.add_argument("prompt", nargs="*", help="what to ask; nothing if it is piped in")
    ask.add_argument("--host", help="a host's name; kimikit doctor names the default")
    ask.add_argument("-m", "--model", help="a model id of that host")
    ask.add_argument("-s", "--system", help="a system message")
    ask.add_argument(
        "-T", "--temperature", type=float, help="about 0.6 for K2 Instruct"
    )
    ask.add_argument("--max-tokens", type=int, help="tokens of the answer at most")
    ask.add_argument(
        "--json", action="store_true", help="write one JSON object instead of the text"
    )
    ask.set_defaults(run=_ask)


def _ask(options: argparse.Namespace) -> int:
    prompt = asked(" ".join(options.prompt), sys.stdin)
    given: dict[str, Any] = {"system": options.system, "max_tokens": options.max_tokens}
    params = {name: value for name, value in given.items() if value is not None}
    # What it says of the host it chose is no part of the answer.
    with contextlib.redirect_stdout(sys.stderr):
        kimi = Kimi(
            options.host,
            model=options.model,
            temperature=options.temperature,
            show=False,
        )
    if options.json:
        reply = kimi.chat(prompt, **params)
        sys.stdout.write(f"{_fitting(as_json(reply))}\n")
    else:
        reply = _streamed(kimi, prompt, params)
    return STOPPED if reply.partial else 0


def _streamed(kimi: Kimi, prompt: str, params: dict[str, Any]) -> Reply:
    from kimikit.notebook.stream_view import answer_view

    with answer_view(show=True, out=sys.stdout, beside=sys.stderr) as view:
        reply = kimi.client.chat(prompt, watch=view, **params)
        view.finish(reply)
    return reply


def _fitting(text: str) -> str:
    """Return JSON without letters that standard output has no bytes for."""
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        return re.sub(r"[^\x00-\x7f]", lambda match: json.dumps(match[0])[1:-1], text)
    return text


def asked(prompt: str, given: TextIO | None) -> str:
    """Return the prompt, with what is piped in below it.

    Args:
        prompt: The words of the command line.
        given: Standard input; a terminal is not waited for.

    Raises:
        BadInput: If there is neither, or one is not in UTF-8.
    """
    piped = "" if given is None or given.closed or given.isatty() else _read(given)
    # Python keeps what it cannot read of the command line as halves of letters.
    words = prompt if prompt.isascii() else _decoded(os.fsencode(prompt), "The prompt")
    both = [part for part in (words.strip(), piped.strip()) if part]
    if not both:
        raise BadInput(
            "There is nothing to ask.",
            "Write it: kimikit ask 'Name a colour.', or pipe it in: cat notes.txt | "
            "kimikit ask -s 'Summarise.'.",
        )
    return "\n\n".join(both)


def _read(given: TextIO) -> str:
    buffer = getattr(given, "buffer", None)
    if buffer is None:
        return given.read()
    return _decoded(buffer.read(), "What is piped in")


def _decoded(data: bytes, what: str) -> str:
    """Return a text in UTF-8, or in UTF-16 as Windows marks it."""
    marked = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return data.decode("utf-16" if marked else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput(
            f"{what} is no text in UTF-8: {error.reason} at byte {error.start}.",
            "Turn it into UTF-8 first, such as by iconv -f latin1 -t utf-8.",
        ) from error


def as_json(reply: Reply) -> str:
    """Return an answer as one JSON object on one line."""
    usage = msgspec.structs.asdict(reply.usage)
    usage.pop("cost_usd")
    found = {
        "text": html.clean(reply.text),  # of escapes that JSON would write out
        "reasoning": html.clean(reply.reasoning),
        "tool_calls": [call.to_dict() for call in reply.tool_calls],
        "finish_reason": reply.finish_reason,
        "host": reply.host,
        "model": reply.model,
        "usage": usage,
        "cost_usd": reply.cost,
        "first_token_s": reply.first_token_s,
        "duration_s": reply.duration_s,
        "partial": reply.partial,
        "truncated": reply.truncated,
        "stand_in": reply.stand_in,
        "replayed": reply.replayed,
        "notes": reply.notes,
        "id": reply.id,
    }
    # Cleaned as it is written: a host chose the other words too.
    return html.clean(
        msgspec.json.Encoder(decimal_format="number").encode(found).decode()
    )
