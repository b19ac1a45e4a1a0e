"""Read documents in any form of a notebook as texts with titles, tables with heads."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from kimikit.errors import BadInput, needed
from kimikit.json_values import plain, short, without_noise
from kimikit.prompting.history import Count

_GIVE = (
    "Give a text, the pathlib.Path of a text file in UTF-8, a list of these, a dict of "
    "them by title, or a data frame."
)
_RULE = re.compile(r"\|?:?-+:?(?:\|:?-+:?)*\|?")
_BLANK_LINES = re.compile(r"(?:[ \t\r\f\v]*\n)+")
_INDENT = re.compile(r"[ \t]+\Z")
_INDENTS = re.compile(r"^[ \t]+", re.MULTILINE)
_SHARE = 4
"""What is added to a piece takes at most one part in four of it."""


def texts_of(documents: Any) -> list[tuple[str, str]]:
    """Return documents as titles and texts.

    A data frame is a document for each row, which names its columns and leaves out what
    is missing.

    Raises:
        BadInput: Naming the document that is no text and no file of text.
    """
    if _is_frame(documents):
        return list(_rows(documents))
    if isinstance(documents, str | Path):
        return [_text("documents", documents, "document 1")]
    is_series = hasattr(documents, "index") and hasattr(documents, "items")
    if isinstance(documents, Mapping) or is_series:
        pairs = documents.items()
        return [_text(f"documents[{t!r}]", one, str(t)) for t, one in pairs]
    if hasattr(documents, "tolist"):
        documents = documents.tolist()
    no_list = isinstance(documents, bytes | bytearray) or hasattr(documents, "read")
    if no_list or not isinstance(documents, Iterable):
        raise BadInput(f"documents is {short(documents)}.", _GIVE)
    return [
        _text(f"documents[{place}]", one, f"document {place + 1}")
        for place, one in enumerate(documents)
    ]


def _text(where: str, document: Any, title: str) -> tuple[str, str]:
    if isinstance(document, str):
        if _names_a_file(document):
            raise BadInput(
                f"{where} is {document!r}, the name of a file and no text.",
                f"Give pathlib.Path({document!r}) to have it read.",
            )
        return title, plain(document, where)
    if not isinstance(document, Path):
        raise BadInput(f"{where} is {short(document)}, no text and no path.", _GIVE)
    try:
        text = document.expanduser().read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as exc:
        raise BadInput(f"{where}, {document}, cannot be read: {exc}.", _GIVE) from exc
    numbered = where == "documents" or title.startswith("document ")
    return (document.name if numbered else title), text


def _names_a_file(text: str) -> bool:
    """Tell whether a text is but the name of a file, given where a text is read."""
    if not 0 < len(text) < 250 or any(c in text for c in "\n\0") or text[-1:] in ".?!":
        return False
    try:
        return bool(Path(text).suffix) and Path(text).expanduser().is_file()
    except (OSError, ValueError, RuntimeError):
        return False


def _is_frame(value: Any) -> bool:
    return hasattr(value, "columns") and (
        hasattr(value, "itertuples") or hasattr(value, "iter_rows")
    )


def _rows(frame: Any) -> Iterator[tuple[str, str]]:
    names = [str(name) for name in frame.columns]
    if hasattr(frame, "itertuples"):
        columns = (frame.iloc[:, place] for place in range(len(names)))
        cells = map(without_noise, columns)
        rows = zip(frame.index, zip(*cells, strict=True), strict=True)
    else:
        rows = enumerate(frame.iter_rows())  # type: ignore[assignment]
    for title, row in rows:
        told = [(n, v) for n, v in zip(names, row, strict=True) if not _is_missing(v)]
        alone = len(names) == 1
        lines = [_told(v) if alone else f"{n}: {_told(v)}" for n, v in told]
        yield f"row {title}", "\n".join(lines)


def _told(value: Any) -> str:
    """Return a cell as text, numbers as the shortest that are the same."""
    try:
        return str(plain(value))
    except BadInput:
        return str(value)


def _is_missing(value: Any) -> bool:
    missing = value is None or type(value).__name__ in ("NAType", "NaTType")
    return missing or (hasattr(value, "__float__") and value != value)


def pieces(title: str, text: str, most: int, count: Count) -> list[str]:
    """Cut a text into pieces of at most so many tokens, none of it changed.

    A piece that begins inside a table begins with the table's head.
    """
    if count(text) <= most:
        return [text] if text.strip() else []
    with needed("semantic-text-splitter", "Cutting long documents", "documents"):
        from semantic_text_splitter import MarkdownSplitter
    heads, most = _heads(title, text, most, count)
    spaces = max((m[0] for m in _INDENTS.finditer(text)), key=len, default="")
    room = most - min(count(spaces) + 1 if spaces else 0, most // _SHARE)
    out, at, indent = [], 0, ""
    for chunk in MarkdownSplitter.from_callback(count, room, trim=False).chunks(text):
        begin, whole = at - len(indent), indent + chunk
        at += len(chunk)
        # Spaces before a line belong to it, also where it begins the next piece.
        indent = found[0] if (found := _INDENT.search(whole)) else ""
        whole = whole[: len(whole) - len(indent)].rstrip()
        if not whole:
            continue
        starts_line = begin == 0 or text[begin - 1] == "\n"
        piece = _from_its_line(whole, begins=starts_line)
        start = begin + len(whole) - len(piece)
        if count(piece) > most:  # the spaces were more than there was room for
            piece = piece.strip()
        head = next((h for first, last, h in heads if first < start < last), "")
        out.append(head + piece)
    return out


def _from_its_line(text: str, *, begins: bool) -> str:
    """Return a text without blank lines before it, its first line's indent kept."""
    if blank := _BLANK_LINES.match(text):
        return text[blank.end() :]
    return text if begins else text.lstrip()


def _heads(
    title: str, text: str, most: int, count: Count
) -> tuple[list[tuple[int, int, str]], int]:
    """Return where the rows of tables are, with the tables' heads, and the room left.

    A head is repeated where it takes no more than a quarter of a piece.
    """
    heads = list(_tables(title, text))
    heads = [table for table in heads if count(table[2]) < most // _SHARE]
    longest = max((count(head) + 1 for _, _, head in heads), default=0)
    return heads, most - longest


def _tables(title: str, text: str) -> Iterator[tuple[int, int, str]]:
    """Yield where the rows of each table begin and end, and its head."""
    lines = text.splitlines(keepends=True)
    if title.lower().endswith((".csv", ".tsv")):
        yield len(lines[0]) - 1, len(text) + 1, lines[0]
        return
    at, begin, head, above = 0, 0, "", ""
    for line in lines:
        if head and "|" not in line:
            yield begin, at, head
            head = ""
        elif not head and "|" in above and "-" in line and _is_rule(line):
            head, begin = above + line, at + len(line) - 1
        at, above = at + len(line), line
    if head:
        yield begin, at + 1, head


def _is_rule(line: str) -> bool:
    """Tell whether a line is the one of dashes below a Markdown table's head."""
    return _RULE.fullmatch("".join(line.split())) is not None
