"""Ask the endpoints beyond chat, each by one coroutine for both clients."""

from __future__ import annotations

import base64
import functools
import math
import mimetypes
import operator
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import msgspec

from kimikit.errors import BadInput
from kimikit.paths import taking_place
from kimikit.secrets import redact
from kimikit.types import Reply
from kimikit.wire import media, options, requests, results
from kimikit.wire.coerce import as_count, as_decimal, as_list, as_str, mend, read_json
from kimikit.wire.read_file import file_bytes

_T = TypeVar("_T")


class Asked(NamedTuple):
    """A request and what its call says of its way."""

    body: dict[str, Any]
    own: options.Options = options.NONE


async def _asked(
    wire: Any,
    endpoint: str,
    asked: Asked,
    read: Callable[[Any], _T],
    **content: Any,
) -> tuple[_T, Reply]:
    """Make one call; return what ``read`` makes of its JSON, and its reply."""
    with wire.answer(endpoint, asked.body, own=asked.own) as answer:
        # What came is local only in frames that an error leaves empty.
        value = _made(answer, await wire.whole(answer, **content), read)
    return value, answer.reply


UNFIT = (
    ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError,
)  # fmt: skip
"""What reading an answer raises that is none."""


def _made(answer: Any, said: bytes, read: Callable[[Any], _T]) -> _T:
    try:
        found = mend(read_json(said))
        value = read(found)
    except UNFIT as exc:
        raise answer.no_answer(said) from exc
    answer.take(found)
    return value


def _body(wire: Any, model: str | None, /, **given: Any) -> Asked:
    """Return a request; only the stand-in, which has one of each, needs no model."""
    own, fields = options.options(given)
    if model is None and not wire.host.stand_in:
        raise BadInput(
            "No model is named, and chat models do nothing but chat.",
            "Pass model=, one of the ids that kimi.models() lists.",
        )
    fields |= fields.pop("extra_body", None) or {}
    return Asked(options.fields(**{**fields, "model": model}), own)


def texts_of(values: Any, name: str = "texts") -> list[str]:
    """Return texts, such as those to be embedded, as a list.

    Raises:
        BadInput: If there are none, or one is no text.
    """
    # A column of a frame and an array are lists of texts; a frame is none, nor a dict.
    taken = isinstance(values, Iterable) and not hasattr(values, "columns")
    taken = taken and not isinstance(values, str | bytes | Mapping | set)
    listed = list(values) if taken else []
    if not listed:
        raise BadInput(f"{name} is {values!r:.40}.", "Pass a list of texts.")
    return [
        requests.as_text(f"{name}[{place}]", text) for place, text in enumerate(listed)
    ]


async def embed(
    wire: Any, /, texts: str | Sequence[str], *, model: str | None = None, **params: Any
) -> results.Embeddings:
    """Return a vector for each text."""
    listed = texts_of([texts] if isinstance(texts, str) else texts)
    asked = embedding(wire, listed, model=model, **params)
    read = functools.partial(vectors_of, count=len(listed))
    vectors, reply = await _asked(wire, "embed", asked, read)
    return results.Embeddings(vectors=vectors, reply=reply)


def embedding(
    wire: Any, texts: Sequence[str], *, model: str | None = None, **params: Any
) -> Asked:
    """Return the request for vectors of texts, checked and not sent."""
    return _body(wire, model, input=[*texts], **params)


def vectors_of(found: Any, count: int) -> list[list[float]]:
    """Return so many vectors in the JSON of an answer.

    Raises:
        ValueError: If it has others; what is odd raises ``UNFIT``.
    """
    placed: list[tuple[int, Any]] = []
    for place, row in enumerate(_embedded(found)):
        if isinstance(row, list | str):  # nothing but the numbers
            row = {"embedding": row}
        index = as_count(row.get("index"))
        placed.append((place if index is None else index, row["embedding"]))
    placed.sort(key=operator.itemgetter(0))
    vectors = [_vector(numbers) for _, numbers in placed]
    if len(vectors) != count:
        raise ValueError
    return vectors


def _embedded(found: Any) -> Any:
    """Return the vectors of an answer; Ollama and Cohere call them that."""
    if not isinstance(found, dict) or found.get("data") is not None:
        return _rows(found)
    if "embeddings" not in found:  # of one text, by Ollama's first endpoint
        return [found]
    told = found["embeddings"]
    return told if isinstance(told, list) else told.get("float") or told["base64"]


def _rows(found: Any) -> list[Any]:
    """Return the entries of a list; TEI and Together send it bare, Ollama as models."""
    if isinstance(found, list):
        return found
    rows: list[Any] = found["data" if "data" in found else "models"]
    return rows


def _ranks(found: Any) -> list[Any]:
    """Return the entries of a ranking: Cohere's, Voyage's under ``data``, or TEI's."""
    told = found.get("results") if isinstance(found, dict) else None
    rows: list[Any] = _rows(found) if told is None else told
    if told is None and not rows:
        raise ValueError
    return rows


def packed(vector: Sequence[float]) -> str:
    """Return a vector as base64 of 32-bit floats, as hosts pack it."""
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def _vector(found: Any) -> list[float]:
    """Return a vector that came as numbers, or packed as base64 of 32-bit floats."""
    if isinstance(found, str):
        data = base64.b64decode(found, validate=True)
        found = list(struct.unpack(f"<{len(data) // 4}f", data))
    if isinstance(found, list) and len(found) == 1 and isinstance(found[0], list):
        found = found[0]  # llama.cpp's own endpoint
    numbers = msgspec.convert(found, list[float])
    if not numbers or not all(map(math.isfinite, numbers)):
        raise ValueError
    return numbers


def _place(found: Any, listed: list[str]) -> int:
    place = as_count(found, len(listed) - 1)
    if place is None:
        raise ValueError
    return place


def _amount(found: Any) -> Decimal:
    """Return an amount of money, which may be a debt."""
    text = str(found)
    amount = Decimal(text) if len(text) <= 40 else Decimal("nan")
    if not amount.is_finite() or abs(amount.adjusted()) > 20:
        raise ValueError
    return amount


async def rerank(
    wire: Any,
    /,
    query: str,
    documents: Sequence[str],
    *,
    top_n: int | None = None,
    model: str | None = None,
    **params: Any,
) -> results.Ranking:
    """Order documents by how well they fit ``query``."""
    requests.as_text("query", query)
    listed = texts_of(documents, "documents")
    body = _body(wire, model, query=query, documents=listed, top_n=top_n, **params)

    def read(found: Any) -> list[results.Ranked]:
        ranked = []
        for row in _ranks(found):
            place = _place(row["index"], listed)
            # TEI's and some gateways' name is the short one.
            score = float(row.get("relevance_score", row.get("score")))
            if not math.isfinite(score):
                raise ValueError
            ranked.append(results.Ranked(place, score, listed[place]))
        return sorted(ranked, key=lambda r: -r.score)

    ranked, reply = await _asked(wire, "rerank", body, read)
    return results.Ranking(results=ranked, reply=reply)


async def image(
    wire: Any,
    /,
    prompt: str,
    *,
    model: str | None = None,
    image: str | bytes | Path | None = None,
    **params: Any,
) -> results.Picture:
    """Draw a picture, from another one if ``image`` is given (a path, bytes or URL)."""
    if image is not None:
        params["image_url"] = media.image_url(image)
    body = _body(wire, model, prompt=requests.as_text("prompt", prompt), **params)

    def read(found: Any) -> list[tuple[bytes, str]]:
        if not found["data"]:
            raise ValueError
        return [
            _drawn(d.get("b64_json"), str(d.get("url") or "")) for d in found["data"]
        ]

    found, reply = await _asked(wire, "image", body, read)
    pictures = []
    for data, url in found:
        if url and not data:
            # Hosts delete their copies soon; a saved notebook must keep the picture.
            data = await wire.fetching(url)
        kind = media.image_kind(data)
        # What is no picture is not kept: an address may lead to anything.
        pictures.append(
            results.Picture(
                data=data if kind else b"", media_type=kind, url=url, reply=reply
            )
        )
    return msgspec.structs.replace(pictures[0], others=tuple(pictures[1:]))


def _drawn(text: str | None, url: str) -> tuple[bytes, str]:
    """Return a picture's bytes, if they came, and its address, if it has one.

    Some hosts and gateways send a ``data:`` URL in place of either.
    """
    for place in (text or "", url):
        if data := media.from_data_url(place.strip()):
            return data, url if place is not url else ""
    return base64.b64decode(text or ""), url


async def speak(
    wire: Any,
    /,
    text: str,
    path: str | Path = "speech.mp3",
    *,
    model: str | None = None,
    voice: str | None = None,
    **params: Any,
) -> results.Speech:
    """Speak ``text`` into the file at ``path``, streamed as it comes."""
    path = Path(path)
    params.setdefault("response_format", path.suffix.lstrip(".") or None)
    body = _body(
        wire, model, input=requests.as_text("text", text), voice=voice, **params
    )
    made = wire.answer("speak", body.body, own=body.own)
    # The file takes its place only once it is whole.
    with made as answer, taking_place(path) as fresh, fresh.open("wb") as file:
        response = await wire.sending(answer)
        if "json" in response.headers.get("content-type", ""):
            raise answer.no_answer(await wire.read(response))
        await wire.save(response, file, answer)
    return results.Speech(path=path, reply=answer.reply)


async def transcribe(
    wire: Any,
    /,
    audio: str | Path | bytes,
    *,
    model: str | None = None,
    language: str | None = None,
    response_format: str = "json",
    timestamp_granularities: str | Sequence[str] | None = None,
    **params: Any,
) -> results.Transcript:
    """Write down what is said in ``audio``, a path or bytes."""
    name = "audio"
    if not isinstance(audio, bytes):
        name, audio = Path(audio).name, file_bytes(audio, "recording")
    body = _body(
        wire,
        model,
        language=language,
        response_format=response_format,
        timestamp_granularities=timestamp_granularities,
        **params,
    )
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    files = {"file": (name, audio, kind)}

    def read(found: Any) -> dict[str, Any]:
        return {**found, "text": found["text"].strip()}

    found, reply = await _asked(
        wire, "transcribe", body, read, data=body.body, files=files
    )
    lasts = as_decimal(found.get("duration"))
    return results.Transcript(
        text=found["text"],
        language=as_str(found.get("language")) or language or "",
        duration_s=None if lasts is None else float(lasts),
        segments=as_list(found.get("segments")),
        words=as_list(found.get("words")),
        reply=reply,
    )


async def models(wire: Any, /) -> results.Models:
    """List the models that the host serves now."""
    found, reply = await _asked(wire, "models", Asked({}), _by_id)
    raw = {redact(name, wire.key)[:300]: entry for name, entry in found.items()}
    kimi = list(filter(_is_kimi, raw))
    first = set(kimi)
    ids = [*kimi, *(name for name in raw if name not in first)]
    return results.Models(ids=ids, kimi=kimi, raw=raw, reply=reply)


def _by_id(found: Any) -> dict[str, dict[str, Any]]:
    """Return the entries of a model list."""
    named = [(one.get("id") or one.get("name"), one) for one in _rows(found)]
    if named and not any(name for name, _ in named):
        raise ValueError
    return {str(name): one for name, one in named if name}


def model_ids(said: bytes) -> list[str]:
    """Return the ids of Kimi in the body of a model list, all ids if it has none."""
    try:
        ids = list(_by_id(mend(read_json(said))))
    except (ValueError, LookupError, TypeError, RecursionError):
        return []
    return list(filter(_is_kimi, ids)) or ids


def _is_kimi(model: str) -> bool:
    return "kimi" in model.lower()


async def balance(wire: Any, /) -> results.Balance:
    """Return what is left of the account's money, where the host tells."""

    def read(found: Mapping[str, Any]) -> dict[str, Decimal]:
        kinds = ("available", "cash", "voucher")
        return {k: _amount(found["data"][f"{k}_balance"]) for k in kinds}

    found, reply = await _asked(wire, "balance", Asked({}), read)
    currency = "CNY" if wire.host.name == "moonshot-cn" else "USD"
    return results.Balance(**found, currency=currency, reply=reply)


async def count_tokens(wire: Any, /, messages: Any, *, model: str | None = None) -> int:
    """Return how many tokens a chat has, as Moonshot's own estimate (it is free)."""
    turns = requests.as_messages(messages)
    body = Asked(options.fields(model=model or wire.host.model, messages=turns))

    def read(found: Mapping[str, Any]) -> int:
        tokens = as_count(found["data"]["total_tokens"])
        if tokens is None:
            raise ValueError
        return tokens

    tokens, _ = await _asked(wire, "count_tokens", body, read)
    return tokens
