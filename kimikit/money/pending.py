"""Rows that a ledger's file could not take before the kernel ended, beside the file."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
import time
from pathlib import Path

from kimikit.money.migrations import MIGRATIONS, transaction


def save(memory: sqlite3.Connection, ledger: Path) -> Path | None:
    """Write a database in memory beside a ledger; ``None`` if that is impossible."""
    stamp = f"{time.time_ns():x}-{os.getpid()}"
    target = ledger.with_name(f"{ledger.name}.pending-{stamp}")
    try:
        os.close(os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        with contextlib.closing(sqlite3.connect(target, isolation_level=None)) as db:
            memory.backup(db)
    except (sqlite3.Error, OSError, ValueError):
        return None
    return target


def take_in(db: sqlite3.Connection, ledger: Path) -> None:
    """Put rows that wait beside a ledger into it, and remove their files.

    A file that cannot be read, or is of another version, stays for a later kernel.
    """
    for path in sorted(ledger.parent.glob(f"{_literal(ledger.name)}.pending-*")):
        with contextlib.suppress(sqlite3.Error, OSError):
            if not _is_own(path):
                continue
            with contextlib.closing(sqlite3.connect(path)) as other:
                (version,) = other.execute("PRAGMA user_version").fetchone()
                if version != len(MIGRATIONS):
                    continue
                with transaction(db):
                    _copy(other, db)
            path.unlink(missing_ok=True)


def _is_own(path: Path) -> bool:
    """Tell whether this user wrote a file: in a shared folder anybody may leave one."""
    now = path.lstat()
    return stat.S_ISREG(now.st_mode) and now.st_uid == getattr(os, "getuid", int)()


def _literal(name: str) -> str:
    return "".join(f"[{c}]" if c in "*?[" else c for c in name)


def _copy(other: sqlite3.Connection, db: sqlite3.Connection) -> None:
    """Copy calls that are not there yet, and ends of those that are still open."""
    info = other.execute("PRAGMA table_info(calls)").fetchall()
    names = [name for _, name, *_ in info if name not in ("seq", "state")]
    columns, marks = ", ".join(names), ", ".join("?" * len(names))
    sets = ", ".join(f"{name} = ?" for name in names)
    for seq, state, *values in other.execute(
        f"SELECT seq, state, {columns} FROM calls ORDER BY seq"
    ).fetchall():
        id_ = values[names.index("id")]
        db.execute(
            f"INSERT OR IGNORE INTO calls ({columns}, state) VALUES ({marks}, 'open')",
            values,
        )
        if state != "open":
            # The trigger adds a row up when its state leaves 'open'.
            db.execute(
                f"UPDATE calls SET {sets}, state = ? WHERE id = ? AND state = 'open'",
                [*values, state, id_],
            )
        for table in ("requests", "replies"):
            said = f"SELECT body FROM {table} WHERE seq = ?"
            for (text,) in other.execute(said, [seq]).fetchall():
                db.execute(
                    f"INSERT OR IGNORE INTO {table} (seq, body)"
                    " SELECT seq, ? FROM calls WHERE id = ?",
                    [text, id_],
                )
    db.executemany(
        "INSERT OR IGNORE INTO zones VALUES (?)",
        other.execute("SELECT zone FROM zones").fetchall(),
    )
