"""Keep connections and keys out of pickles."""

from __future__ import annotations

import contextlib
from typing import Any, Self

from kimikit.errors import BadInput
from kimikit.secrets import cut


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


class Travels:
    """A base of values that are pickled without the keys in use."""

    __slots__ = ()
    __struct_fields__: tuple[str, ...]

    def __reduce__(self) -> tuple[Any, ...]:
        fields = {name: getattr(self, name) for name in self.__struct_fields__}
        with contextlib.suppress(RecursionError):
            fields = cut(fields)
        return _arrived, (type(self), fields)


def _arrived(kind: Any, fields: dict[str, Any]) -> Any:
    return kind(**fields)
