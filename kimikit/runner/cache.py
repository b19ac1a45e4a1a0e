"""Find answers that are paid for by the key of their request."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any
from urllib.parse import quote

from kimikit.errors import BadInput
from kimikit.types import AnswerStore, Host, Reply
from kimikit.wire import keys


class RequestCache:
    """The stored answers of one named piece of work.

    Args:
        store: Where they lie, such as the ledger.
        prefix: What their keys begin with, empty where nothing is named.

    Attributes:
        prefix: The same.
        claimed: Keys that batches under way will answer.
    """

    def __init__(self, store: AnswerStore | None = None, prefix: str = "") -> None:
        self.prefix = prefix if store is not None else ""
        self._answers: Mapping[str, Reply] = {}
        self.claimed: Collection[str] = ()
        if store is not None and prefix:
            # Before the answers: what is collected in between is then in both.
            jobs = getattr(store, "jobs", None)
            self.claimed = jobs.claimed(prefix) if jobs is not None else ()
            self._answers = store.answers(prefix)

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
        if store is None:
            raise BadInput(
                f"name={name!r} needs a store to find paid answers in.",
                "Give store=, for instance a ledger, or leave name out.",
            )
        return cls(store, prefix_of(kind, name))

    def get(self, key: str) -> Reply | None:
        """Return the stored answer, if it is whole."""
        reply = self._answers.get(key) if key else None
        return None if reply is None or reply.partial or reply.truncated else reply


def prefix_of(kind: str, name: str) -> str:
    """Return what all keys of a named piece of work begin with.

    Raises:
        BadInput: If the name is no text, or blank.
    """
    if not isinstance(name, str) or not name.strip():
        raise BadInput(
            f"name={name!r} is no name to find paid answers by.",
            "Give a text, or leave name out.",
        )
    return f"{kind}/{quote(name, safe='', errors='surrogatepass')}/"


class RequestKeys:
    """Gives each request of a named piece of work the key that its answer is kept by.

    Args:
        cache: Where the answers of the work are found.
        host: Who is asked, as far as it is known.
        defaults: What every request is asked with.
    """

    def __init__(
        self, cache: RequestCache, host: Host | None, defaults: dict[str, Any]
    ) -> None:
        self._cache, self._host, self._defaults = cache, host, defaults
        self._asked: Counter[str] = Counter()
        self._lock = threading.Lock()

    def of(self, messages: Any, params: dict[str, Any], meta: Any) -> tuple[str, str]:
        """Return the key of a request, and the one that version 0.3.0 gave it."""
        asked = [self._defaults, messages, keys.without_patience(params), meta]
        digest = keys.request_key(self._host, asked)
        older = keys.old_request_key(self._host, asked) or digest
        with self._lock:
            # The same question asked n times, as a vote does, has n answers.
            self._asked[digest] += 1
            nth = self._asked[digest]
        prefix = self._cache.prefix
        return f"{prefix}{digest}/{nth}", f"{prefix}{older}/{nth}"
