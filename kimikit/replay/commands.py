"""Look at a recording, and make a new one of it, by ``kimikit recording``."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from kimikit import html
from kimikit.display.footer import SCRIPTED, day
from kimikit.errors import BadInput
from kimikit.json_values import check_count, digest
from kimikit.paths import writing
from kimikit.replay import opened
from kimikit.replay.file import RecordingFile
from kimikit.replay.masks import (
    STARS,
    Headers,
    Mask,
    Pieces,
    mask_of_words,
    masked_answer,
    unpacked,
)
from kimikit.replay.questions import Question
from kimikit.replay.script import Script
from kimikit.wire.coerce import as_list, as_object
from kimikit.wire.recorder import Recorded

if TYPE_CHECKING:
    import argparse

_SHOWN = 100
"""Characters of a question that are shown."""

_FORM = (
    '{"}:[],\\ /chat/completions /embeddings /rerank /models messages role system user '
    "assistant tool content text model stream prompt input choices index message delta "
    "finish_reason stop length usage prompt_tokens completion_tokens total_tokens data "
    "object id embedding results relevance_score tool_calls type function name "
    "arguments error [DONE] true false null *"
)
"""What stands in all recordings; none of it, nor a part of it, can be hidden."""

Row = tuple[int, Question, Recorded]


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to a command line."""
    recording = commands.add_parser("recording", help="look at a recording, change it")
    verbs = recording.add_subparsers(required=True, metavar="verb")

    shown = verbs.add_parser("show", help="say who recorded what and when")
    shown.add_argument("file", help="a recording, or a script")
    shown.add_argument("--most", type=int, default=20, help="questions to list")
    shown.set_defaults(run=_show)

    trimmed = verbs.add_parser("trim", help="keep a part, in a new file")
    trimmed.add_argument("file")
    trimmed.add_argument("--to", required=True, help="the new file")
    trimmed.add_argument("--containing", default="", help="only questions with a text")
    trimmed.add_argument("--repeats", type=int, help="answers to a question at most")
    trimmed.add_argument(
        "--good", action="store_true", help="leave out what failed or was stopped"
    )
    trimmed.set_defaults(run=_trim)

    hidden = verbs.add_parser(
        "redact",
        help="hide words behind stars, in a new file; a question that had one is "
        "asked with *** in its place from then on",
    )
    hidden.add_argument("file")
    hidden.add_argument("words", nargs="+", help="what to hide, wherever it stands")
    hidden.add_argument("--to", required=True, help="the new file")
    hidden.set_defaults(run=_redact)

    merged = verbs.add_parser("merge", help="put several into one new file")
    merged.add_argument("files", nargs="+")
    merged.add_argument("--to", required=True, help="the new file")
    merged.set_defaults(run=_merge)


def _show(options: argparse.Namespace) -> int:
    check_count("--most", options.most, 0)
    print(show(options.file, most=options.most))
    return 0


def show(path: str, *, most: int = 20) -> str:
    """Return what a recording or a script holds, as text."""
    source = opened(path)
    if isinstance(source, Script):
        return html.clean("\n".join(_turns(source)))
    file = _recording(path)
    asked, answers, first, last = file.size()
    days = " to ".join(dict.fromkeys(map(day, (first, last)))) if answers else "never"
    hosts = [f"{host.name} ({host.title})".replace(" ()", "") for host in file.hosts()]
    lines = [
        *file.readme(),
        f"{answers:,} answers to {asked:,} questions, recorded {days}, from "
        f"{', '.join(hosts) or 'nobody'}.",
        "",
        html.text_table(("times", "host", "question"), list(_listed(file, most))),
    ]
    if asked > most:
        lines.append(f"... and {asked - most:,} more: --most {asked}")
    return html.clean("\n".join(lines))


def _turns(script: Script) -> Iterator[str]:
    yield html.footer_line([script.title or script.name, script.by, SCRIPTED])
    for turn in script.turns:
        words = html.one_line(turn.user or turn.assistant or "", _SHOWN)
        yield f"  {'assistant' if turn.user is None else 'user'}: {words}"
        for call in turn.calls:
            for name, arguments in call.items():
                given = html.one_line(json.dumps(arguments), _SHOWN)
                yield f"    calls {name}({given})"


def _listed(file: RecordingFile, most: int) -> Iterator[tuple[str, str, str]]:
    for question, times in file.asked(most):
        yield f"{times}", question.host, html.one_line(said(question), _SHOWN)


def said(question: Question) -> str:
    """Return what a question asks, in its own words."""
    body = as_object(question.body)
    messages = as_list(body.get("messages"))
    if messages and isinstance(messages[-1], dict):
        content = messages[-1].get("content")
        return content if isinstance(content, str) else json.dumps(content)
    for name in ("prompt", "input", "query"):
        if name in body:
            return f"{question.path} {json.dumps(body[name])}"
    return f"{question.method} {question.path}"


def _recording(path: str) -> RecordingFile:
    source = opened(path)
    if not isinstance(source, RecordingFile):
        raise BadInput(
            f"{Path(path).name} is a script, {SCRIPTED}.", "Edit it with any editor."
        )
    return source


def _trim(options: argparse.Namespace) -> int:
    if options.repeats is not None:
        check_count("--repeats", options.repeats)
    most, good = options.repeats, options.good
    kept = None if most is None else _recording(options.file).first(most, good=good)

    def keep(row: Row) -> Row | None:
        place, question, answer = row
        if options.containing not in question.body or (good > answer.good):
            return None
        return row if kept is None or place in kept else None

    return _write([options.file], options.to, keep)


def _redact(options: argparse.Namespace) -> int:
    words = [word for word in options.words if word]
    if not words:
        raise BadInput("No word is named.", "Name the words to hide.")
    if form := next((word for word in words if word in _FORM), None):
        raise BadInput(
            f"{form!r} is a part of how all requests and answers are written.",
            "Name more of what is to be hidden.",
        )
    mask = mask_of_words(words)
    return _write([options.file], options.to, lambda row: _hidden(row, mask), mask)


def _hidden(row: Row, mask: Mask) -> Row:
    number, asked, answer = row
    host, path, body = _said_less([asked.host, asked.path, asked.body], mask)
    if (host, path, body) != (asked.host, asked.path, asked.body):
        _check_form(asked.body.encode(), body.encode())
        key = digest(host, asked.method, path, body)
        asked = Question(key, host, asked.method, path, body)
    headers, pieces, _ = masked_answer(answer.headers, answer.pieces, mask)
    _check_form(_body(answer.headers, answer.pieces), _body(headers, pieces))
    headers = [(name, mask(value)) for name, value in headers]
    failure = answer.failure and (answer.failure[0], mask(answer.failure[1]))
    return (
        number,
        asked,
        msgspec.structs.replace(
            answer, headers=headers, pieces=pieces, failure=failure or None
        ),
    )


def _said_less(texts: Iterable[str], mask: Mask) -> list[str]:
    """Return texts of a question as they are asked from then on."""
    return [STARS.sub("***", mask(text)) for text in texts]


def _body(headers: Headers, pieces: Pieces) -> bytes:
    return unpacked(headers, b"".join(data for _, data in pieces))[0]


def _check_form(before: bytes, after: bytes) -> None:
    """Refuse to hide what leaves no JSON where it was, as of a number.

    Raises:
        BadInput: If it does.
    """
    if before != after and _values(before) != _values(after):
        raise BadInput(
            "One of the words stands where no stars can stand, as of a number.",
            "Name more of what is to be hidden, or leave the answer out by trim first.",
        )


def _values(body: bytes) -> int:
    """Count what is JSON of a body, or of the events of a stream."""
    lines = [body, *(line.removeprefix(b"data:") for line in body.splitlines())]
    return sum(bool(as_object(line)) for line in lines if line.lstrip()[:1] == b"{")


def _merge(options: argparse.Namespace) -> int:
    seen: set[tuple[str, float, bytes]] = set()

    def keep(row: Row) -> Row | None:
        """Leave out what an earlier file has too, as a copy that went on has."""
        _, question, answer = row
        said = b"".join(data for _, data in answer.pieces)
        known = question.key, answer.created, hashlib.sha256(said).digest()
        if known in seen:
            return None
        seen.add(known)
        return row

    return _write(options.files, options.to, keep)


def _write(
    files: Sequence[str],
    to: str,
    change: Callable[[Row], Row | None],
    mask: Mask = str,
) -> int:
    """Write what is left of some recordings into a new one."""
    if Path(to).expanduser().exists():
        raise BadInput(
            f"{Path(to).name} is there already.", "Name a new file with --to."
        )
    sources = [_recording(path) for path in files]
    with writing(to) as fresh:
        target = RecordingFile(fresh, new=True)
        try:
            count = sum(_copied(source, target, change, mask) for source in sources)
            stamp = time.strftime("%Y-%m-%d")
            names = ", ".join(mask(Path(path).name) for path in files)
            target.note(f"Made of {names} by kimikit recording on {stamp}.")
        finally:
            target.close()
    print(f"{Path(to).name} has {html.many(count, 'answer')}.")
    return 0


def _copied(
    source: RecordingFile,
    target: RecordingFile,
    change: Callable[[Row], Row | None],
    mask: Mask,
) -> int:
    """Copy what is left of a recording; return how many answers that is."""
    for line in source.readme():
        target.note(mask(line))
    hosts = {}
    for host in source.hosts():
        told = msgspec.structs.asdict(host)
        texts = {name: text for name, text in told.items() if isinstance(text, str)}
        less = dict(zip(texts, _said_less(texts.values(), mask), strict=True))
        hosts[less["name"]] = msgspec.structs.replace(host, **less)
    prices = {}
    for about, price in source.prices().items():
        name, model, where = _said_less([*about, price.source], mask)
        prices[name, model] = msgspec.structs.replace(price, source=where)
    rows = (changed[1:] for row in source.rows() if (changed := change(row)))
    return target.add_all(rows, hosts, prices)
