"""Ask the ledger for rows, totals and answers, and delete what it shall forget."""

from __future__ import annotations

import datetime as dt
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, overload

from kimikit.errors import BadInput, nearest
from kimikit.json_values import is_count, short
from kimikit.money import search
from kimikit.money.database import time_zone
from kimikit.money.estimates import Sample
from kimikit.money.migrations import GROUPS, SUMS
from kimikit.money.rows import COLUMNS, CallRow, Calls, Total, stored
from kimikit.money.store import Store
from kimikit.types import Reply

Since = dt.datetime | dt.date | float | str | None
"""A moment: ``today``, ``month``, an ISO date as text, a date or datetime in local
time, or Unix time."""

WHERE = (*GROUPS, "id", "key", "session", "endpoint", "state")
"""Columns that rows can be chosen by."""


class StoredAnswers(Mapping[str, Reply]):
    """The complete answers whose keys begin with a prefix, as they are now.

    Args:
        store: Where they are.
        prefix: What their keys begin with.
    """

    _WHOLE = (
        "FROM calls JOIN replies USING (seq) WHERE key BETWEEN ? AND ?"
        " AND state = 'complete' AND body IS NOT NULL"
    )

    def __init__(self, store: Store, prefix: str) -> None:
        self._store = store
        rows = store.read(f"SELECT DISTINCT key {self._WHOLE}", _beginning(prefix))
        self._keys = {key: None for (key,) in rows}

    def __getitem__(self, key: str) -> Reply:
        if key in self._keys:
            newest = f"SELECT body {self._WHOLE} ORDER BY seq DESC LIMIT 1"
            for (body,) in self._store.read(newest, [key, key])[-1:]:
                if (reply := stored(body, Reply)) is not None:
                    return reply
        raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)


class Queries:
    """The reading half of a ``Ledger``.

    Args:
        path: The SQLite file.
        texts: Whether new calls are kept with their requests and answers.
    """

    origin = ""  # what a view says of replayed answers, if it holds nothing else

    def __init__(self, path: Path, *, texts: bool) -> None:
        self._store = Store(path)
        self._texts = texts
        self._moved: set[str] = set()

    def calls(
        self, limit: int | None = 50, *, since: Since = None, **where: str
    ) -> Calls:
        """Return rows, newest first.

        Args:
            limit: How many at most, ``None`` for all.
            since: Only calls asked at this moment or later.
            where: Only calls with this value of a column of ``WHERE``, such as
                ``model="..."``; ``id=`` takes the beginning of one.

        Raises:
            BadInput: If ``where`` names something else, or ``since`` is no moment.
        """
        tests, values = ["1"], list[Any]()
        if since is not None:
            tests, values = ["created >= ?"], [_moment(since)]
        for name, value in where.items():
            choice("calls()", name, WHERE)
            if name == "id":  # its beginning is enough, as tables show it
                tests.append("id BETWEEN ? AND ?")
                values += _beginning(value)
            elif name == "day":  # the asker's day, whatever the writer's was
                tests.append("created >= ? AND created < ?")
                values += _bounds(value)
            else:
                tests.append(f"{name} = ?")
                values.append(value)
        return self._select(" AND ".join(tests), values, limit)

    def search(self, text: str, limit: int | None = 50) -> Calls:
        """Return calls whose prompt or answer has all words of ``text``, newest first.

        Words are matched whole and without case; Chinese, Japanese and Korean by
        their characters. Without SQLite's FTS5 the stored JSON is scanned instead.

        Raises:
            BadInput: If ``text`` has no words, or more than 2,000 characters.
        """
        return self._select(*search.matching(self._store, text), limit)

    def _select(self, test: str, values: Sequence[Any], limit: int | None) -> Calls:
        if limit is not None and not is_count(limit, 0):
            raise BadInput(
                f"limit is {short(limit)}.",
                "Give a whole number from 0, or None for all calls.",
            )
        columns = ", ".join(COLUMNS)
        rows: dict[str, CallRow] = {}
        for raw in self._store.read(
            f"SELECT {columns} FROM calls WHERE {test} ORDER BY seq DESC LIMIT ?",
            [*values, -1 if limit is None else int(limit)],
        ):
            # A call whose end moved to memory hides its open twin on disk.
            rows.setdefault(raw[0], CallRow.read(raw, self))
        return Calls(list(rows.values())[:limit], self.origin)

    def read(self, id: str) -> tuple[dict[str, Any] | None, Reply | None]:
        """Return the request and the answer of a call as they were stored."""
        found = self._store.read(
            "SELECT requests.body, replies.body FROM calls LEFT JOIN requests"
            " USING (seq) LEFT JOIN replies USING (seq) WHERE id = ?",
            [id],
        )
        request, reply = found[0] if found else (None, None)
        return stored(request), stored(reply, Reply)

    def answers(self, key_prefix: str) -> Mapping[str, Reply]:
        """Return complete replies by the ``meta["key"]`` they were asked with.

        Stopped and cut-off answers are left out, so that they are asked again. Each is
        read when it is asked for, so that a million of them take no memory.

        Args:
            key_prefix: What the keys begin with.

        Raises:
            BadInput: If new answers are not kept, so that whatever is asked by these
                keys would be paid for again each time.
        """
        if not self._texts:
            raise BadInput(
                "This ledger keeps numbers only (store='usage' or KIMIKIT_STORE), so "
                "no answer can be found again under a name.",
                "Leave name= out, or keep answers with Ledger(store='full') or "
                "KIMIKIT_STORE=full.",
            )
        return StoredAnswers(self._store, key_prefix)

    def failed(self, key_prefix: str) -> set[str]:
        """Return the keys without a complete reply, those of dead kernels too.

        Args:
            key_prefix: What the keys begin with.
        """
        rows = self._store.read(
            "SELECT DISTINCT key, state = 'complete' FROM calls WHERE key BETWEEN ?"
            " AND ?",
            _beginning(key_prefix),
        )
        return {key for key, _ in rows} - {key for key, complete in rows if complete}

    def samples(self, model: str = "", host: str = "") -> list[Sample]:
        """Return the last requests to ``model`` and the prompt tokens hosts counted.

        Args:
            model: A model; without one, or for any Kimi, those of all Kimi models.
            host: Only those to the host of this name.
        """
        like = "%kimi%" if "kimi" in (model or "kimi").lower() else model
        rows = self._store.read(
            "SELECT body, prompt_tokens FROM calls JOIN requests USING (seq)"
            " WHERE state = 'complete' AND NOT estimated AND model LIKE ?"
            " AND endpoint = 'chat' AND host LIKE ? ORDER BY seq DESC LIMIT 200",
            [like, host or "%"],
        )
        return [(body, tokens) for text, tokens in rows if (body := stored(text))]

    def answered(self, model: str, limit: int) -> list[tuple[Any, ...]]:
        """Return the last complete chats with ``model``, and their answers' tokens."""
        return self._store.read(
            "SELECT body, completion_tokens FROM calls JOIN requests USING (seq)"
            " WHERE state = 'complete' AND model = ? AND endpoint = 'chat'"
            " AND completion_tokens > 0 ORDER BY seq DESC LIMIT ?",
            [model, limit],
        )

    @overload
    def total(self, by: None = None, since: Since = None) -> Total: ...
    @overload
    def total(self, by: str, since: Since = None) -> dict[str, Total]: ...
    @overload
    def total(
        self, by: tuple[str, ...], since: Since = None
    ) -> dict[tuple[str, ...], Total]: ...
    def total(self, by: Any = None, since: Since = None) -> Any:
        """Return what calls took together.

        Args:
            by: ``model``, ``host``, ``tag``, ``notebook`` or ``day`` for a dict of
                totals by that, several of them for a dict by tuples.
            since: Only calls asked at this moment or later.

        Returns:
            One ``Total``, or a dict of them, the dearest first, days in order.

        Raises:
            BadInput: If ``by`` is another word, or ``since`` is no moment.
        """
        names = () if by is None else (by,) if isinstance(by, str) else by
        for name in names:
            choice("total()", name, GROUPS)
        totals: dict[tuple[str, ...], Total] = {}
        for row in self._sums(names, since):
            key, found = row[: len(names)], Total(*row[len(names) :])
            totals[key] = totals.get(key, Total()) + found
        if by is None:
            return totals.get((), Total())

        def dearest(key: tuple[str, ...]) -> Any:
            return -totals[key].cost_pico, -totals[key].calls, key

        order = sorted(totals, key=None if "day" in names else dearest)
        return {key[0] if isinstance(by, str) else key: totals[key] for key in order}

    def _sums(self, by: Sequence[str], since: Since) -> list[tuple[Any, ...]]:
        """Return sums by group, of whole days as far as can be.

        Whole are days in UTC; the asker's days are those of the writers where all have
        had one time zone, else each call is asked for its own.
        """
        start = _moment(since)
        day, end = "", start
        if since is not None:
            first = dt.datetime.fromtimestamp(start, dt.UTC).date()
            day = first.isoformat()
            midnight = dt.datetime.combine(first, dt.time(), dt.UTC)
            end = midnight.timestamp() + 86400
        own = "day" not in by or self._one_zone()
        names = "".join(f"{name}, " for name in by)
        whole = f"SELECT {names}{_DAILY} FROM daily WHERE utc_day > ?"
        if not own:
            local = "date(created, 'unixepoch', 'localtime')"
            names = "".join(f"{local if n == 'day' else n}, " for n in by)
            whole, end = f"{whole} AND 0", float("inf")
        group = f" GROUP BY {', '.join(map(str, range(1, len(by) + 1))) or 'NULL'}"
        moved = ", ".join("?" * len(self._moved))
        # Left to itself, SQLite may walk all rows in the order of the groups.
        return self._store.read(
            f"{whole}{group}"
            f" UNION ALL SELECT {names}{_EACH} FROM calls INDEXED BY calls_by_day"
            f" WHERE created >= ? AND created < ? AND state <> 'open'{group}"
            f" UNION ALL SELECT {names}{_EACH} FROM calls INDEXED BY calls_open"
            f" WHERE state = 'open' AND created >= ? AND id NOT IN ({moved}){group}",
            [day, start, end, start, *self._moved],
        )

    def _one_zone(self) -> bool:
        """Tell whether all calls were written in the time zone that is here now."""
        return {zone for (zone,) in self._store.read("SELECT zone FROM zones")} <= {
            time_zone()
        }

    def session_total(self, session: str) -> Total:
        """Return what the calls of one kernel took."""
        moved = ", ".join("?" * len(self._moved))
        rows = self._store.read(
            f"SELECT {_EACH} FROM calls WHERE session = ?"
            f" AND NOT (state = 'open' AND id IN ({moved})) GROUP BY session",
            [session, *self._moved],
        )
        return sum((Total(*row) for row in rows), Total())

    def forget(
        self,
        id: str | None = None,
        *,
        before: Since = None,
        text: str | None = None,
        everything: bool = False,
    ) -> int:
        """Delete calls for good, from the totals, the index and the file's free pages.

        Args:
            id: The id of one call.
            before: Forget the calls asked before this moment.
            text: Forget the calls that ``search`` finds for it.
            everything: Forget all calls.

        Returns:
            How many calls were forgotten.

        Raises:
            BadInput: Unless exactly one of the four is given.
        """
        if sum([id is not None, before is not None, text is not None, everything]) != 1:
            raise BadInput(
                "forget() takes one of id, before, text and everything.",
                "Say which calls, such as forget(before='2026-01-01').",
            )
        test, values = "1", list[Any]()
        if id is not None:
            test, values = "id = ?", [id]
        elif before is not None:
            test, values = "created < ?", [_moment(before)]
        elif text is not None:
            test, values = search.matching(self._store, text)

        def work(db: sqlite3.Connection) -> int:
            rows = db.execute(f"SELECT seq FROM calls WHERE {test}", values).fetchall()
            search.remove(db, rows)
            for table in ("requests", "replies", "calls"):
                db.executemany(f"DELETE FROM {table} WHERE seq = ?", rows)
            return len(rows)

        count = self._store.write(work)
        self._store.vacuum()
        return count


_DAILY = ", ".join(f"sum({name})" for name in SUMS)
_EACH = ", ".join(f"sum({term.format(r='calls')})" for term in SUMS.values())


def choice(where: str, name: object, allowed: Sequence[str]) -> None:
    """Refuse a name that is not allowed, with the nearest that is."""
    if name not in allowed:
        raise BadInput(
            f"{where} does not know {name!r}.{nearest(str(name), allowed)}",
            f"Use one of {', '.join(allowed)}.",
        )


def _moment(since: Any) -> float:
    """Return the Unix time of a moment; ``None`` is the beginning."""
    if since is None:
        return float("-inf")
    today = dt.date.today()
    named = {"today": today, "month": today.replace(day=1)}
    try:
        moment = named.get(since, since)
        if isinstance(moment, str | dt.date):
            moment = dt.datetime.fromisoformat(str(moment)).timestamp()
        dt.datetime.fromtimestamp(moment, dt.UTC)  # some days before year 1 are none
        return float(moment)
    except (ValueError, TypeError, OverflowError, OSError) as exc:
        raise BadInput(
            f"{since!r} is not a moment.",
            "Give 'today', 'month', an ISO date such as '2026-11-23', a date, a "
            "datetime, or Unix time.",
        ) from exc


def _bounds(day: str) -> tuple[float, float]:
    """Return the first moment of a local day and of the one after it."""
    start = _moment(str(day))
    after = dt.date.fromtimestamp(start) + dt.timedelta(days=1)
    return start, _moment(after)


def _beginning(prefix: str) -> list[str]:
    """Return what all keys that begin with ``prefix`` lie between."""
    return [prefix, prefix + "\U0010ffff"]
