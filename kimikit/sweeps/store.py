"""What a named sweep has answered before, and the keys it is found by."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from urllib.parse import quote

from kimikit.errors import BadInput
from kimikit.sweeps.grid import difference
from kimikit.types import AnswerStore, Reply


class Shelf:
    """The stored answers of one sweep.

    A key reads ``sweep/name/edition/grid/cell/repeat``: the grid in the key lets a
    name be recognised with another grid from the answers alone, and ``fresh`` opens
    a new edition, so that a sweep started over and killed resumes its new answers.

    Attributes:
        name: The sweep's name; one is made up where none was given, so that an
            unnamed sweep too can be continued by it.
        failed: Keys whose last call failed, to be asked first.
    """

    def __init__(
        self, store: AnswerStore | None, name: str | None, *, fresh: bool
    ) -> None:
        if name is not None and store is None:
            raise BadInput(
                f"The sweep is named {name!r}, but there is no ledger to keep it in.",
                "Sweep with kimi.sweep(...), or give a store.",
            )
        if name is not None and (not isinstance(name, str) or not name.strip()):
            raise BadInput(
                f"name is {name!r}.", "Give the sweep a short name, such as 'colours'."
            )
        made_up = time.strftime("%Y%m%d-%H%M%S-") + secrets.token_hex(2)
        self.name = made_up if name is None else name
        self.failed: frozenset[str] = frozenset()
        self._store = None if name is None else store
        self._fresh = fresh
        self._answers: Mapping[str, Reply] = {}
        self._prefix = ""

    def open(self, grid: str) -> None:
        """Look up what is stored for this name.

        Args:
            grid: The fingerprint of the grid now asked.

        Raises:
            BadInput: If the name holds another grid and ``fresh`` was not asked.
        """
        root = f"sweep/{quote(self.name, safe='')}/"
        answers = self._store.answers(root) if self._store is not None else {}
        editions: dict[int, str] = {}
        for key in answers:
            edition, _, rest = key.removeprefix(root).partition("/")
            if edition.isdecimal():
                editions[int(edition)] = rest.partition("/")[0]
        latest = max(editions, default=0)
        if self._fresh:
            latest += 1
        elif editions and editions[latest] != grid:
            raise BadInput(
                f"The name {self.name!r} belongs to a sweep with another grid: "
                f"{difference(editions[latest], grid)}.",
                "Give another name, or fresh=True to start this one over.",
            )
        self._answers = answers
        self._prefix = f"{root}{latest}/{grid}/"
        if self._store is not None:
            self.failed = frozenset(self._store.failed(self._prefix))

    def key(self, cell: str, repeat: int) -> str:
        """Return the key of one answer: ``cell`` is the hash of all it was asked."""
        return f"{self._prefix}{cell}/{repeat}"

    def get(self, key: str) -> Reply | None:
        """Return the stored answer, if it is whole."""
        reply = self._answers.get(key)
        return None if reply is None or reply.partial or reply.truncated else reply
