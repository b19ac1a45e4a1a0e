"""The endpoints beyond chat, each written once as a plan for both clients.

A plan yields steps to the client that takes them, blocking or awaiting; see ``client``.
"""

from __future__ import annotations

import base64
import contextlib
import mimetypes
import os
from collections.abc import Callable, Generator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from kimikit.errors import BadInput, StatusError
from kimikit.wire import faults, requests
from kimikit.wire.answer import Answer
from kimikit.wire.requests import image_url
from kimikit.wire.results import (
    Balance,
    Embeddings,
    Models,
    Picture,
    Ranked,
    Ranking,
    Speech,
    Transcript,
)

_T = TypeVar("_T")
_Plan = Generator[tuple[Any, ...], Any, _T]

_LOOK: dict[str, Any] = {"method": "GET", "free": True}


def _asking(
    wire: Any,
    endpoint: str,
    body: dict[str, Any],
    read: Callable[[Any], _T],
    *,
    method: str = "POST",
    free: bool = False,
    **content: Any,
) -> _Plan[tuple[_T, Answer]]:
    """Plan one call, observed if it can cost; ``read`` makes the value of its JSON."""
    answer = wire.answer(endpoint, body, observed=not free)
    failed: BaseException | None = None
    try:
        answer.open()
        response = yield from wire.sending(answer, method=method, **content)
        said = yield from wire.taking("read", response)
        try:
            found = msgspec.json.decode(said)
            value = read(found)
        except (LookupError, TypeError, ValueError, AttributeError) as exc:
            raise _unreadable(wire, endpoint, response.status_code, said) from exc
        answer.take(found)
        return value, answer
    except BaseException as exc:
        failed = exc
        raise
    finally:
        answer.close(failed)


def _unreadable(wire: Any, endpoint: str, status: int, said: bytes) -> StatusError:
    report = faults.read_report(said)
    message = faults.redact(report.message, [wire.key.value])
    return StatusError(
        f"{wire.host.title or wire.host.name} sent no {endpoint} answer: {message:.99}",
        f"Check the address: base_url is {wire.host.base_url}.",
        status=status,
        host=wire.host.name,
        host_message=message,
        body=faults.redact(said.decode("utf-8", "replace"), [wire.key.value]),
    )


def _body(wire: Any, model: str | None, **fields: Any) -> dict[str, Any]:
    """Return a request; only the stand-in, which has one of each, needs no model."""
    if model is None and not wire.host.stand_in:
        raise BadInput(
            "No model is named, and chat models do nothing but chat.",
            "Pass model=, one of the ids that client.models() lists.",
        )
    fields["model"] = model
    return {name: value for name, value in fields.items() if value is not None}


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise BadInput(f"{name} is {value!r:.40}.", "Pass text that is not empty.")
    return value


def _texts(name: str, values: Any) -> list[str]:
    listed = list(values) if isinstance(values, Sequence) else []
    if not listed or isinstance(values, str):
        raise BadInput(f"{name} is {values!r:.40}.", "Pass a list of texts.")
    return [_text(f"{name}[{place}]", text) for place, text in enumerate(listed)]


def embed(
    wire: Any, /, texts: str | Sequence[str], *, model: str | None = None, **params: Any
) -> _Plan[Embeddings]:
    """Return a vector for each text."""
    listed = _texts("texts", [texts] if isinstance(texts, str) else texts)
    body = _body(wire, model, input=listed, **params)

    def read(found: Any) -> list[list[float]]:
        rows = sorted(found["data"], key=lambda row: row["index"])
        vectors: list[list[float]] = [row["embedding"] for row in rows]
        if len(vectors) != len(listed):
            raise ValueError
        return vectors

    vectors, answer = yield from _asking(wire, "embed", body, read)
    return Embeddings(vectors=vectors, reply=answer.reply)


def rerank(
    wire: Any,
    /,
    query: str,
    documents: Sequence[str],
    *,
    top_n: int | None = None,
    model: str | None = None,
    **params: Any,
) -> _Plan[Ranking]:
    """Order documents by how well they fit ``query``."""
    _text("query", query)
    listed = _texts("documents", documents)
    body = _body(wire, model, query=query, documents=listed, top_n=top_n, **params)

    def read(found: Any) -> list[Ranked]:
        results = [
            Ranked(r["index"], float(r["relevance_score"]), listed[r["index"]])
            for r in found["results"]
        ]
        return sorted(results, key=lambda r: -r.score)

    results, answer = yield from _asking(wire, "rerank", body, read)
    return Ranking(results=results, reply=answer.reply)


def image(
    wire: Any,
    /,
    prompt: str,
    *,
    model: str | None = None,
    image: str | bytes | Path | None = None,
    **params: Any,
) -> _Plan[Picture]:
    """Draw a picture, from another one if ``image`` is given (a path, bytes or URL)."""
    if image is not None:
        params["image_url"] = image_url(image)
    body = _body(wire, model, prompt=_text("prompt", prompt), **params)

    def read(found: Any) -> list[tuple[bytes, str]]:
        if not found["data"]:
            raise ValueError
        return [
            (base64.b64decode(d.get("b64_json") or ""), str(d.get("url") or ""))
            for d in found["data"]
        ]

    found, answer = yield from _asking(wire, "image", body, read)
    pictures = []
    for data, url in found:
        if url and not data:
            # Hosts delete their copies soon; a saved notebook must keep the picture.
            data = yield from wire.fetching(url)
        made = Picture(data=data, media_type=_kind(data), url=url, reply=answer.reply)
        pictures.append(made)
    return msgspec.structs.replace(pictures[0], others=tuple(pictures[1:]))


def _kind(data: bytes) -> str:
    try:
        return image_url(data).partition(";")[0].removeprefix("data:")
    except BadInput:
        return ""


def speak(
    wire: Any,
    /,
    text: str,
    path: str | Path = "speech.mp3",
    *,
    model: str | None = None,
    voice: str | None = None,
    **params: Any,
) -> _Plan[Speech]:
    """Speak ``text`` into the file at ``path``, streamed as it comes."""
    path = Path(path)
    params.setdefault("response_format", path.suffix.lstrip(".") or None)
    body = _body(wire, model, input=_text("text", text), voice=voice, **params)
    answer = wire.answer("speak", body)
    part = path.with_name(path.name + ".part")
    failed: BaseException | None = None
    try:
        answer.open()
        response = yield from wire.sending(answer)
        if "json" in response.headers.get("content-type", ""):
            said = yield from wire.taking("read", response)
            raise _unreadable(wire, "speak", response.status_code, said)
        with part.open("wb") as file:
            yield from wire.taking("save", response, file)
        os.replace(part, path)
    except BaseException as exc:
        failed = exc
        raise
    finally:
        with contextlib.suppress(FileNotFoundError):
            part.unlink()
        answer.close(failed)
    return Speech(path=path, reply=answer.reply)


def transcribe(
    wire: Any,
    /,
    audio: str | Path | bytes,
    *,
    model: str | None = None,
    language: str | None = None,
    response_format: str = "json",
    timestamp_granularities: str | Sequence[str] | None = None,
    **params: Any,
) -> _Plan[Transcript]:
    """Write down what is said in ``audio``, a path or bytes."""
    name = "audio" if isinstance(audio, bytes) else Path(audio).name
    try:
        data = audio if isinstance(audio, bytes) else Path(audio).read_bytes()
    except OSError as exc:
        raise BadInput(
            f"The recording {str(audio)!r} cannot be read: {exc.strerror}.",
            "Pass the path of a file that exists, or its bytes.",
        ) from exc
    body = _body(
        wire,
        model,
        language=language,
        response_format=response_format,
        timestamp_granularities=timestamp_granularities,
        **params,
    )
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    found, answer = yield from _asking(
        wire,
        "transcribe",
        body,
        lambda f: {**f, "text": f["text"].strip()},
        data=body,
        files={"file": (name, data, kind)},
    )
    return Transcript(
        text=found["text"],
        language=found.get("language") or language or "",
        duration_s=found.get("duration"),
        segments=found.get("segments") or [],
        words=found.get("words") or [],
        reply=answer.reply,
    )


def models(wire: Any, /) -> _Plan[Models]:
    """List the models that the host serves now."""
    found, answer = yield from _asking(wire, "models", {}, _entries, **_LOOK)
    raw = {str(entry["id"]): entry for entry in found}
    kimi = [name for name in raw if is_kimi(name)]
    ids = [*kimi, *(name for name in raw if name not in kimi)]
    return Models(ids=ids, kimi=kimi, raw=raw, reply=answer.reply)


def _entries(found: Any) -> list[dict[str, Any]]:
    """Return the entries of a model list; Together sends it bare."""
    listed = found if isinstance(found, list) else found["data"]
    return [entry for entry in listed if entry["id"]]


def model_ids(said: bytes) -> list[str]:
    """Return the ids of Kimi in the body of a model list, all ids if it has none."""
    try:
        ids = [str(entry["id"]) for entry in _entries(msgspec.json.decode(said))]
    except (msgspec.MsgspecError, LookupError, TypeError):
        return []
    return [name for name in ids if is_kimi(name)] or ids


def is_kimi(model: str) -> bool:
    """Say whether an id is one of Kimi's."""
    return "kimi" in model.lower()


def balance(wire: Any, /) -> _Plan[Balance]:
    """Return what is left of the account's money, where the host tells."""

    def read(found: Mapping[str, Any]) -> dict[str, Decimal]:
        kinds = ("available", "cash", "voucher")
        return {k: Decimal(str(found["data"][f"{k}_balance"])) for k in kinds}

    found, answer = yield from _asking(wire, "balance", {}, read, **_LOOK)
    currency = "CNY" if wire.host.name == "moonshot-cn" else "USD"
    return Balance(**found, currency=currency, reply=answer.reply)


def count_tokens(
    wire: Any, /, messages: Any, *, model: str | None = None
) -> _Plan[int]:
    """Return how many tokens a chat has, as Moonshot's own estimate (it is free)."""
    turns = requests.as_messages(messages, system=None, image=None)
    body = {"model": model or wire.host.model, "messages": turns}

    def read(found: Mapping[str, Any]) -> int:
        return int(found["data"]["total_tokens"])

    tokens, _ = yield from _asking(wire, "count_tokens", body, read, free=True)
    return tokens
