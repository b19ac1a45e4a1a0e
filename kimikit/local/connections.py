"""Connections that nobody has answered yet: how long they may wait, and how many.

Any user of the machine can connect to a loopback port. Who sends half a request, or
none, must not keep the owner out.
"""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

from uvicorn.protocols.http.h11_impl import H11Protocol

HEADERS_S = 10.0
"""Seconds within which a request must say what it asks."""

WAITING_PER_PEER = 128
"""Connections of one peer without a request; for one more the oldest is closed."""


class BoundedProtocol(H11Protocol):
    """HTTP/1.1 in which waiting has an end and a bound."""

    _waiting: ClassVar[dict[str, dict[BoundedProtocol, asyncio.TimerHandle]]] = {}

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for a request."""
        super().connection_made(transport)
        self._look()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._forget()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes; a request that is whole is waited for no more."""
        super().data_received(data)
        self._look()

    def on_response_complete(self) -> None:
        """Begin to wait again after an answer."""
        super().on_response_complete()
        self._look()

    @property
    def _peers(self) -> dict[BoundedProtocol, asyncio.TimerHandle]:
        peer = self.client[0] if self.client else ""
        return self._waiting.setdefault(peer, {})

    def _look(self) -> None:
        """Count this connection as waiting unless it is being answered."""
        if self.transport.is_closing() or (
            self.cycle is not None and not self.cycle.response_complete
        ):
            self._forget()
            return
        peers = self._peers
        if self not in peers:
            peers[self] = self.loop.call_later(HEADERS_S, self._drop)
            if len(peers) > WAITING_PER_PEER:
                next(iter(peers))._drop()

    def _forget(self) -> None:
        if timer := self._peers.pop(self, None):
            timer.cancel()

    def _drop(self) -> None:
        self._forget()
        self.transport.abort()
