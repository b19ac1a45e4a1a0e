"""Turn what a host sent into values that SQLite can keep.

Money is kept as integer pico-dollars (1e-12 $): a price of $0.375 per million tokens
is 375,000 of them per token, so sums are exact and fast, up to nine million dollars.
"""

from __future__ import annotations

import json
import sqlite3
from decimal import Decimal
from typing import Any

import msgspec

from kimikit.money.migrations import COUNTS
from kimikit.types import Reply, Usage

PICO = 10**12
LARGEST = 10**15
"""The largest figure that a row keeps, and 1,000 dollars in pico-dollars. What a host
names above it is no figure of one call, and sums of it would not fit into a column."""


def execute(db: sqlite3.Connection, sql: str, row: dict[str, Any]) -> sqlite3.Cursor:
    """Run SQL with a row's values; texts that SQLite cannot take are made so."""
    try:
        return db.execute(sql, row)
    except (UnicodeEncodeError, sqlite3.InterfaceError, sqlite3.ProgrammingError):
        plain = int | float | bytes | None
        kept = {
            name: value
            if isinstance(value, plain)
            else str(value).encode("utf-8", "replace").decode()
            for name, value in row.items()
        }
        return db.execute(sql, kept)


def counts(usage: Usage) -> dict[str, int | None]:
    """Return what a row keeps of a usage; a figure that no call has is unknown."""
    found = {name: getattr(usage, name) for name in COUNTS}
    if max(found.values()) > LARGEST or min(found.values()) < 0:
        return {n: c if 0 <= c <= LARGEST else None for n, c in found.items()}
    return found


def to_json(value: Any) -> str:
    """Return JSON of a value; of odd parts what is no text or figure is left out."""
    try:
        return msgspec.json.encode(value, enc_hook=str).decode()
    except (ValueError, RecursionError, OverflowError):
        return _plain_json(value)  # such as one half of a surrogate pair


def _plain_json(value: Any) -> str:
    if isinstance(value, Reply):
        value = msgspec.structs.asdict(value) | {"raw": {}, "alternatives": ()}
    try:
        text = json.dumps(value, ensure_ascii=False, default=_part, skipkeys=True)
    except (ValueError, RecursionError):
        return "{}"
    return text.encode("utf-8", "replace").decode()


def _part(value: Any) -> Any:
    """Return what ``json`` can write of a part that it does not know."""
    if isinstance(value, msgspec.Struct):
        return msgspec.structs.asdict(value)
    return str(value)


def pico(usd: Decimal | None) -> int | None:
    """Return a cost in pico-dollars, rounded half to even past twelve decimals.

    ``None`` for what is unknown, and for what no call can have cost.
    """
    if usd is None or not usd.is_finite() or abs(usd) > LARGEST // PICO:
        return None
    return int((usd * PICO).to_integral_value())


def dollars(amount: int) -> Decimal:
    """Return pico-dollars as dollars, exact."""
    return Decimal(amount) / PICO
