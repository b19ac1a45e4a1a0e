"""Store a recording as one SQLite database that only grows.

SQLite, since a row that is committed stays whole when its process is killed, several
processes may write at once, and an index finds one of 100,000 answers without reading
the others. The journal is a rollback journal: no second file holds a part of it, so it
can be copied, sent and put under version control as it lies there.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import threading
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from kimikit.display.footer import day
from kimikit.errors import BadInput, NotRecorded
from kimikit.money.database import FAULTS, connect
from kimikit.money.lifetime import watch
from kimikit.money.migrations import transaction
from kimikit.paths import path_of
from kimikit.replay import untrusted
from kimikit.replay.questions import Question, not_recorded
from kimikit.types import Host, Price
from kimikit.version import __version__
from kimikit.wire.recorder import Recorded

FORMAT = 1
"""Version of the tables; a later one says in which version of kimikit it came."""

_APPLICATION = 0x4B494D49
"""``KIMI``, by which ``file`` and we know such a database."""

_PATIENCE_S = 30.0

_TABLES = """
CREATE TABLE readme (seq INTEGER PRIMARY KEY, line TEXT NOT NULL UNIQUE);
CREATE TABLE hosts (seq INTEGER PRIMARY KEY, name TEXT NOT NULL, host TEXT NOT NULL,
  UNIQUE (name, host));
CREATE TABLE prices (seq INTEGER PRIMARY KEY, host TEXT NOT NULL, model TEXT NOT NULL,
  price TEXT NOT NULL, UNIQUE (host, model, price));
CREATE TABLE questions (key TEXT PRIMARY KEY, host TEXT NOT NULL, method TEXT NOT NULL,
  path TEXT NOT NULL, body TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE answers (seq INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL,
  created REAL NOT NULL, status INTEGER NOT NULL, headers TEXT NOT NULL,
  head_s REAL NOT NULL, body BLOB NOT NULL, cuts TEXT NOT NULL, failure TEXT NOT NULL,
  failure_s REAL NOT NULL, good INTEGER NOT NULL);
CREATE INDEX answers_by_key ON answers (key, seq);
"""
_ASKED = ("key", "host", "method", "path", "body")
_ALL = ("readme", "hosts", "prices", "questions", "answers")


class RecordingFile:
    """A recording on disk, a source of answers; opened once per process.

    Args:
        path: The file.
        new: Whether to make it if it is not there.

    Attributes:
        name: What it is called in an error.

    Raises:
        BadInput: If it is not there, or no recording.
    """

    def __init__(self, path: str | os.PathLike[str], *, new: bool = False) -> None:
        self.path = path_of(path)
        self.name = self.path.name
        self._lock = threading.RLock()
        self._db: sqlite3.Connection | None = None
        self._pid = 0
        self._new = new
        self._places: dict[tuple[str, bool], tuple[int, list[int]]] = {}
        if not new and not self.path.is_file():
            raise BadInput(
                f"There is no recording {self.name!r} here.",
                "Pass the path of a file that Kimi(record=...) made.",
            )
        with self._open():
            pass
        watch(self)

    @contextlib.contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            if self._db is None or self._pid != os.getpid():
                self._db, self._pid = self._connected(), os.getpid()
            try:
                yield self._db
            except sqlite3.Error as exc:
                raise _unusable(self.name, exc) from exc

    def _connected(self) -> sqlite3.Connection:
        if not self.path.parent.is_dir() or self.path.is_dir():
            raise BadInput(
                f"{self.path} is a folder, or in one that is not there.",
                "Pass the path of a file, and make its folder first.",
            )
        try:
            options = "mode=rwc" if self._new else "mode=ro"
            if not self._new and os.access(self.path, os.W_OK):
                options = "mode=rw"  # what a killed process left may have to be undone
            db = connect(self.path, options, timeout_s=_PATIENCE_S)
            db.execute("PRAGMA synchronous = NORMAL")
            (version,) = db.execute("PRAGMA user_version").fetchone()
            tables = db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
            (kind,) = db.execute("PRAGMA application_id").fetchone()
            if self._new and not tables:
                _create(db)
            elif kind != _APPLICATION:
                raise OSError("it is a database of another program")
            elif version > FORMAT:
                raise OSError("a newer kimikit made it; update this one")
            untrusted.shut_in(db, _statements)
            return db
        except FAULTS as exc:
            raise _unusable(self.name, exc) from exc

    def add(
        self,
        question: Question,
        answer: Recorded,
        host: Host,
        prices: Mapping[str, Price],
    ) -> None:
        """Add an answer; it is on the disk when this returns."""
        known = {(host.name, model.lower()): each for model, each in prices.items()}
        self.add_all([(question, answer)], {host.name: host}, known)

    def add_all(
        self,
        rows: Iterable[tuple[Question, Recorded]],
        hosts: Mapping[str, Host],
        prices: Mapping[tuple[str, str], Price],
    ) -> int:
        """Add answers, all or none; return how many."""
        count = 0
        with self._open() as db, transaction(db):
            for host in hosts.values():
                about = host.name, msgspec.json.encode(host).decode()
                sql = "INSERT OR IGNORE INTO hosts (name, host) VALUES (?, ?)"
                db.execute(sql, about)
            for (name, model), price in prices.items():
                sql = "INSERT OR IGNORE INTO prices (host, model, price) VALUES (?,?,?)"
                db.execute(sql, (name, model, msgspec.json.encode(price).decode()))
            for question, answer in rows:
                _insert(db, question, answer)
                count += 1
        return count

    def find(self, asked: Question, number: int, *, good: bool) -> Recorded | None:
        """Return an answer to a question by its place among them, from 0.

        They are in the order in which they were asked; side by side, they came in
        another.

        Args:
            asked: The question.
            number: Its place.
            good: Whether only whole successes count.
        """
        sql = (
            "SELECT created, status, headers, head_s, body, cuts, failure, failure_s,"
            " good FROM answers WHERE seq = ?"
        )
        with self._open() as db:
            places = self._placed(db, asked.key, number, good=good)
            row = db.execute(sql, places[number : number + 1] or (0,)).fetchone()
        return None if row is None else untrusted.answer(row)

    def _placed(
        self, db: sqlite3.Connection, key: str, number: int, *, good: bool
    ) -> list[int]:
        """Return where answers to a question are; what came since is the end of it."""
        last, places = self._places.get((key, good), (0, []))
        if number >= len(places):
            sql = f"SELECT seq FROM answers WHERE key = ? {'AND good' if good else ''}"
            order = " AND seq > ? ORDER BY created, seq"
            more = [seq for (seq,) in db.execute(sql + order, (key, last))]
            places = places + more
            self._places[key, good] = max([last, *more]), places
        return places

    def first(self, most: int, *, good: bool) -> set[int]:
        """Return where so many answers to each question are that were asked first."""
        sql = (
            "SELECT seq FROM (SELECT seq, row_number() OVER (PARTITION BY key"
            " ORDER BY created, seq) AS place FROM answers WHERE good OR NOT ?)"
            " WHERE place <= ?"
        )
        with self._open() as db:
            return {seq for (seq,) in db.execute(sql, (good, most))}

    def count(self, asked: Question) -> int:
        """Return how many answers to a question there are."""
        with self._open() as db:
            sql = "SELECT count(*) FROM answers WHERE key = ?"
            (found,) = db.execute(sql, (asked.key,)).fetchone()
        return int(found)

    def label(self, answer: Recorded) -> str:
        """Return what every view says of an answer."""
        return f"replayed, recorded {day(answer.created)}"

    def missing(self, asked: Question, times: int) -> NotRecorded:
        """Return the error of a question without an answer, or without another."""
        others = self._like(asked.path)
        return not_recorded(asked, others, name=self.name, times=times)

    def _like(self, path: str) -> Iterator[Question]:
        """Yield what was asked, on a path first."""
        rows, room = [], untrusted.LOOKED_THROUGH
        sql = "SELECT * FROM questions WHERE {} AND length(body) < ? LIMIT 5000"
        with self._open() as db:
            for which in ("path = ?", "path <> ?"):
                for row in db.execute(
                    sql.format(which), (path, untrusted.LOOKED_THROUGH)
                ):
                    rows.append(_question(row))
                    room -= len(rows[-1].body)
                    if room < 0:
                        return iter(rows)
        return iter(rows)

    @property
    def embeds(self) -> bool:
        """Whether it has embeddings of texts."""
        with self._open() as db:
            sql = "SELECT 1 FROM questions WHERE path = '/embeddings' LIMIT 1"
            return db.execute(sql).fetchone() is not None

    def asked(self, most: int) -> list[tuple[Question, int]]:
        """Return the questions with the number of their answers, first asked first."""
        sql = (
            "SELECT q.*, n FROM (SELECT key, count(*) AS n, min(seq) AS first"
            " FROM answers GROUP BY key ORDER BY first LIMIT ?) JOIN questions q"
            " USING (key) ORDER BY first"
        )
        with self._open() as db:
            rows = db.execute(sql, (most,)).fetchall()
        return [(_question(row[:5]), row[5]) for row in rows]

    def rows(self) -> Iterator[tuple[int, Question, Recorded]]:
        """Yield all answers with their questions, in their order."""
        last = 0
        sql = (
            "SELECT a.seq, q.*, created, status, headers, head_s, a.body, cuts,"
            " failure, failure_s, good FROM answers a JOIN questions q USING (key)"
            " WHERE seq > ? ORDER BY seq LIMIT 1"
        )
        while True:
            with self._open() as db:
                some = db.execute(sql, (last,)).fetchall()
            for row in some:
                yield row[0], _question(row[1:6]), untrusted.answer(row[6:])
            if not some:
                return
            last = some[-1][0]

    def hosts(self) -> list[Host]:
        """Return the hosts that answered, the last state of each, first asked first."""
        with self._open() as db:
            rows = db.execute("SELECT name, host FROM hosts ORDER BY seq").fetchall()
        return untrusted.hosts(dict(rows).values())

    def prices(self) -> dict[tuple[str, str], Price]:
        """Return the prices of the days on which it was recorded, the last of each."""
        with self._open() as db:
            sql = "SELECT host, model, price FROM prices ORDER BY seq"
            rows = db.execute(sql).fetchall()
        found = {(h, m): untrusted.price(text) for h, m, text in rows}
        return {key: price for key, price in found.items() if price is not None}

    def size(self) -> tuple[int, int, float, float]:
        """Return questions, answers, and the Unix times of the first and the last."""
        with self._open() as db:
            (asked,) = db.execute("SELECT count(*) FROM questions").fetchone()
            sql = "SELECT count(*), ifnull(min(created), 0), ifnull(max(created), 0)"
            found = db.execute(f"{sql} FROM answers").fetchone()
        return asked, found[0], *map(untrusted.time_of, found[1:])

    def readme(self) -> list[str]:
        """Return the lines that say who recorded what and when."""
        with self._open() as db:
            rows = db.execute("SELECT line FROM readme ORDER BY seq").fetchall()
        return [line for (line,) in rows]

    def note(self, line: str) -> None:
        """Add a line to its README, once."""
        with self._open() as db, transaction(db):
            db.execute("INSERT OR IGNORE INTO readme (line) VALUES (?)", (line,))

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        with self._lock:
            if self._db is not None and self._pid == os.getpid():
                self._db.close()
            self._db = None

    def before_fork(self) -> None:
        """Wait until nothing is being written."""
        self._lock.acquire()

    def after_fork(self, *, child: bool) -> None:
        """Go on; a child opens the file for itself."""
        if child:
            self._lock, self._db = threading.RLock(), None
        else:
            self._lock.release()


def _unusable(name: str, exc: Exception) -> BadInput:
    return BadInput(
        f"{name!r} cannot be used as a recording: {exc}.",
        "Pass the path of a recording, or of a new file to record into where there is "
        "room; if it is damaged, get it again from where it came.",
    )


def _statements() -> Iterator[str]:
    """Yield what makes the tables; a recording holds nothing else."""
    yield from filter(str.strip, _TABLES.split(";\n"))
    for table in _ALL:
        for verb in ("UPDATE", "DELETE"):
            yield (
                f"CREATE TRIGGER {table}_{verb} BEFORE {verb} ON {table} BEGIN"
                " SELECT RAISE(ABORT, 'a recording only grows'); END"
            )


def _create(db: sqlite3.Connection) -> None:
    """Make the tables; of two processes that begin at once, one does."""
    with transaction(db):
        if db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            return
        for statement in _statements():
            db.execute(statement)
        db.execute(f"PRAGMA application_id = {_APPLICATION}")
        db.execute(f"PRAGMA user_version = {FORMAT}")
        day = time.strftime("%Y-%m-%d")
        line = f"A recording of answers, made with kimikit {__version__} from {day} on."
        db.execute("INSERT INTO readme (line) VALUES (?)", (line,))


def _insert(db: sqlite3.Connection, question: Question, answer: Recorded) -> None:
    asked = msgspec.structs.astuple(question)[:5]
    db.execute("INSERT OR IGNORE INTO questions VALUES (?, ?, ?, ?, ?)", asked)
    body = b"".join(data for _, data in answer.pieces)
    db.execute(
        "INSERT INTO answers (key, created, status, headers, head_s, body, cuts,"
        " failure, failure_s, good) VALUES (?,?,?,?,?,?,?,?,?,?)",
        (
            question.key,
            answer.created,
            answer.status,
            json.dumps(answer.headers),
            answer.head_s,
            zlib.compress(body, 1),
            json.dumps([(round(at, 4), len(data)) for at, data in answer.pieces]),
            json.dumps(answer.failure),
            answer.failure_s,
            answer.good,
        ),
    )


def _question(row: tuple[Any, ...]) -> Question:
    return msgspec.convert(
        dict(zip(_ASKED, untrusted.texts(row), strict=True)), Question
    )
