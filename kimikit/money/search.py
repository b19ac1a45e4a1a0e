"""Search prompts and answers by SQLite's own full-text index."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence
from typing import Any

from kimikit.errors import BadInput
from kimikit.money.rows import stored
from kimikit.money.store import Store
from kimikit.wire.weigh import pieces

BATCH = 1000
"""Answers indexed in one transaction, so that other kernels' writes get in between."""

LONGEST = 2000
"""Characters to look for: the time grows with the square of the words."""

_PROMPTS = ("messages", "prompt", "input", "query", "documents")
_ANSWERS = ("text", "reasoning", "tool_calls")
_CJK = r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]"  # compiled at its first use


def matching(store: Store, text: str) -> tuple[str, list[Any]]:
    """Return the SQL test, and its values, for the calls that have all words.

    Without SQLite's FTS5, or a file to keep an index in, the stored JSON is scanned.

    Raises:
        BadInput: If ``text`` has no words, or is too long.
    """
    if isinstance(text, str) and len(text) > LONGEST:
        raise BadInput(
            f"The text has {len(text):,} characters, more than {LONGEST:,}.",
            "Give a few words of it that others do not have.",
        )
    # SQLite's texts end at a NUL.
    words = text.replace("\0", " ").split() if isinstance(text, str) else ()
    some = dict.fromkeys(words)
    if not some:
        raise BadInput(
            f"There are no words to look for in {text!r:.80}.", "Give a word or more."
        )
    if index(store):
        phrases = (f'"{_spaced(word).replace(chr(34), " ")}"' for word in some)
        return (
            "seq IN (SELECT seq FROM replies JOIN words ON words.rowid = n"
            " WHERE words MATCH ?)",
            [" ".join(phrases)],
        )
    scan = (
        "seq IN (SELECT seq FROM requests WHERE instr(lower(body), ?)"
        " UNION SELECT seq FROM replies WHERE instr(lower(body), ?))"
    )
    values = [word.lower() for word in some for _ in (1, 2)]
    return " AND ".join([scan] * len(some)), values


def index(store: Store) -> bool:
    """Bring the index up to date; tell whether there is one.

    Done when something is looked for, not when it is asked: a call stays cheap, and a
    file written where SQLite has no FTS5 is indexed later.
    """
    able = "SELECT 1 FROM pragma_module_list WHERE name = 'fts5'"
    if store.failure or not store.read(able):
        return False
    while store.write(_index_some) == BATCH:
        pass
    return store.failure is None


def remove(db: sqlite3.Connection, rows: Sequence[tuple[int]]) -> None:
    """Take calls out of the index, where there is one, by their ``seq``."""
    if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'words'").fetchone():
        return
    db.executemany(
        "DELETE FROM words WHERE rowid IN (SELECT n FROM replies WHERE seq = ?)", rows
    )
    # Deleted words stay in the index's old segments until they are merged.
    db.execute("INSERT INTO words (words) VALUES ('optimize')")


def _texts(body: str | None, names: Sequence[str]) -> str:
    """Return the texts under some names of a request or an answer."""
    said = stored(body) or {}
    return _spaced("\n".join(pieces([said.get(name) for name in names])))


def _spaced(text: str) -> str:
    """Part Han, kana and Hangul, which are written without spaces, into characters."""
    return re.sub(_CJK, r" \g<0> ", text)


def _index_some(db: sqlite3.Connection) -> int:
    """Add the oldest answers that are not in the index yet; return how many."""
    db.execute("CREATE VIRTUAL TABLE IF NOT EXISTS words USING fts5 (prompt, answer)")
    rows = db.execute(
        "SELECT n, requests.body, replies.body FROM replies LEFT JOIN requests"
        " USING (seq) WHERE n > (SELECT ifnull(max(rowid), 0) FROM words)"
        " ORDER BY n LIMIT ?",
        [BATCH],
    ).fetchall()
    found = [
        (n, _texts(request, _PROMPTS), _texts(reply, _ANSWERS))
        for n, request, reply in rows
    ]
    db.executemany("INSERT INTO words (rowid, prompt, answer) VALUES (?, ?, ?)", found)
    return len(rows)
