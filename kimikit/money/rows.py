"""Define the ledger's values: a row of a call, a list of rows, and a total."""

from __future__ import annotations

import datetime as dt
import operator
import time
from collections.abc import Iterable
from decimal import Decimal
from typing import Any, Literal, TypeVar, get_type_hints, overload

import msgspec

from kimikit import html
from kimikit.display.footer import STAND_IN, day
from kimikit.display.renderable import Renderable, Table
from kimikit.errors import BadInput, BudgetExceeded, NotRecorded, StatusError
from kimikit.money.migrations import COUNTS
from kimikit.money.storable import dollars
from kimikit.money.stored_calls import StoredCall
from kimikit.types import Price, Reply, Usage

T = TypeVar("T")
State = Literal["open", "complete", "partial", "truncated", "failed", "lost"]
"""``open``: sent, no end seen (a killed kernel leaves it so); ``partial``: stopped by
the user; ``truncated``: the stream broke off; ``failed``: refused, nothing billed;
``lost``: sent and never answered, so the host may have billed it."""

_NEVER_SENT = {"ConnectError", "ConnectTimeout", "PoolTimeout", "UnsupportedProtocol"}
"""Names of httpx's errors, which only the wire imports, before anything was sent."""

ID_SHOWN = 8
"""Characters of an id in a table; ``calls(id=...)`` takes them."""

TEXT_SHOWN = 32
"""Characters of a prompt and of an answer in a table."""

TEXTS_READ = 200
"""Rows of a table whose prompt and answer are read."""

TOKEN_HEADS = ("prompt", "cached", "answer")
"""Heads of the token columns of every table."""

WRITE_HEAD = "cache write"
"""The head of one more, behind ``cached``, where any call put something there."""


def outcome(reply: Reply | None, error: BaseException | None) -> State:
    """Return how far a call came, see ``State``."""
    if reply is not None:
        if reply.partial:
            return "partial"
        return "truncated" if reply.truncated or error is not None else "complete"
    if isinstance(error, StatusError | BadInput | BudgetExceeded | NotRecorded):
        return "failed"
    cause = error
    while cause is not None:
        if type(cause).__name__ in _NEVER_SENT:
            return "failed"
        cause = cause.__cause__ or cause.__context__
    return "lost"


@overload
def stored(body: str | None) -> dict[str, Any] | None: ...
@overload
def stored(body: str | None, kind: type[T]) -> T | None: ...
def stored(body: str | None, kind: Any = dict[str, Any]) -> Any:
    """Return a request or an answer as stored, ``None`` for none or a damaged one."""
    try:
        return msgspec.json.decode(body, type=kind) if body else None
    except (ValueError, RecursionError):
        return None


def token_heads(*, writes: bool) -> list[str]:
    """Return the heads of the token columns of a table."""
    prompt, cached, answer = TOKEN_HEADS
    return [prompt, cached, *([WRITE_HEAD] if writes else []), answer]


def token_cells(usage: Usage | None, *, writes: bool) -> list[str]:
    """Return the cells of a table under ``token_heads``; none are empty ones."""
    if usage is None:
        return [""] * len(token_heads(writes=writes))
    prompt, about = usage.prompt_tokens, "~" if usage.estimated else ""
    parts = [usage.cached_tokens, *([usage.cache_write_tokens] if writes else [])]
    return [
        f"{about}{prompt:,}",
        *(f"{part / prompt:.0%}" if prompt else "–" for part in parts),
        f"{about}{usage.completion_tokens:,}",
    ]


def _tokens(usage: Usage | None, *, writes: bool) -> html.Cell:
    """Return all token counts in one cell, for a table of many columns."""
    if usage is None:
        return html.Cell("", "")
    prompt, *parts, answer = token_cells(usage, writes=writes)
    words = token_heads(writes=writes)[1:-1]
    shares = ", ".join(map(" ".join, zip(parts, words, strict=True)))
    begun = f'<span style="white-space:nowrap">{html.esc(prompt)} -&gt;</span>'
    rich = f"{begun} {html.esc(answer)} <small>{html.esc(shares)}</small>"
    return html.Cell(f"{prompt} -> {answer}, {shares}", rich)


def breakable(texts: Iterable[str]) -> list[html.Cell]:
    """Return cells that go on in the next line where names and phrases may break."""
    return [
        html.Cell(
            text,
            html.esc(text).replace("/", "/<wbr>").replace("unknown, ", "unknown,<br>"),
        )
        for text in texts
    ]


class CallRow(StoredCall, msgspec.Struct, frozen=True, dict=True):
    """A call as the ledger has it; ``request`` and ``reply`` are read when asked for.

    Attributes:
        id: Unique id of the call.
        key: The resume key that it was asked with, or ``None``.
        created: Unix time at which it was asked.
        day: The same as a day in local time here and now, ISO format.
        session: Its kernel's own mark.
        endpoint: ``chat``, ``complete``, ``embed`` and so on.
        host: Name of the host profile.
        model: The model asked for.
        tag: Names of the ``tag`` blocks around it, joined by ``/``.
        notebook: File name of the notebook.
        stand_in: Whether the local stand-in answered.
        state: How far it came.
        cost: US dollars at the price of that moment, ``None`` for unknown.
        at_most: What it could cost at most, known before it was sent.
        price: The price used, with its source; ``None`` if the host named the cost.
        first_token_s: Seconds to the first token.
        duration_s: Seconds to the end.
        finish_reason: The host's word for why it ended.
        error: What went wrong, in short.
        usage: Tokens, ``None`` until they are known.
    """

    id: str
    key: str | None
    created: float
    day: str
    session: str
    endpoint: str
    host: str
    model: str
    tag: str
    notebook: str
    stand_in: bool
    state: State
    cost: Decimal | None
    at_most: Decimal | None
    price: Price | None
    first_token_s: float | None
    duration_s: float | None
    finish_reason: str | None
    error: str | None
    usage: Usage | None

    @classmethod
    def read(cls, values: tuple[Any, ...], ledger: Any = None) -> CallRow:
        """Return the row that a query of ``COLUMNS`` gave.

        What a damaged file has in place of a value is left out, not the row.

        Args:
            values: What the query gave.
            ledger: Where its request and its answer are read from.
        """
        raw = dict(zip(COLUMNS, values, strict=True))
        counts = {name: raw.pop(name) for name in COUNTS}
        raw["usage"] = {k: v for k, v in counts.items() if v is not None} or None
        try:
            raw["day"] = time.strftime("%Y-%m-%d", time.localtime(raw["created"]))
            raw["price"] = raw["price"] and msgspec.json.decode(raw["price"])
            for name in ("cost", "at_most"):
                raw[name] = None if raw[name] is None else dollars(raw[name])
            # 0 and 1 are False and True.
            row = msgspec.convert(raw, cls, strict=False)
        except (ValueError, TypeError, ArithmeticError, OSError):
            row = cls(**{name: _whole(name, value) for name, value in raw.items()})
        row.__dict__["ledger"] = ledger
        return row

    def flat(self) -> dict[str, Any]:
        """Return it as a dict without values inside values, for tables and files."""
        cells = msgspec.structs.asdict(self)
        for name in ("usage", "price", "cost", "at_most"):
            del cells[name]
        known = (self.price.source, self.price.as_of) if self.price else ()
        return {
            "time": _moment(self.created),
            **cells,
            **{name: getattr(self.usage, name, None) for name in COUNTS},
            "cost_usd": self.cost,
            "at_most_usd": self.at_most,
            "price_source": ", ".join(filter(None, known)) or None,
        }

    @property
    def cost_text(self) -> str:
        """The cost as it is shown: never 0 for unknown."""
        if self.cost is not None:
            estimated = bool(self.usage and self.usage.estimated)
            return html.money(self.cost, estimated=estimated)
        if self.state == "failed":
            return "–"
        if self.state not in ("open", "lost"):
            return "unpriced"
        if self.at_most is None:
            return "unknown"
        most = html.money(self.at_most)
        return f"unknown, at most {most}" if self.at_most else most

    def cells(self, *, texts: bool = True, writes: bool = False) -> list[object]:
        """Return the row of a table of calls.

        Args:
            texts: Whether to read how prompt and answer begin.
            writes: Whether the table tells of cache writes.
        """
        prompt, answer = self.beginnings() if texts else ("", "")
        seconds = "" if self.duration_s is None else f"{self.duration_s:.1f}"
        on, at = day(self.created), day(self.created, "%H:%M")
        whom = f"{self.host}/{self.model}" if self.model else self.host
        begun = (html.opening(text, TEXT_SHOWN) for text in (prompt, answer))
        return [
            self.id[:ID_SHOWN],
            html.Cell(
                f"{on} {at}",
                f'<span style="white-space:nowrap">{on}</span> {at}',
            ),
            *breakable([whom]),
            *begun,
            seconds,
            _tokens(self.usage, writes=writes),
            *breakable([self.cost_text, self.state, self.tag]),
        ]


def _moment(created: float) -> dt.datetime | None:
    try:
        return dt.datetime.fromtimestamp(created)
    except (ValueError, OverflowError, OSError):
        return None  # a damaged file may hold any number


def _whole(name: str, value: Any) -> Any:
    """Return a damaged row's value if it is of its kind, else what stands for none."""
    kind = _KINDS[name]
    try:
        if name == "price":
            value = value and msgspec.json.decode(value)
        elif name in ("cost", "at_most") and value is not None:
            value = dollars(value)
        return msgspec.convert(value, kind, strict=False)
    except (ValueError, TypeError, ArithmeticError):
        return _NONE.get(kind)


_KINDS: dict[str, Any] = get_type_hints(CallRow)
_NONE: dict[Any, Any] = {str: "", float: 0.0, bool: False, State: "lost"}

COLUMNS = (*(name for name in CallRow.__struct_fields__ if name != "usage"), *COUNTS)
"""Columns of the table ``calls`` that a ``CallRow`` is read from, in their order."""


class Calls(Renderable, list[CallRow]):
    """Rows of the ledger, newest first, shown as a table.

    Args:
        rows: The rows.
        origin: What the table says of replayed answers.
    """

    def __init__(self, rows: Iterable[CallRow] = (), origin: str = "") -> None:
        super().__init__(rows)
        self.origin = origin

    def _parts(self) -> tuple[str, list[Table], str]:
        writes = any(row.usage and row.usage.cache_write_tokens for row in self)
        heads = ["id", "time", "host/model", "asked", "answered", "s", "tokens"]
        heads += ["cost", "state", "tag"]
        numeric = range(5, len(heads) - 2)
        if not any(row.tag for row in self):
            del heads[-1]
        local = any(row.stand_in for row in self)
        first = f"n = {html.many(len(self), 'call')}, newest first"
        note = [first, STAND_IN if local else "", self.origin]
        rows = (
            row.cells(texts=i < TEXTS_READ, writes=writes) for i, row in enumerate(self)
        )
        cells = [row[: len(heads)] for row in rows]
        return "", [Table(heads, cells, numeric, html.footer_line(note))], ""


class Total(msgspec.Struct, frozen=True):
    """What some calls took together; the fields are those of ``migrations.SUMS``.

    Attributes:
        calls: How many, the unfinished ones included.
        prompt_tokens: Tokens of their requests.
        completion_tokens: Tokens of their answers.
        cached_tokens: Part of ``prompt_tokens`` from the hosts' caches.
        reasoning_tokens: Part of ``completion_tokens`` spent on thinking.
        estimated: Calls whose tokens are a guess.
        cache_write_tokens: Part of ``prompt_tokens`` put into the hosts' caches.
        cache_write_1h_tokens: Part of those to be kept for an hour.
        cost_pico: Cost of all calls whose cost is known, in 1e-12 US dollars.
        unpriced: Answered calls for which no price was known.
        unknown: Calls sent whose end was not seen; the host may have billed them.
        at_most_pico: What those can add at most, as far as known, in 1e-12 US dollars.
        unbounded: Those of them for which not even that is known.
    """

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    estimated: int = 0
    cache_write_tokens: int = 0
    cache_write_1h_tokens: int = 0
    cost_pico: int = 0
    unpriced: int = 0
    unknown: int = 0
    at_most_pico: int = 0
    unbounded: int = 0

    def __add__(self, other: Total) -> Total:
        return Total(*map(operator.add, *map(msgspec.structs.astuple, (self, other))))

    @property
    def usage(self) -> Usage:
        """Their tokens."""
        counts: dict[str, Any] = {name: getattr(self, name) for name in COUNTS}
        return Usage(**counts | {"estimated": self.estimated > 0})

    @property
    def cost(self) -> Decimal:
        """US dollars of all calls whose cost is known, exact."""
        return dollars(self.cost_pico)

    @property
    def known_text(self) -> str:
        """The known cost as it is shown: ``at least`` where it is not all."""
        if not self.cost_pico and (self.unpriced or self.unknown):
            return "unpriced" if self.unpriced else "unknown"
        known = html.money(self.cost, estimated=self.estimated > 0)
        return f"at least {known}" if self.unpriced or self.unknown else known

    @property
    def missing_text(self) -> str:
        """What the known cost leaves out, empty if nothing."""
        missing = [f"{self.unpriced} unpriced"] if self.unpriced else []
        if self.unknown:
            bound = f", at most {html.money(dollars(self.at_most_pico))} more"
            missing.append(f"{self.unknown} unknown{'' if self.unbounded else bound}")
        return "; ".join(missing)

    @property
    def cost_text(self) -> str:
        """Both in one phrase."""
        known, missing = self.known_text, self.missing_text
        if not missing or self.unpriced == self.calls:
            return known
        return f"{known} ({missing})" if self.cost_pico else missing

    def cells(self, *, writes: bool) -> list[str]:
        """Return its row of a table of totals, cache writes in it or not."""
        calls, cost = f"{self.calls:,}", (self.known_text, self.missing_text)
        return [calls, *token_cells(self.usage, writes=writes), *cost]

    def __str__(self) -> str:
        return f"{html.many(self.calls, 'call')} · {self.usage} · {self.cost_text}"
