"""Lay answers side by side and mark what differs; ``diff`` does it for any two."""

from __future__ import annotations

import difflib
import itertools
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from kimikit import html
from kimikit.display.footer import footer
from kimikit.display.renderable import Renderable, Section
from kimikit.errors import BadInput
from kimikit.json_values import check_count
from kimikit.sweeps import summary
from kimikit.sweeps.answers import Group
from kimikit.sweeps.cells import (
    POINTS_SHOWN,
    SHOWN_BYTES,
    TEXT_BYTES,
    Page,
    footer_line,
    label_text,
    label_texts,
)
from kimikit.sweeps.metrics import normal
from kimikit.sweeps.values import Outcome
from kimikit.types import Reply

WORDS_MARKED = 300
"""Words of an answer in which differences are marked."""

ANSWERS_FOLDED = 50
"""Answers of a point that open below the first ones."""

# No ``<mark>``: its letters are black where a page takes ``color:inherit`` from it.
MARK = '<u style="background:rgba(230,159,0,.28)">{}</u>'


class _Room:
    """What a page still bears, in bytes, and how many answers found no room."""

    def __init__(self) -> None:
        self.rich, self.text = SHOWN_BYTES, TEXT_BYTES
        self.left_out = 0

    @property
    def full(self) -> bool:
        return self.rich < 2000

    def take(self, rich: str) -> bool:
        """Tell whether there is room for some HTML, and take it."""
        size = len(rich.encode())
        if size > self.rich:
            self.left_out += 1
            return False
        self.rich -= size
        return True

    def lines(self, lines: Sequence[str]) -> str:
        """Return lines of plain text as far as there is room."""
        out = []
        for line in lines:
            self.text -= len(line.encode()) + 1
            if self.text < 0:
                break
            out.append(line)
        return "\n".join(out)


def compare(sweep: Outcome, most: int) -> Page:
    """Return the answers side by side, one table per prompt, one column per point."""
    check_count("most", most)
    prompts = summary.points(sweep, ["prompt"])
    titles = label_texts([prompt for (prompt,) in prompts], 80)
    names = {axis: label_texts(labels) for axis, labels in sweep.axes.items()}
    blocks: list[html.Cell] = []
    room = _Room()
    for (prompt,), some in prompts.items():
        if room.full:
            break
        lines, rich = _side_by_side(names, some, most, room)
        if "prompt" in sweep.axes:
            lines.insert(0, titles[prompt])
            rich = html.fold(titles[prompt], rich, shown=not blocks)
            room.take(titles[prompt])
        blocks.append(html.Cell(room.lines(lines), rich))
    note = (
        "Equal answers are folded into one; marked words differ from the first answer."
    )
    left = len(prompts) - len(blocks)
    out = [f"{left:,} of {len(prompts):,} prompts"] if left else []
    out += [f"{room.left_out:,} answers"] if room.left_out else []
    if out:
        note += f" Left out here: {' and '.join(out)}; .rows has all."
    elif room.text < 0:
        note += " This text is cut; .rows has all."
    blocks.append(html.Cell(note, html.footer(note)))
    return Page(blocks, footer_line(sweep), list(_rows(sweep)))


def _rows(sweep: Outcome) -> Iterator[dict[str, Any]]:
    """Yield each different answer of each prompt and point, the most frequent first."""
    for group in summary.groups(sweep):
        counts, spelled = _counted(group)
        labels = {axis: group.labels.get(axis) for axis in sweep.axes}
        for key, count in counts.most_common():
            yield {**labels, "answer": spelled[key], "count": count}


def _counted(group: Group) -> tuple[Counter[str], dict[str, str]]:
    texts = group.texts
    counts = Counter(map(normal, texts))
    return counts, {normal(text): text for text in reversed(texts)}


def _side_by_side(
    names: dict[str, dict[Any, str]],
    some: Sequence[Group],
    most: int,
    room: _Room,
) -> tuple[list[str], str]:
    """Return the answers of each point, the most frequent ones first."""
    heads, columns, lines = [], [], []
    folded: list[list[tuple[str, int]]] = []
    first: str | None = None
    for group in some[:POINTS_SHOWN]:
        counts, spelled = _counted(group)
        point = ", ".join(
            f"{axis} {texts.get(group.labels[axis], label_text(group.labels[axis]))}"
            for axis, texts in names.items()
            if axis != "prompt"
        )
        heads.append(f"{point or 'answers'} (n = {group.count})")
        lines.append(heads[-1])
        rich = ""
        for key, count in counts.most_common(most):
            answer = html.clean(html.cut(spelled[key]))
            first = answer if first is None else first
            shown = _shown(first, answer, count)
            if not room.take(shown):
                continue
            rich += shown
            lines.append(f"  {count} × {' '.join(answer.split())}")
        more = counts.most_common()[most:]
        if more:
            lines.append(f"  and {len(more)} more")
        columns.append(rich)
        folded.append([(html.cut(spelled[key]), count) for key, count in more])
    # What is folded takes what room is left when every column has its first answers.
    cells = [
        html.Cell("", rich + _folded(more, first or "", room))
        for rich, more in zip(columns, folded, strict=True)
    ]
    left = len(some) - POINTS_SHOWN
    note = f"{left} more points are not shown." if left > 0 else ""
    return lines, html.table(heads, [cells], caption=note)


def _folded(more: Sequence[tuple[str, int]], first: str, room: _Room) -> str:
    """Return further answers with their counts, as many as there is room for."""
    if not more:
        return ""
    shown = ""
    for answer, count in more[:ANSWERS_FOLDED]:
        one = _shown(first, html.clean(answer), count)
        if room.rich < SHOWN_BYTES // 2 or not room.take(one):
            break
        shown += one
    line = f"and {len(more)} more"
    return html.fold(line, shown) if shown else f"<p>{line}</p>"


def _shown(first: str, answer: str, count: int) -> str:
    times = f"<b>{count} ×</b> " if count > 1 else ""
    return f"<p>{times}{marked(first, answer)}</p>"


def marked(first: str, answer: str) -> str:
    """Return ``answer`` as HTML with the words marked that ``first`` has not."""
    out = []
    for kind, _, new in _matched(first, answer):
        text = html.esc(new)
        strange = kind in ("replace", "insert") and text.strip()
        out.append(MARK.format(text) if strange else text)
    return "".join(out).replace("\n", "<br>")


def differing(first: str, second: str) -> str:
    """Return two texts as one: ``[-in the first alone-]``, ``{+in the second+}``."""
    out = []
    for kind, old, new in _matched(first, second):
        if kind == "equal":
            out.append(new)
            continue
        out.append((f"[-{old}-]" if old else "") + (f"{{+{new}+}}" if new else ""))
    return "".join(out)


def _matched(first: str, second: str) -> Iterator[tuple[str, str, str]]:
    """Yield what two texts have alike and apart, in order, as far as it is compared.

    What is beyond the words that are compared comes last, as alike.
    """
    old, new = _words(first), _words(second)
    rest = second[sum(map(len, new)) :]
    counts = Counter(new)
    # Of nothing but a few words all pairs are alike, and difflib looks at each.
    alike = sum(counts[word] for word in old) > WORDS_MARKED**2 // 4
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=alike)
    for kind, begin, stop, start, end in matcher.get_opcodes():
        yield kind, "".join(old[begin:stop]), "".join(new[start:end])
    if rest:
        yield "equal", rest, rest


def _words(text: str) -> list[str]:
    """Return the first words, spaces and marks of a text, however long it is."""
    found = re.finditer(r"\s+|\w+|[^\w\s]", text)
    return [word[0] for word in itertools.islice(found, WORDS_MARKED)]


SHOWN = 20_000
"""Characters of each of the two."""


class Diff(Renderable, msgspec.Struct, frozen=True):
    """Two answers and where they differ.

    Attributes:
        first: One of them.
        second: The other.
    """

    first: Reply
    second: Reply

    @property
    def same(self) -> bool:
        """Whether both say the same, word for word."""
        return self.first.text == self.second.text

    def _parts(self) -> tuple[str, list[Section], str]:
        one, other = (
            html.clean(html.cut(r.text, SHOWN)) for r in (self.first, self.second)
        )
        heads = [_head(reply) or name for name, reply in self._named()]
        if self.same:
            return self.first.text, [], footer(self._asked(), before=["no difference"])
        table = html.table(heads, [[html.Cell("", marked(other, one)),
                                    html.Cell("", marked(one, other))]])  # fmt: skip
        note = "Marked words stand in one answer alone."
        return (
            "",
            [
                html.Cell(differing(one, other), table),
                html.Cell("", html.footer(note)),
            ],
            footer(self._asked()),
        )

    def _named(self) -> list[tuple[str, Reply]]:
        return [("first", self.first), ("second", self.second)]

    def _asked(self) -> list[Reply]:
        return [reply for _, reply in self._named() if reply.created]


def _head(reply: Reply) -> str:
    temperature = reply.request.get("temperature")
    told = "" if temperature is None else f"temperature {temperature}"
    return html.footer_line([*map(html.one_part, (reply.host, reply.model)), told])


def diff(first: Reply | str, second: Reply | str) -> Diff:
    """Compare two answers word by word.

    Args:
        first: An answer, or a text.
        second: The other.

    Returns:
        A view that lays them side by side and marks what only one of them says; as
        text, ``[-words-]`` stand in the first alone, ``{+words+}`` in the second.

    Raises:
        BadInput: If one is neither.

    Example:
        >>> print(diff("The sky is blue.", "The sky was blue."))
        The sky [-is-]{+was+} blue.
    """
    return Diff(_as_reply(first), _as_reply(second))


def _as_reply(given: Any) -> Reply:
    if isinstance(given, str):
        return Reply(text=given)
    if not isinstance(given, Reply):
        raise BadInput(
            f"diff() was given a {type(given).__name__}.", "Pass replies or texts."
        )
    return given
