"""Hold the answers of one point, as figures are made of them."""

from __future__ import annotations

import functools
import hashlib
import sys
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any, TypeVar

import msgspec
import numpy as np

from kimikit.sweeps.segmentation import words
from kimikit.types import Reply


def text_of(reply: Reply) -> str:
    """Return what counts as the answer: the text, or the calls where there is none."""
    return reply.text.strip() or "; ".join(
        f"{call.name}({call.arguments})" for call in reply.tool_calls
    )


_T = TypeVar("_T")

SHORT = 200
"""Characters of a text whose words are kept: short answers come at many points."""

REMEMBERED = 1 << 14
"""Different short texts that are."""


class Answers:
    """The answers of one prompt at one point.

    They stand in an order that their texts alone decide, and that is like chance: what
    is drawn from them with a fixed seed, or is of the first so many, is the same in
    whatever order they came, such as in a replay.

    Args:
        texts: Of the answers that came whole.
        tokens: Of each of them.
        seconds: How long each of them took.
        paid: What each answer took, also of those that broke off.
        split: Cuts a text into words; many texts are alike.

    Attributes:
        texts: Their texts.
        tokens: Their tokens.
        seconds: How long they took.
        paid: The same.
    """

    def __init__(
        self,
        texts: Sequence[str] = (),
        tokens: Sequence[float] = (),
        seconds: Sequence[float] = (),
        paid: Sequence[Decimal | None] = (),
        split: Callable[[str], list[str]] | None = None,
    ) -> None:
        order = _scattered(texts, seconds)
        self.texts = [texts[place] for place in order]
        self.tokens = np.asarray(tokens)[order]
        self.seconds = np.asarray(seconds)[order]
        self.paid = paid
        self._split = split or functools.cache(_split)

    @functools.cached_property
    def words(self) -> list[list[str]]:
        """Each of the texts in words."""
        return [self._split(text) for text in self.texts]


class Group(msgspec.Struct, frozen=True, eq=False):
    """The trials of one prompt at one point.

    Attributes:
        labels: All parameters they were asked with.
        places: Where they stand in the sweep.
        count: How many answers came whole.
        length: The median of their words, ``None`` where none came.
        cost: What was paid, also for answers that broke off.
        read: Reads the answers; those on disk are let go again.
    """

    labels: dict[str, Any]
    places: Sequence[int]
    count: int
    length: float | None
    cost: Decimal | None
    read: Callable[[], Answers]

    @property
    def texts(self) -> list[str]:
        """The texts of the answers, in an order that is like chance."""
        return self.read().texts


def once_if_short(function: Callable[[str], _T]) -> Callable[[str], _T]:
    """Return a function of texts that works short ones out once."""
    kept = functools.lru_cache(REMEMBERED)(function)
    return lambda text: kept(text) if len(text) <= SHORT else function(text)


@once_if_short
def _split(text: str) -> list[str]:
    found = words(text)
    # Of one Chinese word there is one text: it would take ten times the memory.
    return found if text.isascii() else list(map(sys.intern, found))


def _scattered(texts: Sequence[str], seconds: Sequence[float]) -> list[int]:
    """Order answers by a hash of each text and of how many equal ones went before."""
    seen: dict[str, int] = {}
    hashes: dict[bytes, int] = {}
    hashed = hashlib.blake2b
    for place in np.argsort(seconds, kind="stable").tolist():
        text = texts[place]
        before = seen[text] = seen.get(text, -1) + 1
        whole = f"{before} {text}".encode(errors="surrogatepass")
        hashes[hashed(whole).digest()] = place
    return [hashes[name] for name in sorted(hashes)]
