"""Send requests in an event loop by few steps per call and per read.

What httpx uses itself goes through another library for every read and looks at all
connections for every call, which took a third of a call's time. HTTP itself is still
read by httpcore, which comes with httpx.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import select
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Self, cast

import httpcore

from kimikit.wire.joined_chunks import Chunks

BUFFERED = 2**20
"""Bytes that may wait to be read before the host is held up."""
UNSENT = 2**16
"""Bytes that are put together to one packet before they are sent."""
EYEBALLS_S = 0.25
"""After how long the next address of a host is tried beside the first (RFC 8305)."""


class _Socket(asyncio.Protocol, httpcore.AsyncNetworkStream):
    """A connection as asyncio fills it and httpcore reads it."""

    _transport: asyncio.Transport

    def __init__(self) -> None:
        self._data = bytearray()
        self._unsent = bytearray()
        self._chunks = Chunks()
        self._waiter: asyncio.Future[None] | None = None
        self._alarm: asyncio.TimerHandle | None = None
        self._due_s = math.inf
        self._error: Exception | None = None
        self._ended = self._closed = self._held_up = self._full = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._data += data
        if len(self._data) > BUFFERED and not self._held_up:
            self._held_up = True
            self._transport.pause_reading()
        self._wake()

    def eof_received(self) -> bool:
        self._ended = True
        self._wake()
        return self._transport.get_extra_info("sslcontext") is None

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended, self._error = True, exc
        self._alarm_at(None)
        self.resume_writing()

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _wait(self, most_s: float | None) -> None:
        """Wait for anything to happen to the connection."""
        loop = asyncio.get_running_loop()
        if most_s is not None:
            self._due_s = loop.time() + most_s
            if self._alarm is None or self._alarm.when() > self._due_s:
                self._alarm_at(self._due_s)
        self._waiter = loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter, self._due_s = None, math.inf

    def _alarm_at(self, when_s: float | None) -> None:
        """Be woken then; an alarm serves many reads, as a timer for each is dear."""
        if self._alarm is not None:
            self._alarm.cancel()
        loop = asyncio.get_running_loop()
        self._alarm = None if when_s is None else loop.call_at(when_s, self._ring)

    def _ring(self) -> None:
        waiter, self._alarm = self._waiter, None
        if waiter is None or waiter.done() or self._due_s == math.inf:
            return
        if self._due_s > asyncio.get_running_loop().time():
            self._alarm_at(self._due_s)
        else:
            waiter.set_exception(TimeoutError())

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        """Return what has come, at once if there is anything; nothing at the end."""
        self._send()
        while True:
            while not self._data:
                if self._closed or self._error is not None:
                    raise httpcore.ReadError(str(self._error or "closed"))
                if self._ended:
                    return self._chunks.finish()
                try:
                    await self._wait(timeout)
                except TimeoutError:
                    raise httpcore.ReadTimeout from None
            data = bytes(self._data[:max_bytes])
            del self._data[:max_bytes]
            if self._held_up and len(self._data) < BUFFERED and not self._ended:
                self._held_up = False
                self._transport.resume_reading()
            if data := self._chunks.feed(data):
                return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        """Send bytes, small ones with those that follow."""
        if self._ended:
            raise httpcore.WriteError(str(self._error or "closed"))
        self._chunks = Chunks()  # what comes now is an answer to it
        self._unsent += buffer
        if len(self._unsent) > UNSENT:
            self._send()
        while self._full:
            try:
                await self._wait(timeout)
            except TimeoutError:
                raise httpcore.WriteTimeout from None

    def _send(self) -> None:
        if self._unsent:
            unsent, self._unsent = self._unsent, bytearray()
            if not self._ended:
                self._transport.write(unsent)

    async def aclose(self) -> None:
        """Close the connection; a host that does not answer holds nobody up."""
        self._closed = self._ended = True
        self._transport.close()
        self._wake()
        try:
            await asyncio.sleep(0)
        finally:
            self._transport.abort()

    def abort(self) -> None:
        """Close it at once."""
        self._closed = self._ended = True
        self._transport.abort()
        self._wake()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> httpcore.AsyncNetworkStream:
        """Go on under TLS."""
        loop, made = asyncio.get_running_loop(), None
        try:
            ssl_context.cert_store_stats()  # has ``network.Trust`` load them
            with _connecting():
                async with asyncio.timeout(timeout):
                    made = await loop.start_tls(
                        self._transport,
                        self,
                        ssl_context,
                        server_hostname=server_hostname,
                    )
                if made is None or made.is_closing():
                    raise ConnectionResetError("it was closed while TLS began")
        except BaseException:
            await self.aclose()
            raise
        self._transport = made
        return self

    def get_extra_info(self, info: str) -> Any:
        """Return what httpcore asks for."""
        if info == "is_readable":
            return bool(self._data) or self._ended or self._readable()
        names = {"client_addr": "sockname", "server_addr": "peername"}
        return self._transport.get_extra_info(names.get(info, info))

    def _readable(self) -> bool:
        """Look at the socket itself: that a host has hung up may be news to asyncio."""
        known = self._transport.get_extra_info("socket")
        if known is None or known.fileno() < 0:
            return True
        if not hasattr(select, "poll"):  # Windows
            return bool(select.select([known.fileno()], [], [], 0)[0])
        poll = select.poll()
        poll.register(known.fileno(), select.POLLIN)
        return bool(poll.poll(0))


@contextlib.contextmanager
def _connecting() -> Iterator[None]:
    """Say of what fails here that there is no connection."""
    try:
        yield
    except TimeoutError as exc:
        raise httpcore.ConnectTimeout(str(exc)) from exc
    except (OSError, UnicodeError) as exc:  # TLS's errors are of the first kind
        raise httpcore.ConnectError(str(exc)) from exc


async def _connected(url: httpcore.URL, verify: ssl.SSLContext, how: Any) -> _Socket:
    """Connect to a host by the first of its addresses that answers.

    Args:
        url: Where to.
        verify: The TLS context.
        how: The extensions of the request, as httpcore knows them.
    """
    origin, loop = url.origin, asyncio.get_running_loop()
    host, limit_s = origin.host.decode("ascii"), how.get("timeout", {}).get("connect")
    with _connecting():
        async with asyncio.timeout(limit_s):
            _, made = await loop.create_connection(
                _Socket, host, origin.port, happy_eyeballs_delay=EYEBALLS_S
            )
    if origin.scheme == b"https":
        verify.set_alpn_protocols(["http/1.1"])
        await made.start_tls(verify, how.get("sni_hostname") or host, limit_s)
    return made


_Connection = httpcore.AsyncHTTP11Connection
_Key = tuple[bytes, bytes, int]
"""The scheme, host and port of a URL."""


class Connections:
    """An httpx transport for one event loop, without a proxy.

    Args:
        verify: The TLS context.
        idle_s: How long an unused connection is kept.
        make: Makes a response of its status, headers, body and extensions.
        error: Makes an error of httpx by its name and words.
    """

    def __init__(
        self,
        *,
        verify: ssl.SSLContext,
        idle_s: float,
        make: Callable[[int, Any, Any, Any], Any],
        error: Callable[[str, str], Exception],
    ) -> None:
        self._verify, self._idle_s = verify, idle_s
        self._make, self._error = make, error
        self._all: dict[_Connection, tuple[_Key, _Socket]] = {}
        self._idle: dict[_Key, list[_Connection]] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def handle_async_request(self, request: Any) -> Any:
        """Send a request by a free connection, or a new one; return the response."""
        url = request.url
        if url.scheme not in ("http", "https"):
            raise self._error("UnsupportedProtocol", f"{url.scheme}:// is not known.")
        sent = httpcore.Request(
            method=request.method,
            url=httpcore.URL(
                scheme=url.raw_scheme,
                host=url.raw_host,
                port=url.port,
                target=url.raw_path,
            ),
            headers=request.headers.raw,
            content=request.stream,
            extensions=request.extensions,
        )
        with self.known_errors():
            connection = await self._connection(sent)
            try:
                response = await connection.handle_async_request(sent)
            except BaseException:
                self.give_back(connection)
                raise
        body = _Received(self, connection, response.stream)
        return self._make(response.status, response.headers, body, response.extensions)

    async def _connection(self, sent: httpcore.Request) -> _Connection:
        """Return the connection that was used last, and close those that are over."""
        origin = sent.url.origin
        key = origin.scheme, origin.host, origin.port
        idle = self._idle.get(key, [])
        while idle and idle[0].has_expired():
            await self._close(idle.pop(0))
        while idle:
            found = idle.pop()
            if not found.has_expired():
                return found
            await self._close(found)
        socket = await _connected(sent.url, self._verify, sent.extensions)
        made = _Connection(origin, socket, self._idle_s)
        self._all[made] = key, socket
        return made

    async def _close(self, connection: _Connection) -> None:
        self._all.pop(connection, None)
        await connection.aclose()

    def give_back(self, connection: _Connection) -> None:
        """Keep a connection for the next request, if it can be used again."""
        if (known := self._all.get(connection)) is not None:
            key, socket = known
            if connection.is_available():
                self._idle.setdefault(key, []).append(connection)
            else:  # a task that is cancelled twice may have left it open
                del self._all[connection]
                socket.abort()

    @contextlib.contextmanager
    def known_errors(self) -> Iterator[None]:
        """Make errors of httpcore those of httpx."""
        try:
            yield
        except Exception as exc:
            if not type(exc).__module__.startswith("httpcore"):
                raise
            raise self._error(type(exc).__name__, str(exc)) from exc

    async def aclose(self) -> None:
        """Close all connections, also those under way."""
        closing, self._all = list(self._all), {}
        self._idle.clear()
        for connection in closing:
            await connection.aclose()


class _Received:
    """A body that gives its connection back when it is closed."""

    def __init__(self, pool: Connections, connection: _Connection, given: Any) -> None:
        self._pool, self._connection, self._given = pool, connection, given
        self.close = given.aclose  # which nobody calls in an event loop

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with self._pool.known_errors():
            async for data in self._given:
                yield data

    async def aclose(self) -> None:
        try:
            await self._given.aclose()
        finally:
            self._pool.give_back(self._connection)
