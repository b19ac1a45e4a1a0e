"""The answers of a sweep that are paid for, found again by its name and grid."""

from __future__ import annotations

import secrets
import time
from collections.abc import Collection

from kimikit.errors import BadInput
from kimikit.runner.cache import RequestCache, prefix_of
from kimikit.sweeps.grid import difference
from kimikit.types import AnswerStore, Reply


class SweepCache(RequestCache):
    """The stored answers of one sweep.

    A key reads ``sweep/name/edition/grid/point/repeat``: the grid in the key lets a
    name be recognised with another grid from the answers alone, and ``fresh`` opens
    a new edition, so that a sweep started over and killed resumes its new answers.

    Args:
        store: The ledger, if there is one.
        name: The sweep's name, if it has one.
        grid: The fingerprint of the grid now asked.
        fresh: Whether to start over.

    Attributes:
        name: The sweep's name; one is made up where none was given, so that an
            unnamed sweep too can be continued by it.
        failed: Keys whose last call failed, to be asked first.
        older: For a point's digest the one that version 0.3.0 gave it, and the Unix
            time from which on its answer is to the same files.
        by_name: How many answers were found by the name of their host alone.

    Raises:
        BadInput: If the name holds another grid and ``fresh`` was not asked.
    """

    def __init__(
        self, store: AnswerStore | None, name: str | None, grid: str, *, fresh: bool
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
        self.older: dict[str, tuple[str, float]] = {}
        self.by_name = 0
        made_up = time.strftime("%Y%m%d-%H%M%S-") + secrets.token_hex(2)
        self.name = made_up if name is None else name
        root = prefix_of("sweep", self.name)
        known = None if name is None else store
        super().__init__(known, root)
        editions: dict[int, str] = {}
        for key in self._answers:
            edition, stored_grid, *_ = key.removeprefix(root).split("/")
            editions[int(edition)] = stored_grid
        latest = max(editions, default=0)
        if fresh:
            latest += 1
        elif editions and editions[latest] != grid:
            raise BadInput(
                f"The name {self.name!r} belongs to a sweep with another grid: "
                f"{difference(editions[latest], grid)}.",
                "Give another name, or fresh=True to start this one over.",
            )
        self.prefix = f"{root}{latest}/{grid}/"
        self.failed: Collection[str] = (
            () if known is None else known.failed(self.prefix)
        )

    @property
    def empty(self) -> bool:
        """Whether no answer can be found here."""
        return not self._answers

    def key(self, digest: str, repeat: int) -> str:
        """Return the key of one answer: ``digest`` is of all its point asks."""
        return f"{self.prefix}{digest}/{repeat}"

    def get(self, key: str) -> Reply | None:
        """Return the stored answer, if it is whole."""
        reply = super().get(key)
        if reply is None and self.older and self._answers:
            digest, repeat = key.rsplit("/", 2)[1:]
            was, since = self.older.get(digest, ("", 0.0))
            reply = super().get(self.key(was, int(repeat)))
            if reply is not None and reply.created < since:
                return None  # a file was written since
            self.by_name += reply is not None and since == 0
        return reply
