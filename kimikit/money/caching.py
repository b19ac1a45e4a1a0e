"""Report what prompt caches could have saved, did save, and what broke them.

A host keeps what it computed for the beginning of a prompt and bills the same beginning
of a later one at a lower price. So each request is laid beside the ones before it:
tools first, then the messages, as chat templates write them.
"""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec

from kimikit import html
from kimikit.display.footer import total_usd
from kimikit.display.renderable import Renderable, Section, Table
from kimikit.json_values import as_json
from kimikit.money.estimates import size
from kimikit.money.rows import CallRow
from kimikit.types import Price

REMEMBERED_S = 600.0
"""How long a host is taken to remember a prompt, in seconds: hosts say 5 to 10 minutes,
and an hour where it is paid for."""

COMPARED = 16
"""Earlier requests of the same model that a request is laid beside."""

ROUNDING = 256
"""Tokens below which nothing is said: hosts cache in blocks of 16 to 1,024 tokens."""

ROWS_SHOWN = 10

_TIME = re.compile(r"\d{1,4}[-/:.]\d{1,2}(?:[-/:.T ]\d{1,4})*|\b\d{10}(?:\d{3})?\b")
"""A date, a time of day or a Unix time."""

_ID = re.compile(r"\b[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}\b|\b[0-9a-f]{16,}\b")


class Block(NamedTuple):
    """A part of a prompt: the tools, or one message.

    Attributes:
        name: ``tools``, ``system`` or such as ``message 3 (user)``.
        text: All that is sent of it.
    """

    name: str
    text: str


class CacheRow(msgspec.Struct, frozen=True):
    """A request beside the earlier one that has most of its beginning.

    Attributes:
        id: The call's id in the ledger.
        created: Unix time at which it was asked.
        host: The host's name.
        model: The model asked for.
        prompt_tokens: Tokens of the request, as the host counted them.
        expected_tokens: About how many of them an earlier request began with.
        cached_tokens: How many the host said it had cached.
        broken: The first part that differs, empty where the earlier request was a
            beginning of this one as a whole.
        why: What differs there.
        movable_tokens: About how many tokens after that are in both requests: they
            could have been cached, had what differs stood behind them.
        saved_usd: What the cache saved at the price of the day, ``None`` if unknown.
        movable_usd: What moving would have saved beside that.
    """

    id: str
    created: float
    host: str
    model: str
    prompt_tokens: int
    expected_tokens: int
    cached_tokens: int
    broken: str
    why: str
    movable_tokens: int
    saved_usd: Decimal | None
    movable_usd: Decimal | None


class CacheReport(Renderable, msgspec.Struct, frozen=True):
    """What the prompt caches did.

    Attributes:
        rows: The requests that had something before them, newest first.
        unread: Calls left out: their text or their tokens are not in the ledger.
        origin: What the report says of replayed answers.
    """

    rows: tuple[CacheRow, ...]
    unread: int = 0
    origin: str = ""

    def by_host(self) -> dict[tuple[str, str], list[CacheRow]]:
        """Return the rows of each host and model."""
        found: dict[tuple[str, str], list[CacheRow]] = {}
        for row in self.rows:
            found.setdefault((row.host, row.model), []).append(row)
        return found

    def _parts(self) -> tuple[str, list[Section], str]:
        if not self.rows:
            return "", [], f"Nothing to compare.{self._left_out()}"
        heads = (
            *("host", "model", "calls", "prompt", "to be had", "cached", "saved"),
            *("by another order", "most often broken by"),
        )
        totals = [
            [
                host,
                model,
                f"{len(rows):,}",
                *_sums(rows),
                html.money(total_usd([row.saved_usd for row in rows])),
                f"{sum(row.movable_tokens for row in rows):,} tokens, "
                f"{html.money(total_usd([row.movable_usd for row in rows]))}",
                _often(rows),
            ]
            for (host, model), rows in self.by_host().items()
        ]
        broken = [row for row in self.rows if row.broken and row.movable_tokens]
        worst = sorted(broken, key=lambda row: -row.movable_tokens)[:ROWS_SHOWN]
        lines = [
            [
                row.id[:8],
                f"{row.prompt_tokens:,}",
                f"{row.cached_tokens:,}",
                row.broken,
                row.why,
                f"{row.movable_tokens:,}",
            ]
            for row in worst
        ]
        caption = (
            "To be had: about the tokens that an earlier request within "
            f"{REMEMBERED_S / 60:.0f} minutes began with, by shares of bytes. "
            "By another order: tokens that both have behind the first difference."
        )
        tables: list[Section] = [Table(heads, totals, range(2, 8), caption)]
        if lines:
            columns = ("call", "prompt", "cached", "broken in", "by", "movable tokens")
            note = "Put what changes behind what stays: a time stamp into the question."
            tables.append(Table(columns, lines, (1, 2, 5), note))
        return "", tables, html.footer_line([self._left_out().strip(), self.origin])

    def _left_out(self) -> str:
        one = "call was" if self.unread == 1 else "calls were"
        why = "no text or no tokens of theirs are kept"
        return f" {self.unread:,} {one} left out: {why}." if self.unread else ""


def report(
    calls: Iterable[tuple[CallRow, Mapping[str, Any] | None]], *, origin: str = ""
) -> CacheReport:
    """Return what the caches did.

    Args:
        calls: Calls with their requests, oldest first.
        origin: What the report says of replayed answers.
    """
    before: dict[tuple[str, str], deque[tuple[float, list[Block]]]] = {}
    rows: list[CacheRow] = []
    unread = 0
    for row, body in calls:
        if body is None or row.usage is None or row.usage.estimated:
            unread += 1
            continue
        blocks = blocks_of(body)
        earlier = before.setdefault((row.host, row.model), deque(maxlen=COMPARED))
        near = [b for at, b in earlier if row.created - at <= REMEMBERED_S]
        if near:
            rows.append(_row(row, blocks, near))
        earlier.append((row.created, blocks))
    return CacheReport(tuple(rows[::-1]), unread, origin)


def blocks_of(body: Mapping[str, Any]) -> list[Block]:
    """Return the parts of a request in the order in which a model reads them."""
    found = []
    if tools := body.get("tools"):
        found.append(Block("tools", as_json(tools)))
    messages = body.get("messages")
    if not isinstance(messages, Sequence) or isinstance(messages, str):
        return [*found, Block("prompt", str(body.get("prompt", "")))]
    for number, message in enumerate(messages, 1):
        role = message.get("role") if isinstance(message, Mapping) else None
        name = "system" if role == "system" else f"message {number} ({role})"
        found.append(Block(name, _said(message)))
    return found


def _said(message: Any) -> str:
    """Return what a message says, its text as it is."""
    if not isinstance(message, Mapping):
        return str(message)
    content = message.get("content")
    rest = {k: v for k, v in message.items() if k != "content" and v}
    text = content if isinstance(content, str) else as_json(content)
    return f"{as_json(rest)}\n{text}"


def _row(row: CallRow, blocks: list[Block], near: list[list[Block]]) -> CacheRow:
    assert row.usage is not None
    whole = sum(size(block.text) for block in blocks) or 1
    best = max(near, key=lambda other: _shared(blocks, other))
    shared = _shared(blocks, best)
    tokens = row.usage.prompt_tokens
    place = _broken(blocks, best)
    movable = 0 if place is None else _movable(blocks, best, place)
    moved = round(tokens * movable / whole)
    less = _less(row.price)
    return CacheRow(
        id=row.id,
        created=row.created,
        host=row.host,
        model=row.model,
        prompt_tokens=tokens,
        expected_tokens=round(tokens * shared / whole),
        cached_tokens=row.usage.cached_tokens,
        broken="" if place is None else blocks[place].name,
        why="" if place is None else _why(blocks, best, place),
        movable_tokens=moved if moved >= ROUNDING else 0,
        saved_usd=None if less is None else less * row.usage.cached_tokens,
        movable_usd=None if less is None else less * moved,
    )


def _less(price: Price | None) -> Decimal | None:
    """Return how much less a cached token costs, in dollars."""
    if price is None:
        return None
    cached = price.input if price.cached_input is None else price.cached_input
    return (price.input - cached) / 1_000_000


def _same_beginning(one: str, other: str) -> int:
    """Return the characters that two texts begin with alike, by halving."""
    low, high = 0, min(len(one), len(other))
    if one[:high] == other[:high]:
        return high
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _shared(blocks: list[Block], other: list[Block]) -> int:
    """Return the bytes that two prompts begin with alike."""
    total = 0
    for mine, theirs in zip(blocks, other, strict=False):
        if mine == theirs:
            total += size(mine.text)
            continue
        if (mine.name == "tools") == (theirs.name == "tools"):
            total += size(mine.text[: _same_beginning(mine.text, theirs.text)])
        break
    return total


def _broken(blocks: list[Block], other: list[Block]) -> int | None:
    """Return the first part that differs, ``None`` if the earlier prompt goes on."""
    for place, (mine, theirs) in enumerate(zip(blocks, other, strict=False)):
        if mine != theirs:
            # The last question of an earlier request is where another one may differ.
            last = place and place == len(other) - 1 == len(blocks) - 1
            asked = all("(user)" in each.name for each in (mine, theirs))
            return None if last and asked else place
    return None


def _movable(blocks: list[Block], other: list[Block], place: int) -> int:
    """Return the bytes behind the first difference that both prompts have."""
    mine, theirs = blocks[place], other[place]
    begun = _same_beginning(mine.text, theirs.text) if mine.name == theirs.name else 0
    left, right = mine.text[begun:], theirs.text[begun:]
    ended = _same_beginning(left[::-1], right[::-1])
    total = size(left[len(left) - ended :])
    later = Counter(block.text for block in other[place + (ended > 0) :])
    for block in blocks[place + (ended > 0) :]:
        if later[block.text] > 0:
            later[block.text] -= 1
            total += size(block.text)
    return total


def _why(blocks: list[Block], other: list[Block], place: int) -> str:
    """Return what differs first, in a few words."""
    mine, theirs = blocks[place], other[place]
    if mine.name == theirs.name == "tools":
        one, two = (msgspec.json.decode(block.text) for block in (mine, theirs))
        alike = Counter(map(as_json, one)) == Counter(map(as_json, two))
        return "other order of the tools" if alike else "other tools"
    if "tools" in (mine.name, theirs.name):
        return "tools in one and not in the other"
    if mine.name != theirs.name:
        return f"{mine.name} in place of {theirs.name}"
    begun = _same_beginning(mine.text, theirs.text)
    # What differs may begin in the middle of a date.
    window = slice(max(0, begun - 24), begun + 40)
    now, then = mine.text[window], theirs.text[window]
    at = begun - window.start
    for kind, pattern in (("a time stamp", _TIME), ("an id", _ID)):
        if all(_covers(pattern, text, at) for text in (now, then)):
            return kind
    before, after = (repr(html.one_line(text[at:], 24)) for text in (then, now))
    return f"{before} became {after}"


def _covers(pattern: re.Pattern[str], text: str, at: int) -> bool:
    return any(m.start() <= at < m.end() for m in pattern.finditer(text))


def _sums(rows: Sequence[CacheRow]) -> Iterator[str]:
    for name in ("prompt_tokens", "expected_tokens", "cached_tokens"):
        yield f"{sum(getattr(row, name) for row in rows):,}"


def _often(rows: Sequence[CacheRow]) -> str:
    counts = Counter(
        f"{row.broken}: {row.why}" for row in rows if row.broken and row.movable_tokens
    )
    ((what, count),) = counts.most_common(1) or [("", 0)]
    return f"{what} ({count} of {len(rows)})" if count else "nothing"
