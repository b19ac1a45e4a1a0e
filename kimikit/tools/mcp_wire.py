"""Ask a server of MCP by its streams or over HTTP, and hear what it says besides."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import AsyncIterator, Mapping
from typing import IO, Any

from kimikit.errors import BadInput
from kimikit.json_values import is_number, short

_ANSWER_BYTES = 64 * 2**20
"""Longest answer of a server over HTTP."""
_NOISE = 500
"""Characters that are kept of a line that is no message."""
REMEDY = (
    "Give a command and each of its arguments by itself, a URL, or a server object of "
    "the mcp package."
)
"""What a server is given as."""


class Heard:
    """What a server said besides its messages.

    Attributes:
        log: Gets its standard error, and what it prints between messages.
        status: The last answer over HTTP if that was an error, such as ``HTTP 401``.
    """

    def __init__(self, log: IO[bytes]) -> None:
        self.log = log
        self.status = ""


def checked(
    server: Any, args: tuple[Any, ...], env: Any, headers: Mapping[str, str] | None
) -> Any:
    """Return a URL, a command to start or a server object, as it was given.

    Raises:
        BadInput: If it is none, or does not go with the rest.
    """
    from mcp import StdioServerParameters
    from mcp.server import MCPServer, Server

    kinds = StdioServerParameters, MCPServer, Server
    if isinstance(server, str | os.PathLike):
        name = os.fspath(server)
        if _is_url(name):
            if args or env:
                raise BadInput(
                    f"{name} is a URL, which takes neither arguments nor env.",
                    "Leave them out; headers={...} goes with each request.",
                )
            return name
        try:
            server = StdioServerParameters(
                command=name,
                args=[_word(each) for each in args],
                env=env and {key: _word(value) for key, value in env.items()},
                encoding_error_handler="replace",
            )
        except (AttributeError, ValueError) as exc:  # pydantic's is one
            raise BadInput(
                f"The arguments or env of {short(name)} are no texts.", REMEDY
            ) from exc
    elif args or env:
        raise BadInput(f"{short(server)} is no command with arguments.", REMEDY)
    elif not (isinstance(server, kinds) or hasattr(server, "__aenter__")):
        raise BadInput(f"{short(server)} is no MCP server.", REMEDY)
    if headers:
        raise BadInput("Only a server at a URL takes headers.", "Leave them out.")
    return server


def _is_url(name: str) -> bool:
    return name.lower().startswith(("http://", "https://"))


def _word(value: Any) -> Any:
    """Return a path or a number as the text that a process gets."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return str(value) if is_number(value) else value


@contextlib.asynccontextmanager
async def reached(
    server: Any, headers: Mapping[str, str] | None, heard: Heard
) -> AsyncIterator[Any]:
    """Yield the way to a server as the client of ``mcp`` takes it."""
    from mcp import StdioServerParameters

    if isinstance(server, str):
        async with _over_http(server, headers, heard) as way:
            yield way
    elif isinstance(server, StdioServerParameters):
        yield _over_streams(server, heard)
    else:
        yield server


@contextlib.asynccontextmanager
async def _over_streams(server: Any, heard: Heard) -> AsyncIterator[Any]:
    from mcp import stdio_client

    # The server's standard error is not ours: in a notebook that may be no file.
    async with stdio_client(server, errlog=heard.log) as (read, write):  # type: ignore[arg-type]
        yield _Messages(read, heard), write


class _Messages:
    """A server's messages, of which the client of ``mcp`` cannot read some.

    It passes a line on as an error, and whoever asked would wait until the time is
    over: a lone surrogate is enough, as JavaScript leaves where it cuts a text.
    """

    def __init__(self, inner: Any, heard: Heard) -> None:
        self._inner = inner
        self._heard = heard

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def __aiter__(self) -> _Messages:
        return self

    async def __anext__(self) -> Any:
        return self._mended(await self._inner.__anext__())

    async def receive(self) -> Any:
        return self._mended(await self._inner.receive())

    async def __aenter__(self) -> _Messages:
        await self._inner.__aenter__()
        return self

    async def __aexit__(self, *exc: Any) -> Any:
        return await self._inner.__aexit__(*exc)

    def _mended(self, item: Any) -> Any:
        from mcp.shared.message import SessionMessage
        from mcp_types import jsonrpc_message_adapter
        from pydantic import ValidationError

        if not isinstance(item, ValidationError):
            return item
        line = item.errors(include_url=False)[0]["input"]
        with contextlib.suppress(ValueError, TypeError, RecursionError):
            text = json.dumps(json.loads(line), ensure_ascii=False)
            sent = text.encode("utf-8", "replace")
            return SessionMessage(jsonrpc_message_adapter.validate_json(sent))
        said = f"{str(line)[:_NOISE]}\n"
        with contextlib.suppress(ValueError):  # closed meanwhile
            self._heard.log.write(said.encode("utf-8", "replace"))
        return item


@contextlib.asynccontextmanager
async def _over_http(
    url: str, headers: Mapping[str, str] | None, heard: Heard
) -> AsyncIterator[Any]:
    """Yield the way to a server whose answers come as they are.

    The client of ``mcp`` would unpack a megabyte of gzip to gigabytes.
    """
    from mcp.client.streamable_http import streamable_http_client
    from mcp.shared._httpx_utils import create_mcp_http_client

    async def look(response: Any) -> None:
        if response.request.method == "POST":
            code, phrase = response.status_code, response.reason_phrase
            heard.status = f"HTTP {code} {phrase}".strip() if code >= 400 else ""
        _as_it_is(response)

    http = create_mcp_http_client({**(headers or {}), "accept-encoding": "identity"})
    http.event_hooks = {"response": [look]}
    async with http:
        # Without a limit of ours it is 1 MB, less than a screenshot.
        yield streamable_http_client(
            url, http_client=http, max_sse_event_size=_ANSWER_BYTES
        )


def _as_it_is(response: Any) -> None:
    """Refuse an answer before it is read that is packed, or said to be very long."""
    packing = response.headers.get("content-encoding", "identity").strip().lower()
    if packing not in ("", "identity"):
        raise RuntimeError(f"it packs its answers ({packing[:40]}), unasked")
    length = response.headers.get("content-length", "")
    if length.isdecimal() and len(length) < 20 and int(length) > _ANSWER_BYTES:
        raise RuntimeError(f"an answer of it has {int(length):,} bytes")
