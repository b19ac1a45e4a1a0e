"""Keep rows that the ledger's file could not take, or that were saved from damage."""

from __future__ import annotations

import contextlib
import glob
import os
import sqlite3
import stat
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from kimikit.money.database import FAULTS, connect
from kimikit.money.migrations import MIGRATIONS, transaction

TAKEN_OVER = 10_000
"""Calls of a damaged ledger that are put into the new one."""


def save(memory: sqlite3.Connection, ledger: Path) -> Path | None:
    """Write a database in memory beside a ledger; ``None`` if that is impossible."""
    stamp = f"{time.time_ns():x}-{os.getpid()}"
    target = ledger.with_name(f"{ledger.name}.pending-{stamp}")
    try:
        os.close(os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        with contextlib.closing(sqlite3.connect(target, isolation_level=None)) as db:
            memory.backup(db)
    except (sqlite3.Error, OSError, ValueError):
        with contextlib.suppress(OSError):
            target.unlink(missing_ok=True)
        return None
    return target


def take_in(db: sqlite3.Connection, ledger: Path) -> None:
    """Put rows that wait beside a ledger into it, and remove their files.

    A file that cannot be read, or is of another version, stays for a later kernel.
    """
    for path in sorted(ledger.parent.glob(f"{glob.escape(ledger.name)}.pending-*")):
        with contextlib.suppress(sqlite3.Error, OSError):
            if not _is_own(path):
                continue
            with contextlib.closing(sqlite3.connect(path)) as other:
                (version,) = other.execute("PRAGMA user_version").fetchone()
                if version != len(MIGRATIONS):
                    continue
                with transaction(db):
                    _copy(other, db, _calls(other))
            path.unlink(missing_ok=True)


def take_over(db: sqlite3.Connection, damaged: Path) -> int:
    """Put the last calls of a damaged ledger into a new one; return how many.

    A day's budget would begin anew without them.
    """
    taken = 0
    with contextlib.suppress(*FAULTS), contextlib.closing(connect(damaged)) as other:
        (version,) = other.execute("PRAGMA user_version").fetchone()
        calls = _readable(other) if version == len(MIGRATIONS) else []
        with transaction(db):
            taken = _copy(other, db, calls, lenient=True)
    return taken


def _is_own(path: Path) -> bool:
    """Tell whether this user wrote a file: in a shared folder anybody may leave one."""
    now = path.lstat()
    return stat.S_ISREG(now.st_mode) and now.st_uid == getattr(os, "getuid", int)()


def _columns(db: sqlite3.Connection) -> list[str]:
    info = db.execute("PRAGMA table_info(calls)").fetchall()
    return [name for _, name, *_ in info if name not in ("seq", "state")]


def _calls(db: sqlite3.Connection, rest: str = "") -> sqlite3.Cursor:
    columns = ", ".join(_columns(db))
    return db.execute(f"SELECT seq, state, {columns} FROM calls ORDER BY seq{rest}")


def _readable(db: sqlite3.Connection) -> list[tuple[Any, ...]]:
    """Return the calls before a damage and those after it, in their order."""
    found = {}
    for rest in ("", " DESC"):
        with contextlib.suppress(*FAULTS):
            for row in _calls(db, f"{rest} LIMIT {TAKEN_OVER}"):
                found[row[0]] = row
    return [found[seq] for seq in sorted(found)[-TAKEN_OVER:]]


def _copy(
    other: sqlite3.Connection,
    db: sqlite3.Connection,
    calls: Iterable[tuple[Any, ...]],
    *,
    lenient: bool = False,
) -> int:
    """Copy calls that are not there yet, and ends of those that are still open.

    A damaged ledger may lack columns. Returns how many calls could be copied.
    """
    skipped = FAULTS if lenient else ()
    names, taken = _columns(other), 0
    if "id" not in names:
        return 0
    for call in calls:
        before = db.total_changes
        with contextlib.suppress(*skipped):
            _copy_call(db, names, call)
        taken += db.total_changes > before  # none that lacks what has to be there
        for table in ("requests", "replies"):
            with contextlib.suppress(*skipped):
                _copy_text(other, db, table, call[0], call[2 + names.index("id")])
    with contextlib.suppress(*skipped):
        db.executemany(
            "INSERT OR IGNORE INTO zones VALUES (?)",
            other.execute("SELECT zone FROM zones").fetchall(),
        )
    return taken


def _copy_call(db: sqlite3.Connection, names: list[str], call: tuple[Any, ...]) -> None:
    _, state, *values = call
    columns, marks = ", ".join(names), ", ".join("?" * len(names))
    sets = ", ".join(f"{name} = ?" for name in names)
    db.execute(
        f"INSERT OR IGNORE INTO calls ({columns}, state) VALUES ({marks}, 'open')",
        values,
    )
    if state != "open":
        # The trigger adds a row up when its state leaves 'open'.
        db.execute(
            f"UPDATE calls SET {sets}, state = ? WHERE id = ? AND state = 'open'",
            [*values, state, values[names.index("id")]],
        )


def _copy_text(
    other: sqlite3.Connection, db: sqlite3.Connection, table: str, seq: int, id_: str
) -> None:
    said = f"SELECT body FROM {table} WHERE seq = ?"
    for (text,) in other.execute(said, [seq]).fetchall():
        db.execute(
            f"INSERT OR IGNORE INTO {table} (seq, body)"
            " SELECT seq, ? FROM calls WHERE id = ?",
            [text, id_],
        )
