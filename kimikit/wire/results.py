"""Hold what the endpoints beyond chat return, as values with views of their own."""

from __future__ import annotations

import mimetypes
from abc import abstractmethod
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from kimikit import html
from kimikit.display.footer import day
from kimikit.display.renderable import Renderable, Section, Table
from kimikit.paths import path_of, writing
from kimikit.types import Reply
from kimikit.types.pickling import Travels
from kimikit.wire.coerce import as_count, as_dict

AUDIO_SHOWN = 5_000_000
"""Bytes of speech that a saved notebook carries; more, and it only names the file."""


class Result(Travels, Renderable, msgspec.Struct, frozen=True, kw_only=True):
    """What all results share.

    Attributes:
        reply: Where it came from and what it cost; its footer.
    """

    reply: Reply = msgspec.field(default_factory=Reply)

    def _parts(self) -> tuple[str, list[Section], str]:
        return "", [self._view()], self._foot()

    def _foot(self) -> str:
        return self.reply.footer()

    @abstractmethod
    def _view(self) -> Section:
        """Return what stands above the footer."""


def _as_text(text: str) -> Section:
    return html.Cell(text, html.pre(text))


class Free(Result, frozen=True, kw_only=True):
    """A result that costs nothing, so its footer names only host and day."""

    def _foot(self) -> str:
        return html.footer_line(
            [html.one_part(self.reply.host), day(self.reply.created)]
        )


class Embeddings(Result, frozen=True, kw_only=True):
    """Vectors of texts, in their order."""

    vectors: list[list[float]] = []

    def __len__(self) -> int:
        return len(self.vectors)

    def __iter__(self) -> Iterator[list[float]]:
        return iter(self.vectors)

    @property
    def missing(self) -> list[int]:
        """Places of texts that have no vector: a batch failed them, or goes on."""
        return [place for place, vector in enumerate(self.vectors) if not vector]

    def __getitem__(self, index: int) -> list[float]:
        return self.vectors[index]

    def _view(self) -> Section:
        size, missing = max(map(len, self.vectors), default=0), len(self.missing)
        more = f", {missing} missing" if missing else ""
        have = html.many(len(self) - missing, "vector")
        return _as_text(f"{have} of {size} numbers{more}")


class Ranked(msgspec.Struct, frozen=True):
    """A document with its place among those given and its score."""

    index: int
    score: float
    text: str


class Ranking(Result, frozen=True, kw_only=True):
    """Documents by how well they fit a query, best first."""

    results: list[Ranked] = []

    def __len__(self) -> int:
        return len(self.results)

    def __iter__(self) -> Iterator[Ranked]:
        return iter(self.results)

    def __getitem__(self, index: int) -> Ranked:
        return self.results[index]

    def _rows(self) -> list[list[object]]:
        return [[f"{r.score:.3f}", r.index, r.text] for r in self.results]

    def _view(self) -> Section:
        return Table(["score", "index", "document"], self._rows(), [0, 1])


class Picture(Result, frozen=True, kw_only=True):
    """A picture, shown in the cell.

    Attributes:
        data: The bytes of the file; empty if only ``url`` came and could not be read.
        media_type: Such as ``image/png``.
        url: Where the host keeps it, for a while.
        others: The rest, where ``n`` was above 1.
    """

    data: bytes = b""
    media_type: str = ""
    url: str = ""
    others: tuple[Picture, ...] = ()

    def save(self, path: str | Path) -> Path:
        """Write the picture to ``path``.

        Raises:
            BadInput: If the file cannot be written.
        """
        with writing(path) as fresh:
            fresh.write_bytes(self.data)
        return path_of(path)

    def _view(self) -> Section:
        text = f"{self.media_type or 'picture'}, {len(self.data):,} bytes {self.url}"
        if not self.data or not self.media_type:
            return _as_text(text)
        source = html.data_url(html.esc(self.media_type), self.data)
        shown = f'<img alt="generated picture" src="{source}" style="max-width:100%">'
        return html.Cell(text, shown)


class Speech(Result, frozen=True, kw_only=True):
    """Speech in a file, with a player in the cell."""

    path: Path = Path()

    def _view(self) -> Section:
        try:
            size = self.path.stat().st_size
            sound = self.path.read_bytes() if size <= AUDIO_SHOWN else b""
        except OSError as exc:
            return _as_text(f"{self.path}, which cannot be read now: {exc.strerror}")
        text = f"{self.path}, {size:,} bytes"
        if size > AUDIO_SHOWN:
            return _as_text(text)
        kind = mimetypes.guess_type(self.path.name)[0] or "audio/mpeg"
        player = f'<audio controls src="{html.data_url(kind, sound)}"></audio>'
        return html.Cell(text, player)


class Transcript(Result, frozen=True, kw_only=True):
    """What was said, with its times where the host gives them."""

    text: str = ""
    language: str = ""
    duration_s: float | None = None
    segments: list[dict[str, Any]] = []
    words: list[dict[str, Any]] = []

    def _view(self) -> Section:
        return _as_text(self.text)


_WINDOWS = (
    "context_length", "max_model_len", "context_window", "max_context_length",
    "max_input_tokens", "context_size", "n_ctx", "max_seq_len", "inputTokenLimit",
)  # fmt: skip
"""Names that hosts have for a model's context window, the first that says one."""
_WITHIN = ("meta", "top_provider", "model_info", "limits", "capabilities")
"""Objects in which some hosts have it: llama.cpp, OpenRouter, LiteLLM."""


class Models(Free, frozen=True, kw_only=True):
    """The models that a host lists now.

    Attributes:
        ids: All ids, those of Kimi first.
        kimi: The ids of Kimi.
        raw: The entries as they came, by id.
    """

    ids: list[str] = []
    kimi: list[str] = []
    raw: dict[str, dict[str, Any]] = {}

    def __iter__(self) -> Iterator[str]:
        return iter(self.ids)

    def __len__(self) -> int:
        return len(self.ids)

    def context(self, model: str) -> int:
        """Return a model's context window in tokens, 0 where the host does not say."""
        entry = self.raw.get(model) or self._named(model)
        places = [entry, *(as_dict(entry.get(name)) for name in _WITHIN)]
        said = (as_count(p.get(name)) for p in places for name in _WINDOWS)
        return next((size for size in said if size), 0)

    def _named(self, model: str) -> dict[str, Any]:
        """Return the entry of a model that is listed with its revision: NAME@main."""
        names = (name for name in self.raw if name.partition("@")[0] == model)
        return self.raw.get(next(names, ""), {})

    def _rows(self) -> list[list[object]]:
        windows = [self.context(name) for name in self.ids]
        shown = [f"{window:,}" if window else "" for window in windows]
        return [[name, window] for name, window in zip(self.ids, shown, strict=True)]

    def _view(self) -> Section:
        note = f"{html.many(len(self), 'model')}, {len(self.kimi)} of Kimi"
        return Table(["model", "context"], self._rows(), [1], note)


class Balance(Free, frozen=True, kw_only=True):
    """What is left of the account's money.

    Attributes:
        available: What can be spent.
        cash: Money paid in; may be negative.
        voucher: Money given.
        currency: ISO code.
    """

    available: Decimal
    cash: Decimal | None = None
    voucher: Decimal | None = None
    currency: str = "USD"

    def _view(self) -> Section:
        return _as_text(f"{self.available} {self.currency} available")
