"""Tools from a server of the Model Context Protocol, by its official client."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import io
import tempfile
from concurrent.futures import Future
from typing import Any

from kimikit.errors import BadInput, KimiError, MissingDependency
from kimikit.tools.calls import background_loop
from kimikit.tools.tool import Tool

_LAST_WORDS = 500
"""Bytes of a failed server's standard error that are told."""
_GRACE_S = 8.0
"""Longest wait for a server to end; the client of ``mcp`` kills it after 6.5 s."""


class McpTools(list[Tool]):
    """The tools of one server, usable until ``close``.

    Its connection lives under an event loop in a thread of its own, so the tools can be
    called from ordinary code, from threads and from any other loop.
    """

    def __init__(self, server: Any, label: str, timeout_s: float) -> None:
        super().__init__()
        self._timeout_s = timeout_s
        self._open = contextlib.ExitStack()
        # The server's standard error is not ours: in a notebook that may be no file.
        # Appended to, for what is read here not to move where the server writes.
        log = tempfile.TemporaryFile("a+b", buffering=0)  # noqa: SIM115
        self._log = self._open.enter_context(log)
        self._loop = self._open.enter_context(background_loop(_GRACE_S))
        ready: Future[list[Tool]] = Future()
        asyncio.run_coroutine_threadsafe(self._serve(server, ready), self._loop)
        try:
            self.extend(ready.result(timeout_s))
        except BaseException as exc:
            why = self._why(exc)
            self.close()
            if not isinstance(exc, Exception):
                raise
            raise KimiError(
                f"The MCP server {label} gave no tools: {why}",
                "Check that the command or URL starts an MCP server.",
            ) from exc

    async def _serve(self, server: Any, ready: Future[list[Tool]]) -> None:
        from mcp import Client, StdioServerParameters, stdio_client

        if isinstance(server, StdioServerParameters):
            server = stdio_client(server, errlog=self._log)  # type: ignore[arg-type]
        try:
            async with Client(server) as client:
                found = await client.list_tools()
                tools = [self._tool(client, one) for one in found.tools]
                while found.next_cursor:
                    found = await client.list_tools(cursor=found.next_cursor)
                    tools += [self._tool(client, one) for one in found.tools]
                ready.set_result(tools)
                await asyncio.Event().wait()
        except Exception as exc:
            if not ready.done():
                ready.set_exception(exc)

    def _tool(self, client: Any, listed: Any) -> Tool:
        def call(**arguments: Any) -> Any:
            asked = client.call_tool(listed.name, arguments)
            done = asyncio.run_coroutine_threadsafe(asked, self._loop)
            try:
                found = done.result(self._timeout_s)
            except Exception as exc:
                done.cancel()
                raise RuntimeError(self._why(exc)) from exc
            return _value(found)

        hints = listed.annotations
        return Tool.from_schema(
            listed.name,
            listed.description or f"The tool {listed.name}.",
            listed.input_schema,
            call,
            confirm=bool(hints and hints.destructive_hint),
        )

    def _why(self, error: BaseException) -> str:
        """Return what went wrong, and what the server wrote last."""
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        why = f"{str(error).rstrip('.') or 'it did not answer in time'}."
        if self._log.closed:
            return why
        self._log.seek(max(0, self._log.seek(0, io.SEEK_END) - _LAST_WORDS))
        said = self._log.read().decode(errors="replace").strip()
        return f"{why} Its last words: {said}" if said else why

    def close(self) -> None:
        """End the connection, and a server that was started for it."""
        self._open.close()

    def __enter__(self) -> McpTools:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def mcp_tools(
    server: Any,
    *args: str,
    env: dict[str, str] | None = None,
    timeout_s: float = 30,
) -> McpTools:
    """Connect to an MCP server and return its tools.

    Use it in a ``with`` block, or call ``.close()`` at the end. Tools that the server
    marks as destructive ask before each call.

    Args:
        server: A command to start, a URL, or a server object of the ``mcp`` package.
        *args: The command's arguments.
        env: Environment variables for the command.
        timeout_s: Seconds to wait for the server, and for each call.

    Raises:
        MissingDependency: Without the extra ``mcp``.
        KimiError: If the server does not start or list its tools.
    """
    try:
        from mcp import StdioServerParameters
    except ImportError as exc:
        raise MissingDependency.of("mcp", "Tools from an MCP server", "mcp") from exc
    if not server:
        raise BadInput("There is no server to connect to.", "Give a command or a URL.")
    label = server if isinstance(server, str) else type(server).__name__
    if isinstance(server, str) and not server.startswith(("http://", "https://")):
        server = StdioServerParameters(command=server, args=list(args), env=env)
    return McpTools(server, label, timeout_s)


class _Picture(bytes):
    def _repr_png_(self) -> bytes:
        return self


def _value(result: Any) -> Any:
    """Return what a call gave as plain values; its error as an exception."""
    texts = [part.text for part in result.content if hasattr(part, "text")]
    if result.is_error:
        raise RuntimeError("\n".join(texts) or "the server reported an error")
    for part in result.content:
        if getattr(part, "mime_type", "") == "image/png":
            return _Picture(base64.b64decode(part.data))
    return "\n".join(texts) if texts else result.structured_content
