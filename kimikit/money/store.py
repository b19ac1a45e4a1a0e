"""One SQLite file that many kernels write at once, or memory where none can be had.

Money is kept as integer pico-dollars (1e-12 $): a price of $0.375 per million tokens
is 375,000 of them a token, so sums are exact and fast, up to nine million dollars.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

from kimikit.errors import KimiWarning

T = TypeVar("T")
PICO = 10**12
BUSY_S = 30.0
"""How long a write waits for other kernels' writes."""
TIDY_S = 1.0
"""How long tidying up waits for other kernels' reads."""

CHECKPOINT_PAGES = 4000
"""16 MB of log before it is worked in: a quarter of the waiting for the disk."""

GROUPS = ("day", "host", "model", "tag", "notebook")
"""What calls are added up by."""

COUNTS = (
    "prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens",
    "estimated",
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


def _rollup(row: str, sign: str) -> str:
    """Return SQL that adds a row of ``calls`` to its day, or takes it away."""
    keys = ", ".join(f"{row}.{name}" for name in GROUPS)
    terms = ", ".join(f"{sign}{term.format(r=row)}" for term in SUMS.values())
    added = ", ".join(f"{name} = {name} + excluded.{name}" for name in SUMS)
    return (
        f"INSERT INTO daily VALUES ({keys}, {terms}) "
        f"ON CONFLICT ({', '.join(GROUPS)}) DO UPDATE SET {added};"
    )


def _first(db: sqlite3.Connection) -> None:
    """Version 1: calls, what was said in them, and a running total of each day."""
    groups = ", ".join(f"{name} TEXT NOT NULL" for name in GROUPS)
    sums = ", ".join(f"{name} INTEGER NOT NULL" for name in SUMS)
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
        f"CREATE TABLE daily ({groups}, {sums},"
        f" PRIMARY KEY ({', '.join(GROUPS)})) WITHOUT ROWID",
        "CREATE TRIGGER close_call AFTER UPDATE OF state ON calls"
        f" WHEN old.state = 'open' BEGIN {_rollup('new', '')} END",
        "CREATE TRIGGER forget_call AFTER DELETE ON calls"
        f" WHEN old.state <> 'open' BEGIN {_rollup('old', '-')}"
        " DELETE FROM daily WHERE day = old.day AND calls = 0; END",
    ):
        db.execute(statement)


def _second(db: sqlite3.Connection) -> None:
    """Version 2: what the local stand-in costs is known, it is 0."""
    db.execute(
        "UPDATE calls SET at_most = 0,"
        " cost = CASE WHEN state IN ('complete', 'partial', 'truncated') THEN 0 END"
        " WHERE stand_in"
    )


MIGRATIONS: tuple[Callable[[sqlite3.Connection], None], ...] = (_first, _second)
"""Applied in order, each once; one that has landed is never edited."""


def migrate(db: sqlite3.Connection) -> None:
    """Bring an open file to the newest schema, in one transaction.

    Raises:
        sqlite3.DatabaseError: If a newer kimikit wrote the file.
    """
    newest = len(MIGRATIONS)
    with _transaction(db):
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version > newest:
            raise sqlite3.DatabaseError(
                f"a newer kimikit wrote it, schema {version} where this one knows "
                f"{newest}; upgrade with: pip install -U kimikit"
            )
        for step in MIGRATIONS[version:]:
            step(db)
        if version < newest:
            db.execute(f"PRAGMA user_version = {newest}")


@contextlib.contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[None]:
    """Write from here on: all of the block or, where it raises, nothing of it."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        db.rollback()
        raise


class Store:
    """A SQLite file behind one connection and one lock.

    Attributes:
        path: The file.
        failure: Why rows are kept in memory only, or ``None`` while the file works.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.failure: Exception | None = None
        self._db: sqlite3.Connection | None = None
        self._disk: sqlite3.Connection | None = None
        self._pid = os.getpid()
        self._inherited: list[sqlite3.Connection | None] = []
        self._lock = threading.RLock()

    @contextlib.contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        """Lend the open database to one thread; in a forked child, open it again."""
        if self._pid != os.getpid():
            # SQLite must not use, nor close, a connection that a parent opened.
            self._inherited += [self._db, self._disk]
            self._db = self._disk = self.failure = None
            self._pid, self._lock = os.getpid(), threading.RLock()
        with self._lock:
            if self._db is None:
                try:
                    self._db = self._open()
                except (sqlite3.Error, OSError) as exc:
                    self._fall_back(exc)
            assert self._db is not None
            yield self._db

    def _open(self) -> sqlite3.Connection:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
        self.path.chmod(0o600)
        db = _connect(self.path)
        try:
            _use_wal(db)
            migrate(db)
        except BaseException:
            db.close()
            raise
        return db

    def _fall_back(self, cause: Exception) -> None:
        """Go on in memory, keep the file for reading if it can be read, and say so."""
        self.failure, self._disk, self._db = cause, self._db, _connect()
        migrate(self._db)
        if self._disk is None and "newer kimikit" not in str(cause):
            self._disk = _read_only(self.path)
        warnings.warn(
            f"The ledger {self.path} cannot be written ({cause}). New calls are kept "
            "in memory until this kernel ends. Free the disk or point KIMIKIT_LEDGER "
            "at a writable file, then restart the kernel.",
            KimiWarning,
            stacklevel=4,
        )

    def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run ``work`` in one transaction, in memory if the file fails."""
        with self._connection() as db:
            try:
                with _transaction(db):
                    return work(db)
            except sqlite3.Error as exc:
                if self.failure:
                    raise
                self._fall_back(exc)
            return self.write(work)

    def read(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return the rows of a query, those kept in memory before those on disk."""
        with self._connection() as db:
            rows: list[tuple[Any, ...]] = db.execute(sql, values).fetchall()
            if self._disk is not None:
                with contextlib.suppress(sqlite3.Error):
                    rows += self._disk.execute(sql, values).fetchall()
            return rows

    def vacuum(self) -> None:
        """Give deleted rows' space back, so that nothing of them is in the file."""
        if why := self.failure or self._tidy():
            warnings.warn(
                f"What was to be forgotten may still be in {self.path} ({why}). Call "
                "ledger.forget() again for any row when the file can be written and "
                "other kernels are idle.",
                KimiWarning,
                stacklevel=3,
            )

    def _tidy(self) -> str:
        """Write the file anew; return what stood in the way, if anything."""
        try:
            with contextlib.closing(_connect(self.path, timeout_s=TIDY_S)) as db:
                db.execute("VACUUM")
                (busy, *_) = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except sqlite3.OperationalError as exc:
            return str(exc)
        return "another kernel was using the ledger" if busy else ""

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        with self._lock:
            for db in filter(None, (self._db, self._disk)):
                db.close()
            self._db = self._disk = None


class _Database(sqlite3.Connection):
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


def _connect(
    path: Path | None = None, options: str = "", timeout_s: float = BUSY_S
) -> sqlite3.Connection:
    """Open a file or, without one, a database in memory."""
    name = f"{path.absolute().as_uri()}?{options}" if path else ":memory:"
    return sqlite3.connect(
        name,
        timeout=timeout_s,
        isolation_level=None,
        check_same_thread=False,
        uri=True,
        factory=_Database,
    )


def _use_wal(db: sqlite3.Connection) -> None:
    """Let readers and one writer work side by side.

    When two first kernels switch at once, SQLite does not wait by itself.
    """
    give_up = time.monotonic() + BUSY_S
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


def _read_only(path: Path) -> sqlite3.Connection | None:
    """Open a file that cannot be written; ``immutable`` where WAL needs a folder."""
    for option in ("mode=ro", "mode=ro&immutable=1"):
        with contextlib.suppress(sqlite3.Error):
            db = _connect(path, option)
            db.execute("SELECT count(*) FROM daily").fetchone()
            return db
    return None


def pico(usd: Decimal | None) -> int | None:
    """Return a cost in pico-dollars, rounded half to even past twelve decimals."""
    return None if usd is None else int((usd * PICO).to_integral_value())


def dollars(amount: int) -> Decimal:
    """Return pico-dollars as dollars, exact."""
    return Decimal(amount) / PICO
