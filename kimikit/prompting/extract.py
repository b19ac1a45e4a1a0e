"""Find the JSON in what a model wrote around it; texts and numbers: ``answers``."""

from __future__ import annotations

import bisect
import contextlib
import re
from collections.abc import Callable, Iterator
from json import JSONDecodeError, JSONDecoder
from typing import Any, NamedTuple, TypeVar

from kimikit.json_values import decoder
from kimikit.prompting.answers import final_answer as final_answer  # as in 0.3.0
from kimikit.prompting.answers import last_number as last_number  # as in 0.3.0
from kimikit.prompting.answers import one_of as one_of  # as in 0.3.0

T = TypeVar("T")

_FENCE = re.compile(r"```[\w-]*[ \t]*\n(.*?)(?:\n[ \t]*```|\Z)", re.DOTALL)
_OPENING = re.compile(r"[\[{]")

_BRACKET = re.compile(r"[\[\]{}]")
_MEANT = re.compile(r"""\{\s*(?:["'}]|\w+["']?\s*:|\Z)|\[\s*(?:["'{\[\]]|\Z)""")
"""How a value begins that is meant to be JSON, rather than a bracket of prose."""
_LIST = re.compile(r"\[\s*(?:[-\d]|true|false|null)")
"""How a list begins that may be one, or a bracket of prose."""
_GOES_ON = re.compile(
    r"""\s*(?:["':\]}]|,\s*(?:["'][^"'\n]{0,100}["']\s*:|\w{1,100}\s*:))"""
)
"""What follows a bracket that does not end the outermost value."""
_SPACES = 100
_WORK = 1_000_000
_DEEP = 50_000


class Root(NamedTuple):
    """A JSON value that stands by itself in a text, or what was meant to be one.

    Attributes:
        value: The value.
        place: Where it was found: ``""`` for the whole text, ``"a code fence"`` or
            ``"the text around it"``.
        problem: Why it is no JSON after all, or empty.
    """

    value: Any
    place: str
    problem: str = ""


def find_json(text: str) -> tuple[Any, str]:
    """Return the JSON value in an answer and where it was found.

    Args:
        text: An answer that is JSON, or holds it in a code fence or amid prose. The
            last object is taken, or else the last list; never one inside a broken one.

    Returns:
        The value, and ``""``, ``"a code fence"`` or ``"the text around it"``.

    Raises:
        ValueError: If no part of it is JSON.
    """
    found = json_roots(text)
    objects = [root for root in found if root.problem or isinstance(root.value, dict)]
    last = (objects or found)[-1]
    if last.problem:
        raise ValueError(last.problem)
    return last.value, last.place


def find_fitting(
    text: str, fits: Callable[[Any], T], *, exact: bool = False
) -> tuple[T, str]:
    """Return the last JSON value in an answer that fits, and where it was found.

    Args:
        text: An answer, as ``find_json`` takes it.
        fits: Makes of a value what is wanted, or raises ``ValueError``.
        exact: Whether a number with a point is a ``Decimal``, with all its digits.

    Returns:
        What ``fits`` made of it, and where it was found.

    Raises:
        ValueError: If none fits, or a broken one comes after it: what was meant there
            is not known, and what stands inside it is something else.
    """
    problem: ValueError | None = None
    for root in reversed(json_roots(text, exact=exact)):
        if root.problem:
            raise problem or ValueError(root.problem)
        try:
            return fits(root.value), root.place
        except ValueError as exc:
            if problem is None or isinstance(root.value, dict):
                problem = problem if isinstance(root.value, list) else exc
                problem = problem or exc
    raise problem or ValueError("it is empty")


def json_roots(text: str, *, exact: bool = False) -> list[Root]:
    """Return the JSON values that stand by themselves in a text, in their order.

    A value that is broken is one with a problem; nothing inside it is looked at. There
    is always one: the problem of the whole text where nothing else was found.

    Args:
        text: What to look in.
        exact: Whether a number with a point is a ``Decimal``, with all its digits.
    """
    stripped = text.strip()
    reader = decoder(exact=exact)
    try:
        return [Root(_load(reader, stripped), "")]
    except ValueError as exc:
        whole = Root(None, "", str(exc) if stripped else "it is empty")
    found: list[tuple[int, Root]] = []
    fences = [match.span(1) for match in _FENCE.finditer(text)]
    read: list[tuple[int, int]] = []
    for begin, end in fences:
        # Objects and lists are found below, with what may stand beside them.
        inner = text[begin:end].strip()
        if not _OPENING.match(inner):
            with contextlib.suppress(ValueError):
                found.append((begin, Root(_load(reader, inner), "a code fence")))
                read.append((begin, end))
    begins = [begin for begin, _ in fences]
    for start, end, value, problem in _brackets(text, reader, read):
        place = "the text around it"
        if index := bisect.bisect(begins, start):
            begin, stop = fences[index - 1]
            # Only white space is so short that looking costs nothing.
            near = start - begin < _SPACES and 0 <= stop - end < _SPACES
            if near and not (text[begin:start] + text[end:stop]).strip():
                place = "a code fence"
        found.append((start, Root(value, place, problem)))
    return [root for _, root in sorted(found, key=lambda one: one[0])] or [whole]


def _load(reader: JSONDecoder, text: str) -> Any:
    try:
        return reader.decode(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _brackets(
    text: str, reader: JSONDecoder, read: list[tuple[int, int]]
) -> Iterator[tuple[int, int, Any, str]]:
    """Yield start, end, value and problem of each object and list at the top.

    In linear time: where brackets end is found in one go, what was read is not read
    again, and where that does not hold, as after a lone bracket, ``_WORK`` bounds it.

    Args:
        text: What to look in.
        reader: Reads a value.
        read: Where other values stand, whose texts may hold brackets.
    """
    pairs = _Pairs(text)
    place, work, known = 0, _WORK, [*read, (len(text), len(text))]
    while work > 0 and (opening := _OPENING.search(text, place)):
        start = opening.start()
        while known[0][1] <= start < len(text):
            del known[0]
        if known[0][0] <= start:
            place = known[0][1]
            continue
        meant = _MEANT.match(text, start) is not None
        if not meant and not _LIST.match(text, start):
            place = start + 1  # a bracket of prose
            continue
        value, problem = None, ""
        try:
            value, place = reader.raw_decode(text, start)
            if pairs.goes_on(place, start):
                problem = "there is more after its end"
        except JSONDecodeError as exc:
            # Python also counts the lines up to there.
            problem, work = str(exc), work - (exc.pos - start) - exc.pos // 16 - 100
        except RecursionError:
            problem, work = "it is nested too deeply", work - _DEEP
        except ValueError as exc:  # a number of too many digits
            problem, work = str(exc), work - _DEEP
        if problem and not meant:
            place = start + 1  # as in [0, 1)
            continue
        if problem:
            place = pairs.end(start)
        yield start, place, value, problem


class _Pairs:
    """The brackets of a text, each with the one that closes it.

    Strings are not looked at: where a quote is missing nobody knows which they are.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._ends: dict[int, int] = {}
        self._opened: dict[int, int] = {}
        self._closings: list[int] = []
        opened: list[int] = []
        for match in _BRACKET.finditer(text):
            place = match.start()
            if match[0] in "[{":
                opened.append(place)
                continue
            self._closings.append(place + 1)
            if opened:
                self._opened[place] = opened.pop()
                self._ends[self._opened[place]] = place + 1

    def goes_on(self, end: int, start: int) -> bool:
        """Tell whether what follows a value shows that it was only a part of one."""
        found = _GOES_ON.match(self._text, end)
        if found is None or found[0][-1] not in "]}":
            return found is not None and found[0][-1] == ":" and "," in found[0]
        # Unless that closes a bracket of the prose around it.
        return self._opened.get(found.end() - 1, start) >= start

    def end(self, start: int) -> int:
        """Return where a broken value ends: not at a bracket in one of its texts."""
        end = self._ends.get(start)
        if end is None:
            return len(self._text)
        for index in range(
            bisect.bisect_left(self._closings, end), len(self._closings)
        ):
            if not _GOES_ON.match(self._text, self._closings[index]):
                return self._closings[index]
        return len(self._text)
