"""Read whole bodies: those of answers, and files of the web that they point to."""

from __future__ import annotations

import contextlib
import io
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, BinaryIO, TypeVar
from urllib.parse import urljoin, urlsplit

from kimikit import errors
from kimikit.wire import network
from kimikit.wire.answer import MOST_BYTES, Answer
from kimikit.wire.base import Base
from kimikit.wire.streams import AsyncStream, Stream
from kimikit.wire.unpack import unpacker

FILE_BYTES = 64 * 2**20
"""Bytes of a file of the web that are read."""
REDIRECTS = 5
"""How often an answer may point elsewhere."""

_S = TypeVar("_S", Stream, AsyncStream)


class Bodies(Base[_S]):
    """Reading, for both clients: their steps are coroutines; see ``client``."""

    lost: tuple[type[Exception], ...]
    _send: Callable[..., Awaitable[Any]]
    _pieces: Callable[[Any], AsyncIterator[bytes]]
    _bare: Callable[[str], AbstractAsyncContextManager[Any]]
    _closing: Callable[[Any], AbstractAsyncContextManager[None]]
    _named: Callable[..., Awaitable[None]]

    async def fetching(self, url: str) -> bytes:
        """Return a file of the web; empty if it cannot be had.

        It may lie anywhere that the public can reach, or on the host itself, so the
        request is bare: it carries no key.

        Args:
            url: Its address.
        """
        with contextlib.suppress(ValueError, OSError, errors.KimiError, *self.lost):
            for _ in range(REDIRECTS):
                address = self._may_fetch(url)
                if address is None:
                    break
                said, url = await self._fetched(url, address)
                if not url:
                    return said
        return b""

    async def putting(self, url: str, content: bytes) -> None:
        """Put bytes where a host wants them, by a request that carries no key.

        Raises:
            ConnectionFailed: If they are not taken there.
        """
        with contextlib.suppress(ValueError, OSError, *self.lost):
            if (address := self._may_fetch(url)) is not None:
                async with self._bare(url) as http:
                    response = await self._sent_bare(
                        http, "PUT", url, address, content=content
                    )
                    await self.read(response, most=FILE_BYTES)
                    if response.is_success:
                        return
        raise errors.ConnectionFailed(
            f"{self.host.title or self.host.name} did not take a file where it had "
            "wanted it.",
            "Try again; nothing was begun.",
            host=self.host.name,
        )

    async def _sent_bare(
        self, http: Any, method: str, url: str, address: str, **content: Any
    ) -> Any:
        """Send a request without a key to where its name was looked up.

        A proxy looks it up itself.
        """
        request = http.build_request(method, url, **content)
        request.headers.pop("authorization", None)
        if address and network.proxy_for(str(request.url)) is None:
            request.extensions["sni_hostname"] = request.url.host
            request.url = request.url.copy_with(host=address)
        return await self._send(request, http=http)

    async def _fetched(self, url: str, address: str) -> tuple[bytes, str]:
        """Return a file, or the address that it has moved to."""
        async with self._bare(url) as http:
            response = await self._sent_bare(http, "GET", url, address)
            moved = response.headers.get("location") if response.is_redirect else None
            said = await self.read(response, most=FILE_BYTES)
            if moved is not None:
                return b"", urljoin(url, moved)
            return said if response.is_success else b"", ""

    def _may_fetch(self, url: str) -> str | None:
        """Return the public address of a file that an answer names.

        Returns:
            Empty where it needs none, on the host itself; ``None`` if it may not be
            asked.
        """
        there, host = urlsplit(url), urlsplit(self.host.base_url)
        if there.scheme not in ("http", "https") or not there.hostname:
            return None
        own = (there.hostname, there.port) == (host.hostname, host.port)
        offline = self.recorder is not None and self.recorder.offline
        if own or offline or self._transport is not None:
            return ""
        return network.public_address(there.hostname) or None

    async def read(self, response: Any, *, most: int = MOST_BYTES) -> bytes:
        """Return a whole body, as far as ``most`` bytes."""
        said = io.BytesIO()
        await self.save(response, said, most=most)
        return said.getvalue()[:most]

    async def save(
        self,
        response: Any,
        file: BinaryIO,
        answer: Answer | None = None,
        *,
        most: int = MOST_BYTES,
    ) -> None:
        """Write a body into ``file`` and close it, at the latest at ``most`` bytes."""
        await self._named(self._save(response, file, most), answer)

    async def _save(self, response: Any, file: BinaryIO, most: int) -> None:
        unpack, written = unpacker(response.headers), 0
        async with self._closing(response):
            async for data in self._pieces(response):
                data = data if unpack is None else unpack.feed(data)
                written += file.write(data)
                if written > most:
                    break
