"""Take tools from a server of the Model Context Protocol, by its official client."""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import hashlib
import io
import logging
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from typing import Any

import msgspec

from kimikit import html
from kimikit.errors import BadInput, KimiError, needed, warn
from kimikit.json_values import check_above_0
from kimikit.runner.background import background_loop
from kimikit.tools import mcp_wire
from kimikit.tools.checks import mended
from kimikit.tools.results import Content, text_of
from kimikit.tools.tool import NAME, Tool
from kimikit.wire.coerce import as_dict, as_str
from kimikit.wire.media import image_kind

_LAST_WORDS = 500
"""Bytes of a failed server's standard error that are told."""
_NO_KEY = ("HTTP 401", "HTTP 403")
_UNHEARD = logging.NullHandler()
_LONGEST_S = 1e6
_NAME = 64
"""Longest name of a tool that hosts take."""
_PICTURE_BYTES = 5_000_000
_TEXTS = ("json", "xml", "yaml", "javascript")
_GRACE_S = 8.0
"""Longest wait for a server to end; the client of ``mcp`` kills it after 6.5 s."""


class McpTools(list[Tool]):
    """The tools of one server, usable until ``close``.

    Its connection lives under an event loop in a thread of its own, so the tools can be
    called from ordinary code, from threads and from any other loop.

    Attributes:
        left_out: The tools that cannot be offered to a model, and why.
    """

    def __init__(
        self,
        server: Any,
        label: str,
        timeout_s: float,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__()
        self.left_out: dict[str, str] = {}
        self._label = label
        self._timeout_s = timeout_s
        self._closed = False
        self._open = contextlib.ExitStack()
        # Appended to, for what is read here not to move where the server writes.
        log = tempfile.TemporaryFile("a+b", buffering=0)  # noqa: SIM115
        self._heard = mcp_wire.Heard(self._open.enter_context(log))
        self._loop = self._open.enter_context(background_loop(_GRACE_S))
        ready: Future[list[Tool]] = Future()
        serving = self._serve(server, headers, ready)
        asyncio.run_coroutine_threadsafe(serving, self._loop)
        try:
            self.extend(ready.result(timeout_s))
        except BaseException as exc:
            why = self._why(exc)
            self.close()
            if not isinstance(exc, Exception):
                raise
            remedy = "Check that the command or URL starts an MCP server."
            if isinstance(exc, FileNotFoundError):
                remedy = mcp_wire.REMEDY
            elif self._heard.status.startswith(_NO_KEY):
                remedy = "Give its key: headers={'Authorization': 'Bearer ...'}."
            raise KimiError(
                f"The MCP server {label} gave no tools: {why}", remedy
            ) from exc
        for name, why in self.left_out.items():
            warn(
                f"The MCP server {label} has a tool that cannot be used, {name!r}: "
                f"{html.clean(why)}",
                stacklevel=3,
            )

    async def _serve(
        self,
        server: Any,
        headers: Mapping[str, str] | None,
        ready: Future[list[Tool]],
    ) -> None:
        from mcp import Client

        try:
            async with (
                mcp_wire.reached(server, headers, self._heard) as way,
                Client(way) as client,
            ):
                tools = self._made(client, await _listed(client))
                ready.set_result(tools)
                await asyncio.Event().wait()
        except Exception as exc:
            if not ready.done():
                ready.set_exception(exc)

    def _made(self, client: Any, listed: list[_Listed]) -> list[Tool]:
        """Make tools of those that can be, and remember why the others cannot."""
        made: dict[str, Tool] = {}
        legal = {one.name for one in listed if NAME.fullmatch(one.name)}
        for one in listed:
            try:
                name = _sent_name(one.name, legal)
                if name in made:
                    raise ValueError("another tool has the same name")
                made[name] = self._tool(client, one, name)
            # One odd tool must not hide the others.
            except (KimiError, ValueError, RecursionError, TypeError) as exc:
                self.left_out[one.name] = str(getattr(exc, "what", exc))
        return list(made.values())

    def _tool(self, client: Any, listed: _Listed, name: str) -> Tool:
        def call(**arguments: Any) -> Any:
            self._check_open()
            asked = client.call_tool(listed.name, arguments)
            done = asyncio.run_coroutine_threadsafe(asked, self._loop)
            try:
                found = done.result(self._timeout_s)
            except Exception as exc:
                done.cancel()
                raise RuntimeError(self._why(exc)) from exc
            return _value(found)

        return Tool.from_schema(
            name,
            listed.description.strip() or f"The tool {listed.name}.",
            mended(listed.schema),
            call,
            confirm=listed.destructive,
        )

    def _why(self, error: BaseException) -> str:
        """Return what went wrong, and what the server wrote last."""
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        words = html.clean(str(error)).rstrip(".") or type(error).__name__
        if isinstance(error, TimeoutError):
            words = "it did not answer in time"
        if (data := getattr(getattr(error, "error", None), "data", None)) is not None:
            words += f": {html.clean(text_of(data))[:_LAST_WORDS]}"
        if self._heard.status:
            words += f" ({self._heard.status})"
        log = self._heard.log
        if log.closed:
            return f"{words}."
        log.seek(max(0, log.seek(0, io.SEEK_END) - _LAST_WORDS))
        said = html.clean(log.read().decode(errors="replace")).strip()
        return f"{words}. Its last words: {said}" if said else f"{words}."

    def _check_open(self) -> None:
        if self._closed:
            raise BadInput(
                f"The connection to the MCP server {self._label} is closed.",
                "Use its tools inside the with block, or call mcp_tools(...) again.",
            )

    def __iter__(self) -> Iterator[Tool]:
        self._check_open()  # before a run with these tools is paid for
        return super().__iter__()

    def close(self) -> None:
        """End the connection, and a server that was started for it."""
        self._closed = True
        self._open.close()

    def __enter__(self) -> McpTools:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def mcp_tools(
    server: Any,
    *args: str,
    env: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
    timeout_s: float = 30,
) -> McpTools:
    """Connect to an MCP server and return its tools.

    Use it in a ``with`` block, or call ``.close()`` at the end. Tools that the server
    marks as destructive ask before each call.

    Args:
        server: A command to start, a URL, or a server object of the ``mcp`` package.
        *args: The command's arguments.
        env: Environment variables for the command.
        headers: Go with each request to a URL, such as ``Authorization``.
        timeout_s: Seconds to wait for the server, and for each call.

    Raises:
        MissingDependency: Without the extra ``mcp``.
        BadInput: If something is not of the kind that it has to be.
        KimiError: If the server does not start or list its tools.
    """
    with needed("mcp", "A tool from an MCP server", "mcp"):
        import mcp  # noqa: F401
    if not server:
        raise BadInput("There is no server to connect to.", "Give a command or a URL.")
    check_above_0("timeout_s", timeout_s, _LONGEST_S)
    server = mcp_wire.checked(found := server, args, env, headers)
    plain = isinstance(found, str | os.PathLike)
    label = os.fspath(found) if plain else type(found).__name__
    # It logs each line that it cannot read with a traceback; ``_why`` tells of them.
    logging.getLogger("mcp").addHandler(_UNHEARD)
    return McpTools(server, label, timeout_s, headers)


class _Listed(msgspec.Struct, frozen=True):
    """What a server says of one of its tools."""

    name: str
    description: str
    schema: Any
    destructive: bool


async def _listed(client: Any) -> list[_Listed]:
    """Return all tools of a server, page by page."""
    from pydantic import ValidationError

    found: list[_Listed] = []
    cursor = None
    read: set[Any] = set()
    while True:
        try:
            page = await client.list_tools(cursor=cursor)
            raw = page.model_dump(by_alias=True, mode="json")
        except ValidationError:
            raw = await _raw_page(client, cursor)
        found += [_described(one) for one in raw.get("tools") or ()]
        # The client of mcp would refuse a whole result for what its schema says.
        schemas = getattr(client.session, "_tool_output_schemas", {})
        schemas.update(dict.fromkeys([*schemas, *(one.name for one in found)]))
        cursor = raw.get("nextCursor")
        if not cursor or str(cursor) in read:  # the same page would come for ever
            return found
        read.add(str(cursor))


async def _raw_page(client: Any, cursor: str | None) -> Any:
    """Ask again, past a client that refuses all tools for one that is not as it should.

    Raises:
        RuntimeError: If this version of ``mcp`` does not let us.
    """
    session = client.session
    data = {"method": "tools/list", "params": {"cursor": cursor} if cursor else {}}
    options: dict[str, Any] = {}
    try:
        session._stamp(data, options)
        asked = session._dispatcher.send_raw_request
    except AttributeError as exc:
        raise RuntimeError("one of its tools is not as MCP wants it") from exc
    return await asked(data["method"], data["params"], options)


def _described(raw: Any) -> _Listed:
    raw = as_dict(raw)
    return _Listed(
        str(raw.get("name") or ""),
        as_str(raw.get("description") or raw.get("title")),
        raw.get("inputSchema") or {},
        destructive=bool(as_dict(raw.get("annotations")).get("destructiveHint")),
    )


def _sent_name(name: str, legal: set[str]) -> str:
    """Return a name that hosts take, for a tool that may be called anything.

    Args:
        name: What its server calls it.
        legal: The names of the server's tools that hosts take as they are.

    Raises:
        ValueError: If it has no name.
    """
    if not name:
        raise ValueError("it has no name")
    if name in legal:
        return name
    sent = re.sub(r"[^a-zA-Z0-9_-]", "_", name)
    if len(sent) > _NAME or sent in legal or not re.search("[a-zA-Z0-9]", sent):
        mark = hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()[:8]
        sent = f"{sent[: _NAME - 9]}_{mark}"
    legal.add(sent)
    return sent


def _value(result: Any) -> Any:
    """Return all that a call gave, in words and pictures; its error as an exception."""
    pictures: list[bytes] = []
    parts = [_words(part, pictures) for part in result.content]
    text = "\n".join(filter(None, parts))
    data = result.structured_content
    if data is not None and not _says(parts, data):
        said = text_of(data)
        text = f"{text}\n{said}" if text else said
    if result.is_error:
        raise RuntimeError(text or "the server reported an error")
    return Content(text, tuple(pictures)) if pictures else text or "(no content)"


def _says(parts: list[str], data: Any) -> bool:
    """Tell whether a text says what the structured content does, as most do."""
    inner = (
        data["result"]
        if isinstance(data, Mapping) and set(data) == {"result"}
        else data
    )
    for part in parts:
        with contextlib.suppress(msgspec.DecodeError, RecursionError):
            if msgspec.json.decode(part) in (data, inner):
                return True
    return isinstance(inner, str) and inner in parts


def _words(part: Any, pictures: list[bytes]) -> str:
    """Return one part of a result as words; a picture that can be shown is kept."""
    kind = getattr(part, "type", "")
    if kind == "text":
        return str(part.text)
    if kind == "resource":
        inner = part.resource
        media = inner.mime_type or "unknown type"
        head = f"[The file {inner.uri} ({media})]"
        if hasattr(inner, "text"):
            return f"{head}\n{inner.text}"
        return f"{head}\n{_decoded(inner.blob, media, pictures)}"
    if kind == "resource_link":
        about = filter(None, (part.title, part.description, part.mime_type))
        told = ", ".join([part.name, str(part.uri), *about])
        return f"[A link to a file that was not read: {told}]"
    if kind in ("image", "audio"):
        return _decoded(part.data, part.mime_type, pictures)
    return str(msgspec.json.encode(part.model_dump(mode="json")).decode())


def _decoded(data: str, media: str, pictures: list[bytes]) -> str:
    try:
        raw = base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        return f"[Something of the type {media} that cannot be decoded]"
    if (kind := image_kind(raw)) and len(raw) <= _PICTURE_BYTES:
        pictures.append(raw)
        which = "" if kind == "image/png" else f" of the type {kind}"
        return f"A picture{which}, which is shown to the user."
    picture = media.startswith("image/")
    if media.startswith("text/") or (media.endswith(_TEXTS) and not picture):
        with contextlib.suppress(UnicodeDecodeError):
            return raw.decode()
    what = f"{'A picture' if picture else 'Something'} of the type {media}"
    return f"[{what}, {len(raw):,} bytes, which is left out]"
