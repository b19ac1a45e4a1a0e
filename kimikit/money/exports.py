"""Export all calls of a ledger: as flat rows, as a frame, as a file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec

from kimikit.errors import BadInput
from kimikit.files import Kind, pandas
from kimikit.money.migrations import COUNTS
from kimikit.money.queries import Queries, choice
from kimikit.money.rows import COLUMNS, CallRow
from kimikit.paths import path_of, writing

KINDS: dict[str, Kind] = {
    "time": "time",
    **dict.fromkeys(("id", "key"), "text"),
    "created": "float",
    **dict.fromkeys(("day", "session", "endpoint", "host", "model", "tag"), "text"),
    "notebook": "text",
    "stand_in": "bool",
    "state": "text",
    **dict.fromkeys(("first_token_s", "duration_s"), "float"),
    **dict.fromkeys(("finish_reason", "error"), "text"),
    **dict.fromkeys(COUNTS, "int"),
    "estimated": "bool",
    **dict.fromkeys(("cost_usd", "at_most_usd"), "money"),
    "price_source": "text",
}
"""The columns of a flat row, and what each holds."""

PAGE = 2_000
"""Rows that are read at once, where all are."""

_OWN = ("", "-wal", "-shm", ".jobs", ".jobs-wal", ".jobs-shm")
"""How the names of a ledger's own files end."""

_IN_MEMORY = "(SELECT file = '' FROM pragma_database_list LIMIT 1)"


class Exports(Queries):
    """What a ``Ledger`` gives to other tools."""

    def flat(self) -> Iterator[dict[str, Any]]:
        """Yield all calls, oldest first, as one flat dict each.

        They are read some at a time, so that millions of them take no memory.

        Example:
            >>> reply = kimi.chat("Name a colour.", temperature=0, max_tokens=8)
            >>> [row["endpoint"] for row in kimi.ledger.flat()]
            ['chat']
        """
        last = max(
            (seq or 0 for (seq,) in self._store.read("SELECT max(seq) FROM calls")),
            default=0,
        )
        newest: list[dict[str, Any]] = []
        for first in range(0, last, PAGE):
            for *raw, kept in self._store.read(
                f"SELECT {', '.join(COLUMNS)}, {_IN_MEMORY} FROM calls"
                " WHERE seq > ? AND seq <= ? ORDER BY seq",
                [first, first + PAGE],
            ):
                row = CallRow.read(tuple(raw), self)
                if kept:
                    newest.append(row.flat())
                elif row.state != "open" or row.id not in self._moved:
                    yield row.flat()
        yield from newest

    def to_pandas(self) -> Any:
        """Return all calls as a ``DataFrame``, costs as floats; ``calls`` is exact.

        Raises:
            MissingDependency: If pandas is not installed.
        """
        frame = pandas().DataFrame(list(self.flat()))
        money = [name for name in frame.columns if name.endswith("_usd")]
        return frame.astype(dict.fromkeys(money, float))

    def export(
        self,
        format: Literal["csv", "jsonl", "parquet"],
        path: str | os.PathLike[str],
    ) -> Path:
        """Write all calls to a file, some at a time.

        Args:
            format: ``csv`` or ``parquet`` for the numbers, ``jsonl`` for requests and
                answers too.
            path: The file to write; an existing one is replaced.

        Raises:
            BadInput: If ``format`` is another word or the file cannot be written.
            MissingDependency: If ``parquet`` is asked for without pyarrow.
        """
        choice("export()", format, ("csv", "jsonl", "parquet"))
        self._refuse_own(path)
        if format == "parquet":
            from kimikit.files import write_file

            return write_file(path, self.flat(), KINDS)
        with (
            writing(path) as fresh,
            fresh.open("w", encoding="utf-8", newline="") as file,
        ):
            if format == "csv":
                import csv

                writer = csv.DictWriter(file, list(KINDS))
                writer.writeheader()
                writer.writerows(self.flat())
            else:
                for row in self.flat():
                    row["request"], row["reply"] = self.read(row["id"])
                    file.write(msgspec.json.encode(row).decode() + "\n")
        return path_of(path)

    def _refuse_own(self, path: str | os.PathLike[str]) -> None:
        """Refuse to write over a file that the ledger itself is kept in."""
        target = path_of(path)
        for end in _OWN:
            own = Path(f"{self._store.path}{end}")
            linked = target.exists() and own.exists() and target.samefile(own)
            if linked or target.absolute() == own:
                raise BadInput(
                    f"The ledger itself is in {target}.", "Give another path."
                )
