"""Answers that are paid for, found again by the key of their request."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from urllib.parse import quote

from kimikit.errors import BadInput
from kimikit.types import AnswerStore, Reply


class RequestCache:
    """The stored answers of one named piece of work.

    Args:
        store: Where they lie, such as the ledger.
        prefix: What their keys begin with, empty where nothing is named.

    Attributes:
        prefix: The same.
        failed: Keys that were asked and have no complete answer.
    """

    def __init__(self, store: AnswerStore | None = None, prefix: str = "") -> None:
        self.prefix = prefix if store is not None else ""
        self._answers: Mapping[str, Reply] = {}
        self.failed: Collection[str] = ()
        if store is not None and prefix:
            self._answers = store.answers(prefix)
            self.failed = store.failed(prefix)

    @classmethod
    def named(
        cls, kind: str, name: str | None, store: AnswerStore | None
    ) -> RequestCache:
        """Return the cache of a kind of work under the name that a user gave it.

        Raises:
            BadInput: If there is a name and no store, or the name is blank.
        """
        if name is None:
            return cls()
        if store is None or not isinstance(name, str) or not name.strip():
            raise BadInput(
                f"name={name!r} needs a store to find paid answers in, and a text.",
                "Give store=, for instance a ledger, or leave name out.",
            )
        return cls(store, f"{kind}/{quote(name, safe='')}/")

    def get(self, key: str) -> Reply | None:
        """Return the stored answer, if it is whole."""
        reply = self._answers.get(key) if key else None
        return None if reply is None or reply.partial or reply.truncated else reply
