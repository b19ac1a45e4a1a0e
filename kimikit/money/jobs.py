"""Remember batches under way, beside the ledger: what was bought, where, by whom.

A request is claimed here before its batch is begun, so that no other kernel and no
other call of the same name buys it too.
"""

from __future__ import annotations

import contextlib
import os
import platform
import secrets
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from kimikit.errors import KimiError
from kimikit.json_values import writable
from kimikit.money.migrations import transaction
from kimikit.types import Host

_SCHEMA = """
create table if not exists jobs (
    id text primary key, kind text, name text, prefix text, host text, address text,
    created real, window_s real
);
create table if not exists shards (
    id text primary key, job text, number integer, model text, state text,
    total integer, file_id text default '', batch_id text default '',
    status text default '', done integer default 0, failed integer default 0,
    words text default '', sent real, owner text default '', lease real default 0
);
create index if not exists shards_of_jobs on shards (job, number);
create table if not exists lines (
    shard text, number integer, custom_id text, key text, call text, state text,
    held integer, error text, primary key (shard, number)
) without rowid;
create unique index if not exists claims on lines (key) where state = 'open';
"""

UNDER_WAY = ("planned", "uploaded", "creating", "submitted")
"""States of a shard whose requests are claimed."""


class Claimed(KimiError):
    """Some of these requests are in a batch already."""


class JobRow(msgspec.Struct, frozen=True):
    """A piece of work that is asked by batches.

    Attributes:
        id: Ours.
        kind: What sort of work it is, such as ``map``.
        name: What the user calls it.
        prefix: What the keys of its requests begin with.
        host: The name of its host.
        address: Where that is; empty for the local one, which moves.
        created: Unix time.
        window_s: Seconds within which the host means to be done.
    """

    id: str
    kind: str
    name: str
    prefix: str
    host: str
    address: str
    created: float
    window_s: float

    @classmethod
    def nothing(cls, kind: str, name: str, prefix: str, host: Host) -> JobRow:
        """Return a job of which everything was paid for before; it is not written."""
        return cls(new_id("job"), kind, name, prefix, host.name, "", time.time(), 0.0)


class ShardRow(msgspec.Struct, frozen=True):
    """A batch of a job, or what is to become one.

    Attributes:
        id: Ours; the host keeps it as a note where it can.
        job: Its job.
        number: Its place in that.
        model: The one model that it asks.
        state: ``planned uploaded creating submitted`` while its requests are claimed,
            then ``collected``, or ``dropped`` where none was begun.
        total: Requests.
        file_id: The host's id of its file.
        batch_id: The host's id of the batch.
        status: The host's word for how far it is.
        done: Answers.
        failed: Failures.
        words: What the host says is wrong with it.
        sent: Unix time at which it was to be begun.
        owner: The process that begins it.
        lease: Unix time until which that may take, if nobody knows that it has died.
    """

    id: str
    job: str
    number: int
    model: str
    state: str
    total: int
    file_id: str = ""
    batch_id: str = ""
    status: str = ""
    done: int = 0
    failed: int = 0
    words: str = ""
    sent: float | None = None
    owner: str = ""
    lease: float = 0.0

    @property
    def orphaned(self) -> bool:
        """Whether the process that was to begin it is gone."""
        here, _, pid = self.owner.rpartition(":")
        if here == platform.node() and hasattr(os, "fork"):
            try:
                os.kill(int(pid), 0)
            except (ProcessLookupError, ValueError):
                return True
            except OSError:
                pass
        return time.time() > self.lease


class LineRow(msgspec.Struct, frozen=True):
    """A request of a shard.

    Attributes:
        number: Its place in the shard.
        custom_id: Its id there.
        key: What its answer is found again by.
        call: The id of its row in the ledger.
        state: ``open``, ``done`` or ``failed``.
        held: Pico-dollars that it costs at most, ``None`` for unknown.
        error: Why it failed.
    """

    number: int
    custom_id: str
    key: str
    call: str
    state: str = "open"
    held: int | None = None
    error: str | None = None


def _columns(kind: type[msgspec.Struct]) -> str:
    return ", ".join(kind.__struct_fields__)


class JobStore:
    """Reads and writes them; any thread and any kernel may.

    Args:
        ledger: The path of the ledger's file.
    """

    def __init__(self, ledger: Path) -> None:
        self.path = ledger.with_name(f"{ledger.name}.jobs")

    @contextlib.contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        """Open the file for a moment: batches are seldom looked at, by many kernels."""
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.path.touch(mode=0o600)
            db = sqlite3.connect(self.path, isolation_level=None, timeout=30)
            with contextlib.closing(db):
                db.executescript(f"pragma journal_mode=wal; {_SCHEMA}")
                yield db
        except sqlite3.IntegrityError:
            raise
        except (OSError, sqlite3.Error) as exc:
            raise KimiError(
                f"Batches cannot be noted in {self.path}: {exc}.",
                "Give the disk room, or move the file away if it is damaged; or point "
                "KIMIKIT_LEDGER at a file that can be written.",
            ) from exc

    @contextlib.contextmanager
    def _write(self) -> Iterator[sqlite3.Connection]:
        with self._opened() as db, transaction(db):
            yield db

    def _read(self, sql: str, *values: object) -> list[Any]:
        if not self.path.exists():
            return []
        with self._opened() as db:
            return db.execute(sql, values).fetchall()

    def begin(
        self, job: JobRow, shards: Sequence[tuple[ShardRow, list[LineRow]]]
    ) -> None:
        """Write a job down and claim its requests, all of them or none.

        Raises:
            Claimed: If one is in a batch already.
        """
        try:
            with self._write() as db:
                _insert(db, "jobs", job)
                for shard, lines in shards:
                    _insert(db, "shards", shard)
                    for line in lines:
                        _insert(db, "lines", line, shard=shard.id)
        except sqlite3.IntegrityError as exc:
            raise Claimed(
                "Another batch has begun to ask some of these meanwhile.",
                "Ask again by the same name: it waits for that batch.",
            ) from exc

    def claimed(self, prefix: str) -> set[str]:
        """Return the keys that batches under way will answer."""
        rows = self._read(
            "select key from lines where state = 'open' and key between ? and ?",
            prefix, prefix + "\U0010ffff",
        )  # fmt: skip
        return {key for (key,) in rows}

    def jobs(self, id: str | None = None, prefix: str | None = None) -> list[JobRow]:
        """Return jobs, the newest first; that of an id, or those under a prefix."""
        rows = self._read(
            f"select {_columns(JobRow)} from jobs where (? is null or id = ?) and "
            "(? is null or prefix between ? and ? || ?) order by created desc",
            id, id, prefix, prefix, prefix, "\U0010ffff",
        )  # fmt: skip
        return [JobRow(*row) for row in rows]

    def shards(self, job: str) -> list[ShardRow]:
        """Return the batches of a job."""
        rows = self._read(
            f"select {_columns(ShardRow)} from shards where job = ? order by number",
            job,
        )
        return [ShardRow(*row) for row in rows]

    def lines(self, shard: str) -> list[LineRow]:
        """Return the requests of a batch."""
        rows = self._read(
            f"select {_columns(LineRow)} from lines where shard = ? order by number",
            shard,
        )
        return [LineRow(*row) for row in rows]

    def held(self, job: str) -> tuple[int, int]:
        """Return what open requests hold in pico-dollars, and how many are unpriced."""
        [(held, unknown)] = self._read(
            "select coalesce(sum(held), 0), count(*) - count(held) from lines where "
            "state = 'open' and shard in (select id from shards where job = ?)", job,
        )  # fmt: skip
        return held, unknown

    def known_batches(self) -> set[str]:
        """Return the host's ids of all batches that are ours for certain."""
        return {name for (name,) in self._read("select batch_id from shards") if name}

    def note(self, shard: str, **fields: object) -> None:
        """Write what has become of a batch."""
        sets = ", ".join(f"{name} = ?" for name in fields)
        values = writable([*fields.values(), shard])
        with self._write() as db:
            db.execute(f"update shards set {sets} where id = ?", values)

    def settle(
        self, shard: str, ends: Iterable[tuple[int, str, str | None]], **fields: object
    ) -> None:
        """Write the ends of requests: their numbers, states and errors."""
        with self._write() as db:
            db.executemany(
                "update lines set state = ?, error = ? "
                "where shard = ? and number = ? and state = 'open'",
                [(state, writable(why), shard, number) for number, state, why in ends],
            )
        if fields:
            self.note(shard, **fields)

    def ends(self, job: str) -> list[tuple[str, str, str]]:
        """Return the keys of a job's requests, their states and why they failed."""
        return self._read(
            "select key, state, coalesce(error, '') from lines where shard in "
            "(select id from shards where job = ?)", job,
        )  # fmt: skip


def _insert(
    db: sqlite3.Connection, table: str, row: msgspec.Struct, **more: Any
) -> None:
    fields = writable({**msgspec.structs.asdict(row), **more})
    names, marks = ", ".join(fields), ", ".join("?" * len(fields))
    db.execute(f"insert into {table} ({names}) values ({marks})", [*fields.values()])


def this_process() -> str:
    """Return what names this process among those of all machines."""
    return f"{platform.node()}:{os.getpid()}"


def new_id(kind: str) -> str:
    """Return an id of our own."""
    return f"{kind}-{int(time.time()):x}-{secrets.token_hex(4)}"
