"""Keep every call as a row that is opened before the request and closed after it."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import re
import sqlite3
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import platformdirs

from kimikit.display.footer import day
from kimikit.errors import BadInput
from kimikit.money import bills
from kimikit.money.database import time_zone
from kimikit.money.estimates import Ceiling, ceiling
from kimikit.money.jobs import JobStore
from kimikit.money.migrations import COUNTS
from kimikit.money.prices import PriceBook
from kimikit.money.queries import choice
from kimikit.money.rows import outcome
from kimikit.money.storable import counts, dollars, execute, pico, to_json
from kimikit.money.views import LedgerViews
from kimikit.secrets import redact, without
from kimikit.types import Call, Reply, Usage
from kimikit.types.pickling import Handle
from kimikit.types.sent import Again
from kimikit.usage import paid_as

_TAGS: ContextVar[tuple[str, ...]] = ContextVar("kimikit_tags", default=())

_SECRET = re.compile(r";base64,[A-Za-z0-9+/=]{2000,}")
"""What no row holds, besides keys: the bytes of pictures."""

_OF_REPLY = ("first_token_s", "duration_s", "finish_reason")
Check = Callable[[Decimal], None]
"""Raises if too much is spent or held by other calls of the day, in US dollars."""


@contextlib.contextmanager
def tag(name: str) -> Iterator[None]:
    """Mark the calls made in this block; blocks inside each other join with ``/``.

    Args:
        name: A word or two, such as ``experiment``.

    Raises:
        BadInput: If the name is empty.
    """
    if not isinstance(name, str) or not name.strip():
        raise BadInput(
            f"tag({name!r}) names nothing.", "Give a word, such as tag('experiment')."
        )
    token = _TAGS.set((*_TAGS.get(), name.strip()))
    try:
        yield
    finally:
        _TAGS.reset(token)


class Ledger(Handle, LedgerViews):
    """All calls of all kernels of a user, with what they cost at the time.

    An ``Observer`` of clients and an ``AnswerStore`` for what is resumed; many threads
    and kernels may write at once. On a disk that is full or cannot be written it warns
    once and goes on in memory.

    Args:
        path: The SQLite file; without one ``KIMIKIT_LEDGER``, else
            ``ledger.sqlite3`` in the user's data folder.
        store: ``full`` keeps requests and answers, ``usage`` only numbers (then
            nothing can be searched, and work with a ``name`` is refused); without one
            ``KIMIKIT_STORE``, else ``full``.
        prices: Where prices come from, a new ``PriceBook`` if not given.

    Attributes:
        path: The file, which is not written while ``failure`` says why.
        session: This kernel's own mark in the rows.
        jobs: The batches under way.
        running: Calls that are open in this kernel, with their tokens so far.
        secrets: Keys in use, which no row may hold; ``Kimi`` adds its own.
        recent: What the last answers of a model took, for a moment.
        origin: What a view says of replayed answers, if it holds nothing else.
        askers: By a host's name, what asks it again, for ``row.replay()``.

    Raises:
        BadInput: If ``store`` is another word.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        store: str | None = None,
        prices: PriceBook | None = None,
    ) -> None:
        kept = store or os.environ.get("KIMIKIT_STORE") or "full"
        choice("store= (or KIMIKIT_STORE)", kept, ("full", "usage"))
        folder = platformdirs.user_data_path("kimikit", appauthor=False)
        named = path or os.environ.get("KIMIKIT_LEDGER") or folder / "ledger.sqlite3"
        super().__init__(Path(named).expanduser(), texts=kept == "full")
        self.prices = PriceBook() if prices is None else prices
        self.path = self._store.path
        self.jobs = JobStore(self.path)
        self.session = uuid.uuid4().hex[:12]
        self.running: dict[str, Usage] = {}
        self.secrets: set[str] = set()
        self._listeners: list[Callable[[], None]] = []
        self.recent: dict[str, tuple[float, list[bills.Answered]]] = {}
        self._zone: tuple[int, str] | None = None
        self.origin = ""
        self.askers: dict[str, Again] = {}

    def opened(
        self, call: Call, *, reserve: Decimal | None = None, check: Check | None = None
    ) -> None:
        """Write a call down before it is sent, with what it can cost at most.

        Args:
            call: The call.
            reserve: US dollars to hold back for it, if not what it can cost at most.
            check: Told what all kernels spend and hold back today; if it raises, no
                row is left.
        """
        row, request = self._row(call), self._request(call)
        row["reserved"] = row["at_most"] if reserve is None else pico(reserve)

        def insert(db: sqlite3.Connection) -> None:
            self._note_zone(db)
            insert_row(db, row, request)

        def work(db: sqlite3.Connection) -> None:
            if check is not None:
                check(self._used(call))
            insert(db)

        if call.grouped and check is None:
            self._store.later(insert)
        else:
            self._store.write(work, insert)
        self.progressed(call, Usage())

    def flush(self) -> None:
        """Write the rows of calls that begin or end together, in one transaction."""
        self._store.flush()

    def hold(self, call: Call, reserve: Decimal, check: Check) -> None:
        """Hold back another amount for an open call, if ``check`` lets it."""

        def update(db: sqlite3.Connection) -> None:
            held = "UPDATE calls SET reserved = ? WHERE id = ?"
            db.execute(held, (pico(reserve), call.id))

        def work(db: sqlite3.Connection) -> None:
            check(self._used(call))
            update(db)

        self._store.write(work, update)

    def _used(self, call: Call) -> Decimal:
        """Return what calls of the same day in UTC took or hold, in all kernels."""
        day = dt.datetime.fromtimestamp(call.created, dt.UTC).date().isoformat()
        amounts = self._store.read(
            "SELECT sum(cost) + sum(at_most) FROM daily WHERE utc_day = ? UNION ALL"
            " SELECT sum(reserved) FROM calls WHERE state = 'open' AND utc_day = ?"
            " AND id <> ?",
            [day, day, call.id],
        )
        return dollars(sum(some or 0 for (some,) in amounts))

    def _note_zone(self, db: sqlite3.Connection) -> None:
        """Write down, once a file, in which time zone its days are."""
        here = self._store.opened, time_zone()
        if here != self._zone:
            db.execute("INSERT OR IGNORE INTO zones VALUES (?)", here[1:])
            self._zone = here

    def progressed(self, call: Call, usage: Usage) -> None:
        """Take note that an answer grows; nothing is written."""
        self.running[call.id] = usage
        self._tell()

    def lost(self, call: Call, error: BaseException) -> None:
        """Write down a request that was taken and lost, and is being sent again.

        The host may bill it beside the one that is answered in the end.
        """
        if outcome(None, error) != "lost":
            return
        gone = msgspec.structs.replace(
            call, id=uuid.uuid4().hex, meta={}, grouped=False
        )
        self.opened(gone)
        self.closed(gone, None, error)

    def closed(
        self, call: Call, reply: Reply | None, error: BaseException | None
    ) -> None:
        """Complete the row of a call with its usage, its cost and its answer."""
        self.running.pop(call.id, None)
        self.recent.pop(call.model, None)
        end = self._end(call, reply, error)
        kept = None if reply is None else self._reply(call, reply)
        # What is stopped or failed is followed by no flush of its own.
        whole = reply is not None and not reply.partial and error is None
        write = self._store.later if call.grouped and whole else self._store.write
        write(lambda db: self._close(db, call, end, kept))
        self._tell()

    def _close(
        self, db: sqlite3.Connection, call: Call, end: dict[str, Any], kept: str | None
    ) -> None:
        if not _complete(db, call.id, end):
            # Opened on a disk that failed since: the whole row goes to memory.
            self._moved.add(call.id)
            insert_row(db, self._row(call), self._request(call))
            _complete(db, call.id, end)
        if self._texts:
            db.execute(
                "INSERT OR IGNORE INTO replies (seq, body)"
                " SELECT seq, ? FROM calls WHERE id = ?",
                (kept, call.id),
            )

    def _row(self, call: Call) -> dict[str, Any]:
        """Return what is known of a call before it is sent."""
        about = call.host.name, call.model
        most = ceiling(call.endpoint, call.body, self.prices.longest(*about, call.body))
        return {
            "id": call.id,
            "key": call.meta.get("key"),
            "created": call.created,
            "day": day(call.created),
            "session": self.session,
            "endpoint": call.endpoint,
            "host": call.host.name,
            "model": call.model,
            "tag": "/".join(_TAGS.get()),
            "notebook": os.path.basename(os.environ.get("JPY_SESSION_NAME", "")),
            "stand_in": call.host.stand_in,
            "at_most": pico(self.at_most(call, most)),
        }

    def bill(
        self, host: str, model: str, params: Mapping[str, Any], prompt: Any
    ) -> tuple[Decimal | None, Decimal | None]:
        """Return the likely and the highest cost of one call in US dollars.

        Likely is the mean of complete answers that this model gave to such requests,
        highest is ``max_tokens`` or, without it, the model's longest answer.

        Args:
            host: Name of the host profile.
            model: The model's id there.
            params: Parameters of the call, such as ``max_tokens`` and ``system``.
            prompt: A text, or messages.

        Returns:
            Two costs; ``None`` where no price or no limit is known.
        """
        return bills.bill(self.prices, host, model, params, prompt, history=self)

    def at_most(self, call: Call, most: Ceiling) -> Decimal | None:
        """Return what so many tokens cost at most, whichever model answers."""
        about = call.host.name, call.model, call.body, call.created
        return most.cost(self.prices.dearest(*about))

    def cost(self, call: Call, reply: Reply) -> tuple[Decimal | None, bytes | None]:
        """Return what a call cost in US dollars and, as JSON, the price used.

        What the host says it charged wins; the cost is ``None`` when no price is
        known, and the price is when the cost was not made from it.
        """
        if reply.usage.cost_usd is not None:
            return reply.usage.cost_usd, None
        for model in paid_as(call.model, reply.model, call.body):
            price = self.prices.lookup(call.host.name, model, call.created)
            if price is not None:
                cost = price.cost(reply.usage)
                if reply.cost in (None, cost):
                    return cost, msgspec.json.encode(price)
        return reply.cost, None

    def _end(
        self, call: Call, reply: Reply | None, error: BaseException | None
    ) -> dict[str, Any]:
        """Return what the end of a call adds to its row."""
        cost, price = self.cost(call, reply) if reply else (None, None)
        if call.replayed and not self.origin:
            cost, price = Decimal(0), None  # it was paid when it was recorded
        return {
            "state": outcome(reply, error),
            # A host that was left to choose the model says which it took.
            "model": call.model or (reply.model if reply else ""),
            **(counts(reply.usage) if reply else dict.fromkeys(COUNTS)),
            **{name: reply and getattr(reply, name) for name in _OF_REPLY},
            "cost": pico(cost),
            "price": price,
            "error": error and self._told(call, error),
        }

    def _told(self, call: Call, error: BaseException) -> str:
        """Return what went wrong in short; its words may be a prompt's."""
        name = type(error).__name__
        return f"{name}: {self._safe(call, str(error))[:500]}" if self._texts else name

    def _request(self, call: Call) -> str | None:
        """Return what is kept of a request, if texts are."""
        if not self._texts:
            return None
        return _pictureless(redact(to_json(call.body), *self._keys(call)))

    def _reply(self, call: Call, reply: Reply) -> str | None:
        """Return what is kept of an answer, if texts are.

        It goes back to who resumes by name, so nothing is taken out but keys that are
        in use, and pictures from the host's own record of it.
        """
        if not self._texts:
            return None
        raw = _pictureless(to_json(reply.raw)).encode()
        kept = msgspec.structs.replace(reply, parsed=None, raw=msgspec.Raw(raw))
        return without(to_json(kept), self._keys(call))

    def _keys(self, call: Call) -> list[str]:
        """Return the keys in use, which no row may hold."""
        own = os.environ.get(call.host.key_variable or "-", "")
        return [*self.secrets, own]

    def _safe(self, call: Call, text: str) -> str:
        """Return a host's words without keys."""
        return _pictureless(redact(text, *self._keys(call)))

    def _tell(self) -> None:
        for listener in tuple(self._listeners):
            listener()

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        self._store.close()

    def __reduce_ex__(self, protocol: Any) -> Any:
        # The file is the ledger: another process opens it for itself.
        store = "full" if self._texts else "usage"
        return _reopened, (str(self.path), store, self.prices)


def _reopened(path: str, store: str, prices: PriceBook) -> Ledger:
    return Ledger(path, store=store, prices=prices)


def insert_row(
    db: sqlite3.Connection, row: dict[str, Any], request: str | None
) -> None:
    """Write a call that is open, with its request if that is kept."""
    names, values = ", ".join(row), ", ".join(f":{name}" for name in row)
    sql = f"INSERT OR IGNORE INTO calls ({names}, state) VALUES ({values}, 'open')"
    if execute(db, sql, row).rowcount and request is not None:
        db.execute("INSERT INTO requests VALUES (last_insert_rowid(), ?)", (request,))


def _complete(db: sqlite3.Connection, id: str, end: dict[str, Any]) -> bool:
    """Complete the open row of a call; tell whether there was one."""
    sets = ", ".join(f"{name} = :{name}" for name in end)
    sql = f"UPDATE calls SET {sets} WHERE id = :id AND state = 'open'"
    return execute(db, sql, {**end, "id": id}).rowcount > 0


def _pictureless(text: str) -> str:
    return _SECRET.sub("***", text) if ";base64," in text else text
