"""Write one SQLite file from many kernels; what it cannot take now, it gets later."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from kimikit.errors import KimiError, warn
from kimikit.json_values import writable
from kimikit.money import lifetime, pending
from kimikit.money.database import (
    FAULTS,
    check_owner,
    connect,
    identity,
    is_corrupt,
    is_ours,
    use_wal,
)
from kimikit.money.migrations import COUNTS as COUNTS  # as in 0.3.0
from kimikit.money.migrations import GROUPS as GROUPS  # as in 0.3.0
from kimikit.money.migrations import MIGRATIONS, lacking, migrate, transaction
from kimikit.money.migrations import SUMS as SUMS  # as in 0.3.0
from kimikit.money.storable import dollars as dollars  # as in 0.3.0
from kimikit.money.storable import pico as pico  # as in 0.3.0

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]
BUSY_S = 1.0
"""How long a write waits for other programs' writes; then it is kept for later."""
AGAIN_S = 1.0
"""How long to wait before the file is tried again with what was kept for it."""
HURRY_S = 0.05
"""How long such a try waits: it stands in the way of calls."""
TIDY_S = 1.0
"""How long tidying up waits for other kernels' reads."""

_NO_WAIT = getattr(os, "O_NONBLOCK", 0)
"""So that a pipe at the ledger's path is not waited for."""


class Store:
    """A SQLite file behind one connection and one lock.

    What the file cannot take (it is locked, the disk is full) is done in memory, where
    it can be read at once, and done again in the file as soon as that works: at the
    next write, a second later, and when the kernel ends.

    Attributes:
        path: The file.
        failure: Why rows are in memory for now, or ``None`` while the file works.
        opened: How often a database was opened, in memory too.
    """

    def __init__(self, path: Path) -> None:
        # A notebook may change its folder; the ledger stays where it is.
        self.path = Path(os.path.abspath(path))
        self.failure: Exception | None = None
        self.opened = 0
        self._db: sqlite3.Connection | None = None
        self._memory: sqlite3.Connection | None = None
        self._kept: list[Work[Any]] = []
        self._waiting: list[Work[Any]] = []
        self._next_try = 0.0
        self._retrying: threading.Thread | None = None
        self._file: tuple[int, int] | None = None
        self._inherited: list[sqlite3.Connection | None] = []
        self._lock = threading.RLock()
        lifetime.watch(self)

    def write(self, work: Work[T], again: Work[Any] | None = None) -> T:
        """Run ``work`` in one transaction, in memory for now if the file fails.

        Args:
            work: What to do; it may raise, and nothing is done then.
            again: What to do in the file later instead of ``work``, which may ask for
                a permission that it has by then.
        """
        with self._lock:
            try:
                self.flush()
            finally:  # what fails of others costs this no row
                made = self._write(work, again)
            return made

    def later(self, work: Work[Any]) -> None:
        """Do ``work`` with the next ``flush``, write or read, before it."""
        with self._lock:
            self._waiting.append(work)

    def flush(self) -> None:
        """Do all that waits in one transaction; what cannot be done costs no other."""
        with self._lock:
            waiting, self._waiting = self._waiting, []
            if not waiting:
                return
            try:
                self._write(lambda db: [work(db) for work in waiting])
            except Exception:
                failed = None
                for work in waiting:
                    try:
                        self._write(work)
                    except Exception as exc:
                        failed = exc
                if failed is not None:
                    raise failed from None

    def _write(self, work: Work[T], again: Work[Any] | None = None) -> T:
        with self._lock:
            if self.failure is not None and time.monotonic() >= self._next_try:
                self._catch_up(HURRY_S)
            for _ in range(2):  # a file that was moved aside is begun anew
                if self.failure is not None:
                    break
                try:
                    db = self._opened()
                    with transaction(db):
                        return work(db)
                except FAULTS as exc:
                    self._mend(exc)
                except KeyboardInterrupt:
                    self._fall_back(RuntimeError("it was interrupted"), quiet=True)
                    self._keep(work, again)
                    raise
            return self._keep(work, again)

    def _keep(self, work: Work[T], again: Work[Any] | None) -> T:
        """Do in memory what the file shall take later."""
        memory = self._in_memory()
        with transaction(memory):
            done = work(memory)
        self._kept.append(again or work)
        return done

    def read(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return the rows of a query, those kept in memory before those in the file.

        Raises:
            KimiError: If another program keeps the file from being read.
        """
        values = writable([*values])
        with self._lock:
            self.flush()
            rows: list[tuple[Any, ...]] = []
            for _ in range(2):
                try:
                    db = self._opened() if self.failure is None else self._readable()
                except FAULTS as exc:
                    self._mend(exc)
                    continue
                if self._memory is not None:
                    rows = self._memory.execute(sql, values).fetchall()
                if db is None:
                    break
                try:
                    return rows + db.execute(sql, values).fetchall()
                except FAULTS as exc:
                    corrupt = is_corrupt(exc, self.path)
                    if corrupt and self.failure is not None:
                        break
                    if not corrupt:
                        raise KimiError(
                            f"The ledger {self.path} cannot be read ({exc}).",
                            "Try again when the program that holds it has ended.",
                        ) from exc
                    self._mend(exc)
            return rows

    def vacuum(self) -> None:
        """Give deleted rows' space back, so that nothing of them is in the file."""
        if why := self.failure or self._tidy():
            warn(
                f"What was to be forgotten may still be in {self.path} ({why}). Call "
                "ledger.forget() again for any row when the file can be written and "
                "other kernels are idle."
            )

    def _tidy(self) -> str:
        """Write the file anew; return what stood in the way, if anything."""
        try:
            with contextlib.closing(connect(self.path, timeout_s=TIDY_S)) as db:
                db.execute("VACUUM")
                (busy, *_) = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except sqlite3.Error as exc:
            return str(exc)
        return "another kernel was using the ledger" if busy else ""

    def close(self) -> None:
        """Write what was kept and close the file; the next use opens it again.

        If the file still cannot take it, it is put beside it, for the next kernel.
        """
        with self._lock:
            self.flush()
            if self.failure is not None:
                self._catch_up(BUSY_S)
            if self._kept and self._memory and pending.save(self._memory, self.path):
                self._memory.close()
                self._memory, self.failure, self._kept = None, None, []
            self._hang_up()

    def _hang_up(self) -> None:
        if self._db is not None:
            self._db.close()
        self._db = self._file = None

    def __del__(self) -> None:
        with contextlib.suppress(Exception):
            self.close()

    # The file.

    def _opened(self) -> sqlite3.Connection:
        """Return the open file, opened anew if it was deleted or replaced."""
        if self._db is not None:
            now = identity(self.path)
            if now == self._file:
                return self._db
            what = "replaced" if now else "deleted"
            self._hang_up()
            warn(
                f"The ledger {self.path} was {what} while it was in use. New calls "
                "are kept in the file that is there now; those before are in it only "
                "if it is a copy."
            )
        self._db = self._open(BUSY_S)
        return self._db

    def _open(self, patience_s: float) -> sqlite3.Connection:
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            flags = os.O_RDWR | os.O_CREAT | _NO_WAIT
            handle = os.open(self.path, flags, 0o600)
        except ValueError as exc:  # a name that no file can have
            raise OSError(str(exc)) from exc
        try:
            now = os.fstat(handle)
            if not stat.S_ISREG(now.st_mode):
                raise OSError("it is no file")
        finally:
            os.close(handle)
        self.path.chmod(0o600)
        db = connect(self.path, timeout_s=patience_s)
        try:
            check_owner(db)
            use_wal(db, patience_s)
            migrate(db)
            tables, statements = lacking(db)
            if tables:
                raise sqlite3.DatabaseError(f"malformed: it lacks {', '.join(tables)}")
            for statement in statements:
                db.execute(statement)
            pending.take_in(db, self.path)
            db.execute(f"PRAGMA busy_timeout = {BUSY_S * 1000:.0f}")
        except BaseException:
            db.close()
            raise
        self._file = now.st_dev, now.st_ino
        self.opened += 1
        return db

    def _mend(self, cause: Exception) -> None:
        """Move a corrupt file aside, or note that the file cannot be used for now."""
        if not is_corrupt(cause, self.path) or not is_ours(self.path):
            self._fall_back(cause)
            return
        here, self._file = self._file, None
        self._hang_up()
        if here is not None and here != identity(self.path):
            return  # another kernel moved it aside, so this one opens what is new
        stamp = f"{time.strftime('%Y%m%d-%H%M%S')}-{os.urandom(3).hex()}"
        aside = self.path.with_name(f"{self.path.name}.corrupt-{stamp}")
        try:
            for end in ("", "-wal", "-shm"):
                with contextlib.suppress(FileNotFoundError):
                    Path(f"{self.path}{end}").rename(f"{aside}{end}")
        except OSError as exc:
            self._fall_back(exc)
            return
        saved = 0
        with contextlib.suppress(*FAULTS):
            self._db = self._open(BUSY_S)
            saved = pending.take_over(self._db, aside)
        warn(
            f"The ledger {self.path} was corrupt ({cause}). It was moved to {aside} "
            f"and a new one was begun, with the last {saved:,} calls that could be "
            "read; 'sqlite3 FILE .recover' may read more of the old one."
        )

    def _fall_back(self, cause: Exception, *, quiet: bool = False) -> None:
        """Go on in memory, and say so."""
        self.failure = cause
        self._next_try = time.monotonic() + AGAIN_S
        self._hang_up()
        self._in_memory()
        if self._retrying is None or not self._retrying.is_alive():
            self._retrying = threading.Thread(
                target=_retry, args=(weakref.ref(self),), daemon=True
            )
            self._retrying.start()
        if quiet:
            return
        warn(
            f"The ledger {self.path} cannot be written ({cause}). Calls are kept in "
            "memory and written as soon as it can. End the program that holds it, free "
            "the disk, or point KIMIKIT_LEDGER at a writable file and restart the "
            "kernel."
        )

    def _in_memory(self) -> sqlite3.Connection:
        if self._memory is None:
            self._memory = connect()
            migrate(self._memory)
            self.opened += 1
        return self._memory

    def _readable(self) -> sqlite3.Connection | None:
        """Open a file that cannot be written, or not now, to read it."""
        for option in ("mode=ro", "mode=ro&immutable=1"):
            if self._db is not None:
                break
            with contextlib.suppress(sqlite3.Error, OSError, ValueError):
                db = connect(self.path, option)
                db.execute("SELECT count(*) FROM daily").fetchone()
                (version,) = db.execute("PRAGMA user_version").fetchone()
                if version > len(MIGRATIONS):
                    db.close()
                    break
                if version < len(MIGRATIONS):  # a copy in memory is of our version
                    copy = connect()
                    with contextlib.closing(db):
                        db.backup(copy)
                    migrate(copy)
                    db = copy
                self._db = db
        return self._db

    def _catch_up(self, patience_s: float) -> None:
        """Do in the file what was done in memory, if the file works again."""
        self._hang_up()
        self._next_try = time.monotonic() + AGAIN_S
        try:
            db = self._open(patience_s)
            try:
                with transaction(db):
                    for work in self._kept:
                        work(db)
            except BaseException:
                db.close()
                raise
        except FAULTS:
            return
        self._db = db
        self._kept.clear()
        self.failure = None
        if self._memory is not None:
            self._memory.close()
            self._memory = None

    def before_fork(self) -> None:
        """Wait for the transaction that another thread is in."""
        self._lock.acquire()

    def after_fork(self, *, child: bool) -> None:
        """Go on; a child begins anew with what the parent did not use."""
        if child:
            self._inherited += [self._db, self._memory]
            self._db = self._memory = self._file = self.failure = None
            self._kept, self._waiting, self._retrying = [], [], None
            self._lock = threading.RLock()
        else:
            self._lock.release()


def _retry(ref: weakref.ref[Store]) -> None:
    """Try a file again until it has taken what was kept for it."""
    while (store := ref()) is not None and store.failure is not None:
        with store._lock:
            if store.failure is not None and time.monotonic() >= store._next_try:
                store._catch_up(HURRY_S)
        del store
        time.sleep(AGAIN_S)
