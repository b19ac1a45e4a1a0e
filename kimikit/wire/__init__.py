"""Talk to hosts: requests go out, and answers come in, whatever hosts do to them.

Enter at ``Client.stream``. ``requests`` makes the body, ``hosts`` knows the profiles,
``dialects`` and ``features`` what single hosts want otherwise. An answer passes
``sse``, ``chunks``, ``calls`` and ``markers`` and becomes a ``Reply`` in ``answer``; a
host's error becomes one of ours in ``faults`` by ``rules``.
"""

from kimikit.wire.client import AsyncClient, Client
from kimikit.wire.hosts import profiles, resolve
from kimikit.wire.streams import AsyncStream, Stream

__all__ = [
    "AsyncClient",
    "AsyncStream",
    "Client",
    "Stream",
    "profiles",
    "resolve",
]
