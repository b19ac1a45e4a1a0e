"""Keep files and batches of the local host on disk: a restart loses nothing.

One SQLite file holds the batches, their requests and the answers; the content of files
lies beside it.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import platformdirs

from kimikit.local.checks import Refused
from kimikit.local.process import runtime_folder

_SCHEMA = """
create table if not exists files (
    id text primary key, purpose text, filename text, bytes integer, created_at integer
);
create table if not exists batches (
    created integer primary key, id text unique, over integer, data blob,
    cancelled integer default 0
);
create table if not exists lines (
    batch text, number integer, custom_id text, body blob, status integer, answer blob,
    primary key (batch, number)
) without rowid;
create unique index if not exists custom_ids on lines (batch, custom_id);
create index if not exists waiting on lines (batch, number) where status is null;
"""

OVER = ("completed", "failed", "expired", "cancelled")
"""The statuses in which a batch stays."""


class Batch(msgspec.Struct, omit_defaults=True):
    """A batch, as OpenAI's batch object with what is ours.

    Attributes:
        dialect: How its client speaks: ``openai``, ``together`` or ``inline``.
    """

    id: str
    dialect: str
    endpoint: str
    model: str
    created_at: int
    expires_at: int
    status: str = "validating"
    input_file_id: str | None = None
    completion_window: str = "24h"
    metadata: dict[str, str] | None = None
    in_progress_at: int | None = None
    ended_at: int | None = None
    output_file_id: str | None = None
    error_file_id: str | None = None
    errors: list[dict[str, Any]] = []


class Line(msgspec.Struct):
    """A request of a batch; without a status it is not answered yet."""

    number: int
    custom_id: str
    body: bytes
    status: int | None = None
    answer: bytes = b""


class File(msgspec.Struct):
    """A file that was uploaded, or that a batch has made; ``-1`` bytes: to come."""

    id: str
    purpose: str
    filename: str
    bytes: int
    created_at: int


def batch_folder(name: str) -> Path:
    """Return the folder in which the batches of one server lie, closed to others."""
    if os.environ.get("KIMIKIT_RUNTIME"):
        base = runtime_folder()
    else:  # that of the port file may be gone after the machine's next start
        base = platformdirs.user_data_path("kimikit", appauthor=False)
    folder = base / "batches" / name
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder.chmod(0o700)
    return folder


class BatchStore:
    """Reads and writes them; any thread may call.

    Args:
        folder: Where they lie.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._db = sqlite3.connect(
            folder / "batches.db",
            check_same_thread=False,
            isolation_level=None,
            timeout=30,  # two hosts of one user may share the folder
        )
        self._db.executescript(
            f"pragma journal_mode=wal; pragma synchronous=normal; {_SCHEMA}"
        )

    @contextlib.contextmanager
    def _write(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._db.execute("begin immediate")
            try:
                yield self._db
            except BaseException:
                self._db.execute("rollback")
                raise
            self._db.execute("commit")

    def _one(self, what: str, sql: str, name: str) -> Any:
        rows = self._read(sql, name)
        if not rows:
            msg = f"There is no {what} {name!r} here; list those that are there by GET."
            raise Refused(msg, status=404, param="id", code="not_found")
        return rows[0]

    def _read(self, sql: str, *values: object) -> list[Any]:
        with self._lock:
            return self._db.execute(sql, values).fetchall()

    def close(self) -> None:
        """Close the file; what still writes in another thread ends with an error."""
        with self._lock:
            self._db.close()

    # Files.

    def path(self, file_id: str) -> Path:
        """Return where the content of a file lies."""
        return self.folder / file_id

    def add_file(self, purpose: str, filename: str, content: bytes | None) -> File:
        """Keep a file; its content may come later."""
        size = -1 if content is None else len(content)
        name = f"file-{secrets.token_hex(12)}"
        file = File(name, purpose, filename, size, int(time.time()))
        if content is not None:
            self.path(file.id).write_bytes(content)
        with self._write() as db:
            db.execute(
                "insert into files values (?, ?, ?, ?, ?)",
                msgspec.structs.astuple(file),
            )
        return file

    def fill_file(self, file_id: str, content: bytes) -> None:
        """Give a file its content."""
        self.path(file_id).write_bytes(content)
        with self._write() as db:
            db.execute(
                "update files set bytes = ? where id = ?", (len(content), file_id)
            )

    def file(self, file_id: str) -> File:
        """Return a file.

        Raises:
            Refused: If there is none of that id.
        """
        return File(*self._one("file", "select * from files where id = ?", file_id))

    def files(self) -> list[File]:
        """Return all files, the newest first."""
        rows = self._read("select * from files order by created_at desc, rowid desc")
        return [File(*row) for row in rows]

    def delete_file(self, file_id: str) -> None:
        """Forget a file and its content."""
        self.file(file_id)
        with self._write() as db:
            db.execute("delete from files where id = ?", (file_id,))
        self.path(file_id).unlink(missing_ok=True)

    # Batches.

    def save(self, batch: Batch) -> None:
        """Write a batch, new or changed; one that is over stays as it is."""
        with self._write() as db:
            _save(db, batch)

    def add_lines(self, batch: Batch, lines: Iterable[Line]) -> None:
        """Write the requests of a batch together with its new status."""
        with self._write() as db:
            db.executemany(
                "insert or ignore into lines (batch, number, custom_id, body) "
                "values (?, ?, ?, ?)",
                ((batch.id, line.number, line.custom_id, line.body) for line in lines),
            )
            _save(db, batch)

    def cancel(self, batch_id: str) -> None:
        """Note that a batch shall end; whoever works on it sees it."""
        with self._write() as db:
            db.execute("update batches set cancelled = 1 where id = ?", (batch_id,))

    def batch(self, batch_id: str) -> Batch:
        """Return a batch.

        Raises:
            Refused: If there is none of that id.
        """
        sql = "select data, cancelled from batches where id = ?"
        return _batch(*self._one("batch", sql, batch_id))

    def batches(self, after: str = "", limit: int = 20) -> list[Batch]:
        """Return batches, the newest first, from after the one named on."""
        rows = self._read(
            "select data, cancelled from batches where ? = '' or created < "
            "(select created from batches where id = ?) order by created desc limit ?",
            after, after, limit,
        )  # fmt: skip
        return [_batch(*row) for row in rows]

    def open_batches(self) -> list[Batch]:
        """Return the batches that are not over, the oldest first."""
        rows = self._read(
            "select data, cancelled from batches where not over order by created"
        )
        return [_batch(*row) for row in rows]

    def counts(self, batch_id: str) -> dict[str, int]:
        """Return how many requests a batch has, and how many came to what."""
        [(total, done, failed)] = self._read(
            "select count(*), count(case when status = 200 then 1 end), "
            "count(case when status <> 200 then 1 end) from lines where batch = ?",
            batch_id,
        )
        return {"total": total, "completed": done, "failed": failed}

    def waiting(self, batch_id: str, limit: int) -> list[Line]:
        """Return the next requests without an answer."""
        rows = self._read(
            "select number, custom_id, body from lines where batch = ? and status is "
            "null order by number limit ?", batch_id, limit,
        )  # fmt: skip
        return [Line(*row) for row in rows]

    def answer(self, batch_id: str, number: int, status: int, answer: bytes) -> None:
        """Write what a request was answered with."""
        with self._write() as db:
            db.execute(
                "update lines set status = ?, answer = ? "
                "where batch = ? and number = ? and status is null",
                (status, answer, batch_id, number),
            )

    def lines(self, batch_id: str, after: int = -1, limit: int = -1) -> list[Line]:
        """Return the requests of a batch in their order, from after a number on."""
        rows = self._read(
            "select number, custom_id, '', status, answer from lines "
            "where batch = ? and number > ? order by number limit ?",
            batch_id, after, limit,
        )  # fmt: skip
        return [Line(*row) for row in rows]


def _save(db: sqlite3.Connection, batch: Batch) -> None:
    db.execute(
        "insert into batches (id, over, data) values (?, ?, ?) on conflict (id) do "
        "update set over = excluded.over, data = excluded.data where not over",
        (batch.id, batch.status in OVER, msgspec.json.encode(batch)),
    )


def _batch(data: bytes, cancelled: int) -> Batch:
    batch = msgspec.json.decode(data, type=Batch)
    if cancelled and batch.status not in OVER:
        batch.status = "cancelling"
    return batch
