"""Make the ledger's tables, and bring files of older versions up to this one."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator, Sequence

GROUPS = ("day", "host", "model", "tag", "notebook")
"""What calls are added up by."""

COUNTS = (
    "prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens",
    "estimated", "cache_write_tokens", "cache_write_1h_tokens",
)  # fmt: skip
"""What a row keeps of a ``Usage``."""

_UNSEEN = "{r}.state IN ('open', 'lost') AND NOT {r}.stand_in"
_ANSWERED = "{r}.state IN ('complete', 'partial', 'truncated') AND NOT {r}.stand_in"
SUMS = {
    "calls": "1",
    **{name: f"ifnull({{r}}.{name}, 0)" for name in (*COUNTS, "cost")},
    "unpriced": f"({{r}}.cost IS NULL AND {_ANSWERED})",
    "unknown": f"({_UNSEEN})",
    "at_most": f"({_UNSEEN}) * ifnull({{r}}.at_most, 0)",
    "unbounded": f"({{r}}.at_most IS NULL AND {_UNSEEN})",
}
"""What a total adds up, and how each term is read from a row ``r`` of ``calls``."""

_SUMS_1 = {name: term for name, term in SUMS.items() if "cache_write" not in name}
"""What version 1 added up."""


def _rollup(row: str, sign: str, keys: Sequence[str], sums: dict[str, str]) -> str:
    """Return SQL that adds a row of ``calls`` to its day, or takes it away."""
    values = ", ".join(f"{row}.{name}" for name in keys)
    terms = ", ".join(f"{sign}{term.format(r=row)}" for term in sums.values())
    added = ", ".join(f"{name} = {name} + excluded.{name}" for name in sums)
    return (
        f"INSERT INTO daily VALUES ({values}, {terms}) "
        f"ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {added};"
    )


def _daily(keys: Sequence[str], sums: dict[str, str]) -> tuple[str, ...]:
    """Return SQL that makes the running totals and the triggers that keep them."""
    groups = ", ".join(f"{name} TEXT NOT NULL" for name in keys)
    columns = ", ".join(f"{name} INTEGER NOT NULL" for name in sums)
    return (
        f"CREATE TABLE daily ({groups}, {columns},"
        f" PRIMARY KEY ({', '.join(keys)})) WITHOUT ROWID",
        "CREATE TRIGGER close_call AFTER UPDATE OF state ON calls"
        f" WHEN old.state = 'open' BEGIN {_rollup('new', '', keys, sums)} END",
        "CREATE TRIGGER forget_call AFTER DELETE ON calls"
        f" WHEN old.state <> 'open' BEGIN {_rollup('old', '-', keys, sums)}"
        " DELETE FROM daily WHERE day = old.day AND calls = 0; END",
    )


def _first(db: sqlite3.Connection) -> None:
    """Version 1: calls, what was said in them, and a running total of each day."""
    groups = ", ".join(f"{name} TEXT NOT NULL" for name in GROUPS)
    for statement in (
        "CREATE TABLE calls (seq INTEGER PRIMARY KEY AUTOINCREMENT,"
        f" id TEXT NOT NULL UNIQUE, key TEXT, created REAL NOT NULL, {groups},"
        " session TEXT NOT NULL, endpoint TEXT NOT NULL, stand_in INTEGER NOT NULL,"
        " state TEXT NOT NULL, prompt_tokens INTEGER, completion_tokens INTEGER,"
        " cached_tokens INTEGER, reasoning_tokens INTEGER, estimated INTEGER,"
        " cost INTEGER, at_most INTEGER, reserved INTEGER, price TEXT,"
        " first_token_s REAL, duration_s REAL, finish_reason TEXT, error TEXT)",
        "CREATE INDEX calls_by_day ON calls (day, created)",
        "CREATE INDEX calls_by_session ON calls (session)",
        "CREATE INDEX calls_by_key ON calls (key) WHERE key IS NOT NULL",
        "CREATE INDEX calls_open ON calls (created) WHERE state = 'open'",
        "CREATE TABLE requests (seq INTEGER PRIMARY KEY, body TEXT NOT NULL)",
        "CREATE TABLE replies (n INTEGER PRIMARY KEY AUTOINCREMENT,"
        " seq INTEGER NOT NULL UNIQUE, body TEXT)",
        *_daily(GROUPS, _SUMS_1),
    ):
        db.execute(statement)


def _second(db: sqlite3.Connection) -> None:
    """Version 2: what the local stand-in costs is known, it is 0."""
    db.execute(
        "UPDATE calls SET at_most = 0,"
        " cost = CASE WHEN state IN ('complete', 'partial', 'truncated') THEN 0 END"
        " WHERE stand_in"
    )


def _third(db: sqlite3.Connection) -> None:
    """Version 3: days that are the same in all time zones, and cache writes.

    ``day`` stays the writer's own day, ``utc_day`` is computed, so that a kernel of an
    older version may go on writing beside this one. ``zones`` says whether all writers
    had the asker's own days.
    """
    keys = ("utc_day", *GROUPS)
    sums = ", ".join(f"sum({term.format(r='calls')})" for term in SUMS.values())
    for statement in (
        "ALTER TABLE calls ADD COLUMN cache_write_tokens INTEGER",
        "ALTER TABLE calls ADD COLUMN cache_write_1h_tokens INTEGER",
        "ALTER TABLE calls ADD COLUMN utc_day TEXT"
        " GENERATED ALWAYS AS (date(created, 'unixepoch')) VIRTUAL",
        "DROP INDEX calls_by_day",
        # The old name: kernels of older versions ask for it in their queries.
        "CREATE INDEX calls_by_day ON calls (created)",
        "DROP TRIGGER close_call",
        "DROP TRIGGER forget_call",
        "DROP TABLE daily",
        *_daily(keys, SUMS),
        f"INSERT INTO daily SELECT {', '.join(keys)}, {sums} FROM calls"
        f" WHERE state <> 'open' GROUP BY {', '.join(keys)}",
        "CREATE TABLE zones (zone TEXT PRIMARY KEY) WITHOUT ROWID",
    ):
        db.execute(statement)


MIGRATIONS: tuple[Callable[[sqlite3.Connection], None], ...] = (
    _first, _second, _third,
)  # fmt: skip
"""Applied in order, each once; one that has landed is never edited."""


def migrate(db: sqlite3.Connection) -> None:
    """Bring an open file to the newest schema, in one transaction.

    Raises:
        sqlite3.DatabaseError: If a newer kimikit wrote the file.
    """
    newest = len(MIGRATIONS)
    with transaction(db):
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version > newest:
            raise sqlite3.DatabaseError(
                f"a newer kimikit wrote it, schema {version} where this one knows "
                f"{newest}; use that kimikit, or another file: KIMIKIT_LEDGER"
            )
        for step in MIGRATIONS[max(version, 0) :]:
            step(db)
        if version < newest:
            db.execute(f"PRAGMA user_version = {newest}")


@contextlib.contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """Write from here on: all of the block or, where it raises, nothing of it."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        db.rollback()
        raise


def lacking(db: sqlite3.Connection) -> tuple[list[str], list[str]]:
    """Compare a file with what its schema should have.

    Returns:
        Names of columns that it lacks, and SQL that makes the indexes and triggers
        that it lacks.
    """
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as fresh:
        migrate(fresh)
        wanted = fresh.execute(_OBJECTS).fetchall()
        columns = _columns(fresh, wanted)
    found = db.execute(_OBJECTS).fetchall()
    there = {name for _, name, _ in found}
    gone = columns - _columns(db, found)
    return sorted(gone), [
        sql for kind, name, sql in wanted if kind != "table" and name not in there
    ]


def _columns(db: sqlite3.Connection, objects: Sequence[tuple[str, ...]]) -> set[str]:
    """Return the names of all columns as ``table.column``."""
    tables = [name for kind, name, _ in objects if kind == "table"]
    read = "SELECT name FROM pragma_table_xinfo(?)"
    return {f"{t}.{name}" for t in tables for (name,) in db.execute(read, [t])}


_OBJECTS = "SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL"
