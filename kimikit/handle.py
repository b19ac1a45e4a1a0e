"""What holds connections and keys: its copy is itself, and it does not travel."""

from __future__ import annotations

from typing import Any, Self

from kimikit.errors import BadInput


class Handle:
    """A base of objects that share a connection, a file or a key.

    Whatever holds one can be deep-copied: the copy uses the same connection. Pickling
    would lose it or write the key down, and is refused with what to do instead.
    """

    __slots__ = ()

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: Any) -> Self:
        return self

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise BadInput(
            f"A {type(self).__name__} holds a key and open connections, which are not "
            "pickled.",
            "Make a new one in the other process; replies and sweeps can be pickled.",
        )
