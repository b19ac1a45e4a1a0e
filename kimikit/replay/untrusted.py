"""Check a recording, which may come from anybody, before it is believed.

Its tables are ours to the letter, since a view or a trigger in their place would run as
it is read; what a row says is of the right kind and of a size that an answer can have.
"""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from typing import Any

import msgspec

from kimikit.errors import BadInput
from kimikit.json_values import is_within
from kimikit.types import Host, Price
from kimikit.wire.recorder import Recorded
from kimikit.wire.unpack import FREE, RATIO

LONGEST_VALUE = 128 * 2**20
"""Bytes of any one value of the file."""
LOOKED_THROUGH = 16 * 2**20
"""Characters of questions among which the nearest is looked for."""
LONGEST_S = 7 * 24 * 3600.0
"""Seconds that an answer can have taken."""
LATEST = 32_503_680_000.0
"""Unix time of the year 3000."""
_DEAREST = Decimal(10**6)
"""US dollars per million tokens that no model costs."""

Pieces = list[tuple[float, bytes]]


def shut_in(db: sqlite3.Connection, made_by: Callable[[], Iterable[str]]) -> None:
    """Refuse a database that is no recording of ours, and let it do nothing.

    Args:
        db: A database that says it is one.
        made_by: Gives the statements that made it.

    Raises:
        OSError: If its tables are others.
    """
    db.execute("PRAGMA trusted_schema = OFF")
    db.execute("PRAGMA cell_size_check = ON")
    db.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LONGEST_VALUE)
    known = {" ".join(statement.split()) for statement in made_by()}
    for (sql,) in db.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL"):
        if " ".join(str(sql).split()) not in known and "sqlite_sequence" not in sql:
            raise OSError("it holds more than a recording does")


def texts(row: Iterable[Any]) -> Iterator[str]:
    """Yield the values of a row as texts, what is none as an empty one."""
    return (value if isinstance(value, str) else "" for value in row)


def number(value: Any, most: float) -> float:
    """Return a figure of the file.

    Raises:
        ValueError: If it is none, or none that can be.
    """
    if not is_within(value, 0, most):
        raise ValueError("a figure is none, or out of range")
    return value


def time_of(value: Any) -> float:
    """Return a Unix time of the file, 0 for what is none."""
    try:
        return number(value, LATEST)
    except ValueError:
        return 0.0


def unpacked(body: bytes, cuts: str) -> Pieces:
    """Return the pieces of a body with the seconds at which they came.

    Raises:
        ValueError: If they do not fit, or it unpacks to more than an answer can be.
    """
    most = max(FREE, RATIO * len(body))
    unzip = zlib.decompressobj()
    whole, pieces, at = unzip.decompress(body, most), Pieces(), 0
    if unzip.unconsumed_tail:
        raise ValueError(f"it unpacks to more than {most:,} bytes")
    for seconds, length in json.loads(cuts):
        end = at + int(number(length, most))
        pieces.append((number(seconds, LONGEST_S), whole[at:end]))
        at = end
    return pieces


def answer(row: tuple[Any, ...]) -> Recorded:
    """Return an answer as its row has it.

    Raises:
        BadInput: If it is damaged.
    """
    try:
        return _answer(row)
    except (zlib.error, ValueError, TypeError, LookupError, RecursionError) as exc:
        raise BadInput(
            f"An answer in the recording is damaged: {exc}.",
            "Get the recording again from where it came.",
        ) from exc


def _answer(row: tuple[Any, ...]) -> Recorded:
    created, status, headers, head_s, body, cuts, failure, failure_s, good = row
    said = json.loads(failure)
    return Recorded(
        created=number(created, LATEST),
        status=int(number(status, 999)),
        headers=[(str(name), str(value)) for name, value in json.loads(headers)],
        head_s=number(head_s, LONGEST_S),
        pieces=unpacked(body, cuts),
        failure=None if said is None else (str(said[0]), str(said[1])),
        failure_s=number(failure_s, LONGEST_S),
        good=bool(good),
    )


def hosts(told: Iterable[str]) -> list[Host]:
    """Return the hosts that can be read."""
    return list(_read(told, Host))


def price(told: str) -> Price | None:
    """Return a price, ``None`` for one that cannot be."""
    (found, *_) = [*_read([told], Price), None]
    if found is None:
        return None
    parts = (getattr(found, name) for name in Price.__struct_fields__)
    amounts = [part for part in parts if isinstance(part, Decimal)]
    fit = all(a.is_finite() and 0 <= a <= _DEAREST for a in amounts)
    return found if fit and all(abs(a.adjusted()) < 20 for a in amounts) else None


def _read(told: Iterable[str], kind: Any) -> Iterator[Any]:
    for text in told:
        try:
            yield msgspec.json.decode(text, type=kind)
        except (ValueError, TypeError, RecursionError):
            continue
