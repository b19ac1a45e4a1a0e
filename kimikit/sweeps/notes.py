"""Note what looks odd in the answers of a sweep."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from kimikit.sweeps.grid import Grid
from kimikit.types import Reply

UPSTREAM = ("provider", "system_fingerprint")
"""What answers tell of who gave them behind a host."""

CUT = "the answer was cut at max_tokens"
"""What is noted of each of them."""


def oddities(params: dict[str, Any], reply: Reply) -> Iterator[str]:
    """Yield what an answer tells of the host not doing as it was asked."""
    yield from reply.notes
    settings = reply.raw.get("generation_settings")
    echo = settings if isinstance(settings, dict) else reply.raw
    asked, used = params.get("temperature"), echo.get("temperature")
    if asked is not None and isinstance(used, int | float) and abs(used - asked) > 1e-3:
        yield f"temperature {asked:g} was clamped: the host used {used:g}"
    if reply.finish_reason == "length":
        yield CUT


def look_at(
    params: dict[str, Any],
    reply: Reply,
    notes: Counter[str],
    upstreams: dict[tuple[str, str], set[str]],
) -> None:
    """Note what looks odd in an answer, which is never lost by that.

    Args:
        params: What it was asked with.
        reply: The answer.
        notes: What was noted of answers, and how often.
        upstreams: By a key of ``UPSTREAM`` and the name of a host what it told.
    """
    try:
        for key in UPSTREAM:
            if told := reply.raw.get(key):
                upstreams.setdefault((key, reply.host), set()).add(str(told))
        for note in oddities(params, reply):
            notes[note] += 1
    except Exception as error:
        notes[f"an answer could not be checked ({type(error).__name__})"] += 1


def remarks(
    notes: Counter[str], upstreams: Mapping[tuple[str, str], set[str]], grid: Grid
) -> Iterator[str]:
    """Yield what looked odd as sentences, with how many answers it was seen in.

    Args:
        notes: What was noted of answers, and how often.
        upstreams: By a key of ``UPSTREAM`` and the name of a host what it told.
        grid: What was asked.
    """
    for note, count in notes.most_common():
        if note == CUT:
            one = count == 1
            yield f"{count} answer{' was' if one else 's were'} cut at max_tokens."
            continue
        often = f" ({count} answers)" if count > 1 else ""
        yield f"{note[:1].upper()}{note[1:].rstrip('.')}{often}."
    for (key, host), names in sorted(upstreams.items()):
        if len(names) > 1:
            what = "upstreams" if key == "provider" else "builds"
            yield (
                f"{host} answered from {len(names)} {what} "
                f"({', '.join(sorted(names)[:4])}), which may differ as much "
                "as the points do."
            )
    if grid.fixed.get("seed") is not None and grid.repeats > 1:
        yield "One seed for all repeats makes them alike; vary it or leave it out."
