"""Send one request to another server, and pass its answer on piece by piece."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncGenerator, Sequence
from typing import NamedTuple

import h11

_READ_BYTES = 1 << 16


class Place(NamedTuple):
    """Where a server listens.

    Attributes:
        host: Its name or address.
        port: Its port.
        tls: What secures the way, ``None`` for plain HTTP.
    """

    host: str
    port: int
    tls: ssl.SSLContext | None = None

    @property
    def named(self) -> str:
        """The server as requests name it, its port unless that is understood."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"


async def exchange(
    place: Place,
    method: str,
    target: str,
    headers: Sequence[tuple[str, str]],
    body: bytes,
) -> AsyncGenerator[h11.Response | bytes, None]:
    """Yield the head of the answer to a request, then the pieces of its body.

    Closing it closes the connection, which ends the other server's work.

    Raises:
        OSError: If the server cannot be reached or hangs up.
    """
    wire = h11.Connection(h11.CLIENT)
    reader, writer = await asyncio.open_connection(
        place.host, place.port, ssl=place.tls
    )
    with contextlib.closing(writer):
        head = [("Host", place.named), *headers, ("Content-Length", str(len(body)))]
        request = h11.Request(method=method, target=target, headers=head)
        for part in (request, h11.Data(data=body), h11.EndOfMessage()):
            writer.write(wire.send(part) or b"")
        try:
            while not isinstance(event := wire.next_event(), h11.EndOfMessage):
                if event is h11.NEED_DATA:
                    data = await reader.read(_READ_BYTES)
                    if not data and wire.their_state is h11.SEND_RESPONSE:
                        raise ConnectionResetError("it hung up without an answer")
                    wire.receive_data(data)
                elif isinstance(event, h11.Response):
                    yield event
                elif isinstance(event, h11.Data):
                    yield bytes(event.data)
        except h11.RemoteProtocolError as exc:
            raise ConnectionResetError(str(exc)) from exc
