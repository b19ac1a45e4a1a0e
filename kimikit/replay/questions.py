"""Tell which requests are the same question, and which recorded one is nearest."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from kimikit import html
from kimikit.errors import NotRecorded
from kimikit.json_values import as_json, digest
from kimikit.replay.masks import STARS, mask_of
from kimikit.secrets import masked
from kimikit.types import Host
from kimikit.usage import asked_models, priced_as
from kimikit.wire.coerce import as_dict, as_object, as_str
from kimikit.wire.network import is_loopback
from kimikit.wire.recorder import Asked

LOOKED_AT = 5_000
"""Recorded questions among which the nearest is looked for."""
_READ = 2_000
"""Characters of a question that are compared by their words."""
_SHOWN = 70
"""Characters of a difference that an error shows, on either side."""

_BYTES = re.compile(r";base64,[A-Za-z0-9+/=]{2000,}")
_BATCH = re.compile(r"\bjob-[0-9a-f]{1,12}-[0-9a-f]{8}-\d+\b")
"""What a batch is called, anew each time, by ``money.jobs.new_id``."""
_OF_BATCH = b'{"custom_id":'
_ANSWERED = re.compile(rb'"model"\s*:\s*"([^"\\]{1,200})"')
_HEAD = 8192
"""Bytes of an answer in which the name of its model is looked for."""
_WORD = re.compile(r"\w+|[^\w\s]")


class Question(msgspec.Struct, frozen=True):
    """What was asked.

    Attributes:
        key: What tells it from all others.
        host: Name of the host.
        method: ``GET`` or ``POST``.
        path: Where there.
        body: The request as canonical JSON, without keys.
        sent: The request as it was sent, which no file holds.
    """

    key: str
    host: str
    method: str
    path: str
    body: str
    sent: bytes = b""


def question(asked: Asked) -> Question:
    """Return a request as a recording knows it: without keys, equal for equal bodies.

    A host on this machine is the same at every port: it gets another at each start.
    """
    path = STARS.sub("***", mask_of(*asked.keys)(asked.where))
    body = _body(asked)
    host = name_of(asked.host)
    key = digest(host, asked.method, path, body)
    return Question(key, host, asked.method, path.partition("?")[0], body, asked.body)


def priced_models(body: bytes, pieces: Iterable[tuple[float, bytes]] = ()) -> list[str]:
    """Return the names of all prices that may be that of a request, or of a batch.

    Args:
        body: The request: one, or a file of a batch's.
        pieces: The answer, which names the model that it came from.
    """
    bodies = [as_object(body)]
    if not bodies[0]:
        lines = [line for line in body.split(b"\n") if line.startswith(_OF_BATCH)]
        bodies = [as_dict(as_object(line).get("body")) for line in lines]
    head = b"".join(data for _, data in itertools.islice(pieces, 8))[:_HEAD]
    found = _ANSWERED.search(head)
    answered = found[1].decode("utf-8", "replace") if found else ""
    names = [
        priced_as(name, asked)
        for asked in bodies
        for name in [*asked_models(as_str(asked.get("model")), asked), answered]
    ]
    return [name for name in dict.fromkeys(names) if name]


def name_of(host: Host) -> str:
    """Return the name of a host as a recording has it."""
    name, mark, port = host.name.rpartition(":")
    return name if mark and port.isdigit() and is_loopback(name) else host.name


def _body(asked: Asked) -> str:
    kind, _, boundary = asked.kind.partition("boundary=")
    if boundary:
        parts = asked.body.replace(boundary.strip('" ').encode(), b"")
        parts = re.sub(_BATCH.pattern.encode(), b"job", parts)
        return as_json({kind.strip("; "): hashlib.sha256(parts).hexdigest()})
    if not asked.body:
        return ""
    try:
        found = json.loads(asked.body)
    except ValueError:
        return as_json({kind: hashlib.sha256(asked.body).hexdigest()})
    text = _BATCH.sub("job", _BYTES.sub(_content, as_json(masked(found))))
    return STARS.sub("***", mask_of(*asked.keys)(text))


def _content(match: re.Match[str]) -> str:
    """Return the bytes of a picture in short."""
    return f";sha256,{hashlib.sha256(match[0].encode()).hexdigest()[:24]}"


def not_recorded(
    asked: Question, others: Iterable[Question], *, name: str, times: int = 0
) -> NotRecorded:
    """Return the error of a question that a recording cannot answer.

    Args:
        asked: The question.
        others: What was recorded.
        name: The recording's.
        times: How often it was recorded.
    """
    if times:
        often = "once" if times == 1 else f"{times} times"
        return NotRecorded(
            f"{name} has this question {often}, and it was asked more often.",
            "Make a new Kimi to begin again, or pass cycle=True to hear the recorded "
            "answers in turn.",
        )
    near = nearest(asked, others)
    if near is None:
        return NotRecorded(
            f"{name} holds no answer for {asked.host} {asked.path}.",
            "Ask what was recorded: kimikit recording show lists it.",
        )
    told = "; ".join(each for each in differences(near, asked) if each.strip())
    if not told:
        return NotRecorded(
            f"{name} has a question like this, and no answer to it that can be read.",
            "Record it again: with a key, Kimi(HOST, record=PATH) into a new file.",
            nearest=near.body,
        )
    return NotRecorded(
        f"{name} does not have this question. The nearest that it has differs in: "
        f"{told}.",
        "Ask what was recorded, or record this too: with a key, "
        "Kimi(HOST, record=PATH, replay=True) asks what is new and keeps it.",
        nearest=near.body,
    )


def nearest(asked: Question, others: Iterable[Question]) -> Question | None:
    """Return the recorded question with most words in common, of the same path first.

    It looks at a bounded part of a bounded number of them.
    """
    own, best, most = _words(asked), None, -1.0
    for _, other in zip(range(LOOKED_AT), others, strict=False):
        words = _words(other)
        total = own.total() + words.total()
        alike = 2 * (own & words).total() / total if total else 0.0
        alike += (other.path == asked.path) + 0.01 * (other.host == asked.host)
        if alike > most:
            best, most = other, alike
    return best


def _words(question: Question) -> Counter[str]:
    # The end is where a conversation differs, the beginning where its settings stand.
    text = question.body
    if len(text) > _READ:
        text = text[: _READ // 2] + text[-_READ // 2 :]
    return Counter(_WORD.findall(text))


def differences(near: Question, asked: Question) -> Iterator[str]:
    """Yield where two questions differ: ``[-recorded-]`` and ``{+asked+}``."""
    fields = (("host", near.host, asked.host), ("path", near.path, asked.path))
    for name, was, now in fields:
        if was != now:
            yield f"{name} {marked(was, now)}"
    old, new = _flat(near.body), _flat(asked.body)
    names = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    for name in names[:4]:
        yield f"{name} {marked(old.get(name, ''), new.get(name, ''))}"
    if len(names) > 4:
        yield f"{len(names) - 4} more"


def _flat(body: str) -> dict[str, str]:
    """Return the values of a body by their places in it."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return {"": body}
    out: dict[str, str] = {}
    left: list[tuple[str, Any]] = [("", found)]
    while left:
        name, value = left.pop()
        if isinstance(value, dict) and value:
            left += [(f"{name}.{key}".lstrip("."), v) for key, v in value.items()]
        elif isinstance(value, list) and value:
            left += [(f"{name}[{number}]", v) for number, v in enumerate(value)]
        else:
            out[name] = value if isinstance(value, str) else json.dumps(value)
    return dict(sorted(out.items()))


def marked(was: str, now: str) -> str:
    """Return two texts as one, with what differs marked, and a little around it."""
    short = min(len(was), len(now))
    start = next((i for i in range(short) if was[i] != now[i]), short)
    back = 0
    while back < short - start and was[-1 - back] == now[-1 - back]:
        back += 1
    before, after = now[:start], now[len(now) - back :]
    old, new = was[start : len(was) - back], now[start : len(now) - back]
    text = (
        ("…" * (len(before) > 20) + before[-20:])
        + (f"[-{_cut(old)}-]" if old else "")
        + (f"{{+{_cut(new)}+}}" if new else "")
        + (after[:20] + "…" * (len(after) > 20))
    )
    return " ".join(html.clean(text).split())


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
