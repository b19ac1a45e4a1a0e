"""Open the ledger's database, and say what is wrong with it."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from pathlib import Path
from typing import Any

from kimikit.money.migrations import lacking

CHECKPOINT_PAGES = 4000
"""16 MB of log before it is worked in: a quarter of the waiting for the disk."""

FAULTS = (sqlite3.Error, OSError, UnicodeDecodeError)
"""The last is raised where SQLite's message quotes a damaged page."""

_CORRUPT = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


class Connection(sqlite3.Connection):
    """A connection that is closed when nobody holds it any more.

    Python 3.13 warns of one that is not. A ``__del__`` of the store would be too late:
    where both are part of a cycle, the connection may be collected first.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._pid = os.getpid()

    def __del__(self) -> None:
        # A forked child must not close what its parent opened.
        if getattr(self, "_pid", None) == os.getpid():
            self.close()


def connect(
    path: Path | None = None, options: str = "", timeout_s: float = 1.0
) -> sqlite3.Connection:
    """Open a file or, without one, a database in memory."""
    name = f"{path.absolute().as_uri()}?{options}" if path else ":memory:"
    db = sqlite3.connect(
        name,
        timeout=timeout_s,
        isolation_level=None,
        check_same_thread=False,
        uri=True,
        factory=Connection,
    )
    db.text_factory = _text
    return db


def _text(raw: bytes) -> str:
    """Read a text; a damaged one is shown as far as it can be."""
    return raw.decode("utf-8", "replace")


def check_owner(db: sqlite3.Connection) -> None:
    """Refuse a database that another program made: nothing of it may be changed."""
    # By one look: another kernel may make its tables just now.
    sql = "SELECT user_version, name FROM pragma_user_version LEFT JOIN sqlite_master"
    found = db.execute(sql).fetchall()
    version, tables = found[0][0], {name for _, name in found} - {None}
    if tables if version <= 0 else not tables & {"calls", "daily", "replies"}:
        raise OSError("it is a database, but no ledger")


def use_wal(db: sqlite3.Connection, patience_s: float) -> None:
    """Let readers and one writer work side by side.

    When two first kernels switch at once, SQLite does not wait by itself.
    """
    give_up = time.monotonic() + patience_s
    while True:
        try:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = NORMAL")
            db.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
            return
        except sqlite3.OperationalError as exc:
            if "locked" not in str(exc) or time.monotonic() > give_up:
                raise
            time.sleep(0.01)


def identity(path: Path) -> tuple[int, int] | None:
    """Return what tells a file from another of its name, ``None`` without one."""
    try:
        now = os.stat(path)
    except OSError:
        return None
    return now.st_dev, now.st_ino


def is_corrupt(cause: Exception, path: Path) -> bool:
    """Tell whether a file is damaged, not just busy, full or out of reach."""
    code = getattr(cause, "sqlite_errorcode", None)
    if isinstance(cause, UnicodeDecodeError) or "malformed" in str(cause):
        return True  # SQLite's own message named what it read
    if not isinstance(cause, sqlite3.Error) or code is None:
        return False
    if code & 0xFF != sqlite3.SQLITE_ERROR:
        return code & 0xFF in _CORRUPT
    # It may name a table or a column that is gone.
    try:
        with contextlib.closing(connect(path, "mode=ro")) as db:
            (found,) = db.execute("PRAGMA quick_check(1)").fetchone()
            return found != "ok" or bool(lacking(db)[0])
    except (sqlite3.Error, OSError, UnicodeDecodeError) as exc:
        return getattr(exc, "sqlite_errorcode", 0) & 0xFF in (*_CORRUPT, 0)


def is_ours(path: Path) -> bool:
    """Tell whether a file was a database once; another file is left where it is."""
    try:
        with path.open("rb") as file:
            head = file.read(16)
    except (OSError, ValueError):
        return False
    return head == b"SQLite format 3\0" or not head.strip(b"\0")


def time_zone() -> str:
    """Return what tells one time zone from another: its names and offsets."""
    return f"{'/'.join(time.tzname)} {-time.timezone} {-time.altzone}"
